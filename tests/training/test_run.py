import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from brainnet.data.datamodule import DataModule
from brainnet.data.dataset import Dataset
from brainnet.data.datasets import Moons
from brainnet.errors import InputError, TrainingFailure
from brainnet.inference.evaluate import evaluate
from brainnet.learning.loss import CrossEntropy, MeanSquaredError
from brainnet.structure.network import Network
from brainnet.training.callbacks import Observe
from brainnet.training.fit import fit
from brainnet.training.run_directory import RunDirectory

TIMED = "/seconds"


class AtStep(Callback):
    """Does something once a step is done."""

    def __init__(self, step, action):
        self.step = step
        self.action = action

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step == self.step:
            self.action(pl_module)


def interrupt(_):
    os.kill(os.getpid(), signal.SIGINT)


def curves(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if not tag.endswith(TIMED)
    }


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def weights(network):
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def frozen():
    return Network([2, 8, 1]).requires_grad_(False)


def dropout_network():
    generator = torch.Generator().manual_seed(0)
    first = Network([2, 8, 8], generator=generator)
    return nn.Sequential(first, nn.Dropout(0.3), Network([8, 1], generator=generator))


def test_a_run_leaves_what_it_promises(start):
    result = start(config={"name": "moons", "network": {"hidden": [8]}})
    files = {path.relative_to(result.folder).as_posix() for path in result.folder.rglob("*")}
    events = {name for name in files if name.startswith("events.out.tfevents")}
    assert len(events) == 1
    assert files - events == {
        "checkpoints",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "config.yaml",
        "summary.json",
    }
    stored = yaml.safe_load((result.folder / "config.yaml").read_text())
    assert stored == {"name": "moons", "network": {"hidden": [8]}}
    told = summary(result.folder)
    assert (told["state"], told["steps"], told["epochs"], told["seed"]) == ("finished", 14, 2, 0)
    assert told["metrics"] == result.metrics
    assert torch.__version__.startswith(told["versions"]["torch"].partition("+")[0])
    assert set(result.metrics) == {
        f"{name}/{stage}"
        for name in ("loss", "accuracy")
        for stage in ("train", "validation", "test")
    }


def test_each_curve_has_a_point_for_each_epoch_and_the_first_guess(start):
    result = start()
    found = curves(result.folder)
    for tag in ("loss/train", "loss/validation", "accuracy/train", "accuracy/validation"):
        assert [step for step, _ in found[tag]] == [0, 7, 14]
    assert [step for step, _ in found["loss/test"]] == [14]


def test_the_same_seed_gives_the_same_bits(start, tmp_path):
    runs = [
        start(dropout_network(), folder=tmp_path / name, observe=Observe(every=5))
        for name in ("first", "second")
    ]
    assert torch.equal(*(weights(run.network) for run in runs))
    assert runs[0].metrics == runs[1].metrics
    first, second = (curves(run.folder) for run in runs)
    assert first == second
    assert len(first) > 10


