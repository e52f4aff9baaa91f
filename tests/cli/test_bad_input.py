"""Invalid input ends with exit code 2, one clear message, and no file written."""

import os
from pathlib import Path

import pytest
import torch

from brainnet.cli.main import main


def run_rejected(capsys, *words):
    """Run a command, check that it is rejected and writes nothing, and return its message."""
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
    ("words", "message"),
    [
        ("trian", "Did you mean train?"),
        ("train data=moon", "there is no data=moon. Did you mean moons?"),
        ("train optimizer=admn", "Did you mean adam?"),
        ("train observe=of", "Did you mean off?"),
        ("train optimizer=null", "Config group override must be a string or a list"),
        ("train optimizer=", "optimizer is one of adagrad, adam"),
        ("train data=_module", "data._target_ must be the dotted name of a class"),
        ("train data=[moons,xor]", "data takes one choice"),
        ("train optimiser=sgd", "there is no key optimiser. Did you mean optimizer?"),
        ("train optimizer.lrr=1", "Did you mean optimizer.lr?"),
        ("train lr=1", "Did you mean optimizer.lr?"),
        ("train batch_size=8", "Did you mean data.batch_size?"),
        ("train +whatever=1", "there is no key whatever"),
        ("train trainer.overfit_batches=1", "no choice of trainer sets overfit_batches: add it"),
        (
            "train +callbacks=early_stopping callbacks.early_stopping.patience=3",
            "Multiple values for callbacks",
        ),
        ("train trainer=cpu trainer.devices=4096", "trainer.devices must be"),
        ("train +callbacks.patience=5", "callbacks.patience needs a class and its settings; got 5"),
        ("train +logger._target_=lightning.pytorch.loggers.CSVLogger", "+logger.mine._target_="),
        ("train optimizer.momentum=0.9", "momentum belongs to optimizer=rmsprop|sgd"),
        ("train data.path=my.csv", "path belongs to data=images|table"),
        ("train data.rows=10", "data=blobs|circles|moons"),
        ("train +optimizer.speed=3", "Adam has no such key"),
        ("train +trainer.max_epoch=3", "max_epochs"),
        ("train ~optimizer", "optimizer is missing"),
        ("train optimizer.lr=fast", "optimizer.lr must be a number > 0"),
        ("train optimizer.lr=", "optimizer.lr must be a number > 0"),
        ("train optimizer.lr=null", "got null"),
        ("train optimizer.lr=0", "optimizer.lr must be a number > 0"),
        ("train optimizer.lr=-0.1", "got -0.1"),
        ("train optimizer.lr=nan", "got nan"),
        ("train optimizer.lr=inf", "got inf"),
        ("train optimizer.lr=true", "got true"),
        ("train optimizer.betas=[0.9,1.0]", "optimizer.betas must be a list of 2"),
        ("train optimizer=sgd optimizer.nesterov=true", "Nesterov momentum requires a momentum"),
        ("train activation.width=0", "activation.width must be a number > 0"),
        ("train data.batch_size=0", "data.batch_size must be an integer >= 1"),
        ("train data.batch_size=2.5", "got 2.5"),
        ("train data.validation=1", "data.validation must be"),
        ("train data.validation=0.6 data.test=0.6", "validation"),
        ("train data.normalize=max", "standard|minmax|none"),
        ("train data=moons data.rows=0", "data.rows must be"),
        ("train trainer.max_epochs=0", "trainer.max_epochs must be an integer >= 1"),
        ("train trainer.max_epochs=-1", "got -1"),
        ("train trainer.precision=33", "32-true|bf16-mixed"),
        ("train trainer.devices=0", "trainer.devices must be"),
        ("train network.hidden=[]", "activation=identity for a linear model"),
        ("train network.hidden=", "network.hidden must be a list"),
        ("train network.hidden=8", "network.hidden must be a list"),
        ("train network.hidden=[8,0]", "got [8, 0]"),
        ("train network.hidden=[8,'']", "got [8, '']"),
        ("train network.hidden=[8,,8]", "cannot read 'network.hidden=[8,,8]'"),
        ("train network.hidden=[8", "cannot read 'network.hidden=[8'"),
        ("train word", "An override is key=value"),
        ("train =3", "cannot read"),
        ("train --mutlirun", "Did you mean --multirun?"),
        ("train --cfg", "expected one argument"),
        ("train --config-dir nowhere", "--config-dir needs a folder"),
        ("train --experimental-rerun=job.pickle", "no option --experimental-rerun"),
        (
            "train --config-name trian",
            "Cannot find primary config 'trian'. Check that",
        ),
        ("train seed=-1", "seed must be an integer"),
        ("train seed=4294967296", "seed must be an integer"),
        ("train name=../out", "name must be letters"),
        ("train name=..", "starting with a letter or digit (not latest), or null"),
        ("train paths.runs=", "that runs are written to); got nothing"),
        (
            "train activation=relu activation.width=2",
            "no key width. width belongs to activation=threshold_ramp",
        ),
        ("train +data.batchsize=3", "Did you mean batch_size?"),
        ("train network.hidden=[null,true]", "got [null, true]"),
        ("train network.hidden=[a]", "got ['a']"),
        ("train name=latest", "not latest"),
        ("train name=${nothing}", "cannot be resolved"),
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
        ("train network._target_=torch.load", "is not allowed: it is not a class"),
        ("train network._target_=os.system", "is not allowed: it is not a class"),
        ("train network._target_=subprocess.Popen", "Popen is not a Module"),
        ("train activation._target_=torch.optim.Adam", "Adam is not a Module"),
        ("train +network._partial_=true", "network._partial_ is not allowed"),
        ("train +network._args_=[1]", "network._args_ is not allowed"),
        ("train +hydra.callbacks.x._target_=torch.nn.ReLU", "of Hydra's settings, only"),
        ("evaluate nowhere", "there is no run nowhere"),
        ("evaluate .", "is not a run"),
        ("evaluate latest", "there is no latest run"),
        ("evaluate data=moons", "there is no run data=moons"),
        ("evaluate a b", "cannot read 'b'"),
        ("evaluate latest -m", "evaluate has no option -m"),
        ("explain wieghts", "weights"),
    ],
)
def test_invalid_input_is_rejected_with_one_message(capsys, words, message):
    assert message in run_rejected(capsys, *words.split())


