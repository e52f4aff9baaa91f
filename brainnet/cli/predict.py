"""`brainnet predict RUN`: rows in, answers out, in their order, however many there are."""

import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import torch

from brainnet.cli.exit_codes import TERMINATED, print_message
from brainnet.cli.options import load_named_run
from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import UnknownCategories
from brainnet.data.table_files import open_table
from brainnet.data.validation import join_names
from brainnet.errors import InputError
from brainnet.files import open_atomic
from brainnet.inference.inputs import PredictionBatch, read_image_batches, read_table_batches
from brainnet.inference.predict import (
    PredictionFormat,
    check_kept,
    find_unused_columns,
    infer_format,
    open_writer,
    predict_batches,
    write_predictions,
)
from brainnet.inference.trained_model import TrainedModel
from brainnet.learning.predictions import use_threads

NO_HEADER = "--no-header"

STANDARD = "-"

NAMED = 5

SECONDS_BETWEEN = 0.2  # of two lines of progress


def run_predict(arguments: Namespace) -> int:
    """Predict as the words ask for; returns the exit code.

    Raises:
        InputError: when there is no such run, or the rows cannot be answered; then nothing is
            left of the output.
    """
    trained = load_named_run(arguments.run, arguments.overrides, "predict")
    output = output_of(arguments.output)
    form = infer_format(output, arguments.to)
    unknown: UnknownCategories = arguments.unknown
    with ExitStack() as stack:
        source = stack.enter_context(source_of(arguments.input))
        check_output(output, source, form, overwrite=arguments.overwrite)
        parts = parts_of(trained, source, arguments)
        stack.enter_context(left_by_terminating())
        stack.enter_context(use_threads(max(1, torch.get_num_threads() - 1)))
        to = stack.enter_context(output_to(output))
        strange: Counter[str] = Counter()
        answers = predict_batches(trained, parts, unknown=unknown, strange=strange)
        told = shown(write_predictions(answers, open_writer(to, form)))
    note_strange(strange)
    if output is not None:
        print_message(f"{counted(told)} answered in {output}")
    return 0


@contextmanager
def source_of(typed: str) -> Iterator[Path]:
    """The file to read; what comes through a pipe is put into one first, to be looked at twice.

    Raises:
        InputError: there is none, or it cannot be opened.
    """
    if typed != STANDARD:
        path = Path(typed).expanduser()
        try:
            plain = stat.S_IFMT(path.stat().st_mode) in (stat.S_IFREG, stat.S_IFDIR)
        except OSError as error:
            why = "" if isinstance(error, FileNotFoundError) else f" ({error.strerror})"
            raise InputError(
                f"there is no file {path}{why}; it is looked for from {Path.cwd()}."
            ) from error
        if plain:
            yield path
            return
    with tempfile.TemporaryDirectory() as folder:
        name = "the standard input" if typed == STANDARD else typed
        copy = Path(folder) / ("standard input" if typed == STANDARD else Path(typed).name)
        try:
            with nullcontext(sys.stdin.buffer) if typed == STANDARD else path.open("rb") as given:
                copied(given, copy)
        except OSError as error:
            raise InputError(f"{name} cannot be read: {error.strerror or error}.") from error
        try:
            yield copy
        except InputError as error:
            raise InputError(str(error).replace(str(copy), name)) from error


def copied(given: BinaryIO, copy: Path) -> None:
    """Put all that comes into a file."""
    with copy.open("wb") as file:
        shutil.copyfileobj(given, file)


