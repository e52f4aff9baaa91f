"""Row explanations as text."""

from collections.abc import Iterator, Sequence

from brainnet.explanation.attribution import Influence, Score
from brainnet.explanation.explanation import Explanation, Section
from brainnet.explanation.formatting import (
    clip_text,
    count_decimals,
    draw_image,
    draw_signed_bar,
    format_number,
    join_side_by_side,
)
from brainnet.explanation.row_explanation import (
    Answer,
    BlamedWeight,
    ColumnPart,
    ExplainedRow,
    LayerSteps,
    NeuronSum,
    RowExplanation,
)
from brainnet.explanation.worked_example_text import draw_bar


def heading_of(layer: LayerSteps) -> str:
    """A layer, with how its neurons react."""
    if layer.activation is None or layer.silent is None:
        sums = f"{layer.neurons:,} sum{'s' * (layer.neurons != 1)}"
        return f"{layer.name}: {sums} of {layer.inputs:,} signals"
    rest = layer.neurons - layer.silent - (layer.full or 0)
    words = [f"{layer.silent:,} silent"]
    words += [f"{rest:,} {'answering' if layer.full is None else 'on the ramp'}"]
    words += [] if layer.full is None else [f"{layer.full:,} fully firing"]
    return f"{layer.name}: {layer.neurons:,} neurons, {', '.join(words)}"


def layer_lines(layer: LayerSteps, reasons: RowExplanation) -> Iterator[str]:
    """The sums of the neurons that carried most, or of the answers that compete."""
    if layer.untold is not None:
        yield f"{layer.untold[0].upper()}{layer.untold[1:]}."
    score = reasons.score
    digits = count_decimals([score.value, score.start])
    last = layer is reasons.layers[-1]
    for each in layer.shown:
        if last:
            role = role_of(each.name, reasons)
            yield f"  {clip_text(each.name, 22)}{role and f', {role}'}"
        else:
            fires = (
                f"{each.name}  {format_number(each.before, 2)} → {format_number(each.output, 2)}"
            )
            carried = f"carried {format_number(each.carried, digits, sign=True)}"
            yield f"  {clip_text(fires, 38):<39}{carried:>17}"
        yield from sum_lines(each)
        if last and score.factor not in (None, 1.0):
            sum_of = f"· {format_number(score.factor)} + {format_number(score.shift)} = {format_number(score.value)}"
            told = f"in units of {clip_text(each.name, 15)}"
            yield f"    {told:<29}{sum_of.replace('+ -', '- '):>21}"


def role_of(name: str, reasons: RowExplanation) -> str:
    """What one of the answers is in the competition."""
    score, right = reasons.score, reasons.answer.right
    if score.rival is not None and len(reasons.answer.outputs) == 1:
        other = score.rival if name == score.answer else score.answer
        return f"where it is above 0; below, {clip_text(other, 16)}"
    if score.rival is None or name not in (score.answer, score.rival):
        return ""
    if name == right:
        return "its answer, and right" if name == score.answer else "the right one"
    return "its answer" if name == score.answer else "which came second"


def sum_lines(neuron: NeuronSum) -> Iterator[str]:
    """The sum of one neuron, term by term."""
    digits = count_decimals([each.product for each in neuron.terms] + [neuron.total])
    for term in neuron.terms:
        signal, weight = format_number(term.signal, 2), format_number(term.weight, 2)
        yield (
            f"    {clip_text(term.source, 20):<20}{signal:>9} · {weight:>6} = "
            f"{format_number(term.product, digits, sign=True):>9}"
        )
    if neuron.others:
        name = f"and {neuron.others:,} more"
        yield f"    {name:<41}{format_number(neuron.others_sum, digits, sign=True):>9}"
    if neuron.bias is not None:
        yield f"    {'bias':<41}{format_number(neuron.bias, digits, sign=True):>9}"
    yield f"    {'sum':<41}{format_number(neuron.total, digits, sign=True):>9}"
    if abs(neuron.stirred - neuron.total) > 1e-3 * max(1.0, abs(neuron.total)):
        yield f"    {'which a normalisation turns into':<41}{format_number(neuron.stirred, digits):>9}"


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


