"""Attribution: how much each input of a row contributed to its score."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from brainnet.explanation.signal_names import SignalNames
from brainnet.structure.embedding import Embedding, Embeddings
from brainnet.structure.forward_pass import ForwardPass, LayerPass, trace

STEPS = 1024

"""Steps on the way from a row of zeros to the row in question, of rows up to `MANY` inputs."""

MANY = 4096

FEWER_STEPS = 128

"""Steps for larger rows, each of which takes its time."""

FINER = 3

"""How often the steps that are too coarse are cut into `_PIECES`."""

CLOSED = 1e-3

"""What may be missing of what the score rose by, before steps are cut."""

_PIECES = 16

_AT_ONCE = (256, 2**22)  # steps, and numbers of their rows

ScoreOf = Callable[[Tensor], Tensor]

"""From outputs (rows, outputs) to scores (rows,)."""


@dataclass(slots=True, eq=False)
class PathAttribution:
    """What ran where on the straight way from a row of zeros to a row.

    Attributes:
        inputs: by each input: integrated gradients, (inputs,) float64.
        layers: through each neuron, by the layer's name: its conductance (Dhamdhere et al., 2019),
            float64 in the shape of what the layer says of one row. As those of the inputs do, the
            parts of a layer that everything runs through add up to what the score has risen by.
        cut: whether no slope at all came back to the inputs.
    """

    inputs: Tensor
    layers: dict[str, Tensor] = field(default_factory=dict)
    cut: bool = True


def attribute_path(model: nn.Module, row: Tensor, score_of: ScoreOf) -> PathAttribution:
    """Follow the score from that of a row of zeros to that of a row.

    In many small steps, with the gradient in the middle of each. Where that misses what the score
    has risen by, the steps that miss most are cut into smaller ones, a few times at most. Signals
    that are looked up for codes grow from zero as the inputs do.

    Args:
        model: in evaluation mode.
        row: scaled, (1, inputs).
        score_of: the score to follow.
    """
    carried = PathAttribution(torch.zeros(row.shape[1:].numel(), dtype=torch.float64))
    steps = STEPS if row.numel() <= MANY else FEWER_STEPS
    pieces = max(2, min(_PIECES, _AT_ONCE[1] // max(1, row.numel())))
    whole = steps // pieces
    starts = torch.arange(whole, dtype=torch.float64) / whole
    lengths = torch.full_like(starts, 1 / whole)
    gaps, rise = _walked(carried, model, row, score_of, starts, lengths, pieces)
    starts, lengths = _cut(starts, lengths, pieces)
    for _ in range(FINER):
        open_still = CLOSED * max(abs(rise), CLOSED * float(carried.inputs.abs().sum()))
        if carried.cut or not abs(float(gaps.sum())) > open_still:  # nor where they are NaN
            break
        coarse = gaps.abs().topk(min(len(gaps), steps // 4)).indices
        coarse = coarse[gaps[coarse].abs() > open_still / len(gaps)]
        kept = torch.ones(len(gaps), dtype=torch.bool)
        kept[coarse] = False
        old = starts[coarse], lengths[coarse]
        _walked(carried, model, row, score_of, *old, pieces=1, sign=-1.0)
        finer, _ = _walked(carried, model, row, score_of, *old, pieces)
        pair = zip((starts, lengths), _cut(*old, pieces), strict=True)
        starts, lengths = (torch.cat([each[kept], new]) for each, new in pair)
        gaps = torch.cat([gaps[kept], finer])
    return carried


def codes_of(model: nn.Module) -> list[int]:
    """The columns of codes that a model looks up, in order."""
    found = next((part for part in model.modules() if isinstance(part, Embeddings)), None)
    return [] if found is None else list(found.codes)


def looks_up(module: nn.Module) -> bool:
    """Whether a module looks signals up for codes."""
    return isinstance(module, Embedding)


def slopes_of(
    score: Tensor, asked: Sequence[Tensor], *, retain_graph: bool = False
) -> list[Tensor | None]:
    """How one number changes with each of some tensors; None where no slope comes back to it."""
    slopes: list[Tensor | None] = [None] * len(asked)
    # What was computed under no_grad cannot be asked.
    places = [place for place, each in enumerate(asked) if each.requires_grad]
    if score.requires_grad and places:
        tensors = [asked[place] for place in places]
        found = torch.autograd.grad(score, tensors, allow_unused=True, retain_graph=retain_graph)
        for place, slope in zip(places, found, strict=True):
            slopes[place] = slope
    return slopes


def _cut(starts: Tensor, lengths: Tensor, pieces: int) -> tuple[Tensor, Tensor]:
    """Each step cut into pieces: where these begin, and how long they are."""
    within = torch.arange(pieces, dtype=torch.float64) / pieces
    begins = starts[:, None] + lengths[:, None] * within
    return begins.flatten(), (lengths / pieces).repeat_interleave(pieces)


def _walked(
    carried: PathAttribution,
    model: nn.Module,
    row: Tensor,
    score_of: ScoreOf,
    starts: Tensor,
    lengths: Tensor,
    pieces: int,
    sign: float = 1.0,
) -> tuple[Tensor, float]:
    """Add what runs where over stretches of the way, or take it away again.

    Returns:
        What each step of each stretch missed of what the score rose by over it, (steps,), and what
        it rose by in all.
    """
    gaps, rise = [], 0.0
    at_once = max(1, min(_AT_ONCE[0], _AT_ONCE[1] // max(1, row.numel())) // pieces)
    for begins, long in zip(starts.split(at_once), lengths.split(at_once), strict=True):
        firsts, steps = _cut(begins, long, pieces)
        middles = firsts + steps / 2
        with torch.enable_grad():
            thought, signals = _along(model, row, middles)
            score = score_of(thought.output).sum()
        said = [layer.output for layer in thought.layers]
        slopes = slopes_of(score, [thought.inputs, *signals, *said])
        carried.cut &= all(each is None for each in slopes[: 1 + len(signals)])
        parts = _parts(model, row, middles, steps, signals, slopes)
        carried.inputs += sign * parts.sum(dim=0)
        # The end of one piece is the start of the next.
        edges = torch.cat([firsts.reshape(-1, pieces), (begins + long)[:, None]], dim=1)
        with torch.no_grad():
            ends = _along(model, row, edges.flatten())[0]
            rises = score_of(ends.output).double().cpu().reshape(edges.shape).diff(dim=1).flatten()
        for layer, slope in zip(ends.layers, slopes[1 + len(signals) :], strict=True):
            _add_layer(carried, layer, slope, edges, sign)
        gaps.append(rises - parts.sum(dim=1))
        rise += float(rises.sum())
    return torch.cat(gaps), rise


def _parts(
    model: nn.Module,
    row: Tensor,
    middles: Tensor,
    steps: Tensor,
    signals: Sequence[Tensor],
    slopes: Sequence[Tensor | None],
) -> Tensor:
    """What each input carries over each step, (steps, inputs) float64; of codes, their signals."""
    parts = torch.zeros(len(steps), row[0].numel(), dtype=torch.float64)
    if slopes[0] is not None:
        parts += (slopes[0].double() * row.double()).flatten(1).cpu() * steps[:, None]
    for column, whole, slope in zip(codes_of(model), signals, slopes[1:], strict=False):
        if slope is not None:
            part = (whole.detach().double() * slope.double()).flatten(1).sum(dim=1).cpu()
            parts[:, column] += part * steps / middles  # of the whole signals, at the end
    return parts


def _add_layer(
    carried: PathAttribution, layer: LayerPass, slope: Tensor | None, edges: Tensor, sign: float
) -> None:
    """Add what runs through each neuron of a layer: what it rises by, times the slope there."""
    said, steps = layer.output.detach(), edges.shape[0] * (edges.shape[1] - 1)
    if slope is None or len(said) != edges.numel() or len(slope) != steps:
        return  # else the first dimension is none of rows
    risen = said.double().reshape(*edges.shape, *said.shape[1:]).diff(dim=1).flatten(0, 1)
    ran = sign * (risen * slope.double()).sum(dim=0).cpu()
    carried.layers[layer.name] = carried.layers.get(layer.name, 0.0) + ran


def _along(model: nn.Module, row: Tensor, share: Tensor) -> tuple[ForwardPass, list[Tensor]]:
    """What the model makes of a row grown to shares of itself, and what it looked up."""
    grown = (row.double() * _shaped(share, row).double()).to(row.dtype)
    for column in codes_of(model):
        grown[:, column] = row[:, column]
    with _growing(model, share.to(row)) as signals:
        return trace(model, grown.requires_grad_(torch.is_grad_enabled())), signals


def _shaped(share: Tensor, like: Tensor) -> Tensor:
    """Shares along the first dimension of something."""
    return share.to(like.device).reshape(-1, *[1] * (like.ndim - 1))


@contextmanager
def _growing(model: nn.Module, share: Tensor) -> Iterator[list[Tensor]]:
    """Let the signals looked up for codes grow with the inputs, and collect them."""
    signals: list[Tensor] = []

    def grow(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        signals.append((output.detach() * share.unsqueeze(1)).requires_grad_(True))
        return signals[-1]

    with ExitStack() as stack:
        for part in model.modules():
            if looks_up(part):
                stack.callback(part.register_forward_hook(grow).remove)
        yield signals


COARSE = 0.01

"""Share of what the score rose by that the steps may miss before that is told."""


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
        carried: by how much the inputs took it from `start` to `value`, their parts added up.
        factor: of a number, what the output is multiplied by to have the units of the data.
        shift: of a number, what is then added; `output · factor + shift = value`.
    """

    answer: str
    rival: str | None
    value: float
    start: float
    zero: str
    carried: float
    factor: float | None = None
    shift: float | None = None

    @property
    def missed(self) -> float:
        """What the steps on the way are too coarse for, or see no slope of; 0 for less than 1%.

        Where a network jumps, has a part that passes no gradients back, or bends more sharply than
        the smallest step, the parts of the inputs do not add up to what the score has risen by.
        """
        rise = self.value - self.start
        left = rise - self.carried
        return left if abs(left) > COARSE * abs(rise) else 0.0


def compute_influences(
    thought: ForwardPass,
    score_of: Callable[[Tensor], Tensor],
    carried: PathAttribution,
    labels: SignalNames,
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
    codes = codes_of(thought.model)
    lookups = [layer.output for layer in thought.layers if looks_up(layer.info.module)]
    asked = [thought.inputs, *lookups]
    found = slopes_of(score_of(thought.output).sum(), asked, retain_graph=True)
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
