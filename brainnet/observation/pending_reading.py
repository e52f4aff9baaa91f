"""Pending readings: statistics of one observed step while they are copied to the CPU."""

import functools
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT as LAYOUT
from brainnet.observation import tags
from brainnet.observation.layer_statistics import LayerStatistics
from brainnet.observation.reading import Histogram, LayerReading, Reading, ReadingWithHistograms
from brainnet.structure.inspection import LayerInfo


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


def build_histogram(stats: TensorStats) -> Histogram:
    """Build a histogram, in which adjacent empty buckets are merged."""
    finite, middle = stats.count - stats.non_finite, LAYOUT.steps + 1
    if not finite:
        empty = np.zeros(1), np.zeros(1, dtype=np.int64)
        return Histogram(0, stats.non_finite, 0.0, 0.0, 0.0, 0.0, *empty)
    # Zeros share a bucket with values too small for a bin of their own.
    bins, zeros = stats.bins, stats.bins[middle : middle + 3].sum(keepdims=True)
    counts = np.concatenate([bins[:middle], zeros, bins[middle + 3 :]])
    is_filled = counts > 0
    # The bucket before a filled one stands for the whole gap, if it is empty.
    is_kept = is_filled.copy()
    is_kept[:-1] |= is_filled[1:]
    is_kept[: is_filled.argmax()] = False
    edges = _list_bucket_ends()[is_kept]
    # The last bin has no upper end.
    if stats.maximum >= (highest := 2.0**LAYOUT.highest):
        edges[-1] = max(stats.maximum, math.nextafter(highest, math.inf))
    moments = stats.minimum, stats.maximum, stats.sum, stats.sum_of_squares
    return Histogram(finite, stats.non_finite, *moments, edges, counts[is_kept])


@functools.cache
def _list_bucket_ends() -> NDArray[np.float64]:
    edges, middle = LAYOUT.edges, LAYOUT.steps + 1
    return np.array([*edges[:middle], *edges[middle + 2 :], math.inf])


TensorKey = tuple[Hashable, Hashable]
"""A tensor of an observed step: (scope, quantity). The scope of totals is their layer."""


class AsyncTransfer:
    """Copies of tensors on the CPU; from CUDA in one transfer, while the program continues."""

    def __init__(self, tensors: Mapping[TensorKey, Tensor]) -> None:
        self._tensors: dict[TensorKey, Tensor] = {}
        self._shapes: list[tuple[TensorKey, torch.Size, bool]] = []
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

    def result(self) -> dict[TensorKey, NDArray[Any]]:
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


StatKey = tuple[str, Tensor | LayerStatistics | None]
"""A row of the statistics tables: the quantity, and the parameter or the layer it belongs to."""

Stats = Mapping[StatKey, TensorStats]


@dataclass(slots=True)
class PendingReading:
    """Tensors of one observed step, and how to turn them into a `Reading`.

    Tensors of the scope "scalar" have the names of fields of the reading. `stat_keys` are the rows
    of all statistics tables, and `changed` the parameters whose changes were measured.
    """

    reading: Reading
    transfer: AsyncTransfer
    stat_keys: Sequence[StatKey]
    changed: Sequence[Tensor]
    layers: Sequence[LayerStatistics]

    def resolve(self) -> ReadingWithHistograms:
        """Wait for the copy and compute the reading and its histograms."""
        scopes: defaultdict[Hashable, dict[Any, NDArray[Any]]] = defaultdict(dict)
        for (scope, quantity), array in self.transfer.result().items():
            scopes[scope][quantity] = array
        rows = [row for table in scopes["table"].values() for row in parse_stats(table)]
        stats = dict(zip(self.stat_keys, rows, strict=True))
        norms = [float(norm) for part in scopes["norms"].values() for norm in part]
        step_norms = dict(zip(self.changed, norms, strict=True))
        total_norm = _compute_norm(row for (kind, _), row in stats.items() if kind == "gradient")
        layers = []
        for layer in self.layers:
            values = layer.compute_shares(scopes[layer])
            values |= {name: float(value) for name, value in scopes["cosine", layer].items()}
            layers.append(_read_layer(layer.info, stats, step_norms, total_norm, **values))
        fields: dict[str, Any] = {name: float(value) for name, value in scopes["scalar"].items()}
        fields |= {"gradient_norm": total_norm, "layers": tuple(layers)}
        reading = replace(self.reading, **fields)
        return ReadingWithHistograms(reading, self._build_histograms(stats))

    def _build_histograms(self, stats: Stats) -> dict[str, Histogram]:
        """All histograms by tag."""
        rows: dict[str, TensorStats] = {}
        is_full = any(quantity == "step" for quantity, _ in stats)
        for layer in self.layers:
            info = layer.info
            keys: dict[tags.Tag, StatKey] = {
                tags.WEIGHTS_HISTOGRAM: ("value", info.weights),
                tags.BIAS_HISTOGRAM: ("value", info.bias),
                tags.GRADIENT_HISTOGRAM: ("gradient", info.weights),
                tags.BIAS_GRADIENT_HISTOGRAM: ("gradient", info.bias if is_full else None),
                tags.UPDATE_HISTOGRAM: ("step", info.weights),
                tags.ACTIVATION_HISTOGRAM: ("outputs", layer),
                tags.PRE_ACTIVATION_HISTOGRAM: ("sums", layer),
                tags.DELTA_HISTOGRAM: ("delta", layer),
            }
            rows |= {tag.at(info.name): stats[key] for tag, key in keys.items() if key in stats}
        return {tag: build_histogram(row) for tag, row in rows.items()}


def _read_layer(
    info: LayerInfo,
    stats: Stats,
    step_norms: Mapping[Tensor, float],
    total_norm: float | None,
    **values: float,
) -> LayerReading:
    def compute_norm(quantity: str, *parameters: Tensor | None) -> float | None:
        keys: list[StatKey] = [(quantity, parameter) for parameter in parameters]
        return _compute_norm(stats[key] for key in keys if key in stats)

    weights_norm = compute_norm("value", info.weights)
    gradient_norm = compute_norm("gradient", info.weights, info.bias)
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
        bias_norm=compute_norm("value", info.bias),
        gradient_norm=gradient_norm,
        update_ratio=update_ratio,
        blame=blame,
        **values,
    )


def _compute_norm(stats: Iterable[TensorStats]) -> float | None:
    """Euclidean norm of several tensors as one vector; NaN if any element is not finite."""
    tensors = list(stats)
    if not tensors:
        return None
    if any(tensor.non_finite for tensor in tensors):
        return math.nan
    return math.sqrt(math.fsum(tensor.sum_of_squares for tensor in tensors))
