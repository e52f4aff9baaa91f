"""Compose: overrides, files, sweeps, and what Hydra itself would instantiate."""

import shlex

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf

from brainnet.config.compose import (
    ConfigFiles,
    build_allow_list,
    check_hydra,
    compose_config,
    drop_unused_keys,
    expand_sweep,
    parse_overrides,
    resolve_config,
)
from brainnet.config.instantiate import TargetAllowList
from brainnet.config.schema import iterate_leaves
from brainnet.errors import InputError

NONE = TargetAllowList()
CONSOLE = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
DEFAULT_FILES = ConfigFiles()
EVIL = {"_target_": "torch.load", "f": "evil.pkl"}


def compose(*words, files=DEFAULT_FILES):
    return resolve_config(compose_config(parse_overrides(words, files), files))


def has_key(config, path):
    return any(f"{key}.".startswith(f"{path}.") for key, _ in iterate_leaves(config))


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ('data.drop=["größe",Nr]', ["größe", "Nr"]),
        ("data.path=/a/my data/x.csv", "/a/my data/x.csv"),
        ("data.path=C:\\Data\\x.csv", "C:\\Data\\x.csv"),
        ("name='it\\'s'", "it's"),
        ("name=", ""),
        ("seed=1", 1),
    ],
)
def test_overrides_follow_the_grammar_of_hydra(word, value):
    (override,) = parse_overrides([word])
    assert override.value() == value


@pytest.mark.parametrize(
    "name",
    ["my file (1).csv", "a=b.csv", "it's (2).csv", 'say "hi" (1).csv', "日本語", "a;b", "(x)\\"],
)
def test_value_that_needs_quotes_is_rejected_with_the_line_to_type(name):
    with pytest.raises(InputError, match="Hydra needs quotes around such a value") as rejected:
        parse_overrides([f"data.path={name}"])
    (word,) = shlex.split(str(rejected.value).splitlines()[1].partition("; type ")[2])
    (override,) = parse_overrides([word])
    assert (override.key_or_group, override.value()) == ("data.path", name)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("network.hidden=[8,,8]", r"cannot read 'network\.hidden=\[8,,8\]'.*\n.*'network\.hidden"),
        ("network.hidden=[8", "lists and texts are written as in"),
        ("name='a", "lists and texts are written as in"),
        ("na me=a", "An override is key=value, as in"),
        ("nothing", r"missing EQUAL at '<EOF>'\.\nAn override is key=value"),
        ("moons", r"Did you mean data=moons\?"),
        ("=3", "there is no key"),
    ],
)
def test_unreadable_override_is_reported(word, message):
    with pytest.raises(InputError, match=message):
        parse_overrides([word])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("~hydra", "removes settings that Hydra needs"),
        ("hydra=null", "removes settings that Hydra needs"),
        ("hydra/launcher=null", "removes settings that Hydra needs"),
        ("~nothing", "'nothing' does not exist"),
        ("data=[moons,xor]", "To run each of them: -m data=moons,xor"),
        ("optimizer=null", "Config group override must be a string or a list"),
        ("network.inputss=3", r"Did you mean network\.inputs\?"),
    ],
)
def test_what_does_not_fit_together_is_rejected(word, message):
    with pytest.raises(InputError, match=message):
        compose(word)


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
def test_keys_can_be_deleted(words, path):
    assert has_key(compose(*words[:-1]), path)
    assert not has_key(compose(*words), path)


OWN = """\
defaults:
  - _self_
  - data: iris
  - network: mlp
  - observe: "off"
seed: 3
"""


def test_primary_file_may_be_in_the_extra_directory(tmp_path):
    (tmp_path / "mine.yaml").write_text(OWN)
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "tiny.yaml").write_text("# Tiny.\nhidden: [2]\n")
    files = ConfigFiles.select("mine.yaml", str(tmp_path))
    assert files.to_flags() == ["--config-name", "mine", "--config-dir", str(tmp_path)]
    config = compose("network=tiny", files=files)
    assert (config["seed"], config["network"], config["observe"]["_target_"]) == (
        3,
        {"hidden": [2]},
        None,
    )
    (tmp_path / "mine.yaml").write_text(OWN.replace('"', ""))
    with pytest.raises(InputError, match="quote words such as off and no"):
        compose(files=files)
    with pytest.raises(InputError, match="not both"):
        compose("hydra.searchpath=[file:///tmp]", files=files)
    with pytest.raises(InputError, match="--config-dir needs a folder of YAML files"):
        ConfigFiles.select(None, str(tmp_path / "missing"))


