"""The table and the exit code of a sweep."""

import math
from pathlib import Path

import pytest

from brainnet.cli.train import Job, find_worst_code, print_sweep_table
from brainnet.training.run_directory import RunDirectory


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        ([0, 0], 0),
        ([0, 2, 0], 2),
        ([3, 2], 3),
        ([1, 3], 1),
        ([1, 130], 130),
    ],
)
def test_most_severe_exit_code_is_returned(codes, worst):
    assert find_worst_code([Job(RunDirectory(Path()), (), code=code) for code in codes]) == worst


def test_table_shows_differing_overrides_completely(capsys):
    common = ("data=table", "data.path=a/long/path/to/some/file/of/prices.csv", "data.drop=[id]")
    print_sweep_table(
        [
            Job(RunDirectory(Path(f"runs/[b]/x/{number}")), (*common, word), code=2)
            for number, word in enumerate(["data.columns=[date]", "data.columns=[/bold,red]"])
        ]
    )
    output = capsys.readouterr().out
    assert output.count("data.drop=[id]") == 1
    assert f"all jobs: {' '.join(common)}\n" in output
    assert "folder: runs/[b]/x\n" in output
    flat = "".join(output.split())
    assert "data.columns=[date]notstarted0" in flat
    assert "data.columns=[/bold,red]notstarted1" in flat


def build_result(number, metric):
    return Job(RunDirectory(Path(f"runs/x/{number}")), (f"seed={number}",), metric=metric)


@pytest.mark.parametrize(
    ("metrics", "winner"),
    [
        ([0.3, 0.1, 0.2], 1),
        ([math.nan, math.nan, 0.2], 2),
        ([math.nan, 0.5, math.inf], 1),
        ([0.1, 0.1], 0),
        ([math.nan, math.nan], None),
    ],
)
def test_best_job_has_the_lowest_validation_loss(metrics, winner, capsys):
    print_sweep_table([build_result(number, metric) for number, metric in enumerate(metrics)])
    output = capsys.readouterr().out
    marked = [line[0] for line in output.splitlines() if line[1:3] == " *"]
    assert marked == ([] if winner is None else [str(winner)])
    line = f"* best: job {winner}, with the lowest validation loss, "
    assert (line in output) == (winner is not None)


def test_single_job_is_not_marked(capsys):
    print_sweep_table([build_result(0, 0.5)])
    assert "*" not in capsys.readouterr().out


def test_lines_have_no_trailing_blanks(capsys):
    print_sweep_table([build_result(0, 0.5), build_result(1, 0.25)])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [line.rstrip() for line in lines]
