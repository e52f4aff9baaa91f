"""Whether the devices that a configuration asks for are there."""

from collections.abc import Mapping
from typing import Any

import torch

from brainnet.errors import InputError


def check_device(trainer: Mapping[str, Any]) -> None:
    """Hold `accelerator` and `devices` against this machine.

    Raises:
        InputError: for a GPU where there is none, or for more of them than there are.
    """
    accelerator, devices = trainer.get("accelerator", "auto"), trainer.get("devices", "auto")
    cuda, mps = torch.cuda.device_count(), torch.backends.mps.is_available()
    there = {"cuda": cuda > 0, "mps": mps, "gpu": cuda > 0 or mps}
    if not there.get(accelerator, True):
        raise InputError(
            f"trainer.accelerator={accelerator} needs a GPU; PyTorch {torch.__version__} finds none "
            "here. Use trainer=auto or trainer=cpu, or install a PyTorch built for your GPU."
        )
    on_cuda = cuda > 0 and accelerator in ("auto", "gpu", "cuda")
    asked = max(devices) + 1 if isinstance(devices, list) else devices
    if on_cuda and isinstance(asked, int) and asked > cuda:
        raise InputError(
            f"trainer.devices={devices} asks for {asked} GPUs; there are {cuda}. "
            f"Use trainer.devices={cuda} or fewer."
        )
