"""Texts in whatever encoding: told where it is guessed, refused where it is mixed."""

import gzip

import pandas as pd
import pytest

from brainnet.data.table import Table
from brainnet.data.table_files import open_table
from brainnet.errors import InputError


def words(count=40):
    return "wort,y\n" + "".join(f"{('grün', 'weiß')[row % 2]},{row % 2}\n" for row in range(count))


def test_a_byte_of_another_encoding_in_utf8_is_refused_with_its_line(tmp_path):
    file = tmp_path / "mixed.csv"
    file.write_bytes(words().encode() + "müde,1\n".encode("latin-1") + b"a,0\n")
    with pytest.raises(InputError, match=r"is UTF-8, but line 42 holds a byte that is none\. "):
        open_table(file)


def test_a_guessed_encoding_is_told(tmp_path, caplog):
    file = tmp_path / "western.csv"
    file.write_bytes(words().encode("cp1252"))
    assert pd.concat(open_table(file).chunks())["wort"].unique().tolist() == ["grün", "weiß"]
    assert "read as Windows-1252" in caplog.text
    caplog.clear()
    file.write_text(words(), encoding="utf-8")
    open_table(file)
    assert not caplog.text


@pytest.mark.parametrize("with_a_number", [False, True])
def test_truths_are_no_numbers_whatever_stands_beside_them(tmp_path, with_a_number):
    head = "".join(f"{row / 7},{row % 2}\n" for row in range(11_000))
    tail = "True,0\n" * 30_000 + ("0.5,1\n" if with_a_number else "")
    file = tmp_path / "late.csv"
    file.write_text("x,y\n" + head + tail)
    with pytest.raises(InputError, match=r"holds numbers, but not in row 11001 .*'True'"):
        Table(file, "y").load(seed=0)


def test_gzip_that_is_not_called_so_is_told(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_bytes(b"\x1f\x8b\x08\x00rest")
    with pytest.raises(InputError, match=r"packed by gzip and not called so"):
        open_table(file)


def test_utf8_that_was_cut_off_within_a_letter_is_told(tmp_path):
    file = tmp_path / "cut.csv"
    file.write_bytes(words().encode() + "grü".encode()[:-1])
    with pytest.raises(InputError, match="ends within a letter"):
        open_table(file)


def test_a_packed_file_that_was_cut_off_is_told_where_its_rows_are_read(tmp_path):
    file = tmp_path / "cut.csv.gz"
    file.write_bytes(gzip.compress(words(4000).encode("latin-1") + bytes(range(161, 256)))[:-9])
    with pytest.raises(InputError):
        list(open_table(file).chunks())
