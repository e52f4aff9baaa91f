"""Table files are read with any delimiter and decimal separator; damaged files are rejected."""

import gzip
import io
import os
import zipfile

import numpy as np
import pandas as pd
import pytest

from brainnet.data.table_files import choose_chunk_rows, open_table
from brainnet.errors import InputError

ROWS = [("größe", "weight", "kind"), (1.5, 12, "süß"), (2.5, 7, "sauer"), (1234.5, 9, "süß")]


def write_rows(sep=",", decimal="."):
    lines = [sep.join(str(cell).replace(".", decimal) for cell in row) for row in ROWS]
    return "\n".join(lines) + "\n"


def read(path, **options):
    return pd.concat(list(open_table(path, **options).chunks(rows=2)))


def assert_rows(frame):
    assert tuple(frame.columns) == ROWS[0]
    assert [tuple(row) for row in frame.itertuples(index=False)] == ROWS[1:]
    assert frame.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (write_rows(), "utf-8"),
        (write_rows(), "utf-8-sig"),
        (write_rows(), "latin-1"),
        (write_rows("\t"), "utf-16"),
        (write_rows(";"), "utf-8"),
        (write_rows(";", ","), "cp1252"),
        (write_rows("\t", ","), "utf-8"),
        (write_rows("|"), "utf-8"),
        (write_rows("  "), "utf-8"),
        (write_rows().replace("\n", "\r\n"), "utf-8"),
        (write_rows().replace("\n", "\r"), "utf-8"),
        ("\n\n" + write_rows().replace("\n", "\n\n"), "utf-8"),
        (write_rows(";", ",").replace("1234,5", "1.234,5"), "utf-8"),
        (write_rows().replace("1234.5", '"1,234.5"'), "utf-8"),
    ],
)
def test_the_format_of_a_text_is_detected(content, encoding, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_bytes(content.encode(encoding))
    assert_rows(read(file))


@pytest.mark.parametrize(
    ("cells", "sep", "decimal", "thousands", "is_certain"),
    [
        (["1.5", "2.25"], ",", ".", None, True),
        (["1,5", "2,25"], ";", ",", None, True),
        (["5.108", "1.234"], ",", ".", ",", False),
        (["5,108", "1,234"], ";", ",", ".", False),
        (["1.234,5", "2,5"], ";", ",", ".", True),
        (["5", "12"], ";", ".", None, False),
    ],
)
def test_the_decimal_separator_is_certain_only_if_cells_prove_it(
    cells, sep, decimal, thousands, is_certain, tmp_path
):
    file = tmp_path / "rows.csv"
    file.write_text("\n".join([f"x{sep}y", *(f"{cell}{sep}a" for cell in cells)]))
    found = open_table(file)
    assert (found.csv.sep, found.csv.decimal, found.csv.is_certain) == (sep, decimal, is_certain)
    other = found.with_separators("*", None)
    assert other.csv.decimal == (decimal if is_certain else "*")
    if is_certain:
        assert found.csv.thousands == thousands


def test_the_format_can_be_set(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_bytes("x;word\n5.108;grün\n-99;weiß\n".encode("cp1250"))
    options = {"sep": ";", "decimal": ",", "thousands": ".", "encoding": "cp1250"}
    frame = read(file, csv={**options, "na_values": ["-99"]})
    assert frame["x"].tolist()[0] == 5108
    assert frame["x"].isna().tolist() == [False, True]
    assert frame["word"].tolist() == ["grün", "weiß"]
    file.write_text("a\tb\n1\t2\n")
    assert open_table(file, csv={"sep": "\\t"}).columns == ("a", "b")
    with pytest.raises(InputError, match=r"data\.csv must be one of sep.*got 'spe'"):
        open_table(file, csv={"spe": ";"})
    with pytest.raises(InputError, match="is not a known encoding"):
        open_table(file, csv={"encoding": "utf-9"})


def test_compressed_text_is_read(tmp_path):
    file = tmp_path / "rows.csv.gz"
    file.write_bytes(gzip.compress(write_rows().encode()))
    assert_rows(read(file))


def test_parquet_files_store_types(tmp_path):
    file = tmp_path / "rows.parquet"
    pd.DataFrame(ROWS[1:], columns=ROWS[0], index=[7, 8, 9]).to_parquet(file)
    assert_rows(read(file))


def test_arrays_are_tables(tmp_path):
    table = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "a.npy", table)
    assert read(tmp_path / "a.npy").to_dict("list") == {"0": [0, 2, 4], "1": [1, 3, 5]}
    np.save(tmp_path / "a.npy", table.astype(">f4"))
    assert read(tmp_path / "a.npy").to_dict("list") == {"0": [0, 2, 4], "1": [1, 3, 5]}
    np.savez(tmp_path / "a.npz", x=table, y=[7, 8, 9])
    assert read(tmp_path / "a.npz").to_dict("list") == {
        "x 0": [0, 2, 4], "x 1": [1, 3, 5], "y": [7, 8, 9],
    }  # fmt: skip
    np.savez(tmp_path / "b.npz", x=table, z=table)
    assert open_table(tmp_path / "b.npz").columns == ("x 0", "x 1", "z 0", "z 1")
    np.savez(tmp_path / "c.npz", y=np.array(["red", "grün"]))
    assert read(tmp_path / "c.npz")["y"].tolist() == ["red", "grün"]


def test_columns_can_be_chosen_and_read_as_text(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("code,size,kind\n007,1,None\n008,NA,\n")
    (part,) = open_table(file).chunks(text=["code", "kind"], only=["kind", "code", "size"])
    assert part["code"].tolist() == ["007", "008"]
    assert part["kind"].tolist()[0] == "None"
    assert part["kind"].isna().tolist() == [False, True]
    assert part["size"].isna().tolist() == [False, True]
    (part,) = open_table(file).chunks(only=["size"])
    assert list(part.columns) == ["size"]


def test_columns_without_a_header_are_numbered(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("1.5,red\n2.5,green\n")
    assert read(file, header=False).to_dict("list") == {"0": [1.5, 2.5], "1": ["red", "green"]}
    assert read(file, header=True).columns.tolist() == ["1.5", "red"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "5.1,3.5,setosa\n4.9,3,setosa\n",
            r"first line \(5\.1, 3\.5, setosa\).*data\.header=false",
        ),
        ("a,b,a\n1,2,3\n", "has 2 columns called 'a'"),
        ("a,b\n", r"a line of names \(a, b\) and no rows"),
        ("\n \n", "is empty"),
        ("", "is empty"),
        ('"\n', "is empty"),
        ("a,b\n1,2\n3,4,5\n", "Expected 2 fields in line 3, saw 3"),
        ("a,b\n" + "1,2\n" * 3000 + "1,2,3\n", "Expected 2 fields in line 3002, saw 3"),
        ("# mine\na,b\n1,2\n3,4\n", "first line has 1 cells, but the next has 2"),
    ],
)
def test_damaged_texts_are_rejected(content, message, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        list(open_table(file).chunks())


def test_an_unclosed_quote_is_rejected(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n" + "1,x\n" * 2000 + '2,"y\n' + "3,z\n" * 9)
    with pytest.raises(InputError, match="EOF inside string starting at row 2001"):
        list(open_table(file).chunks())


def test_empty_lines_are_no_rows(tmp_path):
    (tmp_path / "rows.csv").write_text("\na,b\n\n1,2\n\n3,4\n\n\n5,\n\n")
    frame = read(tmp_path / "rows.csv")
    assert frame["a"].tolist() == [1, 3, 5]
    assert frame["b"].isna().tolist() == [False, False, True]
    assert frame.index.tolist() == [0, 1, 2]


def test_missing_cells_at_the_end_of_a_line_are_missing(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n4,5\n6,7,8\n")
    assert read(tmp_path / "rows.csv")["c"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"PAR1\0xxPAR1", "neither text nor a table"),
        ("a.parquet", b"a,b\n1,2\n", "cannot be read as Parquet"),
        ("a.npy", b"a,b\n1,2\n", "cannot be read as a NumPy file"),
        ("a.parquet", b"PAR1xx", "cannot be read as Parquet"),
        ("a.npy", b"\x93NUMPY\x01\x00", "cannot be read as a NumPy file"),
        ("a.npz", b"PK\x03\x04xx", "cannot be read as a NumPy file"),
        ("a.xlsx", b"PK\x03\x04xx", "Excel workbook.*Save it as CSV"),
        ("a.csv", b'\n{"a": 1, "b": 2}', r"is JSON\. Save it as CSV"),
        ("a.csv", b"<!DOCTYPE html><html>", "HTML or XML"),
        ("a.csv", b"\x1f\x8b\x08\x00rest", "compressed with gzip"),
        ("a.csv", bytes(range(256)) * 9, "neither text nor a table"),
        ("a.csv", write_rows().encode("utf-16-le"), "byte order mark"),
        ("a.csv.gz", b"a,b\n", "cannot be read: Not a gzipped file"),
    ],
)
def test_other_formats_are_rejected(name, content, message, tmp_path):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_table(file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_paths_that_are_no_files_are_rejected(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        open_table(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nowhere.csv", tmp_path / "pipe", "x\0.csv"):
        with pytest.raises(InputError, match="there is no file"):
            open_table(path)
    with pytest.raises(InputError, match=r"cannot be read: .*File name too long"):
        open_table(f"{'x' * 300}.csv")


def write_header(rows):
    """The first bytes of an array of so many numbers."""
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (rows,)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def test_arrays_that_are_no_table_are_rejected(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 3)))
    with pytest.raises(InputError, match=r"of shape \(2, 3, 3\)"):
        open_table(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.zeros(3, complex))
    with pytest.raises(InputError, match="got complex128"):
        open_table(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        open_table(tmp_path / "b.npy")
    np.savez(tmp_path / "c.npz", x=np.zeros((4, 2)), y=np.zeros(5))
    with pytest.raises(InputError, match=r"same number of rows.*x 4, y 5"):
        open_table(tmp_path / "c.npz")


def test_damaged_arrays_are_rejected(tmp_path):
    file = tmp_path / "a.npz"
    np.savez_compressed(file, x=np.random.default_rng(0).normal(size=(500, 3)).round(1))
    content = file.read_bytes()
    file.write_bytes(content[:300] + b"\xff" * 40 + content[340:])
    with pytest.raises(InputError, match="cannot be read as a NumPy file"):
        open_table(file)
    for entry in (write_header(10**13) + bytes(100), b"hello"):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("y.npy", entry)
        with pytest.raises(InputError, match=r"a\.npz"):
            open_table(file)
    file = tmp_path / "a.npy"
    header = b"{'descr': '<f8', ((( 'shape'" + b" " * 36
    file.write_bytes(b"\x93NUMPY\x01\x00" + (64).to_bytes(2, "little") + header)
    with pytest.raises(InputError, match="cannot be read as a NumPy file"):
        open_table(file)


def test_truncated_and_damaged_compressed_texts_are_rejected(tmp_path):
    file = tmp_path / "rows.csv.gz"
    content = gzip.compress(("a,b\n" + "1,2\n" * 900_000).encode())
    file.write_bytes(content[:-20])
    with pytest.raises(InputError, match="cannot be read"):
        list(open_table(file).chunks())
    rows = "".join(f"{row * 0.37 % 5:.3f},{row % 7}\n" for row in range(9000))
    content = gzip.compress(f"a,b\n{rows}".encode())
    middle = len(content) // 2
    file.write_bytes(content[:middle] + b"\xff" * 20 + content[middle + 20 :])
    with pytest.raises(InputError, match="cannot be read"):
        list(open_table(file).chunks())


def test_columns_with_equal_names_are_rejected(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="2 columns called"):
        open_table(tmp_path / "a.parquet")


def test_another_encoding_in_a_later_line_is_rejected(tmp_path):
    file = tmp_path / "mixed.csv"
    ascii_rows = "".join(f"{row},word\n" for row in range(200_000))
    file.write_bytes(f"a,b\n{ascii_rows}1,grün\n".encode("cp1252"))
    with pytest.raises(InputError, match=r"is not utf-8 throughout.*data\.csv\.encoding"):
        list(open_table(file).chunks())
    frames = open_table(file, csv={"encoding": "cp1252"}).chunks()
    assert list(frames)[-1]["b"].iloc[-1] == "grün"


def test_chunks_of_wide_tables_have_fewer_rows():
    sizes = [choose_chunk_rows(columns) for columns in (1, 8, 100, 512, 4096, 10**7)]
    assert sizes == [65_536, 65_536, 5242, 1024, 256, 256]


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ({"sep": "::"}, "data.csv.sep must be one character; got '::'"),
        ({"decimal": ""}, 'data.csv.decimal must be "." or ","; got \'\''),
        ({"decimal": ",", "thousands": ","}, "data.csv.decimal and data.csv.thousands must differ"),
    ],
)
def test_invalid_csv_options_are_rejected(tmp_path, csv, message):
    path = tmp_path / "rows.csv"
    path.write_text("size;kind\n1,5;big\n")
    with pytest.raises(InputError, match=message):
        open_table(path, csv=csv)
