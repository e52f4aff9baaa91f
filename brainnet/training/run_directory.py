"""Run directory: the files of a run, how a run is found, its lock, and its provenance."""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from brainnet.errors import InputError, did_you_mean
from brainnet.files import (
    clear_folder,
    create_unique_folder,
    list_missing_parents,
    remove_empty_folders,
    write_atomic,
)
from brainnet.kernels.dispatch import read_status

SUMMARY_FILE = "summary.json"
LOCK_FILE = "training.lock"
_CONFIG_FILE = "config.yaml"
_CHECKPOINTS = "checkpoints"
_LATEST = "latest"
_CHOICES = "Give the directory of a run, latest, or a .ckpt file."
_PACKAGES = ("torch", "lightning", "torchmetrics", "numpy", "scikit-learn", "tensorboard")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directory of one run: `config.yaml`, `summary.json`, `checkpoints/` and curves.

    Args:
        path: the directory.
        runs: the directory of all runs, whose file `latest` names the newest run; None for a run
            that is stored elsewhere.
    """

    path: Path
    runs: Path | None = None
    is_claimed: bool = field(default=False, compare=False, repr=False)

    @classmethod
    def plan(cls, runs: Path, name: str, now: datetime | None = None) -> "RunDirectory":
        """Name the directory of a new run, `runs/name/2026-01-31_12-00-00`; nothing is created."""
        return cls(runs / name / f"{now or datetime.now():%Y-%m-%d_%H-%M-%S}", runs)

    @property
    def checkpoints(self) -> Path:
        """The folder of `last.ckpt` and `best.ckpt`."""
        return self.path / _CHECKPOINTS

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.checkpoints / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint with the lowest validation loss."""
        return self.checkpoints / "best.ckpt"

    @property
    def has_summary(self) -> bool:
        """Whether a run was started in it."""
        return (self.path / SUMMARY_FILE).is_file()

    def set_latest(self) -> None:
        """Name this run in the file `latest`, once its training begins."""
        if self.runs is None:
            return
        # Relative, so that the directory of all runs can be moved.
        name = os.path.relpath(self.path, self.runs).replace(os.sep, "/")
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            write_atomic(self.runs / _LATEST, f"{name}\n")
        except OSError as error:
            raise InputError(
                f"the directory of runs must be writable; got {error.strerror} for {self.runs}. "
                "Choose another one with paths.runs=FOLDER."
            ) from error

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the configuration of the run."""
        text = yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True)
        write_atomic(self.path / _CONFIG_FILE, text)

    def read_config(self) -> dict[str, Any]:
        """Read the configuration of the run."""
        return _read_mapping(self.path / _CONFIG_FILE, yaml.safe_load)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the summary; numbers that are not finite become null, as JSON has none."""
        values = to_plain(summary, finite=True)
        text = json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False)
        write_atomic(self.path / SUMMARY_FILE, f"{text}\n")

    def read_summary(self) -> dict[str, Any]:
        """Read the summary of the run."""
        return _read_mapping(self.path / SUMMARY_FILE, json.loads)


@contextmanager
def claim_run(folder: RunDirectory) -> Iterator[RunDirectory]:
    """Create a run directory, as `..._2`, `..._3`, … if it exists.

    If an error leaves it without a summary, it is removed.
    """
    missing = list_missing_parents(folder.path)
    try:
        # Creating the inner folder claims the directory among several processes.
        path, created = create_unique_folder(folder.path, _CHECKPOINTS)
    except OSError as error:
        remove_empty_folders(missing)
        culprit = error.filename2 or error.filename or folder.path
        raise InputError(
            f"the run directory must be writable; got {error.strerror} for {culprit}. "
            "Choose another folder with paths.runs=FOLDER (in Python: folder=...)."
        ) from error
    claimed = replace(folder, path=path, is_claimed=True)
    try:
        yield claimed
    except BaseException:
        if not claimed.has_summary:
            clear_folder(path)
            remove_empty_folders(created)
        raise