def parts_of(
    trained: TrainedModel, source: Path, arguments: Namespace
) -> Iterator[PredictionBatch]:
    """The rows of a file, of the kind that the network learnt from.

    Raises:
        InputError: they cannot be read, or are of another kind.
    """
    learnt = trained.encoder
    if isinstance(learnt, ImageEncoder):
        given = {
            "--keep": arguments.keep,
            "--unknown": arguments.unknown != "ignore",
            NO_HEADER: arguments.no_header,
        }
        for option in (option for option, value in given.items() if value):
            raise InputError(f"{option} is for tables; this network learnt from pictures.")
        return read_image_batches(learnt, source, skip=arguments.broken == "skip")
    if arguments.broken is not None:
        raise InputError("--broken is for pictures; this network learnt from a table.")
    if source.is_dir():
        raise InputError(
            f"{source} is a folder, and this network learnt from a table: name one file with the "
            f"columns {join_names(learnt.raw_names, NAMED)}."
        )
    data = trained.config.get("data") or {}
    header, csv = data.get("header"), data.get("csv")
    try:
        chosen = False if arguments.no_header else header
        file = open_table(source, header=chosen, csv=csv)
    except InputError as error:
        said, asks, _ = str(error).partition("If it is a row, set data.header=false")
        if not asks:
            raise
        raise InputError(
            f"{said}If it is a row, add {NO_HEADER}: the columns then come in the order of "
            f"training, {join_names(learnt.raw_names, NAMED)}."
        ) from error
    check_kept(arguments.keep, file.columns)
    note_unused(find_unused_columns(trained, learnt, file, arguments.keep), source)
    return read_table_batches(learnt, file, keep=arguments.keep)


def output_of(typed: str | None) -> Path | None:
    """The file to write to; None for the standard output.

    Raises:
        InputError: it is a folder, or no file can be called so.
    """
    if typed is None:
        return None
    output = Path(typed).expanduser()
    try:
        folder = output.is_dir()
    except OSError as error:  # a name of more letters than there can be
        raise InputError(f"--output {output}: {error.strerror}. Name it otherwise.") from error
    if folder:
        raise InputError(f"--output {output} is a folder; name a file in it.")
    return output


def check_output(
    output: Path | None, source: Path, form: PredictionFormat, *, overwrite: bool
) -> None:
    """Refuse an output that cannot be, or that would take the place of something else.

    Raises:
        InputError: when it is there already, or has no folder, or is the input.
    """
    if output is None:
        if form == "parquet":
            raise InputError("Parquet is written to a file alone: add --output FILE.parquet.")
        return
    if not output.parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {output.parent}. Make it first.")
    if output.exists():
        if source.exists() and output.samefile(source):
            raise InputError(f"--output {output} is the input. Write the answers to another file.")
        if output.is_file() and not overwrite:  # a pipe or a device loses nothing
            raise InputError(f"--output {output} is there already. Add --overwrite to replace it.")


@contextmanager
def output_to(output: Path | None) -> Iterator[BinaryIO]:
    """Where answers go to: a file that appears once it is whole, or the standard output."""
    if output is not None:
        try:
            with open_atomic(output) as file:
                yield file
        except OSError as error:
            raise InputError(f"{output} cannot be written: {error.strerror or error}.") from error
        return
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


@contextmanager
def left_by_terminating() -> Iterator[None]:
    """Let a SIGTERM leave in order, so that nothing stays of a file half written."""

    def leave(*_: object) -> None:
        raise SystemExit(TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def note_unused(names: Sequence[str], source: Path) -> None:
    """Say once which columns no answer follows from."""
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        what = "a column" if len(names) == 1 else "columns"
        print_message(
            f"note: {source.name} has {what} that the network did not learn from, left out here: "
            f"{', '.join(names[:NAMED])}{more}. (--keep COLUMN puts one before each answer.)"
        )


def note_strange(strange: Counter[str]) -> None:
    """Say which columns held words that training never saw, and in how many rows."""
    told = [
        f"{name} in {rows:,} {'row' if rows == 1 else 'rows'}"
        for name, rows in strange.items()
        if rows
    ]
    if told:
        print_message(
            f"note: words that training never saw, taken for none of those it saw: "
            f"{join_names(told, NAMED)}. (--unknown error stops at the first.)"
        )


def counted(rows: int) -> str:
    """So many rows, as people say it."""
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"


def shown(answered: Iterator[int]) -> int:
    """Answer all; on a terminal, say how far it is. Returns how many rows there were."""
    start, done, said = time.monotonic(), 0, 0.0
    watched = sys.stderr.isatty()
    for done in answered:
        now = time.monotonic() - start
        if watched and now - said > SECONDS_BETWEEN:
            said = now
            sys.stderr.write(f"\r{done:,} rows, {done / now:,.0f} a second ")
            sys.stderr.flush()
    if said:
        sys.stderr.write("\r\033[K")
    return done
