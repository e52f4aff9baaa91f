"""How fast the activation op is, beside PyTorch's own: checked first, then timed side by side.

    python scripts/benchmarks/activation.py                  # this machine's CPU
    python scripts/benchmarks/activation.py --device cuda    # a GPU
    python scripts/benchmarks/activation.py --sizes 32x64 --repeats 200

    BRAINNET_KERNELS=reference python scripts/benchmarks/activation.py    # as without a compiler

The tests of the op run first; where one fails, no time is printed. The contenders take turns, so
that a busy moment of the machine meets them all, and each figure is a median. Beside the time on
the clock stands that of the processor, which other programs disturb less: its ratios are the ones
to trust where the load exceeds the threads, and `--threads 1` then, as two threads lose whole
slices of time in waiting for one another. Small inputs (several calls a turn) are leaves, so
in-place forms, which never touch a leaf, are left out there. What is printed is added to
scripts/benchmarks/results/activation.csv with date, machine and commit.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import itertools
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from brainnet.kernels import paths
from brainnet.kernels.counters import new_counters
from brainnet.kernels.threshold_ramp import threshold_ramp
from brainnet.structure.network import Network

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).parent / "results" / "activation.csv"
CHECKS = [
    "tests/kernels/test_threshold_ramp.py",
    "tests/kernels/test_paths.py",
    "tests/structure/test_layer.py",
]
SIZES = {
    "cpu": "32x64,256x256,1024x1024,4096x4096,16384x4096",
    "cuda": "32x64,1024x1024,4096x4096,16384x4096",
}
Contender = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    date: str
    commit: str
    machine: str
    torch: str
    path: str
    threads: int
    load: float  # of the machine when it began: above the threads, others were at work too
    dtype: str
    size: str
    part: str  # forward, or both: forward and backward
    contender: str
    microseconds: float
    to_hardtanh: float  # below 1 is faster
    best_microseconds: float  # the least disturbed of the repeats
    best_to_hardtanh: float
    cpu_microseconds: float  # the processor's time of all threads, which others disturb less
    cpu_to_hardtanh: float
    gigabytes_per_second: float  # of the bytes that must move
    share_of_copy: float  # of the bandwidth of a copy into memory that is there already


class Source(torch.autograd.Function):
    """An input that is neither leaf nor view, as a layer's pre-activation, at no cost backward."""

    @staticmethod
    def forward(ctx: object, input: Tensor) -> Tensor:
        """A copy, made outside the timed part."""
        return input.clone()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        """Nothing to do."""
        return grad


def contenders(neurons: int, device: str) -> dict[str, Contender]:
    """Ours and PyTorch's, by name."""
    low = torch.rand(neurons, device=device) - 0.5
    wide = torch.rand(neurons, device=device) + 0.5
    learning = low.clone().requires_grad_(), wide.clone().requires_grad_()
    counters = new_counters(neurons, device=device)

    def composition(x: Tensor) -> Tensor:
        return ((x - low) / wide).clamp(0, 1)

    return {
        "hardtanh": lambda x: functional.hardtanh(x, 0.0, 1.0),
        "ours": threshold_ramp,
        "ours per neuron": lambda x: threshold_ramp(x, low, wide),
        "ours per neuron, learning": lambda x: threshold_ramp(x, *learning),
        "ours per neuron, counting": lambda x: threshold_ramp(x, low, wide, counters=counters),
        "ours in place": lambda x: threshold_ramp(x, reuse_input=True),
        "ours per neuron, in place": lambda x: threshold_ramp(x, low, wide, reuse_input=True),
        "relu": functional.relu,
        "hardsigmoid": functional.hardsigmoid,
        "composition": composition,
        "composition, compiled": torch.compile(composition),
    }


def seconds(act: Contender, x: Tensor, grad: Tensor | None, calls: int) -> tuple[float, float]:
    """Seconds for one call, by the clock and of the processor: forward, or forward and backward."""
    # In place there is a new input to each call, and making it is not what is timed. Small inputs
    # are leaves, as the cost of `Source` would hide what is measured.
    sources = [x] * calls if calls > 1 else [Source.apply(x)]  # type: ignore[no-untyped-call]
    synchronize(x)
    start, worked = time.perf_counter(), time.process_time()
    if grad is None:
        with torch.no_grad():
            for source in sources:
                act(source)
    else:
        for source in sources:
            torch.autograd.grad(act(source), x, grad)
    synchronize(x)
    return (time.perf_counter() - start) / calls, (time.process_time() - worked) / calls


