"""What every benchmark does: check first, take turns, tell the circumstances, keep a table.

A script of this folder adds what it measures, and with whom it compares.
"""

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
    """What a figure was measured with: the first columns of each table."""

    date: str
    commit: str  # with a plus where files were changed since
    machine: str
    torch: str
    path: str  # of brainnet's kernels on that device
    threads: int
    load: float  # of the machine when it began: above its cores, others were at work too

    @classmethod
    def now(cls, device: str) -> Circumstances:
        """As they are; asked for before measuring, which is a load itself."""
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
        """For the head of a printed table."""
        return f"{self.threads} threads, path {self.path}, load {self.load}"


class Spent(NamedTuple):
    """Seconds that something took."""

    clock: float
    processor: float  # of all threads; other programs disturb it less, and no work hides from it


def commands(documentation: str | None, *, threads: int, repeats: int) -> argparse.ArgumentParser:
    """The options that all benchmarks share; their help is what the script says of itself."""
    parser = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=threads, help=f"default: {threads}")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"default: {repeats}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables")
    return parser


def bind_threads() -> None:
    """Let each of OpenMP's threads stay on a core of its own; called first of all.

    Where two of them meet on one core, both together take as long as one alone. OpenMP asks for it
    when it is loaded, so the program starts anew. Not where Python's threads are timed by the
    clock: they would all stay on the first core.
    """
    if "OMP_PROC_BIND" not in os.environ:
        os.environ["OMP_PROC_BIND"] = "true"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def pin_threads(threads: int) -> None:
    """Compute with so many threads, here and in what is started from here."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # brainnet too leaves such a choice alone
    torch.set_num_threads(threads)


def check(tests: Iterable[str], device: str) -> None:
    """Run the tests of what is timed; leave where one fails: a wrong result has no speed."""
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
    """What each contender returns in each turn, those of warming up left out.

    They take turns, so that a busy moment of the machine meets them all; and each turn begins with
    another, so that nobody always follows the same neighbour, who leaves the caches his way.
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
    """What one of so many calls takes, until the device is done with them."""
    wait_for(device)
    start, worked = time.perf_counter(), time.process_time()
    for _ in range(calls):
        work()
    wait_for(device)
    return Spent((time.perf_counter() - start) / calls, (time.process_time() - worked) / calls)


def wait_for(device: str) -> None:
    """Wait until the device has done what was asked of it."""
    if device != "cpu":
        torch.cuda.synchronize()


def medians(measured: Mapping[str, Sequence[Spent]]) -> dict[str, Spent]:
    """Of each contender's turns."""
    return {
        name: Spent(*(median(kind) for kind in zip(*each, strict=True)))
        for name, each in measured.items()
    }


def add_to_table(table: Path, circumstances: Circumstances, lines: Sequence[Any]) -> None:
    """Append a line for each of these dataclasses to a table.

    A table that had other columns begins anew: git keeps the old one.
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
    """The version of the repository, where it is one."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    told = subprocess.run(
        [git, "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.strip() or "unknown"


def processor() -> str:
    """The processor's name."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
