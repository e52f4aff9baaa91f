"""Provenance: what a run was made with, so that it can be made again."""

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from brainnet.kernels.paths import status

_PACKAGES = ("torch", "lightning", "torchmetrics", "numpy", "scikit-learn", "tensorboard")


def provenance() -> dict[str, Any]:
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
    return {"threshold_ramp": status()}


def _git(folder: Path, *arguments: str) -> str:
    # To look is not to touch: no lock on the index, and no program that a repository names.
    quiet = ["--no-optional-locks", "-c", "core.fsmonitor="]
    command = ["git", *quiet, "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
