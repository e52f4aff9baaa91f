"""Files are read as people have them: any encoding, separator and decimal sign, whole or packed."""

import builtins
import bz2
import gzip
import lzma

import numpy as np
import pandas as pd
import pytest

from brainnet.data.table_files import open_table
from brainnet.errors import InputError

ROWS = [("größe", "weight", "kind"), (1.5, 12, "süß"), (2.5, 7, "sauer"), (1234.5, 9, "süß")]


def written(separator=",", decimal="."):
    lines = [separator.join(str(cell).replace(".", decimal) for cell in row) for row in ROWS]
    return "\n".join(lines) + "\n"


def read(path, **options):
    return pd.concat(list(open_table(path, **options).chunks(rows=2)))


def holds_the_rows(found):
    assert tuple(found.columns) == ROWS[0]
    assert [tuple(row) for row in found.itertuples(index=False)] == ROWS[1:]
    assert found.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (written(), "utf-8"),
        (written(), "utf-8-sig"),
        (written(), "latin-1"),
        (written("\t"), "utf-16"),
        (written("\t"), "utf-16-le"),
        (written(), "utf-16-be"),
        (written(), "utf-32"),
        (written(";"), "utf-8"),
        (written(";", ","), "cp1252"),
        (written("\t", ","), "utf-8"),
        (written("|"), "utf-8"),
        (written("  "), "utf-8"),
        ("sep=;\n" + written(";", ","), "utf-8"),
        (written().replace("\n", "\r\n"), "utf-8"),
        (written().replace("\n", "\r"), "utf-8"),
        ("\n\n" + written().replace("\n", "\n\n"), "utf-8"),
        (written(";", ",").replace("1234,5", "1.234,5"), "utf-8"),
        (written().replace("1234.5", '"1,234.5"'), "utf-8"),
        (written().replace(",süß", ', "süß"'), "utf-8"),
    ],
)
def test_text_is_recognised(content, encoding, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_bytes(content.encode(encoding))
    holds_the_rows(read(file))


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_packed_text_is_unpacked(ending, pack, tmp_path):
    file = tmp_path / f"rows.csv.{ending}"
    file.write_bytes(pack.compress(written().encode()))
    holds_the_rows(read(file))


def test_parquet_says_itself_what_it_holds(tmp_path):
    file = tmp_path / "rows.parquet"
    pd.DataFrame(ROWS[1:], columns=ROWS[0], index=[7, 8, 9]).to_parquet(file)
    holds_the_rows(read(file))


def test_arrays_are_tables(tmp_path):
    table = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "a.npy", table)
    assert read(tmp_path / "a.npy").to_dict("list") == {"0": [0, 2, 4], "1": [1, 3, 5]}
    np.savez(tmp_path / "a.npz", x=table, y=[7, 8, 9])
    assert read(tmp_path / "a.npz").to_dict("list") == {
        "0": [0, 2, 4], "1": [1, 3, 5], "y": [7, 8, 9],
    }  # fmt: skip
    np.savez(tmp_path / "b.npz", x=table, z=table)
    assert open_table(tmp_path / "b.npz").columns == ("x 0", "x 1", "z 0", "z 1")
    fields = np.array([(1, "u"), (2, "v")], dtype=[("size", ">f4"), ("kind", "U1")])
    np.save(tmp_path / "c.npy", fields)
    assert read(tmp_path / "c.npy").to_dict("list") == {"size": [1, 2], "kind": ["u", "v"]}


