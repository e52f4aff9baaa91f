"""What the package imports, what pyproject.toml declares and what constraints.txt pins agree."""

import ast
import importlib.metadata
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DECLARED = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = [
    Requirement(line)
    for extra in ("onnx", "parquet")  # what users install; the others are for working on brainnet
    for line in PROJECT["optional-dependencies"][extra]
]
TOOLS = [Requirement(line) for extra in PROJECT["optional-dependencies"].values() for line in extra]

# Triton is none of ours to ask for: PyTorch brings it where it has a GPU to compile for.
BROUGHT_BY_TORCH = {"triton"}
# Its fonts are read from its folder; to import it takes a third of a second.
READ_AS_FILES = {"matplotlib"}
# torch.onnx imports it for itself.
IMPORTED_BY_TORCH = {"onnxscript"}
# The distributions whose import name is not their own.
DISTRIBUTION = {"PIL": "pillow", "hydra": "hydra-core", "sklearn": "scikit-learn", "yaml": "pyyaml"}


def pins() -> dict[str, str]:
    """The pinned version of each distribution."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (e.split("==") for e in entries)}


def imported_roots() -> set[str]:
    """The first part of every module that a file of the package imports."""
    roots = set()
    for path in (ROOT / "brainnet").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                roots |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                roots.add(node.module.partition(".")[0])
    return roots


def needed_by(requirements: list[Requirement]) -> set[str]:
    """The distributions that the requirements bring along, as far as they are installed here."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *sorted(requirement.extras)):
            name = canonicalize_name(requirement.name)
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            try:
                lines = importlib.metadata.requires(name) or []
            except importlib.metadata.PackageNotFoundError:
                continue
            found.add(name)
            waiting += [(Requirement(line), wanted) for line in lines]
    return found


def test_every_import_is_declared_and_every_declaration_is_imported():
    outside = imported_roots() - set(sys.stdlib_module_names) - BROUGHT_BY_TORCH - {"brainnet"}
    imported = {DISTRIBUTION.get(root, root) for root in outside} | READ_AS_FILES
    declared = {requirement.name for requirement in DECLARED + EXTRAS}
    assert imported | IMPORTED_BY_TORCH == declared


def test_every_pin_lies_in_the_declared_range():
    pinned = pins()
    outside = [
        str(r) for r in DECLARED + TOOLS if pinned[canonicalize_name(r.name)] not in r.specifier
    ]
    assert outside == []


def test_everything_that_comes_along_is_pinned():
    # torch pins its own CUDA packages to the version.
    from_torch = needed_by([Requirement("torch")])
    loose = needed_by(DECLARED + TOOLS) - from_torch - set(pins())
    assert loose == set()


def test_no_pin_names_a_place():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert [mark for mark in ("://", "@", "+", "--") if mark in text] == []
