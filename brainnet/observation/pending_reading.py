"""Pending readings: statistics of one observed step while they are copied to the CPU."""

import functools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    """Statistics of one tensor: a row of a table of `compute_statistics`."""

    count: int
    non_finite: int
    minimum: float
    maximum: float
    sum: float
    sum_of_squares: float
    bins: NDArray[np.int64]


def parse_stats(table: NDArray[Any]) -> list[TensorStats]:
    """Split a table of `compute_statistics`, copied to the CPU, into its rows."""
    counts: list[tuple[int, int]] = table[:, : LAYOUT.minimum].tolist()
    moments: list[tuple[float, float, float, float]]
    moments = table[:, LAYOUT.minimum : LAYOUT.first_bin].copy().view(np.float64).tolist()
    return [
        TensorStats(*row_counts, *row_moments, bins)
        for row_counts, row_moments, bins in zip(
            counts, moments, table[:, LAYOUT.first_bin :], strict=True
        )
    ]


def build_histograms(stats: Sequence[TensorStats]) -> list[Histogram]:
    """Build the histograms of several tensors at once.

    Zeros share a bucket with values too small for a bin of their own, and adjacent empty buckets
    are merged.

    Example:
        >>> from brainnet.kernels.statistics import compute_statistics
        >>> table = compute_statistics([torch.tensor([1.0, 1.5, torch.nan]), torch.zeros(2)])
        >>> for histogram in build_histograms(parse_stats(table.numpy())):
        ...     print(histogram.edges.tolist(), histogram.buckets.tolist(), histogram.non_finite)
        [1.25, 1.5, 1.75] [1, 0, 1] 1
        [5.42...e-20] [2] 0
    """
    if not stats:
        return []
    edges, buckets, starts = _merge_bins(np.array([tensor.bins for tensor in stats]))
    highest = 2.0**LAYOUT.highest
    histograms = []
    for tensor, start, end in zip(stats, starts, starts[1:], strict=False):
        finite = tensor.count - tensor.non_finite
        if not finite:
            empty = np.zeros(1), np.zeros(1, dtype=np.int64)
            histograms.append(Histogram(0, tensor.non_finite, 0.0, 0.0, 0.0, 0.0, *empty))
            continue
        # The last bin has no upper end.
        if tensor.maximum >= highest:
            edges[end - 1] = max(tensor.maximum, math.nextafter(highest, math.inf))
        histograms.append(
            Histogram(
                finite,
                tensor.non_finite,
                tensor.minimum,
                tensor.maximum,
                tensor.sum,
                tensor.sum_of_squares,
                edges[start:end],
                buckets[start:end],
            )
        )
    return histograms


def _merge_bins(
    bins: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[int]]:
    """Merge empty bins of all histograms (histograms, bins) at once, overwriting them.

    Returns:
        Upper ends and counts of the buckets of all histograms, one after the other, and the
        index at which each histogram starts.
    """
    middle = LAYOUT.steps + 1
    bins[:, middle + 2] += bins[:, middle] + bins[:, middle + 1]
    bins[:, middle : middle + 2] = 0
    counts = bins.reshape(-1)
    (filled,) = (counts != 0).nonzero()  # on booleans in one dimension, five times as fast
    row, bin = np.divmod(filled, LAYOUT.bins)
    bucket = bin - 2 * (bin > middle)
    # A gap becomes one empty bucket before the next filled one.
    has_gap = np.zeros(len(filled), dtype=bool)
    has_gap[1:] = (bucket[1:] > bucket[:-1] + 1) & (row[1:] == row[:-1])
    position = np.arange(len(filled)) + has_gap.cumsum()
    length = len(filled) + int(np.count_nonzero(has_gap))
    edges, buckets = np.empty(length), np.zeros(length, dtype=np.int64)
    ends = _list_bucket_ends()
    edges[position], buckets[position] = ends[bucket + 1], counts[filled]
    edges[position[has_gap] - 1] = ends[bucket[has_gap]]
    first = row.searchsorted(np.arange(len(bins) + 1))
    return edges, buckets, np.append(position, length)[first].tolist()


@functools.cache
def _list_bucket_ends() -> NDArray[np.float64]:
    edges, middle = LAYOUT.edges, LAYOUT.steps + 1
    return np.array([-math.inf, *edges[:middle], *edges[middle + 2 :], math.inf])


