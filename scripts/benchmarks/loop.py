"""Cost of a training step, compared with hand-written loops and with Lightning.

    python scripts/benchmarks/loop.py                             # 6,570 and 5 million parameters
    python scripts/benchmarks/loop.py --sizes 4096-8192-8192-10   # 100 million: ten minutes
    python scripts/benchmarks/loop.py --device cuda

All contenders train the same network on the same rows in the same order. If their weights then
differ, or a test of the loop fails, nothing is printed. They take turns, so that a busy moment of
the machine affects all of them. Three figures are printed, in microseconds per step, medians of
the turns:

    step     the median epoch, from its start to its last step; includes observations, and the loss
             slice in epochs 0, 1, 2, 5, 10 …, so use more than ten epochs
    epoch    the same until the start of the next; with validation and checkpoints, if there are any
    run      the whole training; with plots and the first, more frequent observations

On the CPU this is processor time of all threads, which other programs do not affect; on a GPU it is
wall time. The results are appended to scripts/benchmarks/results/loop.csv and start_up.csv, with
date, machine and commit.
"""

from __future__ import annotations

import functools
import io
import itertools
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as pl
import measuring
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from measuring import ROOT, Circumstances
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from brainnet.data.datamodule import DataModule
from brainnet.data.loader import InMemoryLoader
from brainnet.learning.loss import CrossEntropy
from brainnet.structure.network import Network
from brainnet.training.callbacks import Observe
from brainnet.training.fit import train
from brainnet.training.trainer import quiet

CHECKS = ["tests/training/test_fast_loop.py"]
SIZES = "64-64-32-10,784-1600-2048-256-10"
LEARNING_RATE = 0.003
BY_HAND, BARE = "by hand, DataLoader", "Lightning, in memory"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table of loops."""

    lightning: str
    device: str
    network: str
    parameters: int
    batch_size: int
    contender: str
    step: float  # microseconds, as the other two
    epoch: float
    run: float
    step_to_by_hand: float  # as a share of the loop by hand with a DataLoader
    step_to_lightning: float  # as a share of Lightning's bare loop over the same batches in memory


@dataclass(frozen=True, slots=True)
class Beginning:
    """Wall time to the first step, in seconds; one row of the start-up table."""

    bare_imports: float  # of the libraries alone
    imports: float  # of the command, libraries included
    work: float  # from then to the end of the first step
    to_bare_imports: float


class Clock(pl.Callback):
    """Reads the clock at the ends of epochs, without hooks for each step."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.starts: list[float] = []
        self.stops: list[float] = []
        self.end = 0.0

    def now(self) -> float:
        """Seconds, after waiting for the device."""
        if self.device == "cpu":
            return time.process_time()
        measuring.wait_for(self.device)
        return time.perf_counter()

    def on_train_epoch_start(self, *_: object) -> None:
        """An epoch begins, after its plots."""
        self.starts.append(self.now())

    def on_validation_start(self, trainer: pl.Trainer, *_: object) -> None:
        """The last step is done."""
        if trainer.global_step:
            self.stops.append(self.now())

    def on_train_epoch_end(self, *_: object) -> None:
        """The last step is done, without validation."""
        if len(self.stops) < len(self.starts):
            self.stops.append(self.now())

    def on_train_end(self, *_: object) -> None:
        """The training is done."""
        self.end = self.now()

    def microseconds(self, steps: int) -> tuple[list[float], list[float], float]:
        """Microseconds per step of each epoch's steps, each epoch and the run."""
        share = 1e6 / steps
        ends = [*self.starts[1:], self.end]
        parts = [
            (stop - start) * share for start, stop in zip(self.starts, self.stops, strict=True)
        ]
        whole = [(end - start) * share for start, end in zip(self.starts, ends, strict=True)]
        return parts, whole, (self.end - self.starts[0]) * share / len(whole)


class SameOrder(Sampler[int]):
    """Order of the in-memory batches, for a DataLoader."""

    def __init__(self, loader: InMemoryLoader) -> None:
        self.order = loader.sampler

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        self.order.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        """Row by row."""
        return iter(self.order.draw_order().tolist())

    def __len__(self) -> int:
        """How many rows."""
        return len(self.order)


