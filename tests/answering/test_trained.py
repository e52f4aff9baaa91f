"""A loaded run answers as its network did at the end of training, to the bit."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet import load
from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Diabetes, Digits, Iris, Moons
from brainnet.errors import InputError
from brainnet.inference.evaluate import evaluate
from brainnet.learning.loss import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from brainnet.structure.network import Network
from brainnet.training.fit import fit

SOURCES = {
    "digits": (Digits(), [64, 8, 10], CrossEntropy()),
    "moons": (Moons(rows=200), [2, 8, 1], BinaryCrossEntropy()),
    "diabetes": (Diabetes(), [10, 4, 1], MeanSquaredError()),
}


def fitted(folder, network, data, **options):
    options = {"epochs": 2, "observe": "off", "progress": False, **options}
    return fit(network, data, folder=folder / "run", **options)


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    """A run on the irises, made once."""
    options = {"epochs": 20, "learning_rate": 0.03}  # from any first weights three kinds are told
    return fitted(tmp_path_factory.mktemp("iris"), Network([4, 8, 3]), "iris", **options)


@pytest.fixture(scope="module")
def trained(iris):
    return load(iris.folder)


@pytest.fixture(scope="module")
def rows():
    """The irises as measured, as a DataFrame."""
    data = Iris().load(0)
    return pd.DataFrame(data.inputs.numpy(), columns=list(data.input_names))


@pytest.mark.parametrize("name", SOURCES)
def test_answers_are_those_at_the_end_of_training_to_the_bit(tmp_path, name):
    source, sizes, loss = SOURCES[name]
    data = DataModule(source)
    raw = DataModule(source).dataset.inputs[data.row_indices("test").long()]
    result = fitted(tmp_path, Network(sizes), data)
    at_the_end = result.network(data.take("test")[0]).detach()
    trained = load(result.folder)
    assert torch.equal(trained.outputs(raw), at_the_end)
    frame = pd.DataFrame(raw.double().numpy(), columns=list(data.input_names))
    assert torch.equal(trained.outputs(frame), at_the_end)
    judged = evaluate(result.folder, Network(sizes), data, loss)
    assert torch.equal(judged.outputs, at_the_end)


def test_rows_of_any_form_are_answered_alike(trained, rows):
    expected = trained.outputs(rows)
    forms = [
        rows.to_numpy(),
        np.asfortranarray(rows.to_numpy()),
        torch.tensor(rows.to_numpy()).double(),
        rows.to_numpy().tolist(),
        dict(rows[rows.columns[::-1]]),
        rows.to_dict("records"),
        rows.assign(more="a word").iloc[:, ::-1],
    ]
    for form in forms:
        assert torch.equal(trained.outputs(form), expected)


def test_a_single_row_may_be_a_mapping_of_numbers(trained, rows):
    one = trained.predict(rows.iloc[0].to_dict())
    assert one.shape == (1, 4)
    assert one.iloc[0, 1:].astype(float).tolist() == pytest.approx(
        trained.predict(rows).iloc[0, 1:].tolist(), abs=1e-5
    )


def test_an_answer_is_the_likeliest_class_by_name_with_a_probability_of_each(trained, rows):
    moved = rows.set_axis(range(1000, 1150))
    found = trained.predict(moved)
    names = [f"probability {name}" for name in ("setosa", "versicolor", "virginica")]
    assert list(found.columns) == ["prediction", *names]
    assert found.index.equals(moved.index)
    shares = trained.outputs(rows).softmax(dim=1)
    assert torch.equal(torch.tensor(found[names].to_numpy()), shares)
    assert torch.equal(trained.probabilities(rows), shares)
    likeliest = found[names].to_numpy().argmax(axis=1)
    assert found["prediction"].tolist() == [trained.class_names[place] for place in likeliest]
    assert len(set(found["prediction"])) == 3


def test_numbers_are_answered_in_their_own_units(tmp_path):
    data = Diabetes().load(0)
    trained = load(fitted(tmp_path, Network([10, 4, 1]), data).folder)
    found = trained.predict(data.inputs)
    assert list(found.columns) == ["prediction"]
    assert trained.probabilities(data.inputs) is None
    learnt = data.targets[DataModule(data).row_indices("train"), 0].double()
    spread, mean = torch.std_mean(learnt, correction=0)
    expected = trained.outputs(data.inputs)[:, 0] * spread + mean
    assert found["prediction"].to_numpy() == pytest.approx(expected.numpy(), rel=1e-5)


def test_several_numbers_have_a_column_each(tmp_path):
    inputs = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    result = fitted(tmp_path, Network([2, 4, 2]), (inputs, torch.cat([inputs, inputs], 1)[:, 1:3]))
    found = load(result.folder).predict(inputs)
    assert list(found.columns) == ["prediction target_0", "prediction target_1"]


def test_yes_or_no_has_a_probability_of_both(tmp_path):
    data = Moons(rows=100).load(0)
    trained = load(fitted(tmp_path, Network([2, 4, 1]), data).folder)
    found = trained.predict(data.inputs)
    both = found.iloc[:, 1:].to_numpy()
    assert both.sum(axis=1) == pytest.approx(1)
    assert (found["prediction"] == trained.class_names[1]).tolist() == (both[:, 1] > 0.5).tolist()


def test_many_threads_are_answered_as_one(iris):
    data = Iris().load(0)
    trained = load(iris.folder)
    parts = [data.inputs.roll(shift, 0) for shift in range(64)]
    expected = [trained.outputs(part) for part in parts]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(trained.outputs, parts * 4))
    assert all(map(torch.equal, found, expected * 4))
    assert not trained.network.training


def test_no_rows_have_no_answers(trained, rows):
    found = trained.predict(rows[:0])
    assert found.shape == (0, 4)
    assert list(found.columns) == list(trained.predict(rows).columns)


def test_is_shown_in_a_line(trained):
    assert repr(trained).endswith("best.ckpt: multiclass, 4 inputs, 3 classes)")


def test_weights_of_64_bits_keep_them(tmp_path, rows):
    data = DataModule(Iris())
    network = Network([4, 5, 3], dtype=torch.float64)
    result = fitted(tmp_path, network, data, trainer={"precision": "64-true"})
    trained = load(result.folder)
    assert next(trained.network.parameters()).dtype == torch.float64
    raw = DataModule(Iris()).dataset.inputs[data.row_indices("test").long()]
    expected = result.network(data.take("test")[0].double()).detach()
    assert torch.equal(trained.outputs(raw), expected)


def test_weights_of_16_bits_answer_in_numbers_that_pandas_knows(tmp_path, rows):
    result = fitted(tmp_path, Network([4, 5, 3]), "iris", trainer={"precision": "bf16-true"})
    trained = load(result.folder)
    assert trained.outputs(rows).dtype == torch.bfloat16
    found = trained.predict(rows)
    assert found.iloc[:, 1:].to_numpy().sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"petal length (cm)": [1.0]}, r"lack the columns sepal length \(cm\), sepal width"),
        (pd.DataFrame({"sepal_length (cm)": [1.0]}), r"Did you mean sepal_length \(cm\)\?"),
        ([[1.0, 2.0]], r"must have shape \(rows, 4\); got \(1, 2\)"),
        ([1.0, 2.0, 3.0, 4.0], r"Put a single row into a list: \[row\]"),
        (torch.zeros(2, 2, 4), r"got \(2, 2, 4\)"),
        ([[1.0, 2.0, 3.0, "tall"]], r"column 'petal width \(cm\)' holds numbers.*'tall'"),
        ([[1.0, 2.0, float("nan"), 4.0]], r"'petal length \(cm\)' is empty in row 1"),
        ([[1.0, 2.0, float("inf"), 4.0]], "finite numbers"),
        ([[1.0], [2.0, 3.0]], "which NumPy cannot read"),
    ],
)
def test_rows_that_do_not_fit_are_told(trained, rows, said):
    with pytest.raises(InputError, match=said):
        trained.predict(rows)
