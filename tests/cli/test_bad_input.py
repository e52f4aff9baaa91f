"""Whatever is typed wrong ends with exit code 2, one clear message, and nothing written."""

import os
from pathlib import Path

import pytest
import torch

from brainnet.cli.main import main


def refused(capsys, *words):
    """Run the command, hold that it was refused without a trace, and return what it said."""
    before = {path: path.stat().st_size for path in Path.cwd().rglob("*")}
    code = main([*words])
    out, err = capsys.readouterr()
    assert code == 2, err
    assert "Traceback" not in err
    assert err.startswith("brainnet: error: ")
    assert len(err.splitlines()) <= 6
    assert out == ""
    assert {path: path.stat().st_size for path in Path.cwd().rglob("*")} == before
    return err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("trian", "Did you mean train?"),
        ("train data=moon", "there is no data=moon. Did you mean moons?"),
        ("train optimizer=admn", "Did you mean adam?"),
        ("train observe=of", "Did you mean off?"),
        ("train optimizer=null", "optimizer is one of adagrad, adam"),
        ("train optimizer=", "optimizer is one of adagrad, adam"),
        ("train data=_module", "data is one of blobs"),
        ("train data=[moons,xor]", "data takes one choice"),
        ("train optimiser=sgd", "there is no key optimiser. Did you mean optimizer?"),
        ("train optimizer.lrr=1", "Did you mean optimizer.lr?"),
        ("train lr=1", "Did you mean optimizer.lr?"),
        ("train batch_size=8", "Did you mean data.batch_size?"),
        ("train +whatever=1", "there is no key whatever"),
        ("train trainer.overfit_batches=1", "no trainer sets overfit_batches: add it, +trainer.ov"),
        (
            "train +callbacks=early_stopping callbacks.early_stopping.patience=3",
            "callbacks is chosen already: type callbacks=early_stopping, without the +",
        ),
        ("train trainer=cpu trainer.devices=4096", "Set trainer.devices="),
        ("train +callbacks.patience=5", "callbacks.patience needs a class and its settings; got 5"),
        ("train +logger._target_=lightning.pytorch.loggers.CSVLogger", "+logger.mine._target_="),
        ("train optimizer.momentum=0.9", "momentum belongs to optimizer=rmsprop|sgd"),
        ("train data.path=my.csv", "path belongs to data=images|table"),
        ("train data.rows=10", "data=blobs|circles|moons"),
        ("train +optimizer.speed=3", "Adam has no such key"),
        ("train +trainer.max_epoch=3", "max_epochs"),
        ("train ~optimizer", "optimizer is missing"),
        ("train optimizer.lr=fast", "optimizer.lr needs a number above 0"),
        ("train optimizer.lr=", "optimizer.lr needs a number above 0"),
        ("train optimizer.lr=null", "got null"),
        ("train optimizer.lr=0", "optimizer.lr needs a number above 0"),
        ("train optimizer.lr=-0.1", "got -0.1"),
        ("train optimizer.lr=nan", "got nan"),
        ("train optimizer.lr=inf", "got inf"),
        ("train optimizer.lr=true", "got true"),
        ("train optimizer.betas=[0.9,1.0]", "optimizer.betas needs a list of 2"),
        ("train optimizer=sgd optimizer.nesterov=true", "Nesterov momentum requires a momentum"),
        ("train activation.width=0", "activation.width needs a number above 0"),
        ("train data.batch_size=0", "data.batch_size needs a whole number, 1 or more"),
        ("train data.batch_size=2.5", "got 2.5"),
        ("train data.validation=1", "data.validation needs"),
        ("train data.validation=0.6 data.test=0.6", "validation"),
        ("train data.normalize=max", "standard|minmax|none"),
        ("train data=moons data.rows=0", "data.rows needs"),
        ("train trainer.max_epochs=0", "trainer.max_epochs needs a whole number, 1 or more"),
        ("train trainer.max_epochs=-1", "got -1"),
        ("train trainer.precision=33", "32-true|bf16-mixed"),
        ("train trainer.devices=0", "trainer.devices needs"),
        ("train network.hidden=[]", "activation=identity for a linear model"),
        ("train network.hidden=", "network.hidden needs a list"),
        ("train network.hidden=8", "network.hidden needs a list"),
        ("train network.hidden=[8,0]", "got [8, 0]"),
        ("train network.hidden=[8,'']", "got [8, '']"),
        ("train network.hidden=[8,,8]", "cannot read 'network.hidden=[8,,8]'"),
        ("train network.hidden=[8", "cannot read 'network.hidden=[8'"),
        ("train word", "An override is key=value"),
        ("train =3", "cannot read"),
        ("train --mutlirun", "Did you mean --multirun?"),
        ("train --cfg", "expected one argument"),
        ("train --config-dir nowhere", "--config-dir needs a folder"),
        ("train --experimental-rerun=job.pickle", "would load a pickle"),
        ("train --config-name trian", "there is no trian. Did you mean train?"),
        ("train seed=-1", "seed needs a whole number"),
        ("train seed=4294967296", "seed needs a whole number"),
        ("train name=../out", "name needs letters"),
        ("train name=..", "the first a letter or digit (not latest), or null"),
        ("train paths.runs=", "that runs are written to); got nothing"),
        ("train activation=relu activation.width=2", "no key width; it has none. width belongs"),
        ("train +data.batchsize=3", "Did you mean batch_size?"),
        ("train network.hidden=[null,true]", "got [null, true]"),
        ("train network.hidden=[a]", "got [a]"),
        ("train name=latest", "not latest"),
        ("train name=${nothing}", "refers to what is not there"),
        ("train optimizer.lr=0.1,0.2", "add -m to run each"),
        ("train data=moons,xor", "add -m to run each"),
        ("train -m optimizer.lr=0.1,0", "got 0"),
        ("train -m data=xor,moon", "Did you mean moons?"),
        ("train network.inputs=3", "need 64"),
        ("train network.outputs=3", "need 10"),
        ("train data=diabetes loss=cross_entropy", "loss=auto"),
        ("train loss=binary_cross_entropy", "two classes"),
        ("train loss=huber", "Huber"),
        (
            "train callbacks=early_stopping callbacks.early_stopping.monitor=r2/test",
            "no such curve",
        ),
        ("train schedule=one_cycle optimizer=adagrad", "OneCycleLR"),
        ("train resume=nowhere", "there is no run nowhere"),
        ("train resume=latest", "there is no latest run"),
        ("train -m resume=latest seed=1,2", "leave -m out"),
        ("train network=custom", "network._target_ must be given"),
        ("train network._target_=no_such_package.Net", "there is no module no_such_package"),
        ("train network._target_=torch.load", "is not allowed: it is no class"),
        ("train network._target_=os.system", "is not allowed: it is no class"),
        ("train network._target_=subprocess.Popen", "Popen is no Module"),
        ("train activation._target_=torch.optim.Adam", "Adam is no Module"),
        ("train +network._partial_=true", "network._partial_ is not allowed"),
        ("train +network._args_=[1]", "network._args_ is not allowed"),
        ("train +hydra.callbacks.x._target_=torch.nn.ReLU +hydra.callbacks.x._args_=[]", "_args_"),
        ("evaluate nowhere", "there is no run nowhere"),
        ("evaluate .", "is no run"),
        ("evaluate latest", "there is no latest run"),
        ("evaluate data=moons", "evaluate needs a run"),
        ("evaluate a b", "evaluate needs a run"),
        ("evaluate latest -m", "evaluate takes no -m"),
        ("explain wieghts", "weights"),
    ],
)
def test_is_refused_with_one_message(capsys, words, said):
    assert said in refused(capsys, *words.split())


