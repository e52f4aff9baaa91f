"""A file that is damaged is told of, whatever its reader thinks of it, and no memory is taken."""

import gzip
import io
import os
import zipfile

import numpy as np
import pandas as pd
import pytest

from brainnet.data.images import Images
from brainnet.data.table import Table
from brainnet.data.table_files import open_table
from brainnet.errors import InputError


def header_of(rows):
    """The first bytes of an array of so many numbers."""
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (rows,)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def damaged(content, start, length):
    return content[:start] + b"\xff" * length + content[start + length :]


def npz(folder, **arrays):
    file = folder / "a.npz"
    np.savez_compressed(file, **arrays)
    return file


def test_a_damaged_gz_is_told_of(tmp_path):
    rows = "".join(f"{row * 0.37 % 5:.3f},{row % 7}\n" for row in range(9000))
    content = gzip.compress(f"a,b\n{rows}".encode())
    file = tmp_path / "a.csv.gz"
    file.write_bytes(damaged(content, len(content) // 2, 20))
    with pytest.raises(InputError, match="cannot be read"):
        list(open_table(file).chunks())


def test_a_damaged_npz_is_told_of(tmp_path):
    file = npz(tmp_path, x=np.random.default_rng(0).normal(size=(500, 3)).round(1))
    file.write_bytes(damaged(file.read_bytes(), 300, 40))
    with pytest.raises(InputError, match="cannot be read as NumPy arrays"):
        open_table(file)


@pytest.mark.parametrize(
    ("entry", "said"),
    [(header_of(10**13) + bytes(100), r"shape is \(10000000000000,\)"), (b"hello", "is no array")],
)
def test_an_array_is_no_larger_than_its_file(entry, said, tmp_path):
    file = tmp_path / "a.npz"
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("y.npy", entry)
    with pytest.raises(InputError, match=said):
        open_table(file)


def test_a_garbled_header_is_told_of(tmp_path):
    file = tmp_path / "a.npy"
    header = b"{'descr': '<f8', ((( 'shape'" + b" " * 36
    file.write_bytes(b"\x93NUMPY\x01\x00" + (64).to_bytes(2, "little") + header)
    with pytest.raises(InputError, match="cannot be read as a NumPy array"):
        open_table(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("sep=;\n", "is empty"),
        ('"\n', "line 1 is never closed"),
        ('"' + "x," * 100_000, "line 1 is never closed"),
        ('sep=;\n"a', r"line 2|no rows"),
    ],
)
def test_a_text_without_a_row_is_told_of(content, said, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(content)
    with pytest.raises(InputError, match=said):
        open_table(file)


def test_columns_have_names_of_their_own(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    for file in (tmp_path / "a.parquet", npz(tmp_path, x=np.ones((6, 3)), **{"0": np.ones(6)})):
        with pytest.raises(InputError, match="two columns called"):
            open_table(file)


def test_an_infinite_number_is_a_word_of_a_category(tmp_path):
    file = tmp_path / "a.parquet"
    rows = {"a": [1.0, np.inf, 2.5] * 20, "y": ["p", "q", "q"] * 20}
    pd.DataFrame(rows).to_parquet(file)
    found = Table(file, "y", categories=["a"]).load(0)
    assert found.input_names == ("a=1", "a=2.5", "a=inf")


def test_a_path_that_leads_to_no_file_is_told_of(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        open_table(f"{'x' * 300}.csv")
    with pytest.raises(InputError, match="there is no file"):
        open_table("x\0.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="a pipe or a device"):
        open_table(tmp_path / "pipe")


def test_an_array_of_pictures_is_no_larger_than_its_file(tmp_path):
    file = tmp_path / "a.npz"
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("images.npy", header_of(10**13))
        packed.writestr("labels.npy", header_of(10**13))
    with pytest.raises(InputError, match="It is damaged"):
        Images(file).load(0)
