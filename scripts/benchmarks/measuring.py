"""Shared code of the benchmarks: run tests first, alternate contenders, record circumstances."""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

import torch

from brainnet.kernels import dispatch

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
Measured = TypeVar("Measured")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The circumstances of a measurement: the first columns of each table."""

    date: str
    commit: str  # with a plus where files were changed since
    machine: str
    torch: str
    path: str  # of brainnet's kernels on that device
    threads: int
    load: float  # of the machine when it began: above its cores, others were at work too

    @classmethod
    def now(cls, device: str) -> Circumstances:
        """Read the current circumstances; call it before measuring, which is a load itself."""
        return cls(
            date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
            commit=commit(),
            machine=torch.cuda.get_device_name() if device == "cuda" else processor(),
            torch=torch.__version__,
            path=dispatch.read_status()[device]["path"],
            threads=torch.get_num_threads(),
            load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else -1.0,
        )

    def __str__(self) -> str:
        """Format for the head of a printed table."""
        return f"{self.threads} threads, path {self.path}, load {self.load}"


class Spent(NamedTuple):
    """Duration in seconds."""

    clock: float
    processor: float  # of all threads; other programs disturb it less, and no work hides from it


def commands(documentation: str | None, *, threads: int, repeats: int) -> argparse.ArgumentParser:
    """Create a parser with the options of all benchmarks; its help is the module docstring."""
    parser = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=threads, help=f"default: {threads}")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"default: {repeats}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables")
    return parser


def bind_threads() -> None:
    """Bind each OpenMP thread to a core; call this first.

    Two threads on one core take as long as one. OpenMP reads the setting when it is loaded, so the
    program restarts itself. Do not use it if Python threads are timed by the clock: they would all
    stay on the first core.
    """
    if "OMP_PROC_BIND" not in os.environ:
        os.environ["OMP_PROC_BIND"] = "true"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def pin_threads(threads: int) -> None:
    """Compute with this number of threads, here and in child processes."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # brainnet too leaves such a choice alone
    torch.set_num_threads(threads)


def check(tests: Iterable[str], device: str) -> None:
    """Run the tests of the timed code; exit if one fails, because wrong results have no speed."""
    tests = list(tests)
    print(f"checking: {' '.join(tests)}", flush=True)
    chosen = ["-m", "cuda or not slow"] if device == "cuda" else []
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, *chosen],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode:
        sys.exit(f"{result.stdout[-2000:]}\nThe checks failed: a wrong result has no speed.")


def by_turns(
    contenders: Mapping[str, Callable[[], Measured]], turns: int, *, warm_up: int = 1
) -> dict[str, list[Measured]]:
    """Call all contenders in turns, and return the results of each without the warm-up.

    Alternating spreads a busy moment of the machine over all contenders. Every turn starts with
    another contender, so that none always runs with the caches of the same predecessor.
    """
    found: dict[str, list[Measured]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(warm_up + turns):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            measured = contenders[name]()
            if turn >= warm_up:
                found[name].append(measured)
    return found


def spent(work: Callable[[], object], device: str, calls: int = 1) -> Spent:
    """Measure the duration of one of `calls` calls, until the device has finished."""
    wait_for(device)
    start, worked = time.perf_counter(), time.process_time()
    for _ in range(calls):
        work()
    wait_for(device)
    return Spent((time.perf_counter() - start) / calls, (time.process_time() - worked) / calls)


def wait_for(device: str) -> None:
    """Wait until the device has finished."""
    if device != "cpu":
        torch.cuda.synchronize()


def medians(measured: Mapping[str, Sequence[Spent]]) -> dict[str, Spent]:
    """Compute the median of the turns of each contender."""
    return {
        name: Spent(*(median(kind) for kind in zip(*each, strict=True)))
        for name, each in measured.items()
    }


def add_to_table(table: Path, circumstances: Circumstances, lines: Sequence[Any]) -> None:
    """Append one line per dataclass to a table.

    A table with other columns is replaced; git keeps the old one.
    """
    table.parent.mkdir(parents=True, exist_ok=True)
    head = [field.name for kind in (circumstances, lines[0]) for field in fields(kind)]
    with table.open("a+", newline="") as file:
        file.seek(0)
        if next(csv.reader(file), []) != head:
            file.truncate(0)
        file.seek(0, os.SEEK_END)
        writer = csv.writer(file, lineterminator="\n")
        if not file.tell():
            writer.writerow(head)
        writer.writerows((*astuple(circumstances), *astuple(line)) for line in lines)


def commit() -> str:
    """Return the commit of the repository."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    told = subprocess.run(
        [git, "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.strip() or "unknown"


def processor() -> str:
    """Return the name of the processor."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
