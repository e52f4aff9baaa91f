"""Telling: why a row got its answer, in words and numbers, section by section."""

from collections.abc import Iterator, Sequence

from brainnet.explanation import Explanation, Section
from brainnet.figures import (
    clipped,
    digits_for,
    figure,
    picture,
    side_by_side,
    signed_bar,
)
from brainnet.reasons.answer import Answer
from brainnet.reasons.columns import ColumnPart
from brainnet.reasons.damage import Damage
from brainnet.reasons.influence import Influence, Score
from brainnet.reasons.layers_told import heading_of, layer_lines
from brainnet.reasons.reasons import Reasons
from brainnet.reasons.row import RowTold
from brainnet.telling import bar

COLUMNS = 8
"""Columns that are told one by one."""

CLASSES = 4
"""Classes whose probabilities are told one by one."""

ROOM = 58
"""Characters that a drawing or a sum may take."""

PARTS = {
    "train": "It was trained on this row.",
    "validation": "It was not trained on this row, which helped to choose its best moment.",
    "test": "It never saw this row in training.",
}


def tell_row(told: RowTold) -> Explanation:
    """Tell why a row got its answer.

    Lines that begin with a space are drawings and sums, at most 58 characters wide; the others are
    prose, to be wrapped to any width.
    """
    reasons = told.reasons
    sections = [
        Section("What it says", tuple(answer_lines(reasons.answer))),
        Section(_mattered(reasons.score), tuple(input_lines(told))),
        *(
            Section(heading_of(layer), tuple(layer_lines(layer, reasons)))
            for layer in reasons.layers
        ),
        Section("Who is to blame", tuple(damage_lines(reasons))),
        Section("The training rows most like it", tuple(neighbour_lines(reasons))),
        Section("What cannot be told", reasons.untold),
    ]
    return Explanation(
        _title(told),
        None,
        tuple(_where_from(told)),
        (),
        tuple(each for each in sections if each.lines),
    )


def _title(told: RowTold) -> str:
    answer = told.reasons.answer
    row = told.source if told.row is None else f"row {told.row} of {told.source}"
    if answer.numbers:
        return f"{row}: {', '.join(_number_told(answer))}"
    said = answer.classes[0].name
    if answer.correct is None:
        return f"{row}: {said}"
    return f"{row}: {said}, which is {'right' if answer.correct else 'wrong'}"


def _number_told(answer: Answer) -> Iterator[str]:
    for each in answer.numbers:
        right = "" if each.right is None else f" (right: {figure(each.right)})"
        yield f"{each.name} {figure(each.value)}{right}"


def _where_from(told: RowTold) -> Iterator[str]:
    """What the run has to do with the row."""
    if told.part is None:
        yield f"How the network of {told.run} answers it."
        return
    counted = f"Rows are counted from 0 to {told.rows - 1:,}." if told.rows else ""
    words = ("How the network of", told.run, "answers it.", PARTS[told.part], counted, told.note)
    yield " ".join(word for word in words if word)


def answer_lines(answer: Answer) -> Iterator[str]:
    """Probabilities by class, or numbers beside the right ones, and the sting."""
    if answer.numbers:
        yield from _numbers(answer)
    else:
        yield from _classes(answer)
    if answer.loss is not None:
        yield f"The sting of it, the loss of this row alone: {figure(answer.loss, 4)}."


def _classes(answer: Answer) -> Iterator[str]:
    room = min(24, max(len(each.name) for each in answer.classes))
    shown = answer.classes[:CLASSES]
    named = {each.name for each in shown}
    shown += tuple(each for each in answer.classes[CLASSES:] if each.name == answer.right)
    for each in shown:
        mark = "  ← right" if each.name == answer.right else ""
        if each.probability is None:
            yield f"  {clipped(each.name, room)}{mark}"
            continue
        yield (
            f"  {clipped(each.name, room):<{room}}  {each.probability:6.1%}  "
            f"{bar(each.probability)}{mark}"
        )
    others = [each for each in answer.classes if each not in shown]
    if others:
        rest = sum(each.probability or 0.0 for each in others)
        yield f"  {f'{len(others)} others':<{room}}  {rest:6.1%}"
    if answer.classes[0].probability is None:
        yield "How sure it is of each class, its loss does not say."
    if answer.right is not None and answer.right not in named and answer.correct is False:
        yield f"Right would have been {answer.right}."


def _numbers(answer: Answer) -> Iterator[str]:
    room = min(24, max(5, *(len(each.name) for each in answer.numbers)))
    for each in answer.numbers:
        yield f"  {clipped(each.name, room):<{room}}  {figure(each.value):>12}"
        if each.right is not None:
            apart = each.value - each.right
            word = "too high" if apart > 0 else "too low"
            off = f", {figure(abs(apart))} {word}" if apart else ""
            yield f"  {'right':<{room}}  {figure(each.right):>12}{off}"


def _mattered(score: Score) -> str:
    if score.rival is None:
        return f"What mattered, for {score.answer}"
    return f"What mattered, for {score.answer} rather than {score.rival}"