def threads_for(size: str, most: int) -> int:
    """One for small inputs: two that wait for each other take longer, most of all on a busy day."""
    rows, neurons = (int(part) for part in size.split("x"))
    return 1 if rows * neurons < 100_000 else most


def synchronize(x: Tensor) -> None:
    """Wait until the device has done what was asked of it."""
    if x.is_cuda:
        torch.cuda.synchronize()


def copy_bandwidth(x: Tensor, repeats: int) -> float:
    """Bytes per second, read and written, of a copy into memory that is there already."""
    source, target = x.detach(), torch.empty_like(x)
    times = []
    for _ in range(max(repeats, 5)):
        synchronize(x)
        start = time.perf_counter()
        target.copy_(source)
        synchronize(x)
        times.append(time.perf_counter() - start)
    return 2 * x.nbytes / statistics.median(times)


def measure(size: str, dtype: torch.dtype, device: str, repeats: int) -> list[Figure]:
    """Every contender at one size and dtype, taking turns."""
    torch.compiler.reset()  # or it gives up on what it was shown in too many sizes
    rows, neurons = (int(part) for part in size.split("x"))
    x = (torch.rand(rows, neurons, device=device) * 2 - 0.5).to(dtype).requires_grad_()
    grad = torch.randn_like(x)
    calls = max(1, min(300, 2_000_000 // x.numel()))
    acts = contenders(neurons, device)
    if calls > 1:
        acts = {name: act for name, act in acts.items() if "in place" not in name}
    bandwidth = copy_bandwidth(x, repeats)
    circumstances = told(device)
    figures = []
    for part, given, passes in (("forward", None, 2), ("both", grad, 5)):
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in acts}
        for turn in range(repeats + 1):
            # Nobody always follows the same neighbour, who leaves the caches and threads his way.
            order = list(acts)[turn % len(acts) :] + list(acts)[: turn % len(acts)]
            for name in order:
                act = acts[name]
                if calls > 1:
                    seconds(act, x, given, 20)
                spent = seconds(act, x, given, calls)
                if turn:  # the first warms up, and compiles
                    times[name].append(spent)
        medians, cpu = (
            {name: statistics.median(pair[kind] for pair in each) for name, each in times.items()}
            for kind in (0, 1)
        )
        bests = {name: min(each)[0] for name, each in times.items()}
        for name, median in medians.items():
            speed = passes * x.nbytes / median
            figures.append(
                Figure(
                    **circumstances,
                    dtype=str(dtype).removeprefix("torch."),
                    size=size,
                    part=part,
                    contender=name,
                    microseconds=round(median * 1e6, 2),
                    to_hardtanh=round(median / medians["hardtanh"], 3),
                    best_microseconds=round(bests[name] * 1e6, 2),
                    best_to_hardtanh=round(bests[name] / bests["hardtanh"], 3),
                    cpu_microseconds=round(cpu[name] * 1e6, 2),
                    cpu_to_hardtanh=round(cpu[name] / cpu["hardtanh"], 3),
                    gigabytes_per_second=round(speed / 1e9, 2),
                    share_of_copy=round(speed / bandwidth, 3),
                )
            )
    return figures


def told(device: str) -> dict[str, Any]:
    """What the figures were measured with."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    machine = torch.cuda.get_device_name() if device == "cuda" else processor()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        "commit": commit.stdout.strip() or "unknown",
        "machine": machine,
        "torch": torch.__version__,
        "path": paths.status()[device]["path"],
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else -1.0,
    }


def processor() -> str:
    """The processor's name."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def kept_by_a_layer(activation: Callable[[Tensor], Tensor], device: str) -> float:
    """Bytes kept for backward by two layers, or on CUDA the peak, in units of one activation."""
    torch.manual_seed(0)
    first, second = (nn.Linear(1024, 1024, device=device) for _ in range(2))
    x = torch.randn(4096, 1024, device=device)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        second(activation(first(x))).sum().backward()
        return (torch.cuda.max_memory_allocated() - before) / x.nbytes
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        second(activation(first(x)))
    known = {p.untyped_storage().data_ptr() for m in (first, second) for p in m.parameters()}
    known.add(x.untyped_storage().data_ptr())
    return sum(size for place, size in kept.items() if place not in known) / x.nbytes


def check(device: str) -> None:
    """Run the op's tests; leave where one fails: a wrong result has no speed."""
    print(f"checking: {' '.join(CHECKS)}", flush=True)
    chosen = ["-m", "cuda or not slow"] if device == "cuda" else []
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHECKS, *chosen],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode:
        sys.exit(f"{result.stdout[-2000:]}\nThe checks failed: a wrong result has no speed.")


