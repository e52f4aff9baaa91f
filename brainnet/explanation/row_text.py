"""Row explanations as text."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from brainnet.explanation.explanation import Explanation, Section
from brainnet.explanation.formatting import (
    clip_text,
    count_decimals,
    draw_bar,
    format_number,
    format_percent,
)
from brainnet.explanation.layer_steps import LayerSteps, NeuronSum
from brainnet.explanation.row_explanation import (
    RowExplanation,
    RowPrediction,
    Score,
)

_MAX_COLUMNS, _MAX_CLASSES, _WIDTH = 8, 4, 58
_SHADES = " ░▒▓█"
# Images with more pixels per line are reduced.
_MAX_PIXELS = 32
_PARTS = {
    "train": "It is a training row.",
    "validation": "It is a validation row: not trained on, but used to choose the checkpoint.",
    "test": "It is a test row: not seen in training.",
}


def format_row(row: RowExplanation) -> Explanation:
    """Format the explanation of a row; tables and drawings are at most 60 characters wide."""
    score = row.score
    versus = "" if score.alternative is None else f" rather than {score.alternative}"
    sections = [
        Section("Prediction", tuple(format_prediction(row.prediction))),
        Section(f"Contributions to {score.prediction}{versus}", tuple(_format_inputs(row))),
        *(
            Section(_format_heading(layer), tuple(_format_layer(layer, row)))
            for layer in row.layers
        ),
        Section("Blame", tuple(_format_blame(row))),
        Section("Nearest training rows", tuple(_format_neighbors(row))),
        Section("Limitations", row.limitations),
    ]
    # A correct prediction has no blame, and most rows have no limitations.
    shown = tuple(section for section in sections if section.lines)
    name = row.source if row.row is None else f"row {row.row} of {row.source}"
    title = f"{name}: {summarize_prediction(row.prediction)}"
    return Explanation(title, None, (_format_source(row),), (), shown)


def summarize_prediction(prediction: RowPrediction) -> str:
    """Say in a few words what was predicted, and whether that is correct."""
    texts = []
    for each in prediction.values:
        true = "" if each.true_value is None else f" (true: {format_number(each.true_value)})"
        texts.append(f"{each.name} {format_number(each.value)}{true}")
    if prediction.classes:
        verdict = {None: "", True: ", correct", False: ", wrong"}[prediction.is_correct]
        texts.append(f"{prediction.classes[0].name}{verdict}")
    return ", ".join(texts)


def _format_source(row: RowExplanation) -> str:
    sentences = [f"Predicted by the network of {row.run}."]
    if row.part is not None:
        sentences.append(_PARTS[row.part])
        sentences += [f"Rows are counted from 0 to {row.rows - 1:,}."] if row.rows else []
        sentences += [row.note] if row.note else []
    return " ".join(sentences)


def format_prediction(prediction: RowPrediction) -> Iterator[str]:
    """Format the probabilities of the classes, or the predicted and true numbers, and the loss."""
    yield from _format_classes(prediction) if prediction.classes else _format_values(prediction)
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
    width, rest, others = min(24, max(len(each.name) for each in classes)), 0, 0.0
    for place, each in enumerate(classes):
        share, is_true = each.probability or 0.0, each.name == true_class
        # The true class is always shown, even if it is one of the least probable.
        if place < _MAX_CLASSES or is_true:
            line = f"  {clip_text(each.name, width):<{width}}  {format_percent(share, 1):>6}"
            yield f"{line}  {draw_bar(share)}{'  ← true' if is_true else ''}"
        else:
            rest, others = rest + 1, others + share
    if rest:
        yield f"  {f'{rest} others':<{width}}  {format_percent(others, 1):>6}"


def _format_values(prediction: RowPrediction) -> Iterator[str]:
    width = min(24, max(5, *(len(each.name) for each in prediction.values)))
    for each in prediction.values:
        yield f"  {clip_text(each.name, width):<{width}}  {format_number(each.value):>12}"
        if each.true_value is not None:
            error = each.value - each.true_value
            side = "too high" if error > 0 else "too low"
            note = f", {format_number(abs(error))} {side}" if error else ""
            yield f"  {'true':<{width}}  {format_number(each.true_value):>12}{note}"


def _format_inputs(row: RowExplanation) -> Iterator[str]:
    """The inputs with the largest contributions, from the score of a row of zeros to this one."""
    score = row.score
    if row.image_shape is not None:
        yield from (f"  {line}" for line in _draw_images(row, row.image_shape))
        yield " "
    parts = sorted(row.columns or row.inputs, key=lambda part: -abs(part.contribution))
    count = sum(part.contribution != 0 for part in parts[:_MAX_COLUMNS])
    # One input beyond the limit is shown as well, because "and 1 more" takes the same space.
    count = len(parts) if len(parts) == count + 1 else count
    # The decimals of the score, so that the printed numbers add up to it.
    digits = count_decimals([score.value, score.baseline])
    largest = max((abs(part.contribution) for part in parts), default=0.0) or 1.0
    yield f"  {'':15}{'value':>10} {'contribution':>12}  {'':8}{'grad·input':>10}"
    yield _format_sum(score.baseline_name, score.baseline, digits)
    for part in parts[:count]:
        # Dark if it is positive, light if it is negative.
        marks = "█ " if part.contribution > 0 else "░ "
        bar = draw_bar(abs(part.contribution) / largest, 8, marks)
        name = f"{clip_text(part.name, 15):<15}{clip_text(format_number(part.value), 9):>10}"
        line = _format_sum(name, part.contribution, digits)
        yield f"{line}  {bar}{format_number(part.gradient_times_input, digits, sign=True):>10}"
    if others := parts[count:]:
        total = sum(part.contribution for part in others)
        local = format_number(sum(part.gradient_times_input for part in others), digits, sign=True)
        yield f"{_format_sum(f'and {len(others):,} more', total, digits)}  {'':8}{local:>10}"
    if round(score.unexplained, digits):
        yield _format_sum("not in any contribution", score.unexplained, digits)
    yield _format_sum("score" if score.alternative else score.prediction, score.value, digits)
    yield _describe_score(score)


def _format_sum(name: str, value: float, digits: int) -> str:
    return f"  {clip_text(name, 25):<25} {format_number(value, digits, sign=True):>12}"


def _describe_score(score: Score) -> str:
    unit = f"All numbers are in units of {score.prediction}."
    if score.alternative is not None:
        unit = (
            f"The score is the output for {score.prediction} minus that for {score.alternative}: "
            f"it is positive if {score.prediction} is ahead."
        )
    return (
        f"{unit} A contribution is what the value adds on the way from {score.baseline_name} to "
        "this row (integrated gradients). `grad·input` is gradient times input: the effect of a "
        "small change, 0 if the neurons that read the input are silent or fully firing. Below, "
        f"0.20 → 0.70 is the output of a neuron for {score.baseline_name} and for this row, and "
        "its contribution is the part of the score's change that passed through it."
    )


def _draw_images(row: RowExplanation, shape: Sequence[int]) -> list[str]:
    """Draw the image, and its pixels with positive and with negative contributions."""
    score, inputs = row.score, row.inputs
    # Raw pixels are easier to recognize than scaled ones, but may be missing.
    known = [each.value for each in inputs if isinstance(each.value, int | float)]
    pixels = torch.tensor(known if len(known) == len(inputs) else [each.scaled for each in inputs])
    contributions = torch.tensor([each.contribution for each in inputs])
    against = "against it" if score.alternative is None else f"for {score.alternative}"
    images = {
        "input": pixels - pixels.min(),
        f"for {score.prediction}": contributions.clamp(min=0),
        against: (-contributions).clamp(min=0),
    }
    # Channels are averaged.
    planes = [image.reshape(-1, *shape[-2:]).float().mean(dim=0) for image in images.values()]
    return join_side_by_side([*images], [*map(draw_image, planes)])


def draw_image(image: Tensor) -> list[str]:
    """Draw an image (height, width) in shades from 0, which is empty, to its largest value.

    Example:
        >>> draw_image(torch.tensor([[0.0, 1.0], [2.0, 4.0]]))
        ['  ░░', '▒▒██']
    """
    height, width = image.shape
    # A character is about twice as high as wide.
    is_small = 2 * width <= _MAX_PIXELS + 8
    columns = 1 if is_small else math.ceil(width / _MAX_PIXELS)
    rows = 1 if is_small else 2 * columns
    size = (math.ceil(height / rows), math.ceil(width / columns))
    reduced = functional.interpolate(image[None, None], size=size, mode="area")[0, 0]
    # A network whose outputs are not finite has no contributions to draw.
    reduced, largest = reduced.nan_to_num(), float(image.nan_to_num().max())
    shades = (reduced / (largest or 1.0) * 4).round().clamp(0, 4).int().tolist()
    return ["".join(_SHADES[shade] * (1 + is_small) for shade in line) for line in shades]


def join_side_by_side(titles: Sequence[str], drawings: Sequence[list[str]]) -> list[str]:
    """Arrange drawings of the same size under their titles, as many in a row as fit."""
    # Wide enough for the titles.
    width = max(len(drawings[0][0]), 16)
    count = max(1, (_WIDTH + 2) // (width + 2))
    columns = [[title, *drawing] for title, drawing in zip(titles, drawings, strict=True)]
    lines = []
    for start in range(0, len(columns), count):
        for cells in zip(*columns[start : start + count], strict=True):
            padded = (clip_text(cell, width).ljust(width) for cell in cells)
            lines.append("  ".join(padded).rstrip())
    return lines


def _format_heading(layer: LayerSteps) -> str:
    if layer.silent is None:
        plural = "s" * (layer.neurons != 1)
        return f"{layer.name}: {layer.neurons:,} output{plural} from {layer.inputs:,} signals"
    rest = layer.neurons - layer.silent - (layer.full or 0)
    states = f"{layer.silent:,} silent, {rest:,} "
    states += "active" if layer.full is None else f"on the ramp, {layer.full:,} fully firing"
    return f"{layer.name}: {layer.neurons:,} neurons, {states}"


def _format_layer(layer: LayerSteps, row: RowExplanation) -> Iterator[str]:
    """The sums of the neurons that contributed most, or of the compared outputs."""
    if layer.limitation is not None:
        yield layer.limitation
    score = row.score
    digits = count_decimals([score.value, score.baseline])
    is_last = layer is row.layers[-1]
    for neuron in layer.sums:
        if is_last:
            role = _describe_role(neuron.name, row)
            yield f"  {clip_text(neuron.name, 22)}{role and f' ({role})'}"
        else:
            ends = (format_number(each, 2) for each in (neuron.baseline_output, neuron.output))
            name = clip_text(f"{neuron.name}  {' → '.join(ends)}", 32)
            contribution = format_number(neuron.contribution, digits, sign=True)
            yield f"  {name:<32}contribution {contribution:>9}"
        yield from _format_neuron(neuron)
        # The output of a regression is scaled; the last line leads to the predicted number.
        if is_last and score.scale not in (None, 1.0):
            scaled = f"· {format_number(score.scale)} + {format_number(score.shift)}"
            equation = f"{scaled} = {format_number(score.value)}".replace("+ -", "- ")
            yield f"    {f'in units of {clip_text(neuron.name, 15)}':<29}{equation:>21}"


def _describe_role(name: str, row: RowExplanation) -> str:
    score, true_class = row.score, row.prediction.true_class
    if score.alternative is None:
        return ""
    # A single output stands for both classes.
    if len(row.prediction.outputs) == 1:
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


def _format_blame(row: RowExplanation) -> Iterator[str]:
    """The weights with the largest gradients, for a wrong prediction."""
    if not row.blamed_weights:
        return
    shares = ", ".join(f"{name} {blame:.0%}" for name, blame in row.layer_blame.items())
    yield f"Share of each layer in the squared gradient of this loss: {shares}. Largest gradients:"
    yield f"  {'':32}{'weight':>7}{'gradient':>9}"
    for each in row.blamed_weights:
        name = f"{clip_text(each.source, 15)} → {clip_text(each.target, 13)}"
        gradient = format_number(each.gradient, count_decimals([each.gradient]), sign=True)
        yield f"  {name:<32}{format_number(each.weight, 2):>7}{gradient:>9}"
    yield "A lower weight reduces the loss if its gradient is positive, a higher one if negative."


def _format_neighbors(row: RowExplanation) -> Iterator[str]:
    neighbors, prediction = row.neighbors, row.prediction
    if not neighbors:
        return
    farthest = max(each.distance for each in neighbors) or 1.0
    for each in neighbors:
        name = f"{f'row {each.row}':<12}{clip_text(each.target, 18):<18}"
        bar = draw_bar(each.distance / farthest, width=10)
        yield f"  {name}  {bar}  distance {format_number(each.distance, 2)}"
    yield "Distances are between scaled inputs."
    if prediction.classes:
        # One name if the prediction is correct, two otherwise.
        names = dict.fromkeys([prediction.classes[0].name, prediction.true_class or ""])
        targets = [each.target for each in neighbors]
        counts = (f"{targets.count(name)} of {len(neighbors)} are {name}" for name in names if name)
        yield f"{', '.join(counts)}."
