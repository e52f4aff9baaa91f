"""What a look at a network costs, beside what people use today: checked first, then side by side.

    python scripts/benchmarks/observation.py                    # this machine's CPU
    python scripts/benchmarks/observation.py --device cuda      # a GPU
    python scripts/benchmarks/observation.py --sizes 64-64-32-10 --repeats 100

A look takes statistics and histograms of all weights, biases and their gradients. The tests of the
kernel run first; where one fails, no time is printed. The contenders take turns, so that a busy
moment of the machine meets them all, and each figure is a median. What is printed is added to
scripts/benchmarks/results/observation.csv with date, machine and commit.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import itertools
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from brainnet.kernels import paths, statistics_reference
from brainnet.kernels.statistics import read, statistics

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).parent / "results" / "observation.csv"
CHECKS = ["tests/kernels/test_statistics.py", "tests/kernels/test_statistics_triton.py"]
SIZES = "64-64-32-10,784-1600-2048-256-10"
PEERS = ("SummaryWriter.add_histogram", "torch.histc")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    date: str
    commit: str
    machine: str
    torch: str
    path: str
    threads: int
    load: float  # what the machine was asked for beside it: more than its cores spoils the times
    dtype: str
    network: str
    values: int  # weights, biases and gradients
    contender: str
    milliseconds: float
    cheaper_than_add_histogram: float  # times
    cheaper_than_histc: float


def network(sizes: str, dtype: torch.dtype, device: str) -> list[Tensor]:
    """Weights and biases of a network, and gradients of theirs."""
    torch.manual_seed(0)
    shapes: list[tuple[int, ...]] = []
    for inputs, neurons in itertools.pairwise(int(size) for size in sizes.split("-")):
        shapes += [(neurons, inputs), (neurons,)]
    drawn = [torch.randn(shape) * scale for scale in (0.02, 1e-4) for shape in shapes]
    return [tensor.to(device, dtype) for tensor in drawn]


def contenders(tensors: list[Tensor], writer: SummaryWriter) -> dict[str, Callable[[], object]]:
    """Ours and the peers', by name."""
    names = [f"tensor/{place}" for place in range(len(tensors))]

    def add_histogram() -> None:
        for name, tensor in zip(names, tensors, strict=True):
            writer.add_histogram(name, tensor)

    def to_tensorboard() -> None:
        for name, found in zip(names, read(statistics(tensors)), strict=True):
            _, rights, counts = zip(*found.buckets, strict=True)
            writer.add_histogram_raw(
                name, found.minimum, found.maximum, found.finite, found.sum,
                found.sum_of_squares, list(rights), list(counts),
            )  # fmt: skip

    contenders: dict[str, Callable[[], object]] = {
        "SummaryWriter.add_histogram": add_histogram,
        "ours": lambda: statistics(tensors),
        "ours, to TensorBoard": to_tensorboard,
        "ours, the reference": lambda: statistics_reference.table_of(tensors, tensors[0].device),
        "one pass over the bytes": lambda: [tensor.amax() for tensor in tensors],
    }
    if tensors[0].dtype in (torch.float32, torch.float64):  # of the half types it knows nothing
        contenders["torch.histc"] = lambda: [tensor.histc(64) for tensor in tensors]
    return contenders


def milliseconds(look: Callable[[], object], device: str) -> float:
    """What one look takes, until the device is done with it."""
    start = time.perf_counter()
    look()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3


def measure(sizes: str, dtype: torch.dtype, device: str, repeats: int) -> list[Figure]:
    """Every contender on one network, taking turns."""
    tensors = network(sizes, dtype, device)
    # A queue so long that no look waits for the disk.
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder, max_queue=10**6) as writer:
        looks = contenders(tensors, writer)
        times: dict[str, list[float]] = {name: [] for name in looks}
        for turn in range(repeats + 1):
            for name, look in looks.items():
                spent = milliseconds(look, device)
                if "TensorBoard" in name or "SummaryWriter" in name:
                    writer.flush()  # its thread would run on into the next one's time
                if turn:  # the first warms up, and compiles
                    times[name].append(spent)
    medians = {name: median(each) for name, each in times.items()}
    missing = float("nan")
    return [
        Figure(
            **told(device),
            dtype=str(dtype).removeprefix("torch."),
            network=sizes,
            values=sum(tensor.numel() for tensor in tensors),
            contender=name,
            milliseconds=round(spent, 4),
            cheaper_than_add_histogram=round(medians[PEERS[0]] / spent, 2),
            cheaper_than_histc=round(medians.get(PEERS[1], missing) / spent, 2),
        )
        for name, spent in medians.items()
    ]


def told(device: str) -> dict[str, Any]:
    """What the figures were measured with."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        "commit": commit.stdout.strip() or "unknown",
        "machine": torch.cuda.get_device_name() if device == "cuda" else processor(),
        "torch": torch.__version__,
        "path": paths.status()[device]["path"],
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
    }


def processor() -> str:
    """The processor's name."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def check(device: str) -> None:
    """Run the kernel's tests; leave where one fails: a wrong result has no speed."""
    print(f"checking: {' '.join(CHECKS)}", flush=True)
    chosen = ["-m", "cuda or not slow"] if device == "cuda" else []
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHECKS, *chosen],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode:
        sys.exit(f"{result.stdout[-2000:]}\nThe checks failed: a wrong result has no speed.")


def report(figures: list[Figure]) -> None:
    """One network as a table for people."""
    first = figures[0]
    print(
        f"\n{first.network} {first.dtype}, {first.values:,} values, {first.threads} threads, "
        f"path {first.path}, load {first.load}"
    )
    print(f"{'':30}{'ms':>10}{'add_histogram':>15}{'histc':>9}")
    for figure in figures:
        print(
            f"{figure.contender:30}{figure.milliseconds:10.3f}"
            f"{figure.cheaper_than_add_histogram:14.1f}x{figure.cheaper_than_histc:8.1f}x"
        )


def add_to_table(figures: list[Figure]) -> None:
    """Append to the table in the repository."""
    TABLE.parent.mkdir(exist_ok=True)
    new = not TABLE.exists()
    with TABLE.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(field.name for field in fields(Figure))
        writer.writerows(astuple(figure) for figure in figures)


def main() -> None:
    """Check, measure, print, and add to the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--sizes", default=SIZES, help="inputs-neurons-..., separated by commas")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    choices = parser.parse_args()
    torch.set_num_threads(choices.threads)
    check(choices.device)
    for sizes in choices.sizes.split(","):
        for dtype in choices.dtypes.split(","):
            figures = measure(sizes, getattr(torch, dtype), choices.device, choices.repeats)
            report(figures)
            add_to_table(figures)


if __name__ == "__main__":
    main()
