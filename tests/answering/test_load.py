"""A stored run is loaded by its folder, its name or a file; what it cannot say is asked for."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from brainnet import load
from brainnet.data.datasets import Iris
from brainnet.data.table import Table
from brainnet.errors import InputError
from brainnet.structure.network import Network
from brainnet.training.fit import fit
from brainnet.training.run_directory import find_run


def fitted(folder, network, **options):
    options = {"epochs": 2, "observe": "off", "progress": False, **options}
    return fit(network, "iris", folder=folder / "run", **options)


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    """A run on the irises, made once."""
    return fitted(tmp_path_factory.mktemp("iris"), Network([4, 8, 3]))


@pytest.fixture(scope="module")
def rows():
    """The irises as measured."""
    return Iris().load(0).inputs


def test_the_last_checkpoint_and_a_file_are_loaded_as_well(iris, rows):
    last = load(iris.folder, checkpoint="last")
    assert last.checkpoint.name == "last.ckpt"
    named = load(iris.folder / "checkpoints" / "last.ckpt")
    assert torch.equal(named.outputs(rows), last.outputs(rows))
    assert torch.equal(load(find_run(iris.folder)).outputs(rows), load(iris.folder).outputs(rows))
    with pytest.raises(InputError, match="must be best or last; got 'first'"):
        load(iris.folder, checkpoint="first")


def test_a_network_of_ones_own_is_handed_over(tmp_path, rows):
    def own():
        return nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.ReLU(), nn.Linear(6, 3))

    result = fitted(tmp_path, own())
    with pytest.raises(InputError, match=r"handed over in Python.*load\(RUN, network=\.\.\.\)"):
        load(result.folder)
    trained = load(result.folder, network=own())
    result.network.eval()
    scaled = trained.inputs(rows)
    assert torch.equal(trained.outputs(rows), result.network(scaled).detach())
    with pytest.raises(InputError, match="weights of another network"):
        load(result.folder, network=nn.Sequential(nn.Linear(4, 3)))


class OwnLoss(nn.Module):
    def forward(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets)


def test_a_loss_of_ones_own_is_handed_over(tmp_path, rows):
    result = fitted(tmp_path, Network([4, 5, 3]), loss=OwnLoss())
    with pytest.raises(InputError, match=r"the loss of this run is a class of its own.*loss="):
        load(result.folder)
    trained = load(result.folder, loss=OwnLoss())
    assert trained.probabilities(rows) is None  # nobody says what its outputs mean
    assert list(trained.predict(rows).columns) == ["prediction"]


def test_a_damaged_or_missing_run_is_told(tmp_path, iris):
    with pytest.raises(InputError, match="there is no run"):
        load(tmp_path / "nothing")
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes((iris.folder / "checkpoints" / "best.ckpt").read_bytes()[:2000])
    with pytest.raises(InputError, match="damaged"):
        load(broken)


def test_loading_leaves_the_random_numbers_of_the_caller_alone(tmp_path):
    run = fit(Network([4, 3]), "iris", epochs=1, folder=tmp_path / "run", progress=False)
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    load(run.folder)
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("own", [False, True])
def test_a_network_that_takes_codes_for_amounts_is_noted_and_loaded(tmp_path, caplog, own):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"town": [f"town {place % 40}" for place in range(400)]})
    frame["answer"] = random.choice(["yes", "no"], 400)
    frame.to_csv(tmp_path / "towns.csv", index=False)
    network = nn.Sequential(nn.Linear(1, 2)) if own else Network([1, 2])
    data = Table(tmp_path / "towns.csv", "answer")
    run = fit(network, data, epochs=1, folder=tmp_path / "run", progress=False)
    assert "takes codes for amounts" in caplog.text
    trained = load(run.folder, network=nn.Sequential(nn.Linear(1, 2)) if own else None)
    assert len(trained.predict(frame)) == 400
    caplog.clear()
    fit(Network([1, 2], embeddings={0: 41}), data, epochs=1, folder=tmp_path / "b", progress=False)
    assert "takes codes for amounts" not in caplog.text


@pytest.mark.parametrize("change", [{"network": [1, 2]}, {"seed": "x"}, {"loss": "mine"}])
def test_a_damaged_configuration_is_told(tmp_path, change):
    result = fitted(tmp_path, Network([4, 8, 3]))
    path = result.folder / "checkpoints" / "best.ckpt"
    stored = torch.load(path, weights_only=True)
    stored["brainnet"]["config"].update(change)
    torch.save(stored, path)
    with pytest.raises(InputError, match=f"is damaged: {next(iter(change))} is"):
        load(result.folder)


def test_numbers_too_large_for_the_network_get_no_answer(tmp_path, caplog):
    network = Network([4, 8, 3], activation="relu")
    trained = load(fitted(tmp_path, network).folder)
    found = trained.predict([[5.1, 3.5, 1.4, 0.2], [3e38, -3e38, 3e38, 3e38]])
    assert found["prediction"].isna().tolist() == [False, True]
    assert "1 of 2 rows have no answer" in caplog.text
