"""Time and memory to train on a CSV file, compared with pandas. Tests run first.

    python scripts/benchmarks/tables.py                        # 1 M rows, 200 MB
    python scripts/benchmarks/tables.py --rows 5000000         # 1 GB; takes minutes

The file contains numbers only. Each measurement is a process of its own, which imports first, so
that the memory is that of the work on top of the libraries:

    pandas.read_csv         the whole file as a DataFrame; pandas 3.1 reads with several threads,
                            which need several times the memory of the table
    pandas, one thread      the same with one thread, as brainnet reads
    pandas, DataLoader      the same, converted to float32, and a first batch of 1,024 rows
    brainnet, first batch   the file split, scaled and loaded: a first batch of 1,024 rows
    brainnet, trained       the same, and one epoch in batches of 8,192 rows

The columns are seconds on the clock and of the processor (all threads), and the peak of the memory
in MB and relative to the table in float32. The results are compared with the rows that pandas
reads, and appended to scripts/benchmarks/results/tables.csv with date, machine and commit.
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
    """One line of the table; medians of the repeats."""

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
    """Exit unless the rows equal those of pandas."""
    data, frame = Table(file, "y").load(seed=0), pd.read_csv(file)
    rows = torch.cat([data.inputs, data.targets], dim=1).numpy()
    if not np.array_equal(rows, frame.to_numpy(np.float32)):
        sys.exit("The rows differ from those that pandas reads.")


def load_with_pandas(file: Path) -> None:
    """Read a DataFrame, convert it to tensors, and take the first batch of a DataLoader."""
    frame = pd.read_csv(file)
    inputs = torch.from_numpy(frame.drop(columns="y").to_numpy(np.float32))
    targets = torch.from_numpy(frame[["y"]].to_numpy(np.float32))
    inputs = (inputs - inputs.mean(dim=0)) / inputs.std(dim=0)
    next(iter(DataLoader(TensorDataset(inputs, targets), batch_size=1024, shuffle=True)))


def load_first_batch(file: Path) -> None:
    """Take the first batch of a brainnet DataModule."""
    data = DataModule(Table(file, "y"), batch_size=1024)
    next(iter(data.train_dataloader()))


def train_one_epoch(file: Path) -> None:
    """Train one epoch."""
    data = DataModule(Table(file, "y"), batch_size=8192)
    network = Network([data.dataset.input_count, 32, 1])
    with tempfile.TemporaryDirectory() as folder:
        fit(network, data, folder=f"{folder}/run", epochs=1, progress=False)


def read_with_one_thread(file: Path) -> None:
    """Read the whole file with one thread."""
    with pd.option_context("mode.max_threads", 1):
        pd.read_csv(file)


CONTENDERS: dict[str, Callable[[Path], object]] = {
    READ: pd.read_csv,
    "pandas, one thread": read_with_one_thread,
    "pandas, DataLoader": load_with_pandas,
    "brainnet, first batch": load_first_batch,
    "brainnet, trained": train_one_epoch,
}


def read_peak() -> float:
    """Return the peak memory of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage may return the peak of the parent process
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / MB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


def run_once(contender: str, file: Path, threads: int) -> None:
    """Measure one contender and print JSON; a small file first, so that all is imported."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.csv"
        write(small, 200, 3)
        CONTENDERS[contender](small)
    before = read_peak()
    spent = measuring.spent(lambda: CONTENDERS[contender](file), "cpu")
    json.dump({**spent._asdict(), "memory": read_peak() - before}, sys.stdout)


def run_process(contender: str, file: Path, threads: int) -> dict[str, float]:
    """Run `run_once` in a process of its own."""
    result = subprocess.run(
        [sys.executable, __file__, "--threads", str(threads), "--turn", contender, str(file)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if result.returncode:
        sys.exit(result.stderr[-2000:])
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return figures


def measure(file: Path, rows: int, columns: int, threads: int, repeats: int) -> list[Figure]:
    """Measure all contenders in turns."""
    turns: dict[str, Callable[[], Any]] = {
        name: partial(run_process, name, file, threads) for name in CONTENDERS
    }
    results = measuring.by_turns(turns, repeats, warm_up=0)
    medians = {
        name: {key: median(repeat[key] for repeat in all_repeats) for key in all_repeats[0]}
        for name, all_repeats in results.items()
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
            seconds=round(figures["clock"], 2),
            to_read_csv=round(figures["clock"] / medians[READ]["clock"], 2),
            processor_seconds=round(figures["processor"], 2),
            processor_to_read_csv=round(figures["processor"] / medians[READ]["processor"], 2),
            peak_mb=round(figures["memory"]),
            peak_to_float32=round(figures["memory"] / size, 2),
        )
        for name, figures in medians.items()
    ]


def print_report(circumstances: Circumstances, figures: Sequence[Figure]) -> None:
    """Print the table."""
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
    """Run the tests, measure, print, and append the results."""
    parser = measuring.commands(__doc__, threads=2, repeats=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=21, help="with the target; default: 21")
    parser.add_argument("--turn", nargs=2, metavar=("CONTENDER", "FILE"), help="measure one, once")
    choices = parser.parse_args()
    measuring.pin_threads(choices.threads)
    if choices.turn:
        run_once(choices.turn[0], Path(choices.turn[1]), choices.threads)
        return
    measuring.check(CHECKS, choices.device)
    circumstances = Circumstances.now(choices.device)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"
        write(file, choices.rows, choices.columns)
        check_rows(file)
        figures = measure(file, choices.rows, choices.columns, choices.threads, choices.repeats)
    print_report(circumstances, figures)
    measuring.add_to_table(choices.results / "tables.csv", circumstances, figures)


if __name__ == "__main__":
    main()
