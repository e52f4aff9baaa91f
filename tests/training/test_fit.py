import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
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
from brainnet.inference.trained_model import load
from brainnet.learning.loss import BinaryCrossEntropy, MeanSquaredError
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


def test_a_run_writes_the_documented_files(start):
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
    stored = summary(result.folder)
    assert (stored["state"], stored["steps"], stored["epochs"], stored["seed"]) == (
        "finished",
        14,
        2,
        0,
    )
    assert stored["metrics"] == result.metrics
    assert torch.__version__.startswith(stored["versions"]["torch"].partition("+")[0])
    assert set(result.metrics) == {
        f"{name}/{stage}"
        for name in ("loss", "accuracy")
        for stage in ("train", "validation", "test")
    }


def test_curves_have_a_point_per_epoch_and_one_at_step_0(start):
    result = start()
    found = curves(result.folder)
    for tag in ("loss/train", "loss/validation", "accuracy/train", "accuracy/validation"):
        assert [step for step, _ in found[tag]] == [0, 7, 14]
    assert [step for step, _ in found["loss/test"]] == [14]


def test_the_same_seed_gives_bit_identical_runs(start, tmp_path):
    runs = [
        start(dropout_network(), folder=tmp_path / name, observe=Observe(every=5))
        for name in ("first", "second")
    ]
    assert torch.equal(*(weights(run.network) for run in runs))
    assert runs[0].metrics == runs[1].metrics
    first, second = (curves(run.folder) for run in runs)
    assert first == second
    assert len(first) > 10


def test_another_seed_changes_dropout(start, tmp_path):
    runs = [start(dropout_network(), folder=tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    assert not torch.equal(*(weights(run.network) for run in runs))


def test_the_global_random_state_is_restored(start):
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


def test_a_finished_run_can_be_trained_longer(start):
    whole = start(trainer={"max_epochs": 4})
    first = start(trainer={"max_epochs": 2})
    second = start(resume=first.folder, trainer={"max_epochs": 4})
    assert torch.equal(weights(second.network), weights(whole.network))
    with pytest.raises(InputError, match=r"completed 4 epochs.*trainer\.max_epochs=8"):
        start(resume=first.folder, trainer={"max_epochs": 4})


def test_max_steps_limits_a_run(start):
    result = start(trainer={"max_steps": 10, "max_epochs": -1})
    assert result.steps == 10
    with pytest.raises(InputError, match="already completed 10 steps"):
        start(resume=result.folder, trainer={"max_steps": 10, "max_epochs": -1})


def test_the_best_weights_are_tested(start, moons):
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


def test_sigterm_is_reported_as_such(start):
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
    stored = summary(tmp_path / "run")
    assert (stored["state"], stored["steps"]) == ("failed", 9)
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 7
    assert weights_of(kept["state_dict"]).isfinite().all()


def test_non_finite_weights_are_not_saved(start, tmp_path):
    def poison(module):
        module.network.layers[0].weights.value.data.fill_(math.inf)

    with pytest.raises(TrainingFailure, match=r"at step 7|before step 7"):
        start(callbacks=[AtStep(7, poison)])
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 0


def test_divergence_raises_a_training_failure(start):
    with pytest.raises(TrainingFailure, match="loss became"):
        start(
            Network([2, 8, 1], "identity"),
            optimizer=lambda p: torch.optim.SGD(p, lr=1e30),
            trainer={"max_epochs": 20},
        )


def test_an_exception_in_a_callback_fails_the_run(start, tmp_path):
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
        ({"trainer": {"max_epoch": 3}}, "has no option 'max_epoch' here.*max_epochs"),
        ({"trainer": {"precision": "7"}}, "the trainer cannot be set up"),
        ({"trainer": {"max_epochs": 0}}, "max_epochs .*must be 1 or more"),
        ({"network": frozen()}, "all weights of the network are frozen"),
        ({"resume": "nowhere"}, "there is no run"),
    ],
)
def test_invalid_arguments_are_rejected_before_anything_is_written(
    start, tmp_path, options, message
):
    with pytest.raises(InputError, match=message):
        start(**options)
    assert list(tmp_path.iterdir()) == []


