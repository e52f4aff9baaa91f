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

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import measuring
import torch
from measuring import Circumstances, Spent
from torch import Tensor, nn
from torch.nn import functional

from brainnet.kernels.counters import create_counters
from brainnet.kernels.threshold_ramp import threshold_ramp
from brainnet.structure.network import Network

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
    counters = create_counters(neurons, device=device)

    def composition(x: Tensor) -> Tensor:
        return ((x - low) / wide).clamp(0, 1)

    return {
        "hardtanh": lambda x: functional.hardtanh(x, 0.0, 1.0),
        "ours": threshold_ramp,
        "ours per neuron": lambda x: threshold_ramp(x, low, wide),
        "ours per neuron, learning": lambda x: threshold_ramp(x, *learning),
        "ours, counting": lambda x: threshold_ramp(x, counters=counters),
        "ours per neuron, counting": lambda x: threshold_ramp(x, low, wide, counters=counters),
        "ours in place": lambda x: threshold_ramp(x, reuse_input=True),
        "ours in place, counting": lambda x: threshold_ramp(x, reuse_input=True, counters=counters),
        "ours per neuron, in place": lambda x: threshold_ramp(x, low, wide, reuse_input=True),
        "ours per neuron, in place, counting": lambda x: threshold_ramp(
            x, low, wide, reuse_input=True, counters=counters
        ),
        "relu": functional.relu,
        "hardsigmoid": functional.hardsigmoid,
        "composition": composition,
        "composition, compiled": torch.compile(composition),
    }


def seconds(act: Contender, x: Tensor, grad: Tensor | None, calls: int) -> Spent:
    """Seconds for one call: forward, or forward and backward."""
    # In place there is a new input to each call, and making it is not what is timed. Small inputs
    # are leaves, as the cost of `Source` would hide what is measured.
    source = x if calls > 1 else Source.apply(x)  # type: ignore[no-untyped-call]
    if grad is None:
        with torch.no_grad():
            return measuring.spent(lambda: act(source), x.device.type, calls)
    return measuring.spent(lambda: torch.autograd.grad(act(source), x, grad), x.device.type, calls)


def threads_for(size: str, most: int) -> int:
    """One for small inputs: two that wait for each other take longer, most of all on a busy day."""
    rows, neurons = (int(part) for part in size.split("x"))
    return 1 if rows * neurons < 100_000 else most


def copy_bandwidth(x: Tensor, repeats: int) -> float:
    """Bytes per second, read and written, of a copy into memory that is there already."""
    source, target = x.detach(), torch.empty_like(x)

    def copy() -> Spent:
        return measuring.spent(lambda: target.copy_(source), x.device.type)

    turns = measuring.by_turns({"copy": copy}, max(repeats, 5))
    return 2 * x.nbytes / measuring.medians(turns)["copy"].clock


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

    def turn(act: Contender, given: Tensor | None) -> Spent:
        # As in a training it was called a moment ago: a virtual machine takes free memory back
        # within seconds, and gives it again page by page.
        seconds(act, x, given, min(calls, 20))
        return seconds(act, x, given, calls)

    figures = []
    for part, given, passes in (("forward", None, 2), ("both", grad, 5)):
        turns = measuring.by_turns(
            {name: functools.partial(turn, act, given) for name, act in acts.items()}, repeats
        )
        medians = measuring.medians(turns)
        bests = {name: min(each).clock for name, each in turns.items()}
        of_hardtanh, best_of_hardtanh = medians["hardtanh"], bests["hardtanh"]
        for name, median in medians.items():
            speed = passes * x.nbytes / median.clock
            figures.append(
                Figure(
                    dtype=str(dtype).removeprefix("torch."),
                    size=size,
                    part=part,
                    contender=name,
                    microseconds=round(median.clock * 1e6, 2),
                    to_hardtanh=round(median.clock / of_hardtanh.clock, 3),
                    best_microseconds=round(bests[name] * 1e6, 2),
                    best_to_hardtanh=round(bests[name] / best_of_hardtanh, 3),
                    cpu_microseconds=round(median.processor * 1e6, 2),
                    cpu_to_hardtanh=round(median.processor / of_hardtanh.processor, 3),
                    gigabytes_per_second=round(speed / 1e9, 2),
                    share_of_copy=round(speed / bandwidth, 3),
                )
            )
    return figures


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


def report(circumstances: Circumstances, figures: list[Figure]) -> None:
    """One size and dtype as a table for people."""
    print(f"\n{figures[0].size} {figures[0].dtype}, {circumstances}")
    print("to hardtanh: by the clock (by the processor's time); copy: share of its bandwidth")
    heads = ("forward µs", "to hardtanh", "both µs", "to hardtanh")
    print(" " * 36 + "".join(f"{head:>15}" for head in heads) + "   copy")
    both = {figure.contender: figure for figure in figures if figure.part == "both"}
    for figure in (each for each in figures if each.part == "forward"):
        pair = both[figure.contender]
        ratios = [f"{each.to_hardtanh:.2f} ({each.cpu_to_hardtanh:.2f})" for each in (figure, pair)]
        print(
            f"{figure.contender:36}{figure.microseconds:15.1f}{ratios[0]:>15}"
            f"{pair.microseconds:15.1f}{ratios[1]:>15}{pair.share_of_copy:7.0%}"
        )


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

    def turn(step: Callable[[], None]) -> Spent:
        step()
        return measuring.spent(step, device, calls)

    turns = measuring.by_turns(
        {name: functools.partial(turn, step) for name, step in steps.items()}, repeats
    )
    print(
        f"\ntraining step, {rows} rows through {'-'.join(map(str, sizes))}, µs (processor's time)"
    )
    for name, median in measuring.medians(turns).items():
        print(f"{name:28}{median.clock * 1e6:12.1f} ({median.processor * 1e6:.1f})")


def main() -> None:
    """Check, measure, print, and add to the table."""
    measuring.bind_threads()
    parser = measuring.commands(__doc__, threads=2, repeats=15)
    parser.add_argument("--sizes", help="rows x neurons, separated by commas")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    choices = parser.parse_args()
    measuring.check(CHECKS, choices.device)
    for size in (choices.sizes or SIZES[choices.device]).split(","):
        measuring.pin_threads(threads_for(size, choices.threads))
        for dtype in choices.dtypes.split(","):
            circumstances = Circumstances.now(choices.device)
            figures = measure(size, getattr(torch, dtype), choices.device, choices.repeats)
            report(circumstances, figures)
            measuring.add_to_table(choices.results / "activation.csv", circumstances, figures)
    measuring.pin_threads(1)
    training_steps(32, [64, 64, 32, 10], choices.device, choices.repeats)
    measuring.pin_threads(choices.threads)
    training_steps(512, [512, 1024, 1024, 10], choices.device, choices.repeats)
    print("\nkept for backward between two layers, in activations:")
    for name, act in contenders(1024, choices.device).items():
        if "compiled" not in name:
            print(f"{name:28}{kept_by_a_layer(act, choices.device):6.2f}")


if __name__ == "__main__":
    main()
