"""What Hydra itself would build, from a file that came from somebody else: nothing not allowed."""

import pytest
from omegaconf import OmegaConf

from brainnet.cli.main import main
from brainnet.config.compose import check_hydra
from brainnet.config.instantiate import TargetAllowList
from brainnet.errors import InputError

NOBODY = TargetAllowList()
CONSOLE = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}


def check(hydra, consent=NOBODY, **beside):
    check_hydra(OmegaConf.create({"hydra": hydra, **beside}), consent)


EVIL = {"_target_": "torch.load", "f": "evil.pkl"}


@pytest.mark.parametrize(
    "hydra",
    [
        {"callbacks": {"x": EVIL}},
        {"callbacks": {"x": {"y": [{"z": EVIL}]}}},
        {"callbacks": {"x": "${hydra.job.note}"}, "job": {"note": EVIL}},
        {"callbacks": "${evil}"},
        {"callbacks": {"x": {"_target_": "${name}"}}},
        {"callbacks": {"x": {"y": ["${evil}"]}}},
        {"callbacks": {"x": "${oc.create:{_target_:os.system}}"}},
        {"sweeper": {"_target_": "hydra_plugins.Sweeper", "sampler": EVIL}},
        {"sweeper": {"_target_": "hydra_plugins.Sweeper", "sampler": "${evil}"}},
        {"launcher": "${evil}"},
        {"launcher": {"_target_": "hydra_plugins.Launcher", "list": [EVIL]}},
        {"job_logging": "${logging}"},
        {"job_logging": {"formatters": "${formatters}"}},
        {"job_logging": {"formatters": {"x": {"()": "os.system"}}}},
        {"job_logging": {"formatters": {"x": {"()": "${name}"}}}},
        {"job_logging": {"formatters": {"x": {"class": "logging.FileHandler"}}}},
        {"job_logging": {"handlers": {"x": {"class": "subprocess.Popen"}}}},
        {"job_logging": {"handlers": {"x": CONSOLE | {"stream": "ext://os.system"}}}},
        {"job_logging": {"handlers": {"x": CONSOLE | {"stream": "ext:${name}"}}}},
        {"job_logging": {"handlers": {"x": {"class": "logging.FileHandler", "filename": "/a"}}}},
        {"hydra_logging": {"filters": [{"()": "os.system"}]}},
        {"hydra_logging": {"root": {"handlers": ["${name}"]}}},
        {"job": {"env_set": {"PATH": "mine/bin"}}},
        {"job": {"env_set": "${evil}"}},
    ],
    ids=str,
)
def test_refuses_whatever_could_be_anything(hydra):
    with pytest.raises(InputError, match="is not allowed"):
        check(hydra, evil=EVIL, name="os.system", logging={}, formatters={})


def test_lets_hydras_own_through():
    file = "${hydra.runtime.output_dir}/${hydra.job.name}.log"
    check(
        {
            "callbacks": {},
            "launcher": {"_target_": "hydra_plugins.Launcher", "to": "${hydra.sweep.dir}/%j"},
            "sweeper": {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"},
            "job_logging": {
                "formatters": {
                    "simple": {"format": "%(message)s"},
                    "color": {"()": "colorlog.ColoredFormatter"},
                },
                "handlers": {
                    "console": CONSOLE,
                    "file": {"class": "logging.FileHandler", "filename": file},
                },
                "root": {"level": "INFO", "handlers": ["console", "file"]},
            },
            "hydra_logging": None,
            "job": {"name": "train", "env_set": {}},
        }
    )


def test_a_callback_that_was_typed_or_allowed_is_consent():
    hydra = {"callbacks": {"x": {"_target_": "their.Callback"}}}
    check(hydra, TargetAllowList(typed=frozenset({"their.Callback"})))
    check(hydra, TargetAllowList(roots=("their",)))


REFERRED = """
trainer:
  note: {_target_: torch.load}
hydra:
  callbacks:
    x: ${hydra.job.env_set}
  job:
    env_set: {_target_: torch.load, f: caught.pkl, weights_only: ""}
"""
LOGGED = """
trainer:
  x: {"()": subprocess.getoutput, cmd: touch caught}
hydra:
  job_logging:
    version: 1
    formatters: ${trainer}
    root: {level: INFO}
"""
NAMED = """
hydra:
  job_logging:
    version: 1
    formatters:
      x: {"()": subprocess.getoutput, cmd: touch caught}
    root: {level: INFO}
"""


@pytest.mark.parametrize("content", [REFERRED, LOGGED, NAMED])
@pytest.mark.parametrize(
    "words",
    [
        "experiment=evil",
        "-m experiment=evil seed=0,1",
        "-m experiment=evil,spirals",
        "-m experiment=spirals,evil",
        "--hydra-help experiment=evil",
    ],
)
def test_a_file_of_somebody_elses_runs_nothing(capsys, experiment, empty_folder, content, words):
    experiment(content)
    before = set(empty_folder.rglob("*"))
    assert main(["train", "--config-dir", "mine", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert "is not allowed" in err
    assert out == ""
    assert set(empty_folder.rglob("*")) == before


def test_a_sweeper_of_somebody_elses_builds_nothing(capsys, experiment, empty_folder):
    experiment(
        "defaults:\n  - override /hydra/sweeper: theirs\nhydra:\n  mode: MULTIRUN\n",
    )
    folder = empty_folder / "mine" / "hydra" / "sweeper"
    folder.mkdir(parents=True)
    (folder / "theirs.yaml").write_text(
        "_target_: hydra._internal.core_plugins.basic_sweeper.BasicSweeper\nparams: null\n"
        "max_batch_size: {_target_: subprocess.getoutput, cmd: touch caught}\n"
    )
    assert main(["train", "--config-dir", "mine", "experiment=evil"]) == 2
    assert "hydra.sweeper.max_batch_size._target_" in capsys.readouterr().err
    assert not (empty_folder / "caught").exists()
