"""Checkpoint files: read, verify and write them.

Apart from what writes them, so that answering rows waits for no Lightning.
"""

import copy
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from brainnet.errors import InputError
from brainnet.structure.inspection import unwrap_compiled

if TYPE_CHECKING:
    from brainnet.data.datamodule import DataModule


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
    network = unwrap_compiled(network)
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
        data.apply_scaling(state)
        if unchanged:
            data.check_unchanged(state)
    except (LookupError, TypeError) as error:
        raise InputError(
            "the checkpoint does not say how its data were scaled, and without that the network "
            "cannot be judged. Train the run anew."
        ) from error


PLAIN = frozenset((bool, int, float, complex, str, bytes, type(None)))

"""Types of values that cannot change: a list or dict of these alone is copied in one go."""


def copy_state(
    value: Any,
    known: dict[int, Tensor] | None = None,
    still: Set[int] = frozenset(),
) -> Any:
    """Copy the tensors in it, to the CPU; `tree_map` takes ten times as long.

    Types stay, and tensors that share their memory share that of the copy: it is written as the
    value itself would be.

    Args:
        value: of tensors, plain values, and dicts, lists and tuples of such.
        known: the copies made so far, by the memory they were made of.
        still: by their `id`, what in it never changes, and is taken as it is.

    Example:
        >>> weight = torch.zeros(2)
        >>> kept = copied({"weight": weight, "tied": weight})
        >>> _ = weight.fill_(1), kept["tied"].fill_(2)
        >>> kept["weight"]
        tensor([2., 2.])
    """
    known = {} if known is None else known
    kind = type(value)
    if kind in PLAIN or id(value) in still:
        return value
    if isinstance(value, Tensor):
        return _copied_tensor(value.detach(), known)
    if kind is list and PLAIN.issuperset(map(type, value)):
        return value.copy()
    if isinstance(value, dict):
        parts = {key: copy_state(part, known, still) for key, part in value.items()}
        if kind is dict:
            return parts
        same = copy.copy(value)  # with what else it holds, as the `_metadata` of a module's state
        same.update(parts)
        return same
    if isinstance(value, list | tuple):
        items = [copy_state(part, known, still) for part in value]
        if kind is list:
            return items
        return kind(*items) if hasattr(value, "_fields") else kind(items)
    return value


def serialize(values: Iterable[Any], still: Set[int] = frozenset()) -> int:
    """What the tensors in them take of memory, which some may share.

    Args:
        values: as `copied` takes them.
        still: by their `id`, what in them has no tensors, and is not looked through.

    Example:
        >>> weight = torch.zeros(2)
        >>> bytes_of([{"weight": weight}, {"tied": weight}])
        8
    """
    sizes: dict[int, int] = {}
    seen = set(still)
    left = list(values)
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            memory = _memory(value)
            key = id(value) if memory is None else memory._cdata
            sizes[key] = value.nbytes if memory is None else memory.nbytes()
        elif isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list | tuple) and not PLAIN.issuperset(map(type, value)):
            left.extend(value)
    return sum(sizes.values())


def _copied_tensor(tensor: Tensor, known: dict[int, Tensor]) -> Tensor:
    memory = _memory(tensor)
    if memory is None:
        return tensor.to("cpu", copy=True)
    found = known.get(memory._cdata)
    if found is None:
        if tensor.nbytes == memory.nbytes() and tensor.is_contiguous():
            found = known[memory._cdata] = tensor.to("cpu", copy=True)
            return found
        # All of it: another may be a part of it too, and it is written with either.
        whole = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(memory)
        found = known[memory._cdata] = whole.to("cpu", copy=True)
    place = tensor.storage_offset(), tensor.shape, tensor.stride()
    return torch.empty(0, dtype=tensor.dtype).set_(found.untyped_storage(), *place)


def _memory(tensor: Tensor) -> torch.UntypedStorage | None:
    """What its numbers lie in; None for kinds of tensors that are more than such numbers."""
    plain = (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.layout == torch.strided
        and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg())
    )
    return tensor.untyped_storage() if plain else None
