"""Influence: which inputs of one row spoke for its answer, and which against."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brainnet.reasons.labels import Labels
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.anatomy import ACTIVATING, WEIGHTED
from brainnet.structure.embedding import Embedding, Embeddings
from brainnet.structure.forward_pass import ForwardPass, trace

STRAIGHT = (
    *(ThresholdRamp, nn.Identity, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Hardtanh, nn.ReLU6),
    *(nn.Hardsigmoid, nn.RReLU, nn.Hardshrink, nn.Softshrink, nn.Threshold),
)
"""Activations made of straight pieces: around a row, a network of these is a plain sum."""

STEPS = 1024
"""Steps on the way from a row of zeros to the row in question, of rows up to `MANY` inputs."""

MANY = 4096
FEWER_STEPS = 128
"""Steps for larger rows, each of which takes its time."""

_AT_ONCE = (256, 2**22)  # steps, and numbers of their rows


@dataclass(frozen=True, slots=True)
class Influence:
    """One input's part in the answer.

    Where neurons are silent or fire fully, a small change of an input changes nothing, however much
    it mattered. So there are two numbers: of a small change here, and of the whole way here.

    Attributes:
        name: the input's.
        value: what the row holds there, as measured; None where it is not known.
        scaled: what the network was given.
        gradient: how the score changes with that, here.
        spoke: gradient · scaled (Shrikumar et al., 2016).
        carried: the mean of that on the straight way from a row of zeros, that is `scaled` times
            the mean gradient on the way: integrated gradients (Sundararajan et al., 2017). Positive
            for the answer, negative against it; all together they are what the score has risen by.
    """

    name: str
    value: float | str | None
    scaled: float
    gradient: float
    spoke: float
    carried: float


@dataclass(frozen=True, slots=True)
class Score:
    """How strongly the network was for its answer, and where that came from.

    Attributes:
        answer: what the score speaks for.
        rival: what it is compared with: the right class where the answer is wrong, else the one
            that came second; None for a number.
        value: output of the answer minus that of the rival; of a number, the number.
        start: the score of a row of zeros, scaled: of what `zero` says.
        zero: what such a row is, in words.
        carried: by how much the inputs took it from `start` to `value`, their parts added up;
            it differs from that by what the steps on the way are too coarse for.
        from_inputs: the sum of gradient · input.
        the_rest: `value - from_inputs`: what biases, thresholds and fully firing neurons say
            whatever the inputs and, where the network is curved, what its curves add.
        straight: whether the network is a plain sum around this row, so that nothing is curved.
        factor: of a number, what the output is multiplied by to have the units of the data.
        shift: of a number, what is then added; `output · factor + shift = value`.
    """

    answer: str
    rival: str | None
    value: float
    start: float
    zero: str
    carried: float
    from_inputs: float
    the_rest: float
    straight: bool
    factor: float | None = None
    shift: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """What ran where on the straight way from a row of zeros to a row.

    Attributes:
        inputs: by each input: integrated gradients, (inputs,) float64.
        layers: through each neuron, by the layer's name: its conductance (Dhamdhere et al., 2019),
            float64 in the shape of what the layer says of one row. As those of the inputs do, the
            parts of a layer that everything runs through add up to what the score has risen by.
    """

    inputs: Tensor
    layers: dict[str, Tensor]


def influences(
    thought: ForwardPass,
    score_of: Callable[[Tensor], Tensor],
    carried: Carried,
    labels: Labels,
    values: Sequence[float | str | None] = (),
) -> tuple[Influence, ...]:
    """Each input's part in a score.

    Where an input is a code that is looked up, it has no slope; its part is that of the signals
    which come back for it.

    Args:
        thought: the forward pass of one row, (1, inputs), whose inputs require gradients.
        score_of: from outputs (rows, outputs) to scores (rows,).
        carried: what ran where on the way to the row.
        labels: names of the inputs.
        values: the row as measured, one for each input.
    """
    codes = _codes(thought.model)
    lookups = [layer.output for layer in thought.layers if _looks_up(layer.place.module)]
    asked = [thought.inputs, *lookups]
    score = score_of(thought.output).sum()
    found = torch.autograd.grad(score, asked, allow_unused=True, retain_graph=True)
    slopes = [torch.zeros_like(of) if g is None else g for of, g in zip(asked, found, strict=True)]
    inputs = thought.inputs.detach().double().flatten()
    gradients = slopes[0].detach().double().flatten()
    spoke = inputs * gradients
    for column, signals, slope in zip(codes, lookups, slopes[1:], strict=False):
        spoke[column] = (signals.detach().double() * slope.double()).sum()
    names = labels.of_inputs(len(inputs))
    known = values if len(values) == len(inputs) else (None,) * len(inputs)
    columns = (inputs, gradients, spoke, carried.inputs)
    parts = zip(names, known, *(each.tolist() for each in columns), strict=True)
    return tuple(Influence(*part) for part in parts)


def on_the_way(model: nn.Module, row: Tensor, score_of: Callable[[Tensor], Tensor]) -> Carried:
    """Follow the score from that of a row of zeros to that of a row.

    In many small steps, with the gradient in the middle of each. Signals that are looked up for
    codes grow from zero as the inputs do.

    Args:
        model: in evaluation mode.
        row: scaled, (1, inputs).
        score_of: from outputs (rows, outputs) to scores (rows,).
    """
    codes = _codes(model)
    inputs = torch.zeros(row.shape[1:].numel(), dtype=torch.float64)
    layers: dict[str, Tensor] = {}
    steps = STEPS if row.numel() <= MANY else FEWER_STEPS
    at_once = max(1, min(_AT_ONCE[0], _AT_ONCE[1] // row.numel()))
    for middle in ((torch.arange(steps, dtype=torch.float64) + 0.5) / steps).split(at_once):
        with torch.enable_grad():
            thought, signals = _along(model, row, middle)
            score = score_of(thought.output).sum()
        said = [layer.output for layer in thought.layers]
        asked = [thought.inputs, *signals, *said]
        found = torch.autograd.grad(score, asked, allow_unused=True)
        slopes = [
            torch.zeros_like(of) if slope is None else slope.double()
            for of, slope in zip(asked, found, strict=True)
        ]
        inputs += (slopes[0].sum(dim=0) * row[0].double()).flatten().cpu() / steps
        for column, whole, slope in zip(codes, signals, slopes[1:], strict=False):
            full = whole.detach().double() / _shaped(middle, whole).double()
            inputs[column] += float((full * slope).sum()) / steps
        with torch.no_grad():
            ends = [_along(model, row, middle + half)[0] for half in (-0.5 / steps, 0.5 / steps)]
        for before, after, slope in zip(
            *(end.layers for end in ends), slopes[1 + len(signals) :], strict=True
        ):
            risen = after.output.detach().double() - before.output.detach().double()
            if len(risen) == len(middle):  # else the first dimension is none of rows
                ran = (risen * slope).sum(dim=0).cpu()
                layers[before.name] = layers.get(before.name, 0.0) + ran
    return Carried(inputs, layers)


def _along(model: nn.Module, row: Tensor, share: Tensor) -> tuple[ForwardPass, list[Tensor]]:
    """What the model makes of a row grown to shares of itself, and what it looked up."""
    grown = (row.double() * _shaped(share, row).double()).to(row.dtype)
    for column in _codes(model):
        grown[:, column] = row[:, column]
    with _growing(model, share.to(row)) as signals:
        return trace(model, grown.requires_grad_(torch.is_grad_enabled())), signals


def _shaped(share: Tensor, like: Tensor) -> Tensor:
    """Shares along the first dimension of something."""
    return share.to(like.device).reshape(-1, *[1] * (like.ndim - 1))


def is_straight(model: nn.Module) -> bool:
    """Whether a model is made of sums and straight pieces alone.

    Example:
        >>> is_straight(nn.Sequential(nn.Linear(2, 2), nn.ReLU())), is_straight(nn.Tanh())
        (True, False)
    """
    leaves = [part for part in model.modules() if not list(part.children())]
    known = (*WEIGHTED, *ACTIVATING, nn.Flatten, nn.Dropout, nn.MaxPool2d, nn.AvgPool2d)
    ours = ("brainnet.structure.weights", "brainnet.structure.bias", "brainnet.structure.embedding")
    return all(
        isinstance(part, STRAIGHT if isinstance(part, ACTIVATING) else known)
        or type(part).__module__ in ours
        for part in leaves
    )


@contextmanager
def _growing(model: nn.Module, share: Tensor) -> Iterator[list[Tensor]]:
    """Let the signals looked up for codes grow with the inputs, and collect them."""
    signals: list[Tensor] = []

    def grow(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        signals.append((output.detach() * share.unsqueeze(1)).requires_grad_(True))
        return signals[-1]

    with ExitStack() as stack:
        for part in model.modules():
            if _looks_up(part):
                stack.callback(part.register_forward_hook(grow).remove)
        yield signals


def _looks_up(module: nn.Module) -> bool:
    return isinstance(module, Embedding)


def _codes(model: nn.Module) -> list[int]:
    """The columns of codes that a model looks up, in order."""
    found = next((part for part in model.modules() if isinstance(part, Embeddings)), None)
    return [] if found is None else list(found.codes)
