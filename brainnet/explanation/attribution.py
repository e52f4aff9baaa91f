"""Attribution: how much each input of a row contributed to its score.

Integrated gradients (Sundararajan, Taly & Yan, 2017) along the straight path from a row of zeros,
the baseline, to the row x:

    contribution_i = x_i · ∫₀¹ ∂score(t·x)/∂x_i dt,    Σ_i contribution_i = score(x) - score(0)

The integral is a midpoint sum. The same sum taken at the outputs of a layer gives the conductance
of its neurons (Dhamdhere, Sundararajan & Yan, 2019), which adds up to the same difference.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from brainnet.explanation.signal_names import SignalNames, find_embeddings
from brainnet.structure.embedding import Embedding
from brainnet.structure.forward_pass import ForwardPass, trace

_STEPS = 1024
_STEPS_OF_WIDE_ROWS = 128
_WIDE_ROW = 4096
_REFINEMENTS = 3
_PIECES = 16
# Share of the change of the score that may be missing before steps are refined.
_TOLERANCE = 1e-3
_MAX_BATCH_ROWS, _MAX_BATCH_VALUES = 256, 2**22
ScoreFunction = Callable[[Tensor], Tensor]
"""From outputs (rows, outputs) to scores (rows,)."""


@dataclass(slots=True, eq=False)
class PathAttribution:
    """Integrated gradients (inputs,) and conductances of neurons by layer, of one row; float64."""

    inputs: Tensor
    layers: dict[str, Tensor] = field(default_factory=dict)


def attribute_path(model: nn.Module, row: Tensor, score: ScoreFunction) -> PathAttribution:
    """Integrate the gradient of a score along the path from zeros to a scaled row, (1, inputs).

    If the contributions miss the change of the score by more than 0.1%, the steps that miss most
    are cut into 16 pieces, up to three times. Embedded values of category codes grow from zero as
    the inputs do. The model is in evaluation mode.
    """
    path = _Path(model, row, score)
    count = _STEPS if row.numel() <= _WIDE_ROW else _STEPS_OF_WIDE_ROWS
    steps = torch.linspace(0, 1, count + 1, dtype=torch.float64).unfold(0, 2, 1)
    cuts = torch.linspace(0, 1, _PIECES + 1, dtype=torch.float64)
    errors, change = path.integrate(steps)
    for _ in range(_REFINEMENTS):
        size = float(path.result.inputs.abs().sum())
        allowed = _TOLERANCE * max(abs(change), _TOLERANCE * size)
        # The comparison is false for NaN as well, which no refinement removes.
        if not abs(float(errors.sum())) > allowed:
            break
        # Refining all steps would take 16 times as long, and most are on straight pieces.
        coarse = errors.abs().topk(min(len(errors), count // 4)).indices
        coarse = coarse[errors[coarse].abs() > allowed / len(errors)]
        path.integrate(steps[coarse], sign=-1.0)
        edges = torch.lerp(steps[coarse, :1], steps[coarse, 1:], cuts)
        fine = edges.unfold(1, 2, 1).flatten(0, 1)
        kept = torch.ones(len(errors), dtype=torch.bool)
        kept[coarse] = False
        errors = torch.cat([errors[kept], path.integrate(fine)[0]])
        steps = torch.cat([steps[kept], fine])
    return path.result


def compute_score_gradients(
    score: Tensor, tensors: Sequence[Tensor], *, retain_graph: bool = False
) -> list[Tensor]:
    """Gradients of a number with respect to tensors; zeros if the number does not depend on one."""
    # Tensors computed under `torch.no_grad` have no gradient.
    sources = [tensor for tensor in tensors if tensor.requires_grad]
    if not score.requires_grad or not sources:
        return [torch.zeros_like(tensor) for tensor in tensors]
    gradients = iter(
        torch.autograd.grad(score, sources, retain_graph=retain_graph, materialize_grads=True)
    )
    return [next(gradients) if each.requires_grad else torch.zeros_like(each) for each in tensors]


class _Path:
    """Accumulates contributions over steps of the path."""

    def __init__(self, model: nn.Module, row: Tensor, score: ScoreFunction) -> None:
        self._model, self._row, self._score = model, row, score
        embeddings = find_embeddings(model)
        self._codes = [] if embeddings is None else list(embeddings.codes)
        self.result = PathAttribution(torch.zeros(row[0].numel(), dtype=torch.float64))

    def integrate(self, steps: Tensor, sign: float = 1.0) -> tuple[Tensor, float]:
        """Add (sign 1) or subtract the contributions of steps; return their errors, and the change.

        Steps are (steps, 2), start and end. An error is the change of the score over a step minus
        the contributions.
        """
        # All layers of these rows are in memory at once.
        rows = min(_MAX_BATCH_ROWS, _MAX_BATCH_VALUES // max(1, self._row.numel()))
        errors, change = [], 0.0
        for part in steps.split(max(1, rows // 2)):
            with torch.enable_grad():
                middles, tensors = self._run(part.mean(dim=1))
                gradients = compute_score_gradients(self._score(middles.output).sum(), tensors)
            # Neighboring steps share an edge.
            edges, places = part.unique(return_inverse=True)
            with torch.no_grad():
                ends, values = self._run(edges)
                changes = _subtract(self._score(ends.output), places)
            contributions = (_subtract(values[0], places) * _to_double(gradients[0])).flatten(1)
            for column, value, gradient in zip(
                self._codes, values[1:], gradients[1:], strict=False
            ):
                product = _subtract(value, places) * _to_double(gradient)
                contributions[:, column] = product.sum(dim=1)
            self.result.inputs += sign * contributions.sum(dim=0)
            first = len(values) - len(ends.layers)
            for layer, gradient in zip(ends.layers, gradients[first:], strict=True):
                # A layer whose first dimension is not the rows has no conductance per row.
                if len(layer.output) == len(edges) and len(gradient) == len(part):
                    product = _subtract(layer.output, places) * _to_double(gradient)
                    total = self.result.layers.get(layer.name, 0.0)
                    self.result.layers[layer.name] = total + sign * product.sum(dim=0)
            # What the midpoint rule missed, step by step.
            errors.append(changes - contributions.sum(dim=1))
            change += float(changes.sum())
        return torch.cat(errors), change

    def _run(self, shares: Tensor) -> tuple[ForwardPass, list[Tensor]]:
        """Trace shares of the row; return inputs, embedded values and layer outputs as well."""
        shares = shares.to(self._row.device)
        column_shape = (-1, *[1] * (self._row.ndim - 1))
        rows = (self._row.double() * shares.reshape(column_shape)).to(self._row.dtype)
        # Codes cannot be scaled; their embedded values are.
        rows[:, self._codes] = self._row[:, self._codes]
        with _scale_embeddings(self._model, shares.to(self._row.dtype)) as embedded:
            traced = trace(self._model, rows.requires_grad_(torch.is_grad_enabled()))
        return traced, [traced.inputs, *embedded, *(layer.output for layer in traced.layers)]


def _to_double(tensor: Tensor) -> Tensor:
    # In float64, because the changes of many small steps are added up.
    return tensor.detach().double().cpu()


def _subtract(values: Tensor, places: Tensor) -> Tensor:
    """Change of values over each step, whose start and end are at places, (steps, 2)."""
    values = _to_double(values)
    return values[places[:, 1]] - values[places[:, 0]]


@contextmanager
def _scale_embeddings(model: nn.Module, shares: Tensor) -> Iterator[list[Tensor]]:
    """Scale the outputs of embeddings row by row, and collect them."""
    embedded: list[Tensor] = []

    def scale(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        embedded.append((output.detach() * shares.unsqueeze(1)).requires_grad_(True))
        return embedded[-1]

    with ExitStack() as stack:
        for part in model.modules():
            if isinstance(part, Embedding):
                stack.callback(part.register_forward_hook(scale).remove)
        yield embedded


@dataclass(frozen=True, slots=True)
class Contribution:
    """How one input, or a column that several inputs were made from, influenced the score.

    `value` is in units of the data (None: missing). `gradient_times_input` (Shrikumar et al., 2016)
    is 0 if the neurons that read the input are saturated. The `contribution` is the integrated
    gradient. Of inputs: `scaled` is what the network received, and `gradient` the derivative of the
    score with respect to it.
    """

    name: str
    value: float | str | None
    gradient_times_input: float
    contribution: float
    scaled: float | None = None
    gradient: float | None = None


def compute_contributions(
    forward_pass: ForwardPass,
    score: ScoreFunction,
    path: PathAttribution,
    names: SignalNames,
    values: Sequence[float | str | None] = (),
) -> tuple[Contribution, ...]:
    """Collect the contribution of each input of a row, whose `values` are in units of the data."""
    # A category code has gradient 0; its other numbers are those of its embedded values.
    layers = forward_pass.layers
    embedded = [each.output for each in layers if isinstance(each.info.module, Embedding)]
    tensors = [forward_pass.inputs, *embedded]
    gradients = compute_score_gradients(
        score(forward_pass.output).sum(), tensors, retain_graph=True
    )
    products = [
        tensor.detach().double() * gradient.double()
        for tensor, gradient in zip(tensors, gradients, strict=True)
    ]
    local = products[0].flatten()
    embeddings = find_embeddings(forward_pass.model)
    for column, product in zip(embeddings.codes if embeddings else (), products[1:], strict=False):
        local[column] = product.sum()
    scaled, gradient = forward_pass.inputs.detach().flatten(), gradients[0].flatten()
    known = values if len(values) == len(local) else (None,) * len(local)
    columns = (each.double().tolist() for each in (local, path.inputs, scaled, gradient))
    rows = zip(names.name_inputs(len(local)), known, *columns, strict=True)
    return tuple(Contribution(*row) for row in rows)