def expand(*words):
    overrides = parse_overrides(words)
    fixed = [override for override in overrides if not override.is_sweep_override()]
    return expand_sweep(compose_config(fixed), overrides, ConfigFiles())


def test_sweep_is_expanded_to_its_jobs():
    assert expand("seed=1", "data=iris,xor", "optimizer.lr=choice(0.1,0.2)") == [
        ["seed=1", "data=iris", "optimizer.lr=0.1"],
        ["seed=1", "data=iris", "optimizer.lr=0.2"],
        ["seed=1", "data=xor", "optimizer.lr=0.1"],
        ["seed=1", "data=xor", "optimizer.lr=0.2"],
    ]
    assert ["schedule=step"] in expand("schedule=glob(*)")
    with pytest.raises(InputError, match="needs another sweeper"):
        expand("optimizer.lr=interval(0.1,0.2)")


def test_values_of_a_sweep_in_a_file_are_expanded(tmp_path):
    (tmp_path / "experiment").mkdir()
    content = (
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 1,2\n"
    )
    (tmp_path / "experiment" / "seeds.yaml").write_text(content)
    files = ConfigFiles.select(None, str(tmp_path))
    overrides = parse_overrides(["experiment=seeds"], files)
    config = compose_config(overrides, files)
    assert config.hydra.mode == RunMode.MULTIRUN
    jobs = [["seed=1", "experiment=seeds"], ["seed=2", "experiment=seeds"]]
    assert expand_sweep(config, overrides, files) == jobs


def test_sweep_of_another_sweeper_is_not_expanded():
    config = OmegaConf.create({"hydra": {"sweeper": {"_target_": "their.Sweeper"}}})
    assert expand_sweep(config, parse_overrides(["seed=1,2"]), ConfigFiles()) is None


def test_every_typed_target_is_allowed():
    words = [
        "network._target_=a.A",
        "activation._target_=b.B,c.C",
        "+callbacks.x={_target_:d.D,list:[{_target_:e.E}]}",
        "~loss._target_",
        "optimizer.lr=0.1",
    ]
    assert build_allow_list(parse_overrides(words)).typed == {"a.A", "b.B", "c.C", "d.D", "e.E"}


def test_keys_of_a_replaced_class_are_dropped_unless_typed():
    words = ["activation._target_=torch.nn.SELU", "activation.width=2"]
    overrides = parse_overrides(words)
    config = drop_unused_keys(compose(*words), overrides, build_allow_list(overrides))
    assert config["activation"] == {"_target_": "torch.nn.SELU", "width": 2}


def check(hydra, allow_list=NONE, **groups):
    check_hydra(OmegaConf.create({"hydra": hydra, **groups}), allow_list)


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
def test_settings_from_which_hydra_could_instantiate_anything_are_rejected(hydra):
    with pytest.raises(InputError, match="is not allowed"):
        check(hydra, evil=EVIL, name="os.system", logging={}, formatters={})


def test_settings_of_hydra_itself_are_accepted():
    check(
        {
            "callbacks": {},
            "launcher": {"_target_": "hydra_plugins.Launcher", "to": "${hydra.sweep.dir}/%j"},
            "sweeper": {"_target_": "hydra_plugins.Sweeper", "params": None},
            "job_logging": {"version": 1, "root": None, "disable_existing_loggers": False},
            "hydra_logging": None,
            "job": {"name": "train", "env_set": {}},
        }
    )
    check_hydra(compose_config([]), NONE)


def test_logging_is_rejected_even_if_it_is_hydras_own():
    with pytest.raises(InputError, match=r"hydra\.job_logging is not allowed"):
        check_hydra(compose_config(parse_overrides(["hydra/job_logging=default"])), NONE)


def test_callback_that_was_typed_or_allowed_is_accepted():
    hydra = {"callbacks": {"x": {"_target_": "their.Callback"}}}
    check(hydra, TargetAllowList(typed=frozenset({"their.Callback"})))
    check(hydra, TargetAllowList(roots=("their",)))
