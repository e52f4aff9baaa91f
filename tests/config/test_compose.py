"""Compose: overrides, files and sweeps."""

import shlex

import pytest

from brainnet.config.compose import (
    ConfigFiles,
    build_allow_list,
    compose_config,
    drop_unused_keys,
    expand_sweep,
    parse_overrides,
    resolve_config,
)
from brainnet.config.schema import iterate_leaves
from brainnet.errors import InputError

DEFAULT_FILES = ConfigFiles()


def compose(*words, files=DEFAULT_FILES):
    return resolve_config(compose_config(parse_overrides(words), files))


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
        ("~hydra", "only hydra.run.dir and hydra.searchpath can be set"),
        ("hydra=null", "only hydra.run.dir and hydra.searchpath can be set"),
        ("hydra/launcher=null", "only hydra.run.dir and hydra.searchpath can be set"),
        ("+hydra.callbacks.x._target_=torch.nn.ReLU", "of Hydra's settings, only"),
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
    with pytest.raises(InputError, match=r"only hydra.run.dir and hydra.searchpath can be set"):
        compose("hydra.sweep.dir=elsewhere", files=files)
    with pytest.raises(InputError, match=r"hydra.searchpath is a list of folders"):
        compose("hydra.searchpath=elsewhere", files=files)
    with pytest.raises(InputError, match="--config-dir needs a folder of YAML files"):
        ConfigFiles.select(None, str(tmp_path / "missing"))


@pytest.mark.parametrize("is_other_file", [False, True])
def test_typed_search_path_adds_choices(tmp_path, is_other_file):
    (tmp_path / "more" / "network").mkdir(parents=True)
    (tmp_path / "more" / "network" / "tiny.yaml").write_text("# Tiny.\nhidden: [2]\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.yaml").write_text(OWN)
    files = ConfigFiles.select("mine", str(tmp_path / "mine")) if is_other_file else ConfigFiles()
    words = ["network=tiny", f"hydra.searchpath=['file://{tmp_path}/more']"]
    assert compose(*words, files=files)["network"]["hidden"] == [2]


def test_search_path_of_the_own_file_is_kept(tmp_path):
    (tmp_path / "more" / "network").mkdir(parents=True)
    (tmp_path / "more" / "network" / "tiny.yaml").write_text("# Tiny.\nhidden: [2]\n")
    own = f"{OWN}hydra:\n  searchpath: ['file://{tmp_path}/more']\n"
    (tmp_path / "mine.yaml").write_text(own)
    files = ConfigFiles.select("mine", str(tmp_path))
    assert compose("network=tiny", files=files)["network"]["hidden"] == [2]


def test_sweep_is_expanded_to_its_jobs():
    def expand(*words):
        return expand_sweep(parse_overrides(words))

    assert expand("seed=1", "data=iris,xor", "optimizer.lr=choice(0.1,0.2)") == [
        ["seed=1", "data=iris", "optimizer.lr=0.1"],
        ["seed=1", "data=iris", "optimizer.lr=0.2"],
        ["seed=1", "data=xor", "optimizer.lr=0.1"],
        ["seed=1", "data=xor", "optimizer.lr=0.2"],
    ]
    assert expand("seed=1") == [["seed=1"]]
    for word in ("optimizer.lr=interval(0.1,0.2)", "schedule=glob(*)"):
        with pytest.raises(InputError, match="is no list of values"):
            expand(word)


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
