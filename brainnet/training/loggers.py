"""Loggers: TensorBoard and CSV files of a run, and the progress display."""

import csv
import math
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

from brainnet.observation.schedule import is_round_step
from brainnet.observation.tensorboard import (
    EventFileWriter,
    Setting,
    TensorBoardWriter,
    create_summary_writer,
)
from brainnet.training.checkpoint import RunWriteError
from brainnet.training.run_directory import RunDirectory, to_plain

# Keys that do not influence what is learned.
_OMITTED_KEYS = ("name", "resume", "observe", "logger", "callbacks", "paths")

# Drawing costs as much as ten steps of a small network.
_DRAW_SECONDS = 0.25
_LINE_SECONDS = 10.0
_BAR_WIDTH, _MIN_WIDTH_WITH_BAR = 20, 80

_CURVES = {
    "loss/train": "loss {:.4g}",
    "loss/validation": "validation {:.4g}",
    "accuracy/validation": "accuracy {:.1%}",
    "r2/validation": "R² {:.3f}",
}


class RunLogger(TensorBoardLogger):
    """TensorBoard logger with one event file per process, in the run directory.

    A resumed run adds a file that makes TensorBoard discard older points from `first_step` on.
    """

    def __init__(self, folder: RunDirectory, first_step: int | None = None) -> None:
        # Lightning writes to save_dir/name/version, which must be the run directory.
        path = folder.path
        super().__init__(path.parent, name="", version=path.name, default_hp_metric=False)
        self._path = path
        self._first_step = first_step

    def close(self, kind: type[BaseException] | None = None, *_: object) -> None:
        """Write everything to disk and close the file, at the end of an `ExitStack`."""
        # Only if the cached property was used.
        if "file" not in vars(self):
            return
        try:
            self.file.close()
        except OSError as error:
            # An earlier error says more.
            if kind is None:
                raise RunWriteError(f"the curves cannot be written: {error.strerror}") from error

    @cached_property
    def file(self) -> EventFileWriter:
        """The only event file of this process; TensorBoard follows just the newest in a folder."""
        file = EventFileWriter(self._path)
        if self._first_step is not None:
            TensorBoardWriter(self._path, file=file).drop_from(self._first_step)
        return file

    @cached_property
    def writer(self) -> TensorBoardWriter:
        """The writer of brainnet's own points, for the same file."""
        return TensorBoardWriter(self._path, file=self.file)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """PyTorch's `SummaryWriter` for the same file, for callbacks of the user."""
        if self._experiment is None:
            self._experiment = create_summary_writer(self.file)
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a point to each curve; test metrics are logged with the hyperparameters."""
        # The test has one value, at the last step, which is not a curve.
        points = {tag: float(metrics[tag]) for tag in metrics if not tag.endswith("/test")}
        self.writer.add_scalars(points, step or 0)

    @rank_zero_only
    def log_hyperparameters(
        self, config: Mapping[str, Any], metrics: Mapping[str, float], step: int
    ) -> None:
        """Add the run to the hyperparameter table, with its settings and test metrics."""
        results = {tag: value for tag, value in metrics.items() if tag.endswith("/test")}
        self.writer.add_hyperparameters(dict(_flatten_config(config)), results, step)

    @rank_zero_only
    def save(self) -> None:
        """Do nothing: each point is written at once, and `config.yaml` replaces `hparams.yaml`."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Do nothing: training and test write to the same file."""