def format_row(told: ExplainedRow) -> Explanation:
    """Tell why a row got its answer.

    Lines that begin with a space are drawings and sums, at most 58 characters wide; the others are
    prose, to be wrapped to any width.
    """
    reasons = told.reasons
    sections = [
        Section("What it says", tuple(format_prediction(reasons.answer))),
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


def _title(told: ExplainedRow) -> str:
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
        right = "" if each.right is None else f" (right: {format_number(each.right)})"
        yield f"{each.name} {format_number(each.value)}{right}"


def _where_from(told: ExplainedRow) -> Iterator[str]:
    """What the run has to do with the row."""
    if told.part is None:
        yield f"How the network of {told.run} answers it."
        return
    counted = f"Rows are counted from 0 to {told.rows - 1:,}." if told.rows else ""
    words = ("How the network of", told.run, "answers it.", PARTS[told.part], counted, told.note)
    yield " ".join(word for word in words if word)


def format_prediction(answer: Answer) -> Iterator[str]:
    """Probabilities by class, or numbers beside the right ones, and the sting."""
    if answer.numbers:
        yield from _numbers(answer)
    else:
        yield from _classes(answer)
    if answer.loss is not None:
        yield f"The sting of it, the loss of this row alone: {format_number(answer.loss, 4)}."


def _classes(answer: Answer) -> Iterator[str]:
    room = min(24, max(len(each.name) for each in answer.classes))
    shown = answer.classes[:CLASSES]
    named = {each.name for each in shown}
    shown += tuple(each for each in answer.classes[CLASSES:] if each.name == answer.right)
    for each in shown:
        mark = "  ← right" if each.name == answer.right else ""
        if each.probability is None:
            yield f"  {clip_text(each.name, room)}{mark}"
            continue
        yield (
            f"  {clip_text(each.name, room):<{room}}  {each.probability:6.1%}  "
            f"{draw_bar(each.probability)}{mark}"
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
        yield f"  {clip_text(each.name, room):<{room}}  {format_number(each.value):>12}"
        if each.right is not None:
            apart = each.value - each.right
            word = "too high" if apart > 0 else "too low"
            off = f", {format_number(abs(apart))} {word}" if apart else ""
            yield f"  {'right':<{room}}  {format_number(each.right):>12}{off}"


def _mattered(score: Score) -> str:
    if score.rival is None:
        return f"What mattered, for {score.answer}"
    return f"What mattered, for {score.answer} rather than {score.rival}"


def input_lines(told: ExplainedRow) -> Iterator[str]:
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
    digits = count_decimals([score.value, score.start])
    largest = max((abs(each.carried) for each in shown), default=0.0)
    yield f"  {'':18}{'value':>10}{'carried':>9}  {'':8}{'here':>9}"
    yield f"  {clip_text(score.zero, 27):<28}{format_number(score.start, digits, sign=True):>9}"
    for each in shown:
        yield (
            f"  {clip_text(each.name, 17):<17}{clip_text(format_number(each.value), 10):>11}"
            f"{format_number(each.carried, digits, sign=True):>9}  "
            f"{draw_signed_bar(each.carried, largest, 8)}{format_number(each.spoke, digits, sign=True):>9}"
        )
    if others:
        carried, spoke = (
            sum(getattr(each, name) for each in others) for name in ("carried", "spoke")
        )
        yield (
            f"  {f'and {len(others):,} more':<28}{format_number(carried, digits, sign=True):>9}  "
            f"{'':8}{format_number(spoke, digits, sign=True):>9}"
        )
    if round(score.missed, digits):
        missed = format_number(score.missed, digits, sign=True)
        yield f"  {'what no slope shows':<28}{missed:>9}"
    yield f"  {'together':<28}{format_number(score.value, digits, sign=True):>9}"
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


def _pictures(reasons: RowExplanation) -> Iterator[str]:
    """The row as it looks, and what of it spoke for the answer and against it."""
    shape = reasons.image_shape or ()
    values = [each.value for each in reasons.inputs]
    known = [float(each) for each in values if isinstance(each, int | float)]
    seen = known if len(known) == len(values) else [each.scaled for each in reasons.inputs]
    carried = [each.carried for each in reasons.inputs]
    rival = reasons.score.rival
    against = "against it" if rival is None else f"for {rival}"
    drawn = [
        ("it sees", draw_image(seen, shape, dark=min(seen))),
        (f"for {reasons.score.answer}", draw_image([max(each, 0.0) for each in carried], shape)),
        (against, draw_image([max(-each, 0.0) for each in carried], shape)),
    ]
    yield from (f"  {line}" for line in join_side_by_side(drawn, ROOM))
    yield " "


def damage_lines(reasons: RowExplanation) -> Iterator[str]:
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


def _damaging(each: BlamedWeight) -> str:
    name = f"{clip_text(each.source, 15)} → {clip_text(each.target, 13)}"
    better = "lower" if each.gradient > 0 else "higher"
    return (
        f"  {name:<32}{format_number(each.weight, 2):>7}"
        f"{format_number(each.gradient, count_decimals([each.gradient]), sign=True):>8}  {better}"
    )


def neighbour_lines(reasons: RowExplanation) -> Iterator[str]:
    """The nearest training rows and what they are."""
    if not reasons.nearest:
        return
    far = max(each.distance for each in reasons.nearest)
    for each in reasons.nearest:
        near = draw_bar(each.distance / far, width=10) if far > 0 else draw_bar(0, width=10)
        yield (
            f"  {f'row {each.row}':<12}{clip_text(each.right, 20):<20}  {near}  "
            f"{format_number(each.distance, 2)} away"
        )
    yield "Distances are between the scaled inputs, as the network sees them."
    yield from _how_many(reasons)


def _how_many(reasons: RowExplanation) -> Iterator[str]:
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
