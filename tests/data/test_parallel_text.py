"""Rows that two threads parse are those that one parses, and so is what is said of broken ones."""

import io
import random

import pandas as pd
import pytest

from brainnet.data import parallel_text, text_files
from brainnet.data.parallel_text import cut
from brainnet.data.reading import open_rows
from brainnet.errors import InputError


def read(file, rows, threads, monkeypatch, **options):
    monkeypatch.setattr(text_files, "threads", lambda: threads)
    parts = []
    try:
        for part in open_rows(file).chunks(rows, **options):
            parts.append(part)  # noqa: PERF402 - those before an error count too
    except InputError as error:
        return parts, str(error)
    return parts, None


def read_alike(content, tmp_path, monkeypatch, **options):
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    for rows in (1, 2, 3, 5):
        alone, said = read(file, rows, 1, monkeypatch, **options)
        together, also_said = read(file, rows, 2, monkeypatch, **options)
        assert also_said == said
        assert len(together) == len(alone)
        for one, other in zip(together, alone, strict=True):
            pd.testing.assert_frame_equal(one, other, check_exact=True)


NUMBERS = "".join(f"{row},{row / 7:.6f},w{row % 3}\n" for row in range(11))


@pytest.mark.parametrize(
    "content",
    [
        "a,b,c\n" + NUMBERS,
        "a,b,c\n" + NUMBERS[:-1],
        "a,b,c\n" + NUMBERS + "\n\n",
        "a,b,c\n" + NUMBERS.replace("\n", "\r\n"),
        "a,b,c\n" + NUMBERS.replace("\n", "\r"),
        "a,b,c\n" + NUMBERS.replace("\n7", "\r7"),
        "a,b,c\n" + NUMBERS.replace("\n7", "\n\r7"),
        "a,b,c\n" + NUMBERS.replace("\n7", "\n\r\n7"),
        "a,b,c\n" + NUMBERS.replace("\n7", "\n   \n7"),
        "\n\na,b,c\n" + NUMBERS,
        '"a","b","c"\n' + NUMBERS,
        '"a","b","c\nd"\n' + NUMBERS,
        'a"b,b,"c\n d"\n' + NUMBERS,
        "\ufeffa,b,c\n" + NUMBERS,
        "sep=;\na;b;c\n" + NUMBERS.replace(",", ";").replace(".", ","),
        "a b  c\n" + NUMBERS.replace(",", " "),
        "größe,b,c\n" + NUMBERS.replace("w", "ß€"),
        "a,b,c\n" + NUMBERS.replace("w2", '"w,2"'),
        "a,b,c\n" + NUMBERS.replace("w2", '"w\n2"'),
        "a,b,c\n" + NUMBERS.replace("w2", '"w\r\n2"'),
        "a,b,c\n" + NUMBERS.replace("w2", '"w\n\n2"'),
        "a,b,c\n" + NUMBERS.replace("w2", '5" pipe'),
        "a,b,c\n" + NUMBERS.replace("w2", '"say ""hi"""'),
        "a,b,c\n" + NUMBERS.replace("w2", ""),
        "a,b,c\n" + NUMBERS.replace("\n7", '\n"7'),
        "a,b,c\n" + NUMBERS.replace("\n7", "\n1,2"),
        "a,b,c\n" + NUMBERS.replace("\n6", "\n1,2"),
        "a,b,c\n" + NUMBERS.replace("\n7,", "\n"),
        "a,b,c\n" + NUMBERS.replace("\n7", "\nseven"),
        "a,b,c\n" + NUMBERS.replace("\n7", "\n\ufeff7"),
        "a\n1\n2\n\n4\n5\n6\n7\n",
        "a\n1\n2\n3\n4\n5\n6\n7\n",
    ],
)  # fmt: skip
def test_two_threads_read_what_one_reads(content, tmp_path, monkeypatch):
    # What is broken below the first rows is found by parsing alone.
    monkeypatch.setattr("brainnet.data.recognition._ROWS_LOOKED_AT", 3)
    read_alike(content.encode(), tmp_path, monkeypatch)
    read_alike(content.encode(), tmp_path, monkeypatch, text=["c"], only=["c", "a"])


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_other_encodings_are_read_alike(encoding, tmp_path, monkeypatch):
    read_alike(f"a,b,c\n{NUMBERS.replace('w', 'ß€')}".encode(encoding), tmp_path, monkeypatch)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_no_text_in_its_encoding_is_told_of(threads, tmp_path, monkeypatch):
    file = tmp_path / "rows.csv"
    file.write_bytes(f"a,b,c\n{NUMBERS}1,2,".encode() + b"\x81\xff\n")
    assert "is no text in CP1252" in read(file, 2, threads, monkeypatch)[1]


def test_any_lines_are_read_alike(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.data.recognition._ROWS_LOOKED_AT", 1)
    random.seed(0)
    signs = ['"', "\n", "\n", "\r", "\r\n", ",", " ", '""', "x", "1"]
    for _ in range(60):
        lines = [f"{row},{row / 8}\n" for row in range(9)]
        place = random.randrange(1, 9)
        lines[place] = "".join(random.choices(signs, k=random.randrange(1, 6))) + lines[place]
        read_alike(("a,b\n" + "".join(lines)).encode(), tmp_path, monkeypatch)


def test_most_lines_are_parsed_by_two_threads(tmp_path, monkeypatch):
    file = tmp_path / "rows.csv"
    file.write_text("a,b,c\n" + NUMBERS)
    monkeypatch.setattr(pd, "read_csv", _only_feeds(pd.read_csv))
    parts, said = read(file, 2, 2, monkeypatch)
    assert said is None
    assert [len(part) for part in parts] == [2] * 5 + [1]


def _only_feeds(real):
    def read_csv(source, **options):
        assert isinstance(source, parallel_text.Feed)
        return real(source, **options)

    return read_csv


def test_pieces_are_all_of_a_file():
    text = b"".join(b"%d,%s\n" % (row, b"x" * (row * 7 % 31)) for row in range(100))
    for rows in (1, 3, 99, 100, 101):
        pieces = list(cut(io.BytesIO(text), rows))
        assert b"".join(piece.text for piece in pieces).rstrip() == text.rstrip()
        assert [piece.lines for piece in pieces[:-1]] == [rows] * (len(pieces) - 1)
        assert all(piece.text.rstrip().count(b"\n") + 1 == piece.lines for piece in pieces)


@pytest.mark.parametrize(("chosen", "most"), [("1", 1), ("8", 2), ("", 2)])
def test_no_more_threads_than_asked_for(chosen, most, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    monkeypatch.setattr(parallel_text.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert parallel_text.threads() == most
    monkeypatch.setattr(parallel_text.os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert parallel_text.threads() == 1
