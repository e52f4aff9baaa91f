"""How long `brainnet predict` takes from CSV to CSV, and how much memory: checked, then measured.

    python scripts/benchmarks/predict.py                        # 200,000 and 1,000,000 rows
    python scripts/benchmarks/predict.py --rows 5000000

A network of the digits (64 columns, ten classes) answers files of them, each time in a process of
its own, so that the figures hold all of it: Python's start, the imports, reading, computing,
writing. Beside it the program that people write: pandas reads a part, PyTorch computes, pandas
writes. The tests of the command run first, and both must give the same answers, or no figure is
printed. `clock` is time on the wall, `processor` that of all threads, which other programs disturb
less; `memory` is the most that was in use at once. What is printed is added to
scripts/benchmarks/results/predict.csv with date, machine and commit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import measuring
import numpy as np
import pandas as pd
from measuring import Circumstances

from brainnet.data.datasets import Digits
from brainnet.structure.network import Network
from brainnet.training.fit import fit

CHECKS = [
    "tests/cli/test_predict.py",
    "tests/answering/test_trained.py",
    "tests/answering/test_answer_file.py",
]
BY_HAND = """
import sys
import pandas as pd
import torch
from brainnet.inference.trained_model import load

run, source, target = sys.argv[1:]
trained = load(run)
names = [f"probability {name}" for name in trained.class_names]
for number, rows in enumerate(pd.read_csv(source, chunksize=65536)):
    inputs = torch.tensor(rows.to_numpy(), dtype=torch.float32)
    with torch.no_grad():
        outputs = trained.network(trained.scaling.apply(inputs))
    answers = pd.DataFrame(outputs.softmax(1).numpy(), columns=names)
    answers.insert(0, "prediction", [trained.class_names[i] for i in outputs.argmax(1)])
    answers.to_csv(target, mode="a", header=not number, index=False, float_format="%.6f")
"""
ROWS_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    contender: str
    rows: int
    columns: int
    megabytes: float  # of the input
    clock: float  # seconds, as the next
    processor: float
    memory: float  # megabytes, at most


@dataclass(frozen=True, slots=True)
class Bench:
    """A trained run, and a folder to work in."""

    folder: Path

    @classmethod
    def begin(cls, folder: Path) -> Bench:
        """Train on the digits for a moment: how well it answers is nobody's matter here."""
        network = Network([64, 64, 32, 10])
        fit(network, "digits", epochs=3, folder=folder / "run", observe="off", progress=False)
        return cls(folder)

    def source(self, rows: int) -> Path:
        """A file of so many digits, drawn from all there are."""
        digits = Digits().load(0)
        lines = [",".join(map(str, row)) + "\n" for row in digits.inputs.int().tolist()]
        drawn = np.random.default_rng(0)
        path = self.folder / f"{rows}.csv"
        with path.open("w") as file:
            file.write(",".join(digits.input_names) + "\n")
            for start in range(0, rows, ROWS_AT_ONCE):
                chosen = drawn.integers(0, len(lines), min(ROWS_AT_ONCE, rows - start))
                file.writelines(lines[place] for place in chosen)
        return path

    def contenders(self, source: Path) -> dict[str, list[str]]:
        """The command lines, by name; each writes a file of that name."""
        run = str(self.folder / "run")
        ours = [sys.executable, "-m", "brainnet", "predict", run, "--input", str(source)]
        by_hand = [sys.executable, "-c", BY_HAND, run, str(source)]
        return {
            "brainnet predict": [*ours, "--output", str(self.folder / "ours.csv")],
            "pandas and PyTorch by hand": [*by_hand, str(self.folder / "by_hand.csv")],
        }

    def measure(self, rows: int, repeats: int) -> list[Figure]:
        """All contenders by turns; those that disagree end the program."""
        source = self.source(rows)

        contenders = self.contenders(source)
        found = measuring.by_turns(
            {name: partial(measured, command) for name, command in contenders.items()},
            repeats,
            warm_up=0,
        )
        check_alike(*(Path(command[-1]) for command in contenders.values()))
        size = round(source.stat().st_size / 1e6, 1)
        source.unlink()
        return [
            Figure(
                name, rows, 64, size, *(round(median(kind), 2) for kind in zip(*each, strict=True))
            )
            for name, each in found.items()
        ]


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds on the clock, seconds of the processor, and megabytes of a program.

    Args:
        command: the last word is the file that it writes.
    """
    Path(command[-1]).unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(measuring.ROOT)}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    memory = 0.0
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        memory = max(memory, in_use(process.pid))
        time.sleep(0.02)
    clock = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    if process.returncode:
        sys.exit(f"{' '.join(command[:4])} ... left with {process.returncode}.")
    return clock, ended[2].ru_utime + ended[2].ru_stime, memory


def in_use(process: int) -> float:
    """Megabytes that a process used at most so far, where the system tells; else 0.

    What `wait4` tells of it is that of whoever started it, if that had more.
    """
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return 0.0
    told = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(told.get("VmHWM", "0").split()[0]) / 1000


def check_alike(ours: Path, by_hand: Path) -> None:
    """Leave where the answers differ, part by part: a wrong result has no speed."""
    parts = (pd.read_csv(path, chunksize=ROWS_AT_ONCE) for path in (ours, by_hand))
    for one, other in zip(*parts, strict=True):
        same = (one["prediction"] == other["prediction"]).all()
        if not same or not np.allclose(one, other, rtol=0, atol=1.1e-6):
            sys.exit("brainnet predict and the program by hand do not agree: nothing to compare.")


def report(figures: list[Figure], circumstances: Circumstances) -> None:
    """The figures as a table for people."""
    print(f"\ndigits, 64 columns, CSV to CSV; {circumstances}")
    print(f"{'':30}{'rows':>12}{'clock, s':>10}{'processor, s':>14}{'memory, MB':>12}")
    for one in figures:
        print(
            f"{one.contender:30}{one.rows:12,}{one.clock:10.1f}{one.processor:14.1f}"
            f"{one.memory:12.0f}"
        )


def main() -> None:
    """Check, measure, print, and add to the table."""
    parser = measuring.commands(__doc__, threads=1, repeats=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 1_000_000])
    choices = parser.parse_args()
    measuring.pin_threads(choices.threads)
    circumstances = Circumstances.now("cpu")
    measuring.check(CHECKS, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench.begin(Path(folder))
        figures = [one for rows in choices.rows for one in bench.measure(rows, choices.repeats)]
    report(figures, circumstances)
    measuring.add_to_table(choices.results / "predict.csv", circumstances, figures)


if __name__ == "__main__":
    main()
