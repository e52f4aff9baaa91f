"""Pending readings: statistics of one observed step while they are copied to the CPU."""

import functools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT as LAYOUT
from brainnet.observation import tags
from brainnet.observation.layer_statistics import LayerStatistics
from brainnet.observation.reading import Histogram, LayerReading, Reading, ReadingWithHistograms


@dataclass(slots=True)
class TensorStats:
    """A row of a table of statistics; see `TensorStatistics`."""

    count: int
    non_finite: int
    minimum: float
    maximum: float
    sum: float
    sum_of_squares: float
    bins: NDArray[np.int64]


def parse_stats(table: NDArray[Any]) -> list[TensorStats]:
    """The rows of a table of statistics that is home."""
    counts = table[:, : LAYOUT.minimum].tolist()
    moments = table[:, LAYOUT.minimum : LAYOUT.first_bin].copy().view(np.float64).tolist()
    return [
        TensorStats(count, non_finite, low, high, total, squares, bins)
        for (count, non_finite), (low, high, total, squares), bins in zip(
            counts, moments, table[:, LAYOUT.first_bin :], strict=True
        )
    ]


def whole(found: Sequence[TensorStats]) -> TensorStats:
    """Several rows as one, at least one of them: what was counted in several goes.

    Example:
        >>> import torch
        >>> from brainnet.kernels.compute_statistics import compute_statistics
        >>> one = whole(rows(compute_statistics([torch.tensor([1.0]), torch.tensor([3.0, 3.0])]).numpy()))
        >>> one.count, one.minimum, one.maximum, one.sum
        (3, 1.0, 3.0, 7.0)
    """
    if len(found) == 1:
        return found[0]
    return TensorStats(
        sum(each.count for each in found),
        sum(each.non_finite for each in found),
        min(each.minimum for each in found),
        max(each.maximum for each in found),
        sum(each.sum for each in found),
        sum(each.sum_of_squares for each in found),
        np.sum([each.bins for each in found], axis=0),
    )


def build_histograms(found: Sequence[TensorStats]) -> list[Histogram]:
    """What is drawn of some tensors: `LAYOUT.buckets`, all of them at once and many at a time.

    Example:
        >>> import torch
        >>> from brainnet.kernels.compute_statistics import compute_statistics
        >>> table = compute_statistics([torch.tensor([1.0, 1.5, torch.nan]), torch.zeros(2)]).numpy()
        >>> for histogram in histograms_of(rows(table)):
        ...     print(histogram.edges.tolist(), histogram.buckets.tolist(), histogram.non_finite)
        [1.25, 1.5, 1.75] [1, 0, 1] 1
        [5.42...e-20] [2] 0
    """
    if not found:
        return []
    edges, buckets, begins = _buckets(np.array([row.bins for row in found]))
    highest = 2.0**LAYOUT.highest
    histograms = []
    for row, begin, end in zip(found, begins, begins[1:], strict=False):
        finite = row.count - row.non_finite
        if not finite:
            histograms.append(Histogram(0, row.non_finite, 0.0, 0.0, 0.0, 0.0, _ZERO, _NONE))
            continue
        if row.maximum >= highest:  # the last bucket has no end of its own
            edges[end - 1] = max(row.maximum, math.nextafter(highest, math.inf))
        histograms.append(
            Histogram(
                finite,
                row.non_finite,
                row.minimum,
                row.maximum,
                row.sum,
                row.sum_of_squares,
                edges[begin:end],
                buckets[begin:end],
            )
        )
    return histograms


_ZERO, _NONE = np.zeros(1), np.zeros(1, dtype=np.int64)