def test_late_rejections_by_lightning_leave_nothing_behind(start, tmp_path):
    stopping = EarlyStopping("loss/nowhere")
    folder = RunDirectory.plan(tmp_path / "runs", "moons")

    class Refused(Callback):
        def on_fit_start(self, trainer, pl_module):
            raise MisconfigurationException("not so")

    with pytest.raises(InputError, match="Lightning rejects these options: not so"):
        start(folder=folder, callbacks=[stopping, Refused()])
    assert list(tmp_path.iterdir()) == []
    first = start(folder=folder)
    latest = (tmp_path / "runs" / "latest").read_text()
    with pytest.raises(InputError, match="not so"):
        start(folder=folder, callbacks=[Refused()])
    assert (tmp_path / "runs" / "latest").read_text() == latest
    assert [path.name for path in first.folder.parent.iterdir()] == [first.folder.name]


def test_failed_set_up_leaves_nothing_behind(start, tmp_path, monkeypatch):
    class Full(CSVLogger):
        def log_hyperparams(self, params=None):
            raise ValueError("no such server")

    with pytest.raises(ValueError, match="no such server"):
        start(loggers=[Full(tmp_path / "run", name="", version="")])
    assert list(tmp_path.iterdir()) == []
    fill_disk(monkeypatch, "running")
    with pytest.raises(TrainingFailure, match="the summary cannot be written: No space left"):
        start()
    assert list(tmp_path.iterdir()) == []


def fill_disk(monkeypatch, *states):
    """Let summaries with one of these states not be written."""
    write = RunDirectory.write_summary

    def write_or_fail(folder, values):
        if values["state"] in states:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(folder, values)

    monkeypatch.setattr(RunDirectory, "write_summary", write_or_fail)


def test_full_disk_is_a_training_failure(start, tmp_path, monkeypatch):
    def fill(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "events")

    with pytest.raises(TrainingFailure, match=r"events cannot be written: No space.*last\.ckpt"):
        start(callbacks=[AtStep(7, fill)])
    assert summary(tmp_path / "run")["state"] == "failed"
    fill_disk(monkeypatch, "finished", "failed", "interrupted")
    with pytest.raises(TrainingFailure, match=r"the summary cannot be written.*Free some disk"):
        start()
    with pytest.raises(TrainingFailure, match="the summary cannot be written"):
        start(callbacks=[AtStep(7, interrupt)])
    with pytest.raises(ZeroDivisionError):
        start(callbacks=[AtStep(7, lambda _: 1 / 0)])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
def test_a_missing_gpu_is_rejected_before_anything_is_written(start, tmp_path, accelerator):
    with pytest.raises(InputError, match=r"the trainer cannot be set up: .*trainer=auto"):
        start(trainer={"accelerator": accelerator})
    assert list(tmp_path.iterdir()) == []


def test_further_callbacks_and_loggers_are_used(start, tmp_path):
    stopping = EarlyStopping("loss/validation", patience=1, min_delta=100.0)
    table = CSVLogger(tmp_path / "run", name="", version="")
    result = start(trainer={"max_epochs": 9}, callbacks=[stopping], loggers=[table])
    assert result.steps == 14
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert "loss/validation" in rows[0]
    assert len(rows) > 3


def test_observation_does_not_change_the_weights(start, tmp_path):
    plain = start(folder=tmp_path / "plain")
    watched = start(folder=tmp_path / "watched", observe=Observe(every=5, level="full"))
    assert torch.equal(weights(plain.network), weights(watched.network))
    assert [reading.step for reading in watched.readings] == [0, 1, 2, 5, 10]
    assert plain.readings == []


def test_checkpoints_of_compiled_networks_have_plain_keys(start):
    network = Network([2, 8, 1])
    network.compile(backend="eager")
    result = start(network)
    kept = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert "network.layers.0.weights.value" in kept["state_dict"]
    assert not any("_orig_mod" in key for key in kept["state_dict"])


def test_the_result_of_torch_compile_is_trained_in_place(tmp_path):
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
    found = evaluate(load(result.folder, network=torch.compile(network, backend=backend)), data)
    assert found.metrics["loss/test"] == pytest.approx(result.metrics["loss/test"])


def test_fit_passes_loggers_on(tmp_path):
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


def test_fit_accepts_a_data_name_and_creates_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result = fit(Network([4, 8, 3]), "iris", epochs=2, observe="off")
    assert result.folder.parent == Path("runs/iris")
    assert (tmp_path / "runs" / "latest").read_text().strip() == f"iris/{result.folder.name}"
    printed = capsys.readouterr().out
    assert "epoch 2/2" in printed
    assert f"tensorboard --logdir {result.folder}" in printed


def test_fit_accepts_arrays_datasets_and_data_modules(tmp_path):
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


