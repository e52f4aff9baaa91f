"""Machine code of the CUDA kernels, compiled for GPUs that this machine does not have.

    python scripts/benchmarks/cuda_codegen.py                              # H100 and H200: sm_90
    python scripts/benchmarks/cuda_codegen.py --targets 80,90,100
    python scripts/benchmarks/cuda_codegen.py --dtypes float32 --json      # for programs

Every launch is recorded from the code that launches it, for tensors of 2^26 elements, then compiled
by Triton and disassembled by the `cuobjdump` of the Triton package. An H200 issues 132 x 4 x 32 x
1.75e9 = 29.6e12 instructions (of one element each) per second and moves 4.3e12 bytes. `issue` is
the time to issue the instructions of an element divided by the time to move its bytes: above 1,
issue slots limit the kernel, otherwise bandwidth. Instructions outside of loops count as executed
once per program; the other loops handle the last elements or rare values. Not modeled: the lower
rate of conversions, float64 and shared atomics. The variant "float32 pairs" of the statistics runs
only on GPUs with slow float64: it is compiled for sm_89 and judged by an RTX 4090. What is printed
is added to scripts/benchmarks/results/cuda_codegen.csv with date, machine and commit.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from measuring import RESULTS, Circumstances, add_to_table
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from brainnet.kernels import triton_ramp, triton_statistics
from brainnet.kernels.counters import create_counters
from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT

_ELEMENTS = 1 << 26
# Instructions (of one element) and bytes per second.
_GPUS = {
    "H200": (132 * 4 * 32 * 1.75e9, 4.3e12),
    "RTX 4090": (128 * 4 * 32 * 2.52e9, 1.008e12),
}
# Rows of a matrix, rows whose length is not a multiple of 16, and images with two sizes of maps.
_SHAPES = {
    "rows": (_ELEMENTS >> 12, 4096),
    "odd rows": (_ELEMENTS // 100, 100),
    "channels": (_ELEMENTS // (64 * 3136), 64, 56, 56),
    "odd channels": (_ELEMENTS // (512 * 49), 512, 7, 7),
}
_CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
_TYPES = {
    torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16",
    torch.float64: "*fp64", torch.int32: "*i32", torch.int64: "*i64",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Launch:
    """One recorded launch.

    Attributes:
        name: the variant.
        dtype: of the elements.
        kernel: the Triton function.
        arguments: by name, as launched.
        options: such as the number of warps.
        steps: iterations of the main loop of one program.
    """

    name: str
    dtype: str
    kernel: Any
    arguments: dict[str, Any]
    options: dict[str, int]
    steps: int


@dataclass(frozen=True, slots=True)
class KernelCode:
    """Properties of the machine code of one variant: a line of the table.

    Accesses to global memory of less than 128 bits, spills (accesses to local memory) and calls are
    counted in the main loop. For sm_80, the compiler keeps one or two scalars for the last elements
    in local memory.
    """

    target: str
    kernel: str
    variant: str
    dtype: str
    instructions_per_element: float
    loop_instructions_per_element: float
    registers: int
    shared_bytes: int
    spills: int
    bytes_per_element: float
    narrow_accesses: int
    loop_calls: int
    gpu: str
    issue: float
    limit: str


def iterate_calls(dtype: torch.dtype) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield calls that launch every kernel with every option."""

    def forward(shape: str, mode: str, *, count: bool) -> None:
        x = torch.empty(_SHAPES[shape], dtype=dtype)
        t, w = create_parameters(x, mode)
        counters = create_counters(x.shape[1]) if count else None
        triton_ramp.run_forward(x, t, w, 1, counters)

    def backward(
        shape: str, mode: str, *, leak: float = 0.0, learn: bool = False, one: bool = False
    ) -> None:
        y = torch.empty(_SHAPES[shape], dtype=dtype)
        t, w = create_parameters(y, mode)
        grad = y.new_empty(()).expand_as(y) if one else torch.empty_like(y)
        triton_ramp.run_backward(grad, y, t, w, leak, 1, (learn, learn))

    modes = [("rows", "plain"), ("rows", "numbers"), *((shape, "per neuron") for shape in _SHAPES)]
    for shape, mode in modes:
        for count in (False, True):
            name = f"{shape}, {mode}" + (", counting" if count else "")
            yield name, lambda s=shape, m=mode, c=count: forward(s, m, count=c)  # type: ignore[misc]
    for shape, mode in modes:
        yield f"{shape}, {mode}", lambda s=shape, m=mode: backward(s, m)  # type: ignore[misc]
    for shape, mode in [("rows", "scalars"), *modes[2:]]:
        yield f"{shape}, {mode}, learning", lambda s=shape, m=mode: backward(s, m, learn=True)  # type: ignore[misc]
    yield "rows, plain, leak", lambda: backward("rows", "plain", leak=0.1)
    yield "rows, plain, one gradient", lambda: backward("rows", "plain", one=True)
    yield (
        "rows, per neuron, learning, leak, one gradient",
        lambda: backward("rows", "per neuron", leak=0.1, learn=True, one=True),
    )
    for is_fast in (True, False):

        def measure(is_fast: bool = is_fast) -> None:
            with mock.patch.object(triton_statistics, "_has_fast_double", return_value=is_fast):
                table = torch.zeros(1, STATISTICS_LAYOUT.width, dtype=torch.int64)
                triton_statistics.add_statistics([torch.empty(_ELEMENTS, dtype=dtype)], table)

        yield "statistics" + ("" if is_fast else ", float32 pairs"), measure