class Bare(pl.LightningModule):
    """A minimal LightningModule."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.loss = nn.CrossEntropyLoss()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss."""
        loss: Tensor = self.loss(self.network(batch[0]), batch[1])
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer."""
        return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)


class Usual(Bare):
    """A common LightningModule, which logs loss and accuracy at each step and in validation."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__(network)
        self.train_accuracy = MulticlassAccuracy(classes)
        self.validation_accuracy = MulticlassAccuracy(classes)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss, logged."""
        outputs = self.network(batch[0])
        loss: Tensor = self.loss(outputs, batch[1])
        self.train_accuracy(outputs, batch[1])
        self.log("loss/train", loss, prog_bar=True)
        self.log("accuracy/train", self.train_accuracy, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Loss and accuracy, logged."""
        outputs = self.network(batch[0])
        self.validation_accuracy(outputs, batch[1])
        self.log("loss/validation", self.loss(outputs, batch[1]), prog_bar=True)
        self.log("accuracy/validation", self.validation_accuracy, prog_bar=True)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much training to measure."""

    rows: int
    epochs: int  # more than ten, because of the plots in epochs 0, 1, 2, 5 and 10
    repeats: int

    @classmethod
    def for_network(cls, sizes: str, epochs: int, repeats: int) -> Effort:
        """Choose the amount by the size of the network, within the options."""
        widths = [int(size) for size in sizes.split("-")]
        weights = sum(a * b for a, b in itertools.pairwise(widths))
        if weights < 1_000_000:
            return cls(1797, epochs, repeats)  # the size of digits
        if weights < 20_000_000:
            return cls(640, min(epochs, 12), min(repeats, 2))
        return cls(92, min(epochs, 12), 1)


@dataclass(frozen=True, slots=True)
class Bench:
    """One network, its rows, and how long to train it."""

    sizes: list[int]
    data: DataModule
    epochs: int
    device: str

    @classmethod
    def of(cls, sizes: str, batch_size: int, effort: Effort, device: str) -> Bench:
        """A network of these sizes on random rows."""
        counts = [int(size) for size in sizes.split("-")]
        drawn = torch.Generator().manual_seed(0)
        inputs = torch.randn(effort.rows, counts[0], generator=drawn)
        targets = torch.randint(counts[-1], (effort.rows,), generator=drawn)
        return cls(
            counts, DataModule((inputs, targets), batch_size=batch_size), effort.epochs, device
        )

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return len(self.data.train_dataloader())

    def network(self) -> Network:
        """The same network each time."""
        return Network(self.sizes, generator=torch.Generator().manual_seed(0))

    def in_memory(self) -> InMemoryLoader:
        """Batches cut on the device."""
        inputs, targets = (part.to(self.device) for part in self.data.take("train"))
        batch_size, seed = self.data.batch_size, self.data.seed
        return InMemoryLoader(inputs, targets, batch_size=batch_size, shuffle=True, seed=seed)

    def loaded(self) -> DataLoader[tuple[Tensor, ...]]:
        """The same batches, row by row."""
        order = SameOrder(self.data.train_dataloader())
        return DataLoader(
            TensorDataset(*self.data.take("train")), batch_size=self.data.batch_size, sampler=order
        )

    def by_hand(self, loader: Any, clock: Clock) -> nn.Module:
        """The hand-written loop."""
        network = self.network().to(self.device)
        loss_of = nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
        for epoch in range(self.epochs):
            clock.on_train_epoch_start()
            loader.sampler.set_epoch(epoch)
            for batch in loader:
                inputs, targets = (part.to(self.device) for part in batch)
                optimizer.zero_grad()
                loss = loss_of(network(inputs), targets)
                loss.backward()
                optimizer.step()
            clock.on_train_epoch_end()
        clock.on_train_end()
        return network

    def lightning(self, loader: Any, clock: Clock) -> nn.Module:
        """Lightning without callbacks and loggers."""
        module = Bare(self.network())
        with quiet():
            trainer = self.trainer(
                clock, logger=False, enable_checkpointing=False, enable_progress_bar=False
            )
            trainer.fit(module, loader)
        return module.network

    def usual(self, clock: Clock) -> nn.Module:
        """Lightning as commonly used."""
        module = Usual(self.network(), self.sizes[-1])
        validation = DataLoader(
            TensorDataset(*self.data.take("validation")), batch_size=self.data.batch_size
        )
        with tempfile.TemporaryDirectory() as folder, quiet(), redirect_stdout(io.StringIO()):
            best = ModelCheckpoint(folder, monitor="loss/validation", save_last=True)
            trainer = self.trainer(clock, best, TQDMProgressBar(), logger=TensorBoardLogger(folder))
            trainer.fit(module, self.loaded(), validation)
        return module.network

    def trainer(self, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
        """Lightning's own."""
        return pl.Trainer(
            max_epochs=self.epochs,
            accelerator=self.device,
            devices=1,
            callbacks=list(callbacks),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **options,
        )

    def ours(self, clock: Clock, *, observe: bool) -> nn.Module:
        """What `brainnet train` does, without progress output."""
        network = self.network()
        last: list[Tensor] = []

        class Last(pl.Callback):
            # The result has the best weights, the other contenders have the last.
            def on_train_end(self, *_: object) -> None:
                last.extend(weight.detach().clone() for weight in network.parameters())

        with tempfile.TemporaryDirectory() as folder:
            train(
                network,
                self.data,
                loss=CrossEntropy(),
                optimizer=lambda weights: torch.optim.Adam(weights, lr=LEARNING_RATE),
                folder=Path(folder) / "run",
                trainer={"max_epochs": self.epochs, "accelerator": self.device, "devices": 1},
                observe=Observe() if observe else None,
                callbacks=[clock, Last()],
                progress=False,
            )
        for weight, value in zip(network.parameters(), last, strict=True):
            weight.data = value
        return network

    def contenders(self) -> dict[str, Callable[[Clock], nn.Module]]:
        """All contenders by name; each trains and returns its network."""
        return {
            "by hand, in memory": lambda clock: self.by_hand(self.in_memory(), clock),
            BY_HAND: lambda clock: self.by_hand(self.loaded(), clock),
            BARE: lambda clock: self.lightning(self.in_memory(), clock),
            "Lightning, DataLoader": lambda clock: self.lightning(self.loaded(), clock),
            "Lightning as people use it": self.usual,
            "brainnet, observe=off": lambda clock: self.ours(clock, observe=False),
            "brainnet": lambda clock: self.ours(clock, observe=True),
        }