def report(figures: list[Figure]) -> None:
    """One size and dtype as a table for people."""
    first = figures[0]
    print(f"\n{first.size} {first.dtype}, {first.threads} threads, path {first.path}")
    print("to hardtanh: by the clock (by the processor's time); copy: share of its bandwidth")
    heads = ("forward µs", "to hardtanh", "both µs", "to hardtanh")
    print(" " * 28 + "".join(f"{head:>15}" for head in heads) + "   copy")
    both = {figure.contender: figure for figure in figures if figure.part == "both"}
    for figure in (each for each in figures if each.part == "forward"):
        pair = both[figure.contender]
        ratios = [f"{each.to_hardtanh:.2f} ({each.cpu_to_hardtanh:.2f})" for each in (figure, pair)]
        print(
            f"{figure.contender:28}{figure.microseconds:15.1f}{ratios[0]:>15}"
            f"{pair.microseconds:15.1f}{ratios[1]:>15}{pair.share_of_copy:7.0%}"
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


def step_of(network: nn.Module, x: Tensor, targets: Tensor) -> Callable[[], None]:
    """One training step, as a call."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(network(x), targets).backward()
        optimizer.step()

    return step


def training_steps(rows: int, sizes: list[int], device: str, repeats: int) -> None:
    """Print a network's training step, eager and compiled, beside the same with `nn.Hardtanh`."""
    x = torch.randn(rows, sizes[0], device=device)
    targets = torch.randint(sizes[-1], (rows,), device=device)
    steps = {}
    for name, activation in (("threshold_ramp", "threshold_ramp"), ("hardtanh", nn.Hardtanh(0, 1))):
        for how in ("eager", "compiled"):
            network = Network(sizes, activation, device=device)
            if how == "compiled":
                network.compile()
            steps[f"{name}, {how}"] = step_of(network, x, targets)
    calls = max(1, 4_000_000 // (rows * sum(a * b for a, b in itertools.pairwise(sizes))))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for turn in range(repeats + 1):
        for name, step in steps.items():
            step()
            synchronize(x)
            start, worked = time.perf_counter(), time.process_time()
            for _ in range(calls):
                step()
            synchronize(x)
            if turn:
                spent = time.perf_counter() - start, time.process_time() - worked
                times[name].append((spent[0] / calls, spent[1] / calls))
    print(
        f"\ntraining step, {rows} rows through {'-'.join(map(str, sizes))}, µs (processor's time)"
    )
    for name, each in times.items():
        clock, cpu = (statistics.median(pair[kind] for pair in each) * 1e6 for kind in (0, 1))
        print(f"{name:28}{clock:12.1f} ({cpu:.1f})")


def main() -> None:
    """Check, measure, print, and add to the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--sizes", help="rows x neurons, separated by commas")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    choices = parser.parse_args()
    check(choices.device)
    for size in (choices.sizes or SIZES[choices.device]).split(","):
        torch.set_num_threads(threads_for(size, choices.threads))
        for dtype in choices.dtypes.split(","):
            figures = measure(size, getattr(torch, dtype), choices.device, choices.repeats)
            report(figures)
            add_to_table(figures)
    torch.set_num_threads(1)
    training_steps(32, [64, 64, 32, 10], choices.device, choices.repeats)
    torch.set_num_threads(choices.threads)
    training_steps(512, [512, 1024, 1024, 10], choices.device, choices.repeats)
    print("\nkept for backward between two layers, in activations:")
    for name, act in contenders(1024, choices.device).items():
        if "compiled" not in name:
            print(f"{name:28}{kept_by_a_layer(act, choices.device):6.2f}")


if __name__ == "__main__":
    main()
