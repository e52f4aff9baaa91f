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
    for extra in ("onnx",)  # the other extras are for development
    for line in PROJECT["optional-dependencies"][extra]
]
TOOLS = [Requirement(line) for extra in PROJECT["optional-dependencies"].values() for line in extra]

# PyTorch installs Triton where it supports a GPU.
INSTALLED_BY_TORCH = {"triton"}
# torch.onnx imports it.
IMPORTED_BY_TORCH = {"onnxscript"}
# Distributions whose import name differs.
DISTRIBUTION = {
    "PIL": "pillow",
    "google_crc32c": "google-crc32c",
    "hydra": "hydra-core",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def read_pins() -> dict[str, str]:
    """Return the pinned version of each distribution."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (e.split("==") for e in entries)}


def find_imported_roots() -> set[str]:
    """Return the top-level names of all modules that the package imports."""
    roots = set()
    for path in (ROOT / "brainnet").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                roots |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                roots.add(node.module.partition(".")[0])
    return roots


def find_dependencies(requirements: list[Requirement]) -> set[str]:
    """Return the installed distributions that the requirements depend on."""
    distributions: set[str] = set()
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
            distributions.add(name)
            waiting += [(Requirement(line), wanted) for line in lines]
    return distributions


def test_imports_equal_declared_dependencies():
    outside = (
        find_imported_roots() - set(sys.stdlib_module_names) - INSTALLED_BY_TORCH - {"brainnet"}
    )
    imported = {DISTRIBUTION.get(root, root) for root in outside}
    declared = {requirement.name for requirement in DECLARED + EXTRAS}
    assert imported | IMPORTED_BY_TORCH == declared


def test_pins_satisfy_declared_ranges():
    pinned = read_pins()
    outside = [
        str(r) for r in DECLARED + TOOLS if pinned[canonicalize_name(r.name)] not in r.specifier
    ]
    assert outside == []


def test_all_dependencies_are_pinned():
    # torch pins its own CUDA packages to the version.
    from_torch = find_dependencies([Requirement("torch")])
    loose = find_dependencies(DECLARED + TOOLS) - from_torch - set(read_pins())
    assert loose == set()


def test_pins_contain_no_address():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert [mark for mark in ("://", "@", "+", "--") if mark in text] == []
