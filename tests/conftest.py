"""What every test shares: pinned threads, a seed, a plain terminal, a reason where a part lacks.

Imports neither torch nor Hydra: collection stays quick, and the tests of the parts that need torch
alone run where Hydra is not installed.
"""

import os
import shutil
import sys

import pytest

# Before anything imports torch: on a loaded machine, default OpenMP threads can make a tiny matrix
# product twenty times slower. Child processes inherit it.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# What people and build servers set, and what a command then shows or allows otherwise.
SETTINGS = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES")


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal as most are, and no consent to anything, whoever starts the tests."""
    for variable in (*SETTINGS, "BRAINNET_ALLOW"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let each test draw alike, whatever ran before it; skip what this machine cannot, aloud."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    if item.get_closest_marker("native") is not None and not _has_compiler():
        pytest.skip("no C++ compiler on this machine")
    if item.get_closest_marker("cuda") is not None:
        import torch  # here, not above: only a run with CUDA tests in it pays for the import

        if not torch.cuda.is_available():
            pytest.skip("no CUDA GPU on this machine")


def _has_compiler() -> bool:
    names = (os.environ.get("CXX", ""), "g++", "clang++", "c++")
    return any(shutil.which(name) for name in names if name)
