"""Whether the split is fair, complete, without overlap and the same for the same seed."""

from dataclasses import replace

import pytest
import torch

from brainnet.data.dataset import Dataset
from brainnet.data.datasets import Digits
from brainnet.data.split import RandomStream, create_generator, split
from brainnet.errors import InputError


def classes(*counts):
    targets = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return Dataset.from_arrays(torch.arange(len(targets)).unsqueeze(1), targets)


def parts_of(dataset, validation=0.1, test=0.2, seed=0):
    parts = split(dataset, validation=validation, test=test, seed=seed)
    return parts.train, parts.validation, parts.test


@pytest.mark.parametrize(
    "dataset",
    [classes(50, 7, 3), Dataset.from_arrays(torch.rand(97, 2), torch.rand(97))],
    ids=["classes", "numbers"],
)
def test_every_row_is_in_exactly_one_part(dataset):
    rows = torch.cat(parts_of(dataset)).sort().values
    assert torch.equal(rows, torch.arange(len(dataset)))


def test_every_part_holds_the_classes_in_the_proportions_of_the_whole():
    dataset = classes(100, 50, 10)
    counts = [dataset.targets[part].bincount().tolist() for part in parts_of(dataset)]
    assert counts == [[70, 35, 7], [10, 5, 1], [20, 10, 2]]


def test_digits_to_the_nearest_row():
    dataset = Digits().load(seed=0)
    whole = dataset.targets.bincount()
    train, validation, test = (dataset.targets[part].bincount() for part in parts_of(dataset))
    assert ((validation - whole * 0.1).abs() <= 0.5).all()
    assert ((test - whole * 0.2).abs() <= 0.5).all()
    assert ((train - whole * 0.7).abs() <= 1).all()


def test_no_part_is_empty_and_no_class_is_missing():
    dataset = classes(3, 3)
    for part in parts_of(dataset, validation=0.01, test=0.01):
        assert sorted(dataset.targets[part].tolist()) == [0, 1]


def test_each_part_is_in_random_order():
    dataset = classes(100, 100)
    for part in parts_of(dataset, validation=0.3, test=0.3):
        assert 0.3 < dataset.targets[part[:30]].float().mean() < 0.7


def test_a_class_without_rows_is_no_obstacle():
    dataset = Dataset(
        "gap",
        "multiclass",
        torch.rand(6, 1),
        torch.tensor([0, 0, 0, 2, 2, 2]),
        ("x",),
        tuple("abc"),
    )
    assert [len(part) for part in parts_of(dataset)] == [2, 2, 2]


def test_the_seed_decides():
    dataset = classes(40, 40)
    for once, again in zip(parts_of(dataset, seed=1), parts_of(dataset, seed=1), strict=True):
        assert torch.equal(once, again)
    assert not torch.equal(parts_of(dataset, seed=1)[2], parts_of(dataset, seed=2)[2])


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), "half", None, True])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(InputError, match="validation must be a fraction of the rows between 0 and"):
        parts_of(classes(9, 9), validation=fraction)
    with pytest.raises(InputError, match="test must be a fraction"):
        parts_of(classes(9, 9), test=fraction)


def test_fractions_must_leave_rows_to_train_on():
    with pytest.raises(InputError, match=r"0\.5 and test 0\.5 leave no rows to train on"):
        parts_of(classes(9, 9), validation=0.5, test=0.5)


def test_too_few_rows_of_a_class_name_the_class():
    with pytest.raises(InputError, match=r"class '1' has 2 rows: too few .* at least 3"):
        parts_of(classes(9, 2))
    with pytest.raises(InputError, match="the data has 1 row: too few"):
        parts_of(Dataset.from_arrays([[1.0]], [0.5]))


def test_parts_that_came_apart_stay_in_their_order():
    targets = torch.tensor([0, 1] * 30)
    made = Dataset.from_arrays(torch.arange(60.0).unsqueeze(1), targets)
    apart = replace(made, parts=(30, 10, 20))
    train, validation, test = parts_of(apart)
    assert sorted(train.tolist()) == list(range(30))
    assert validation.tolist() == list(range(30, 40))
    assert test.tolist() == list(range(40, 60))
    train, validation, test = parts_of(replace(made, parts=(50, 10, 0)))
    assert validation.tolist() == list(range(50, 60))
    assert len(test) == 10
    assert made.targets[test].tolist().count(0) == 5
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(50))


def test_a_part_that_came_apart_asks_for_fewer_rows():
    made = Dataset.from_arrays(torch.arange(8.0).unsqueeze(1), [0, 1, 0, 1, 0, 1, 0, 1])
    assert len(parts_of(replace(made, parts=(2, 2, 4)))[0]) == 2
    with pytest.raises(InputError, match=r"too few to train and test \(fraction 0.2\) on"):
        parts_of(replace(made, parts=(2, 6, 0)))


def test_many_rows_are_divided_as_one_by_one(monkeypatch):
    targets = torch.randint(0, 5, (1000,), generator=torch.Generator().manual_seed(0))
    dataset = Dataset.from_arrays(torch.zeros(1000, 1), targets)
    whole = parts_of(dataset)
    monkeypatch.setattr("brainnet.data.split._ROWS_AT_ONCE", 64)
    for part, expected in zip(parts_of(dataset), whole, strict=True):
        assert torch.equal(part, expected)
    random = create_generator(0, RandomStream.SPLIT)
    members = (targets == 0).nonzero().flatten()
    first = members[torch.randperm(len(members), generator=random)]
    test = max(1, round(len(members) * 0.2))
    assert set(first[-test:].tolist()) == {row for row in whole[2].tolist() if targets[row] == 0}


def test_classes_that_are_too_small_are_named_together_with_what_can_be_done():
    with pytest.raises(InputError) as refused:
        parts_of(classes(9, 1, 2, 9))
    said = str(refused.value)
    assert "class '1' has 1 row" in said
    assert "add rows of it, or leave these out" in said
    assert "data.validation_path and data.test_path" in said
    assert said.endswith("The same goes for class '2' (2 rows).")
    assert "fractions smaller" not in said
    with pytest.raises(InputError, match="make the fractions smaller"):
        parts_of(classes(9, 4), validation=0.45, test=0.45)


def test_a_test_of_so_few_rows_that_it_judges_nothing_is_told(caplog):
    split(classes(10, 10), validation=0.2, test=0.2, seed=0)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "only 4 rows are kept for the test, of 20 in arrays" in said[0]
    split(classes(20, 20), validation=0.2, test=0.2, seed=0)
    assert len(caplog.records) == 1
