"""The right answer to a raw row is read in whatever it is held, or is said to be none."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet import load
from brainnet.inference.explain_row import right_answer
from brainnet.structure.network import Network
from brainnet.training.fit import fit


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("iris")
    network = Network([4, 3], generator=torch.Generator().manual_seed(0))
    return load(fit(network, "iris", folder=folder / "run", progress=False, epochs=1).folder)


@pytest.fixture(scope="module")
def numbered(trained):
    """The same with classes that are numbers."""
    return replace(trained, class_names=("0", "1", "2"))


@pytest.mark.parametrize(
    "cell",
    [1, 1.0, "1", "1.0", np.int64(1), np.float32(1), np.array(1), torch.tensor(1), [1, 2]],
    ids=repr,
)
def test_a_class_that_is_a_number_is_found_however_it_is_written(numbered, cell):
    target, untold = right_answer(numbered.account().task, {"grade": cell}, ["grade"])
    assert target is not None
    assert (target.tolist(), untold) == ([1], None)


def test_rows_of_every_form_have_their_right_answer(trained):
    record = {"kind": "virginica"}
    series = pd.Series(["virginica"], index=[7])
    for rows in (record, [record], {"kind": series}, pd.DataFrame({"kind": series})):
        target, untold = right_answer(trained.account().task, rows, ["kind"])
        assert (target.tolist(), untold) == ([2], None)


@pytest.mark.parametrize("rows", [{}, {"kind": None}, {"kind": ""}, [[1.0, 2.0]], np.ones((1, 2))])
def test_where_nothing_stands_nothing_is_known_or_said(trained, rows):
    assert right_answer(trained.account().task, rows, ["kind"]) == (None, None)


def test_what_is_no_class_is_said_to_be_none(trained):
    row = dict.fromkeys(trained.encoder.raw_names, 1.0) | {"kind": "tulip"}
    target, untold = right_answer(trained.account().task, row, ["kind"])
    assert target is None
    assert "kind tulip, which is none of the classes setosa, versicolor, virginica" in untold
    config = {"data": {**trained.config["data"], "target": "kind"}}
    account = replace(trained, config={**trained.config, **config}).account()
    account.own.__dict__["missing"] = "they are not needed"
    told = account.raw_row(row)
    assert told.explanation.prediction.true_class is None
    assert untold in told.explanation.limitations


def test_numbers_are_scaled_and_what_is_none_is_said(trained):
    numbers = replace(trained, class_names=(), task="regression")
    scaling = replace(trained.target_scaling, kind="standard", shift=(10.0,), scale=(2.0,))
    numbers = replace(numbers, target_scaling=scaling)
    target, untold = right_answer(
        numbers.account().task, {"price": np.float64(13.0)}, ["price"]
    )
    assert (target.tolist(), untold) == ([[1.5]], None)
    target, untold = right_answer(numbers.account().task, {"price": "cheap"}, ["price"])
    assert target is None
    assert "price cheap, which is no number" in untold