def test_fit_trains_two_classes_with_two_outputs(tmp_path):
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
    stored = RunDirectory(result.folder).read_config()
    assert stored["loss"]["_target_"] == "brainnet.learning.loss.CrossEntropy"


def test_fit_stores_a_description_of_the_run(tmp_path):
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
    stored = RunDirectory(result.folder).read_config()
    kept = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["brainnet"]["config"] == stored
    assert stored["seed"] == 3
    assert stored["data"]["_target_"] == "brainnet.data.datasets.Moons"
    assert stored["data"]["noise"] == 0.2
    assert stored["network"]["hidden"] == [8, 4]
    assert stored["activation"]["_target_"] == "torch.nn.modules.activation.Tanh"
    assert stored["optimizer"] == {
        "_target_": "brainnet.learning.gradient_descent.GradientDescent",
        "lr": 0.1,
    }


def test_a_run_has_one_seed(tmp_path):
    data = DataModule(Moons(rows=100), seed=3)
    options = {"epochs": 1, "observe": "off", "progress": False}
    result = fit(Network([2, 1]), data, folder=tmp_path / "run", **options)
    assert summary(result.folder)["seed"] == 3
    assert RunDirectory(result.folder).read_config()["seed"] == 3
    with pytest.raises(InputError, match=r"split with seed 3; got seed=4"):
        fit(Network([2, 1]), data, seed=4, folder=tmp_path / "other", **options)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "moon"}, "Did you mean moons"),
        ({"loss": "mean_squared_error"}, r'is a binary task.*loss="auto"'),
        ({"loss": "cross_entropy"}, r"needs 2 outputs; the network has 1.*loss=auto"),
        ({"data": ([], [])}, "no rows"),
        ({"loss": "cross_entropi"}, "Did you mean cross_entropy"),
        ({"optimizer": "adan"}, "Did you mean adam"),
        ({"schedule": "cosinus"}, "Did you mean cosine"),
        ({"epochs": 0}, "epochs must be a whole number of 1 or more"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number"),
        ({"batch_size": 0}, "batch_size"),
        ({"observe": "some"}, "observe must be light, full or off"),
    ],
)
def test_fit_rejects_invalid_arguments(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        fit(Network([2, 1]), options.pop("data", "moons"), **options)
    assert list(tmp_path.iterdir()) == []


class Signal(Callback):
    """Sends Ctrl-C from one of Lightning's hooks."""

    def __init__(self, hook):
        setattr(self, hook, self.send)

    def send(self, *_, **__):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("hook", ["on_train_end", "on_test_start", "on_test_batch_end"])
def test_a_run_interrupted_in_its_test_is_tested_when_resumed(start, tmp_path, hook):
    whole = start(folder=tmp_path / "whole")
    first = start(folder=tmp_path / "parts", callbacks=[Signal(hook)])
    assert (first.state, first.signal, first.steps) == ("interrupted", signal.SIGINT, 14)
    second = start(resume=first.folder)
    assert (second.state, second.signal, second.steps) == ("finished", None, 14)
    assert second.metrics == whole.metrics
    stored = summary(first.folder)
    assert (stored["state"], stored["steps"], stored["epochs"]) == ("finished", 14, 2)
    assert stored["metrics"] == whole.metrics
    with pytest.raises(InputError, match="already completed 2 epochs"):
        start(resume=first.folder)


def test_a_signal_after_the_test_is_ignored(start):
    result = start(callbacks=[Signal("on_test_end")])
    assert (result.state, result.signal) == ("finished", None)
    assert summary(result.folder)["state"] == "finished"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            Network([2, 9, 1]),
            r"different network.*network\.layers\.0\.weights\.value.*\[8, 2\].*\[9, 2\]",
        ),
        (Network([2, 8, 8, 1]), r"Missing key.*network\.layers\.2\.weights\.value"),
        (nn.Linear(2, 1), r"Missing key.*network\.weight.*Unexpected key"),
    ],
)
def test_resuming_with_another_network_is_rejected(start, network, message):
    first = start(config={"name": "first"})
    before = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    weights = [value.clone() for value in network.parameters()]
    with pytest.raises(InputError, match=message):
        start(network, resume=first.folder, trainer={"max_epochs": 4}, config={"name": "second"})
    after = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    assert after == before
    assert all(torch.equal(*pair) for pair in zip(weights, network.parameters(), strict=True))


