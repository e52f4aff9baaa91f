"""Row explanations as text."""

from collections.abc import Iterator

from brainnet.explanation.explanation import Explanation, Section
from brainnet.explanation.formatting import (
    clip_text,
    count_decimals,
    draw_bar,
    draw_image,
    draw_signed_bar,
    format_number,
    format_percent,
    join_side_by_side,
)
from brainnet.explanation.layer_steps import LayerSteps, NeuronSum
from brainnet.explanation.row_explanation import (
    ExplainedRow,
    RowExplanation,
    RowPrediction,
    Score,
)

_MAX_COLUMNS, _MAX_CLASSES, _WIDTH = 8, 4, 58
_PARTS = {
    "train": "It is a training row.",
    "validation": "It is a validation row: not trained on, but used to choose the checkpoint.",
    "test": "It is a test row: not seen in training.",
}


def format_row(row: ExplainedRow) -> Explanation:
    """Format the explanation of a row.

    Lines that begin with a space are tables and drawings, at most 60 characters wide; the others
    are prose, to be wrapped to any width.
    """
    explanation = row.explanation
    score = explanation.score
    versus = "" if score.alternative is None else f" rather than {score.alternative}"
    sections = [
        Section("Prediction", tuple(format_prediction(explanation.prediction))),
        Section(f"Contributions to {score.prediction}{versus}", tuple(_format_inputs(row))),
        *(
            Section(_format_heading(layer), tuple(_format_layer(layer, explanation)))
            for layer in explanation.layers
        ),
        Section("Blame", tuple(_format_blame(explanation))),
        Section("Nearest training rows", tuple(_format_neighbors(explanation))),
        Section("Limitations", explanation.limitations),
    ]
    # A correct prediction has no blame, and most rows have no limitations.
    shown = tuple(section for section in sections if section.lines)
    return Explanation(_format_title(row), None, (_format_source(row),), (), shown)


def _format_title(row: ExplainedRow) -> str:
    prediction = row.explanation.prediction
    name = row.source if row.row is None else f"row {row.row} of {row.source}"
    if prediction.values:
        values = (
            f"{each.name} {format_number(each.value)}"
            + ("" if each.true_value is None else f" (true: {format_number(each.true_value)})")
            for each in prediction.values
        )
        return f"{name}: {', '.join(values)}"
    verdict = {None: "", True: ", correct", False: ", wrong"}[prediction.is_correct]
    return f"{name}: {prediction.classes[0].name}{verdict}"


def _format_source(row: ExplainedRow) -> str:
    sentences = [f"Predicted by the network of {row.run}."]
    if row.part is not None:
        sentences.append(_PARTS[row.part])
        sentences += [f"Rows are counted from 0 to {row.rows - 1:,}."] if row.rows else []
        sentences += [row.note] if row.note else []
    return " ".join(sentences)


def format_prediction(prediction: RowPrediction) -> Iterator[str]:
    """Format the probabilities of the classes, or the predicted and true numbers, and the loss."""
    if prediction.values:
        yield from _format_values(prediction)
    else:
        yield from _format_classes(prediction)
    if prediction.loss is not None:
        yield f"Loss of this row: {format_number(prediction.loss, 4)}."


def _format_classes(prediction: RowPrediction) -> Iterator[str]:
    classes, true_class = prediction.classes, prediction.true_class
    if classes[0].probability is None:
        yield f"  {clip_text(classes[0].name, 24)}"
        yield "The loss of this network defines no probabilities."
        if prediction.is_correct is False:
            yield f"The true class is {true_class}."
        return
    width = min(24, max(len(each.name) for each in classes))
    # The true class is always shown, even if it is one of the least probable.
    shown = [
        each
        for place, each in enumerate(classes)
        if place < _MAX_CLASSES or each.name == true_class
    ]
    for each in shown:
        share = each.probability or 0.0
        percent = format_percent(share, 1)
        mark = "  ← true" if each.name == true_class else ""
        yield f"  {clip_text(each.name, width):<{width}}  {percent:>6}  {draw_bar(share)}{mark}"
    rest = [each.probability or 0.0 for each in classes if each not in shown]
    if rest:
        yield f"  {f'{len(rest)} others':<{width}}  {format_percent(sum(rest), 1):>6}"


def _format_values(prediction: RowPrediction) -> Iterator[str]:
    width = min(24, max(5, *(len(each.name) for each in prediction.values)))
    for each in prediction.values:
        yield f"  {clip_text(each.name, width):<{width}}  {format_number(each.value):>12}"
        if each.true_value is not None:
            error = each.value - each.true_value
            side = "too high" if error > 0 else "too low"
            note = f", {format_number(abs(error))} {side}" if error else ""
            yield f"  {'true':<{width}}  {format_number(each.true_value):>12}{note}"


