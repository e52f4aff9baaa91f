"""Tests of the split and of its random numbers."""

from dataclasses import replace

import pytest
import torch

from brainnet.data.dataset import Dataset
from brainnet.data.datasets import Digits
from brainnet.data.split import RandomStream, create_generator, split_dataset
from brainnet.errors import InputError


def classes(*counts):
    targets = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return Dataset.from_arrays(torch.arange(len(targets)).unsqueeze(1), targets)


def split_parts(dataset, validation=0.1, test=0.2, seed=0):
    parts = split_dataset(dataset, validation=validation, test=test, seed=seed)
    return parts.train, parts.validation, parts.test


@pytest.mark.parametrize(
    "dataset",
    [classes(50, 7, 3), Dataset.from_arrays(torch.rand(97, 2), torch.rand(97))],
    ids=["classes", "numbers"],
)
def test_every_row_is_in_exactly_one_part(dataset):
    rows = torch.cat(split_parts(dataset)).sort().values
    assert torch.equal(rows, torch.arange(len(dataset)))


def test_split_is_stratified():
    dataset = classes(100, 50, 10)
    counts = [dataset.targets[part].bincount().tolist() for part in split_parts(dataset)]
    assert counts == [[70, 35, 7], [10, 5, 1], [20, 10, 2]]


def test_digits_are_stratified_to_the_nearest_row():
    dataset = Digits().load(seed=0)
    whole = dataset.targets.bincount()
    train, validation, test = (dataset.targets[part].bincount() for part in split_parts(dataset))
    assert ((validation - whole * 0.1).abs() <= 0.5).all()
    assert ((test - whole * 0.2).abs() <= 0.5).all()
    assert ((train - whole * 0.7).abs() <= 1).all()


def test_every_part_has_every_class():
    dataset = classes(3, 3)
    for part in split_parts(dataset, validation=0.01, test=0.01):
        assert sorted(dataset.targets[part].tolist()) == [0, 1]


def test_each_part_is_in_random_order():
    dataset = classes(100, 100)
    for part in split_parts(dataset, validation=0.3, test=0.3):
        assert 0.3 < dataset.targets[part[:30]].float().mean() < 0.7


def test_class_without_rows_is_ignored():
    dataset = Dataset(
        "gap",
        "multiclass",
        torch.rand(6, 1),
        torch.tensor([0, 0, 0, 2, 2, 2]),
        ("x",),
        tuple("abc"),
    )
    assert [len(part) for part in split_parts(dataset)] == [2, 2, 2]


def test_split_depends_only_on_the_seed():
    dataset = classes(40, 40)
    for once, again in zip(split_parts(dataset, seed=1), split_parts(dataset, seed=1), strict=True):
        assert torch.equal(once, again)
    assert not torch.equal(split_parts(dataset, seed=1)[2], split_parts(dataset, seed=2)[2])


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), "half", None, True])
def test_fraction_out_of_range_is_rejected(fraction):
    with pytest.raises(InputError, match="validation must be a fraction of the rows between 0 and"):
        split_parts(classes(9, 9), validation=fraction)
    with pytest.raises(InputError, match="test must be a fraction"):
        split_parts(classes(9, 9), test=fraction)


def test_fractions_must_leave_training_rows():
    with pytest.raises(InputError, match=r"0\.5 and test 0\.5 leave no training rows"):
        split_parts(classes(9, 9), validation=0.5, test=0.5)


def test_too_few_rows_of_a_class_name_the_class():
    with pytest.raises(InputError, match=r"validation and test\): class '1' \(2 rows\), with"):
        split_parts(classes(9, 2))
    with pytest.raises(InputError, match=r"too few rows .* the data \(1 row\)"):
        split_parts(Dataset.from_arrays([[1.0]], [0.5]))


def test_separate_parts_keep_their_order():
    targets = torch.tensor([0, 1] * 30)
    made = Dataset.from_arrays(torch.arange(60.0).unsqueeze(1), targets)
    apart = replace(made, part_sizes=(30, 10, 20))
    train, validation, test = split_parts(apart)
    assert sorted(train.tolist()) == list(range(30))
    assert validation.tolist() == list(range(30, 40))
    assert test.tolist() == list(range(40, 60))
    train, validation, test = split_parts(replace(made, part_sizes=(50, 10, 0)))
    assert validation.tolist() == list(range(50, 60))
    assert len(test) == 10
    assert made.targets[test].tolist().count(0) == 5
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(50))


def test_separate_parts_need_fewer_rows():
    made = Dataset.from_arrays(torch.arange(8.0).unsqueeze(1), [0, 1, 0, 1, 0, 1, 0, 1])
    assert len(split_parts(replace(made, part_sizes=(2, 2, 4)))[0]) == 2
    with pytest.raises(InputError, match=r"too few rows .*: class '0' \(1 row\), class '1'"):
        split_parts(replace(made, part_sizes=(2, 6, 0)))


def test_classes_are_shuffled_one_after_another():
    targets = torch.randint(0, 5, (1000,), generator=torch.Generator().manual_seed(0))
    test_rows = split_parts(Dataset.from_arrays(torch.zeros(1000, 1), targets))[2]
    generator = create_generator(0, RandomStream.SPLIT)
    members = (targets == 0).nonzero().flatten()
    first = members[torch.randperm(len(members), generator=generator)]
    count = max(1, round(len(members) * 0.2))
    assert set(first[-count:].tolist()) == {row for row in test_rows.tolist() if targets[row] == 0}


def test_small_classes_are_listed_with_advice():
    with pytest.raises(InputError) as refused:
        split_parts(classes(9, 1, 2, 9))
    said = str(refused.value)
    assert "class '1' (1 row), class '2' (2 rows), with the fractions" in said
    assert "data.validation_path and data.test_path" in said
    with pytest.raises(InputError, match=r"class '1' \(4 rows\).* 0.45 for test.* smaller"):
        split_parts(classes(9, 4), validation=0.45, test=0.45)


def test_small_test_set_is_reported(caplog):
    split_dataset(classes(10, 10), validation=0.2, test=0.2, seed=0)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "the test has only 4 rows, of 20 in arrays" in said[0]
    split_dataset(classes(20, 20), validation=0.2, test=0.2, seed=0)
    assert len(caplog.records) == 1


def numbers(*key):
    return tuple(torch.rand(4, generator=create_generator(*key)).tolist())


def test_same_key_gives_the_same_numbers():
    assert numbers(7, RandomStream.ORDER, 2) == numbers(7, RandomStream.ORDER, 2)


def test_seeds_streams_and_epochs_give_different_numbers():
    keys = [
        (seed, stream, epoch) for seed in range(4) for stream in RandomStream for epoch in range(4)
    ]
    assert len({numbers(*key) for key in keys}) == len(keys)


def test_negative_seed_is_rejected():
    with pytest.raises(InputError, match="seed must be a whole number"):
        create_generator(-1, RandomStream.SPLIT)
