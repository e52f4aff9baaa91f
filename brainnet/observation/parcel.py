"""Parcel: many small results sent home from their device in one copy, without waiting for it."""

from collections.abc import Hashable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Name = TypeVar("Name", bound=Hashable)


class Parcel(Generic[Name]):
    """Tensors on their way to the CPU.

    Elsewhere they are packed as they stand now, and whoever opens the parcel waits for what is
    still on its way. On the CPU they are at home, and given away: nobody may change them any more.

    Args:
        contents: integers of 64 bits, or floats of any kind; those of other devices are first
            brought to that of the first.

    Example:
        >>> parcel = Parcel({"a": torch.tensor([[1], [2]]), "b": torch.tensor(0.5)})
        >>> {name: found.tolist() for name, found in parcel.open().items()}
        {'a': [[1], [2]], 'b': 0.5}
    """

    def __init__(self, contents: Mapping[Name, Tensor]) -> None:
        self._arrival: torch.cuda.Event | None = None
        self._narrow = False
        self._home = torch.zeros(0, dtype=torch.int64)
        self._labels: list[tuple[Name, torch.Size, bool]] = []
        self._given: dict[Name, Tensor] = {}
        device = next((tensor.device for tensor in contents.values()), None)
        if device is None or device.type == "cpu":
            self._given = {name: tensor.detach().cpu() for name, tensor in contents.items()}
            return
        self._narrow = device.type == "mps"  # it has no float64
        self._labels = [
            (name, tensor.shape, tensor.is_floating_point()) for name, tensor in contents.items()
        ]
        self._send(torch.cat([self._bits(tensor, device) for tensor in contents.values()]))

    def _send(self, packed: Tensor) -> None:
        if packed.device.type != "cuda":
            self._home = packed.cpu()
            return
        # Only a copy into pinned memory goes on beside the program.
        self._home = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
        self._home.copy_(packed, non_blocking=True)
        self._arrival = torch.cuda.Event()
        self._arrival.record(torch.cuda.current_stream(packed.device))

    def open(self) -> dict[Name, NDArray[Any]]:
        """What was sent: int64, or float64 for floats of any kind."""
        if self._arrival is not None:
            self._arrival.synchronize()
        found = {
            name: (tensor.double() if tensor.is_floating_point() else tensor.long()).numpy()
            for name, tensor in self._given.items()
        }
        everything, place = self._home.numpy(), 0
        for name, shape, floating in self._labels:
            part = everything[place : place + shape.numel()].reshape(shape)
            found[name] = self._floats(part) if floating else part
            place += shape.numel()
        return found

    def _bits(self, tensor: Tensor, device: torch.device) -> Tensor:
        """A tensor as one row of int64, floats by their bits."""
        flat = tensor.detach().reshape(-1).to(device)
        if not flat.is_floating_point():
            return flat.long()
        if self._narrow:
            return flat.float().view(torch.int32).long()
        return flat.double().view(torch.int64)

    def _floats(self, part: NDArray[np.int64]) -> NDArray[np.float64]:
        if self._narrow:
            return part.astype(np.int32).view(np.float32).astype(np.float64)
        return part.view(np.float64)