Key = TypeVar("Key", bound=Hashable)


class AsyncTransfer(Generic[Key]):
    """Copies of tensors on the CPU, made in one asynchronous transfer.

    From CUDA, all values are packed into one tensor of int64 and copied to pinned memory while
    the program continues. Other devices are copied synchronously. Tensors on the CPU are used as
    they are and must not be changed afterward.

    Args:
        tensors: tensors of int64 or floats.

    Example:
        >>> transfer = AsyncTransfer({"a": torch.tensor([[1], [2]]), "b": torch.tensor(0.5)})
        >>> {name: array.tolist() for name, array in transfer.result().items()}
        {'a': [[1], [2]], 'b': 0.5}
    """

    def __init__(self, tensors: Mapping[Key, Tensor]) -> None:
        self._tensors: dict[Key, Tensor] = {}
        self._shapes: list[tuple[Key, torch.Size, bool]] = []
        device = next((tensor.device for tensor in tensors.values() if tensor.is_cuda), None)
        if device is None:
            self._tensors = {key: tensor.detach().cpu() for key, tensor in tensors.items()}
            return
        self._shapes = [
            (key, tensor.shape, tensor.is_floating_point()) for key, tensor in tensors.items()
        ]
        packed = torch.cat([_to_int64(tensor, device) for tensor in tensors.values()])
        # Only copies to pinned memory are asynchronous.
        self._packed = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
        self._packed.copy_(packed, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record(torch.cuda.current_stream(device))

    def result(self) -> dict[Key, NDArray[Any]]:
        """Wait for the copy and return the arrays: int64, or float64 for floats of any dtype."""
        arrays = {
            key: (tensor.double() if tensor.is_floating_point() else tensor.long()).numpy()
            for key, tensor in self._tensors.items()
        }
        if self._shapes:
            self._event.synchronize()
            values, start = self._packed.numpy(), 0
            for key, shape, is_float in self._shapes:
                part = values[start : start + shape.numel()].reshape(shape)
                arrays[key] = part.view(np.float64) if is_float else part
                start += shape.numel()
        return arrays


def _to_int64(tensor: Tensor, device: torch.device) -> Tensor:
    """Flatten a tensor to int64, with floats as the bits of a float64."""
    flat = tensor.detach().reshape(-1).to(device)
    return flat.double().view(torch.int64) if flat.is_floating_point() else flat.long()


Quantity = Literal["value", "gradient", "step"]
StatKey = tuple[Quantity, Tensor | None]
"""A row of the statistics tables: the quantity and the parameter."""

TensorKey = tuple[str | int, str | int]
"""A tensor of an observed step: (quantity, number or name), or (index of the layer, quantity)."""

_LAYER_HISTOGRAMS = {
    "outputs": tags.ACTIVATION,
    "sums": tags.PRE_ACTIVATION,
    "delta": tags.DELTA,
}


class PendingReading:
    """Tensors of one observed step, and how to turn them into a `Reading`.

    Args:
        reading: what is known without the tensors, such as the number of the step.
        tensors: the tensors on their device.
        stat_keys: the rows of all statistics tables, in order.
        changed: parameters whose changes were measured, in order.
        layers: statistics of each layer.
    """

    def __init__(
        self,
        reading: Reading,
        tensors: Mapping[TensorKey, Tensor],
        stat_keys: Sequence[StatKey],
        changed: Sequence[Tensor],
        layers: Sequence[LayerStatistics],
    ) -> None:
        self._reading = reading
        self._transfer = AsyncTransfer(tensors)
        self._stat_keys, self._changed = tuple(stat_keys), tuple(changed)
        self._layers = tuple(layers)

    def resolve(self) -> ReadingWithHistograms:
        """Wait for the copy and compute the reading and its histograms."""
        arrays = self._transfer.result()
        rows = [row for table in _select(arrays, "table") for row in parse_stats(table)]
        stats = dict(zip(self._stat_keys, rows, strict=True))
        norms = [float(norm) for part in _select(arrays, "norms") for norm in part]
        step_norms = dict(zip(self._changed, norms, strict=True))
        layer_arrays: list[dict[str, NDArray[Any]]] = [{} for _ in self._layers]
        for (scope, quantity), array in arrays.items():
            # An integer scope is the index of a layer.
            if isinstance(scope, int):
                layer_arrays[scope][str(quantity)] = array
        total_norm = _compute_norm(row for (kind, _), row in stats.items() if kind == "gradient")
        predicted = [float(part) for part in _select(arrays, "predicted")]
        reading = replace(
            self._reading,
            loss=_get_scalar(arrays, "scalar", "loss"),
            gradient_norm=total_norm,
            predicted_decrease=sum(predicted) if predicted else None,
            actual_decrease=_get_scalar(arrays, "scalar", "decrease"),
            layers=tuple(
                _read_layer(
                    layer,
                    stats,
                    step_norms,
                    total_norm,
                    gradient_cosine=_get_scalar(arrays, "cosine", layer.info.name),
                    **layer.compute_shares(own_arrays),
                )
                for layer, own_arrays in zip(self._layers, layer_arrays, strict=True)
            ),
        )
        return ReadingWithHistograms(reading, self._build_histograms(layer_arrays, stats))

    def _build_histograms(
        self,
        layer_arrays: Sequence[Mapping[str, NDArray[Any]]],
        stats: Mapping[StatKey, TensorStats],
    ) -> dict[str, Histogram]:
        """All histograms by tag."""
        rows: dict[str, TensorStats] = {}
        is_full = any(quantity == "step" for quantity, _ in stats)
        for layer, arrays in zip(self._layers, layer_arrays, strict=True):
            info = layer.info
            keys: dict[tags.Tag, StatKey] = {
                tags.WEIGHTS_HISTOGRAM: ("value", info.weights),
                tags.BIAS: ("value", info.bias),
                tags.GRADIENT_HISTOGRAM: ("gradient", info.weights),
                tags.BIAS_GRADIENT: ("gradient", info.bias if is_full else None),
                tags.UPDATE: ("step", info.weights),
            }
            rows |= {tag.at(info.name): stats[key] for tag, key in keys.items() if key in stats}
            for quantity, tag in _LAYER_HISTOGRAMS.items():
                if quantity in arrays:
                    (rows[tag.at(info.name)],) = parse_stats(arrays[quantity])
        return dict(zip(rows, build_histograms(list(rows.values())), strict=True))


def _read_layer(
    layer: LayerStatistics,
    stats: Mapping[StatKey, TensorStats],
    step_norms: Mapping[Tensor, float],
    total_norm: float | None,
    **values: float | None,
) -> LayerReading:
    info = layer.info
    parameters = [part for part in (info.weights, info.bias) if part is not None]

    def compute_norm(quantity: Quantity, tensors: Sequence[Tensor]) -> float | None:
        keys: list[StatKey] = [(quantity, tensor) for tensor in tensors]
        return _compute_norm(stats[key] for key in keys if key in stats)

    weights_norm = compute_norm("value", [info.weights])
    gradient_norm = compute_norm("gradient", parameters)
    blame = update_ratio = None
    if gradient_norm is not None and total_norm:
        # Squared, because squared norms add up over the layers.
        blame = (gradient_norm / total_norm) ** 2
    # Weights that are recomputed from other parameters have no step of their own.
    if weights_norm and (info.weights in step_norms or info.weights.is_leaf):
        update_ratio = step_norms.get(info.weights, 0.0) / weights_norm
    return LayerReading(
        name=info.name,
        weights_norm=weights_norm,
        bias_norm=None if info.bias is None else compute_norm("value", [info.bias]),
        gradient_norm=gradient_norm,
        update_ratio=update_ratio,
        blame=blame,
        **values,
    )


def _select(arrays: Mapping[TensorKey, NDArray[Any]], scope: str) -> list[NDArray[Any]]:
    return [array for (key_scope, _), array in arrays.items() if key_scope == scope]


def _get_scalar(arrays: Mapping[TensorKey, NDArray[Any]], scope: str, name: str) -> float | None:
    array = arrays.get((scope, name))
    return None if array is None else float(array)


def _compute_norm(stats: Iterable[TensorStats]) -> float | None:
    """Euclidean norm of several tensors as one vector; NaN if any element is not finite."""
    tensors = list(stats)
    if not tensors:
        return None
    if any(tensor.non_finite for tensor in tensors):
        return math.nan
    return math.sqrt(math.fsum(tensor.sum_of_squares for tensor in tensors))
