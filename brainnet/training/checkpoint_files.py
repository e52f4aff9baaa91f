"""Checkpoint files: read and verify them, and load their weights and scaling.

This module does not import Lightning, so that prediction starts quickly.
"""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from brainnet.errors import InputError
from brainnet.structure.inspection import unwrap_compiled

if TYPE_CHECKING:
    from brainnet.data.datamodule import DataModule

BRAINNET_KEY = "brainnet"
"""Key of a checkpoint that holds what brainnet adds to Lightning's content."""

FORMAT_VERSION = 1
NETWORK_PREFIX = "network."
"""Prefix of the network's weights in the state dict of the `LearningModule`."""

SCALING_KEY = "scaling"

# LookupError, because invalid pickle data can pop from an empty stack.
_DAMAGE_ERRORS = (
    RuntimeError,
    ValueError,
    EOFError,
    LookupError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)

# Lines of PyTorch's message about weights that are shown.
_MAX_PROBLEMS = 3


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of brainnet to the CPU, with `weights_only=True` and verified checksums."""
    try:
        # torch does not verify the checksums of the archive.
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise zipfile.BadZipFile(path)
        with warnings.catch_warnings():
            # torch warns about some invalid files before it raises.
            warnings.simplefilter("ignore")
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"the checkpoint {path} cannot be read: {error.strerror}.") from error
    except _DAMAGE_ERRORS as error:
        raise InputError(
            f"the checkpoint {path} is damaged, or holds more than tensors and plain values. "
            "Use another one: a run has checkpoints/last.ckpt and checkpoints/best.ckpt."
        ) from error
    added = checkpoint.get(BRAINNET_KEY) if isinstance(checkpoint, dict) else None
    version = added.get("format") if isinstance(added, dict) else None
    # Checked first: a newer format may have other parts.
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise InputError(f"{path} was written by a newer version of brainnet. Upgrade brainnet.")
    types = {"state_dict": dict, "loops": dict, "global_step": int}
    is_complete = (
        isinstance(added, dict)
        and version is not None
        and all(isinstance(checkpoint.get(key), kind) for key, kind in types.items())
        and all(isinstance(added.get(key), dict) for key in ("config", "random"))
    )
    if not is_complete:
        raise InputError(f"{path} is not a checkpoint of brainnet. Use a checkpoint of a run.")
    complete: dict[str, Any] = checkpoint
    return complete


def load_network(network: nn.Module, checkpoint: Mapping[str, Any]) -> None:
    """Load the weights of a checkpoint into a network."""
    weights = {
        key.removeprefix(NETWORK_PREFIX): value
        for key, value in checkpoint["state_dict"].items()
        if key.startswith(NETWORK_PREFIX)
    }
    # A compiled network would expect names with the prefix `_orig_mod.`.
    load_weights(unwrap_compiled(network), weights)


def load_weights(module: nn.Module, weights: Mapping[str, Any]) -> None:
    """Load weights into a module; names or shapes of another one are an InputError."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        # The first line of PyTorch's message only says that there are errors.
        problems = [line.strip() for line in str(error).splitlines()[1:]]
        raise InputError(
            "the checkpoint has the weights of a different network. Use the network and "
            f"activation of the training. {' '.join(problems[:_MAX_PROBLEMS])}"
        ) from error


def load_scaling(
    data: "DataModule", checkpoint: Mapping[str, Any], *, unchanged: bool = False
) -> None:
    """Scale data as in training; with `unchanged`, they must be exactly the training data."""
    try:
        state = checkpoint[BRAINNET_KEY][SCALING_KEY]
        data.apply_scaling(state)
        if unchanged:
            data.check_unchanged(state)
    # Written by another program, or by hand.
    except (LookupError, TypeError) as error:
        raise InputError(
            "the checkpoint has no scaling of its data, which the network needs. Train a new run."
        ) from error
