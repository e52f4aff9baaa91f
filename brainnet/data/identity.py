"""Identity: what a data set tells of itself, so that a run can tell whether it is still the same.

What inputs and answers mean must be as it was wherever a network meets data: it reads by position.
That the rows are the same matters where the run's own are meant: of others, some that were trained
on would come into the test.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from brainnet.data.dataset import Dataset
from brainnet.data.preparation import NUMBERS, told_numbers
from brainnet.data.wording import listed
from brainnet.errors import InputError

ROWS, DIGEST = "rows", "digest"

_NAMED = 6
_ROWS_AT_ONCE = 65536
# Which words a split left for validation and test alone is no property of the data.
_OF_THE_SPLIT = ("unlearnt",)


def told_of(dataset: Dataset, target_names: Sequence[str]) -> dict[str, Any]:
    """Return what raw rows need in order to be answered, and which rows these are.

    Rows that were read from files are told by their number and a checksum. Built-in ones are made
    anew for each run, by arithmetic whose last bits are those of a machine; arrays are the user's
    own to keep.
    """
    preparation = dataset.preparation
    told = {
        "preparation": (
            preparation.to_dict() if preparation else told_numbers(dataset.input_names)
        ),
        "task": dataset.task,
        "class_names": list(dataset.class_names),
        "target_names": list(target_names),
        "image_shape": dataset.image_shape and list(dataset.image_shape),
    }
    return told if preparation is None else {**told, ROWS: len(dataset), DIGEST: digest_of(dataset)}


def digest_of(dataset: Dataset) -> int:
    """Return a checksum (CRC-32) of all inputs and targets, as they lie in memory.

    Example:
        >>> rows = Dataset.from_arrays([[1.0], [2.0]], [0, 1])
        >>> digest_of(rows) == digest_of(Dataset.from_arrays([[1.0], [2.0]], [1, 0]))
        False
    """
    found = 0
    for values in (dataset.inputs, dataset.targets):
        for part in values.split(_ROWS_AT_ONCE):
            found = zlib.crc32(memoryview(part.contiguous().numpy()).cast("B"), found)
    return found


def check_same_meaning(stored: Mapping[str, Any], own: Mapping[str, Any], name: str) -> None:
    """Hold what inputs and answers mean against what a network learnt.

    Args:
        stored: what `told_of` told of the data that it learnt from; older runs told less.
        own: what it tells of these.
        name: of these.

    Raises:
        InputError: they mean something else.
    """
    if "preparation" not in stored:
        return
    before, now = stored["preparation"], own["preparation"]
    # Arrays go by position, and what is in them nobody said.
    named = NUMBERS not in (before["kind"], now["kind"])
    if named:
        _check_preparation(before, now, name)
    for key, what, unnamed in (
        ("class_names", "classes", "{}"),
        ("target_names", "numbers to predict", "target_{}"),
    ):
        learnt, there = (list(each.get(key) or ()) for each in (stored, own))
        numbered = [unnamed.format(place) for place in range(len(there))]
        said = named or numbered not in (learnt, there)
        if said and learnt and there and learnt != there:
            raise _other(name, f"the {what} {listed(there, _NAMED)}", listed(learnt, _NAMED))
    if named and stored["task"] != own["task"]:
        raise _other(name, f"the task {own['task']}", stored["task"])


def check_same_rows(stored: Mapping[str, Any], own: Mapping[str, Any], name: str) -> None:
    """Hold the rows of a run's own data against those that it learnt from.

    Raises:
        InputError: they are others now. Runs that did not tell, and data that do not, pass.
    """
    if DIGEST not in stored or DIGEST not in own:
        return
    advice = (
        "Restore the data as they were; or judge the network by all rows of a file that it did not "
        "learn from: brainnet evaluate RUN data.path=FILE."
    )
    if stored[ROWS] != own[ROWS]:
        raise InputError(
            f"{name} has {own[ROWS]:,} rows now, and {stored[ROWS]:,} when the network learnt from "
            f"it: the data have changed since the run, so that rows it was trained on would be "
            f"taken for others. {advice}"
        )
    if stored[DIGEST] != own[DIGEST]:
        raise InputError(
            f"{name} has as many rows as when the network learnt from it, but what stands in them "
            f"or their order is no longer the same: the data have changed since the run. {advice}"
        )


def _check_preparation(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> None:
    """Compare how raw rows become inputs, in all that both tell."""
    if before["kind"] != now["kind"]:
        kinds = {"pixels": "pictures", "columns": "rows of a table"}
        raise _other(name, kinds[now["kind"]], kinds[before["kind"]])
    if before["kind"] == "columns":
        _check_columns(before, now, name)
        return
    there, learnt = (
        f"pictures of {each['height']} x {each['width']}, {each['channels']} colours"
        for each in (now, before)
    )
    if there != learnt:
        raise _other(name, there, learnt)


def _check_columns(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> None:
    there, learnt = ([column["name"] for column in each["columns"]] for each in (now, before))
    if there != learnt:
        raise _other(name, f"the columns {listed(there)}", listed(learnt))
    for column, found in zip(before["columns"], now["columns"], strict=True):
        for key in column:
            if key in _OF_THE_SPLIT or _plain(column[key]) == _plain(found.get(key, column[key])):
                continue
            what = f"the {'words' if key == 'values' else key} {_said(found[key])}"
            raise _other(name, f"column {column['name']!r} with {what}", _said(column[key]))
    if now["imputes"] and not before["imputes"]:
        raise _other(name, "empty cells to fill in", "complete rows alone")


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _said(value: object) -> str:
    """What is stored of a column, in words; of many the first."""
    return listed(list(map(str, value)), _NAMED) if isinstance(value, list | tuple) else str(value)


def _other(name: str, there: str, learnt: str) -> InputError:
    return InputError(
        f"{name} has {there} now, and the network learnt {learnt}: the data have changed since the "
        "run, or are read otherwise. Use data like those it learnt from."
    )