def test_columns_may_be_chosen_and_read_as_texts(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("code,size,kind\n007,1,None\n008,NA,\n")
    (part,) = open_table(file).chunks(text=["code", "kind"], only=["kind", "code", "size"])
    assert part["code"].tolist() == ["007", "008"]
    assert part["kind"].tolist()[0] == "None"
    assert part["kind"].isna().tolist() == [False, True]
    assert part["size"].isna().tolist() == [False, True]
    (part,) = open_table(file).chunks(only=["size"])
    assert list(part.columns) == ["size"]


def test_without_names_columns_have_numbers(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("1.5,red\n2.5,green\n")
    found = read(file, header=False)
    assert found.to_dict("list") == {"0": [1.5, 2.5], "1": ["red", "green"]}
    assert read(file, header=True).columns.tolist() == ["1.5", "red"]


@pytest.mark.parametrize("content", ["a,b,y\n1,2,x\n3,4,y\n", "a,b,y\n,red,x\n3.5,a,y\nNA,b,y\n"])
def test_a_class_may_be_called_like_its_column_where_another_names_numbers(content, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text(content)
    assert open_table(file).columns == ("a", "b", "y")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (",a,yes\n1,b,no\n2,a,yes\n", "'a' stands again further down"),
        ("NA,a,yes\n1,b,no\n2,a,yes\n", "'a' stands again further down"),
        (
            "5.1,3.5,setosa\n4.9,3,setosa\n",
            r"first line \(5\.1, 3\.5, setosa\).*data\.header=false",
        ),
        ("a,yes\nb,no\na,yes\n", "'a' stands again further down"),
        ("a,b,a\n1,2,3\n", "two columns called 'a', the 1st and the 3rd"),
        ("a,b\n", r"a line of names \(a, b\) and no rows"),
        ("\n \n", "is empty"),
        ("", "is empty"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 cells, the others have 2"),
        ("a,b,c\n1,2,3\n4,5\n6,7,8\n", "line 3 has 2 cells, the others have 3"),
        ('a,b\n1,"x\ny"\n3,4,5\n6,7\n', "line 4 has 3 cells"),
        ("a,b\n" + "1,2\n" * 3000 + "1,2,3\n", "line 3002 has 3 cells, the others have 2"),
        ("a,b\n" + "1,2\n" * 3000 + "1\n", "line 3002 has 1 cell, the others have 2"),
        ('a,b\n1,x\n2,"y\n' + "3,z\n" * 9, r"a quote that opens in line 3 is never closed"),
        ("# mine\na,b\n1,2\n3,4\n", "line 1 has 1 cell, the others have 2"),
    ],
)
def test_a_broken_text_is_told_of(content, said, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text(content)
    with pytest.raises(InputError, match=said):
        list(open_table(file).chunks())


def test_an_empty_cell_at_the_end_is_no_missing_one(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n1,2\n3,\n")
    assert read(file)["b"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"PAR1xxPAR1", r"ends in \.csv and holds a Parquet file.*: a\.parquet"),
        ("a.parquet", b"a,b\n1,2\n", r"ends in \.parquet and holds no Parquet file.*'a,b'"),
        ("a.npy", b"a,b\n1,2\n", r"ends in \.npy and holds no NumPy file"),
        ("a.parquet", b"PAR1xx", "cannot be read as Parquet"),
        ("a.npy", b"\x93NUMPY\x01\x00", "cannot be read as a NumPy array"),
        ("a.npz", b"PK\x03\x04xx", "cannot be read as NumPy arrays"),
        ("a.xlsx", b"PK\x03\x04xx", "Excel workbook.*save it as CSV"),
        ("a.csv", b'\n{"a": 1, "b": 2}', "JSON: save it as CSV"),
        ("a.csv", b"<!DOCTYPE html><html>", "HTML or XML"),
        ("a.csv", b"SQLite format 3\0", "SQLite database"),
        ("a.csv", b"\x89PNG\r\n", "data=images"),
        ("a.pkl", b"\x80\x04\x95", "pickle, which may run anything"),
        ("a.csv", bytes(range(256)) * 9, "neither text nor a table"),
        ("a.csv.gz", b"a,b\n", "cannot be read: Not a gzipped file"),
    ],
)
def test_what_is_no_table_is_told_of(name, content, said, tmp_path):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputError, match=said):
        open_table(file)


def test_a_folder_and_nothing_are_no_tables(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        open_table(tmp_path)
    with pytest.raises(InputError, match=r"no file .*nowhere\.csv"):
        open_table(tmp_path / "nowhere.csv")


def test_arrays_that_are_no_table_are_told_of(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 3)))
    with pytest.raises(InputError, match=r"shape is \(2, 3, 3\)"):
        open_table(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        open_table(tmp_path / "b.npy")
    np.savez(tmp_path / "c.npz", x=np.zeros((4, 2)), y=np.zeros(5))
    with pytest.raises(InputError, match=r"equally many rows.*x 4, y 5"):
        open_table(tmp_path / "c.npz")


def test_a_packed_file_that_ends_too_soon_is_told_of(tmp_path):
    file = tmp_path / "rows.csv.gz"
    packed = gzip.compress(("a,b\n" + "1,2\n" * 900_000).encode())
    file.write_bytes(packed[:-20])
    with pytest.raises(InputError, match="cannot be read to its end"):
        list(open_table(file).chunks())


def test_without_pyarrow_the_line_to_type_is_told(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *others):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *others)

    file = tmp_path / "rows.parquet"
    file.write_bytes(b"PAR1")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r'pip install "brainnet\[parquet\]"'):
        open_table(file)