def _format_inputs(row: ExplainedRow) -> Iterator[str]:
    """The inputs with the largest contributions, from the score of a row of zeros to this one."""
    explanation = row.explanation
    score = explanation.score
    if explanation.image_shape is not None:
        yield from _draw_images(explanation)
    parts = [
        (each.name, format_number(each.value), each.contribution, each.gradient_times_input)
        for each in row.columns or explanation.inputs
    ]
    parts.sort(key=lambda part: -abs(part[2]))
    count = sum(part[2] != 0 for part in parts[:_MAX_COLUMNS])
    # One input beyond the limit is shown as well, because "and 1 more" takes the same space.
    count = len(parts) if len(parts) == count + 1 else count
    shown, others = parts[:count], parts[count:]
    if others:
        total, local_total = sum(part[2] for part in others), sum(part[3] for part in others)
        shown = [*shown, (f"and {len(others):,} more", "", total, local_total)]
    # The decimals of the score, so that the printed numbers add up to it.
    digits = count_decimals([score.value, score.baseline])
    largest = max((abs(part[2]) for part in parts), default=0.0)
    yield f"  {'':15}{'value':>10} {'contribution':>12}  {'':8}{'grad·input':>10}"
    yield _format_sum(score.baseline_name, score.baseline, digits)
    for name, value, contribution, local in shown:
        yield (
            f"  {clip_text(name, 15):<15}{clip_text(value, 9):>10}"
            f" {format_number(contribution, digits, sign=True):>12}"
            f"  {draw_signed_bar(contribution, largest, 8) if value else '':8}"
            f"{format_number(local, digits, sign=True):>10}"
        )
    if round(score.unexplained, digits):
        yield _format_sum("not in any contribution", score.unexplained, digits)
    yield _format_sum("score" if score.alternative else score.prediction, score.value, digits)
    yield from _describe_score(score)


def _format_sum(name: str, value: float, digits: int) -> str:
    return f"  {clip_text(name, 25):<25} {format_number(value, digits, sign=True):>12}"


def _describe_score(score: Score) -> Iterator[str]:
    if score.alternative is None:
        unit = f"All numbers are in units of {score.prediction}."
    else:
        unit = (
            f"The score is the output for {score.prediction} minus that for {score.alternative}: "
            f"it is positive if {score.prediction} is ahead."
        )
    yield (
        f"{unit} A contribution is what the value adds on the way from {score.baseline_name} to "
        "this row (integrated gradients). `grad·input` is gradient times input: the effect of a "
        "small change, 0 if the neurons that read the input are silent or fully firing. Below, "
        f"0.20 → 0.70 is the output of a neuron for {score.baseline_name} and for this row, and "
        "its contribution is the part of the score's change that passed through it."
    )


def _draw_images(explanation: RowExplanation) -> Iterator[str]:
    """The image, and its pixels with positive and with negative contributions."""
    shape, score = explanation.image_shape or (), explanation.score
    values = [each.value for each in explanation.inputs]
    known = [float(each) for each in values if isinstance(each, int | float)]
    # Raw pixels are easier to recognize than scaled ones, but may be missing.
    pixels = known if len(known) == len(values) else [each.scaled for each in explanation.inputs]
    contributions = [each.contribution for each in explanation.inputs]
    against = "against it" if score.alternative is None else f"for {score.alternative}"
    drawings = [
        ("input", draw_image(pixels, shape, dark=min(pixels))),
        (f"for {score.prediction}", draw_image([max(each, 0.0) for each in contributions], shape)),
        (against, draw_image([max(-each, 0.0) for each in contributions], shape)),
    ]
    yield from (f"  {line}" for line in join_side_by_side(drawings, _WIDTH))
    yield " "


def _format_heading(layer: LayerSteps) -> str:
    if layer.silent is None:
        plural = "s" * (layer.neurons != 1)
        return f"{layer.name}: {layer.neurons:,} output{plural} from {layer.inputs:,} signals"
    rest = layer.neurons - layer.silent - (layer.full or 0)
    counts = [
        f"{layer.silent:,} silent",
        f"{rest:,} {'on the ramp' if layer.full is not None else 'active'}",
    ]
    counts += [] if layer.full is None else [f"{layer.full:,} fully firing"]
    return f"{layer.name}: {layer.neurons:,} neurons, {', '.join(counts)}"


