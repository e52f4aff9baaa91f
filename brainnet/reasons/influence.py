"""Influence: which inputs of one row spoke for its answer, and which against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from brainnet.reasons.labels import Labels
from brainnet.reasons.way import Carried, codes_of, looks_up, slopes_of
from brainnet.structure.forward_pass import ForwardPass

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
    codes = codes_of(thought.model)
    lookups = [layer.output for layer in thought.layers if looks_up(layer.place.module)]
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
