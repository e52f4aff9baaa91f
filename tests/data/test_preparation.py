"""Whether what was learnt of raw rows comes back as it was stored."""

import json

from brainnet.data.column import Column
from brainnet.data.columns import Columns
from brainnet.data.pixels import Pixels
from brainnet.data.preparation import preparation_from_dict, told_numbers


def test_each_kind_comes_back():
    columns = Columns((Column("age"), Column("colour", "category", ("blue", "red"))))
    for preparation in (columns, Pixels(4, 5, 3)):
        stored = json.loads(json.dumps(preparation.to_dict()))
        assert preparation_from_dict(stored) == preparation


def test_plain_numbers_are_stored_by_name():
    assert preparation_from_dict(told_numbers(("x", "y"))) == Columns.numbers(["x", "y"])
