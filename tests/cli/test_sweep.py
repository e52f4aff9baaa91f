"""How a sweep ends."""

import math
from pathlib import Path

import pytest

from brainnet.cli.train import Ending, tell_table, worst
from brainnet.training.run_directory import RunDirectory


@pytest.mark.parametrize(
    ("codes", "gravest"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 2, 0], 2),
        ([3, 2], 3),
        ([1, 3], 1),
        ([1, 130], 130),
        ([0, 5], 1),
        ([137, 130], 130),
    ],
)
def test_the_gravest_code_is_returned(codes, gravest):
    assert worst([Ending(RunDirectory(Path()), (), code) for code in codes]) == gravest


def test_the_table_shows_what_differs_and_every_sign_of_it(capsys):
    common = ("data=table", "data.path=a/long/path/to/some/file/of/prices.csv", "data.drop=[id]")
    tell_table(
        [
            Ending(RunDirectory(Path(f"runs/[b]/x/{number}")), (*common, word), 2)
            for number, word in enumerate(["data.columns=[date]", "data.columns=[/bold,red]"])
        ]
    )
    told = capsys.readouterr().out
    assert told.count("data.drop=[id]") == 1
    assert f"all jobs: {' '.join(common)}\n" in told
    assert "folder: runs/[b]/x\n" in told
    flat = "".join(told.split())
    assert "data.columns=[date]notstarted0" in flat
    assert "data.columns=[/bold,red]notstarted1" in flat


def ending(number, metric, code=0):
    return Ending(RunDirectory(Path(f"runs/x/{number}")), (f"seed={number}",), code, metric)


@pytest.mark.parametrize(
    ("metrics", "winner"),
    [
        ([0.3, 0.1, 0.2], 1),
        ([None, math.nan, 0.2], 2),
        ([math.nan, 0.5, math.inf], 1),
        ([0.1, 0.1], 0),
        ([None, None], None),
    ],
)
def test_the_best_job_is_that_of_the_lowest_validation_loss(metrics, winner, capsys):
    tell_table([ending(number, metric) for number, metric in enumerate(metrics)])
    told = capsys.readouterr().out
    marked = [line[0] for line in told.splitlines() if line[1:3] == " *"]
    assert marked == ([] if winner is None else [str(winner)])
    said = f"* the best: job {winner}, whose validation loss was lowest, "
    assert (said in told) == (winner is not None)


def test_of_one_job_none_is_the_best(capsys):
    tell_table([ending(0, 0.5)])
    assert "*" not in capsys.readouterr().out


def test_no_line_ends_in_blanks(capsys):
    tell_table([ending(0, 0.5), ending(1, 0.25)])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [line.rstrip() for line in lines]


def test_the_table_folds_on_a_narrow_terminal_and_cuts_nothing(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    words = [f"optimizer.lr=0.{number}0000000000000000000000000000001" for number in (1, 2)]
    tell_table([Ending(RunDirectory(Path(f"runs/x/{word[-3:]}")), (word,), 0) for word in words])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert "…" not in "".join(lines)
