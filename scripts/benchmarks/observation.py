"""Cost of observing a network, compared with what people use today.

    python scripts/benchmarks/observation.py                    # the CPU of this machine
    python scripts/benchmarks/observation.py --what whole       # only complete trainings
    python scripts/benchmarks/observation.py --device cuda      # a GPU
    python scripts/benchmarks/observation.py --sizes 64-64-32-10 --repeats 100

An observation computes statistics and histograms of all weights, biases and gradients. "Whole" is
a training that `watch` observes completely, until everything is on disk. Its share is what one
observation in 50 steps adds, in processor time of all threads. The peers observe only weights,
biases and gradients, equally often; the separate process of wandb is not counted. Without wandb
(pip install -e ".[benchmarks]") it is skipped with a message.

The tests run first; if one fails, no time is printed. The contenders take turns, so that a busy
moment of the machine affects all of them, and each figure is a median. Large networks are measured
less often, at least three times. The results are appended to observation.csv and watching.csv in
scripts/benchmarks/results, with date, machine and commit.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from statistics import median
from typing import Any

import measuring
import torch
from measuring import Circumstances
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from brainnet.kernels import statistics_reference
from brainnet.kernels.statistics import compute_statistics
from brainnet.observation.pending_reading import build_histogram, parse_stats
from brainnet.observation.reading import Reading, ReadingWithHistograms
from brainnet.observation.tags import Level
from brainnet.observation.tensorboard import TensorBoardWriter
from brainnet.observation.watch import watch
from brainnet.structure.network import Network

CHECKS = {
    "look": ["tests/kernels/test_statistics.py", "tests/kernels/test_statistics_triton.py"],
    "whole": ["tests/observation/test_watch.py", "tests/observation/test_step_observer.py"],
}
EVERY = 50
"""Steps between two observations (the default)."""

SIZES = "64-64-32-10,784-256-128-10,784-1600-2048-256-10,4096-8192-8192-10"
"""From 6,570 parameters to 100 million."""

FIGURES = ("norm", "mean", "min", "max")
"""What people read of each tensor, one value at a time."""

PEERS = ("SummaryWriter.add_histogram", "torch.histc")


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table of observations."""

    dtype: str
    network: str
    values: int  # weights, biases and gradients
    contender: str
    milliseconds: float
    cheaper_than_add_histogram: float  # times
    cheaper_than_histc: float


@dataclass(frozen=True, slots=True)
class Share:
    """One row of the table of trainings."""

    network: str
    parameters: int
    contender: str
    step_ms: float  # processor time without observation
    look_ms: float  # processor time that an observation adds
    idle_us: float  # added to a step that is not observed
    percent: float  # of the training's time, with one observation in 50 steps


def network(sizes: str, dtype: torch.dtype, device: str) -> list[Tensor]:
    """Weights and biases of a network, and their gradients."""
    torch.manual_seed(0)
    shapes: list[tuple[int, ...]] = []
    for inputs, neurons in itertools.pairwise(int(size) for size in sizes.split("-")):
        shapes += [(neurons, inputs), (neurons,)]
    drawn = [torch.randn(shape) * scale for scale in (0.02, 1e-4) for shape in shapes]
    return [tensor.to(device, dtype) for tensor in drawn]


