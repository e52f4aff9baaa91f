"""Loggers: TensorBoard and CSV files in the run directory."""

import csv
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from brainnet.files import write_atomic
from brainnet.observation.tensorboard import (
    EventFileWriter,
    Setting,
    TensorBoardWriter,
    create_summary_writer,
)
from brainnet.training.run_directory import RunDirectory, to_plain

log = logging.getLogger(__name__)

FOREMOST = ("data", "network.hidden", "activation", "optimizer", "optimizer.lr")

"""Settings that TensorBoard's table of runs shows first."""

APART = ("name", "resume", "observe", "logger", "callbacks", "paths")

"""Keys that do not bear on what is learned."""


class RunLogger(TensorBoardLogger):
    """Lightning's logger with one file per run, no folder per version, no hparams.yaml.

    Where the file can no longer be written, it says so once, and the training goes on.

    Args:
        folder: the run's.
        first_step: steps before this one that lie in the folder already stay valid; later ones,
            of a run that went on past its checkpoint, are dropped by TensorBoard.
    """

    def __init__(self, folder: RunDirectory, first_step: int | None = None) -> None:
        super().__init__(
            save_dir=folder.path.parent,
            name="",
            version=folder.path.name,
            default_hp_metric=False,
        )
        self._folder = folder
        self._first_step = first_step
        self._file: EventFileWriter | None = None
        self._writer: TensorBoardWriter | None = None
        self._broken = False

    def __enter__(self) -> Self:
        """The file is opened when the first point comes."""
        return self

    def __exit__(self, *_: object) -> None:
        """End; all that was written is on disk."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._tell(error)

    @property
    def file(self) -> EventFileWriter:
        """The one file of this run: TensorBoard follows only the newest of a folder."""
        if self._file is None:
            self._file = EventFileWriter(self._folder.path)
            if self._first_step is not None:
                TensorBoardWriter(self._folder.path, sink=self._file).goes_on_from(self._first_step)
        return self._file

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """PyTorch's writer into the same file, for callbacks of others that ask for it."""
        if self._experiment is None:
            self._experiment = create_summary_writer(self.file)
        return self._experiment

    @property
    def writer(self) -> TensorBoardWriter:
        """The writer of this run, into the logger's own file."""
        if self._writer is None:
            self._writer = TensorBoardWriter(self._folder.path, sink=self.file)
        return self._writer

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add one point to each curve; those of the test come with the hyper-parameters."""
        points = {tag: float(value) for tag, value in metrics.items() if not _is_of_test(tag)}
        self._write(lambda writer: writer.scalars(points, step or 0))

    @rank_zero_only
    def log_hyperparameters(
        self, config: Mapping[str, Any], metrics: Mapping[str, float], step: int
    ) -> None:
        """Add the run to TensorBoard's table of runs: what was set, and what the test gave."""
        final = {tag: value for tag, value in metrics.items() if _is_of_test(tag)}
        self._write(
            lambda writer: writer.hyperparameters(
                dict(_flat(config)), final, step, foremost=FOREMOST
            )
        )

    @rank_zero_only
    def save(self) -> None:
        """Do nothing: the system has each point, and config.yaml holds what hparams.yaml would."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Do nothing: a run is trained and then tested, and both write to the same file."""

    def _write(self, action: Callable[[TensorBoardWriter], None]) -> None:
        """A training must not end because its curves cannot be drawn."""
        if self._broken:
            return
        try:
            action(self.writer)
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._broken:
            self._broken = True
            # A log, not a warning: where warnings are errors, that would raise.
            log.warning(
                "TensorBoard's file in %s can no longer be written (%s); what is in it stays "
                "readable, and training goes on.",
                self._folder.path,
                error,
            )


def _is_of_test(tag: str) -> bool:
    return tag.endswith("/test")


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Setting]]:
    """Dotted keys; a list is one setting, and a class stands by its name for its group."""
    found: list[tuple[str, Setting]] = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in APART:
            continue
        if key == "_target_" and value is not None:
            found.append((prefix.removesuffix("."), value.rpartition(".")[2]))
        elif isinstance(value, Mapping):
            found += _flat(value, f"{name}.")
        elif value is None or isinstance(value, bool | int | float | str):
            found.append((name, value))
        else:
            found.append((name, str(value)))
    return found


# Lightning warns of any file in the folder, where but one of them is in danger.
_WARNING = r".*Experiment logs directory .* exists and is not empty.*"


def start_loggers(
    loggers: Iterable[Logger], config: Mapping[str, Any], first_step: int | None
) -> None:
    """Tell each logger what is run, and let the tables of a resumed run go on.

    Args:
        loggers: of the run, beside TensorBoard's.
        config: what is run, resolved.
        first_step: of a resumed run, as in `open_tables`.
    """
    loggers = list(loggers)
    open_tables(loggers, first_step)
    for logger in loggers:
        logger.log_hyperparams(to_plain(config))


def open_tables(loggers: Iterable[Logger], first_step: int | None) -> None:
    """Open the table of each `CSVLogger` among the loggers, and keep what a resumed run has in it.

    Lightning deletes a table that it finds. That is left to it, with its warning, where a new run
    is told to write over the table of another.

    Args:
        loggers: of the run; others than `CSVLogger` are left alone.
        first_step: of a resumed run: rows from this step on, taken past its checkpoint, are
            dropped, as TensorBoard drops them from its curves. None in a new run.
    """
    for logger in loggers:
        if not isinstance(logger, CSVLogger):
            continue
        path = Path(logger.log_dir, ExperimentWriter.NAME_METRICS_FILE)
        if path.is_file() and first_step is None:
            _ = logger.experiment
            continue
        table = path.read_text(encoding="utf-8") if path.is_file() else ""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_WARNING)
            writer = logger.experiment
        if table:
            columns, kept = _before(table, first_step or 0)
            write_atomic(path, kept)
            # It writes a new header for columns it does not know.
            writer.metrics_keys = columns


def _before(table: str, first_step: int) -> tuple[list[str], str]:
    """Return the columns of a table, and the table without the rows from a step on."""
    rows = csv.DictReader(io.StringIO(table, newline=""))
    columns = list(rows.fieldnames or ())
    kept = io.StringIO(newline="")
    writer = csv.DictWriter(kept, columns)
    writer.writeheader()
    writer.writerows(row for row in rows if int(row.get("step") or 0) < first_step)
    return columns, kept.getvalue()