def measure(bench: Bench, turns: int) -> dict[str, tuple[float, float, float]]:
    """Step, epoch and run of each contender, in microseconds a step.

    Contenders that learn something else end the program.
    """
    learnt: list[Tensor] = []

    def turn(name: str, contend: Callable[[Clock], nn.Module]) -> tuple[float, float, float]:
        clock = Clock(bench.device)
        weights = [weight.detach().cpu() for weight in contend(clock).parameters()]
        learnt[:] = learnt or weights
        if not all(map(torch.equal, learnt, weights)):
            sys.exit(f"{name} learnt something else: nothing to compare.")
        steps, epochs, run = clock.microseconds(bench.steps)
        return median(steps), median(epochs), run

    contenders = {
        name: functools.partial(turn, name, contend) for name, contend in bench.contenders().items()
    }
    return {
        name: (median(step), median(epoch), median(run))
        for name, turned in measuring.by_turns(contenders, turns, warm_up=0).items()
        for step, epoch, run in [zip(*turned, strict=True)]
    }


def table(bench: Bench, measured: dict[str, tuple[float, float, float]]) -> list[Figure]:
    """Build the rows of the table."""
    return [
        Figure(
            lightning=version("lightning"),
            device=bench.device,
            network="-".join(map(str, bench.sizes)),
            parameters=sum(weight.numel() for weight in bench.network().parameters()),
            batch_size=bench.data.batch_size,
            contender=name,
            step=round(step, 1),
            epoch=round(epoch, 1),
            run=round(run, 1),
            step_to_by_hand=round(step / measured[BY_HAND][0], 3),
            step_to_lightning=round(step / measured[BARE][0], 3),
        )
        for name, (step, epoch, run) in measured.items()
    ]


