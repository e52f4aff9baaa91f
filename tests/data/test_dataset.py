"""Whether a data set accepts what fits together, and says clearly what does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from brainnet.data.dataset import Dataset
from brainnet.data.preprocessing import TableEncoder
from brainnet.errors import InputError


def dataset(**changes):
    parts = {
        "name": "two rows",
        "task": "binary",
        "inputs": torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        "targets": torch.tensor([0, 1]),
        "input_names": ("a", "b", "c"),
        "class_names": ("no", "yes"),
    }
    return Dataset(**{**parts, **changes})


def test_counts_follow_from_the_tensors():
    assert len(dataset()) == 2
    assert dataset().target_columns == 2
    numbers = {"task": "regression", "targets": torch.zeros(2, 5), "class_names": ()}
    assert dataset(**numbers).target_columns == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "ranking"}, "multiclass, binary, regression"),
        ({"inputs": torch.zeros(2, 3, 1)}, r"reshape\(len\(inputs\), -1\)"),
        ({"inputs": torch.zeros(0, 3)}, "at least one of each"),
        ({"inputs": torch.zeros(2, 3).double()}, "float64"),
        ({"inputs": torch.zeros(2, 3, device="meta")}, "lies on the CPU"),
        ({"input_names": ("a",)}, "3 inputs need as many input_names; got 1"),
        ({"image_shape": (2, 2)}, "2 x 2 makes 4 inputs, but a row has 3"),
        ({"image_shape": (3, 2, 2)}, "3 x 2 x 2 makes 12 inputs, but a row has 3"),
        ({"parts": (1, 1, 1)}, r"2 together; got \(1, 1, 1\)"),
        ({"parts": (0, 1, 1)}, r"got \(0, 1, 1\)"),
        (
            {
                "task": "regression",
                "targets": torch.zeros(2, 1),
                "class_names": (),
                "target_names": ("a", "b"),
            },
            "1 targets need as many target_names; got 2",
        ),
        ({"targets": torch.tensor([0, 1, 1])}, "2 rows of inputs and 3 of targets"),
        ({"targets": torch.tensor([0.0, 1.0])}, "must be int64"),
        ({"targets": torch.tensor([0, 2])}, "from 0 to 1; got 0 to 2"),
        ({"targets": torch.tensor([-1, 1])}, "got -1 to 1"),
        ({"class_names": ("a", "b", "c")}, "exactly two class_names; got 3"),
        ({"task": "multiclass", "class_names": ("a",)}, "at least two class_names; got 1"),
        ({"task": "regression"}, r"float32 of shape \(rows, targets\)"),
        ({"task": "regression", "targets": torch.zeros(2, 1)}, "leave class_names empty"),
        (
            {"task": "regression", "targets": torch.zeros(3, 1), "class_names": ()},
            "2 rows of inputs and 3 of targets",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        dataset(**changes)


def test_cells_that_are_no_numbers_are_named():
    inputs = torch.zeros(2, 3)
    inputs[0, 1], inputs[1, 2] = torch.nan, -torch.inf
    with pytest.raises(InputError) as raised:
        dataset(inputs=inputs)
    assert "2 of 6 cells are not: row 0 column 'b' (nan), row 1 column 'c' (-inf)." in str(
        raised.value
    )


def test_of_many_bad_cells_three_are_named():
    with pytest.raises(InputError, match=r"6 of 6 .* row 0 column 'c' \(nan\), \.\.\."):
        dataset(inputs=torch.full((2, 3), torch.nan))


def test_targets_to_predict_must_be_finite_too():
    targets = torch.tensor([[1.0], [torch.nan]])
    with pytest.raises(InputError, match=r"targets must be finite .* row 1 column '0'"):
        dataset(task="regression", targets=targets, class_names=())


def test_arrays_of_any_number_type_become_float32():
    made = Dataset.from_arrays(np.array([[1, 2], [3, 4], [5, 6]], dtype=np.int8), [2, 0, 1])
    assert made.task == "multiclass"
    assert made.inputs.dtype == torch.float32
    assert made.inputs.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert made.targets.tolist() == [2, 0, 1]
    assert made.input_names == ("input_0", "input_1")
    assert made.class_names == ("0", "1", "2")


def test_true_and_false_are_two_classes():
    made = Dataset.from_arrays([[0.0], [1.0]], [True, False])
    assert made.task == "binary"
    assert made.targets.tolist() == [1, 0]


def test_the_task_can_be_told():
    inputs = [[0.0], [1.0], [2.0]]
    assert Dataset.from_arrays(inputs, [7, 3, 5], task="regression").targets.tolist() == [
        [7],
        [3],
        [5],
    ]
    assert Dataset.from_arrays(inputs, [0, 1, 1], task="multiclass").task == "multiclass"


def test_later_changes_of_the_array_stay_outside():
    inputs, targets = np.zeros((2, 1), dtype=np.float32), torch.tensor([0, 1])
    made = Dataset.from_arrays(inputs, targets)
    inputs[0], targets[0] = 9, 1
    assert made.inputs.tolist() == [[0], [0]]
    assert made.targets.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("inputs", "targets", "words"),
    [
        ([["red"], ["blue"]], [0, 1], r"got words \('red', 'blue' \.\.\.\)"),
        ([], [], "no rows"),
        (torch.zeros(0, 3), torch.zeros(0), "no rows"),
        (torch.zeros(3, 1), [], "no rows"),
        ([[1.0], [2.0, 3.0]], [0, 1], "rows of one length"),
        ([[1j], [2.0]], [0, 1], "complex"),
        ([[1.0], [2.0]], [1, 2], "no gap; got 1, 2. Renumber them"),
        ([[1.0], [2.0]], [0, 0], "at least two classes"),
        ([[1.0]] * 9, list(range(10, 19)), r"got 10, 11, 12, 13, 14, 15, \.\.\."),
        (torch.ones(2, 1, dtype=torch.complex64), [0, 1], "complex64"),
        (5.0, [0, 1], r"of shape \(\)"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(inputs, targets, words):
    with pytest.raises(InputError, match=words):
        Dataset.from_arrays(inputs, targets)


def test_pictures_may_stay_bytes():
    made = dataset(inputs=torch.zeros(2, 3, dtype=torch.uint8), image_shape=(3, 1, 1))
    assert made.inputs.dtype == torch.uint8


def test_numbers_may_be_missing_where_they_are_imputed():
    inputs = torch.tensor([[1.0, torch.nan, 3.0], [4.0, 5.0, 6.0]])
    columns = TableEncoder.numbers("abc")
    with pytest.raises(InputError, match=r"row 0 column 'b' \(nan\)"):
        dataset(inputs=inputs, preparation=columns)
    imputing = replace(columns, imputes=True)
    assert dataset(inputs=inputs, preparation=imputing).inputs is inputs
    inputs[1, 2] = torch.inf
    with pytest.raises(InputError, match=r"1 of 6 cells are not: row 1 column 'c' \(inf\)"):
        dataset(inputs=inputs, preparation=imputing)


def test_bad_cells_of_a_long_table_are_named_by_their_row():
    inputs = torch.zeros(70_000, 1)
    inputs[69_999] = torch.nan
    with pytest.raises(InputError, match="row 69999 column 'a'"):
        dataset(inputs=inputs, targets=torch.arange(70_000) % 2, input_names=("a",))
