"""Copied: a training's state as it is now, apart from what the training goes on to change."""

import copy
from collections.abc import Iterable, Set
from typing import Any

import torch
from torch import Tensor

PLAIN = frozenset((bool, int, float, complex, str, bytes, type(None)))
"""Types of values that cannot change: a list or dict of these alone is copied in one go."""


def copied(
    value: Any,  # noqa: ANN401
    known: dict[int, Tensor] | None = None,
    still: Set[int] = frozenset(),
) -> Any:  # noqa: ANN401
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
        parts = {key: copied(part, known, still) for key, part in value.items()}
        if kind is dict:
            return parts
        same = copy.copy(value)  # with what else it holds, as the `_metadata` of a module's state
        same.update(parts)
        return same
    if isinstance(value, list | tuple):
        items = [copied(part, known, still) for part in value]
        if kind is list:
            return items
        return kind(*items) if hasattr(value, "_fields") else kind(items)
    return value


def bytes_of(values: Iterable[Any], still: Set[int] = frozenset()) -> int:
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