@pytest.mark.parametrize("place", [10, 2500])
def test_a_short_line_is_found_after_a_last_cell_that_is_empty(tmp_path, place):
    lines = [f"{row},w{row % 4}" for row in range(3000)]
    lines[5] = "5,"
    lines[place] = "5"
    file = tmp_path / "short.csv"
    file.write_text("\n".join(["a,b", *lines]))
    with pytest.raises(InputError, match=f"line {place + 2} has 1 cell, the others have 2"):
        list(open_table(file).chunks(1000))


def test_empty_last_cells_are_no_short_lines(tmp_path):
    file = tmp_path / "gaps.csv"
    file.write_text("sep=;\na;b\n" + "1;\n\n2;x\n" * 1500)
    assert sum(len(part) for part in open_table(file).chunks(1000)) == 3000


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("rows", [1, 2, None])
@pytest.mark.parametrize(
    ("content", "cells"),
    [
        ("a\nx\n\nz\n", ["x", "", "z"]),
        ("a\n\n\ny\n  \nz", ["", "", "y", "", "z"]),
        ('a\nx\n""\n', ["x", ""]),  # as pandas writes a column that ends in a gap
        ("\n\na\nx\n\n\n\n \n", ["x"]),
        ("sep=;\n\na\nx\n\ny\n\n", ["x", "", "y"]),
        ('\n"a\nb"\nx\n\ny\n', ["x", "", "y"]),
    ],
)
def test_an_empty_line_of_a_single_column_is_a_row(content, cells, rows, ends, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(content.replace("\n", ends).encode())
    file = open_table(path)
    parts = list(file.chunks(rows, text=file.columns))
    assert all(len(part) <= (rows or len(cells)) for part in parts)
    found = [cell for part in parts for cell in part.iloc[:, 0]]
    assert ["" if cell != cell else cell.strip() for cell in found] == cells
    assert [row for part in parts for row in part.index] == list(range(len(cells)))


def test_an_empty_line_of_a_single_column_is_a_missing_number(tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1.5\n\n2\n\n")
    frame = read(tmp_path / "rows.csv")
    assert frame["a"].isna().tolist() == [False, True, False]
    assert frame["a"].dropna().tolist() == [1.5, 2]


def test_an_empty_line_of_several_columns_is_no_row(tmp_path):
    (tmp_path / "rows.csv").write_text("\na,b\n\n1,2\n\n3,4\n\n\n5,\n\n")
    frame = read(tmp_path / "rows.csv")
    assert frame["a"].tolist() == [1, 3, 5]
    assert frame.index.tolist() == [0, 1, 2]
    (tmp_path / "rows.csv").write_text("\na,b\n\n1,2\n\n3,\n" + "5,6\n" * 2000 + "\n7\n")
    with pytest.raises(InputError, match="line 2008 has 1 cell, the others have 2"):
        list(open_table(tmp_path / "rows.csv").chunks())


def test_whole_numbers_keep_their_digits_beside_gaps(tmp_path):
    import pyarrow
    import pyarrow.parquet

    large = 2**53 + 1
    table = pyarrow.table({"id": pyarrow.array([large, None, 7])})
    pyarrow.parquet.write_table(table, tmp_path / "ids.parquet")
    found = read(tmp_path / "ids.parquet")["id"]
    assert (found[0], found.isna().tolist()) == (large, [False, True, False])


def test_texts_of_bytes_are_texts(tmp_path):
    np.savez(tmp_path / "a.npz", y=np.array([b"red", "gr\u00fcn".encode()]))
    assert read(tmp_path / "a.npz")["y"].tolist() == ["red", "gr\u00fcn"]


def test_a_packed_text_is_looked_through_for_its_encoding(tmp_path):
    rows = "".join(f"{row},word\n" for row in range(200_000)) + "1,gr\u00fcn\n"
    file = tmp_path / "late.csv.gz"
    file.write_bytes(gzip.compress(f"a,b\n{rows}".encode("cp1252")))
    assert list(open_table(file).chunks())[-1]["b"].iloc[-1] == "gr\u00fcn"
