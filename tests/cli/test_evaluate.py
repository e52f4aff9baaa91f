"""`brainnet evaluate`: whatever is judged, it is by rows that the network never saw."""

import functools
from pathlib import Path

import pytest
import torch
import yaml

from brainnet.cli.main import main
from brainnet.data.datasets import Iris
from brainnet.learning.learning_rate import SCHEDULES
from brainnet.structure.network import Network
from brainnet.training.fit import fit

FIRST = ("data=xor", "data.rows=200", "trainer.max_epochs=1", "trainer=cpu", "observe=off")


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A run on generated rows, made once."""
    folder = tmp_path_factory.mktemp("generated") / "run"
    assert main(["train", *FIRST, f"hydra.run.dir={folder}", f"paths.runs={folder.parent}"]) == 0
    return str(folder)


@pytest.mark.parametrize(
    "words",
    [
        ["data.test=0.8"],
        ["data.validation=0.3"],
        ["data.rows=300"],
        ["data.rows=300", "data.test=0.5"],
    ],
)
def test_generated_rows_are_not_split_anew_without_another_seed(capsys, generated, words):
    assert main(["evaluate", generated, "data=xor", "data.rows=200", *words]) == 2
    assert "another seed as well" in capsys.readouterr().err


def test_with_another_seed_other_rows_are_split_as_one_likes(capsys, generated):
    words = ["data=xor", "data.rows=100", "data.test=0.5", "seed=1"]
    assert main(["evaluate", generated, *words]) == 0
    assert "50 rows of xor" in capsys.readouterr().out


@pytest.mark.parametrize(
    "word", ["data.batch_size=7", "data.normalize=none", "data.normalize_targets=false"]
)
def test_options_that_would_do_nothing_are_refused(capsys, generated, word):
    assert main(["evaluate", generated, word]) == 2
    assert "has no place here" in capsys.readouterr().err


def fitted(data, network=None, **options):
    network = network or Network([4, 3])
    return str(fit(network, data, epochs=1, progress=False, folder="run", **options).folder)


def partial(parameters):
    return torch.optim.Adam(parameters)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": functools.partial(torch.optim.Adam, lr=0.01)},
        {"optimizer": partial},
        {"schedule": lambda optimizer, steps: torch.optim.lr_scheduler.StepLR(optimizer, steps)},
        {"schedule": "cosine"},
    ],
    ids=["partial", "function", "lambda", "name"],
)
def test_a_run_from_python_is_judged_whatever_it_was_trained_with(capsys, options):
    assert main(["evaluate", fitted("iris", **options)]) == 0
    assert "30 rows of iris" in capsys.readouterr().out


def test_a_run_on_arrays_needs_data_beside_it(capsys):
    rows = Iris().load(0)
    run = fitted((rows.inputs, rows.targets))
    assert main(["evaluate", run]) == 2
    assert "the data of this run (arrays) was handed over in Python" in capsys.readouterr().err
    assert main(["evaluate", run, "data=iris"]) == 0


def test_a_network_that_was_handed_over_is_judged_in_python(capsys):
    run = fitted("iris", torch.nn.Sequential(torch.nn.Linear(4, 3)))
    assert main(["evaluate", run]) == 2
    assert "evaluate(RUN, network, data, loss)" in capsys.readouterr().err


def test_a_run_with_a_function_is_resumed_in_python(capsys):
    run = fitted("iris", optimizer=partial)
    assert main(["train", f"resume={run}", "trainer.max_epochs=2"]) == 2
    assert "test_evaluate.partial) was handed over in Python" in capsys.readouterr().err


@pytest.mark.parametrize("schedule", ["constant", *SCHEDULES])
def test_a_run_with_a_schedule_by_name_is_resumed_from_the_command_line(capsys, schedule):
    run = fitted("iris", schedule=schedule)
    code = main(["train", f"resume={run}", "trainer.max_epochs=2"])
    err = capsys.readouterr().err
    # A schedule that was planned to the end of the run is read as such, and not stretched.
    follows = schedule != "constant"
    assert (code, "was planned to its end" in err) == ((2, True) if follows else (0, False)), err


@pytest.mark.parametrize("key", ["seed", "data", "network", "loss"])
def test_a_stored_configuration_without_a_part_is_told(capsys, run, key):
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config[key]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["evaluate", "latest"]) == 2
    assert f"{key} is missing" in capsys.readouterr().err


def test_what_a_judgement_does_not_need_may_be_missing(run):
    path = Path(run / "config.yaml")
    config = yaml.safe_load(path.read_text())
    for key in ("optimizer", "schedule", "trainer", "observe", "name"):
        del config[key]
    path.write_text(yaml.safe_dump(config))
    assert main(["evaluate", "latest"]) == 0


def test_an_option_that_is_none_is_told_by_its_own_help(capsys):
    assert main(["evaluate", "latest", "--jsn"]) == 2
    said = capsys.readouterr().err
    assert "there is no option --jsn. Did you mean --json?" in said
    assert "brainnet evaluate --help" in said
