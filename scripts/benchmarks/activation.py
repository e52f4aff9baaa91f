"""Speed of the activation op relative to PyTorch's operations; its tests run first.

    python scripts/benchmarks/activation.py                  # the CPU of this machine
    python scripts/benchmarks/activation.py --device cuda    # a GPU
    python scripts/benchmarks/activation.py --sizes 32x64 --repeats 200

    BRAINNET_KERNELS=reference python scripts/benchmarks/activation.py    # without a compiler

Contenders take turns, so that a busy moment of the machine affects all of them, and each figure is
a median. Processor time is given beside clock time. It is disturbed less by other programs: trust
its ratios if the load exceeds the threads, and use `--threads 1` then: two threads lose time
waiting for one another. Small inputs (several calls per turn) are leaves, which in-place variants
never overwrite, so these variants are left out. The printed figures are added to
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
    "tests/kernels/test_dispatch.py",
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
    """Make an input that is neither leaf nor view, like a pre-activation, free in backward."""

    @staticmethod
    def forward(ctx: object, input: Tensor) -> Tensor:
        """Copy the input, outside the timed part."""
        return input.clone()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        """Return the gradient unchanged."""
        return grad


def create_contenders(neurons: int, device: str) -> dict[str, Contender]:
    """Create the contenders: brainnet's and PyTorch's operations, by name."""
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


def measure_call(act: Contender, x: Tensor, grad: Tensor | None, calls: int) -> Spent:
    """Measure one call: forward, or forward and backward."""
    # In place there is a new input to each call, and making it is not what is timed. Small inputs
    # are leaves, as the cost of `Source` would hide what is measured.
    source = x if calls > 1 else Source.apply(x)  # type: ignore[no-untyped-call]
    if grad is None:
        with torch.no_grad():
            return measuring.spent(lambda: act(source), x.device.type, calls)
    return measuring.spent(lambda: torch.autograd.grad(act(source), x, grad), x.device.type, calls)


def choose_threads(size: str, most: int) -> int:
    """Return 1 for small inputs, for which two threads take longer than one."""
    rows, neurons = (int(part) for part in size.split("x"))
    return 1 if rows * neurons < 100_000 else most


def measure_copy_bandwidth(x: Tensor, repeats: int) -> float:
    """Measure bytes per second, read and written, of a copy into allocated memory."""
    source, target = x.detach(), torch.empty_like(x)

    def copy() -> Spent:
        return measuring.spent(lambda: target.copy_(source), x.device.type)

    turns = measuring.by_turns({"copy": copy}, max(repeats, 5))
    return 2 * x.nbytes / measuring.medians(turns)["copy"].clock


def measure(size: str, dtype: torch.dtype, device: str, repeats: int) -> list[Figure]:
    """Measure every contender at one size and dtype."""
    torch.compiler.reset()  # or it gives up on what it was shown in too many sizes
    rows, neurons = (int(part) for part in size.split("x"))
    x = (torch.rand(rows, neurons, device=device) * 2 - 0.5).to(dtype).requires_grad_()
    grad = torch.randn_like(x)
    calls = max(1, min(300, 2_000_000 // x.numel()))
    acts = create_contenders(neurons, device)
    if calls > 1:
        acts = {name: act for name, act in acts.items() if "in place" not in name}
    bandwidth = measure_copy_bandwidth(x, repeats)

    def turn(act: Contender, given: Tensor | None) -> Spent:
        # As in a training it was called a moment ago: a virtual machine takes free memory back
        # within seconds, and gives it again page by page.
        measure_call(act, x, given, min(calls, 20))
        return measure_call(act, x, given, calls)

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


def measure_saved_memory(activation: Callable[[Tensor], Tensor], device: str) -> float:
    """Measure the memory that two layers save for backward (CUDA: the peak), in activations."""
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


def print_table(circumstances: Circumstances, figures: list[Figure]) -> None:
    """Print one size and dtype as a table."""
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


def build_step(network: nn.Module, x: Tensor, targets: Tensor) -> Callable[[], None]:
    """Create a function that runs one training step."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(network(x), targets).backward()
        optimizer.step()

    return step


def measure_training_steps(rows: int, sizes: list[int], device: str, repeats: int) -> None:
    """Print a network's training step, eager and compiled, beside the same with `nn.Hardtanh`."""
    x = torch.randn(rows, sizes[0], device=device)
    targets = torch.randint(sizes[-1], (rows,), device=device)
    steps = {}
    for name, activation in (("threshold_ramp", "threshold_ramp"), ("hardtanh", nn.Hardtanh(0, 1))):
        for how in ("eager", "compiled"):
            network = Network(sizes, activation, device=device)
            if how == "compiled":
                network.compile()
            steps[f"{name}, {how}"] = build_step(network, x, targets)
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
        measuring.pin_threads(choose_threads(size, choices.threads))
        for dtype in choices.dtypes.split(","):
            circumstances = Circumstances.now(choices.device)
            figures = measure(size, getattr(torch, dtype), choices.device, choices.repeats)
            print_table(circumstances, figures)
            measuring.add_to_table(choices.results / "activation.csv", circumstances, figures)
    measuring.pin_threads(1)
    measure_training_steps(32, [64, 64, 32, 10], choices.device, choices.repeats)
    measuring.pin_threads(choices.threads)
    measure_training_steps(512, [512, 1024, 1024, 10], choices.device, choices.repeats)
    print("\nkept for backward between two layers, in activations:")
    for name, act in create_contenders(1024, choices.device).items():
        if "compiled" not in name:
            print(f"{name:28}{measure_saved_memory(act, choices.device):6.2f}")


if __name__ == "__main__":
    main()
