"""`brainnet predict RUN`: predict the rows of a file, in their order, however many there are."""

import shutil
import signal
import sys
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import torch
from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import TextColumn, TimeElapsedColumn

from brainnet.cli.exit_codes import TERMINATED, print_message
from brainnet.cli.options import load_named_run
from brainnet.data.image_files import ImageEncoder
from brainnet.data.table_files import open_table
from brainnet.data.validation import format_count, join_names, report_warning
from brainnet.errors import InputError
from brainnet.files import open_atomic
from brainnet.inference.inputs import (
    PredictionBatch,
    read_image_batches,
    read_table_batches,
    warn_unknown_categories,
)
from brainnet.inference.predict import (
    PredictionFormat,
    PredictionWriter,
    check_kept_columns,
    find_unused_columns,
    infer_format,
    predict_batches,
    write_predictions,
)
from brainnet.inference.trained_model import TrainedModel
from brainnet.learning.predictions import use_threads

STANDARD_INPUT = "-"
_MAX_NAMES = 5


def run_predict(arguments: Namespace) -> int:
    """Predict the rows of a file; return the exit code.

    Raises:
        InputError: there is no such run, or the rows cannot be predicted; no output file is left.
    """
    trained, _ = load_named_run(arguments.run, arguments.overrides, "predict")
    output = None if arguments.output is None else Path(arguments.output).expanduser()
    format: PredictionFormat = arguments.to or infer_format(output)
    unknown_counts: Counter[str] = Counter()
    with ExitStack() as stack:
        source = stack.enter_context(open_source(arguments.input))
        _check_output(output, source, format, overwrite=arguments.overwrite)
        batches = _read_batches(trained, source, arguments)
        stack.enter_context(_exit_on_sigterm())
        # One thread less, for the threads that read and write.
        stack.enter_context(use_threads(max(1, torch.get_num_threads() - 1)))
        file = stack.enter_context(_open_output(output))
        predictions = predict_batches(
            trained, batches, unknown=arguments.unknown, unknown_counts=unknown_counts
        )
        writer = PredictionWriter(file, format)
        rows = write_predictions(_show_progress(predictions), writer)
    warn_unknown_categories(unknown_counts)
    if output is not None:
        print_message(f"predicted {format_count(rows, 'row')} in {output}")
    return 0


@contextmanager
def open_source(name: str) -> Iterator[Path]:
    """Yield the path of the input; a pipe is first copied to a file, because it is read twice."""
    is_standard = name == STANDARD_INPUT
    path = Path(name).expanduser()
    if not is_standard and (path.is_file() or path.is_dir()):
        yield path
        return
    if not is_standard and not path.exists():
        raise InputError(f"there is no file {path}; relative to {Path.cwd()}.")
    label = "the standard input" if is_standard else name
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / ("standard input" if is_standard else path.name)
        pipe = nullcontext(sys.stdin.buffer) if is_standard else path.open("rb")
        with pipe as file, copy.open("w+b") as target:
            shutil.copyfileobj(file, target)
            target.seek(0)
            is_parquet = target.read(4) == b"PAR1"
        # Parquet is recognized by its suffix, which a pipe does not have.
        copy = copy.rename(copy.with_suffix(".parquet")) if is_parquet else copy
        try:
            yield copy
        except InputError as error:
            # The user does not know the temporary file.
            raise InputError(str(error).replace(str(copy), label)) from error


def _read_batches(
    trained: TrainedModel, source: Path, arguments: Namespace
) -> Iterator[PredictionBatch]:
    """Yield the rows of the input, which must be of the kind that the network was trained on."""
    encoder = trained.encoder
    if isinstance(encoder, ImageEncoder):
        if arguments.keep or arguments.unknown != "ignore" or arguments.no_header:
            raise InputError(
                "--keep, --unknown and --no-header are for tables; this network was trained on "
                "images."
            )
        return read_image_batches(encoder, source, skip=arguments.broken == "skip")
    if arguments.broken is not None:
        raise InputError("--broken is for images; this network was trained on a table.")
    if source.is_dir():
        raise InputError(
            f"{source} is a folder, and this network was trained on a table: name one file with "
            f"the columns {join_names(encoder.raw_names, _MAX_NAMES)}."
        )
    options: dict[str, Any] = trained.config.get("data") or {}
    header = False if arguments.no_header else options.get("header")
    file = open_table(source, header=header, csv=options.get("csv"))
    check_kept_columns(arguments.keep, file.columns)
    unused = find_unused_columns(trained, encoder, file, arguments.keep)
    if unused:
        report_warning(
            f"{source.name} has columns that were not in the training data, ignored here: "
            f"{join_names(unused, _MAX_NAMES)}. (--keep COLUMN writes one before each prediction.)"
        )
    return read_table_batches(encoder, file, keep=arguments.keep)


def _check_output(
    output: Path | None, source: Path, format: PredictionFormat, *, overwrite: bool
) -> None:
    """Raise an InputError unless the output can be written without replacing another file."""
    if output is None:
        if format == "parquet":
            raise InputError("Parquet needs an output file: add --output FILE.parquet.")
        return
    if output.is_dir():
        raise InputError(f"--output {output} is a folder; name a file in it.")
    if not output.parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {output.parent}. Create it first.")
    if output.exists() and output.samefile(source):
        raise InputError(f"--output {output} is the input. Choose another file.")
    # A pipe or a device can be written to again.
    if output.is_file() and not overwrite:
        raise InputError(f"--output {output} exists already. Add --overwrite to replace it.")


@contextmanager
def _open_output(output: Path | None) -> Iterator[BinaryIO]:
    """Open the output: a file that appears when it is complete, or the standard output."""
    if output is None:
        # Binary, because the writers encode text themselves.
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with open_atomic(output) as file:
            yield file
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror or error}.") from error


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Exit in order on SIGTERM, so that no partial output file is left."""

    def leave(*_: object) -> None:
        raise SystemExit(TERMINATED)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _show_progress(predictions: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the predictions, and show their number on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("predicted {task.completed:,.0f} rows"), TimeElapsedColumn())
    is_hidden = not console.is_terminal
    with RichProgress(*columns, console=console, transient=True, disable=is_hidden) as progress:
        task = progress.add_task("", total=None)
        for columns_by_name in predictions:
            yield columns_by_name
            progress.advance(task, len(next(iter(columns_by_name.values()))))