def _format_layer(layer: LayerSteps, explanation: RowExplanation) -> Iterator[str]:
    """The sums of the neurons that contributed most, or of the compared outputs."""
    if layer.limitation is not None:
        yield layer.limitation
    score = explanation.score
    digits = count_decimals([score.value, score.baseline])
    is_last = layer is explanation.layers[-1]
    for neuron in layer.sums:
        if is_last:
            role = _describe_role(neuron.name, explanation)
            yield f"  {clip_text(neuron.name, 22)}{role and f' ({role})'}"
        else:
            before, after = (
                format_number(neuron.baseline_output, 2),
                format_number(neuron.output, 2),
            )
            contribution = format_number(neuron.contribution, digits, sign=True)
            name = clip_text(f"{neuron.name}  {before} → {after}", 32)
            yield f"  {name:<32}contribution {contribution:>9}"
        yield from _format_neuron(neuron)
        # The output of a regression is scaled; the last line leads to the predicted number.
        if is_last and score.scale not in (None, 1.0):
            scaled = f"· {format_number(score.scale)} + {format_number(score.shift)}"
            equation = f"{scaled} = {format_number(score.value)}".replace("+ -", "- ")
            yield f"    {f'in units of {clip_text(neuron.name, 15)}':<29}{equation:>21}"


def _describe_role(name: str, explanation: RowExplanation) -> str:
    score, true_class = explanation.score, explanation.prediction.true_class
    if score.alternative is None:
        return ""
    # A single output stands for both classes.
    if len(explanation.prediction.outputs) == 1:
        other = score.alternative if name == score.prediction else score.prediction
        return f"if positive; if negative, {clip_text(other, 16)}"
    if name == score.prediction:
        return "predicted and true" if name == true_class else "predicted"
    return "true" if name == true_class else "second"


def _format_neuron(neuron: NeuronSum) -> Iterator[str]:
    # The decimals of the products, because these may be far larger than the score.
    digits = count_decimals([*(term.product for term in neuron.terms), neuron.total])
    for term in neuron.terms:
        product = format_number(term.product, digits, sign=True)
        factors = f"{format_number(term.signal, 2):>9} · {format_number(term.weight, 2):>6}"
        yield f"    {clip_text(term.source, 20):<20}{factors} = {product:>9}"
    sums = {f"and {neuron.others:,} more": neuron.others_sum} if neuron.others else {}
    sums |= {} if neuron.bias is None else {"bias": neuron.bias}
    sums["sum"] = neuron.total
    if abs(neuron.pre_activation - neuron.total) > 1e-3 * max(1.0, abs(neuron.total)):
        sums["after the normalization"] = neuron.pre_activation
    for name, value in sums.items():
        yield f"    {name:<41}{format_number(value, digits, sign=True):>9}"


def _format_blame(explanation: RowExplanation) -> Iterator[str]:
    """The weights with the largest gradients, for a wrong prediction."""
    if not explanation.blamed_weights:
        return
    shares = ", ".join(f"{name} {blame:.0%}" for name, blame in explanation.layer_blame.items())
    yield f"Share of each layer in the squared gradient of this loss: {shares}. Largest gradients:"
    yield f"  {'':32}{'weight':>7}{'gradient':>9}"
    for each in explanation.blamed_weights:
        name = f"{clip_text(each.source, 15)} → {clip_text(each.target, 13)}"
        gradient = format_number(each.gradient, count_decimals([each.gradient]), sign=True)
        yield f"  {name:<32}{format_number(each.weight, 2):>7}{gradient:>9}"
    yield "A lower weight reduces the loss if its gradient is positive, a higher one if negative."


def _format_neighbors(explanation: RowExplanation) -> Iterator[str]:
    neighbors, prediction = explanation.neighbors, explanation.prediction
    if not neighbors:
        return
    farthest = max(each.distance for each in neighbors)
    for each in neighbors:
        bar = draw_bar(each.distance / farthest if farthest > 0 else 0.0, width=10)
        name = f"{f'row {each.row}':<12}{clip_text(each.target, 18):<18}"
        yield f"  {name}  {bar}  distance {format_number(each.distance, 2)}"
    yield "Distances are between scaled inputs."
    if prediction.classes:
        # One name if the prediction is correct, two otherwise.
        names = dict.fromkeys([prediction.classes[0].name, prediction.true_class])
        counts = (
            f"{sum(each.target == name for each in neighbors)} of {len(neighbors)} are {name}"
            for name in names
            if name is not None
        )
        yield f"{', '.join(counts)}."
