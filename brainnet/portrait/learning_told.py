"""How a network learned, in words and tables: the learning mechanics of a run."""

import math

from brainnet.figures import clipped, figure, percent, sparkline
from brainnet.portrait.blame import BlameTold, GradientTold
from brainnet.portrait.curves import Curve
from brainnet.portrait.descent import DescentTold, RateTold
from brainnet.portrait.loss import LossTold
from brainnet.portrait.words import (
    NO_READINGS,
    NO_ROWS,
    Lines,
    connection_told,
    counted,
    number_told,
)
from brainnet.telling import bar

SHORT_STEP = 0.001
"""Of the weights' own length: what a typical step is known to move them by where all is well."""


def loss_lines(told: LossTold) -> Lines:
    """The stings: of guessing, of the first batch and the last, and of the worst rows."""
    yield f"It is judged by {told.name}."
    rows = {
        "always the same answer": told.guessing,
        "the first batch, untrained": told.first,
        "the last batch looked at": told.last,
        "a typical row, never learned": told.typical,
    }
    rows |= {tag: value for tag, value in told.metrics.items() if tag.startswith("loss/")}
    known = {word: value for word, value in rows.items() if value is not None}
    largest = max(known.values(), default=0.0)
    for word, value in known.items():
        share = value / largest if largest > 0 else 0.0
        yield f"  {word:<29}{figure(value):>9}  {bar(share, 16)}"
    end = told.end
    if end is not None and end.guessing is not None and not end.beats_guessing:
        yield (
            f"{end.tag} ended at {number_told(end.loss)}, no better than guessing: always the "
            f"same answer costs {number_told(end.guessing)} on these rows."
        )
    yield from _drawn(told.curve, "the loss of the batches")
    scores = [f"{tag} {figure(v)}" for tag, v in told.metrics.items() if not tag.startswith("loss")]
    if scores:
        yield f"At the end: {', '.join(scores)}."
    if told.worst and told.worst_share is not None:
        yield (
            f"Of the rows it never learned from, these {len(told.worst)} sting most; they have "
            f"{told.worst_share:.0%} of all the sting:"
        )
        for each in told.worst:
            yield f"  {f'row {each.row}, {each.part}':<29}{figure(each.loss):>9}"
        yield f"Why: brainnet explain --run RUN --row {told.worst[0].row}"
    if not told.worst:
        yield NO_ROWS


def blame_lines(told: BlameTold) -> Lines:
    """Each layer's share of the blame, and the weights that carry most."""
    if told.layers:
        yield "Each layer's share of the blame: at the first look, at the last, and as it is now:"
        yield f"  {'':14}{'first':>8}{'last':>8}{'now':>8}"
        for each in told.layers:
            cells = "".join(_share(value) for value in (each.first, each.last, each.now))
            now = each.last if each.now is None else each.now
            yield f"  {clipped(each.name, 14):<14}{cells}  {bar(now or 0.0, 16)}"
    if not told.rows:
        yield NO_ROWS
        return
    yield (
        f"Now is on {told.rows:,} training rows together, with a loss of {figure(told.loss)}. The "
        "weights with the largest part in it:"
    )
    for weight in told.weights:
        yield f"  {connection_told(weight):<40}{weight.blame:7.2%}"


def _share(value: float | None) -> str:
    return f"{'':8}" if value is None else f"{value:8.1%}"


def gradient_lines(told: GradientTold) -> Lines:
    """How steep it was and is, and which way is down."""
    yield from _drawn(told.curve, "how steep it was")
    if told.layers:
        yield "Layer by layer: at the first look, at the last, and as it is now:"
        yield f"  {'':14}{'first':>10}{'last':>10}{'now':>10}"
        for each in told.layers:
            found = [each.first, each.last, each.now]
            cells = "".join(f"{'' if value is None else figure(value):>10}" for value in found)
            yield f"  {clipped(each.name, 14):<14}{cells}".rstrip()
    if told.now is None:
        yield NO_ROWS
        return
    yield (
        f"Now is the slope of the loss on {told.rows:,} training rows together: "
        f"{figure(told.now)} steep. The steepest weights, and which way is down:"
    )
    for weight in told.weights:
        down = "lower" if weight.gradient > 0 else "higher"
        yield f"  {connection_told(weight):<39}{figure(weight.gradient, sign=True):>11}  {down}"