def _buckets(
    bins: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[int]]:
    """Upper ends and counts of the buckets of all rows, one row after the other; where each begins.

    Args:
        bins: (rows, bins); overwritten.
    """
    # Zeros share a bucket with what is too small to have one, on both sides.
    middle = LAYOUT.steps + 1
    bins[:, middle + 2] += bins[:, middle] + bins[:, middle + 1]
    bins[:, middle : middle + 2] = 0
    counts = bins.reshape(-1)
    (filled,) = (counts != 0).nonzero()  # of truths in one row: five times as fast
    row, bin = np.divmod(filled, LAYOUT.bins)
    place = bin - 2 * (bin > middle)
    # Neighbouring empty ones become one, before the next that is filled.
    gap = np.zeros(len(filled), dtype=bool)
    gap[1:] = (place[1:] > place[:-1] + 1) & (row[1:] == row[:-1])
    at = np.arange(len(filled)) + gap.cumsum()
    length = len(filled) + int(np.count_nonzero(gap))
    edges, buckets = np.empty(length), np.zeros(length, dtype=np.int64)
    ends = _ends()
    edges[at], buckets[at] = ends[place + 1], counts[filled]
    edges[at[gap] - 1] = ends[place[gap]]
    firsts = row.searchsorted(np.arange(len(bins) + 1))
    return edges, buckets, np.append(at, length)[firsts].tolist()


@functools.cache
def _ends() -> NDArray[np.float64]:
    """Where the buckets begin and end, one after the other."""
    edges, middle = LAYOUT.edges, LAYOUT.steps + 1
    return np.array([-math.inf, *edges[:middle], *edges[middle + 2 :], math.inf])


ArrayName = TypeVar("Name", bound=Hashable)


class AsyncTransfer(Generic[ArrayName]):
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

    def __init__(self, contents: Mapping[ArrayName, Tensor]) -> None:
        self._arrival: torch.cuda.Event | None = None
        self._narrow = False
        self._home = torch.zeros(0, dtype=torch.int64)
        self._labels: list[tuple[ArrayName, torch.Size, bool]] = []
        self._given: dict[ArrayName, Tensor] = {}
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

    def open(self) -> dict[ArrayName, NDArray[Any]]:
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


Kind = Literal["value", "gradient", "step"]

Row = tuple[Kind, Tensor | None]

"""A row of statistics: what of which parameter."""

Name = tuple[str | int, str | int]

"""What a tensor on its way home is."""

Home = Mapping[Name, NDArray[Any]]

SIGNALS = {"answers": tags.ACTIVATION, "sums": tags.PRE_ACTIVATION, "delta": tags.DELTA}

"""Statistics of a layer's signals, and the tag of the histogram of each."""


@dataclass(frozen=True, slots=True)
class StepInfo:
    """What is known of a look without asking the device.

    Attributes:
        step: optimizer steps taken before this one.
        epoch: passes over the training rows completed.
        learning_rate: that of the step.
        forward_seconds: time of the forward pass.
        backward_seconds: time from there until the optimizer's turn.
        update_seconds: time of the optimizer's turn.
    """

    step: int
    epoch: int
    learning_rate: float | None = None
    forward_seconds: float | None = None
    backward_seconds: float | None = None
    update_seconds: float | None = None


