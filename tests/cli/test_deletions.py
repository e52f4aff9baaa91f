"""What `~` may take out: what was added, never what a run is made of."""

import pytest

from brainnet.cli.main import main
from brainnet.config.compose import Composer, parse
from brainnet.config.schema import leaves, to_plain
from brainnet.errors import InputError


def composed(*words):
    return to_plain(Composer.over(parse(words)).compose(words))


def has(config, path):
    return any(f"{key}.".startswith(f"{path}.") for key, _ in leaves(config))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("~seed", "Instead of ~seed, set seed=... (a whole number"),
        ("~network.hidden", "set network.hidden=... (a list"),
        ("~trainer.devices", "set trainer.devices="),
        ("~observe._target_", "set observe._target_="),
        ("~loss._target_", "loss._target_ is null already"),
        ("~network.hidden=[64,32]", "Instead of ~network.hidden=[64,32], set network.hidden=..."),
        ("~trainer.max_epochs", "a default that nobody sees"),
        ("~data.batch_size", "a default that nobody sees"),
        ("~name", "name is null already"),
        ("~resume", "go on with a run: its folder, latest, or a checkpoint"),
        ("~paths", "paths is missing: choose one"),
        ("~paths.runs", "the folder that runs are written to"),
        ("~network", "network is missing: choose one"),
        ("~hydra", "takes away what trainings are started with"),
        ("hydra=null", "takes away what trainings are started with"),
        ("hydra/launcher=null", "takes away what trainings are started with"),
        ("~nothing", "there is no key nothing"),
    ],
)
def test_what_is_said(capsys, empty_folder, word, said):
    assert main(["train", word]) == 2
    assert said in capsys.readouterr().err
    assert list(empty_folder.iterdir()) == []


def test_a_sweep_refuses_too(capsys):
    assert main(["train", "-m", "seed=1,2", "~network.bias"]) == 2
    assert "network.bias cannot be left out" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["~name", "~paths", "~optimizer.eps", "~data.test", "~logger"])
def test_of_a_run_nothing_is_taken_away(capsys, run, word):
    assert main(["train", f"resume={run}", "trainer.max_epochs=3", word]) == 2
    assert f"resume takes nothing away from a run: leave {word} out" in capsys.readouterr().err
    assert main(["evaluate", str(run), word]) == 2
    assert f"evaluate takes nothing away from a run: leave {word} out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["+optimizer.amsgrad=true", "~optimizer.amsgrad"], "optimizer.amsgrad"),
        (["debug=limit", "~trainer.limit_val_batches"], "trainer.limit_val_batches"),
        (["callbacks=early_stopping", "~callbacks.early_stopping"], "callbacks.early_stopping"),
        (["logger=csv", "~logger"], "logger"),
        (["network._target_=my.Net", "~network.hidden"], "network.hidden"),
    ],
)
def test_what_was_added_may_go(words, path):
    assert has(composed(*words[:-1]), path)
    assert not has(composed(*words), path)


def test_how_rows_are_split_stays_whatever_the_class():
    with pytest.raises(InputError, match=r"set data\.test"):
        composed("data._target_=brainnet.data.datasets.Wine", "~data.test")


OWN = """\
defaults:
  - _self_
  - data: iris
  - network: mlp
  - activation: relu
  - loss: auto
  - optimizer: adam
  - schedule: constant
  - trainer: cpu
  - observe: "off"
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("paths: {runs: runs}", "seed is missing: seed=... (a whole number"),
        ("seed: 1\npaths: {}", "paths.runs is missing: paths.runs=... (a text"),
        ("seed: 1", "paths is missing: choose one"),
    ],
)
def test_a_file_to_start_from_needs_what_every_run_does(capsys, empty_folder, more, said):
    (empty_folder / "mine").mkdir()
    (empty_folder / "mine" / "mine.yaml").write_text(f"{OWN}{more}\n")
    assert main(["train", "--config-dir", "mine", "--config-name", "mine"]) == 2
    assert said in capsys.readouterr().err


def test_a_word_that_yaml_takes_for_false(capsys, empty_folder):
    (empty_folder / "mine").mkdir()
    (empty_folder / "mine" / "mine.yaml").write_text(OWN.replace('"', ""))
    assert main(["train", "--config-dir", "mine", "--config-name", "mine"]) == 2
    assert "such as off and no need quotes" in capsys.readouterr().err
