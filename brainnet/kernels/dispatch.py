"""Choice of the kernels on each device; the choice is logged once and stored with a run."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from brainnet.errors import InputError
from brainnet.kernels import build

_CHOICES = ("auto", "reference")
_KERNEL_NAMES = {"cpu": "native", "cuda": "triton"}
# Kernels read the memory of tensors of these types. A subclass may keep its values elsewhere.
_PLAIN_TYPES = frozenset({Tensor, torch.nn.Parameter, float, int})
_log = logging.getLogger(__name__)


def read_choice() -> str:
    """Read `BRAINNET_KERNELS`: auto (the fastest available kernels) or reference."""
    choice = os.environ.get("BRAINNET_KERNELS", "") or "auto"
    if choice not in _CHOICES:
        raise InputError(
            f"BRAINNET_KERNELS must be one of {', '.join(_CHOICES)}; got {choice!r}. Unset it for "
            "auto."
        )
    return choice


def is_transformed() -> bool:
    """Whether a function transform (vmap, grad, jvp ...) or a forward-mode level is active."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def has_plain_memory(*values: object) -> bool:
    """Whether kernels may read the values: no subclass, transform, mode or compiler sees them."""
    return (
        _PLAIN_TYPES.issuperset(map(type, values))
        and not torch.compiler.is_compiling()
        and not is_transformed()
        # Dispatch modes, such as fake tensors or a FLOP counter, see each operation.
        and not torch._C._len_torch_dispatch_stack()
    )


def find_cpu_kernel() -> Callable[..., Any] | None:
    """Return the C++ kernel of the ramp, or None where the reference computes on the CPU."""
    kernel: Callable[..., Any] | None = _find_kernel("cpu")[0]
    return kernel


def has_triton() -> bool:
    """Whether Triton kernels compute on CUDA."""
    return bool(_find_kernel("cuda")[0])


@functools.cache
def _find_kernel(device: str) -> tuple[Any, str]:
    """Choose once per device, and log the choice."""
    kernel: Any = None
    if read_choice() == "reference":
        reason = "BRAINNET_KERNELS=reference"
    else:
        kernel, reason = _load_cpu_kernel() if device == "cpu" else _find_triton()
    name = _KERNEL_NAMES[device] if kernel else "reference"
    _log.info("kernels on %s: %s (%s)", device, name, reason)
    return kernel, reason


def read_status() -> dict[str, dict[str, str]]:
    """Return the kernels in use on each device and the reason."""
    status = {}
    for device, name in _KERNEL_NAMES.items():
        kernel, reason = _find_kernel(device)
        status[device] = {"path": name if kernel else "reference", "reason": reason}
    return status


def reset_dispatch() -> None:
    """Choose again at the next call: after a build, or a change of `BRAINNET_KERNELS`."""
    _find_kernel.cache_clear()


_loaded_libraries: set[str] = set()


def _load_cpu_kernel() -> tuple[Callable[..., Any] | None, str]:
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


def _find_triton() -> tuple[bool, str]:
    if importlib.util.find_spec("triton") is None:
        return False, "triton is not installed"
    if not torch.cuda.is_available():
        return False, "no CUDA device"
    return True, "triton and a CUDA device are available"
