"""House rules that no linter checks: vocabulary, unique public names, file size."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import brainnet

ROOT = Path(brainnet.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
WORDS = re.compile(
    r"\b(whoever|whatever|somebody|nobody|anybody|everybody|told|tells|hears|heard|theirs|amid|anew|aloud)\b"
)
MAX_LINES = 600


def find_public_names(path: Path) -> set[str]:
    """Return the classes and functions that a module defines for other modules."""
    definitions = (ast.ClassDef, ast.FunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name for node in tree.body if isinstance(node, definitions) and node.name[0] != "_"
    }


def test_prose_uses_plain_words() -> None:
    # The concept texts and the help texts of tags keep the teacher's voice.
    paths = [path for path in MODULES if path.name not in ("concepts.py", "tags.py")]
    uses = {
        f"{path.relative_to(ROOT)}:{number}": match[0]
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (match := WORDS.search(line))
    }
    assert uses == {}


def test_public_names_are_defined_once() -> None:
    places = defaultdict(list)
    for path in MODULES:
        for name in find_public_names(path):
            places[name].append(path.relative_to(ROOT).as_posix())
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_files_stay_readable() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_private_hydra_modules_are_not_used() -> None:
    assert not [path for path in MODULES if "hydra._internal" in path.read_text(encoding="utf-8")]
