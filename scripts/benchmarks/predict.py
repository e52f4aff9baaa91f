"""Time and memory of `brainnet predict` from CSV to CSV, compared with a script. Tests run first.

    python scripts/benchmarks/predict.py                        # 200,000 and 1,000,000 rows
    python scripts/benchmarks/predict.py --rows 5000000

A network of the digits (64 columns, ten classes) predicts files of rows, each time in a process of
other contender is a short script: pandas reads a chunk, PyTorch computes, pandas writes. Both must
give the same predictions, or no figure is printed. The columns are seconds on the clock, seconds of
the processor (all threads; less disturbed by other programs), and the peak of the memory. The
results are appended to scripts/benchmarks/results/predict.csv with date, machine and commit.
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
    "tests/inference/test_inputs.py",
    "tests/inference/test_predict.py",
]
SCRIPT = """
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
    predictions = pd.DataFrame(outputs.softmax(1).numpy(), columns=names)
    predictions.insert(0, "prediction", [trained.class_names[i] for i in outputs.argmax(1)])
    predictions.to_csv(target, mode="a", header=not number, index=False, float_format="%.6f")
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
    def create(cls, folder: Path) -> Bench:
        """Train on the digits for three epochs; the accuracy does not matter here."""
        network = Network([64, 64, 32, 10])
        fit(network, "digits", epochs=3, folder=folder / "run", observe="off", progress=False)
        return cls(folder)

    def write_source(self, rows: int) -> Path:
        """Write a file of this many rows, drawn from the digits."""
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

    def build_commands(self, source: Path) -> dict[str, list[str]]:
        """Return the command lines by name; the last word is the file that is written."""
        run = str(self.folder / "run")
        command = [sys.executable, "-m", "brainnet", "predict", run, "--input", str(source)]
        script = [sys.executable, "-c", SCRIPT, run, str(source)]
        return {
            "brainnet predict": [*command, "--output", str(self.folder / "brainnet.csv")],
            "pandas and PyTorch script": [*script, str(self.folder / "script.csv")],
        }

    def measure(self, rows: int, repeats: int) -> list[Figure]:
        """Measure all contenders in turns; exit if their predictions differ."""
        source = self.write_source(rows)

        contenders = self.build_commands(source)
        results = measuring.by_turns(
            {name: partial(run_command, command) for name, command in contenders.items()},
            repeats,
            warm_up=0,
        )
        check_equal(*(Path(command[-1]) for command in contenders.values()))
        size = round(source.stat().st_size / 1e6, 1)
        source.unlink()
        return [
            Figure(
                name,
                rows,
                64,
                size,
                *(round(median(kind), 2) for kind in zip(*repeats, strict=True)),
            )
            for name, repeats in results.items()
        ]


def run_command(command: list[str]) -> tuple[float, float, float]:
    """Return seconds on the clock, seconds of the processor, and peak megabytes of a command."""
    Path(command[-1]).unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(measuring.ROOT)}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    memory = 0.0
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        memory = max(memory, read_peak(process.pid))
        time.sleep(0.02)
    clock = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    if process.returncode:
        sys.exit(f"{' '.join(command[:4])} ... left with {process.returncode}.")
    return clock, ended[2].ru_utime + ended[2].ru_stime, memory


def read_peak(process: int) -> float:
    """Return the peak memory of a process in MB; 0 if the system does not report it.

    `wait4` may return the peak of the parent process.
    """
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return 0.0
    values = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(values.get("VmHWM", "0").split()[0]) / 1000


def check_equal(*files: Path) -> None:
    """Exit if the predictions differ."""
    parts = (pd.read_csv(path, chunksize=ROWS_AT_ONCE) for path in files)
    for one, other in zip(*parts, strict=True):
        is_same = (one["prediction"] == other["prediction"]).all()
        if not is_same or not np.allclose(one, other, rtol=0, atol=1.1e-6):
            sys.exit("The predictions of brainnet predict and of the script differ.")


def print_report(figures: list[Figure], circumstances: Circumstances) -> None:
    """Print the table."""
    print(f"\ndigits, 64 columns, CSV to CSV; {circumstances}")
    print(f"{'':30}{'rows':>12}{'clock, s':>10}{'processor, s':>14}{'memory, MB':>12}")
    for one in figures:
        print(
            f"{one.contender:30}{one.rows:12,}{one.clock:10.1f}{one.processor:14.1f}"
            f"{one.memory:12.0f}"
        )


def main() -> None:
    """Run the tests, measure, print, and append the results."""
    parser = measuring.commands(__doc__, threads=1, repeats=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 1_000_000])
    choices = parser.parse_args()
    measuring.pin_threads(choices.threads)
    circumstances = Circumstances.now("cpu")
    measuring.check(CHECKS, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench.create(Path(folder))
        figures = [one for rows in choices.rows for one in bench.measure(rows, choices.repeats)]
    print_report(figures, circumstances)
    measuring.add_to_table(choices.results / "predict.csv", circumstances, figures)


if __name__ == "__main__":
    main()
