"""The rows of a run are had again as it used them, or it is said why they cannot be."""

from dataclasses import replace

import pytest
import torch

from brainnet import fit, load
from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Diabetes, Iris
from brainnet.errors import InputError
from brainnet.inference.explain_row import PARTS
from brainnet.structure.network import Network


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("iris") / "run"
    run = fit(Network([4, 3]), "iris", epochs=1, seed=3, folder=folder, progress=False)
    return load(run.folder).account().own


def test_the_rows_are_split_and_scaled_as_in_the_run(own):
    then = DataModule("iris", seed=3)
    for part in PARTS:
        assert torch.equal(own.data.row_indices(part), then.row_indices(part))
    assert own.data.scaling == then.scaling
    assert (own.missing, own.changed, own.note()) == (None, False, None)


def test_each_row_is_known_by_its_part(own):
    for part in PARTS:
        assert own.part_of(int(own.data.row_indices(part)[-1])) == part


def test_training_rows_come_with_their_numbers(own):
    numbers, inputs = (torch.cat(each) for each in zip(*own.training(), strict=True))
    assert torch.equal(numbers, own.data.row_indices("train"))
    measured = Iris().load(0).inputs[numbers]
    assert torch.equal(inputs, own.scaling.apply(measured))


def test_rows_that_were_not_stored_are_missing(own):
    gone = replace(own, config={"data": {"name": "mine"}, "seed": 0})
    assert "(mine) were handed over in Python" in str(gone.missing)
    with pytest.raises(InputError, match="are not stored"):
        _ = gone.data


def test_rows_of_another_width_are_refused(own):
    kind = f"{Diabetes.__module__}.{Diabetes.__qualname__}"
    other = replace(own, config=own.config | {"data": {"_target_": kind}})
    with pytest.raises(InputError, match=r"diabetes has 10 inputs now.*learnt from 4"):
        _ = other.data


@pytest.mark.parametrize(
    ("target", "columns"), [(None, []), ("price", ["price"]), (["a", 0], ["a", "0"])]
)
def test_the_columns_of_the_answers_are_those_of_the_configuration(own, target, columns):
    assert replace(own, config={"data": {"target": target}}).target_columns == columns
