"""Network: the one that a configuration describes, with sizes that follow from its data."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from brainnet.building.build import Build, accepts
from brainnet.building.memory import check_memory
from brainnet.structure.network import Network


def network_from(
    config: Mapping[str, Any],
    build: Build,
    *,
    inputs: int,
    outputs: int,
    embeddings: Mapping[int, int] | None = None,
    image_shape: Sequence[int] | None = None,
) -> nn.Module:
    """Build the network of a configuration; the same seed gives the same first weights.

    Args:
        config: its `network` and `activation` groups, and `seed`.
        build: builds what it names.
        inputs: how many numbers a row has.
        outputs: how many numbers the network gives for it.
        embeddings: the number of codes of each input that is a code, by its position.
        image_shape: (height, width) or (channels, height, width) where a row is a picture. A class
            with an argument of this name is always told of three: rows come to it flat, and it
            may view them so.

    Raises:
        InputError: where a class is not allowed or refuses its keys, or where the network cannot
            fit into this machine.
    """
    options = {
        key: value for key, value in config["network"].items() if key not in ("inputs", "outputs")
    }
    seed = config.get("seed", 0)
    torch.manual_seed(seed)  # for networks that take no generator
    target = build.target(options, "network")
    offered: dict[str, Any] = {"inputs": inputs, "outputs": outputs}
    if target is Network:
        offered = {"sizes": [inputs, *options.pop("hidden", []), outputs]}
        check_memory(offered["sizes"], embeddings)
    offered["generator"] = torch.Generator().manual_seed(seed)
    offered["activation"] = config["activation"]
    if image_shape:
        offered["image_shape"] = (1, *image_shape)[-3:]
    if embeddings:
        offered["embeddings"] = dict(embeddings)
    taken = {key: value for key, value in offered.items() if accepts(target, key)}
    network: nn.Module = build.instance(taken | options, "network")
    return network