def contenders(
    tensors: list[Tensor], writer: SummaryWriter, own_writer: TensorBoardWriter
) -> dict[str, Callable[[], object]]:
    """Implementations of brainnet and of the peers, by name."""
    names = [f"tensor/{place}" for place in range(len(tensors))]

    def add_histogram() -> None:
        for name, tensor in zip(names, tensors, strict=True):
            writer.add_histogram(name, tensor)

    def to_tensorboard() -> None:
        table = compute_statistics(tensors).cpu().numpy()
        rows = zip(names, parse_stats(table), strict=True)
        histograms = {name: build_histogram(row) for name, row in rows}
        own_writer.add_reading(ReadingWithHistograms(Reading(0, 0), histograms))

    contenders: dict[str, Callable[[], object]] = {
        "SummaryWriter.add_histogram": add_histogram,
        "ours": lambda: compute_statistics(tensors),
        "ours, to TensorBoard": to_tensorboard,
        "ours, the reference": lambda: statistics_reference.compute_table(
            tensors, tensors[0].device
        ),
        "four .item() a tensor": lambda: [
            getattr(tensor, what)().item() for tensor in tensors for what in FIGURES
        ],
        "one pass over the bytes": lambda: [tensor.amax() for tensor in tensors],
    }
    if tensors[0].dtype in (torch.float32, torch.float64):  # it does not support half precision
        contenders["torch.histc"] = lambda: [tensor.histc(64) for tensor in tensors]
    if sum(tensor.numel() for tensor in tensors) > 50_000_000:
        del contenders["ours, the reference"]  # the reference is slow: 20 s
    return contenders


