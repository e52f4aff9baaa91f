"""Package levels, framework boundaries and the lazy public API."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import brainnet

ROOT = Path(brainnet.__file__).parent
LEVELS = [
    "errors",
    "files",
    "concepts",
    "kernels",
    "structure",
    "learning",
    "data",
    "observation",
    "explanation",
    "training",
    "config",
    "inference",
    "cli",
    "__main__",
]
"""Lowest first: a module imports only from its own level and lower levels."""

ALLOWED_PACKAGES = {
    "lightning": {"training", "data/datamodule.py"},
    "hydra": {"cli", "config"},
    "omegaconf": {"cli", "config"},
    "tensorboard": {"observation/tensorboard.py"},
    "matplotlib": {"observation/plots.py"},
    "onnx": {"inference/export.py"},
    "sklearn": {"data"},
}
"""Where each framework may be imported."""


def list_modules() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


def find_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def get_level(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_module_has_a_level() -> None:
    assert {get_level(path) for path in list_modules()} <= set(LEVELS)


@pytest.mark.parametrize("path", list_modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_respect_levels(path: Path) -> None:
    for name in find_imports(path):
        package, _, rest = name.partition(".")
        if package != "brainnet":
            continue
        level = rest.split(".")[0]
        if level in brainnet.__all__ or level == "__version__":
            assert level == "__version__", f"{path} imports {name} from the package root"
            continue
        assert LEVELS.index(level) <= LEVELS.index(get_level(path)), f"{path} imports {name}"


@pytest.mark.parametrize("path", list_modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_frameworks_are_imported_only_where_allowed(path: Path) -> None:
    place = path.relative_to(ROOT)
    for name in find_imports(path):
        allowed = ALLOWED_PACKAGES.get(name.split(".")[0])
        if allowed is None and name.startswith("torch.utils.tensorboard"):
            allowed = ALLOWED_PACKAGES["tensorboard"]
        assert allowed is None or {place.parts[0], place.as_posix()} & allowed, f"{path}: {name}"


def test_package_inits_are_empty() -> None:
    inits = [path for path in ROOT.rglob("__init__.py") if path != ROOT / "__init__.py"]
    assert inits
    assert all(path.read_text(encoding="utf-8") == "" for path in inits)


def test_importing_brainnet_imports_no_torch() -> None:
    program = (
        "import sys, brainnet.concepts, brainnet.explanation.explanation, brainnet.cli.main\n"
        "heavy = {'torch', 'numpy', 'lightning', 'hydra', 'sklearn', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_public_names_are_importable() -> None:
    for name in brainnet.__all__:
        assert getattr(brainnet, name).__name__ == name
    assert set(brainnet.__all__) <= set(dir(brainnet))
    with pytest.raises(AttributeError, match="no attribute 'Netwrok'"):
        brainnet.Netwrok  # noqa: B018


def test_dir_lists_public_names_and_errors_suggest_them():
    assert {"TYPE_CHECKING", "import_module"}.isdisjoint(dir(brainnet))
    with pytest.raises(AttributeError, match=r"no attribute 'netwrok'\. Did you mean 'Network'\?"):
        brainnet.netwrok  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'zebra'$"):
        brainnet.zebra  # noqa: B018