def test_a_gpu_where_there_is_none(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert "trainer=cpu" in refused(capsys, "train", "trainer=gpu")


def test_a_folder_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "paths.runs=FOLDER" in refused(capsys, "train", "paths.runs=file")
    assert "paths.runs=FOLDER" in refused(capsys, "train", "-m", "paths.runs=file", "seed=1,2")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_without_permission(capsys, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "paths.runs=FOLDER" in refused(capsys, "train", "paths.runs=locked")


def test_a_target_in_a_file_is_no_consent(capsys, tmp_path):
    group = tmp_path / "mine" / "network"
    group.mkdir(parents=True)
    (group / "evil.yaml").write_text("# Evil.\n_target_: os.system\ncommand: touch caught\n")
    said = refused(capsys, "train", "--config-dir", "mine", "network=evil")
    assert "network._target_=os.system is not allowed" in said
    assert "os comes with Python itself" in said
    assert "type it" not in said


@pytest.mark.parametrize(
    "hydra",
    [
        "callbacks:\n    evil:\n      _target_: os.system\n      command: touch caught\n",
        "job_logging:\n    root: {handlers: [evil]}\n    handlers:\n"
        "      evil: {class: subprocess.Popen, args: [touch, caught]}\n",
        "hydra_logging:\n    root: {handlers: [evil]}\n    handlers:\n"
        "      evil: {'()': os.system, command: touch caught}\n",
    ],
)
def test_a_file_cannot_make_hydra_itself_build_what_is_not_allowed(capsys, tmp_path, hydra):
    group = tmp_path / "mine" / "experiment"
    group.mkdir(parents=True)
    (group / "evil.yaml").write_text(f"# @package _global_\nhydra:\n  {hydra}")
    said = refused(capsys, "train", "--config-dir", "mine", "experiment=evil")
    assert "is not allowed" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("hidden: [8\n", "broken.yaml, line 2: while parsing a flow sequence, expected ',' or ']'"),
        ("bias: 'no\n", "broken.yaml, line 2: while scanning a quoted scalar"),
        ("hidden: [8]\n  bias: no\n", "'<block mapping start>' (line 3, column 3)"),
    ],
)
def test_a_broken_file_is_named_with_its_line(capsys, tmp_path, content, said):
    group = tmp_path / "mine" / "network"
    group.mkdir(parents=True)
    (group / "broken.yaml").write_text(f"# Broken.\n{content}")
    assert said in refused(capsys, "train", "--config-dir", "mine", "network=broken")
    assert said in refused(capsys, "train", "--config-dir", "mine", "-m", "network=broken,mlp")


