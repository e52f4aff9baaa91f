"""What every test shares: pinned threads, and a stated reason where the hardware is missing.

Imports neither torch nor Hydra: collection stays quick, and the tests of the parts that need torch
alone run where Hydra is not installed.
"""

import os

import pytest

# Before anything imports torch: on a loaded machine, default OpenMP threads can make a tiny matrix
# product twenty times slower. Child processes inherit it.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a CUDA test, with the reason, where there is no CUDA GPU."""
    if item.get_closest_marker("cuda") is None:
        return
    import torch  # here, not above: only a run with CUDA tests in it pays for the import

    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU on this machine")
