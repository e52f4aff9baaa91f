"""What a network was asked is told in the names of its data."""

import pytest
import torch

from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.scaling import Scaling
from brainnet.inference.trained_model import describe_question
from brainnet.learning.loss import CrossEntropy, MeanSquaredError

NONE = Scaling("none", (0.0,), (1.0,))


def asked(preparation, *, scaling=NONE, image_shape=None):
    return describe_question(
        "multiclass",
        CrossEntropy(),
        encoder=preparation,
        outputs=("cat", "dog"),
        scaling=scaling,
        target_scaling=NONE,
        image_shape=image_shape,
    )


def test_words_that_are_looked_up_are_known_by_their_place():
    towns = tuple(f"town {number}" for number in range(40))
    colours = ColumnEncoder("colour", "category", ("blue", "red"))
    question = asked(TableEncoder((colours, ColumnEncoder("town", "category", towns))))
    assert question.names.inputs == ("colour=blue", "colour=red", "town")
    assert dict(question.names.categories) == {2: towns}


def test_pixels_have_short_names():
    names = asked(ImageEncoder(2, 2)).names.inputs
    assert names == ("pixel 0,0", "pixel 0,1", "pixel 1,0", "pixel 1,1")


@pytest.mark.parametrize(
    ("kind", "shape", "zero"),
    [
        ("standard", (2, 2), "an average row"),
        ("minmax", (2, 2), "an empty picture"),
        ("minmax", None, "a row of the smallest values"),
        ("none", None, "a row of zeros"),
    ],
)
def test_a_row_of_zeros_stands_for_what_the_scaling_makes_of_it(kind, shape, zero):
    scaling = Scaling(kind, (0.0, 0.0), (1.0, 1.0))
    question = asked(TableEncoder.from_names(["a", "b"]), scaling=scaling, image_shape=shape)
    assert question.baseline == zero


def test_answers_are_read_by_loss_and_task():
    question = asked(TableEncoder.from_names(["a"]))
    outputs = torch.tensor([[0.0, 2.0]])
    assert question.decode(outputs).tolist() == [1]
    assert torch.equal(question.probabilities(outputs), outputs.softmax(dim=1))
    assert question.target_scaling is None
    numbers = describe_question(
        "regression",
        MeanSquaredError(),
        encoder=TableEncoder.from_names(["a"]),
        outputs=("price",),
        scaling=NONE,
        target_scaling=Scaling("standard", (5.0,), (2.0,)),
        image_shape=None,
    )
    assert numbers.target_scaling == Scaling("standard", (5.0,), (2.0,))
    assert numbers.probabilities(outputs) is None
