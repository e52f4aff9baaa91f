"""Run folder: where one run keeps what was run, what came of it, and its checkpoints."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from brainnet.errors import InputError
from brainnet.fresh_folder import clear, make_first_free, missing, remove_empty
from brainnet.suggestion import did_you_mean
from brainnet.training.whole_file import write_whole

LATEST = "latest"
CONFIG = "config.yaml"
SUMMARY = "summary.json"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True)
class Claim:
    """What was there before a folder was claimed, to be put back where no run begins.

    Attributes:
        earlier: what `latest` said, if there was one.
        made: the folders made for it, deepest first.
    """

    earlier: str | None
    made: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run: `config.yaml`, `summary.json`, `checkpoints/`, curves.

    Args:
        path: the folder.
        runs: the folder that holds all runs and whose file `latest` names the newest; None for a
            run that is kept apart.
        claimed: what was there before, once the folder is claimed.
    """

    path: Path
    runs: Path | None = None
    claimed: Claim | None = field(default=None, compare=False, repr=False)

    @classmethod
    def plan(cls, runs: Path, name: str, now: datetime | None = None) -> "RunFolder":
        """Name the folder of a new run, `runs/name/2026-01-31_12-00-00`; nothing is made yet."""
        return cls(runs / name / f"{now or datetime.now():%Y-%m-%d_%H-%M-%S}", runs)

    @property
    def checkpoints(self) -> Path:
        """The folder of `last.ckpt` and `best.ckpt`."""
        return self.path / CHECKPOINTS

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.checkpoints / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint with the lowest validation loss."""
        return self.checkpoints / "best.ckpt"

    @property
    def began(self) -> bool:
        """Whether a run began in it, and so has something to tell."""
        return (self.path / SUMMARY).is_file()

    def claim(self) -> "RunFolder":
        """Make the folder, as `..._2`, `..._3`, … where it is taken, and name it in `latest`.

        Returns:
            The claimed folder; one that is claimed already is returned as it is.

        Raises:
            InputError: it cannot be made; then nothing is.
        """
        if self.claimed is not None:
            return self
        made = [] if self.runs is None else missing(self.runs)
        taken = self
        try:
            if self.runs is not None:
                self.runs.mkdir(parents=True, exist_ok=True)
            earlier = None if self.runs is None else _read_if_there(self.runs / LATEST)
            path, fresh = make_first_free(self.path, CHECKPOINTS)
            made = [*fresh, *made]
            taken = RunFolder(path, self.runs, Claim(earlier, tuple(made)))
            taken._point_latest_here()
        except OSError as error:
            with suppress(OSError):
                remove_empty([*([taken.checkpoints] if taken.claimed else []), *made])
            raise InputError(
                f"the run's folder must be writable; got {error.strerror} for "
                f"{error.filename2 or error.filename or self.path}. "
                "Choose another place with paths.runs=FOLDER (in Python: folder=...)."
            ) from error
        return taken

    def abandon(self) -> None:
        """Take back a claimed folder in which no run began, and what `latest` says of it."""
        if self.claimed is None:
            return
        clear(self.path)
        latest = None if self.runs is None else self.runs / LATEST
        # Another run may have been claimed since; what it wrote stays.
        if latest is not None and _read_if_there(latest) == self._as_latest():
            if self.claimed.earlier is None:
                latest.unlink(missing_ok=True)
            else:
                write_whole(latest, self.claimed.earlier)
        remove_empty(self.claimed.made)

    def _point_latest_here(self) -> None:
        if self.runs is not None:
            write_whole(self.runs / LATEST, self._as_latest())

    def _as_latest(self) -> str:
        """The line that names this run in `latest`."""
        name = os.path.relpath(self.path, self.runs).replace(os.sep, "/")
        return f"{name}\n"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Store what is being run."""
        text = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
        write_whole(self.path / CONFIG, text)

    def read_config(self) -> dict[str, Any]:
        """Return what was run.

        Raises:
            InputError: the file is missing or damaged.
        """
        path = self.path / CONFIG
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(_cannot_read(path, error)) from error
        if not isinstance(config, dict):
            raise InputError(_cannot_read(path, "it holds no keys"))
        return config

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Store what came of it; numbers that are not finite become null, as JSON wants it."""
        text = json.dumps(_finite(plain(summary)), indent=2, allow_nan=False, ensure_ascii=False)
        write_whole(self.path / SUMMARY, f"{text}\n")

    def read_summary(self) -> dict[str, Any]:
        """Return what came of it.

        Raises:
            InputError: the file is missing or damaged.
        """
        path = self.path / SUMMARY
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(_cannot_read(path, error)) from error
        if not isinstance(summary, dict):
            raise InputError(_cannot_read(path, "it holds no keys"))
        return summary


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was found: its folder, and the checkpoint where one was named."""

    folder: RunFolder
    named: Path | None = None

    @property
    def best(self) -> Path:
        """The checkpoint to judge the run by: the named one, else the best, else the last."""
        return self._first(self.folder.best, self.folder.last)

    @property
    def last(self) -> Path:
        """The checkpoint to go on from: the named one, else the last."""
        return self._first(self.folder.last)

    def _first(self, *wanted: Path) -> Path:
        for path in [self.named] if self.named else wanted:
            if path.is_file():
                return path
        raise InputError(
            f"the run {self.folder.path} has no checkpoint {wanted[0].name}. "
            "Name another checkpoint file, or train anew."
        )


