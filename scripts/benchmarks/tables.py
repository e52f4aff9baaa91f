"""What it takes to learn from a CSV, beside pandas: checked first, then measured in turns.

    python scripts/benchmarks/tables.py                        # 1 M rows, 200 MB
    python scripts/benchmarks/tables.py --rows 5000000         # 1 GB; takes minutes

The file holds numbers alone. Every turn is a process of its own, which imports first and is then
measured, so that memory is what the work took on top of the libraries:

    pandas.read_csv         the whole file as a frame, as people begin; since pandas 3.1 by several
                            threads, which needs several times the memory of the table
    pandas, one thread      the same by one, as brainnet reads
    pandas, DataLoader      the same, to float32 and to a first batch of 1,024 rows
    brainnet, first batch   the file split, scaled and served: a first batch of 1,024 rows
    brainnet, trained       the same, and one epoch in batches of 8,192 rows

Seconds on the clock and of the processor, of all threads; the peak of memory in MB and as a share
of the table in float32. Unless the rows are those that pandas reads, nothing is printed. What is
printed is added to scripts/benchmarks/results/tables.csv, with date, machine and commit.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import measuring
import numpy as np
import pandas as pd
import torch
from measuring import ROOT, Circumstances
from torch.utils.data import DataLoader, TensorDataset

from brainnet.data.datamodule import DataModule
from brainnet.data.table import Table
from brainnet.structure.network import Network
from brainnet.training.fit import fit

CHECKS = ["tests/data/test_table.py"]
ROWS_OF_A_BLOCK = 50_000
READ = "pandas.read_csv"
MB = 1e6


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; medians of the turns."""

    pandas: str
    rows: int
    columns: int
    file_mb: float
    float32_mb: float
    contender: str
    seconds: float
    to_read_csv: float
    processor_seconds: float
    processor_to_read_csv: float
    peak_mb: float
    peak_to_float32: float


