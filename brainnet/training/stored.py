"""Stored: what a checkpoint holds, read again and given back to networks and data.

Apart from what writes them, so that answering rows waits for no Lightning.
"""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from brainnet.errors import InputError
from brainnet.structure.anatomy import uncompiled

if TYPE_CHECKING:  # which brings Lightning
    from brainnet.data.module import DataModule

OURS = "brainnet"
FORMAT = 1
NETWORK = "network."
SCALING = "scaling"
# LookupError among them: what reads as a pickle may run off its own stack.
DAMAGED = (
    *(RuntimeError, ValueError, EOFError, LookupError),
    *(pickle.UnpicklingError, zipfile.BadZipFile),
)

# Weights that do not fit are named up to this many.
_NAMED = 4


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of brainnet; tensors are put on the CPU.

    Raises:
        InputError: it is missing, damaged, or was not written by brainnet.
    """
    try:
        with warnings.catch_warnings():
            # Of a file that is no checkpoint, torch says first that it looks odd.
            warnings.simplefilter("ignore")
            _check_sums(path)
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"the checkpoint {path} cannot be read: {error.strerror}.") from error
    except DAMAGED as error:
        raise InputError(
            f"the checkpoint {path} is damaged, or holds more than tensors and plain values. "
            "Use another: a run's checkpoints folder has last.ckpt and best.ckpt."
        ) from error
    ours = checkpoint.get(OURS) if isinstance(checkpoint, dict) else None
    version = ours.get("format") if isinstance(ours, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise InputError(f"{path} was written by a newer brainnet. Upgrade, and try again.")
    if version is None or not _is_whole(checkpoint):
        raise InputError(f"{path} is no checkpoint of brainnet. Name one of a run's own.")
    found: dict[str, Any] = checkpoint
    return found


def _is_whole(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint has the parts that are read from it."""
    kinds = {"state_dict": dict, "loops": dict, "global_step": int}
    return all(isinstance(checkpoint.get(key), kind) for key, kind in kinds.items()) and all(
        isinstance(checkpoint[OURS].get(key), dict) for key in ("config", "random")
    )


def _check_sums(path: Path) -> None:
    """Raise where a tensor's bytes are not those that were written; torch does not ask."""
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise zipfile.BadZipFile(path)


def load_network(network: nn.Module, checkpoint: Mapping[str, Any]) -> None:
    """Give the network the weights of a checkpoint.

    Raises:
        InputError: they are those of another network.
    """
    weights = {
        key.removeprefix(NETWORK): value
        for key, value in checkpoint["state_dict"].items()
        if key.startswith(NETWORK)
    }
    network = uncompiled(network)
    check_weights(network, weights)
    network.load_state_dict(weights)


def check_weights(module: nn.Module, weights: Mapping[str, Any]) -> None:
    """Raise an InputError unless the module would take these weights; it is left as it is."""
    wanted = module.state_dict()
    wrong = [f"{key} is missing" for key in wanted if key not in weights]
    wrong += [f"{key} has no place in it" for key in weights if key not in wanted]
    for key, own in wanted.items():
        given = weights.get(key)
        # What a module stores beside tensors is its own to judge.
        if isinstance(own, Tensor) and isinstance(given, Tensor) and own.shape != given.shape:
            wrong.append(f"{key} is {tuple(given.shape)} there and {tuple(own.shape)} here")
    if wrong:
        more = f", and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise InputError(
            "the checkpoint holds the weights of another network: "
            f"{', '.join(wrong[:_NAMED])}{more}. "
            "Use the network and activation it was trained with."
        )


def load_scaling(
    data: "DataModule", checkpoint: Mapping[str, Any], *, unchanged: bool = False
) -> None:
    """Scale the data as the run scaled its own; `unchanged` says that they must be its own.

    Raises:
        InputError: the run's data had other columns or answers, or the checkpoint does not tell.
    """
    try:
        state = checkpoint[OURS][SCALING]
        data.scale_as(state)
        if unchanged:
            data.check_unchanged(state)
    except (LookupError, TypeError) as error:
        raise InputError(
            "the checkpoint does not say how its data were scaled, and without that the network "
            "cannot be judged. Train the run anew."
        ) from error