def find_run(run: str | Path, runs: Path = Path("runs")) -> Run:
    """Find a run by its folder, by `latest`, or by one of its checkpoint files.

    Args:
        run: what the user named.
        runs: the folder in which `latest` is looked up.

    Raises:
        InputError: there is no such run.
    """
    if str(run) == LATEST and not Path(run).is_dir():
        return Run(_latest(runs))
    path = Path(run).expanduser()
    if path.name == LATEST and path.is_file():
        return Run(_latest(path.parent))
    if path.is_file() and path.suffix == ".ckpt":
        inside = path.parent.name == CHECKPOINTS
        return Run(RunFolder(path.parent.parent if inside else path.parent), path)
    if not path.exists():
        meant = did_you_mean(str(run), [LATEST])
        raise InputError(f"there is no run {path}.{meant} {_how_to_name(runs)}")
    folder = RunFolder(path)
    if not path.is_dir() or not (folder.path / SUMMARY).is_file():
        raise InputError(f"{path} is no run: it has no {SUMMARY}. {_inside(path, runs)}")
    return Run(folder)


def plain(value: Any) -> Any:  # noqa: ANN401 - anything a config can hold
    """Return the value in dictionaries, lists, strings and numbers alone.

    Example:
        >>> plain({"hidden": (64, 32), "runs": Path("runs")})
        {'hidden': [64, 32], 'runs': 'runs'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    # NumPy's and torch's single numbers know how to become Python's.
    item = getattr(value, "item", None)
    return plain(item()) if callable(item) else str(value)


def _finite(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read_if_there(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _latest(runs: Path) -> RunFolder:
    pointer = runs / LATEST
    try:
        name = pointer.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"there is no latest run in {runs.resolve()}. Train one first, or name a run's folder."
        ) from error
    folder = RunFolder(runs / name, runs)
    if not name or not (folder.path / SUMMARY).is_file():
        raise InputError(
            f"the latest run, {folder.path}, is gone or is no run. Name the folder of another."
        )
    return folder


def _inside(folder: Path, runs: Path) -> str:
    """What to name instead of a folder that is no run: the newest run in it, if it holds any."""
    held = [file.parent for file in folder.glob(f"*/{SUMMARY}")] if folder.is_dir() else []
    if not held:
        return _how_to_name(runs)
    newest = max(held, key=lambda run: (run.stat().st_mtime, run.name))
    return f"It holds {'one' if len(held) == 1 else f'{len(held):,}'}: name {newest}, the newest."


def _how_to_name(runs: Path) -> str:
    newest = f" (now {_latest_name(runs)})" if _latest_name(runs) else ""
    return f"Give a run's folder, latest{newest}, or a .ckpt file."


def _latest_name(runs: Path) -> str:
    try:
        return str(_latest(runs).path)
    except InputError:
        return ""


def _cannot_read(path: Path, why: object) -> str:
    return f"{path} cannot be read ({why}). Use another run, or train this one anew."
