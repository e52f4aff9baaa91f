"""`brainnet train`: runs, sweeps, resumed runs, and what is printed."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Callback
from PIL import Image

from brainnet.cli import train as command
from brainnet.cli.main import main
from brainnet.errors import TrainingFailure
from brainnet.training.checkpoint_files import load_checkpoint
from brainnet.training.fit import RunResult
from brainnet.training.run_directory import find_run

SMALL = ("data=iris", "network.hidden=[4]", "trainer.max_epochs=2", "trainer=cpu")


@pytest.fixture
def calls(monkeypatch):
    """Records the arguments of each training, and the command line that would repeat it."""
    noted = []

    def noting(network, data, **given):
        words = list(sys.argv[1:])
        noted.append(given | {"network": network, "data": data, "argv": words})
        folder = given["folder"].path
        return RunResult(folder, "finished", {"loss/validation": 0.5}, network, best=0.25)

    monkeypatch.setattr(command, "train", noting)
    return noted


def test_run_writes_its_folder(capsys, run, summary):
    assert summary(run)["state"] == "finished"
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert not list(run.glob(".hydra")) + list(run.glob("*.log"))


def test_stored_configuration_contains_the_values_that_were_used(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["network"]["inputs"] == 4
    assert config["network"]["outputs"] == 3
    assert config["loss"] == {"_target_": "brainnet.learning.loss.CrossEntropy"}
    assert config["name"] == "iris"
    assert load_checkpoint(run / "checkpoints" / "last.ckpt")["brainnet"]["config"] == config


def test_output_contains_folder_and_result(capsys):
    assert main(["train", *SMALL]) == 0
    out = capsys.readouterr().out
    run = Path("runs") / Path("runs/latest").read_text().strip()
    assert "accuracy/test" in out
    assert f"tensorboard --logdir {run}" in out
    assert len(out.splitlines()) < 15


def test_overrides_reach_the_components(calls):
    words = (
        "data=moons data.noise=0.3 data.batch_size=8 network.hidden=[5,6] activation=tanh "
        "optimizer=sgd optimizer.lr=0.5 optimizer.momentum=0.9 schedule=cosine seed=7 "
        "trainer.max_epochs=3 trainer.gradient_clip_val=1 observe=off callbacks=early_stopping "
        "logger=csv name=mine paths.runs=elsewhere"
    )
    assert main(["train", *words.split()]) == 0
    (call,) = calls
    assert call["network"].sizes == (2, 5, 6, 1)
    assert isinstance(call["network"].layers[0].activation, torch.nn.Tanh)
    assert call["data"].batch_size == 8
    assert call["data"].seed == call["seed"] == 7
    optimizer = call["optimizer"](call["network"].parameters())
    assert optimizer.defaults["lr"] == 0.5
    assert optimizer.defaults["momentum"] == 0.9
    assert call["schedule"](optimizer, 40).T_max == 40
    assert call["trainer"]["max_epochs"] == 3
    assert call["trainer"]["gradient_clip_val"] == 1
    assert call["observe"] is None
    assert [type(callback).__name__ for callback in call["callbacks"]] == ["EarlyStopping"]
    assert call["loggers"][0].save_dir == str(call["folder"].path)
    assert call["folder"].path.parent == Path("elsewhere/mine")


def test_same_seed_gives_same_initial_weights(calls):
    assert main(["train", "-m", "seed=1,1,2", "data=iris"]) == 0
    first, second, third = (call["network"].layers[0].weights.value for call in calls)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("flag", [["-m"], ["--multirun"]])
def test_sweep_trains_every_combination_in_numbered_folders(calls, capsys, flag):
    words = ["data=iris,xor", *flag, "optimizer.lr=0.1,0.2"]
    assert main(["train", *words]) == 0
    folders = [call["folder"].path for call in calls]
    assert [folder.name for folder in folders] == ["0", "1", "2", "3"]
    assert len({folder.parent for folder in folders}) == 1
    assert "not started" in capsys.readouterr().out  # the table: nothing was written here


def test_distributed_processes_of_a_job_repeat_that_job_only(calls):
    """Lightning starts them with sys.argv[1:]."""
    (Path("mine") / "data").mkdir(parents=True)
    words = ["--config-dir", "mine", "data=iris", "-m", "seed=3,4"]
    assert main(["train", *words]) == 0
    mine = str(Path("mine").resolve())
    for call, seed in zip(calls, (3, 4), strict=True):
        run_dir = f'hydra.run.dir="{call["folder"].path}"'
        assert call["argv"] == [
            *("train", "--config-name", "train", "--config-dir", mine),
            *("data=iris", f"seed={seed}", run_dir),
        ]
    assert "seed" not in " ".join(sys.argv)


def test_directory_of_a_run_may_contain_values_of_its_configuration(calls):
    assert main(["train", "data=iris", "name=mine", "hydra.run.dir=out/${name}_${seed}"]) == 0
    assert calls[0]["folder"].path == Path("out/mine_0")


def test_directory_of_a_run_may_contain_its_automatic_name(calls):
    assert main(["train", "data=iris", "hydra.run.dir=out/${name}"]) == 0
    assert calls[0]["folder"].path == Path("out/iris")


def test_directory_that_cannot_be_resolved_is_rejected(capsys):
    assert main(["train", "data=iris", "hydra.run.dir=out/${nothing}"]) == 2
    assert "hydra.run.dir cannot be resolved" in capsys.readouterr().err


def test_empty_sweep_is_rejected(capsys, calls):
    assert main(["train", "-m", "seed=range(0,0)"]) == 2
    assert "the sweep is empty" in capsys.readouterr().err
    assert not calls


def test_distributed_process_uses_the_given_folder(calls):
    folder = Path("runs/iris/there")
    assert main(["train", "data=iris", "seed=3", f'hydra.run.dir="{folder}"']) == 0
    assert calls[0]["folder"].path == folder


def test_sweep_continues_after_a_failed_job(monkeypatch, capsys):
    train = command.train

    def failing(network, data, **given):
        if given["seed"] == 1:
            raise TrainingFailure("the loss became nan at step 3")
        return train(network, data, **given)

    monkeypatch.setattr(command, "train", failing)
    assert main(["train", *SMALL, "-m", "seed=0,1,2"]) == 3
    out, err = capsys.readouterr()
    assert "the loss became nan" in err
    *table, best = out.splitlines()[-4:]
    assert best.startswith("* best: job ")
    assert ["finished" in line for line in table] == [True, False, True]
    assert "seed=1" in table[1]


def test_invalid_sweep_writes_nothing(capsys):
    assert main(["train", "-m", "network.inputs=3,5"]) == 2
    assert not Path("runs").exists()


def test_failed_training_reports_the_checkpoint(capsys, summary):
    words = ["data=diabetes", "optimizer=sgd", "optimizer.lr=1e30", "trainer=cpu"]
    assert main(["train", *words, "observe=off"]) == 3
    err = capsys.readouterr().err
    run = Path("runs") / Path("runs/latest").read_text().strip()
    assert "last.ckpt" in err
    assert "Traceback" not in err
    assert summary(run)["state"] == "failed"


def test_resume_continues_in_the_same_folder(run, summary):
    assert main(["train", "resume=latest", "trainer.max_epochs=3"]) == 0
    assert summary(run)["epochs"] == 3
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_epochs"] == 3
    assert [path for path in run.parent.iterdir() if path.is_dir()] == [run]


def test_resumed_run_equals_an_uninterrupted_run(run):
    assert main(["train", f"resume={run}", "trainer.max_epochs=4", "callbacks=none"]) == 0
    assert main(["train", *SMALL, "trainer.max_epochs=4", "name=whole"]) == 0
    whole = Path("runs") / Path("runs/latest").read_text().strip()
    resumed, straight = (
        load_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]
        for folder in (run, whole)
    )
    assert all(torch.equal(resumed[key], straight[key]) for key in straight)


def test_resume_accepts_unchanged_overrides(run, calls):
    words = ["resume=latest", "trainer.max_epochs=3", "seed=0", "data=iris", "network.hidden=[4]"]
    assert main(["train", *words]) == 0
    assert calls[0]["resume"].folder.path == run


def test_resume_rejects_a_longer_run_with_a_planned_schedule(capsys):
    assert main(["train", *SMALL, "schedule=cosine"]) == 0
    assert main(["train", "resume=latest", "trainer.max_epochs=3"]) == 2
    assert "schedule=constant" in capsys.readouterr().err


@pytest.fixture
def theirs(monkeypatch):
    """Networks of the user in the current directory."""
    Path("their_net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, inputs, outputs, width=3, activation=None):\n"
        "        layers = nn.Linear(inputs, width), activation, nn.Linear(width, outputs)\n"
        "        super().__init__(*layers)\n"
        "class Deaf(nn.Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(3, 3)\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "network._target_=their_net.Net"
    sys.modules.pop("their_net", None)


def test_network_of_the_user(theirs, calls):
    assert main(["train", "data=iris", "network=custom", theirs, "+network.width=7"]) == 0
    (call,) = calls
    assert [tuple(value.shape) for value in call["network"].parameters()][::2] == [(7, 4), (3, 7)]
    assert type(call["network"][1]).__name__ == "ThresholdRamp"


def test_network_with_two_outputs_gets_cross_entropy():
    words = "+network.in_features=2 +network.out_features=2 data=moons trainer.max_epochs=1"
    network = ["network=custom", "network._target_=torch.nn.Linear", *words.split()]
    assert main(["train", *network]) == 0
    run = Path("runs") / Path("runs/latest").read_text().strip()
    stored = yaml.safe_load((run / "config.yaml").read_text())
    assert stored["loss"]["_target_"].endswith(".CrossEntropy")
    assert stored["network"]["outputs"] == 2
    assert main(["train", "resume=latest", "trainer.max_epochs=2"]) == 0
    assert main(["evaluate", "latest"]) == 0


def test_users_class_must_be_allowed_again_when_the_run_is_used(theirs, capsys, monkeypatch):
    words = ["data=iris", "trainer.max_epochs=1", "trainer=cpu"]
    assert main(["train", "network=custom", theirs, *words]) == 0
    assert main(["evaluate", "latest"]) == 2
    assert theirs in capsys.readouterr().err
    assert main(["evaluate", "latest", theirs]) == 0
    monkeypatch.setenv("BRAINNET_ALLOW", "their_net")
    assert main(["evaluate", "latest"]) == 0
    assert main(["train", "resume=latest", "trainer.max_epochs=2"]) == 0


def test_network_that_does_not_fit_is_rejected(theirs, capsys):
    deaf = "network._target_=their_net.Deaf"
    assert main(["train", "data=iris", "network=custom", deaf]) == 2
    assert "inputs" in capsys.readouterr().err
    assert main(["train", "data=iris", "network=custom", theirs, "+network.depth=1"]) == 2
    assert "It takes inputs, outputs, width, activation" in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.parametrize("choice", ["one_batch", "overfit", "limit", "profile"])
def test_debug_choices_limit_the_steps(choice, summary):
    words = ["data=iris", "trainer=cpu", f"debug={choice}", "observe=off"]
    assert main(["train", *words]) == 0
    run = Path("runs") / Path("runs/latest").read_text().strip()
    steps = {"one_batch": 1, "overfit": 300, "limit": 12, "profile": 12}[choice]
    assert summary(run)["steps"] == steps
    assert bool(list(run.glob("*profile*"))) == (choice == "profile")


def test_logger_csv_writes_the_curves():
    assert main(["train", *SMALL, "logger=csv", "observe=off"]) == 0
    run = Path("runs") / Path("runs/latest").read_text().strip()
    assert "loss/validation" in (run / "metrics.csv").read_text().splitlines()[0]


def test_cfg_shows_the_configuration_only(capsys):
    assert main(["train", "--cfg", "job", "data=moons", "-p", "data"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["noise"] == 0.1
    assert not Path("runs").exists()


def test_config_dir_adds_choices(calls):
    group = Path("mine/data")
    group.mkdir(parents=True)
    (group / "few.yaml").write_text(
        "defaults: [_module]\n_target_: brainnet.data.datasets.Xor\nrows: 40\nnoise: 0.0\n"
    )
    assert main(["train", "--config-dir", "mine", "data=few"]) == 0
    assert [len(call["data"].dataset.inputs) for call in calls] == [40]
    assert calls[0]["folder"].path.parent.name == "few"


def test_evaluate_reproduces_the_test_result(run, summary, capsys):
    assert main(["evaluate", "latest"]) == 0
    out = capsys.readouterr().out
    wanted = summary(run)["metrics"]
    figures, _, confusion = out.partition("\n\n")
    printed = dict(line.split(maxsplit=1) for line in figures.splitlines())
    assert "setosa" in confusion
    assert float(printed["accuracy/test"]) == pytest.approx(wanted["accuracy/test"], rel=1e-3)
    assert float(printed["loss/test"]) == pytest.approx(wanted["loss/test"], rel=1e-3)


def test_evaluate_on_other_rows(capsys):
    words = ["data=xor", "data.rows=200", "trainer.max_epochs=5", "trainer=cpu", "observe=off"]
    assert main(["train", *words]) == 0
    capsys.readouterr()
    assert main(["evaluate", "latest", "data=xor", "data.rows=1000", "seed=5"]) == 0
    assert "200 test rows of xor" in capsys.readouterr().out


def test_sweep_table_shows_the_summaries(capsys):
    assert main(["train", *SMALL, "-m", "seed=0,1"]) == 0
    out = capsys.readouterr().out
    sweep = (Path("runs") / Path("runs/latest").read_text().strip()).parent
    for number in ("0", "1"):
        metrics = json.loads((sweep / number / "summary.json").read_text())["metrics"]
        assert f"{metrics['accuracy/test']:.4g}" in out


def test_run_dir_outside_of_the_runs_folder(summary):
    assert main(["train", *SMALL, "hydra.run.dir=mine"]) == 0
    assert summary("mine")["state"] == "finished"
    assert Path("runs/latest").read_text() == "../mine\n"


def test_loggers_and_profilers_write_into_the_claimed_folder(summary):
    full = Path("full")
    full.mkdir()
    (full / "file").write_text("")
    words = ["hydra.run.dir=full", "logger=csv", "debug=profile", "observe=off"]
    assert main(["train", *SMALL, *words]) == 0
    assert [path.name for path in full.iterdir()] == ["file"]
    assert summary("full_2")["state"] == "finished"
    assert Path("full_2/metrics.csv").is_file()
    assert Path("full_2/fit-profile.txt").is_file()


def test_failed_start_leaves_no_folder(run, capsys):
    before = sorted(Path.cwd().rglob("*")), Path("runs/latest").read_text()
    assert main(["train", "network.inputs=3", "hydra.run.dir=mine"]) == 2
    assert main(["train", "network.inputs=3"]) == 2
    assert (sorted(Path.cwd().rglob("*")), Path("runs/latest").read_text()) == before


class Impatient(Callback):
    """Interrupts the final test."""

    def on_test_start(self, trainer, pl_module):
        os.kill(os.getpid(), signal.SIGINT)


def test_printed_command_continues_an_interrupted_run(monkeypatch, capsys, summary):
    train = command.train
    impatient = [Impatient()]
    monkeypatch.setattr(command, "train", lambda *a, **k: train(*a, **k | {"callbacks": impatient}))
    assert main(["train", *SMALL]) == 130
    printed = capsys.readouterr().out.splitlines()[-1].split("brainnet ")[1].split()
    monkeypatch.setattr(command, "train", train)
    assert printed[0] == "train"
    assert main(printed) == 0
    run = Path("runs") / Path("runs/latest").read_text().strip()
    assert summary(run)["state"] == "finished"
    assert "accuracy/test" in summary(run)["metrics"]


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
def test_keys_of_a_replaced_class_are_dropped(words, group, kept):
    assert main(["train", *SHORT, *words]) == 0
    stored = find_run("latest").folder.read_config()[group]
    target = next(w for w in words if "_target_" in w).partition("=")[2]
    assert stored == {"_target_": target, **kept}
    assert main(["evaluate", "latest"]) == 0


def test_keys_of_the_data_module_are_kept():
    target = "brainnet.data.datasets.Circles"
    assert main(["train", *SHORT, f"data._target_={target}", "data.batch_size=64"]) == 0
    stored = find_run("latest").folder.read_config()["data"]
    assert stored["_target_"] == target
    assert (stored["rows"], stored["batch_size"], stored["test"]) == (1000, 64, 0.2)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("activation.width=2", "activation.width: SELU has no such key"),
        ("+activation.slope=2", "activation.slope: SELU has no such key"),
    ],
)
def test_typed_key_that_the_class_does_not_accept_is_rejected(capsys, word, message):
    assert main(["train", "activation._target_=torch.nn.SELU", word]) == 2
    assert message in capsys.readouterr().err


def test_columns_of_a_table_are_listed_by_kind(capsys):
    lines = [
        f"{row % 7},{('red', 'green')[row % 2]}s,t{row % 40},{('no', 'yes')[row % 3 == 0]},"
        f"2024-01-{row % 28 + 1:02},{row % 24}:30,{row / 9:.3}"
        for row in range(80)
    ]
    names = "age,colour,town,paid,born,start,price"
    Path("rows.csv").write_text("\n".join([names, *lines]).replace("reds", "blue") + "\n")
    words = ["data=table", "data.path=rows.csv", "data.target=price", "data.categories=[colour]"]
    few = ["network.hidden=[3]", "trainer.max_epochs=1", "trainer=cpu", "observe=off"]
    assert main(["train", *words, *few]) == 0
    assert capsys.readouterr().out.splitlines()[:5] == [
        "predict price (regression), from 80 rows of rows",
        "  numbers    age",
        "  categories colour (2), town (40), start (24)",
        "  yes/no     paid (2)",
        "  dates      born",
    ]


@pytest.mark.parametrize(("sides", "colours"), [((4, 6), "gray"), ((4, 6, 3), "in color")])
def test_images_are_described_by_number_size_and_classes(sides, colours, capsys):
    noise = np.random.default_rng(0)
    for name in ("cat", "dog"):
        Path("pets", name).mkdir(parents=True)
        for number in range(10):
            pixels = noise.integers(0, 255, sides, np.uint8)
            Image.fromarray(pixels).save(Path("pets", name, f"{number}.png"))
    few = ["network.hidden=[3]", "trainer.max_epochs=1", "trainer=cpu", "observe=off"]
    assert main(["train", "data=images", "data.path=pets", *few]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"predict cat or dog, from 20 images of 4 x 6, {colours}"


def test_built_in_data_are_not_described(capsys):
    few = ["data=xor", "network.hidden=[3]", "trainer.max_epochs=1", "trainer=cpu", "observe=off"]
    assert main(["train", *few]) == 0
    assert "predict " not in capsys.readouterr().out
