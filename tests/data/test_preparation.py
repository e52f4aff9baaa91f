"""Whether what was learnt of raw rows comes back as it was stored."""

import json

from brainnet.data.dataset import restore_encoder, told_numbers
from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder


def test_each_kind_comes_back():
    columns = TableEncoder(
        (ColumnEncoder("age"), ColumnEncoder("colour", "category", ("blue", "red")))
    )
    for preparation in (columns, ImageEncoder(4, 5, 3)):
        stored = json.loads(json.dumps(preparation.to_dict()))
        assert restore_encoder(stored) == preparation


def test_plain_numbers_are_stored_by_name():
    assert restore_encoder(told_numbers(("x", "y"))) == TableEncoder.numbers(["x", "y"])
