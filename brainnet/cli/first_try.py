"""A first try: what to type of a table, of pictures or of an option that was typed as elsewhere."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from brainnet.cli.conf_folder import choices, groups
from brainnet.cli.keys import BY_PATH
from brainnet.data.idx import is_idx
from brainnet.data.reading import READABLE_ENDINGS
from brainnet.suggestion import meant, override
from brainnet.training.run_folder import SUMMARY

TABLE = "A table is trained on by: brainnet train data=table {path} data.target=COLUMN"
PICTURES = (
    "Pictures, a folder of them for each class, are trained on by: brainnet train data=images "
)


def of_rows(word: str) -> str | None:
    """What to type to train on a file or a folder; None where the word is neither, by all signs.

    Args:
        word: as typed, in place of an override.

    Example:
        >>> of_rows("house.csv")
        'A table is trained on by: brainnet train data=table data.path=house.csv data.target=COLUMN'
        >>> of_rows("moons") is None
        True
    """
    path = Path(word.strip("'\"")).expanduser()
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
        if is_folder and (path / SUMMARY).exists():
            return f"A run goes on by: brainnet train {override('resume', str(path))}"
    except (OSError, ValueError):  # of a name that no file can have
        return None
    typed = override("data.path", str(path))
    suffixes = [each.lower() for each in path.suffixes[-2:]]
    if is_folder or is_idx(path):
        return PICTURES + typed
    if any(each in READABLE_ENDINGS for each in suffixes):
        return TABLE.format(path=typed)
    return f"{TABLE.format(path=typed)}\n{PICTURES}data.path=FOLDER" if is_file else None


def of_word(word: str) -> str | None:
    """What a word that is no override may have meant: a file, a folder, or a choice of a group.

    Example:
        >>> of_word("moons")
        'Did you mean data=moons?'
    """
    rows = of_rows(word)
    if rows is not None:
        return rows
    found = [
        f"{group}={word}" for group in groups() for each in choices(group) if each.name == word
    ]
    return f"Did you mean {' or '.join(found)}?" if found else None


def of_option(option: str, words: Sequence[str], options: Iterable[str]) -> str:
    """What an option that there is not may have meant: a key, which is typed without dashes.

    Args:
        option: as typed, `--lr` or `--lr=0.1`.
        words: all that was typed, in order.
        options: those that there are.

    Example:
        >>> of_option("--lr", ["--lr", "0.1"], ["--help"])
        ' Keys are typed without dashes: optimizer.lr=0.1.'
    """
    name, equals, value = option.lstrip("-").partition("=")
    after = words[words.index(option) + 1 :] if option in words else []
    if not equals and after and not after[0].startswith("-") and "=" not in after[0]:
        value = after[0]
    keys = meant(name.replace("-", "_"), [*BY_PATH, *groups()])
    near = meant(option, options)
    exact = [key for key in keys if key.rpartition(".")[2] == name.replace("-", "_")]
    if exact or (keys and not near):
        told = " or ".join(override(key, value) if value else f"{key}=..." for key in exact or keys)
        return f" Keys are typed without dashes: {told}."
    return f" Did you mean {' or '.join(near)}?" if near else ""
