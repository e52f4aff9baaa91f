"""Shared by all tests: pinned threads, a seed, a plain terminal, and reasons for skipped tests.

Imports neither torch nor Hydra, so that collection is fast and the tests of torch-only packages run
without Hydra.
"""

import os
import shutil
import sys

import pytest

# Set before torch is imported. On a busy machine, the default OpenMP threads make a tiny matrix
# product twenty times slower. Child processes inherit the setting.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Variables that change what a command prints.
SETTINGS = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES")


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test with a plain terminal and without allowed modules."""
    for variable in (*SETTINGS, "BRAINNET_ALLOW"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed each test, and skip tests that this machine cannot run."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    if item.get_closest_marker("native") is not None and not _has_compiler():
        pytest.skip("no C++ compiler on this machine")
    if item.get_closest_marker("cuda") is not None:
        import torch  # only runs with CUDA tests need this import

        if not torch.cuda.is_available():
            pytest.skip("no CUDA GPU on this machine")


def _has_compiler() -> bool:
    names = (os.environ.get("CXX", ""), "g++", "clang++", "c++")
    return any(shutil.which(name) for name in names if name)
