"""What evaluate says: figures, and which class was taken for which, by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from brainnet.cli.evaluate import Judgement, confused
from brainnet.cli.main import main
from brainnet.inference.evaluate import Evaluation


def judgement(confusion, names=("no", "yes")):
    counts = torch.tensor(confusion) if confusion else None
    evaluation = Evaluation(
        metrics={"loss/test": 0.25, "accuracy/test": 0.5},
        outputs=torch.zeros(1500, 2),
        answers=torch.zeros(1500),
        truths=torch.zeros(1500),
        confusion=counts,
        checkpoint=Path("best.ckpt"),
    )
    return Judgement(evaluation, "rows of x", names if confusion else ())


def test_a_few_classes_are_a_table_by_name():
    assert judgement([[1200, 0], [30, 4]]).told().splitlines() == [
        "accuracy/test  0.5",
        "loss/test      0.25",
        "judged by      1,500 rows of x",
        "checkpoint     best.ckpt",
        "",
        "rows of each class, by the answer they got",
        "          no  yes",
        "no     1,200    ·",
        "yes       30    4",
    ]


def test_numbers_have_no_table():
    assert judgement(None).told().splitlines()[-1] == "checkpoint     best.ckpt"


def test_of_many_classes_the_most_frequent_mistakes_are_named():
    names = [f"class {place}" for place in range(20)]
    counts = torch.eye(20, dtype=torch.int64) * 50
    assert confused(counts, names) == ["no row got a wrong answer"]
    counts[3, 17] = 12
    counts[5, :12] += 1
    lines = confused(counts, names)
    assert lines[:2] == ["the most frequent mistakes", "     12  class 3 taken for class 17"]
    assert len(lines) == 12
    assert lines[-1] == "         and 2 more"


def test_a_long_name_is_shortened():
    assert confused(torch.eye(2, dtype=torch.int64), ["a" * 40, "b"])[2].startswith("a" * 15 + "…")


def test_programs_get_one_object():
    told = json.loads(judgement([[1, 2], [3, 4]]).as_json())
    assert told == {
        "metrics": {"loss/test": 0.25, "accuracy/test": 0.5},
        "mean_absolute_errors": {},
        "rows": 1500,
        "judged_by": "rows of x",
        "checkpoint": "best.ckpt",
        "classes": ["no", "yes"],
        "confusion": [[1, 2], [3, 4]],
    }
    assert json.loads(judgement(None).as_json())["confusion"] is None


@pytest.mark.parametrize("words", [["--json"], []])
def test_evaluate_says_it(capsys, run, words):
    assert main(["evaluate", "latest", *words]) == 0
    said = capsys.readouterr().out
    if words:
        assert json.loads(said)["classes"] == ["setosa", "versicolor", "virginica"]
    else:
        assert "rows of iris, kept for the test" in said
        assert "\nversicolor " in said


def test_numbers_are_told_how_far_they_are_off_in_their_own_unit():
    told = replace(judgement(None).evaluation, errors={"price": 12345.6, "age": 2.5})
    lines = Judgement(told, "rows of x", ()).told().splitlines()
    assert lines[2:4] == [
        "off by         12,346 on average in price",
        "off by         2.5 on average in age",
    ]
