"""A stored run is judged by rows it has never seen, as its own test judged it."""

import pytest
import torch

from brainnet import fit, load
from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Diabetes, Moons
from brainnet.errors import InputError
from brainnet.inference.evaluate import evaluate
from brainnet.learning.loss import BinaryCrossEntropy, MeanSquaredError
from brainnet.structure.network import Network
from brainnet.training.fit import train


@pytest.fixture
def moons():
    return DataModule(Moons(rows=100), batch_size=10)


@pytest.fixture
def start(tmp_path):
    """Start a short run, unless told otherwise of `Network([2, 8, 1])` on the moons."""

    def started(network=None, data=None, *, loss=None, epochs=2):
        return train(
            network or Network([2, 8, 1], generator=torch.Generator().manual_seed(0)),
            data or DataModule(Moons(rows=100), batch_size=10),
            loss=loss or BinaryCrossEntropy(),
            optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
            folder=tmp_path / "run",
            trainer={"max_epochs": epochs, "accelerator": "cpu"},
            progress=False,
        )

    return started


def test_agrees_with_the_test_at_the_end_of_the_run(start, moons):
    result = start()
    network = Network([2, 8, 1])
    found = evaluate(result.folder, network, moons, BinaryCrossEntropy())
    tests = {tag: value for tag, value in result.metrics.items() if tag.endswith("/test")}
    assert found.metrics == pytest.approx(tests)
    assert torch.equal(found.confusion, result.confusion)
    assert found.checkpoint == result.folder / "checkpoints" / "best.ckpt"
    right = (found.answers == found.truths).double().mean().item()
    assert found.metrics["accuracy/test"] == pytest.approx(right)


@pytest.mark.parametrize("numbers", [torch.float64, torch.bfloat16])
def test_judges_in_the_numbers_of_the_network(start, numbers):
    data = DataModule(Diabetes())
    run = start(Network([10, 1]), data, loss=MeanSquaredError(), epochs=10).folder
    exact = evaluate(run, Network([10, 1]), data, MeanSquaredError())
    found = evaluate(run, Network([10, 1], dtype=numbers), data, MeanSquaredError())
    assert found.outputs.dtype == numbers
    assert found.metrics == pytest.approx(exact.metrics, rel=0.05)


def test_other_data_are_scaled_as_the_runs_own(start, moons):
    result = start()
    other = DataModule(Moons(rows=400, noise=0.3), seed=9)
    found = evaluate(result.folder, Network([2, 8, 1]), other, BinaryCrossEntropy())
    assert other.scaling == moons.scaling
    outputs = result.network(moons.scaling.apply(other.dataset.inputs[other._split.test]))
    assert torch.equal(found.outputs, outputs)


def test_numbers_are_judged_by_r2(start):
    data = DataModule(Diabetes())
    result = start(Network([10, 1]), data, loss=MeanSquaredError(), epochs=10)
    found = evaluate(result.folder, Network([10, 1]), data, MeanSquaredError())
    assert found.confusion is None
    assert found.metrics == pytest.approx(
        {tag: result.metrics[tag] for tag in ("loss/test", "r2/test")}
    )


def test_other_columns_are_said_in_words(start):
    result = start()
    other = DataModule("breast_cancer")
    with pytest.raises(InputError, match="expects 2 inputs; got 30"):
        evaluate(result.folder, Network([2, 8, 1]), other, BinaryCrossEntropy())


def test_a_folder_that_is_no_run_is_said_in_words(tmp_path, moons):
    with pytest.raises(InputError, match="is no run"):
        evaluate(tmp_path, Network([2, 8, 1]), moons, BinaryCrossEntropy())


def test_the_mean_absolute_error_is_in_the_unit_of_the_numbers(tmp_path):
    data = DataModule("diabetes")
    result = fit(Network([10, 1]), data, folder=tmp_path / "run", epochs=2, progress=False)
    found = evaluate(result.folder, Network([10, 1]), data, MeanSquaredError())
    trained = load(result.folder)
    rows, measured = data.row_indices("test"), Diabetes().load(0)  # of the module's own are scaled
    said = trained.predict(measured.inputs[rows])["prediction"]
    right = measured.targets[rows, 0].numpy()
    assert list(found.errors) == list(data.target_names)
    assert next(iter(found.errors.values())) == pytest.approx(abs(said - right).mean(), rel=1e-4)
