"""Run report: the eleven concepts with the numbers of one run."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

import torch
from torch import nn

from brainnet import concepts
from brainnet.concepts import CONCEPTS, GROUPS, Concept
from brainnet.data.validation import format_count
from brainnet.explanation.explanation import Explanation, Section
from brainnet.explanation.formatting import (
    clip_text,
    draw_bar,
    draw_sparkline,
    format_number,
    format_percent,
)
from brainnet.explanation.layer_steps import count_states, find_largest, get_activation
from brainnet.explanation.row_explanation import build_prediction, find_most_blamed, sum_blame
from brainnet.explanation.row_text import format_prediction
from brainnet.explanation.run_data import RunData
from brainnet.explanation.signal_names import name_layer_inputs, name_neurons
from brainnet.observation.layer_statistics import SATURATED_SLOPE, compute_slope, group_by_neuron
from brainnet.observation.reading import LayerReading
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.forward_pass import LayerPass
from brainnet.structure.inspection import LayerInfo, find_layers

_TOP, _MAX_WIDTH = 5, 57
# A loss counts as lower than another one if it is lower by this share.
_MARGIN = 0.01
# Columns shown in percent; those with a scale get a bar, which is full at that value.
_SHARES = ("firing_rate", "silent", "ramp", "full", "flat", "blame", "update_ratio", "share")
# Fixed scales: a bar relative to the largest value would be full for tiny values, too.
_BAR_SCALES = {"firing_rate": 1.0, "blame": 1.0, "update_ratio": 0.01}
_NO_ROWS = "The rows of the run are not available: passed in Python, or their file is gone."
_NOW = "The gradients are those of the stored weights on the training rows."
_LAST = f"The gradients of layers are those of the last observed step. {_NO_ROWS}"
_NO_READINGS = "No observed steps are stored: observe=off, or the run ended before its first step."
_STEP_LENGTHS = (
    "On a straight slope a step keeps all of the predicted decrease. If it keeps half, it ends at "
    "the bottom of a parabola; if less, it has crossed it, and a smaller learning rate goes deeper."
)
_NO_ACTIVATION = (
    "No layer is followed by an activation module. A function such as torch.relu that is called "
    "in `forward` cannot be observed; a module such as torch.nn.ReLU() can."
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ConceptReport:
    """One concept with the numbers of a run: a summary, and numbers, tables and notes.

    A curve is a mapping from steps to numbers; tables and their rows are by title.
    """

    summary: str
    numbers: Row = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def values(self) -> Row:
        """Numbers and tables as plain data."""
        return {**self.numbers, **self.tables}

    @property
    def lines(self) -> tuple[str, ...]:
        """The report as text, with lines as in `Explanation`."""
        shown = {name: value for name, value in self.numbers.items() if value not in (None, {})}
        width = max(map(len, shown), default=0)
        lines = [
            f"  {name.replace('_', ' '):<{width}}  {_format_cell(name, value)}"
            for name, value in shown.items()
        ]
        for title, rows in self.tables.items():
            lines += _format_table(title, rows)
        return (*lines, *self.notes)


_MISSING_ROWS = ConceptReport("unknown without the rows of the run", notes=(_NO_ROWS,))


def build_report(run: RunData, concept: Concept) -> ConceptReport:
    """Report a concept with the numbers of a run."""
    return _BUILDERS[concept](run)


def report_concept(run: RunData, concept: Concept) -> Explanation:
    """Explain a concept with the numbers of a run."""
    title = f"{concept.name} of {run.facts.name}"
    return Explanation(title, concept, (concept.definition,), build_report(run, concept).lines)


def summarize_run(run: RunData) -> Explanation:
    """Summarize each concept of a run in one line."""
    sections = []
    for group in GROUPS:
        members = [concept for concept in CONCEPTS if concept.group == group]
        summaries = [clip_text(build_report(run, each).summary, _MAX_WIDTH) for each in members]
        lines = (f"  {c.name:20} {text}" for c, text in zip(members, summaries, strict=True))
        sections.append(Section(f"The {group}", tuple(lines)))
    weights = f" with the weights of {run.facts.checkpoint}" if run.facts.checkpoint else ""
    return Explanation(run.facts.name, None, (f"Report of the run{weights}.",), (), tuple(sections))


def _report_layers(run: RunData) -> ConceptReport:
    layers: list[Row] = []
    for layer in find_layers(run.network):
        sizes = {"inputs": _count_inputs(layer), "neurons": len(layer.weights)}
        layers.append({"name": layer.name, "kind": type(layer.module).__name__, **sizes})
        layers[-1]["parameters"] = _count_parameters(layer.module)
    widths = [len(run.task.names.inputs)]
    # An embedding replaces inputs; it is no stage of its own.
    widths += [layer["neurons"] for layer in layers if layer["kind"] != "Embedding"]
    total = _count_parameters(run.network)
    summary = f"{' → '.join(map(str, widths))}, {total:,} trainable parameters"
    return ConceptReport(summary, {"trainable_parameters": total}, {"layers": layers})


def _find_activated(run: RunData) -> tuple[list[LayerPass], ConceptReport | None]:
    """The layers with an activation on the training rows, or the report that says why not."""
    if run.forward_pass is None:
        return [], _MISSING_ROWS
    passes = [each for each in run.forward_pass.layers if get_activation(each.info.activation)]
    if not passes:
        return [], ConceptReport("unknown", notes=(_NO_ACTIVATION,))
    # NaN is not above 0, so a network of NaN would look as if no neuron fired.
    for layer in passes:
        if not bool(layer.output.isfinite().all()):
            note = f"{layer.name}: not all outputs are finite."
            return [], ConceptReport("not finite", notes=(note,))
    return passes, None


def _report_neurons(run: RunData) -> ConceptReport:
    passes, obstacle = _find_activated(run)
    if obstacle is not None:
        return obstacle
    layers: list[Row] = []
    neurons: list[Row] = []
    for layer in passes:
        members = _describe_neurons(layer, run)
        rates = [neuron["firing_rate"] for neuron in members]
        never, always = ([n for n, rate in enumerate(rates) if rate == end] for end in (0, 1))
        layers.append({"name": layer.name, "neurons": len(rates), "firing_rate": mean(rates)})
        layers[-1] |= {"never_fire": never, "always_fire": always}
        neurons += members
    firing = [neuron for neuron in neurons if neuron["firing_rate"] > 0]
    # Neurons that fire for the same share of the rows are ranked by how strongly they do.
    firing.sort(key=lambda neuron: (-neuron["firing_rate"], -neuron["mean"]))
    silent, rate = len(neurons) - len(firing), mean(each["firing_rate"] for each in neurons)
    tables = {"layers": layers, "most active": firing[:3], "least active": firing[:-4:-1]}
    note = "The firing rate is the share of outputs above 0 on these training rows."
    summary = f"firing rate {rate:.0%}; {silent:,} of {len(neurons):,} never fire"
    return ConceptReport(summary, {"rows": len(run.parts["train"].inputs)}, tables, (note,))


def _describe_neurons(layer: LayerPass, run: RunData) -> list[Row]:
    """Firing rate, mean output, and the classes with the highest and lowest mean output."""
    targets, names = run.parts["train"].targets, run.task.names
    # A channel of a convolution is a neuron with one output per position.
    flat = group_by_neuron(layer.output, layer.info.module)
    outputs = flat.reshape(len(targets), -1, flat.shape[-1]).double()
    numbers = ((outputs > 0).double().mean((0, 1)).tolist(), outputs.mean((0, 1)).tolist())
    neurons: list[Row] = [
        {"name": f"{layer.name} #{number}", "firing_rate": rate, "mean": value}
        for number, (rate, value) in enumerate(zip(*numbers, strict=True))
    ]
    if run.task.task != "regression":
        labels = targets.unique()
        known = names.name_classes(max(len(names.outputs), int(labels.max()) + 1))
        means = torch.stack([outputs[targets == label].mean((0, 1)) for label in labels])
        for key, places in (("highest_for", means.argmax(0)), ("lowest_for", means.argmin(0))):
            for neuron, label in zip(neurons, labels[places].tolist(), strict=True):
                neuron[key] = known[label]
    return neurons


def _report_weights(run: RunData) -> ConceptReport:
    names, known = run.task.names, {}
    if run.sketch is not None:
        inputs = name_layer_inputs(run.sketch, names)
        known = {layer.name: each for layer, each in zip(run.sketch.layers, inputs, strict=True)}
    layers: list[Row] = []
    largest: list[Row] = []
    infos = find_layers(run.network)
    for layer in infos:
        weights, count = layer.weights.detach(), _count_inputs(layer)
        size = float(weights.abs().mean())
        layers.append({"name": layer.name, "weights": weights.numel(), "mean_size": size})
        # A weight of a convolution has no single source.
        if weights.ndim != 2:
            continue
        sources = known.get(layer.name) or [f"signal {number}" for number in range(count)]
        targets = name_neurons(run.network, layer, names, is_last=layer is infos[-1])
        for position in find_largest(weights.flatten(), _TOP):
            neuron, source = divmod(position, count)
            connection = _connect(sources[source], targets[neuron])
            largest.append({"name": connection, "weight": float(weights[neuron, source])})
    top = max(largest, key=lambda each: abs(each["weight"]), default=None)
    summary = "not listed" if top is None else f"{top['name']} {format_number(top['weight'])}"
    return ConceptReport(f"largest: {summary}", {}, {"layers": layers, "largest": largest})


def _report_biases(run: RunData) -> ConceptReport:
    layers: list[Row] = []
    for layer in find_layers(run.network):
        if layer.bias is not None:
            bias = layer.bias.detach()
            layers.append({"name": layer.name, "positive": int((bias > 0).sum())})
            layers[-1] |= {"negative": int((bias < 0).sum())}
            layers[-1] |= {"lowest": float(bias.min()), "highest": float(bias.max())}
    if not layers:
        return ConceptReport("none", notes=("No layer has a bias.",))
    low, high = min(each["lowest"] for each in layers), max(each["highest"] for each in layers)
    return ConceptReport(f"{format_number(low)} to {format_number(high)}", {}, {"layers": layers})


def _report_activations(run: RunData) -> ConceptReport:
    passes, obstacle = _find_activated(run)
    if obstacle is not None:
        return obstacle
    layers: list[Row] = []
    for layer in passes:
        activation, (silent, full) = layer.info.activation, count_states(layer)
        count = layer.output.numel()
        layers.append({"name": layer.name, "activation": type(activation).__name__})
        # Both can be learned, one per neuron.
        if isinstance(activation, ThresholdRamp):
            for key, value in (("threshold", activation.threshold), ("width", activation.width)):
                bounds = torch.as_tensor(value).detach()
                layers[-1][key] = float(bounds.min()), float(bounds.max())
        silent = silent or 0
        layers[-1]["silent"] = silent / count
        if full is not None:
            layers[-1] |= {"ramp": 1 - (silent + full) / count, "full": full / count}
        slopes = compute_slope(activation, layer.pre_activation)
        if slopes is not None:
            layers[-1]["flat"] = float((slopes < SATURATED_SLOPE).double().mean())
    note = (
        "Shares of all outputs on the training rows. Silent is exactly 0. Flat has a slope under a "
        "tenth of the steepest: there, a neuron learns little or nothing."
    )
    kinds = " and ".join(dict.fromkeys(layer["activation"] for layer in layers))
    summary = f"{kinds}, {mean(layer['silent'] for layer in layers):.0%} silent"
    return ConceptReport(summary, {}, {"layers": layers}, (note,))


def _report_forward_pass(run: RunData) -> ConceptReport:
    rows = run.parts.get("test", run.parts.get("validation"))
    if rows is None:
        return _MISSING_ROWS
    passed, target, row = run.trace(rows.inputs[:1]), rows.targets[:1], int(rows.indices[0])
    with torch.no_grad():
        loss = run.task.loss(passed.output, target)
    prediction = build_prediction(passed.output, run.task, target, loss)
    layers: list[Row] = [
        {"name": layer.name, "inputs": layer.inputs.numel(), "neurons": layer.output.numel()}
        | dict(zip(("silent", "full"), count_states(layer), strict=True))
        for layer in passed.layers
    ]
    if prediction.values:
        value, true = prediction.values[0].value, prediction.values[0].true_value
        summary = f"row {row}: {format_number(value)}, true value {format_number(true)}"
    else:
        verdict = "correct" if prediction.is_correct else "wrong"
        summary = f"row {row}: {prediction.classes[0].name}, {verdict}"
    seconds = run.get_curve(lambda reading: reading.forward_seconds).values()
    numbers = {"row": row, "part": rows.part, "outputs": list(prediction.outputs)}
    numbers |= {"loss": prediction.loss, "seconds_per_batch": median(seconds) if seconds else None}
    more = f"All sums: brainnet explain --run {run.facts.name} --row {row}"
    return ConceptReport(
        summary, numbers, {"layers": layers}, (*format_prediction(prediction), more)
    )


def _report_loss(run: RunData) -> ConceptReport:
    curve, worst, notes = run.get_curve(lambda reading: reading.loss), _find_worst_rows(run), []
    part, loss = _find_final_loss(run)
    constant = None if part is None else compute_constant_loss(run, part)
    numbers: Row = {"loss": type(run.task.loss).__name__, "observed_batches": curve}
    numbers |= sorted(run.facts.metrics.items())
    numbers["constant_prediction"] = constant
    observed = [*curve.values()]
    ends = [*observed[:1], *(observed[-1:] if loss is None else [loss])]
    summary = " → ".join(map(format_number, ends)) or "unknown"
    if loss is not None and constant is not None:
        # The comparison is false if the loss is NaN.
        is_lower = loss < constant - _MARGIN * abs(constant)
        comparison = f"{'lower' if is_lower else 'not lower'} than a constant prediction's"
        summary += f" ({part}), {comparison}"
        notes.append(f"The final loss is {comparison}, which does not depend on the inputs.")
    if worst:
        command = f"brainnet explain --run {run.facts.name} --row {worst[0]['row']}"
        notes.append(f"Of {len(worst):,} inspected rows not trained on. Why: {command}")
    notes += [] if run.parts else [_NO_ROWS]
    return ConceptReport(summary, numbers, {"highest losses": worst[:3]}, notes)


def _find_worst_rows(run: RunData) -> list[Row]:
    """The inspected validation and test rows, the highest loss first."""
    rows: list[Row] = []
    for part in (run.parts[name] for name in ("validation", "test") if name in run.parts):
        pairs = zip(run.trace(part.inputs).output.split(1), part.targets.split(1), strict=True)
        with torch.no_grad():
            losses = [float(run.task.loss(*pair)) for pair in pairs]
        for row, loss in zip(part.indices.tolist(), losses, strict=True):
            rows.append({"name": f"row {row} ({part.part})", "row": row, "loss": loss})
    return sorted(rows, key=lambda each: (not math.isnan(each["loss"]), -each["loss"]))


def _find_final_loss(run: RunData) -> tuple[str | None, float | None]:
    """The part whose final loss is known, validation before training rows, and that loss."""
    losses = ((part, run.facts.metrics.get(f"loss/{part}")) for part in ("validation", "train"))
    return next((pair for pair in losses if pair[1] is not None), (None, None))


def compute_constant_loss(run: RunData, part: str) -> float | None:
    """Return the loss of predicting the same for each row of a part; None without rows.

    The constant is the class shares of the training rows, or the better one of mean and median.
    These are the best ones for cross-entropies, squared and absolute errors.
    """
    if "train" not in run.parts or part not in run.parts:
        return None
    known, true = run.parts["train"].targets, run.parts[part].targets
    if run.task.task == "regression":
        constants = [known.mean(dim=0), known.median(dim=0).values]
    else:
        # A class that is missing in the training rows has a share of 0, and no logarithm.
        counts = torch.bincount(known, minlength=max(2, len(run.task.names.outputs)))
        logs = (counts.double() / counts.sum()).clamp(min=1e-12).float().log()
        is_single = run.forward_pass is not None and run.forward_pass.output.shape[-1] == 1
        constants = [(logs[1] - logs[0]).reshape(1) if is_single else logs]
    # On the rows of the part, because a loss is comparable on the same rows only.
    with torch.no_grad():
        return min(float(run.task.loss(each.expand(len(true), -1), true)) for each in constants)


def _report_backpropagation(run: RunData) -> ConceptReport:
    shares, note = _get_last(run, lambda layer: layer.blame)
    if run.gradients is not None:
        shares, note = sum_blame(run.gradients[0]), _NOW
    if not shares:
        summary = "unknown"
    elif not all(map(math.isfinite, shares.values())):
        summary = "not finite"
    elif not any(shares.values()):
        # Without any gradient, all shares are 0 and no layer is to blame.
        summary = "the gradient is zero"
    else:
        name = max(shares, key=lambda name: shares[name])
        summary = f"{name} has {format_percent(shares[name])} of the blame"
    numbers = {"loss": None if run.gradients is None else run.gradients[0].loss}
    layers: list[Row] = [{"name": name, "blame": share} for name, share in shares.items()]
    notes = ("Blame is the share in the squared gradient of the network.", note)
    return ConceptReport(summary, numbers, {"layers": layers} | _list_gradients(run), notes)


def _report_gradient(run: RunData) -> ConceptReport:
    norms, note = _get_last(run, lambda layer: layer.gradient_norm)
    if run.gradients is not None:
        norms, note = {}, _NOW
        for layer in run.gradients[0].layers:
            gradients = [layer.weights_gradient, layer.bias_gradient]
            parts = [float(each.double().norm()) for each in gradients if each is not None]
            norms[layer.name] = math.hypot(*parts)
    curve = run.get_curve(lambda reading: reading.gradient_norm)
    norm = math.hypot(*norms.values()) if norms else None
    ends = [format_number(each) for each in curve.values()] or [format_number(norm)]
    summary = f"norm {' → '.join(dict.fromkeys([ends[0], ends[-1]]))}"
    layers: list[Row] = [{"name": name, "norm": each} for name, each in norms.items()]
    notes = ("The loss falls if a weight moves against the sign of its gradient.", note)
    numbers = {"observed_norms": curve, "norm": norm}
    return ConceptReport(summary, numbers, {"layers": layers} | _list_gradients(run), notes)


def _get_last(
    run: RunData, get: Callable[[LayerReading], float | None]
) -> tuple[dict[str, float], str]:
    """A number of each layer at the last observed step, and a note for runs without rows."""
    last = {name: curve[-1] for name, curve in run.get_layer_curves(get).items()}
    return last, _LAST if last else _NO_ROWS


def _list_gradients(run: RunData) -> dict[str, list[Row]]:
    weights = [] if run.gradients is None else find_most_blamed(*run.gradients, run.task.names)
    rows: list[Row] = [
        {"name": _connect(each.source, each.target), "gradient": each.gradient, "blame": each.blame}
        for each in weights
    ]
    return {"largest gradients": rows}


def _report_descent(run: RunData) -> ConceptReport:
    facts, decreases = run.facts, run.decreases
    layers = [{"name": name, "update_ratio": each} for name, each in run.update_ratios.items()]
    numbers: Row = {"optimizer": facts.optimizer, "steps": facts.steps, "epochs": facts.epochs}
    numbers["observed_steps"] = len(decreases)
    notes = [] if decreases else [_NO_READINGS]
    if layers:
        notes.append(
            "The update ratio is the length of a median step relative to that of the weights (full "
            "bar: 1%). A rule of thumb is 0.1%."
        )
    if decreases:
        lower = sum(0 < fell < math.inf for _, fell in decreases) / len(decreases)
        predicted, actual = (sum(each) for each in zip(*decreases, strict=True))
        numbers |= {"share_of_steps_to_a_lower_loss": lower}
        numbers |= {"predicted_decrease": predicted, "actual_decrease": actual}
        notes.append("Decreases are sums over the observed steps, each on its own rows.")
    steps = "unknown" if facts.steps is None else format_count(facts.steps, "step")
    summary = f"{steps} by {facts.optimizer}" if facts.optimizer else steps
    return ConceptReport(summary, numbers, {"layers": layers}, notes)


def _report_learning_rate(run: RunData) -> ConceptReport:
    facts, curve = run.facts, run.get_curve(lambda reading: reading.learning_rate)
    rate = next(iter(curve.values()), None) if facts.learning_rate is None else facts.learning_rate
    # A comparison with NaN is false, so steps that ended there are counted apart.
    finite = [(promised, fell) for promised, fell in run.decreases if math.isfinite(fell)]
    kept = [fell / promised for promised, fell in finite if 0 < promised < math.inf]
    higher = sum(fell < 0 for _, fell in finite) + len(run.decreases) - len(finite)
    share = higher / len(run.decreases) if run.decreases else None
    numbers: Row = {
        "learning_rate": rate,
        "schedule": facts.schedule,
        "observed_rates": curve if len(set(curve.values())) > 1 else {},
        "update_ratio": median(run.update_ratios.values()) if run.update_ratios else None,
        "share_of_predicted_decrease": median(kept) if kept else None,
        "share_of_steps_to_a_higher_loss": share,
    }
    summary = "unknown" if rate is None else format_number(rate)
    if share is not None:
        summary += f"; {format_percent(share)} of the steps raised the loss"
    notes = [_NO_READINGS if share is None else _STEP_LENGTHS]
    notes += [] if facts.failure is None else [f"The training failed: {facts.failure}."]
    return ConceptReport(summary, numbers, {}, notes)


_BUILDERS: dict[Concept, Callable[[RunData], ConceptReport]] = {
    concepts.LAYERS: _report_layers,
    concepts.NEURONS: _report_neurons,
    concepts.WEIGHTS: _report_weights,
    concepts.BIASES: _report_biases,
    concepts.ACTIVATION_FUNCTION: _report_activations,
    concepts.FORWARD_PASS: _report_forward_pass,
    concepts.LOSS_FUNCTION: _report_loss,
    concepts.BACKPROPAGATION: _report_backpropagation,
    concepts.GRADIENT: _report_gradient,
    concepts.GRADIENT_DESCENT: _report_descent,
    concepts.LEARNING_RATE: _report_learning_rate,
}


def _format_table(title: str, rows: Sequence[Row]) -> list[str]:
    """Format rows under a title, without columns that are empty."""
    if not rows:
        return []
    names = dict.fromkeys(name for row in rows for name in row)
    keys = [key for key in names if any(row.get(key) not in (None, []) for row in rows)]
    cells = [["" if key == "name" else key.replace("_", " ") for key in keys]]
    cells += [[_format_cell(key, row.get(key)) for key in keys] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [f"{title.capitalize()}:"]
    for line, row in zip(cells, [{}, *rows], strict=True):
        padded = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        bars = [draw_bar(row[key] / end, 10) for key, end in _BAR_SCALES.items() if key in row]
        lines.append("  ".join(["", line[0].ljust(widths[0]), *padded[1:], *bars]).rstrip())
    return lines


def _format_cell(key: str, value: Any) -> str:
    if isinstance(value, dict):
        first, *_, last = [*value.values()] * 2
        steps = f"steps {min(value):,} to {max(value):,}"
        curve = draw_sparkline([*value.values()], 20)
        return f"{curve} {format_number(first)} → {format_number(last)}, {steps}"
    if isinstance(value, list):
        more = f" +{len(value) - 3}" if len(value) > 3 else ""
        return ", ".join(_format_cell("", each) for each in value[:3]) + more
    if isinstance(value, tuple):
        return " to ".join(dict.fromkeys(map(format_number, value)))
    if isinstance(value, float):
        return format_percent(value) if key.startswith(_SHARES) else format_number(value)
    return clip_text(f"{value:,}" if isinstance(value, int) else value or "", 40)


def _connect(source: str, target: str) -> str:
    return f"{clip_text(source, 20)} → {clip_text(target, 16)}"


def _count_inputs(layer: LayerInfo) -> int:
    return layer.weights.shape[1] if layer.weights.ndim > 1 else 1


def _count_parameters(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters() if each.requires_grad)
