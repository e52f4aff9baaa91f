"""The house stands: imports point down, frameworks stay at the rim, the door opens lazily."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import brainnet

ROOT = Path(brainnet.__file__).parent
FLOORS = [
    "errors",
    "files",
    "concepts",
    "kernels",
    "structure",
    "learning",
    "data",
    "observation",
    "explain",
    "training",
    "config",
    "inference",
    "cli",
    "__main__",
]
"""Lowest first: a module imports only from its own floor and those below it."""

HOMES = {
    "lightning": {"training", "data/datamodule.py"},
    "hydra": {"cli", "config"},
    "omegaconf": {"cli", "config"},
    "tensorboard": {"observation/tensorboard.py"},
    "matplotlib": {"observation/plots.py"},
    "onnx": {"inference/export_onnx.py"},
    "sklearn": {"data"},
}
"""Which framework may be imported where."""


def modules() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_part_has_its_floor() -> None:
    assert {floor_of(path) for path in modules()} <= set(FLOORS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    for name in imported(path):
        package, _, rest = name.partition(".")
        if package != "brainnet":
            continue
        floor = rest.split(".")[0]
        if floor in brainnet.__all__ or floor == "__version__":
            assert floor == "__version__", f"{path} imports {name} through the public door"
            continue
        assert FLOORS.index(floor) <= FLOORS.index(floor_of(path)), f"{path} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_frameworks_stay_at_the_rim(path: Path) -> None:
    place = path.relative_to(ROOT)
    for name in imported(path):
        homes = HOMES.get(name.split(".")[0])
        if homes is None and name.startswith("torch.utils.tensorboard"):
            homes = HOMES["tensorboard"]
        assert homes is None or {place.parts[0], place.as_posix()} & homes, f"{path}: {name}"


def test_package_inits_are_empty() -> None:
    inits = [path for path in ROOT.rglob("__init__.py") if path != ROOT / "__init__.py"]
    assert inits
    assert all(path.read_text(encoding="utf-8") == "" for path in inits)


def test_importing_brainnet_imports_no_torch() -> None:
    program = (
        "import sys, brainnet, brainnet.concepts, brainnet.explain.explanation, brainnet.cli.main\n"
        "heavy = {'torch', 'numpy', 'lightning', 'hydra', 'sklearn', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_opens() -> None:
    for name in brainnet.__all__:
        assert getattr(brainnet, name).__name__ == name
    assert set(brainnet.__all__) <= set(dir(brainnet))
    with pytest.raises(AttributeError, match="no attribute 'Netwrok'"):
        brainnet.Netwrok


def test_the_door_shows_no_hinges_and_meets_a_slip_with_the_name_that_was_meant():
    assert {"TYPE_CHECKING", "import_module"}.isdisjoint(dir(brainnet))
    with pytest.raises(AttributeError, match=r"no attribute 'netwrok'\. Did you mean 'Network'\?"):
        brainnet.netwrok
    with pytest.raises(AttributeError, match=r"no attribute 'zebra'$"):
        brainnet.zebra
