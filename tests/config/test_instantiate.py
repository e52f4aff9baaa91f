"""The allow-list for `_target_`: what it accepts and what it rejects."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from brainnet.config import instantiate
from brainnet.config.instantiate import TargetAllowList, check_targets
from brainnet.errors import InputError

NONE = TargetAllowList()


def resolve(target, path="network", allow_list=NONE):
    return instantiate.resolve_target(target, path, allow_list)


@pytest.mark.parametrize(
    ("target", "path", "name"),
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
def test_classes_with_the_right_base_class_are_accepted(target, path, name):
    assert resolve(target, path).__name__ == name


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
def test_name_outside_the_roots_is_rejected_with_the_way_to_allow_it(target):
    with pytest.raises(InputError, match="is not allowed") as refused:
        resolve(target)
    assert f"network._target_={target}" in str(refused.value)
    assert f"BRAINNET_ALLOW={target.rpartition('.')[0]}" in str(refused.value)


@pytest.mark.parametrize(
    "target",
    [
        "torch.load",
        "torch.hub.load",
        "torch.jit.load",
        "hydra.utils.instantiate",
        "builtins.eval",
        "os.system",
        "subprocess.Popen",
        "subprocess.run",
        "functools.partial",
        "pathlib.Path.unlink",
        "shutil.rmtree",
        "importlib.import_module",
    ],
)
def test_what_can_never_be_allowed_is_rejected_also_if_typed(target):
    for allow_list in (NONE, TargetAllowList(typed=frozenset({target}))):
        with pytest.raises(InputError):
            resolve(target, allow_list=allow_list)


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
def test_name_under_the_roots_must_lead_to_a_class_defined_there(target):
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
def test_target_must_be_a_dotted_name(target):
    with pytest.raises(InputError):
        resolve(target)


def test_missing_class_is_requested():
    with pytest.raises(InputError, match=r"network\._target_=their\.module\.Name"):
        resolve("???")


@pytest.mark.parametrize(
    ("target", "path", "base"),
    [
        ("torch.optim.Adam", "network", "Module"),
        ("torch.nn.ReLU", "optimizer", "Optimizer"),
        ("torch.optim.Adam", "schedule", "LRScheduler"),
        ("torch.nn.ReLU", "callbacks.mine", "Callback"),
        ("torch.nn.ReLU", "logger.mine", "Logger"),
        ("torch.nn.ReLU", "data", "data class"),
        ("brainnet.data.dataset.Dataset", "data", "data class"),
    ],
)
def test_every_group_accepts_its_own_base_class_only(target, path, base):
    with pytest.raises(InputError, match=base):
        resolve(target, path)


def test_rejected_name_is_not_imported(tmp_path):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')\n")
    code = textwrap.dedent(
        """
        from brainnet.config.instantiate import TargetAllowList, resolve_target
        from brainnet.errors import InputError
        try:
            resolve_target("trap.Net", "network", TargetAllowList())
        except InputError as error:
            assert "not allowed" in str(error)
        """
    )
    root = Path(instantiate.__file__).parents[2]
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
def user_module(tmp_path, monkeypatch):
    """A package of the user in the current directory."""
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
    (package / "needy.py").write_text("import no_such_dependency\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "their.net"
    for name in [name for name in sys.modules if name.partition(".")[0] == "their"]:
        del sys.modules[name]


def test_typed_name_is_allowed(user_module):
    found = resolve(
        f"{user_module}.Net", allow_list=TargetAllowList(typed=frozenset({f"{user_module}.Net"}))
    )
    assert issubclass(found, torch.nn.Linear)


def test_module_in_the_environment_variable_is_allowed(user_module, monkeypatch):
    monkeypatch.setenv("BRAINNET_ALLOW", f"other, {user_module}")
    allow_list = TargetAllowList()
    assert resolve(f"{user_module}.Net", allow_list=allow_list).__name__ == "Net"
    assert resolve(f"{user_module}.Rows", "data", allow_list).__name__ == "Rows"
    with pytest.raises(InputError, match=r"no module their\.net\.os"):
        resolve(f"{user_module}.os.system", allow_list=allow_list)


@pytest.mark.parametrize("name", ["make", "os", "Rows", "Missing"])
def test_allowed_name_must_still_be_a_class_with_the_right_base_class(user_module, name):
    target = f"{user_module}.{name}"
    with pytest.raises(InputError):
        resolve(target, allow_list=TargetAllowList(typed=frozenset({target})))


@pytest.mark.parametrize("target", ["torch.load", "os.system", "subprocess.Popen", "builtins.eval"])
def test_typed_functions_and_processes_are_rejected(target):
    with pytest.raises(InputError, match=r"not a class|is not a Module"):
        resolve(target, allow_list=TargetAllowList(typed=frozenset({target})))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("their.broken.Net", "ZeroDivisionError"),
        ("their.needy.Net", r"importing their\.needy failed: no module named no_such_dependency"),
        ("their.missing.Net", r"there is no module their\.missing"),
    ],
)
def test_failed_import_is_reported(user_module, target, reason):
    with pytest.raises(InputError, match=reason):
        resolve(target, allow_list=TargetAllowList(typed=frozenset({target})))


def test_typo_in_a_class_name_gets_a_suggestion():
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
def test_every_nested_target_is_checked(config):
    with pytest.raises(InputError):
        check_targets(config, NONE)


@pytest.mark.parametrize("key", ["_args_", "_partial_", "_convert_", "_recursive_"])
def test_keys_that_change_how_hydra_calls_are_rejected(key):
    config = {"network": {"inner": {"_target_": "torch.nn.ReLU", key: [1]}}}
    with pytest.raises(InputError, match=rf"network\.inner\.{key} is not allowed"):
        check_targets(config, NONE)


def test_loss_and_schedule_may_be_null():
    check_targets({"loss": {"_target_": None}, "schedule": {"_target_": None}}, NONE)
