"""Compilation of the C++ kernels: only on request, once per PyTorch, compiler and processor.

`torch.utils.cpp_extension.load` is not used: it needs ninja and setuptools on the machine of the
user, and importing it takes longer than loading the finished library may take.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from brainnet.errors import InputError

SOURCES = tuple(
    Path(__file__).with_name(f"{name}.cpp")
    for name in ("threshold_ramp", "ramp_loops", "ramp_sums", "statistics")
)
HEADERS = tuple(
    Path(__file__).with_name(f"{name}.h")
    for name in ("ramp_loops", "ramp_steps", "lanes", "moments")
)
_FLAGS = (
    "-std=c++20",
    # The loops are written with vector types, so -O3 has nothing left to vectorize.
    "-O2",
    "-march=native",
    # Without fused multiply-adds, the kernel equals the ATen reference to the last bit.
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-fvisibility=hidden",
)
_LIBRARY_NAME = "kernels.so"


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A compiled library, the first line of the compiler's `--version`, and the duration.

    The duration is None if the cache already held the library.
    """

    library: Path
    compiler: str
    seconds: float | None


def find_cache_folder() -> Path:
    """Return the user's cache for compiled kernels, which `BRAINNET_CACHE` overrides."""
    if folder := os.environ.get("BRAINNET_CACHE"):
        return Path(folder) / "kernels"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "brainnet" / "kernels"


def find_library() -> Path | None:
    """Return the newest library for this PyTorch, processor and source; runs no compiler."""
    try:
        libraries = list(find_cache_folder().glob(f"{_build_key()}-*/{_LIBRARY_NAME}"))
        return max(libraries, key=lambda path: path.stat().st_mtime, default=None)
    except OSError:
        return None


def build_library(
    *, force: bool = False, on_start: Callable[[], None] = lambda: None
) -> BuildResult:
    """Compile the kernels into the cache, unless it already holds them and `force` is not set.

    If two processes build at once, the second waits and uses the result of the first. `on_start` is
    called before compiling, once all requirements are met.

    Raises:
        InputError: there is no C++ compiler, `CXX` is not one, the cache cannot be written, or the
            compiler rejects the source.
    """
    # Imported here because most processes never build.
    from filelock import FileLock

    compiler, version = _find_compiler()
    folder = find_cache_folder() / f"{_build_key()}-{_hash(version)}"
    library, seconds = folder / _LIBRARY_NAME, None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if force or not library.exists():
                on_start()
                seconds = _compile(compiler, library)
    except OSError as error:
        raise InputError(
            f"the kernel cache {folder} cannot be written: {error}. Set BRAINNET_CACHE to a "
            "writable folder."
        ) from error
    return BuildResult(library, version, seconds)


def clean_cache() -> list[Path]:
    """Remove all compiled kernels from the cache; returns the removed folders."""
    cache = find_cache_folder()
    folders = sorted(path for path in cache.iterdir() if path.is_dir()) if cache.is_dir() else []
    try:
        for folder in folders:
            shutil.rmtree(folder)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be removed: {error.strerror}.") from error
    return folders


def _build_key() -> str:
    """Identify PyTorch's version, the processor, the sources and the flags."""
    sources = "".join(path.read_bytes().decode() for path in (*SOURCES, *HEADERS))
    key = _hash(sources + " ".join(_FLAGS))
    return f"torch-{torch.__version__}-{_hash(_describe_processor())}-{key}"


def _describe_processor() -> str:
    """Return the processor's model and features; `-march=native` code crashes on a lesser one."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields = ("model name", "flags", "Features", "CPU part", "CPU implementer")
        lines = cpuinfo.read_text().split("\n\n")[0].splitlines()
        return "\n".join(line for line in lines if line.startswith(fields))
    return f"{platform.machine()} {platform.processor()}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _find_compiler() -> tuple[list[str], str]:
    """Return the command and version of the compiler that `CXX` names, or of the first found."""
    name = os.environ.get("CXX", "").strip()
    # As in make, the value may contain a wrapper or options: CXX="ccache g++".
    candidates = [[name], name.split()] if name else [["g++"], ["clang++"], ["c++"]]
    for command in candidates:
        version = _read_version(command)
        if version is not None:
            return command, version
    if name:
        raise InputError(
            f"CXX={name} is not a working C++ compiler: {name} --version failed. Set CXX to a "
            "compiler, or unset it to use g++, clang++ or c++."
        )
    raise InputError(
        "building the kernels needs a C++ compiler; neither g++ nor clang++ was found. Install one "
        "(Debian: apt install g++; macOS: xcode-select --install) or set CXX. Building is "
        "optional: without the kernels, brainnet uses PyTorch's own operations."
    )


def _read_version(command: list[str]) -> str | None:
    """Return the first line of `--version`, or None if the compiler does not work."""
    # A missing program, or a script without an interpreter line, raises OSError.
    with suppress(OSError):
        result = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, check=False
        )
        if result.returncode == 0 and result.stdout.strip():
            return result.stdout.splitlines()[0]
    return None


def _compile(compiler: list[str], library: Path) -> float:
    """Compile the sources in parallel, link them, and move the library into place atomically."""
    torch_folder = Path(torch.__file__).parent
    includes = [torch_folder / "include", torch_folder / "include/torch/csrc/api/include"]
    flags = [*_FLAGS, f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"]
    flags += [f"-I{path}" for path in includes]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=library.parent) as folder, ThreadPoolExecutor() as pool:
        objects = [Path(folder) / f"{source.stem}.o" for source in SOURCES]
        commands = [
            [*compiler, *flags, "-c", str(source), "-o", str(target)]
            for source, target in zip(SOURCES, objects, strict=True)
        ]
        list(pool.map(_run_compiler, commands))
        temporary = Path(folder) / _LIBRARY_NAME
        undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        link = [*compiler, "-shared", *map(str, objects), "-o", str(temporary), *undefined]
        _run_compiler([*link, f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10"])
        temporary.replace(library)
    return round(time.perf_counter() - start, 2)


def _run_compiler(command: list[str]) -> None:
    """Run the compiler; on failure, raise an error with its first messages."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        errors = "\n".join([line for line in result.stderr.splitlines() if "error" in line][:5])
        raise InputError(
            f"{command[0]} could not compile the kernels for torch {torch.__version__}:\n{errors}\n"
            "Try another compiler, for example CXX=clang++. Building is optional: without the "
            "kernels, brainnet uses PyTorch's own operations."
        )
