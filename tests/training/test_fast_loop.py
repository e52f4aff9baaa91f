import math
import os
import signal

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    EarlyStopping,
    GradientAccumulationScheduler,
    LambdaCallback,
    Timer,
)
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Moons
from brainnet.errors import TrainingFailure
from brainnet.learning.learning_rate import WarmupCosine
from brainnet.training.callbacks import Observe
from brainnet.training.checkpoint import AtomicCheckpointIO, RunCheckpoint
from brainnet.training.checkpoint_files import load_checkpoint
from brainnet.training.fast_loop import FastLoop, is_selective
from brainnet.training.loggers import Progress
from brainnet.training.plot_callback import PlotCallback
from brainnet.training.trainer import SignalHandler


class EachStep(Callback):
    """Needs each step, so that the fast loop takes none."""

    def __init__(self):
        self.steps = []

    def on_train_batch_start(self, trainer, *_):
        self.steps.append(trainer.global_step)


class Points(CSVLogger):
    """Keeps all points in memory."""

    def __init__(self, folder):
        super().__init__(folder)
        self.points = []

    def log_metrics(self, metrics, step):
        self.points += [(tag, step, value) for tag, value in metrics.items()]


@pytest.fixture
def fast_steps(monkeypatch):
    """The steps that were taken by the fast loop."""
    taken = []
    take_step = FastLoop._take_step

    def record(loop, callbacks):
        taken.append(loop._trainer.global_step)
        take_step(loop, callbacks)

    monkeypatch.setattr(FastLoop, "_take_step", record)
    return taken


@pytest.fixture
def run(start, tmp_path, fast_steps):
    """Train with 40 steps per epoch; return all results, and the steps of the fast loop."""

    def ran(name, network=None, **options):
        fast_steps.clear()
        points = Points(tmp_path)
        data = DataModule(Moons(rows=570), batch_size=10)
        result = start(
            network,
            data,
            folder=tmp_path / name,
            loggers=[points],
            **options,
        )
        checkpoints = result.folder / "checkpoints"
        last, best = (load_checkpoint(checkpoints / f"{kind}.ckpt") for kind in ("last", "best"))
        return {
            "last": last,
            "best": best,
            "points": points.points,
            "metrics": result.metrics,
            "weights": result.network.state_dict(),
            "readings": [
                {name: value for name, value in get_fields(reading).items() if "second" not in name}
                for reading in result.readings
            ],
        }, list(fast_steps)

    return ran


def get_fields(reading):
    return {name: getattr(reading, name) for name in reading.__slots__}