def create_parameters(x: Tensor, mode: str) -> tuple[float | Tensor, float | Tensor]:
    """Create a threshold and a width that broadcast over dimension 1 of `x`."""
    if mode == "plain":
        return 0.0, 1.0
    if mode == "numbers":
        return 0.25, 0.5
    shape = () if mode == "scalars" else (x.shape[1], *[1] * (x.dim() - 2))
    return torch.zeros(shape), torch.ones(shape)


def record_launches(dtype: torch.dtype) -> list[Launch]:
    """Run all calls with a recorder in the place of Triton's launcher."""
    launches: list[Launch] = []
    for name, call in iterate_calls(dtype):

        def record(kernel: Any, *values: Any, name: str = name, **keywords: Any) -> None:
            options = {key: keywords.pop(key) for key in ("num_warps",) if key in keywords}
            keywords.pop("grid")
            keywords.pop("warmup")
            arguments = dict(zip(kernel.arg_names, values, strict=False)) | keywords
            if "share" in arguments:
                steps = -(-arguments["share"] // arguments["LINES"])
            else:
                steps = triton_statistics._CHUNK // triton_statistics._BLOCK
            # The second kernel of the statistics only reads a few numbers per tensor.
            if kernel is not triton_statistics._row_kernel:
                launches.append(Launch(name, str(dtype)[6:], kernel, arguments, options, steps))

        with mock.patch.object(triton.runtime.JITFunction, "run", record):
            call()
    return launches


def compile_launch(launch: Launch, target: int) -> KernelCode:
    """Compile a launch with what Triton would know of its arguments, and measure the code."""
    signature, constants, hints = {}, {}, {}
    for index, parameter in enumerate(launch.kernel.params):
        value = launch.arguments[parameter.name]
        if parameter.is_constexpr or (isinstance(value, int) and value == 1):
            signature[parameter.name] = "constexpr"
            constants[parameter.name] = value
            continue
        if isinstance(value, float):
            signature[parameter.name] = "fp32"
            continue
        is_tensor = isinstance(value, Tensor)
        integer = "i32" if not is_tensor and value < 1 << 31 else "i64"
        signature[parameter.name] = _TYPES[value.dtype] if is_tensor else integer
        if (value.data_ptr() if is_tensor else value) % 16 == 0:
            hints[(index,)] = [["tt.divisibility", 16]]
    compiled = triton.compile(
        ASTSource(launch.kernel, signature, constants, hints),
        target=GPUTarget("cuda", target, 32),
        options=launch.options,
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        assembly, usage = (
            subprocess.run(
                [_CUOBJDUMP, option, file.name], capture_output=True, text=True, check=True
            ).stdout
            for option in ("-sass", "-res-usage")
        )
    registers, shared = (int(re.search(rf"{key}:(\d+)", usage)[1]) for key in ("REG", "SHARED"))  # type: ignore[index]
    return measure_code(
        launch, f"sm_{target}", assembly, registers, shared + compiled.metadata.shared
    )


def measure_code(
    launch: Launch, target: str, assembly: str, registers: int, shared_bytes: int
) -> KernelCode:
    """Count the instructions in the disassembly of a kernel."""
    lines = re.findall(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@\S+\s+)?(\S+)(.*?);", assembly, re.M)
    code = [(int(address, 16), name, rest) for address, name, rest in lines]
    code = code[: next((i for i, (_, name, _) in enumerate(code) if name == "NOP"), None)]
    loops = []
    for address, name, rest in code:
        destination = re.search(r"0x([0-9a-f]+)\)?\s*$", rest.strip())
        if name.startswith("BRA") and destination and int(destination[1], 16) < address:
            begin = int(destination[1], 16)
            loops.append([entry for entry in code if begin <= entry[0] <= address])
    itemsize = getattr(torch, launch.dtype).itemsize
    # The main loop is the one that moves most bytes; the others handle the last elements.
    main = max(loops, key=lambda loop: _count_bytes(loop, "LDG"), default=[])
    loaded, stored = _count_bytes(main, "LDG"), _count_bytes(main, "STG")
    elements = max((stored or loaded) / itemsize, 1)
    once = len(code) - sum(len(loop) for loop in loops)
    per_element = len(main) / elements
    total = per_element + once / (elements * launch.steps)
    size = (loaded + stored) / elements
    gpu = "RTX 4090" if "pairs" in launch.name else "H200"
    instruction_rate, byte_rate = _GPUS[gpu]
    issue = total / instruction_rate / (size / byte_rate)
    # On sm_80, a loop may be left by a "call" of the instruction after it.
    end = f"0x{main[-1][0] + 16:x}" if main else ""
    accesses = [entry for entry in main if entry[1].startswith(("LDG", "STG"))]
    return KernelCode(
        target=target,
        kernel=launch.kernel.__name__.strip("_"),
        variant=launch.name,
        dtype=launch.dtype,
        instructions_per_element=round(total, 1),
        loop_instructions_per_element=round(per_element, 1),
        registers=registers,
        shared_bytes=shared_bytes,
        spills=sum(name.startswith(("LDL", "STL")) for _, name, _ in main),
        bytes_per_element=size,
        narrow_accesses=sum(".128" not in name for _, name, _ in accesses),
        loop_calls=sum(name.startswith("CALL") and end not in rest for _, name, rest in main),
        gpu=gpu,
        issue=round(issue, 2),
        limit="issue slots" if issue > 1 else "bandwidth",
    )


def _count_bytes(code: list[tuple[int, str, str]], opcode: str) -> int:
    """Bytes that the accesses with this opcode move per thread."""
    sizes = [
        int((re.findall(r"\.(?:U|S)?(\d+)(?=\.|$)", name) or [32])[-1])
        for _, name, _ in code
        if name.startswith(opcode)
    ]
    return sum(sizes) // 8


def compile_all(launches: list[Launch], targets: list[int]) -> list[KernelCode]:
    """Compile in as many processes as there are processors."""
    # Float32 pairs are for GPUs such as sm_89.
    jobs = [
        (index, 89 if "pairs" in launch.name else target)
        for target in targets
        for index, launch in enumerate(launches)
    ]
    # Forked, because tensors and kernels cannot be sent to another process.
    context = multiprocessing.get_context("fork")
    global _launches
    _launches = launches
    with context.Pool(len(os.sched_getaffinity(0))) as pool:
        return pool.starmap(_compile_index, jobs, chunksize=1)


_launches: list[Launch] = []


def _compile_index(index: int, target: int) -> KernelCode:
    return compile_launch(_launches[index], target)


def main() -> None:
    """Compile, print, and add to the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", default="90", help="compute capabilities, such as 80,90,100")
    parser.add_argument("--dtypes", default="float32,bfloat16,float16")
    parser.add_argument("--only", nargs="*", default=[""], help="first words of variants")
    parser.add_argument("--json", action="store_true", help="print JSON and keep no table")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables")
    choices = parser.parse_args()
    torch.set_num_threads(1)
    circumstances = Circumstances.now("cpu")
    dtypes = [getattr(torch, name) for name in choices.dtypes.split(",")]
    launches = [launch for dtype in dtypes for launch in record_launches(dtype)]
    launches = [launch for launch in launches if launch.name.startswith(tuple(choices.only))]
    figures = compile_all(launches, [int(target) for target in choices.targets.split(",")])
    if choices.json:
        print(json.dumps([asdict(figure) for figure in figures]))
        return
    print("instructions and bytes per element; issue: time to issue / time to move the bytes")
    print(
        f"{'':74}{'instructions':>13}{'registers':>10}{'shared':>8}{'bytes':>7}{'issue':>7}  limit"
    )
    for code in figures:
        title = f"{code.target} {code.kernel:17}{code.dtype:9} {code.variant}"
        print(
            f"{title:74}{code.instructions_per_element:13}{code.registers:10}"
            f"{code.shared_bytes:8}{code.bytes_per_element:7.1f}{code.issue:7.2f}  {code.limit}"
        )
    add_to_table(choices.results / "cuda_codegen.csv", circumstances, figures)


if __name__ == "__main__":
    main()
