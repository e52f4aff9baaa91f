"""A class typed into a group whose file is about another one."""

import pytest

from brainnet.cli.main import main
from brainnet.training.run_directory import find_run

SHORT = ("data=moons", "network.hidden=[4]", "trainer.max_epochs=1", "trainer=cpu")


@pytest.mark.parametrize(
    ("words", "group", "kept"),
    [
        (["activation._target_=torch.nn.SELU"], "activation", {}),
        (
            ["optimizer._target_=torch.optim.SGD", "+optimizer.momentum=0.5"],
            "optimizer",
            {"lr": 0.003, "weight_decay": 0.0, "momentum": 0.5},
        ),
        (
            ["schedule=cosine", "schedule._target_=torch.optim.lr_scheduler.ConstantLR"],
            "schedule",
            {},
        ),
        (["loss=huber", "loss._target_=brainnet.learning.loss.BinaryCrossEntropy"], "loss", {}),
    ],
)
def test_keys_of_the_first_class_are_let_go(words, group, kept):
    assert main(["train", *SHORT, *words]) == 0
    stored = find_run("latest").folder.read_config()[group]
    target = next(w for w in words if "_target_" in w).partition("=")[2]
    assert stored == {"_target_": target, **kept}
    assert main(["evaluate", "latest"]) == 0


def test_keys_of_the_data_module_stay():
    target = "brainnet.data.datasets.Circles"
    assert main(["train", *SHORT, f"data._target_={target}", "data.batch_size=64"]) == 0
    stored = find_run("latest").folder.read_config()["data"]
    assert stored["_target_"] == target
    assert (stored["rows"], stored["batch_size"], stored["test"]) == (1000, 64, 0.2)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("activation.width=2", "activation.width: SELU has no such key"),
        ("+activation.slope=2", "activation.slope: SELU has no such key"),
    ],
)
def test_a_typed_key_is_refused(capsys, word, said):
    assert main(["train", "activation._target_=torch.nn.SELU", word]) == 2
    assert said in capsys.readouterr().err
