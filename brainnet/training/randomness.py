"""Randomness: the global random numbers, lent to a run by its seed and handed back after it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's global random numbers, and put them back afterwards.

    Our own parts draw from generators of their own; dropout, and the modules of others, do not.
    """
    before = random_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        set_random_state(before)


def random_state() -> dict[str, Any]:
    """Return the state of all global random numbers, as tensors and plain values."""
    version, internal, gauss = random.getstate()
    numpy: Any = np.random.get_state(legacy=True)
    kind, keys, position, has_gauss, cached = numpy
    return {
        "torch": torch.get_rng_state(),
        "cuda": _cuda_states(),
        "python": [version, torch.tensor(internal, dtype=torch.int64), gauss],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put all global random numbers into a state that `random_state` returned."""
    torch.set_rng_state(state["torch"].cpu())
    # A run may go on where there are fewer devices than before, or none.
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for device, cuda in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(cuda.cpu(), device)
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))


def _cuda_states() -> list[Tensor]:
    # Asking for them would start CUDA in a run that does not use it.
    started = torch.cuda.is_available() and torch.cuda.is_initialized()
    return list(torch.cuda.get_rng_state_all()) if started else []
