"""Files: where the rows of a configuration lie, told so that they are found from any folder."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TABLE, IMAGES = "brainnet.data.table.Table", "brainnet.data.images.Images"

PATHS = ("path", "validation_path", "test_path", "labels")
"""The keys of `data` that name files or folders."""


def located(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `data` group of a configuration with whole paths.

    A run is gone on with, judged and explained from other folders than it was trained in. Links
    stay what they are.

    Example:
        >>> located({"_target_": TABLE, "path": "/data/../rows.csv", "target": "path"})["path"]
        '/rows.csv'
    """
    return _with_paths(data, whole)


def seen_from_here(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `data` group with the paths below this folder as they would be typed in it."""
    return _with_paths(data, _from_here)


def _with_paths(data: Mapping[str, Any], change: Callable[[str | Path], str]) -> dict[str, Any]:
    if data.get("_target_") not in (TABLE, IMAGES):
        return dict(data)
    return {
        key: change(value) if key in PATHS and isinstance(value, str | Path) and value else value
        for key, value in data.items()
    }


def _from_here(path: str | Path) -> str:
    here, found = Path.cwd(), Path(path)
    return str(found.relative_to(here)) if found.is_relative_to(here) else str(path)


def whole(path: str | Path) -> str:
    """Return a path as it is found from any folder."""
    # Not `resolve`, which would name the file a link leads to now.
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100


def is_same(one: object, other: object) -> bool:
    """Whether two paths, however they are spelled, lead to the same file or folder."""
    if not isinstance(one, str | Path) or not isinstance(other, str | Path):
        return one == other
    try:
        return whole(one) == whole(other) or Path(whole(one)).samefile(whole(other))
    except (OSError, ValueError):  # one is not there
        return False
