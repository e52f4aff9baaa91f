"""The processes of a distributed run: who speaks for them, and what they leave behind."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import distributed

from brainnet.errors import InputError


@contextmanager
def left_alone() -> Iterator[None]:
    """Forget what Lightning leaves of a distributed run: its variables and its process group.

    With them the next job would take itself for one of the processes of the last.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
        os.environ.clear()
        os.environ.update(before)


MOST_FOR_A_CORE = 4
"""Processes: each of them holds all libraries in memory."""


def crowded(trainer: Mapping[str, object]) -> str:
    """A line on processes that have to share processor cores; empty where they need not.

    Raises:
        InputError: they are so many that none would get anywhere.
    """
    devices, accelerator = trainer.get("devices"), trainer.get("accelerator", "auto")
    other = torch.cuda.is_available() or torch.backends.mps.is_available()
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not other)
    cores = os.cpu_count() or 1
    if not on_cpu or not isinstance(devices, int) or devices <= cores:
        return ""
    if devices > MOST_FOR_A_CORE * cores:
        raise InputError(
            f"trainer.devices={devices} asks for as many processes, and this processor has {cores} "
            f"cores. Set trainer.devices={cores}, or at most {MOST_FOR_A_CORE * cores} to try "
            "something out."
        )
    return (
        f"{devices} processes share the {cores} cores of this processor (trainer.devices="
        f"{devices}): they will wait for each other."
    )


def is_first() -> bool:
    """Whether this process speaks for a distributed run; Lightning numbers the others from 1."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
