"""Tables: the loggers beside TensorBoard's, told what is run; their CSV files go on with it."""

import csv
import io
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from brainnet.training.run_folder import plain
from brainnet.training.whole_file import write_whole

# Lightning warns of any file in the folder, where but one of them is in danger.
_WARNING = r".*Experiment logs directory .* exists and is not empty.*"


def begin_logging(
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
        logger.log_hyperparams(plain(config))


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
            write_whole(path, kept)
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