def test_folder_and_resume_are_exclusive(start, tmp_path):
    first = start()
    with pytest.raises(InputError, match="continues in its directory"):
        fit(Network([2, 8, 1]), "moons", resume=first.folder, folder=tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("part", ["loops", "global_step", "state_dict", "fit_loop", "config"])
def test_incomplete_checkpoints_are_rejected(start, part):
    first = start()
    path = first.folder / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    {"fit_loop": checkpoint["loops"], "config": checkpoint["brainnet"]}.get(part, checkpoint).pop(
        part
    )
    torch.save(checkpoint, path)
    with pytest.raises(InputError, match=r"not a checkpoint of brainnet|has no training progress"):
        start(resume=first.folder, trainer={"max_epochs": 4})
    assert summary(first.folder)["state"] == "finished"


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"max_epochs": 1}, r"already completed 2 epochs, and trainer\.max_epochs is 1\."),
        (
            {"max_epochs": 4, "max_steps": 3},
            r"already completed 14 steps, and .*max_steps is 3\.",
        ),
    ],
)
def test_limits_below_the_progress_of_a_run_are_rejected(start, limit, message):
    first = start(callbacks=[Signal("on_train_end")])
    with pytest.raises(InputError, match=message):
        start(resume=first.folder, trainer=limit)


class Spoils(Callback):
    """Ruins the network as its last epoch begins."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            pl_module.network.layers[-1].bias.value.data.fill_(1000.0)


def test_best_is_the_loss_of_the_returned_network(start, moons):
    result = start(data=moons, callbacks=[Spoils()], trainer={"max_epochs": 3})
    inputs, truths = moons.take("validation")
    with torch.no_grad():
        loss = BinaryCrossEntropy()(result.network(inputs), truths).item()
    assert result.best == pytest.approx(loss)
    assert result.best < 100 < result.metrics["loss/validation"]


@pytest.mark.parametrize(
    ("rate", "stored"), [(0.01, False), (1e4, True)], ids=["learns", "explodes"]
)
def test_the_summary_reports_divergence(start, moons, rate, stored):
    result = start(
        data=moons,
        network=Network([2, 8, 1], generator=torch.Generator().manual_seed(0)),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=rate),
        trainer={"max_epochs": 2},
    )
    began, ended = result.untrained_loss, result.metrics["loss/train"]
    assert began == pytest.approx(0.7, abs=0.2)
    line = f"the loss ended at {ended:.3g} and started at {began:.3g}: try a smaller optimizer.lr"
    assert (line in result.summary) is stored


def test_numpy_arguments_are_stored_as_plain_values(tmp_path):
    numbers = {"epochs": np.int64(1), "batch_size": np.int64(16), "seed": np.int64(3)}
    rate = {"learning_rate": np.float32(0.25)}
    network = Network([4, 3])
    result = fit(network, "iris", folder=tmp_path / "run", progress=False, **numbers, **rate)
    kept = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["optimizer_states"][0]["param_groups"][0]["lr"] == 0.25


ROOT = Path(__file__).parents[2]

SCRIPT = """
import sys
import torch
from brainnet.structure.network import Network
from brainnet.training.fit import fit

if __name__ == "__main__":
    network = Network([64, 16, 10], generator=torch.Generator().manual_seed(0))
    result = fit(
        network,
        "digits",
        folder=sys.argv[1],
        epochs=2,
        trainer={"accelerator": "cpu", "devices": 2, "strategy": "ddp"},
    )
    print("weights", sum(value.sum().item() for value in network.parameters()), result.folder)
    print("tested", int(result.confusion.sum()))
"""


@pytest.mark.slow
def test_two_processes_train_one_run(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "run"],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stored = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("weights")]
    assert stored[0][0] == stored[1][0]
    # An odd number of test rows, each counted once, and as one process counts them.
    tested = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("tested")]
    data = DataModule("digits")
    assert tested == ["359", "359"]
    assert len(data.take("test")[1]) == 359
    alone = evaluate(load(tmp_path / "run"), data)
    assert {folder for _, folder in stored} == {"None", str(tmp_path / "run")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "script.py"]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    # 1,259 training rows, in 32s, over two processes.
    assert (summary["state"], summary["steps"]) == ("finished", 40)
    assert {tag: summary["metrics"][tag] for tag in alone.metrics} == pytest.approx(alone.metrics)
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss/validation")] == [0, 20, 40]
    assert len(list((tmp_path / "run").glob("events*"))) == 1
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert not any(key.startswith("module.") for key in kept["state_dict"])