def write(file: Path, rows: int, columns: int) -> None:
    """Write a table of numbers whose last column, y, is the sum of the others."""
    inputs = np.random.default_rng(0).normal(size=(min(rows, ROWS_OF_A_BLOCK), columns - 1))
    frame = pd.DataFrame(inputs, columns=[f"x{column}" for column in range(columns - 1)])
    frame["y"] = inputs.sum(axis=1)
    block = frame.to_csv(index=False, header=False, float_format="%.6f")
    lines = block.splitlines(keepends=True)
    with file.open("w") as opened:
        opened.write(",".join(frame.columns) + "\n")
        for _ in range(rows // len(lines)):
            opened.write(block)
        opened.writelines(lines[: rows % len(lines)])


def check_rows(file: Path) -> None:
    """Leave unless our rows are those of pandas."""
    ours, theirs = Table(file, "y").load(seed=0), pd.read_csv(file)
    same = torch.cat([ours.inputs, ours.targets], dim=1).numpy()
    if not np.array_equal(same, theirs.to_numpy(np.float32)):
        sys.exit("The rows are not those that pandas reads: a wrong result has no speed.")


def with_a_loader(file: Path) -> None:
    """What people write: a frame, a tensor, a DataLoader, and its first batch."""
    frame = pd.read_csv(file)
    inputs = torch.from_numpy(frame.drop(columns="y").to_numpy(np.float32))
    targets = torch.from_numpy(frame[["y"]].to_numpy(np.float32))
    inputs = (inputs - inputs.mean(dim=0)) / inputs.std(dim=0)
    next(iter(DataLoader(TensorDataset(inputs, targets), batch_size=1024, shuffle=True)))


def first_batch(file: Path) -> None:
    """Ours, until there is something to learn from."""
    data = DataModule(Table(file, "y"), batch_size=1024)
    next(iter(data.train_dataloader()))


def trained(file: Path) -> None:
    """Ours, until all rows were learnt from once."""
    data = DataModule(Table(file, "y"), batch_size=8192)
    network = Network([data.inputs, 32, 1])
    with tempfile.TemporaryDirectory() as folder:
        fit(network, data, folder=f"{folder}/run", epochs=1, progress=False)


def by_one_thread(file: Path) -> None:
    """Read the whole file by one thread."""
    with pd.option_context("mode.max_threads", 1):
        pd.read_csv(file)


CONTENDERS: dict[str, Callable[[Path], object]] = {
    READ: pd.read_csv,
    "pandas, one thread": by_one_thread,
    "pandas, DataLoader": with_a_loader,
    "brainnet, first batch": first_batch,
    "brainnet, trained": trained,
}


def peak() -> float:
    """The most memory that this process ever had, in MB."""
    told = Path("/proc/self/status")
    if told.exists():  # what getrusage tells may be that of the process that started this one
        lines = dict(line.split(":", 1) for line in told.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / MB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


def turn(contender: str, file: Path, threads: int) -> None:
    """One process: measure, and tell in JSON; a small file first, that all is imported."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.csv"
        write(small, 200, 3)
        CONTENDERS[contender](small)
    before = peak()
    spent = measuring.spent(lambda: CONTENDERS[contender](file), "cpu")
    json.dump({**spent._asdict(), "memory": peak() - before}, sys.stdout)


def in_a_process(contender: str, file: Path, threads: int) -> dict[str, float]:
    """What a turn told."""
    result = subprocess.run(
        [sys.executable, __file__, "--threads", str(threads), "--turn", contender, str(file)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if result.returncode:
        sys.exit(result.stderr[-2000:])
    told: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return told


def measure(file: Path, rows: int, columns: int, threads: int, repeats: int) -> list[Figure]:
    """Every contender by turns."""
    turns: dict[str, Callable[[], Any]] = {
        name: partial(in_a_process, name, file, threads) for name in CONTENDERS
    }
    found = measuring.by_turns(turns, repeats, warm_up=0)
    told = {
        name: {key: median(each[key] for each in every) for key in every[0]}
        for name, every in found.items()
    }
    size = 4 * rows * columns / MB
    return [
        Figure(
            pandas=pd.__version__,
            rows=rows,
            columns=columns,
            file_mb=round(file.stat().st_size / MB),
            float32_mb=round(size),
            contender=name,
            seconds=round(own["clock"], 2),
            to_read_csv=round(own["clock"] / told[READ]["clock"], 2),
            processor_seconds=round(own["processor"], 2),
            processor_to_read_csv=round(own["processor"] / told[READ]["processor"], 2),
            peak_mb=round(own["memory"]),
            peak_to_float32=round(own["memory"] / size, 2),
        )
        for name, own in told.items()
    ]


def report(circumstances: Circumstances, figures: Sequence[Figure]) -> None:
    """The table for people."""
    first = figures[0]
    print(
        f"\n{first.rows:,} rows of {first.columns} numbers, {first.file_mb:.0f} MB as CSV, "
        f"{first.float32_mb:.0f} MB as float32; {circumstances}"
    )
    print(f"{'':24}{'seconds':>10}{'':>8}{'processor':>12}{'':>8}{'peak MB':>10}{'of float32':>12}")
    for one in figures:
        print(
            f"{one.contender:24}{one.seconds:10.2f}{one.to_read_csv:7.2f}x"
            f"{one.processor_seconds:12.2f}{one.processor_to_read_csv:7.2f}x"
            f"{one.peak_mb:10.0f}{one.peak_to_float32:11.2f}x"
        )


def main() -> None:
    """Check, measure, print, and add to the table."""
    parser = measuring.commands(__doc__, threads=2, repeats=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=21, help="with the target; default: 21")
    parser.add_argument("--turn", nargs=2, metavar=("CONTENDER", "FILE"), help="measure one, once")
    choices = parser.parse_args()
    measuring.pin_threads(choices.threads)
    if choices.turn:
        turn(choices.turn[0], Path(choices.turn[1]), choices.threads)
        return
    measuring.check(CHECKS, choices.device)
    circumstances = Circumstances.now(choices.device)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"
        write(file, choices.rows, choices.columns)
        check_rows(file)
        figures = measure(file, choices.rows, choices.columns, choices.threads, choices.repeats)
    report(circumstances, figures)
    measuring.add_to_table(choices.results / "tables.csv", circumstances, figures)


if __name__ == "__main__":
    main()