def descent_lines(told: DescentTold) -> Lines:
    """How many steps, how far each went, and what they brought."""
    epochs = "" if told.epochs is None else f" in {counted(told.epochs, 'epoch')}"
    steps = "An unknown number of steps" if told.steps is None else counted(told.steps, "step")
    by = "" if told.optimizer is None else f", taken by {told.optimizer}"
    yield f"{steps} downhill{epochs}{by}."
    if told.layers:
        yield "How far a typical step moved the weights, as a share of their own length:"
        largest = max(each.update_ratio for each in told.layers)
        for each in told.layers:
            share = each.update_ratio / largest if largest > 0 else 0.0
            moved = percent(each.update_ratio, 3)
            yield f"  {clipped(each.name, 14):<14}{moved:>9}  {bar(share, 16)}"
        yield "About 0.1% is usual: far less hardly learns, far more tears down what was learned."
    if told.promised is None or told.kept is None or told.downhill is None:
        yield NO_READINGS
        return
    yield (
        f"Of the {counted(told.looks, 'step')} looked at closely, {told.downhill:.0%} led "
        "downhill. All together, on their own rows:"
    )
    yield f"  {'the slope promised':<28}{number_told(told.promised):>10}"
    yield f"  {'the loss fell by':<28}{number_told(told.kept):>10}"


def rate_lines(told: RateTold) -> Lines:
    """The size of the step, and whether it suits the ground."""
    given = "is not known" if told.value is None else f"is {figure(told.value)}"
    stays = "stays as it is" if told.schedule is None else f"follows {told.schedule}"
    yield f"The learning rate {given} and {stays}."
    values = told.curve.values
    if values and min(values) != max(values):
        yield from _drawn(told.curve, "the learning rate")
    if told.update_ratio is not None:
        far = f"by {percent(told.update_ratio, 2)} of their length"
        beyond = "further than numbers go"
        yield (
            "At that, a typical step moved the weights "
            f"{far if math.isfinite(told.update_ratio) else beyond}."
        )
    if told.broke is None and (told.kept is None or told.overshot is None):
        yield NO_READINGS
        return
    brought = []
    if told.kept is not None:
        brought.append(f"a typical step brought {percent(told.kept)} of what the slope promised")
    if told.overshot is not None:
        beyond = "" if told.broke is None else ", or at no number at all"
        brought.append(
            f"{told.overshot:.0%} of the steps looked at ended higher than they began{beyond}"
        )
    if brought:
        yield f"{_sentence(', and '.join(brought))}. {_verdict(told)}"
    else:
        yield _verdict(told)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _verdict(told: RateTold) -> str:
    """What the promises kept say of the size of the step."""
    if told.broke is not None:
        return f"{_sentence(told.broke)}: try a smaller step."
    kept, overshot = told.kept or 0.0, told.overshot or 0.0
    if overshot > 0.25 or kept < 0.25:
        return "It overshoots: try a smaller one."
    if kept > 0.9 and overshot < 0.1 and (told.update_ratio or 1.0) < SHORT_STEP:
        return "The ground was as straight as it looked, and the steps short: try a larger one."
    return "The steps suit the ground."


def _drawn(curve: Curve, name: str) -> Lines:
    """A curve, with where it begins and ends."""
    if len(curve.values) < 2:
        return
    ends = f"{figure(curve.values[0])} → {figure(curve.values[-1])}"
    yield f"  {sparkline(curve.values)}  {ends}"
    first, last = curve.steps[0], curve.steps[-1]
    yield f"That is {name}, at {len(curve.steps)} steps from {first:,} to {last:,}."