LIBRARIES = "import hydra, lightning.pytorch, sklearn.datasets, tensorboard, torch, torchmetrics"
COMMAND = """
import os, sys, time
start = time.perf_counter()
import brainnet.cli.train
imported = time.perf_counter()
from brainnet.cli.main import main
from brainnet.training.module import LearningModule

def stop(*_):
    print("times", imported - start, time.perf_counter() - imported, flush=True)
    os._exit(0)

LearningModule.on_train_batch_end = stop
sys.exit(main(["train", "trainer=cpu", f"paths.runs={sys.argv[1]}"]))
"""


def beginning(repeats: int) -> Beginning:
    """Measure imports and the first step of `brainnet train`, in separate processes."""
    timed = f"import time; start = time.perf_counter(); {LIBRARIES}; " + (
        "print('times', time.perf_counter() - start)"
    )
    bare, imports, work = [], [], []
    for _ in range(repeats):
        bare += times_of([timed])
        with tempfile.TemporaryDirectory() as folder:
            seconds = times_of([COMMAND, folder])
        imports.append(seconds[0])
        work.append(seconds[1])
    libraries, command, rest = median(bare), median(imports), median(work)
    return Beginning(
        bare_imports=round(libraries, 2),
        imports=round(command, 2),
        work=round(rest, 2),
        to_bare_imports=round((command + rest) / libraries, 2),
    )


def times_of(words: list[str]) -> list[float]:
    """Run a program and return the numbers that it prints after the word "times"."""
    result = subprocess.run(
        [sys.executable, "-c", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    line = next(line for line in result.stdout.splitlines() if line.startswith("times "))
    return [float(word) for word in line.split()[1:]]


def report(circumstances: Circumstances, figures: Sequence[Figure]) -> None:
    """Print the figures of one network."""
    first = figures[0]
    print(
        f"\n{first.network}, {first.parameters:,} parameters, batches of {first.batch_size}, "
        f"{first.device}, {circumstances}; microseconds a step"
    )
    print(f"{'':28}{'step':>9}{'epoch':>9}{'run':>9}{'to by hand':>12}{'to Lightning':>14}")
    for one in figures:
        print(
            f"{one.contender:28}{one.step:9.0f}{one.epoch:9.0f}{one.run:9.0f}"
            f"{one.step_to_by_hand:11.2f}x{one.step_to_lightning:13.2f}x"
        )


@contextmanager
def calm() -> Iterator[None]:
    """Suppress the messages of Lightning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main() -> None:
    """Run the tests, measure, print, and append to the tables."""
    parser = measuring.commands(__doc__, threads=1, repeats=5)
    parser.add_argument("--sizes", default=SIZES, help=f"of layers; default: {SIZES}")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=30, help="at most; large networks: 12")
    parser.add_argument("--starts", type=int, default=3, help="of the command; 0 for none")
    choices = parser.parse_args()
    measuring.pin_threads(choices.threads)
    measuring.check(CHECKS, choices.device)
    for sizes in choices.sizes.split(","):
        circumstances = Circumstances.now(choices.device)
        effort = Effort.for_network(sizes, choices.epochs, choices.repeats)
        bench = Bench.of(sizes, choices.batch_size, effort, choices.device)
        with calm():
            figures = table(bench, measure(bench, effort.repeats))
        report(circumstances, figures)
        measuring.add_to_table(choices.results / "loop.csv", circumstances, figures)
    if choices.starts:
        circumstances = Circumstances.now(choices.device)
        begun = beginning(choices.starts)
        print(
            f"\nto the first step: imports {begun.imports} s, work {begun.work} s; "
            f"{begun.to_bare_imports}x a bare import of the libraries ({begun.bare_imports} s)"
        )
        measuring.add_to_table(choices.results / "start_up.csv", circumstances, [begun])


if __name__ == "__main__":
    main()
