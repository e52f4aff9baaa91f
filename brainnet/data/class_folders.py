"""Class folders: pictures sorted into a folder for each class, as somebody lays them out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from brainnet.data.column import in_order
from brainnet.data.wording import listed
from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean

PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
"""What the folders of parts are called, if the pictures lie in such."""

_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True, slots=True)
class Labelled:
    """Files with the class of each: its place in a tuple of names."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]


def find_classes(folder: Path) -> tuple[tuple[str, ...], list[Labelled]]:
    """Return the names of the classes, and the files that train, validate and test.

    The parts are folders of class folders, if there are such; else all files train.

    Raises:
        InputError: there are no class folders, or one only, or they differ between the parts.
    """
    parts = part_folders(folder)
    names = _class_names(parts.get("train", folder))
    return names, [
        _labelled(parts[part], names) if part in parts else Labelled((), ()) for part in PARTS
    ]


def part_folders(folder: Path) -> dict[str, Path]:
    """Return the folders of the parts; the whole folder trains where there are none such."""
    folders = {path.name.lower(): path for path in subfolders(folder)}
    found = {
        part: path
        for part, names in PARTS.items()
        for name, path in folders.items()
        if name in names
    }
    # "train" may be a class among others, beside "car"; then it holds pictures, not folders.
    nested = "train" in found and bool(subfolders(found["train"]))
    if not nested or len(found) < len(folders):
        return {"train": folder}
    return found


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder by name, without those that programs hide there."""
    return [path for path in shown(folder) if path.is_dir()]


def shown(folder: Path) -> list[Path]:
    """Return what is in a folder by name, without what programs hide there."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return [path for path in found if not is_clutter(path)]


def is_clutter(path: Path) -> bool:
    """Whether a program left this file for itself: its name begins with a dot, or is known."""
    return path.name.startswith(".") or path.name.lower() in _CLUTTER


def files_in(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield all files in a folder and the folders in it, by name; no pipes and devices.

    Args:
        folder: whose links are followed, but not round and round.
        above: the folders that it lies in, as far as one has come from there, resolved.
    """
    above = (*above, folder.resolve())
    for path in shown(folder):
        if path.is_dir():
            there = path.resolve()
            if not any(each == there or each.is_relative_to(there) for each in above):
                yield from files_in(path, above)
        elif path.is_file() or path.is_symlink():  # a link to nothing is told as broken
            yield path


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(in_order({path.name for path in subfolders(folder)}))
    if len(names) >= 2:
        return names
    loose = [path.name for path in shown(folder) if path.is_file()]
    if names:
        found = f"one only, {names[0]}, and with one class there is nothing to tell apart"
    else:
        found = f"{len(loose)} files and no folder" if loose else "nothing"
    raise InputError(
        f"{folder} must hold a folder for each class, two or more, with its pictures in it; it "
        f"holds {found}. Sort the pictures into folders that are called like their classes."
    )


def _labelled(folder: Path, names: Sequence[str]) -> Labelled:
    there = [path.name for path in subfolders(folder)]
    for name in there:
        if name not in names:
            raise InputError(
                f"{folder} has a class {name!r} that the pictures to train on do not have: those "
                f"are {listed(names)}.{did_you_mean(name, names)}"
            )
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = list(files_in(folder / name)) if name in there else []
        if name in there and not found:
            raise InputError(
                f"the class folder {folder / name} is empty. Put pictures of that class into it, "
                "or remove it."
            )
        files += found
        labels += [label] * len(found)
    return Labelled(tuple(files), tuple(labels))
