"""Choice of the kernels on each device; the choice is logged once and stored with a run."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
from collections.abc import Callable
from typing import Any

import torch

from brainnet.errors import InputError
from brainnet.kernels import build

_CHOICES = ("auto", "reference")
_log = logging.getLogger(__name__)


def read_choice() -> str:
    """Read `BRAINNET_KERNELS`: auto (the fastest available kernels) or reference.

    Raises:
        InputError: it has another value.
    """
    choice = os.environ.get("BRAINNET_KERNELS", "") or "auto"
    if choice not in _CHOICES:
        raise InputError(
            f"BRAINNET_KERNELS must be one of {', '.join(_CHOICES)}; got {choice!r}. Unset it for "
            "auto."
        )
    return choice


@functools.cache
def find_cpu_kernel() -> Callable[..., Any] | None:
    """Return the C++ kernel, or None where the reference computes on the CPU."""
    kernel, reason = _load_cpu_kernel()
    _log.info("threshold_ramp on the CPU: %s (%s)", "native" if kernel else "reference", reason)
    return kernel


@functools.cache
def has_triton() -> bool:
    """Whether Triton kernels compute on CUDA."""
    is_available, reason = _find_triton()
    _log.info("threshold_ramp on CUDA: %s (%s)", "triton" if is_available else "reference", reason)
    return is_available


def read_status() -> dict[str, dict[str, str]]:
    """Return the kernels in use on each device and the reason.

    Example:
        >>> sorted(read_status())
        ['cpu', 'cuda']
        >>> read_status()["cpu"]["path"] in ("native", "reference")
        True
    """
    kernel, cpu_reason = _load_cpu_kernel()
    is_triton, cuda_reason = _find_triton()
    return {
        "cpu": {"path": "native" if kernel else "reference", "reason": cpu_reason},
        "cuda": {"path": "triton" if is_triton else "reference", "reason": cuda_reason},
    }


def reset_dispatch() -> None:
    """Choose again at the next call: after a build, or a change of `BRAINNET_KERNELS`."""
    find_cpu_kernel.cache_clear()
    has_triton.cache_clear()
    _load_cpu_kernel.cache_clear()


@functools.cache
def _load_cpu_kernel() -> tuple[Callable[..., Any] | None, str]:
    if read_choice() == "reference":
        return None, "BRAINNET_KERNELS=reference"
    library = build.find_library()
    if library is None:
        return None, "not built for this PyTorch and processor; run brainnet kernels build"
    try:
        # Loading a second library would define the same ops again.
        if not _loaded_libraries:
            torch.ops.load_library(str(library))
            _loaded_libraries.add(str(library))
        # The overload, because resolving it at each call takes as long as a small kernel.
        return torch.ops.brainnet.threshold_ramp_cpu.default, f"built: {library.parent.name}"
    except (OSError, RuntimeError, AttributeError) as error:
        return None, f"{library} cannot be loaded: {error}"


_loaded_libraries: set[str] = set()


def _find_triton() -> tuple[bool, str]:
    if read_choice() == "reference":
        return False, "BRAINNET_KERNELS=reference"
    if importlib.util.find_spec("triton") is None:
        return False, "triton is not installed"
    if not torch.cuda.is_available():
        return False, "no CUDA device"
    return True, "triton and a CUDA device are available"