@pytest.mark.parametrize("hidden", ["[9999999999]", "[64,99999999999999999999999]"])
def test_network_larger_than_memory_is_rejected(capsys, hidden):
    message = run_rejected(capsys, "train", f"network.hidden={hidden}")
    assert "that network needs" in message
    assert "this machine has" in message


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")]
)
def test_running_out_of_memory_is_not_a_bug(capsys, monkeypatch, error):
    def raise_error(*args, **options):
        raise error

    monkeypatch.setattr("brainnet.cli.train.train", raise_error)
    assert main(["train", "data=iris"]) == 2
    assert "not enough memory" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["~paths", "~optimizer.eps", "~data.test", "~logger"])
def test_nothing_can_be_removed_from_a_run(capsys, run, word):
    message = f"removes nothing from a run: leave {word} out"
    assert f"resume {message}" in run_rejected(
        capsys, "train", f"resume={run}", "trainer.max_epochs=3", word
    )
    assert f"evaluate {message}" in run_rejected(capsys, "evaluate", str(run), word)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("~seed", "seed is missing: seed=... (an integer >= 0"),
        ("~paths", "paths is missing: choose one"),
        ("~paths.runs", "the folder that runs are written to"),
        ("~network", "network is missing: choose one"),
    ],
)
def test_required_keys_cannot_be_deleted(capsys, word, message):
    assert message in run_rejected(capsys, "train", word)