def is_same(one, other):
    """Whether values are bit-identical; NaN equals NaN."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one == other or (one != one and other != other)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def lbfgs(parameters):
    return torch.optim.LBFGS(parameters, lr=0.1, max_iter=3)


def networks():
    torch.manual_seed(3)
    return {
        "brainnet": None,
        "random": nn.Sequential(
            nn.Linear(2, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 1)
        ),
    }


def one_cycle(optimizer, steps):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=steps)


def plateau(optimizer, steps):
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)


CASES = {
    "plain": dict,
    "momentum": lambda: {"optimizer": sgd},
    "a closure called several times": lambda: {"optimizer": lbfgs},
    "a schedule by step": lambda: {"schedule": one_cycle},
    "another": lambda: {"schedule": WarmupCosine},
    "a schedule by epoch": lambda: {"schedule": plateau},
    "random numbers": lambda: {"network": networks()["random"]},
    "points within an epoch": lambda: {"trainer": {"log_every_n_steps": 15}},
    "few batches": lambda: {"trainer": {"limit_train_batches": 7, "limit_val_batches": 2}},
    "validation every second epoch": lambda: {"trainer": {"check_val_every_n_epoch": 2}},
    "no validation": lambda: {"trainer": {"limit_val_batches": 0}},
    "overfitting": lambda: {"trainer": {"overfit_batches": 5}},
    "early stopping": lambda: {
        "callbacks": [EarlyStopping("loss/validation", patience=0, min_delta=1.0)]
    },
    "observation": lambda: {"observe": Observe(every=9)},
    "full observation": lambda: {"observe": Observe(every=40, level="full")},
}


@pytest.mark.parametrize("case", CASES)
def test_results_are_bit_identical_to_single_steps(run, case):
    fast, taken = run("fast", **with_callback(CASES[case]()))
    each = EachStep()
    slow, none = run("slow", **with_callback(CASES[case](), each))
    assert not none
    assert len(taken) > len(each.steps) / 2
    assert set(taken) < set(each.steps)
    assert is_same(fast, slow)


def with_callback(options, *more):
    return {**options, "callbacks": [*options.get("callbacks", ()), *more]}


def test_observed_steps_are_taken_by_the_fast_loop(run):
    result, taken = run("fast", observe=Observe(every=9))
    observed = [reading["step"] for reading in result["readings"]]
    assert observed == [0, 1, 2, 5, *range(9, 80, 9)]
    # Lightning takes the first and the last step of an epoch, and a step in which a delayed
    # checkpoint is written, which depends on the time.
    assert set(observed) - {0, 39, 40, 79} <= set(taken) <= set(range(80)) - {0, 39, 40, 79}
    assert len(taken) >= 74


def test_resumed_runs_are_bit_identical_with_and_without_the_fast_loop(run, start, tmp_path):
    options = {
        "schedule": lambda optimizer, _: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
    }
    whole, _ = run("whole", trainer={"max_epochs": 4}, **options)
    for name, more in {"fast": [], "slow": [EachStep()]}.items():
        run(name, **options, callbacks=more)
        resumed = start(
            data=DataModule(Moons(rows=570), batch_size=10),
            resume=tmp_path / name,
            trainer={"max_epochs": 4},
            **options,
        )
        last = load_checkpoint(resumed.folder / "checkpoints" / "last.ckpt")
        assert is_same(resumed.network.state_dict(), whole["weights"])
        assert is_same(resumed.metrics, whole["metrics"])
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "brainnet"):
            assert is_same(last[part], whole["last"][part])


class Signal(nn.Module):
    """Sends a signal during one forward pass of training."""

    def __init__(self, at):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.at = at
        self.passes = 0

    def forward(self, inputs):
        if self.training:
            self.passes += 1
            if self.passes == self.at:
                os.kill(os.getpid(), signal.SIGINT)
        return self.layer(inputs)


def test_a_signal_ends_the_fast_loop(start, fast_steps):
    network = Signal(at=20)
    result = start(network, DataModule(Moons(rows=570), batch_size=10))
    assert result.state == "interrupted"
    # The step of the signal, and one step of Lightning, which can stop at its end.
    assert (network.passes, result.steps) == (21, 21)
    assert len(fast_steps) == 19


class Poisoned(nn.Module):
    """Returns NaN after some forward passes of training."""

    def __init__(self, at):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.at = at
        self.passes = 0

    def forward(self, inputs):
        self.passes += self.training
        return self.layer(inputs) * (math.nan if self.passes > self.at else 1.0)


@pytest.mark.parametrize("more", [[], [EachStep()]], ids=["fast loop", "single steps"])
def test_a_non_finite_loss_is_reported_at_its_step(start, fast_steps, more):
    with pytest.raises(TrainingFailure, match="the loss became nan at step 53"):
        start(Poisoned(at=53), DataModule(Moons(rows=570), batch_size=10), callbacks=more)
    assert bool(fast_steps) is not bool(more)


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_clip_val": 0.1},
        {"accumulate_grad_batches": 2},
        {"max_steps": 50},
        {"max_time": {"hours": 1}},
        {"val_check_interval": 10},
        {"val_check_interval": 0.5},
        {"precision": "bf16-mixed"},
        {"precision": "64-true"},
        {"profiler": "simple"},
        {"callbacks": [GradientAccumulationScheduler({1: 2})]},
        {"callbacks": [Timer()]},
        {"callbacks": [LambdaCallback(on_before_zero_grad=lambda *_: None)]},
    ],
    ids=lambda options: str(options).partition(" object at ")[0],  # the same in each process
)
def test_options_that_need_single_steps_disable_the_fast_loop(start, fast_steps, options):
    callbacks = options.get("callbacks", [])
    given = {name: value for name, value in options.items() if name != "callbacks"}
    start(data=DataModule(Moons(rows=300), batch_size=10), trainer=given, callbacks=callbacks)
    accumulates_later = any(isinstance(c, GradientAccumulationScheduler) for c in callbacks)
    assert all(step < 21 for step in fast_steps) if accumulates_later else not fast_steps


def test_an_unknown_lightning_version_disables_the_fast_loop(start, fast_steps, monkeypatch):
    monkeypatch.setattr("brainnet.training.fast_loop._COUNTER", "_something_new")
    assert start(data=DataModule(Moons(rows=300), batch_size=10)).steps == 42
    assert not fast_steps


def test_callbacks_of_brainnet_are_selective():
    checkpoints = RunCheckpoint({}, AtomicCheckpointIO())
    for callback in (Observe(), PlotCallback(), Progress(), SignalHandler(), checkpoints):
        assert is_selective(callback)
        assert not callback.needs_step(3)


def test_a_derived_class_must_define_needs_step_itself():
    class Derived(Observe):
        def on_train_batch_end(self, *arguments):
            super().on_train_batch_end(*arguments)

    assert not is_selective(Derived())
    assert not is_selective(EachStep())
    assert is_selective(Callback())
    assert is_selective(EarlyStopping("loss/train"))
