"""What one layer computed for one row: its largest products, sums and outputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.embedding import Embedding
from brainnet.structure.forward_pass import LayerPass

# Products of one sum, and neurons of one hidden layer, that are listed.
_TERMS, _NEURONS = 4, 2


@dataclass(frozen=True, slots=True)
class Term:
    """One product of a weighted sum: `signal · weight = product`."""

    source: str
    signal: float
    weight: float
    product: float


@dataclass(frozen=True, slots=True)
class NeuronSum:
    """The weighted sum of one neuron: its largest terms + others_sum + bias = total.

    `contribution` is the conductance of the neuron: how much of the change of the score passed
    through it. `pre_activation` differs from `total` if a normalization follows the sum, and
    `baseline_output` is the output for a row of zeros.
    """

    name: str
    contribution: float
    terms: tuple[Term, ...]
    others: int
    others_sum: float
    bias: float | None
    total: float
    pre_activation: float
    output: float
    baseline_output: float


@dataclass(frozen=True, slots=True)
class LayerSteps:
    """What one layer computed for the row.

    `silent` counts neurons with output exactly 0 (None without an activation), and `full` those at
    the upper limit of the activation (None if it has none). `sums` are those of the neurons with
    the largest conductance or, in the last layer, of the compared outputs; `limitation` says why
    there are none.
    """

    name: str
    inputs: int
    neurons: int
    silent: int | None
    full: int | None
    contribution: float
    sums: tuple[NeuronSum, ...]
    limitation: str | None = None


def describe_layer(
    layer: LayerPass,
    baseline: LayerPass,
    sources: Sequence[str],
    targets: Sequence[str],
    conductance: Tensor,
    neurons: Sequence[int] | None = None,
) -> LayerSteps:
    """Describe what a layer computed for one row, and the sums of some of its neurons.

    Without `neurons`, these are the neurons with the largest conductance.
    """
    limitation, chosen = _find_limitation(layer), neurons
    if limitation is not None:
        chosen = ()
    elif chosen is None:
        chosen = find_largest(conductance, _NEURONS)
    sums = [
        describe_sum(layer, baseline, neuron, sources, targets[neuron], float(conductance[neuron]))
        for neuron in chosen
    ]
    silent, full = count_states(layer)
    return LayerSteps(
        name=layer.name,
        inputs=layer.inputs[0].numel(),
        neurons=layer.output[0].numel(),
        silent=silent,
        full=full,
        contribution=float(conductance.sum()),
        sums=tuple(sums),
        limitation=limitation,
    )


def describe_sum(
    layer: LayerPass,
    baseline: LayerPass,
    neuron: int,
    sources: Sequence[str],
    name: str,
    contribution: float,
) -> NeuronSum:
    """Split the weighted sum of one neuron into its largest products, the others and the bias."""
    # In float64, so that the terms add up to the total as printed.
    signals = layer.inputs.detach()[0].double()
    weights = layer.info.weights.detach()[neuron].double()
    products = signals * weights
    bias = None if layer.info.bias is None else float(layer.info.bias.detach()[neuron])
    # One product beyond the limit is listed as well, because "and 1 more" takes the same space.
    listed = find_largest(products, _TERMS + (len(products) == _TERMS + 1))
    # One transfer from the device for all terms.
    rows = torch.stack([signals, weights, products], dim=1)[listed].tolist()
    total = float(products.sum())
    return NeuronSum(
        name=name,
        contribution=contribution,
        terms=tuple(Term(sources[i], *row) for i, row in zip(listed, rows, strict=True)),
        others=len(products) - len(listed),
        others_sum=total - float(products[listed].sum()),
        bias=bias,
        total=total + (bias or 0.0),
        pre_activation=float(layer.pre_activation.detach()[0, neuron]),
        output=float(layer.output.detach()[0, neuron]),
        baseline_output=float(baseline.output.detach()[0, neuron]),
    )


def find_largest(values: Tensor, count: int) -> list[int]:
    """Return the positions of the largest absolute values, the largest first, without zeros.

    Example:
        >>> find_largest(torch.tensor([1.0, -3.0, 0.0, 2.0]), 2)
        [1, 3]
    """
    order = values.abs().argsort(descending=True, stable=True)[:count].tolist()
    return [position for position in order if values[position] != 0]


def get_activation(module: nn.Module | None) -> nn.Module | None:
    """Return the activation of a layer; None without one, or if it is the identity."""
    return None if isinstance(module, nn.Identity) else module


def get_upper_limit(activation: nn.Module | None) -> float | None:
    """Return the largest output of an activation that is constant above a limit, else None."""
    # ReLU6 is a Hardtanh as well.
    if isinstance(activation, nn.Hardtanh):
        return float(activation.max_val)
    return 1.0 if isinstance(activation, (ThresholdRamp, nn.Hardsigmoid)) else None


def count_states(layer: LayerPass) -> tuple[int | None, int | None]:
    """Count outputs that are exactly 0, and those at the upper limit of the activation.

    None without an activation or limit, or if an output is not finite.
    """
    activation, output = get_activation(layer.info.activation), layer.output
    # NaN is neither 0 nor a limit, so that counts would look healthy.
    if activation is None or not bool(output.isfinite().all()):
        return None, None
    limit = get_upper_limit(activation)
    return int((output == 0).sum()), None if limit is None else int((output == limit).sum())


def _find_limitation(layer: LayerPass) -> str | None:
    """Say why the sums of a layer cannot be written as one line of products."""
    if isinstance(layer.info.module, Embedding):
        return "An embedding computes no sums: it returns the vector of a category code."
    if (layer.info.weights.ndim, layer.inputs.ndim, layer.pre_activation.ndim) != (2, 2, 2):
        return "This layer computes one sum per neuron and position; they are not listed."
    return None
