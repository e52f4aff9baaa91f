"""Which path computes the ramp on a device: chosen here alone, logged once, told as plain data."""

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

CHOICES = ("auto", "reference")

_log = logging.getLogger(__name__)


def wanted() -> str:
    """What `BRAINNET_KERNELS` asks for: auto (the fastest path there is) or reference.

    Raises:
        InputError: Where it says something else.
    """
    choice = os.environ.get("BRAINNET_KERNELS", "") or "auto"
    if choice not in CHOICES:
        raise InputError(
            f"BRAINNET_KERNELS is one of {', '.join(CHOICES)}; got {choice!r}. Unset it for auto."
        )
    return choice


@functools.cache
def cpu_kernel() -> Callable[..., Any] | None:
    """The C++ kernel, or None where the reference computes on the CPU."""
    kernel, reason = _load_cpu()
    _log.info("threshold_ramp on the CPU: %s (%s)", "native" if kernel else "reference", reason)
    return kernel


@functools.cache
def has_triton() -> bool:
    """Whether Triton's kernels compute on CUDA."""
    there, reason = _look_for_triton()
    _log.info("threshold_ramp on CUDA: %s (%s)", "triton" if there else "reference", reason)
    return there


def status() -> dict[str, dict[str, str]]:
    """The path in force on each device and the reason, as plain data for a run to keep.

    Example:
        >>> sorted(status())
        ['cpu', 'cuda']
        >>> status()["cpu"]["path"] in ("native", "reference")
        True
    """
    kernel, cpu_reason = _load_cpu()
    triton, cuda_reason = _look_for_triton()
    return {
        "cpu": {"path": "native" if kernel else "reference", "reason": cpu_reason},
        "cuda": {"path": "triton" if triton else "reference", "reason": cuda_reason},
    }


def forget() -> None:
    """Choose anew at the next call: after a build, or a change of `BRAINNET_KERNELS`."""
    cpu_kernel.cache_clear()
    has_triton.cache_clear()
    _load_cpu.cache_clear()


@functools.cache
def _load_cpu() -> tuple[Callable[..., Any] | None, str]:
    if wanted() == "reference":
        return None, "BRAINNET_KERNELS=reference"
    library = build.find()
    if library is None:
        return None, "not built for this PyTorch and processor; brainnet kernels build builds it"
    try:
        _load_once(str(library))
        # The overload itself: looking it up anew at each call costs as much as a small kernel.
        return torch.ops.brainnet.threshold_ramp_cpu.default, f"built: {library.parent.name}"
    except (OSError, RuntimeError, AttributeError) as error:
        return None, f"{library} can't be loaded: {error}"


_loaded: set[str] = set()


def _load_once(library: str) -> None:
    # A second library would define the same op again.
    if not _loaded:
        torch.ops.load_library(library)
        _loaded.add(library)


def _look_for_triton() -> tuple[bool, str]:
    if wanted() == "reference":
        return False, "BRAINNET_KERNELS=reference"
    if importlib.util.find_spec("triton") is None:
        return False, "triton is not installed"
    if not torch.cuda.is_available():
        return False, "no CUDA device"
    return True, "triton and a CUDA device are there"