def _flatten_config(config: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Setting]]:
    """Yield dotted keys and values, with the name of a class as the value of its group."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in _OMITTED_KEYS:
            continue
        # The name of the class is more readable than its import path.
        if key == "_target_" and value is not None:
            yield prefix.removesuffix("."), value.rpartition(".")[2]
        elif isinstance(value, Mapping):
            yield from _flatten_config(value, f"{name}.")
        else:
            is_setting = value is None or isinstance(value, bool | int | float | str)
            yield name, value if is_setting else str(value)


def start_loggers(
    loggers: Iterable[Logger], config: Mapping[str, Any], first_step: int | None
) -> None:
    """Log the configuration, and continue the CSV files of a run resumed at `first_step`."""
    for logger in loggers:
        if isinstance(logger, CSVLogger):
            _open_csv(logger, first_step)
        logger.log_hyperparams(to_plain(config))


def _open_csv(logger: CSVLogger, first_step: int | None) -> None:
    """Open the file of a `CSVLogger`, and keep the rows before the first step of a resumed run."""
    # Lightning deletes an existing file, and warns about any other file in its folder.
    path = Path(logger.log_dir, "metrics.csv")
    rows: list[dict[str, Any]] = []
    if path.is_file() and first_step is not None:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"] or 0) < first_step]
    with warnings.catch_warnings():
        # The warning is kept for a new run that overwrites the file of another one.
        if first_step is not None or not path.is_file():
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        experiment = logger.experiment
    # Lightning rewrites the whole file: the columns before and after the resume may differ.
    experiment.metrics += rows
    logger.save()


class Progress(Callback):
    """Shows epoch, steps, losses, validation score, speed and remaining time.

    A terminal (standard error) shows one line, updated four times per second. Elsewhere, lines are
    printed after epochs 1, 2, 5, 10, 20, 50, … and the last one, and after each epoch that ends at
    least ten seconds after the previous line.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: RichProgress | None = None
        self._task = TaskID(0)
        self._start = self._last = 0.0
        self._first_step = 0
        self._total_steps: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and the bar on a terminal."""
        self._start = self._last = time.monotonic()
        self._first_step = trainer.global_step
        # Infinite or negative if the end of the training is unknown.
        total = trainer.estimated_stepping_batches
        self._total_steps = int(total) if math.isfinite(total) and total > 0 else None
        if self._console.is_terminal and trainer.is_global_zero:
            # Without colors, rich draws the remaining part of a bar as spaces.
            has_bar = self._console.width >= _MIN_WIDTH_WITH_BAR and not self._console.no_color
            self._bar = RichProgress(
                *([BarColumn(bar_width=_BAR_WIDTH)] if has_bar else []),
                TextColumn("{task.description}", table_column=Column(no_wrap=True)),
                console=self._console,
                # A refresh thread would compete with the training for a core.
                auto_refresh=False,
                transient=True,
            )
            self._task = self._bar.add_task("", total=self._total_steps)
            self._bar.start()
            self._draw(trainer, pl_module)

    def needs_step(self, step: int) -> bool:
        """Whether it is time to draw."""
        return self._bar is not None and time.monotonic() - self._last >= _DRAW_SECONDS

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Draw, if it is time."""
        if self.needs_step(trainer.global_step):
            self._draw(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print a line, if there is no terminal and it is time."""
        if self._bar is not None or not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch + 1
        is_late = time.monotonic() - self._last >= _LINE_SECONDS
        if is_round_step(epoch) or is_late or epoch == trainer.max_epochs:
            self._last = time.monotonic()
            sys.stdout.write(f"{self._format_line(trainer, pl_module)}\n")
            sys.stdout.flush()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Remove the bar, which also restores the cursor of the terminal."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    on_exception = on_train_end  # type: ignore[assignment]

    def _draw(self, trainer: Trainer, module: LightningModule) -> None:
        assert self._bar is not None, "only called if there is a bar"
        line = self._format_line(trainer, module)
        self._bar.update(self._task, completed=trainer.global_step, description=line)
        self._bar.refresh()
        self._last = time.monotonic()

    def _format_line(self, trainer: Trainer, module: LightningModule) -> str:
        """Format the progress; a terminal that is too narrow shows the beginning."""
        step, epoch = trainer.global_step, trainer.current_epoch + 1
        seconds = time.monotonic() - self._start
        # Steps before a resume were taken in another process.
        speed = (step - self._first_step) / seconds if seconds > 0 else 0.0
        curves: dict[str, float] = getattr(module, "curves", {})
        parts = [
            f"epoch {epoch}{_format_total(trainer.max_epochs)}",
            f"step {step:,}{_format_total(self._total_steps)}",
            *(text.format(curves[tag]) for tag, text in _CURVES.items() if tag in curves),
        ]
        if speed > 0:
            parts.append(f"{speed:,.0f} steps/s" if speed >= 10 else f"{speed:.2g} steps/s")
            if self._total_steps is not None:
                remaining = round(max(0, self._total_steps - step) / speed)
                parts.append(f"{timedelta(seconds=remaining)} left")
        return "  ".join(parts)


def _format_total(total: int | None) -> str:
    return f"/{total:,}" if total is not None and total > 0 else ""
