"""The directory of a run: configuration, summary, checkpoints and lock."""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from brainnet.errors import InputError, did_you_mean
from brainnet.files import (
    acquire_lock,
    clear_folder,
    create_unique_folder,
    list_missing_parents,
    release_lock,
    remove_empty_folders,
    write_atomic,
)
from brainnet.kernels.dispatch import read_status

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
class RunDirectory:
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
    def plan(cls, runs: Path, name: str, now: datetime | None = None) -> "RunDirectory":
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

    def claim(self) -> "RunDirectory":
        """Make the folder, as `..._2`, `..._3`, … where it is taken, and name it in `latest`.

        Returns:
            The claimed folder; one that is claimed already is returned as it is.

        Raises:
            InputError: it cannot be made; then nothing is.
        """
        if self.claimed is not None:
            return self
        made = [] if self.runs is None else list_missing_parents(self.runs)
        taken = self
        try:
            if self.runs is not None:
                self.runs.mkdir(parents=True, exist_ok=True)
            earlier = None if self.runs is None else _read_if_there(self.runs / LATEST)
            path, fresh = create_unique_folder(self.path, CHECKPOINTS)
            made = [*fresh, *made]
            taken = RunDirectory(path, self.runs, Claim(earlier, tuple(made)))
            taken._point_latest_here()
        except OSError as error:
            with suppress(OSError):
                remove_empty_folders([*([taken.checkpoints] if taken.claimed else []), *made])
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
        clear_folder(self.path)
        latest = None if self.runs is None else self.runs / LATEST
        # Another run may have been claimed since; what it wrote stays.
        if latest is not None and _read_if_there(latest) == self._as_latest():
            if self.claimed.earlier is None:
                latest.unlink(missing_ok=True)
            else:
                write_atomic(latest, self.claimed.earlier)
        remove_empty_folders(self.claimed.made)

    def _point_latest_here(self) -> None:
        if self.runs is not None:
            write_atomic(self.runs / LATEST, self._as_latest())

    def _as_latest(self) -> str:
        """The line that names this run in `latest`."""
        name = os.path.relpath(self.path, self.runs).replace(os.sep, "/")
        return f"{name}\n"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Store what is being run."""
        text = yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True)
        write_atomic(self.path / CONFIG, text)

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
        text = json.dumps(_finite(to_plain(summary)), indent=2, allow_nan=False, ensure_ascii=False)
        write_atomic(self.path / SUMMARY, f"{text}\n")

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

    folder: RunDirectory
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
        return Run(RunDirectory(path.parent.parent if inside else path.parent), path)
    if not path.exists():
        meant = did_you_mean(str(run), [LATEST])
        raise InputError(f"there is no run {path}.{meant} {_how_to_name(runs)}")
    folder = RunDirectory(path)
    if not path.is_dir() or not (folder.path / SUMMARY).is_file():
        raise InputError(f"{path} is no run: it has no {SUMMARY}. {_inside(path, runs)}")
    return Run(folder)


def to_plain(value: Any) -> Any:
    """Return the value in dictionaries, lists, strings and numbers alone.

    Example:
        >>> plain({"hidden": (64, 32), "runs": Path("runs")})
        {'hidden': [64, 32], 'runs': 'runs'}
    """
    if isinstance(value, Mapping):
        return {str(key): to_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(part) for part in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    # NumPy's and torch's single numbers know how to become Python's.
    item = getattr(value, "item", None)
    return to_plain(item()) if callable(item) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read_if_there(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _latest(runs: Path) -> RunDirectory:
    pointer = runs / LATEST
    try:
        name = pointer.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"there is no latest run in {runs.resolve()}. Train one first, or name a run's folder."
        ) from error
    folder = RunDirectory(runs / name, runs)
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


LOCK = "training.lock"


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Keep others from training in a run's folder for as long as this lasts.

    The system gives the folder free when the process ends, however it does: a file that a crash
    left behind holds nobody up.

    Args:
        folder: of the run.

    Raises:
        InputError: another command trains it.
    """
    path = folder / LOCK
    try:
        file = _held(path)
    except BlockingIOError as error:
        raise InputError(
            f"{folder} is being trained by another command{_who(path)}: wait for it, or stop it, "
            "and then go on with the run; or train a new one, without resume."
        ) from error
    except OSError:  # where nothing can be written, the run itself will say so
        yield
        return
    try:
        yield
    finally:
        _give_back(file, path)


def _held(path: Path) -> BinaryIO:
    """The file, open and held, with who holds it.

    Raises:
        BlockingIOError: somebody else holds it.
        OSError: it cannot be opened.
    """
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        try:
            acquire_lock(file)
            # Who held it before may have removed it since it was opened: then this is no longer it.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    _sign(file)
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def _sign(file: BinaryIO) -> None:
    with suppress(OSError):  # of a full disk: it is held all the same
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {platform.node()}\n".encode())


def _give_back(file: BinaryIO, path: Path) -> None:
    with suppress(OSError):
        # While it is held, lest another's be removed; Windows removes nothing that is open.
        path.unlink()
    release_lock(file)
    file.close()
    if os.name == "nt":
        with suppress(OSError):
            path.unlink()


def _who(path: Path) -> str:
    try:
        told = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return f" ({told})" if told else ""


_PACKAGES = ("torch", "lightning", "torchmetrics", "numpy", "scikit-learn", "tensorboard")


def collect_provenance() -> dict[str, Any]:
    """Return all of it, as plain values.

    Raises:
        InputError: BRAINNET_KERNELS asks for a path that there is not.
    """
    return {
        "versions": versions(),
        "git_commit": commit_of(Path.cwd()),
        "kernels": kernels(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    found = {
        # Also right where the package runs from its source tree and is not installed.
        "brainnet": str(sys.modules["brainnet"].__version__),
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit_of(folder: Path) -> str | None:
    """Return the git commit of the project that the folder is in, with + where it was changed."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+" if changed else commit


def kernels() -> dict[str, dict[str, dict[str, str]]]:
    """Return which path each op takes, and why, by device.

    Raises:
        InputError: BRAINNET_KERNELS asks for a path that there is not.
    """
    return {"threshold_ramp": read_status()}


def _git(folder: Path, *arguments: str) -> str:
    # To look is not to touch: no lock on the index, and no program that a repository names.
    quiet = ["--no-optional-locks", "-c", "core.fsmonitor="]
    command = ["git", *quiet, "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
