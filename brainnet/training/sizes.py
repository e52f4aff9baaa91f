"""Sizes: whether a network, its data and its loss fit together, asked before training."""

import torch
from torch import nn

from brainnet.data.module import DataModule
from brainnet.data.notes import note
from brainnet.data.wording import listed
from brainnet.errors import InputError
from brainnet.learning.loss import LOSSES
from brainnet.observation.untouched import untouched
from brainnet.structure.embedding import Embeddings
from brainnet.structure.network import Network


def check_sizes(network: nn.Module, data: DataModule, loss: nn.Module) -> None:
    """Raise an InputError that says what to change unless network, data and loss fit together."""
    _check_task(data, loss)
    _check_mean(loss)
    wanted = outputs_for(data, loss)
    if isinstance(network, Network):
        _check_inputs(network.sizes[0], data)
    outputs = outputs_of(network, data)
    if wanted is not None and outputs != wanted:
        answers = f"{data.targets} classes" if data.class_names else f"{data.targets} targets"
        raise InputError(
            f"{type(loss).__name__} on {data.dataset.name} ({answers}) needs {_outputs(wanted)}; "
            f"the network has {outputs}. {_remedy(network, data, outputs, wanted)}."
        )


def check_learns(network: nn.Module) -> None:
    """Raise an InputError unless there is a weight in the network that may change."""
    if not any(weight.requires_grad for weight in network.parameters()):
        raise InputError(
            "every weight of the network is frozen (requires_grad=False), so there is nothing to "
            "learn. Leave some of them free, or judge it as it is."
        )


def tell_codes(network: nn.Module, data: DataModule) -> None:
    """Note where a network reads the codes of categories as if they were amounts."""
    embedded = data.preparation.embedded
    kinds = (Embeddings, nn.Embedding, nn.EmbeddingBag)
    if not embedded or any(isinstance(part, kinds) for part in network.modules()):
        return
    names = listed([data.input_names[place] for place in embedded], 6)
    note(
        f"{names}: of so many words each is one code, and this {type(network).__name__} has no "
        "embeddings, so that it takes codes for amounts. Give it some: "
        "Network([...], embeddings=data.preparation.embedded)."
    )


def outputs_of(network: nn.Module, data: DataModule) -> int:
    """Return how many numbers a network answers with; one that does not tell is asked.

    Raises:
        InputError: it cannot read these data, has no weights, or answers in another form.
    """
    return network.sizes[-1] if isinstance(network, Network) else _asked(network, data)


def _remedy(network: nn.Module, data: DataModule, outputs: int, wanted: int) -> str:
    """Say what to change; how many outputs a module of the user's has is told by no key of ours."""
    loss = _fitting_loss(data, outputs)
    chosen = f'loss={loss} (in Python: loss="{loss}")'
    if isinstance(network, Network):
        sized = f"Set network.outputs={wanted} (in Python: give the network {_outputs(wanted)})"
        return sized if loss is None else f"{sized}, or choose {chosen}"
    if loss is None:
        return f"Give the {type(network).__name__} {_outputs(wanted)}"
    return f"Choose {chosen}"


def _outputs(count: int) -> str:
    return f"{count} output{'' if count == 1 else 's'}"


def _fitting_loss(data: DataModule, outputs: int) -> str | None:
    """Name a loss for this task that takes so many outputs, if there is one."""
    for name, kind in LOSSES.items():
        if data.task in getattr(kind, "tasks", ()) and _takes(kind(), data.targets, outputs):
            return name
    return None


def _takes(loss: nn.Module, targets: int, outputs: int) -> bool:
    try:
        return bool(loss.outputs_for(targets) == outputs)  # type: ignore[operator]
    except ValueError:
        return False


def _check_task(data: DataModule, loss: nn.Module) -> None:
    tasks = getattr(loss, "tasks", None)
    if tasks is not None and data.task not in tasks:
        raise InputError(
            f"{type(loss).__name__} is for {' or '.join(tasks)} tasks; {data.dataset.name} is "
            f"a {data.task} task. Set loss=auto "
            '(in Python: loss="auto"), and the loss follows from the data.'
        )


def _check_mean(loss: nn.Module) -> None:
    reduction = getattr(loss, "reduction", "mean")
    if reduction != "mean":
        raise InputError(
            f"the loss must be the mean over a batch, as curves weigh it by rows; "
            f"{type(loss).__name__} has reduction={reduction!r}. Leave reduction out."
        )


def _check_inputs(expected: int, data: DataModule) -> None:
    if expected != data.inputs:
        raise InputError(
            f"the network expects {expected} inputs; got {data.inputs} "
            f"(data: {data.dataset.name}). Set network.inputs={data.inputs}, or leave it out: "
            f"it follows from the data. (In Python: Network([{data.inputs}, ...]).)"
        )


def outputs_for(data: DataModule, loss: nn.Module) -> int | None:
    """Return how many numbers a loss needs for each row of these data; None where it does not tell.

    Raises:
        InputError: it cannot judge so many classes.
    """
    outputs_for = getattr(loss, "outputs_for", None)
    if outputs_for is None:
        return None
    try:
        return int(outputs_for(data.targets))
    except ValueError as error:
        raise InputError(str(error)) from error


def _asked(network: nn.Module, data: DataModule) -> int:
    """Ask a network that does not tell its sizes for an answer to two rows."""
    rows, _ = data.first("train", 2)
    weight = next(network.parameters(), None)
    if weight is None:
        raise InputError(
            f"{type(network).__name__} has no weights, so there is nothing to learn. "
            "Give a network with at least one layer that has weights."
        )
    if weight.is_meta:
        raise InputError("the network is on the meta device. Give its weights values first.")
    try:
        with untouched(network):
            outputs = network(rows.to(weight))
    except Exception as error:  # whatever a network of the user's may raise
        raise InputError(
            f"the network cannot read rows of {data.inputs} inputs (data: {data.dataset.name}): "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2:
        found = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs)
        raise InputError(f"the network must answer with (batch, outputs) numbers; got {found}.")
    return outputs.shape[1]
