"""How a run learned is read from its folder; what is not there is left open."""

import json
from pathlib import Path

import pytest

from brainnet import fit, load
from brainnet.inference.explain_row import History
from brainnet.structure.network import Network
from brainnet.training.run_directory import RunDirectory


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("iris") / "run"
    options = {"optimizer": "sgd", "learning_rate": 0.05, "epochs": 2}
    return load(fit(Network([4, 6, 3]), "iris", folder=folder, progress=False, **options).folder)


def test_the_facts_are_those_of_configuration_and_summary(trained):
    facts = trained.account().history.facts()
    assert (facts.name, facts.checkpoint) == (str(trained.run.folder.path), "best.ckpt")
    assert (facts.optimizer, facts.learning_rate, facts.schedule) == ("GradientDescent", 0.05, None)
    summary = trained.run.folder.read_summary()
    assert (facts.steps, facts.epochs) == (summary["steps"], 2)
    assert facts.metrics["accuracy/test"] == summary["metrics"]["accuracy/test"]


def test_the_readings_name_the_layers_as_the_network_does(trained):
    readings = trained.account().history.readings(trained.network)
    assert readings[0].step == 0
    assert {tuple(layer.name for layer in each.layers) for each in readings} == {
        ("hidden_1", "output")
    }


def test_why_a_training_failed_is_known(tmp_path):
    said = {"state": "failed", "reason": "the loss became nan at step 1"}
    for state, failure in (("failed", said["reason"]), ("finished", None)):
        (tmp_path / "summary.json").write_text(json.dumps(said | {"state": state}))
        assert History(RunDirectory(tmp_path), {}, Path("last.ckpt")).facts().failure == failure


def test_of_an_empty_folder_nothing_is_known(tmp_path):
    history = History(RunDirectory(tmp_path), {}, Path("last.ckpt"))
    facts = history.facts()
    assert (facts.name, facts.checkpoint, facts.steps) == (str(tmp_path), "last.ckpt", None)
    assert (facts.optimizer, dict(facts.metrics)) == (None, {})
    assert history.readings(Network([2, 1])) == ()