def measure(sizes: str, dtype: torch.dtype, device: str, repeats: int) -> list[Figure]:
    """Measure every contender on one network, in turns."""
    tensors = network(sizes, dtype, device)
    # A queue so long that no contender waits for the disk.
    with (
        tempfile.TemporaryDirectory() as folder,
        SummaryWriter(folder, max_queue=10**6) as writer,
        TensorBoardWriter(folder) as own_writer,
    ):

        def turn(look: Callable[[], object]) -> float:
            spent = measuring.spent(look, device).clock * 1e3
            writer.flush()  # otherwise its thread runs during the next measurement
            return spent

        looks = {
            name: functools.partial(turn, look)
            for name, look in contenders(tensors, writer, own_writer).items()
        }
        values = sum(tensor.numel() for tensor in tensors)
        turns = measuring.by_turns(looks, at_most(repeats, 200_000_000 // values))
    medians = {name: median(each) for name, each in turns.items()}
    missing = float("nan")
    return [
        Figure(
            dtype=str(dtype).removeprefix("torch."),
            network=sizes,
            values=values,
            contender=name,
            milliseconds=round(spent, 4),
            cheaper_than_add_histogram=round(medians[PEERS[0]] / spent, 2),
            cheaper_than_histc=round(medians.get(PEERS[1], missing) / spent, 2),
        )
        for name, spent in medians.items()
    ]


def at_most(repeats: int, affordable: int) -> int:
    """Number of repeats: few for long measurements, at least three."""
    return max(3, min(repeats, affordable))


def threads_for(sizes: str, most: int) -> int:
    """One thread for small networks, for which synchronization costs more than it saves."""
    widths = [int(size) for size in sizes.split("-")]
    return 1 if sum(a * b for a, b in itertools.pairwise(widths)) < 1_000_000 else most


Look = Callable[[Tensor], object]


class Training:
    """A small training: Adam, one batch of 32 rows."""

    def __init__(self, sizes: str, device: str) -> None:
        widths = [int(size) for size in sizes.split("-")]
        torch.manual_seed(0)
        self.model = Network(widths).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.inputs = torch.randn(32, widths[0], device=device)
        self.targets = torch.randint(widths[-1], (32,), device=device)

    def step(self, look: Look) -> None:
        """Take one step, observed by `look`."""
        self.optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(self.model(self.inputs), self.targets)
        loss.backward()
        self.optimizer.step()
        look(loss)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, biases and gradients by name."""
        parameters = dict(self.model.named_parameters())
        gradients = {name: each.grad for name, each in parameters.items()}
        found = {f"{name}/grad": each for name, each in gradients.items() if each is not None}
        return parameters | found


@contextmanager
def watched(
    training: Training, folder: str, *, level: Level = "light", judged: bool = False
) -> Iterator[Look]:
    """`watch` at every step; each step returns when everything is on disk."""
    with watch(
        training.model,
        folder,
        1,
        training.optimizer,
        torch.nn.functional.cross_entropy if judged else None,
        (training.inputs, training.targets) if judged else None,
        level,
    ) as watching:

        def look(loss: Tensor) -> None:
            watching.step(loss)
            len(watching.readings)  # waits for the thread

        yield look


@contextmanager
def add_histogram(training: Training, folder: str) -> Iterator[Look]:
    """Histograms by `SummaryWriter.add_histogram`."""
    with SummaryWriter(folder, max_queue=10**6) as writer:

        def look(_loss: Tensor) -> None:
            for name, tensor in training.tensors().items():
                writer.add_histogram(name, tensor)
            writer.flush()

        yield look


@contextmanager
def histc(training: Training, _folder: str) -> Iterator[Look]:
    """Histograms by `torch.histc`, which are not written."""

    def look(_loss: Tensor) -> None:
        for tensor in training.tensors().values():
            tensor.histc(64).tolist()

    yield look


@contextmanager
def hooks(training: Training, folder: str) -> Iterator[Look]:
    """Hand-written hooks that read each value with `.item()`."""
    with SummaryWriter(folder, max_queue=10**6) as writer:

        def tell(name: str, tensor: Tensor) -> None:
            for what in FIGURES:
                writer.add_scalar(f"{name}/{what}", getattr(tensor.detach(), what)().item())

        def of_layer(name: str, _layer: nn.Module, _inputs: object, outputs: Tensor) -> None:
            tell(f"{name}/outputs", outputs)

        def of_parameter(name: str, parameter: Tensor) -> None:
            tell(name, parameter)
            if parameter.grad is not None:
                tell(f"{name}/grad", parameter.grad)

        handles = [
            layer.register_forward_hook(functools.partial(of_layer, name))
            for name, layer in training.model.layers.named_children()
        ] + [
            parameter.register_post_accumulate_grad_hook(functools.partial(of_parameter, name))
            for name, parameter in training.model.named_parameters()
        ]
        yield lambda _loss: writer.flush()
        for handle in handles:
            handle.remove()


@contextmanager
def wandb_watch(run: Any, training: Training, _folder: str) -> Iterator[Look]:
    """Histograms of weights and gradients in an open run of Weights & Biases."""
    run.watch(training.model, log="all", log_freq=1)
    yield lambda loss: run.log({"loss": loss.item()})
    run.unwatch(training.model)


@contextmanager
def offline_run(folder: str) -> Iterator[Any]:
    """An offline run of Weights & Biases; None if it is not installed."""
    if importlib.util.find_spec("wandb") is None:
        print('wandb is not installed and skipped: pip install -e ".[benchmarks]"')
        yield None
        return
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # read when it is imported
    import wandb

    settings = wandb.Settings(
        console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True
    )
    with wandb.init(mode="offline", dir=folder, settings=settings) as run:
        yield run


ALONE = "alone"
Looking = Callable[[Training, str], AbstractContextManager[Look]]


def watchers(run: Any) -> dict[str, Looking]:
    """All observers of a training, by name."""
    found: dict[str, Looking] = {
        ALONE: lambda _training, _folder: nullcontext(lambda _loss: None),
        "watch": watched,
        "watch, with a sample": functools.partial(watched, judged=True),
        "watch, level full": functools.partial(watched, level="full"),
        "SummaryWriter.add_histogram": add_histogram,
        "torch.histc": histc,
        "hooks with .item()": hooks,
    }
    if run is not None:
        found["wandb.watch"] = functools.partial(wandb_watch, run)
    return found


def measure_whole(sizes: str, device: str, repeats: int) -> list[Share]:
    """Measure every observer on the same training, in turns."""
    training = Training(sizes, device)
    parameters = sum(each.numel() for each in training.model.parameters())
    steps = min(3, 1 + 20_000_000 // parameters)

    def turn(looking: Looking) -> list[float]:
        with tempfile.TemporaryDirectory() as folder, looking(training, folder) as look:
            training.step(look)  # warms up
            return [work(lambda: training.step(look), device) for _ in range(steps)]

    with tempfile.TemporaryDirectory() as folder, offline_run(folder) as run:
        turns = measuring.by_turns(
            {name: functools.partial(turn, each) for name, each in watchers(run).items()},
            at_most(repeats, 100_000_000 // parameters),
            warm_up=0,  # each turn starts with such a step
        )
        idle = idle_microseconds(training, f"{folder}/idle")
    times = {name: median(itertools.chain(*each)) for name, each in turns.items()}
    alone = times[ALONE]
    shares = []
    for name, time_of_step in times.items():
        added = time_of_step - alone
        between = idle if name.startswith("watch") else 0.0
        shares.append(
            Share(
                network=sizes,
                parameters=parameters,
                contender=name,
                step_ms=round(alone, 4),
                look_ms=round(added, 4),
                idle_us=round(between, 2),
                percent=round(100 * (added / EVERY + between / 1e3) / alone, 2),
            )
        )
    return shares


def work(step: Callable[[], object], device: str) -> float:
    """Processor time of a step in milliseconds, of all threads; on a GPU, time until it is done.

    Not by the clock on the CPU: a thread that hands over on a busy machine waits for others' work.
    """
    spent = measuring.spent(step, device)
    return (spent.processor if device == "cpu" else spent.clock) * 1e3


def idle_microseconds(training: Training, folder: str) -> float:
    """Cost of a step that is not observed, in microseconds."""
    times = []
    with watch(training.model, folder, 10**9, training.optimizer, first_step=10**6 + 1) as watching:
        loss = torch.zeros(())
        for _ in range(2000):
            start = time.perf_counter()
            watching.step(loss)
            times.append((time.perf_counter() - start) * 1e6)
    return median(times)


def report(circumstances: Circumstances, figures: list[Figure]) -> None:
    """Print the figures of one network."""
    first = figures[0]
    print(f"\n{first.network} {first.dtype}, {first.values:,} values, {circumstances}")
    print(f"{'':30}{'ms':>10}{'add_histogram':>15}{'histc':>9}")
    for figure in figures:
        print(
            f"{figure.contender:30}{figure.milliseconds:10.3f}"
            f"{figure.cheaper_than_add_histogram:14.1f}x{figure.cheaper_than_histc:8.1f}x"
        )


def report_whole(circumstances: Circumstances, shares: list[Share]) -> None:
    """Print the figures of the trainings of one network."""
    first = shares[0]
    print(
        f"\n{first.network}, {first.parameters:,} parameters, {circumstances}: a step takes "
        f"{first.step_ms} ms"
    )
    print(f"{'':30}{'observing, ms':>16}{'between, us':>13}{'of training, %':>16}")
    for share in shares[1:]:
        print(
            f"{share.contender:30}{share.look_ms:16.3f}{share.idle_us:13.2f}{share.percent:16.2f}"
        )


def main() -> None:
    """Run the tests, measure, print, and append to the tables."""
    measuring.bind_threads()
    parser = measuring.commands(__doc__, threads=2, repeats=15)
    parser.add_argument("--what", default="look,whole", help="look, whole or both, the default")
    parser.add_argument("--sizes", default=SIZES, help=f"of layers; default: {SIZES}")
    parser.add_argument("--dtypes", default="float32,bfloat16", help="of the tensors looked at")
    choices = parser.parse_args()
    device, repeats = choices.device, choices.repeats
    for what in choices.what.split(","):
        measuring.check(CHECKS[what], device)
    for sizes in choices.sizes.split(","):
        measuring.pin_threads(threads_for(sizes, choices.threads))
        if "look" in choices.what:
            for dtype in choices.dtypes.split(","):
                circumstances = Circumstances.now(device)
                figures = measure(sizes, getattr(torch, dtype), device, repeats)
                report(circumstances, figures)
                measuring.add_to_table(choices.results / "observation.csv", circumstances, figures)
        if "whole" in choices.what:
            circumstances = Circumstances.now(device)
            shares = measure_whole(sizes, device, repeats)
            report_whole(circumstances, shares)
            measuring.add_to_table(choices.results / "watching.csv", circumstances, shares)


if __name__ == "__main__":
    main()