@dataclass(frozen=True, slots=True)
class Run:
    """An existing run, and one of its checkpoints if the user named one."""

    folder: RunDirectory
    checkpoint: Path | None = None

    @property
    def best(self) -> Path:
        """The checkpoint to evaluate: the named one, else the best one, else the last one."""
        return self._find_checkpoint(self.folder.best, self.folder.last)

    @property
    def last(self) -> Path:
        """The checkpoint to resume from: the named one, else the last one."""
        return self._find_checkpoint(self.folder.last)

    def _find_checkpoint(self, *paths: Path) -> Path:
        for path in [self.checkpoint] if self.checkpoint else paths:
            if path.is_file():
                return path
        raise InputError(
            f"the run {self.folder.path} has no checkpoint {paths[0].name}. "
            "Give another checkpoint file, or train a new run."
        )


def find_run(run: str | Path, runs: Path = Path("runs")) -> Run:
    """Find a run by its directory, by `latest` in `runs`, or by one of its checkpoint files."""
    path = Path(run).expanduser()
    # A directory named "latest" is a run like any other.
    if str(run) == _LATEST and not path.is_dir():
        try:
            path = runs / (runs / _LATEST).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"there is no latest run in {runs.resolve()}. Train one first, or give the "
                "directory of a run."
            ) from error
    if path.is_file() and path.suffix == ".ckpt":
        # A copied checkpoint can lie directly in a directory with a configuration.
        is_inside = path.parent.name == _CHECKPOINTS
        return Run(RunDirectory(path.parent.parent if is_inside else path.parent), path)
    if not path.exists():
        suggestion = did_you_mean(str(run), [_LATEST])
        raise InputError(f"there is no run {path}.{suggestion} {_CHOICES}")
    folder = RunDirectory(path)
    if not folder.has_summary:
        raise InputError(f"{path} is not a run: it has no {SUMMARY_FILE}. {_CHOICES}")
    return Run(folder)


def to_plain(value: Any, *, finite: bool = False) -> Any:
    """Convert a value to what YAML and JSON can store; `finite` replaces NaN and inf by None."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(part, finite=finite) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(part, finite=finite) for part in value]
    if finite and isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or type(value) in (bool, int, float, str):
        return value
    # Scalars of NumPy and PyTorch.
    item = getattr(value, "item", None)
    return to_plain(item(), finite=finite) if callable(item) else str(value)


def _read_mapping(path: Path, parse: Any) -> dict[str, Any]:
    try:
        content = parse(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it has no keys")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(
            f"{path} cannot be read ({error}). Use another run, or train a new one."
        ) from error
    return content


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Prevent other processes from training in a run directory."""
    # The operating system releases the lock when the process ends, even after a crash.
    path = folder / LOCK_FILE
    # Not 0: a lock file that its previous owner has just removed is opened again.
    lock = FileLock(path, timeout=0.2)
    try:
        lock.acquire()
    except Timeout as error:
        owner = ""
        with suppress(OSError, UnicodeDecodeError):
            owner = path.read_text(encoding="utf-8").strip()
        raise InputError(
            f"{folder} is being trained by another command{owner and f' ({owner})'}. Wait for it "
            "or stop it, then resume; or train a new run, without resume."
        ) from error
    # A read-only directory: writing the run will fail with its own message.
    except OSError:
        yield
        return
    try:
        with suppress(OSError):
            path.write_text(f"process {os.getpid()} on {platform.node()}\n", encoding="utf-8")
        yield
    finally:
        # Removed while locked, so that the lock of another process is never removed.
        with suppress(OSError):
            path.unlink()
        lock.release()


def collect_provenance() -> dict[str, Any]:
    """Return package versions and the kernels in use; an unavailable choice is an InputError."""
    versions = {
        # The package can run from its source tree without being installed.
        "brainnet": str(sys.modules["brainnet"].__version__),
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }
    return {
        "versions": versions,
        "git_commit": _read_git_commit(),
        "kernels": {"threshold_ramp": read_status()},
    }


def _read_git_commit() -> str | None:
    """Return the git commit of the working directory, if it belongs to a project."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        # Limited, because a repository on a network drive can be slow.
        result = subprocess.run(command, capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
