"""Building the C++ kernels: only on request, once per PyTorch, compiler and processor."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
# No contraction into fused multiply-adds: the kernel equals the ATen reference to the last bit.
FLAGS = (
    "-std=c++20",
    "-O2",  # the loops are written in lanes: there is nothing left to vectorise
    "-march=native",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-fvisibility=hidden",
)

LIBRARY = "kernels.so"


@dataclass(frozen=True, slots=True)
class Build:
    """One built library: where it lies, who compiled it, how long that took."""

    library: Path
    compiler: str
    seconds: float
    fresh: bool  # False where it was there already


def cache_folder() -> Path:
    """The user's cache for built kernels; `BRAINNET_CACHE` moves it."""
    if chosen := os.environ.get("BRAINNET_CACHE"):
        return Path(chosen) / "kernels"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home()))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "brainnet" / "kernels"


def find() -> Path | None:
    """The newest library that fits this PyTorch, this processor and this source; no compiler runs.

    Unreadable or half-written folders are passed over.
    """
    try:
        libraries = list(cache_folder().glob(f"{_fitting()}-*/{LIBRARY}"))
        return max(libraries, key=lambda path: path.stat().st_mtime, default=None)
    except OSError:
        return None


def build(*, force: bool = False, begins: Callable[[], None] = lambda: None) -> Build:
    """Compile the kernel into the cache, or find it there.

    Two processes that build at once wait for one another, and the second finds the first's work.

    Args:
        force: Compile even where a fitting library lies in the cache.
        begins: Called before compiling, once all that it takes is there.

    Raises:
        InputError: Where no C++ compiler is found or `CXX` names none, the cache can't be written,
            or the compiler refuses the source.
    """
    compiler, version = _compiler()
    folder = cache_folder() / f"{_fitting()}-{_short(version)}"
    library = folder / LIBRARY
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / "lock"):
            if library.exists() and not force:
                return Build(library, version, _told_seconds(folder), fresh=False)
            begins()
            seconds = _compile(compiler, library)
            about = {"compiler": version, "torch": torch.__version__, "seconds": seconds}
            (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n")
    except OSError as error:
        raise InputError(
            f"the kernel's cache {folder} can't be written: {error}. "
            "Set BRAINNET_CACHE to a folder that can."
        ) from error
    return Build(library, version, seconds, fresh=True)


def clean() -> list[Path]:
    """Remove every built kernel from the cache; returns the folders that are gone.

    Raises:
        InputError: Where a folder can't be removed.
    """
    folder = cache_folder()
    gone = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    try:
        for path in gone:
            shutil.rmtree(path)
    except OSError as error:
        raise InputError(f"{error.filename} can't be removed: {error.strerror}.") from error
    return gone


def _fitting() -> str:
    """What a library must fit: PyTorch's version, the processor, the sources and their flags."""
    text = (
        b"".join(source.read_bytes() for source in (*SOURCES, *HEADERS)) + " ".join(FLAGS).encode()
    )
    return f"torch-{torch.__version__}-{_short(_processor())}-{_short(text)}"


def _processor() -> str:
    """The processor with all it can do: `-march=native` code crashes on a lesser one."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        wanted = ("model name", "flags", "Features", "CPU part", "CPU implementer")
        lines = information.read_text().split("\n\n")[0].splitlines()
        return "\n".join(line for line in lines if line.startswith(wanted))
    return f"{platform.machine()} {platform.processor()}"


def _short(text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return hashlib.sha256(raw).hexdigest()[:12]


def _compiler() -> tuple[list[str], str]:
    """The compiler's command and what it says of itself; one that `CXX` names, or none."""
    if chosen := os.environ.get("CXX", "").strip():
        # As make has it, words may go before and after it: CXX="ccache g++".
        command = [chosen] if shutil.which(chosen) else chosen.split()
        version = _version(command)
        if version is None:
            raise InputError(
                f"CXX={chosen} is no C++ compiler that works here: {chosen} --version tells "
                "nothing. Set CXX to one, or unset it and g++, clang++ or c++ is taken."
            )
        return command, version
    for name in ("g++", "clang++", "c++"):
        version = _version([name])
        if version is not None:
            return [name], version
    raise InputError(
        "building the kernel needs a C++ compiler; neither g++ nor clang++ was found. Install one "
        "(Debian: apt install g++; macOS: xcode-select --install) or set CXX. Nothing else needs "
        "it: without the kernel, everything runs on PyTorch's own."
    )


def _version(command: list[str]) -> str | None:
    """The first line of what a compiler says of itself; None where it does not work."""
    found = shutil.which(command[0])
    if found is None:
        return None
    try:
        told = subprocess.run(
            [found, *command[1:], "--version"], capture_output=True, text=True, check=False
        )
    except OSError:  # such as a script without its first line
        return None
    return told.stdout.splitlines()[0] if told.returncode == 0 and told.stdout.strip() else None


def _compile(compiler: list[str], library: Path) -> float:
    """Compile the sources side by side, link them, and put the library in place at once."""
    torch_folder = Path(torch.__file__).parent
    includes = [torch_folder / "include", torch_folder / "include/torch/csrc/api/include"]
    flags = [*FLAGS, f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"]
    flags += [f"-I{path}" for path in includes]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=library.parent) as folder, ThreadPoolExecutor() as threads:
        objects = [Path(folder) / f"{source.stem}.o" for source in SOURCES]
        jobs = [
            threads.submit(_run, [*compiler, *flags, "-c", str(source), "-o", str(made)])
            for source, made in zip(SOURCES, objects, strict=True)
        ]
        for job in jobs:
            job.result()
        unfinished = Path(folder) / LIBRARY
        undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        link = [*compiler, "-shared", *map(str, objects), "-o", str(unfinished), *undefined]
        _run([*link, f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10"])
        unfinished.replace(library)
    return round(time.perf_counter() - start, 2)


def _run(command: list[str]) -> None:
    """Run the compiler; where it refuses, say so with its own first errors."""
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode != 0:
        last = "\n".join([line for line in told.stderr.splitlines() if "error" in line][:5])
        raise InputError(
            f"{command[0]} could not compile the kernel for torch {torch.__version__}:\n{last}\n"
            "Try another compiler: CXX=clang++, say. Without the kernel, everything still runs on "
            "PyTorch's own."
        )


def _told_seconds(folder: Path) -> float:
    try:
        return float(json.loads((folder / "about.json").read_text())["seconds"])
    except (OSError, ValueError, KeyError):
        return 0.0


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file's lock; the system lets go of it even where the process dies."""
    with path.open("a+b") as file:
        # Each module exists on its own system alone.
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
