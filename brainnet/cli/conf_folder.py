"""Where the YAML files are, and what each of them says of itself."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Choice:
    """One YAML file of a group: what `group=name` chooses, in the words of its first comment."""

    name: str
    meaning: str


def conf_folder() -> Path:
    """The folder of the YAML files: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def groups() -> list[str]:
    """The groups in the order of the table of contents, `train.yaml`."""
    lines = (conf_folder() / "train.yaml").read_text(encoding="utf-8").splitlines()
    entries = [line.strip()[2:] for line in lines if line.startswith("  - ") and ":" in line]
    return [entry.partition(":")[0] for entry in entries]


def choices(group: str) -> list[Choice]:
    """The options of a group; a file whose name begins with `_` is a part of others, no option."""
    files = sorted((conf_folder() / group).glob("[!_]*.yaml"))
    return [Choice(file.stem, meaning(file)) for file in files]


def meaning(file: Path) -> str:
    """The sentence that a YAML file opens with; `@package` lines belong to Hydra."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").strip()
    return ""