def test_another_seed_drops_other_neurons(start, tmp_path):
    runs = [start(dropout_network(), folder=tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    assert not torch.equal(*(weights(run.network) for run in runs))


def test_global_random_numbers_are_handed_back(start):
    state = torch.get_rng_state()
    start(dropout_network())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("step", [3, 7, 10, 14, 20])
def test_a_resumed_run_equals_an_uninterrupted_one(start, tmp_path, step):
    def cosine(optimizer, steps):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    options = {"trainer": {"max_epochs": 4}, "schedule": cosine}
    whole = start(dropout_network(), **options)
    folder = tmp_path / "parts"
    stop = AtStep(step, interrupt)
    first = start(dropout_network(), folder=folder, callbacks=[stop], **options)
    assert (first.state, first.signal, first.steps) == ("interrupted", signal.SIGINT, step)
    second = start(dropout_network(), resume=folder, **options)
    assert second.folder == folder
    assert (second.state, second.steps) == ("finished", 28)
    assert torch.equal(weights(second.network), weights(whole.network))
    assert second.metrics == whole.metrics
    assert curves(folder) == curves(whole.folder)
    ends = [
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        for run in (folder, whole.folder)
    ]
    assert torch.equal(*(weights_of(end["state_dict"]) for end in ends))
    assert torch.equal(*(end["brainnet"]["random"]["torch"] for end in ends))


def weights_of(state):
    return torch.cat([value.flatten() for value in state.values()])


def test_a_finished_run_can_be_prolonged(start):
    whole = start(trainer={"max_epochs": 4})
    first = start(trainer={"max_epochs": 2})
    second = start(resume=first.folder, trainer={"max_epochs": 4})
    assert torch.equal(weights(second.network), weights(whole.network))
    with pytest.raises(InputError, match=r"all of its 4 epochs.*trainer\.max_epochs=8"):
        start(resume=first.folder, trainer={"max_epochs": 4})


def test_a_run_can_be_cut_by_steps(start):
    result = start(trainer={"max_steps": 10, "max_epochs": -1})
    assert result.steps == 10
    with pytest.raises(InputError, match="all of its 10 steps"):
        start(resume=result.folder, trainer={"max_steps": 10, "max_epochs": -1})


def test_the_best_weights_are_judged(start, moons):
    def worse(module):
        module.network.layers[0].weights.value.data.neg_()

    result = start(trainer={"max_epochs": 8}, callbacks=[AtStep(55, worse)])
    best = torch.load(result.folder / "checkpoints" / "best.ckpt", weights_only=True)
    last = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert (best["global_step"], last["global_step"]) == (49, 56)
    assert not result.network.training
    with torch.no_grad():
        right = (result.network(moons.take("test")[0])[:, 0] > 0).long() == moons.take("test")[1]
    assert result.metrics["accuracy/test"] == pytest.approx(right.double().mean().item())


def test_sigterm_is_told_from_ctrl_c(start):
    stop = AtStep(3, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    result = start(callbacks=[stop])
    assert (result.state, result.signal) == ("interrupted", signal.SIGTERM)
    assert summary(result.folder)["state"] == "interrupted"
    assert summary(result.folder)["signal"] == "SIGTERM"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_failure_keeps_the_last_good_checkpoint(start, tmp_path):
    def poison(module):
        module.network.layers[0].weights.value.data.fill_(math.nan)

    with pytest.raises(TrainingFailure, match=r"nan at step 9\. .*last\.ckpt.*optimizer\.lr"):
        start(callbacks=[AtStep(9, poison)])
    told = summary(tmp_path / "run")
    assert (told["state"], told["steps"]) == ("failed", 9)
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 7
    assert weights_of(kept["state_dict"]).isfinite().all()


def test_weights_that_burst_in_the_last_step_are_not_stored(start, tmp_path):
    def poison(module):
        module.network.layers[0].weights.value.data.fill_(math.inf)

    with pytest.raises(TrainingFailure, match=r"at step 7|before step 7"):
        start(callbacks=[AtStep(7, poison)])
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 0


def test_a_huge_learning_rate_fails_in_words(start):
    with pytest.raises(TrainingFailure, match="loss became"):
        start(
            Network([2, 8, 1], "identity"),
            optimizer=lambda p: torch.optim.SGD(p, lr=1e30),
            trainer={"max_epochs": 20},
        )


def test_a_bug_in_a_callback_is_a_failed_run(start, tmp_path):
    def bug(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start(callbacks=[AtStep(3, bug)])
    assert summary(tmp_path / "run")["state"] == "failed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": Network([3, 1])}, r"expects 3 inputs; got 2 \(data: moons\)"),
        ({"network": Network([2, 2])}, "needs 1 output; the network has 2"),
        ({"loss": MeanSquaredError()}, "MeanSquaredError is for regression tasks"),
        ({"trainer": {"max_epoch": 3}}, "has no option 'max_epoch'.*max_epochs"),
        ({"trainer": {"precision": "7"}}, "the trainer cannot be set up"),
        ({"trainer": {"max_epochs": 0}}, "trainer.max_epochs must be 1 or more"),
        ({"network": frozen()}, "all weights of the network are frozen"),
        ({"resume": "nowhere"}, "there is no run"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(start, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        start(**options)
    assert list(tmp_path.iterdir()) == []


def test_what_lightning_finds_late_leaves_nothing_behind(start, tmp_path):
    stopping = EarlyStopping("loss/nowhere")
    folder = RunDirectory.plan(tmp_path / "runs", "moons")

    class Refused(Callback):
        def on_fit_start(self, trainer, pl_module):
            raise MisconfigurationException("not so")

    with pytest.raises(InputError, match="Lightning cannot train so: not so"):
        start(folder=folder, callbacks=[stopping, Refused()])
    assert list(tmp_path.iterdir()) == []
    first = start(folder=folder)
    latest = (tmp_path / "runs" / "latest").read_text()
    with pytest.raises(InputError, match="not so"):
        start(folder=folder, callbacks=[Refused()])
    assert (tmp_path / "runs" / "latest").read_text() == latest
    assert [path.name for path in first.folder.parent.iterdir()] == [first.folder.name]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
def test_a_gpu_that_is_not_there_is_said_before_anything_is_written(start, tmp_path, accelerator):
    with pytest.raises(InputError, match="needs such a device"):
        start(trainer={"accelerator": accelerator})
    assert list(tmp_path.iterdir()) == []


def test_other_callbacks_and_loggers_come_along(start, tmp_path):
    stopping = EarlyStopping("loss/validation", patience=1, min_delta=100.0)
    table = CSVLogger(tmp_path / "run", name="", version="")
    result = start(trainer={"max_epochs": 9}, callbacks=[stopping], loggers=[table])
    assert result.steps == 14
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert "loss/validation" in rows[0]
    assert len(rows) > 3


def test_observation_tells_and_changes_nothing(start, tmp_path):
    plain = start(folder=tmp_path / "plain")
    watched = start(folder=tmp_path / "watched", observe=Observe(every=5, level="full"))
    assert torch.equal(weights(plain.network), weights(watched.network))
    assert [reading.step for reading in watched.readings] == [0, 1, 2, 5, 10]
    assert plain.readings == []


def test_compiled_networks_leave_plain_keys(start):
    network = Network([2, 8, 1])
    network.compile(backend="eager")
    result = start(network)
    kept = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert "network.layers.0.weights.value" in kept["state_dict"]
    assert not any("_orig_mod" in key for key in kept["state_dict"])


def test_a_compiled_copy_leaves_plain_keys_and_stays_compiled(tmp_path):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    options = {"epochs": 1, "observe": "off", "progress": False}
    plain = Network([4, 8, 3], generator=torch.Generator().manual_seed(0))
    network = Network([4, 8, 3], generator=torch.Generator().manual_seed(0))
    compiled = torch.compile(network, backend=backend)
    expected = fit(plain, "iris", folder=tmp_path / "plain", **options)
    result = fit(compiled, "iris", folder=tmp_path / "compiled", **options)
    assert graphs
    assert result.network is network
    assert result.metrics == pytest.approx(expected.metrics)
    assert RunDirectory(result.folder).read_config() == RunDirectory(expected.folder).read_config()
    kept = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert set(kept["state_dict"]) == {f"network.{name}" for name in plain.state_dict()}
    data = DataModule("iris")
    found = evaluate(result.folder, torch.compile(network, backend=backend), data, CrossEntropy())
    assert found.metrics["loss/test"] == pytest.approx(result.metrics["loss/test"])


def test_fit_hands_other_loggers_on(tmp_path):
    table = CSVLogger(tmp_path, name="", version="")
    fit(
        Network([4, 3]),
        "iris",
        epochs=1,
        folder=tmp_path / "run",
        loggers=[table],
        progress=False,
    )
    assert "loss/validation" in (tmp_path / "metrics.csv").read_text()
    assert yaml.safe_load((tmp_path / "hparams.yaml").read_text())["name"] == "iris"


def test_fit_takes_a_name_and_makes_its_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result = fit(Network([4, 8, 3]), "iris", epochs=2, observe="off")
    assert result.folder.parent == Path("runs/iris")
    assert (tmp_path / "runs" / "latest").read_text().strip() == f"iris/{result.folder.name}"
    printed = capsys.readouterr().out
    assert "epoch 2/2" in printed
    assert f"tensorboard --logdir {result.folder}" in printed


def test_fit_takes_arrays_datasets_and_data_modules(tmp_path):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(120, 3, generator=generator)
    targets = inputs.sum(dim=1, keepdim=True).numpy()
    for number, data in enumerate(
        [
            (inputs.numpy(), targets),
            Dataset.from_arrays(inputs, targets),
            DataModule((inputs, targets), batch_size=16),
        ]
    ):
        folder = tmp_path / str(number)
        result = fit(
            Network([3, 1]),
            data,
            learning_rate=0.1,
            schedule="cosine",
            folder=folder,
            observe="off",
            progress=False,
        )
        assert result.folder == folder
        assert result.metrics["r2/test"] > 0.9


def test_fit_asks_two_classes_of_a_network_with_two_outputs(tmp_path):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(120, 4, generator=generator)
    result = fit(
        Network([4, 8, 2]),
        (inputs, (inputs[:, 0] > 0).long()),
        learning_rate=0.03,
        folder=tmp_path / "run",
        observe="off",
        progress=False,
    )
    assert result.metrics["accuracy/test"] > 0.8
    told = RunDirectory(result.folder).read_config()
    assert told["loss"]["_target_"] == "brainnet.learning.loss.CrossEntropy"


def test_fit_describes_what_it_did(tmp_path):
    result = fit(
        Network([2, 8, 4, 1], "tanh"),
        Moons(rows=100, noise=0.2),
        optimizer="sgd",
        learning_rate=0.1,
        epochs=1,
        seed=3,
        folder=tmp_path / "run",
        progress=False,
    )
    told = RunDirectory(result.folder).read_config()
    kept = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["brainnet"]["config"] == told
    assert told["seed"] == 3
    assert told["data"]["_target_"] == "brainnet.data.datasets.Moons"
    assert told["data"]["noise"] == 0.2
    assert told["network"]["hidden"] == [8, 4]
    assert told["activation"]["_target_"] == "torch.nn.modules.activation.Tanh"
    assert told["optimizer"] == {
        "_target_": "brainnet.learning.gradient_descent.GradientDescent",
        "lr": 0.1,
    }


def test_a_run_has_one_seed(tmp_path):
    data = DataModule(Moons(rows=100), seed=3)
    options = {"epochs": 1, "observe": "off", "progress": False}
    result = fit(Network([2, 1]), data, folder=tmp_path / "run", **options)
    assert summary(result.folder)["seed"] == 3
    assert RunDirectory(result.folder).read_config()["seed"] == 3
    with pytest.raises(InputError, match=r"split by 3; got seed=4"):
        fit(Network([2, 1]), data, seed=4, folder=tmp_path / "other", **options)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "moon"}, "Did you mean moons"),
        ({"loss": "mean_squared_error"}, r'is a binary task.*loss="auto"'),
        ({"loss": "cross_entropy"}, r'needs 2 outputs.*loss="binary_cross_entropy"'),
        ({"data": ([], [])}, "no rows"),
        ({"loss": "cross_entropi"}, "Did you mean cross_entropy"),
        ({"optimizer": "adan"}, "Did you mean adam"),
        ({"schedule": "cosinus"}, "Did you mean cosine"),
        ({"epochs": 0}, "epochs must be a whole number of 1 or more"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number"),
        ({"batch_size": 0}, "batch_size"),
        ({"observe": "some"}, "observe needs a level"),
    ],
)
def test_fit_teaches(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        fit(Network([2, 1]), options.pop("data", "moons"), **options)
    assert list(tmp_path.iterdir()) == []
