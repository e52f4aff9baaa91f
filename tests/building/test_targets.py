"""The rule for `_target_`: what it lets through, and what it stops."""

import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from brainnet.config import instantiate as targets
from brainnet.config.instantiate import TargetAllowList
from brainnet.errors import InputError

NOBODY = TargetAllowList()


def resolve(target, place="network", consent=NOBODY):
    return targets.resolve_target(target, place, consent)


@pytest.mark.parametrize(
    ("target", "place", "name"),
    [
        ("brainnet.structure.network.Network", "network", "Network"),
        ("brainnet.learning.gradient_descent.GradientDescent", "optimizer", "GradientDescent"),
        ("brainnet.data.datasets.Moons", "data", "Moons"),
        ("torch.nn.ReLU", "activation", "ReLU"),
        ("torch.nn.modules.activation.ReLU", "activation", "ReLU"),
        ("torch.optim.Adam", "optimizer", "Adam"),
        ("torch.optim.lr_scheduler.StepLR", "schedule", "StepLR"),
        ("lightning.pytorch.callbacks.EarlyStopping", "callbacks.stop", "EarlyStopping"),
        ("lightning.pytorch.loggers.CSVLogger", "logger.csv", "CSVLogger"),
        ("torchmetrics.Accuracy", "network.deep.inside", "Accuracy"),
    ],
)
def test_lets_the_families_through(target, place, name):
    assert resolve(target, place).__name__ == name


@pytest.mark.parametrize(
    "target",
    [
        "pip._internal.main",
        "lightning.fabric.Fabric",
        "torch_evil.nn.Net",
        "torch.nnx.Net",
        "brainnets.Net",
        "torchmetricsx.Accuracy",
    ],
)
def test_refuses_a_name_outside_the_roots_and_says_how_to_allow_it(target):
    with pytest.raises(InputError, match="is not allowed") as refused:
        resolve(target)
    assert f"network._target_={target}" in str(refused.value)
    assert f"BRAINNET_ALLOW={target.rpartition('.')[0]}" in str(refused.value)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("torch.load", "it is no class but a function"),
        ("torch.hub.load", "it is no class but a function"),
        ("torch.jit.load", "it is no class but a function"),
        ("hydra.utils.instantiate", "it is no class but a function"),
        ("builtins.eval", "builtins comes with Python itself"),
        ("builtins.exec", "builtins comes with Python itself"),
        ("os.system", "os comes with Python itself"),
        ("subprocess.Popen", "subprocess comes with Python itself"),
        ("subprocess.run", "subprocess comes with Python itself"),
        ("functools.partial", "functools comes with Python itself"),
        ("pathlib.Path.unlink", "pathlib comes with Python itself"),
        ("shutil.rmtree", "shutil comes with Python itself"),
        ("importlib.import_module", "importlib comes with Python itself"),
    ],
)
def test_offers_no_consent_to_what_could_never_be_allowed(target, reason):
    importlib.import_module(target.partition(".")[0])
    with pytest.raises(InputError, match="is not allowed, and cannot be") as refused:
        resolve(target)
    assert reason in str(refused.value)
    assert targets.ALLOW not in str(refused.value)
    with pytest.raises(InputError):  # true to the word: typed, it is refused as well
        resolve(target, consent=TargetAllowList(typed=frozenset({target})))


@pytest.mark.parametrize(
    "target",
    [
        "torch.optim.optimizer.torch.load",
        "torch.optim.optimizer.torch.nn.Linear",
        "torch.nn.modules.module.torch.load",
        "torch.nn.Module.load_state_dict",
        "torch.nn.functional.relu",
        "torch.nn.modules.module.OrderedDict",
        "torch.nn.modules.module.Path",
        "torch.nn.init.xavier_uniform_",
        "torch.nn.utils.clip_grad_norm_",
        "torch.nn.Parameter",
        "torch.nn",
        "torch.optim.lr_scheduler.partial",
        "lightning.pytorch.LightningModule.load_from_checkpoint",
        "lightning.pytorch.seed_everything",
        "lightning.pytorch.utilities.rank_zero_only",
        "lightning.pytorch.callbacks.model_checkpoint.os.system",
        "lightning.pytorch.callbacks.model_checkpoint.shutil.rmtree",
        "lightning.pytorch.Trainer",
        "torchmetrics.functional.accuracy",
        "brainnet.cli.main.main",
        "brainnet.config.instantiate.importlib.import_module",
        "brainnet.training.checkpoint.torch.load",
        "brainnet.training.run_directory.Path",
        "brainnet.structure.network.Network.from_torch",
        "brainnet.structure.network.Network.__init__",
        "brainnet.errors.InputError",
        "brainnet.no_such_module.Net",
        "torch.nn.NoSuchLayer",
    ],
)
def test_refuses_what_is_no_class_of_a_family_though_its_name_begins_well(target):
    with pytest.raises(InputError):
        resolve(target)