class PendingReading:
    """The numbers of one look, on their way home in one copy.

    Args:
        moment: what is known without them.
        measured: the numbers, on their device.
        rows: what the rows of the tables are, all tables one after the other.
        moved: the parameters whose lengths of step are told, in that order.
        layers: what was heard of each layer.
    """

    def __init__(
        self,
        moment: StepInfo,
        measured: Mapping[Name, Tensor],
        rows: Sequence[Row],
        moved: Sequence[Tensor],
        layers: Sequence[LayerStatistics],
    ) -> None:
        self.moment = moment
        self._parcel = AsyncTransfer(measured)
        self._rows, self._moved, self._layers = tuple(rows), tuple(moved), tuple(layers)

    def look(self) -> ReadingWithHistograms:
        """Wait for the numbers to arrive, and read them."""
        home = self._parcel.open()
        counted = [row for table in _of(home, "table") for row in parse_stats(table)]
        found = dict(zip(self._rows, counted, strict=True))
        heard: list[dict[str, NDArray[Any]]] = [{} for _ in self._layers]
        for (at, what), each in home.items():
            if isinstance(at, int):
                heard[at][str(what)] = each
        lengths = [float(length) for part in _of(home, "lengths") for length in part]
        steps = dict(zip(self._moved, lengths, strict=True))
        slope = _length(row for (kind, _), row in found.items() if kind == "gradient")
        reading = Reading(
            step=self.moment.step,
            epoch=self.moment.epoch,
            loss=_number(home, "loss"),
            learning_rate=self.moment.learning_rate,
            forward_seconds=self.moment.forward_seconds,
            backward_seconds=self.moment.backward_seconds,
            update_seconds=self.moment.update_seconds,
            gradient_norm=slope,
            predicted_decrease=_promised(home),
            actual_decrease=_number(home, "actual"),
            layers=tuple(
                self._layer(layer, signals, home, found, steps, slope or 0.0)
                for layer, signals in zip(self._layers, heard, strict=True)
            ),
        )
        return ReadingWithHistograms(reading, self._histograms(heard, found))

    def _layer(
        self,
        layer: LayerStatistics,
        heard: Mapping[str, NDArray[Any]],
        home: Home,
        found: Mapping[Row, TensorStats],
        steps: Mapping[Tensor, float],
        whole_slope: float,
    ) -> LayerReading:
        """One layer, with what is a share of something else made one."""
        place = layer.place
        parts = [part for part in (place.weights, place.bias) if part is not None]
        slope = _length(found[row] for part in parts if (row := _row("gradient", part)) in found)
        size = _length(found[row] for row in [_row("value", place.weights)] if row in found)
        calm = _length(found[row] for row in [_row("value", parts[-1])] if row in found)
        turned = home.get(("cosine", place.name))
        return LayerReading(
            place=place.name,
            weights_norm=size,
            bias_norm=None if place.bias is None else calm,
            gradient_norm=slope,
            update_ratio=_moved(place.weights, steps, size),
            blame=(slope / whole_slope) ** 2 if slope is not None and whole_slope else None,
            gradient_cosine=None if turned is None else float(turned),
            **layer.shares(heard),
        )

    def _histograms(
        self,
        heard: Sequence[Mapping[str, NDArray[Any]]],
        found: Mapping[Row, TensorStats],
    ) -> dict[str, Histogram]:
        """All histograms by tag."""
        drawn: dict[str, TensorStats] = {}
        full = any(kind == "step" for kind, _ in found)
        for layer, signals in zip(self._layers, heard, strict=True):
            place = layer.place
            wanted = {
                tags.WEIGHTS: _row("value", place.weights),
                tags.BIAS: _row("value", place.bias),
                tags.GRADIENT: _row("gradient", place.weights),
                tags.BIAS_GRADIENT: _row("gradient", place.bias if full else None),
                tags.UPDATE: _row("step", place.weights),
            }
            there = {tag: found[row] for tag, row in wanted.items() if row in found}
            there |= {
                tag: whole(parse_stats(signals[what]))
                for what, tag in SIGNALS.items()
                if what in signals
            }
            drawn |= {tag.at(place.name): row for tag, row in there.items()}
        return dict(zip(drawn, build_histograms(list(drawn.values())), strict=True))


def _moved(weights: Tensor, steps: Mapping[Tensor, float], size: float | None) -> float | None:
    """How far they moved for their size; None where they are made anew of what moves instead."""
    if not size or (weights not in steps and not weights.is_leaf):
        return None
    return steps.get(weights, 0.0) / size


def _row(kind: Kind, part: Tensor | None) -> Row:
    return kind, part


def _of(home: Home, kind: str) -> list[NDArray[Any]]:
    return [each for (what, _), each in home.items() if what == kind]


def _number(home: Home, name: str) -> float | None:
    found = home.get(("whole", name))
    return None if found is None else float(found)


def _promised(home: Home) -> float | None:
    """What the slope promised of the step."""
    parts = _of(home, "promised")
    return float(sum(map(float, parts))) if parts else None


def _length(parts: Iterable[TensorStats]) -> float | None:
    """Length of several tensors as one; NaN where any is not finite, None where there is none."""
    found = list(parts)
    if not found:
        return None
    if any(part.non_finite for part in found):
        return math.nan
    return math.sqrt(math.fsum(part.sum_of_squares for part in found))