def test_missing_gpu_is_reported(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert "trainer=auto" in run_rejected(capsys, "train", "trainer=gpu")


def test_unwritable_folder_is_reported(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "paths.runs=FOLDER" in run_rejected(capsys, "train", "paths.runs=file")
    assert "paths.runs=FOLDER" in run_rejected(capsys, "train", "-m", "paths.runs=file", "seed=1,2")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_folder_without_permission_is_reported(capsys, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "paths.runs=FOLDER" in run_rejected(capsys, "train", "paths.runs=locked")


def test_target_in_a_file_is_not_allowed(capsys, tmp_path):
    group = tmp_path / "mine" / "network"
    group.mkdir(parents=True)
    (group / "evil.yaml").write_text("# Evil.\n_target_: os.system\ncommand: touch caught\n")
    said = run_rejected(capsys, "train", "--config-dir", "mine", "network=evil")
    assert "network._target_=os.system is not allowed" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hidden: [8\n", 'broken.yaml", line 2'),
        ("bias: 'no\n", 'broken.yaml", line 2'),
        ("hidden: [8]\n  bias: no\n", "'<block mapping start>'"),
    ],
)
def test_broken_file_is_reported_with_its_line(capsys, tmp_path, content, message):
    group = tmp_path / "mine" / "network"
    group.mkdir(parents=True)
    (group / "broken.yaml").write_text(f"# Broken.\n{content}")
    assert message in run_rejected(capsys, "train", "--config-dir", "mine", "network=broken")
    assert message in run_rejected(
        capsys, "train", "--config-dir", "mine", "-m", "network=broken,mlp"
    )


def test_file_in_another_encoding_is_reported(capsys, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.yaml").write_bytes("# für mich\n".encode("latin-1"))
    said = run_rejected(capsys, "train", "--config-dir", "mine", "--config-name", "mine")
    assert "not YAML in UTF-8 text" in said


def test_debug_shows_the_traceback(capsys):
    assert main(["train", "lr=1", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_bug_is_reported_without_traceback(capsys, monkeypatch):
    monkeypatch.setattr("brainnet.cli.train.parse_overrides", lambda *_: 1 / 0)
    assert main(["train"]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err
    assert "--debug" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_evaluate_rejects_a_damaged_checkpoint(capsys, run, damage):
    best = run / "checkpoints" / "best.ckpt"
    best.write_bytes(best.read_bytes()[:1000] if damage is None else damage)
    assert "damaged" in run_rejected(capsys, "evaluate", str(run))


def test_run_without_configuration_is_rejected(capsys, run):
    (run / "config.yaml").unlink()
    assert "config.yaml" in run_rejected(capsys, "evaluate", "latest")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("seed: [", "config.yaml"),
        ("seed: 0\n", "missing"),
    ],
)
def test_run_with_damaged_configuration_is_rejected(capsys, run, damage, message):
    (run / "config.yaml").write_text(damage)
    assert message in run_rejected(capsys, "evaluate", "latest")
    assert message in run_rejected(capsys, "train", "resume=latest", "trainer.max_epochs=3")


@pytest.mark.parametrize("target", ["os.system", "torch.optim.optimizer.torch.load", "torch.load"])
def test_target_in_the_configuration_of_a_run_is_not_allowed(capsys, run, target):
    config = run / "config.yaml"
    network = "brainnet.structure.network.Network"
    config.write_text(config.read_text().replace(network, target))
    said = run_rejected(capsys, "train", "resume=latest", "trainer.max_epochs=3")
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
def test_resume_rejects_what_would_change_the_run(capsys, run, word):
    said = run_rejected(capsys, "train", "resume=latest", "trainer.max_epochs=3", word)
    assert "resume continues with the same" in said or "resume removes nothing" in said


def test_resume_of_a_finished_run_needs_more_epochs(capsys, run):
    assert "trainer.max_epochs=4" in run_rejected(capsys, "train", "resume=latest")


@pytest.mark.parametrize("word", ["optimizer.lr=0.1", "trainer.max_epochs=3", "experiment=spirals"])
def test_evaluate_rejects_training_keys(capsys, run, word):
    assert "cannot be set here" in run_rejected(capsys, "evaluate", "latest", word)


@pytest.mark.parametrize("word", ["seed=1", "data.test=0.5", "data.validation=0.3"])
def test_evaluate_rejects_training_rows(capsys, run, word):
    assert "training rows would be in the test" in run_rejected(capsys, "evaluate", "latest", word)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("moons", "the network was trained on data with 4 inputs; moons has 2"),
        ("digits", "the network was trained on data with 4 inputs; digits has 64"),
        ("diabetes", "the network was trained on data with 4 inputs; diabetes has 10"),
    ],
)
def test_evaluate_rejects_data_of_another_shape(capsys, run, data, message):
    assert message in run_rejected(capsys, "evaluate", "latest", f"data={data}")


EVIL = """
hydra:
  mode: MULTIRUN
  callbacks:
    x: {_target_: subprocess.getoutput, cmd: touch caught}
  sweeper:
    params: {_target_: subprocess.getoutput, cmd: touch caught}
  job:
    env_set: {CAUGHT: "1"}
  job_logging:
    version: 1
    formatters:
      x: {"()": subprocess.getoutput, cmd: touch caught}
    root: {level: INFO}
"""


@pytest.mark.parametrize("words", ["experiment=evil", "-m experiment=evil seed=0,1", "--cfg job"])
def test_hydra_node_of_a_file_runs_nothing(experiment, empty_folder, monkeypatch, words):
    experiment(EVIL)
    monkeypatch.setattr("brainnet.cli.train.run_job", lambda *_, **__: 0)
    assert main(["train", "--config-dir", "mine", *words.split()]) == 0
    assert not (empty_folder / "caught").exists()
    assert "CAUGHT" not in os.environ
