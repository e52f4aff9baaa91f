"""Network of a run, built from its configuration without the slow import of Lightning."""

import inspect
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from brainnet.config.instantiate import (
    TargetAllowList,
    instantiate,
    resolve_target,
)
from brainnet.data.validation import get_total_memory
from brainnet.errors import InputError
from brainnet.structure.network import Network

# Each weight and its gradient, 4 bytes each; optimizer state comes on top.
_BYTES_PER_WEIGHT = 8


def build_network(
    config: Mapping[str, Any],
    allow_list: TargetAllowList,
    *,
    inputs: int,
    outputs: int,
    embeddings: Mapping[int, int] | None = None,
    image_shape: Sequence[int] | None = None,
) -> nn.Module:
    """Build the network of a configuration; the same seed gives the same initial weights.

    `embeddings` are the numbers of codes of inputs that are category codes, by position. A class
    with an argument `image_shape` receives (channels, height, width); its rows are flat.
    """
    options = {k: v for k, v in config["network"].items() if k not in ("inputs", "outputs")}
    seed = config.get("seed", 0)
    # For classes that take no generator.
    torch.manual_seed(seed)
    target = resolve_target(options.get("_target_"), "network", allow_list)
    offered: dict[str, Any] = {"inputs": inputs, "outputs": outputs}
    if target is Network:
        offered = {"sizes": [inputs, *options.pop("hidden", []), outputs]}
        _check_memory(offered["sizes"])
    offered["generator"] = torch.Generator().manual_seed(seed)
    offered["activation"] = config["activation"]
    if image_shape:
        offered["image_shape"] = (1, *image_shape)[-3:]
    if embeddings:
        offered["embeddings"] = dict(embeddings)
    # A class receives only what its constructor has an argument for.
    names = inspect.signature(target).parameters
    accepted = {key: value for key, value in offered.items() if key in names}
    network: nn.Module = instantiate(accepted | options, "network", allow_list)
    return network


def _check_memory(sizes: Sequence[int]) -> None:
    """Check that weights and gradients of dense layers fit into this machine's memory."""
    required = _BYTES_PER_WEIGHT * sum(fan_in * neurons for fan_in, neurons in pairwise(sizes))
    available = get_total_memory()
    if available is not None and required > available:
        raise InputError(
            f"that network needs {required / 1e9:,.3g} GB of memory for its weights and their "
            f"gradients; this machine has {available / 1e9:,.3g} GB. Set network.hidden to fewer "
            "neurons."
        )