def input_lines(told: RowTold) -> Iterator[str]:
    """The inputs that mattered, from a row of zeros to this one, and what a small change does."""
    reasons = told.reasons
    score = reasons.score
    if reasons.image_shape is not None:
        yield from _pictures(reasons)
    parts: Sequence[Influence | ColumnPart] = told.columns or reasons.inputs
    ranked = sorted(parts, key=lambda each: -abs(each.carried))
    shown = [each for each in ranked[:COLUMNS] if each.carried != 0]
    others = [each for each in ranked if each not in shown]
    if len(others) == 1:
        shown, others = ranked, []
    digits = digits_for([score.value, score.start])
    largest = max((abs(each.carried) for each in shown), default=0.0)
    yield f"  {'':18}{'value':>10}{'carried':>9}  {'':8}{'here':>9}"
    yield f"  {clipped(score.zero, 27):<28}{figure(score.start, digits, sign=True):>9}"
    for each in shown:
        yield (
            f"  {clipped(each.name, 17):<17}{clipped(figure(each.value), 10):>11}"
            f"{figure(each.carried, digits, sign=True):>9}  "
            f"{signed_bar(each.carried, largest, 8)}{figure(each.spoke, digits, sign=True):>9}"
        )
    if others:
        carried, spoke = (
            sum(getattr(each, name) for each in others) for name in ("carried", "spoke")
        )
        yield (
            f"  {f'and {len(others):,} more':<28}{figure(carried, digits, sign=True):>9}  "
            f"{'':8}{figure(spoke, digits, sign=True):>9}"
        )
    if round(score.missed, digits):
        missed = figure(score.missed, digits, sign=True)
        yield f"  {'what no slope shows':<28}{missed:>9}"
    yield f"  {'together':<28}{figure(score.value, digits, sign=True):>9}"
    yield from _how_to_read(score)


def _how_to_read(score: Score) -> Iterator[str]:
    if score.rival is None:
        unit = f"It is all in units of {score.answer}."
    else:
        unit = (
            f"What is added up is the output for {score.answer} less that for {score.rival}: "
            f"above 0, {score.answer} wins."
        )
    yield (
        f"{unit} `carried` is what each brought on the way from {score.zero} to this row "
        "(integrated gradients). `here` is gradient · input: what of it still counts for a small "
        "change; 0 where the neurons that listen are silent or fire fully. Below, `carried` is how "
        "much of it all ran through a neuron, and 0.20 → 0.70 is how strongly it fires for "
        f"{score.zero} and for this one."
    )


def _pictures(reasons: Reasons) -> Iterator[str]:
    """The row as it looks, and what of it spoke for the answer and against it."""
    shape = reasons.image_shape or ()
    values = [each.value for each in reasons.inputs]
    known = [float(each) for each in values if isinstance(each, int | float)]
    seen = known if len(known) == len(values) else [each.scaled for each in reasons.inputs]
    carried = [each.carried for each in reasons.inputs]
    rival = reasons.score.rival
    against = "against it" if rival is None else f"for {rival}"
    drawn = [
        ("it sees", picture(seen, shape, dark=min(seen))),
        (f"for {reasons.score.answer}", picture([max(each, 0.0) for each in carried], shape)),
        (against, picture([max(-each, 0.0) for each in carried], shape)),
    ]
    yield from (f"  {line}" for line in side_by_side(drawn, ROOM))
    yield " "


def damage_lines(reasons: Reasons) -> Iterator[str]:
    """The weights that did most to make the answer wrong."""
    if not reasons.damage:
        return
    shares = ", ".join(f"{each.name} {each.blame:.0%}" for each in reasons.blame)
    yield f"The error carried back, layer by layer: {shares}. The weights with the largest slopes:"
    yield f"  {'':32}{'weight':>7}{'slope':>8}  better"
    for each in reasons.damage:
        yield _damaging(each)
    yield (
        "The slope is how the loss changes with the weight: where it is above 0, a lower weight "
        "would have helped, and below 0 a higher one."
    )


def _damaging(each: Damage) -> str:
    name = f"{clipped(each.source, 15)} → {clipped(each.target, 13)}"
    better = "lower" if each.gradient > 0 else "higher"
    return (
        f"  {name:<32}{figure(each.weight, 2):>7}"
        f"{figure(each.gradient, digits_for([each.gradient]), sign=True):>8}  {better}"
    )


def neighbour_lines(reasons: Reasons) -> Iterator[str]:
    """The nearest training rows and what they are."""
    if not reasons.nearest:
        return
    far = max(each.distance for each in reasons.nearest)
    for each in reasons.nearest:
        near = bar(each.distance / far, width=10) if far > 0 else bar(0, width=10)
        yield (
            f"  {f'row {each.row}':<12}{clipped(each.right, 20):<20}  {near}  "
            f"{figure(each.distance, 2)} away"
        )
    yield "Distances are between the scaled inputs, as the network sees them."
    yield from _how_many(reasons)


def _how_many(reasons: Reasons) -> Iterator[str]:
    """How many of the neighbours are what the network says, and how many what is right."""
    if not reasons.answer.classes:
        return
    said, right, count = reasons.answer.classes[0].name, reasons.answer.right, len(reasons.nearest)
    alike = sum(each.right == said for each in reasons.nearest)
    told = [f"{f'all {count}' if alike == count else alike or 'none'} {_is(alike)} {said}"]
    if right not in (None, said):
        others = sum(each.right == right for each in reasons.nearest)
        told += [f"{others or 'none'} {_is(others)} {right}"]
    yield f"Of these {count}, {' and '.join(told)}."


def _is(count: int) -> str:
    return "are" if count > 1 else "is"