@pytest.mark.parametrize(
    "target",
    [
        "",
        "torch",
        ".torch.nn.ReLU",
        "torch..nn",
        "torch.nn.ReLU()",
        "torch.nn:ReLU",
        3,
        ["a.b"],
        {},
    ],
)
def test_refuses_what_is_no_dotted_name(target):
    with pytest.raises(InputError):
        resolve(target)


def test_a_missing_class_is_asked_for():
    with pytest.raises(InputError, match=r"add network\._target_=their\.module\.Name"):
        resolve("???")


@pytest.mark.parametrize(
    ("target", "place", "family"),
    [
        ("torch.optim.Adam", "network", "Module"),
        ("torch.nn.ReLU", "optimizer", "Optimizer"),
        ("torch.optim.Adam", "schedule", "LRScheduler"),
        ("torch.nn.ReLU", "callbacks.mine", "Callback"),
        ("torch.nn.ReLU", "logger.mine", "Logger"),
        ("torch.nn.ReLU", "data", "class of data"),
        ("brainnet.data.dataset.Dataset", "data", "class of data"),
    ],
)
def test_every_place_takes_its_own_family_alone(target, place, family):
    with pytest.raises(InputError, match=family):
        resolve(target, place)


def test_a_refused_name_is_not_even_imported(tmp_path):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')\n")
    code = textwrap.dedent(
        """
        from brainnet.config.instantiate import Consent, resolve
        from brainnet.errors import InputError
        try:
            resolve("trap.Net", "network", Consent())
        except InputError as error:
            assert "not allowed" in str(error)
        """
    )
    root = Path(targets.__file__).parents[2]
    path = os.pathsep.join([str(root), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A package of the user's in the folder that the command is called from."""
    package = tmp_path / "their"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text(
        "import os\n"
        "from torch import nn\n"
        "class Net(nn.Linear):\n"
        "    pass\n"
        "class Rows:\n"
        "    def load(self, seed): ...\n"
        "def make():\n"
        "    return Net(1, 1)\n"
    )
    (package / "broken.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "their.net"
    for name in [name for name in sys.modules if name.partition(".")[0] == "their"]:
        del sys.modules[name]


def test_a_name_that_was_typed_is_consent(theirs):
    found = resolve(f"{theirs}.Net", consent=TargetAllowList(typed=frozenset({f"{theirs}.Net"})))
    assert issubclass(found, torch.nn.Linear)


def test_a_module_allowed_in_the_environment_is_consent(theirs, monkeypatch):
    monkeypatch.setenv("BRAINNET_ALLOW", f"other, {theirs}")
    consent = TargetAllowList(roots=targets.read_allowed_roots())
    assert resolve(f"{theirs}.Net", consent=consent).__name__ == "Net"
    assert resolve(f"{theirs}.Rows", "data", consent).__name__ == "Rows"
    with pytest.raises(InputError, match=r"no module their\.net\.os"):
        resolve(f"{theirs}.os.system", consent=consent)


@pytest.mark.parametrize("name", ["make", "os", "Rows", "Missing"])
def test_consent_is_to_classes_of_the_family_alone(theirs, name):
    target = f"{theirs}.{name}"
    with pytest.raises(InputError):
        resolve(target, consent=TargetAllowList(typed=frozenset({target})))


@pytest.mark.parametrize("target", ["torch.load", "os.system", "subprocess.Popen", "builtins.eval"])
def test_consent_does_not_make_a_family_of_anything(target):
    with pytest.raises(InputError, match=r"no class|is no Module"):
        resolve(target, consent=TargetAllowList(typed=frozenset({target})))


def test_a_module_that_fails_to_import_is_told(theirs):
    target = "their.broken.Net"
    with pytest.raises(InputError, match="ZeroDivisionError"):
        resolve(target, consent=TargetAllowList(typed=frozenset({target})))


def test_a_typo_in_the_name_of_a_class_is_met_with_the_right_one():
    with pytest.raises(InputError, match="Did you mean LeakyReLU"):
        resolve("torch.nn.LeakyRelu", "activation")


@pytest.mark.parametrize(
    "config",
    [
        {"network": {"_target_": "os.system"}},
        {"network": {"layers": [{"inner": [{"_target_": "os.system", "command": "true"}]}]}},
        {"callbacks": {"mine": {"_target_": "os.system"}}},
        {"anything": {"else": {"_target_": "os.system"}}},
        {"trainer": {"profiler": {"_target_": "os.system"}}},
        {"network": {"_target_": None}},
        {"_target_": "os.system"},
    ],
)
def test_finds_every_target_wherever_it_hides(config):
    with pytest.raises(InputError):
        targets.check_targets(config, NOBODY)


@pytest.mark.parametrize("key", ["_args_", "_partial_", "_convert_", "_recursive_"])
def test_refuses_the_keys_that_change_how_hydra_calls(key):
    config = {"network": {"inner": {"_target_": "torch.nn.ReLU", key: [1]}}}
    with pytest.raises(InputError, match=rf"network\.inner\.{key} is not allowed"):
        targets.check_targets(config, NOBODY)


def test_null_stands_where_a_choice_may_be_nothing():
    targets.check_targets({"loss": {"_target_": None}, "schedule": {"_target_": None}}, NOBODY)
