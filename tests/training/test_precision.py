import functools
import logging

import pytest
import torch

from brainnet.config.schema import PRECISIONS
from brainnet.errors import InputError
from brainnet.structure.network import Network
from brainnet.training.fit import fit

NUMBERS = {"64-true": torch.float64, "bf16-true": torch.bfloat16, "16-true": torch.float16}


def run(precision, folder, data="moons", optimizer="sgd"):
    sizes = {"moons": [2, 8, 1], "diabetes": [10, 8, 1], "iris": [4, 8, 3]}[data]
    network = Network(sizes, generator=torch.Generator().manual_seed(0))
    return fit(
        network,
        data,
        epochs=2,
        optimizer=optimizer,
        learning_rate=0.1 if optimizer == "sgd" else 0.01,
        trainer={"precision": precision, "accelerator": "cpu"},
        folder=folder,
        progress=False,
    )


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """Trains in 32 bits, once for each kind of data."""
    return functools.cache(lambda data: run("32-true", tmp_path_factory.mktemp(data) / "run", data))


@pytest.mark.parametrize("data", ["moons", "diabetes"])
@pytest.mark.parametrize("precision", [each for each in PRECISIONS if each != "16-mixed"])
def test_every_precision_trains_and_draws(tmp_path, caplog, exact, precision, data):
    with caplog.at_level(logging.WARNING, "brainnet.training.plot_callback"):
        result = run(precision, tmp_path / "run", data)
    assert result.state == "finished"
    assert not [each for each in caplog.records if "pictures" in each.name]
    numbers = NUMBERS.get(precision, torch.float32)
    assert {weight.dtype for weight in result.network.parameters()} == {numbers}
    assert result.metrics["loss/test"] == pytest.approx(exact(data).metrics["loss/test"], rel=0.05)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_a_cpu_cannot_do_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"16-mixed needs a GPU.*bf16-mixed"):
        run("16-mixed", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_an_eps_that_vanishes_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"eps=1e-08 is 0 in 16-bit.*optimizer\.eps=1e-4"):
        run("16-true", tmp_path / "run", optimizer="adam")
    assert list(tmp_path.iterdir()) == []
    kept = run("16-true", tmp_path / "run", optimizer=lambda p: torch.optim.Adam(p, 0.01, eps=1e-4))
    assert kept.metrics["loss/test"] < 1