def test_a_file_in_another_encoding(capsys, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.yaml").write_bytes("# für mich\n".encode("latin-1"))
    said = refused(capsys, "train", "--config-dir", "mine", "--config-name", "mine")
    assert "no text in UTF-8" in said


def test_debug_shows_the_traceback(capsys):
    assert main(["train", "lr=1", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_two_messages_for_two_groups_of_users(capsys, monkeypatch):
    """A bug of ours says so, and where to get more."""
    monkeypatch.setattr("brainnet.cli.train.parse", lambda words: 1 / 0)
    assert main(["train"]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err
    assert "--debug" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_evaluating_a_damaged_checkpoint(capsys, run, damage):
    best = run / "checkpoints" / "best.ckpt"
    best.write_bytes(best.read_bytes()[:1000] if damage is None else damage)
    assert "damaged" in refused(capsys, "evaluate", str(run))


def test_a_run_without_its_configuration(capsys, run):
    (run / "config.yaml").unlink()
    assert "config.yaml" in refused(capsys, "evaluate", "latest")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("seed: [", "config.yaml"),
        ("seed: 0\n", "missing"),
        ("name: ${oc.env:HOME}\n", "plain values"),
    ],
)
def test_a_run_with_a_damaged_configuration(capsys, run, damage, said):
    (run / "config.yaml").write_text(damage)
    assert said in refused(capsys, "evaluate", "latest")
    assert said in refused(capsys, "train", "resume=latest", "trainer.max_epochs=3")


@pytest.mark.parametrize("target", ["os.system", "torch.optim.optimizer.torch.load", "torch.load"])
def test_a_run_of_somebody_else_builds_nothing_that_is_not_allowed(capsys, run, target):
    config = run / "config.yaml"
    network = "brainnet.structure.network.Network"
    config.write_text(config.read_text().replace(network, target))
    assert f"network._target_={target}" in refused(capsys, "evaluate", "latest")
    said = refused(capsys, "train", "resume=latest", "trainer.max_epochs=3")
    assert f"network._target_={target}" in said


@pytest.mark.parametrize(
    "word",
    [
        "data=moons",
        "data.batch_size=8",
        "network.hidden=[5]",
        "activation=relu",
        "loss=cross_entropy",
        "optimizer=sgd",
        "optimizer.lr=0.1",
        "seed=1",
        "name=other",
        "experiment=spirals",
        "debug=limit",
        "~optimizer.eps",
    ],
)
def test_resuming_as_another_run(capsys, run, word):
    said = refused(capsys, "train", "resume=latest", "trainer.max_epochs=3", word)
    assert "resume goes on with the same" in said or "resume takes nothing away" in said


def test_resuming_a_run_that_is_done(capsys, run):
    assert "trainer.max_epochs=4" in refused(capsys, "train", "resume=latest")


@pytest.mark.parametrize("word", ["optimizer.lr=0.1", "trainer.max_epochs=3", "experiment=spirals"])
def test_evaluating_with_what_has_no_place_there(capsys, run, word):
    assert "has no place here" in refused(capsys, "evaluate", "latest", word)


@pytest.mark.parametrize("word", ["seed=1", "data.test=0.5", "data.validation=0.3"])
def test_evaluating_on_rows_it_was_trained_on(capsys, run, word):
    assert "trained on" in refused(capsys, "evaluate", "latest", word)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("moons", "moons has 2 classes and 2 inputs; the network learnt 3 classes from 4"),
        ("digits", "digits has 10 classes and 64 inputs; the network learnt 3 classes from 4"),
        ("diabetes", "1 number to predict and 10 inputs; the network learnt 3 classes from 4"),
    ],
)
def test_evaluating_on_data_of_another_shape(capsys, run, data, said):
    assert said in refused(capsys, "evaluate", "latest", f"data={data}")
