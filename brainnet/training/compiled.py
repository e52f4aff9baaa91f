"""Compiled: a network under `torch.compile`, known by its own name and keys."""

from torch import nn

from brainnet.structure.anatomy import uncompiled


def compiled_in_place(network: nn.Module) -> nn.Module:
    """Return the network itself where `torch.compile(network)` put another module around it.

    It stays compiled, as by `network.compile()`, but its weights are stored under their own names,
    and not as `_orig_mod.…`.
    """
    own = uncompiled(network)
    compiler = getattr(network, "dynamo_ctx", None)
    if own is not network and compiler is not None and own._compiled_call_impl is None:
        own._compiled_call_impl = compiler(own._call_impl)
    return own
