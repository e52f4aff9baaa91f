"""Reading: which kind of file of rows a path leads to, by what stands in it."""

import stat
from collections.abc import Callable
from pathlib import Path

from brainnet.data.array_files import npy_file, npz_file
from brainnet.data.packed import BROKEN, open_bytes
from brainnet.data.parquet_files import parquet_file
from brainnet.data.recognition import SAMPLE_BYTES
from brainnet.data.row_file import RowFile
from brainnet.data.text_files import text_file
from brainnet.errors import InputError

_ENDINGS = {".parquet": "Parquet", ".pq": "Parquet", ".npy": "NumPy", ".npz": "NumPy"}
_TEXTS = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data")
_OTHERS = (
    (b"{", "JSON: save it as CSV"),
    (b"[", "JSON: save it as CSV"),
    (b"<", "HTML or XML: save its table as CSV"),
    (b"\x1f\x8b", "packed by gzip and not called so: let its name end in .csv.gz"),
    (b"PK\x03\x04", "a zip archive (an Excel workbook is one): unpack it, or save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save it as CSV"),
    (b"SQLite format 3", "an SQLite database: export its table as CSV"),
    (b"\x89HDF", "HDF5: save its table as Parquet or CSV"),
    (b"%PDF", "a PDF: save its table as CSV"),
    (b"\x89PNG", "a picture: pictures are read with data=images"),
    (b"\xff\xd8\xff", "a picture: pictures are read with data=images"),
    (b"\x80\x04", "a Python pickle, which may run anything: save it as Parquet or CSV"),
    (b"\x80\x05", "a Python pickle, which may run anything: save it as Parquet or CSV"),
)
READABLE_ENDINGS = frozenset((*_ENDINGS, *_TEXTS))
READABLE = "CSV, TSV, Parquet, .npy or .npz"


def open_rows(path: Path | str, *, header: bool | None = None) -> RowFile:
    """Open a file of rows: CSV, TSV and the like (also .gz, .bz2, .xz), Parquet, .npy or .npz.

    Args:
        path: the file.
        header: whether the first line of a text names the columns; None recognises it.

    Raises:
        InputError: there is no such file, it is of no known kind, or not what its ending says.
    """
    path = Path(path).expanduser()
    sample = _sample(path)
    ending = path.suffix.lower()
    if sample.startswith(b"PAR1"):
        return _of_its_ending(path, "Parquet", parquet_file)
    if sample.startswith(b"\x93NUMPY"):
        return _of_its_ending(path, "NumPy", npy_file)
    if sample.startswith(b"PK\x03\x04") and ending == ".npz":
        return npz_file(path)
    for mark, what in _OTHERS:
        if sample.lstrip().startswith(mark):
            raise InputError(f"{path} is {what}. A table is read from {READABLE}.")
    if ending in _ENDINGS:
        shown = sample[:40].decode("ascii", errors="replace").splitlines()[0]
        raise InputError(
            f"{path} ends in {ending} and holds no {_ENDINGS[ending]} file; it begins with "
            f"{shown!r}. Name it by what it is ({READABLE}), or write it again."
        )
    found = text_file(path, sample, header=header)
    if found is None:
        raise InputError(f"{path} is neither text nor a table. It must be {READABLE}.")
    return found


def _sample(path: Path) -> bytes:
    """The first bytes of a file, unpacked."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        why = "" if isinstance(error, FileNotFoundError | NotADirectoryError) else f" ({error})"
        raise InputError(
            f"there is no file {path}{why}; it is looked for from {Path.cwd()}."
        ) from error
    if stat.S_ISDIR(mode):
        raise InputError(
            f"{path} is a folder; a table is one file ({READABLE}). A folder of pictures is read "
            "with data=images."
        )
    if not stat.S_ISREG(mode):
        raise InputError(
            f"{path} is a pipe or a device, which can be read once only; a table is read more than "
            "once. Save it as a file first."
        )
    try:
        with open_bytes(path) as file:
            sample = file.read(SAMPLE_BYTES)
    except BROKEN as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not sample:
        raise InputError(f"{path} is empty. It must be {READABLE}.")
    return sample


def _of_its_ending(path: Path, kind: str, opened: Callable[[Path], RowFile]) -> RowFile:
    """Open a file whose content is known, unless its ending says something else."""
    ending = path.suffix.lower()
    if ending in _TEXTS or _ENDINGS.get(ending, kind) != kind:
        right = next(known for known, its in _ENDINGS.items() if its == kind)
        raise InputError(
            f"{path} ends in {ending} and holds a {kind} file. Name it by what it is: "
            f"{path.with_suffix(right).name}."
        )
    return opened(path)
