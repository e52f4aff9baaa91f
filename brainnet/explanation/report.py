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
from brainnet.explanation.layer_steps import count_states, get_activation
from brainnet.explanation.row_explanation import (
    build_prediction,
    find_connections,
    find_most_blamed,
    sum_blame,
)
from brainnet.explanation.row_text import format_prediction, summarize_prediction
from brainnet.explanation.run_data import RunData
from brainnet.learning.backpropagation import Backpropagation
from brainnet.observation.layer_statistics import SATURATED_SLOPE, compute_slope, group_by_neuron
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.forward_pass import LayerPass
from brainnet.structure.inspection import find_layers

_MAX_WEIGHTS, _MAX_NEURONS = 5, 3
# A line of 80 columns, less indent (2), name of the concept (20) and space (1).
_MAX_SUMMARY = 80 - 23
# Columns shown in percent; those with a scale get a bar, which is full at that value.
_SHARES = ("firing_rate", "silent", "ramp", "full", "flat", "blame", "update_ratio", "share")
# A step usually moves the weights by about 1e-3 of their length.
_TINY_RATIO = 1e-4
# Fixed scales: a bar relative to the largest value would be full for tiny values, too.
_BAR_SCALES = {"firing_rate": 1.0, "blame": 1.0, "update_ratio": 0.01}
_NO_ROWS = "The rows of the run are not available: passed in Python, or their file is gone."
_NOW = "The gradients are those of the stored weights on the training rows."
_LAST = f"The gradients of layers are those of the last observed step. {_NO_ROWS}"
_NO_READINGS = "No observed steps are stored: observe=off, or the run ended before its first step."
_STEP_LENGTHS = (
    "Share of predicted decrease. 1: the loss is linear along the step. 0.5: the step ends at the "
    "minimum of a parabola. Below 0.5: it overshoots; a smaller learning rate lowers the loss more."
)
_NO_ACTIVATION = (
    "No layer is followed by an activation module. A function such as torch.relu that is called "
    "in `forward` cannot be observed; a module such as torch.nn.ReLU() can."
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ConceptReport:
    """One concept with the numbers of a run; a curve is a mapping from steps to numbers."""

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
        # JSON keeps what is unknown as null; the text leaves it out.
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
    title = f"{concept.name} of {run.name}"
    return Explanation(title, concept, (concept.definition,), build_report(run, concept).lines)


def summarize_run(run: RunData) -> Explanation:
    """Summarize each concept of a run in one line."""
    sections = []
    for group in GROUPS:
        lines = [
            f"  {concept.name:20} {clip_text(build_report(run, concept).summary, _MAX_SUMMARY)}"
            for concept in CONCEPTS
            if concept.group == group
        ]
        sections.append(Section(f"The {group}", tuple(lines)))
    text = f"Report of the run with the weights of {run.checkpoint}."
    return Explanation(run.name, None, (text,), (), tuple(sections))


def _report_layers(run: RunData) -> ConceptReport:
    layers: list[Row] = [
        {
            "name": layer.name,
            "kind": type(layer.module).__name__,
            "inputs": layer.weights[0].numel(),
            "neurons": len(layer.weights),
            "parameters": _count_parameters(layer.module),
        }
        for layer in find_layers(run.network)
    ]
    # An embedding replaces inputs; it is no stage of its own.
    widths = [layer["neurons"] for layer in layers if layer["kind"] != "Embedding"]
    total = _count_parameters(run.network)
    sizes = " → ".join(map(str, [len(run.task.names.inputs), *widths]))
    summary = f"{sizes}, {total:,} trainable parameters"
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
    passes, unavailable = _find_activated(run)
    if unavailable is not None:
        return unavailable
    layers: list[Row] = []
    neurons: list[Row] = []
    for layer in passes:
        # A channel of a convolution is a neuron with one output per position.
        outputs = group_by_neuron(layer.output, layer.info.module).double()
        rates, means = (outputs > 0).double().mean(0).tolist(), outputs.mean(0).tolist()
        never, always = ([n for n, rate in enumerate(rates) if rate == end] for end in (0, 1))
        row = {"name": layer.name, "neurons": len(rates), "firing_rate": mean(rates)}
        layers.append({**row, "never_fire": never, "always_fire": always})
        neurons += [
            {"name": f"{layer.name} #{number}", "firing_rate": rate, "mean": value}
            for number, (rate, value) in enumerate(zip(rates, means, strict=True))
        ]
    firing = [neuron for neuron in neurons if neuron["firing_rate"] > 0]
    # Neurons that fire for the same share of the rows are ranked by how strongly they do.
    firing.sort(key=lambda neuron: (-neuron["firing_rate"], -neuron["mean"]))
    silent, rate = len(neurons) - len(firing), mean(neuron["firing_rate"] for neuron in neurons)
    least = firing[: -_MAX_NEURONS - 1 : -1]
    tables = {"layers": layers, "most active": firing[:_MAX_NEURONS], "least active": least}
    note = "The firing rate is the share of outputs above 0 on these training rows."
    summary = f"firing rate {rate:.0%}; {silent:,} of {len(neurons):,} never fire"
    return ConceptReport(summary, {"rows": len(run.parts["train"].inputs)}, tables, (note,))


def _report_weights(run: RunData) -> ConceptReport:
    layers: list[Row] = []
    for layer in find_layers(run.network):
        size = float(layer.weights.detach().abs().mean())
        layers.append({"name": layer.name, "weights": layer.weights.numel(), "mean_size": size})
    largest: list[Row] = []
    if run.sketch is not None:
        weights = [layer.info.weights.detach() for layer in run.sketch.layers]
        for connection in find_connections(run.sketch, run.task.names, weights, _MAX_WEIGHTS):
            name = _connect(connection.source, connection.target)
            largest.append({"name": name, "weight": connection.value})
    top = max(largest, key=lambda row: abs(row["weight"]), default=None)
    summary = "not listed" if top is None else f"{top['name']} {format_number(top['weight'])}"
    return ConceptReport(f"largest: {summary}", {}, {"layers": layers, "largest": largest})


def _report_biases(run: RunData) -> ConceptReport:
    pairs = ((layer.name, layer.bias) for layer in find_layers(run.network))
    biases = {name: bias.detach() for name, bias in pairs if bias is not None}
    layers: list[Row] = [
        {
            "name": name,
            "positive": int((bias > 0).sum()),
            "negative": int((bias < 0).sum()),
            "lowest": float(bias.min()),
            "highest": float(bias.max()),
        }
        for name, bias in biases.items()
    ]
    if not layers:
        return ConceptReport("none", notes=("No layer has a bias.",))
    low, high = min(row["lowest"] for row in layers), max(row["highest"] for row in layers)
    return ConceptReport(f"{format_number(low)} to {format_number(high)}", {}, {"layers": layers})


def _report_activations(run: RunData) -> ConceptReport:
    passes, unavailable = _find_activated(run)
    if unavailable is not None:
        return unavailable
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
    # A row that was not trained on: training rows look better than new ones.
    rows = run.parts.get("test", run.parts.get("validation"))
    if rows is None:
        return _MISSING_ROWS
    passed, target, row = run.trace(rows.inputs[:1]), rows.targets[:1], int(rows.indices[0])
    with torch.no_grad():
        loss = run.task.loss(passed.output, target)
    prediction = build_prediction(passed.output, run.task, target, loss)
    seconds = run.get_curve("forward_seconds").values()
    numbers: Row = {"row": row, "part": rows.part, "outputs": list(prediction.outputs)}
    numbers |= {"loss": prediction.loss, "seconds_per_batch": median(seconds) if seconds else None}
    more = f"All sums: brainnet explain --run {run.name} --row {row}"
    notes = (*format_prediction(prediction), more)
    summary = f"row {row}: {summarize_prediction(prediction)}"
    return ConceptReport(summary, numbers, notes=notes)


def _report_loss(run: RunData) -> ConceptReport:
    # A number that was not finite is null in the summary.
    metrics = {
        tag: value
        for tag, value in sorted((run.summary.get("metrics") or {}).items())
        if isinstance(value, int | float)
    }
    curve = run.get_curve("loss")
    ends = [format_number(loss) for loss in curve.values()]
    # The loss of new rows says more than that of trained ones.
    part = next((name for name in ("validation", "train") if f"loss/{name}" in metrics), None)
    if part is not None:
        ends.append(f"{format_number(metrics[f'loss/{part}'])} ({part})")
    summary = " → ".join(dict.fromkeys([ends[0], ends[-1]])) if ends else "unknown"
    numbers = {"loss": type(run.task.loss).__name__, "observed_batches": curve}
    return ConceptReport(summary, {**numbers, **metrics})


def _report_backpropagation(run: RunData) -> ConceptReport:
    shares, note = _measure_layers(run, "blame", sum_blame)
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
    notes = ("Blame is the share in the squared gradient of the network.", note)
    layers: list[Row] = [{"name": name, "blame": share} for name, share in shares.items()]
    weights = [] if run.gradients is None else find_most_blamed(*run.gradients, run.task.names)
    largest: list[Row] = [
        {"name": _connect(w.source, w.target), "gradient": w.gradient, "blame": w.blame}
        for w in weights
    ]
    tables = {"layers": layers, "largest gradients": largest}
    return ConceptReport(summary, numbers, tables, notes)


def _report_gradient(run: RunData) -> ConceptReport:
    norms, note = _measure_layers(run, "gradient_norm", _compute_norms)
    curve = run.get_curve("gradient_norm")
    norm = math.hypot(*norms.values()) if norms else None
    ends = [format_number(value) for value in curve.values()] or [format_number(norm)]
    summary = f"norm {' → '.join(dict.fromkeys([ends[0], ends[-1]]))}"
    notes = ("The loss falls if a weight moves against the sign of its gradient.", note)
    numbers = {"observed_norms": curve, "norm": norm}
    layers = [{"name": name, "norm": value} for name, value in norms.items()]
    return ConceptReport(summary, numbers, {"layers": layers}, notes)


def _measure_layers(
    run: RunData, quantity: str, compute: Callable[[Backpropagation], dict[str, float]]
) -> tuple[dict[str, float], str]:
    """A quantity of each layer, with the stored weights or at the last observed step; a note."""
    if run.gradients is not None:
        return compute(run.gradients[0]), _NOW
    last = {name: curve[-1] for name, curve in run.get_layer_curves(quantity).items()}
    return last, _LAST if last else _NO_ROWS


def _compute_norms(result: Backpropagation) -> dict[str, float]:
    norms = {}
    for layer in result.layers:
        gradients = [layer.weights_gradient, layer.bias_gradient]
        parts = [float(part.double().norm()) for part in gradients if part is not None]
        norms[layer.name] = math.hypot(*parts)
    return norms


def _report_descent(run: RunData) -> ConceptReport:
    summary, decreases = run.summary, run.decreases
    steps, optimizer = summary.get("steps"), _get_class_name(run, "optimizer")
    layers = [{"name": name, "update_ratio": ratio} for name, ratio in run.update_ratios.items()]
    numbers: Row = {"optimizer": optimizer, "steps": steps, "epochs": summary.get("epochs")}
    numbers["observed_steps"] = len(decreases)
    notes = [] if decreases else [_NO_READINGS]
    if layers:
        notes.append(
            "The update ratio is the length of a median step relative to that of the weights (full "
            "bar: 1%). A rule of thumb is 0.1%."
        )
    if decreases:
        # Single steps vary with their rows; their sums are comparable.
        predicted, actual = map(sum, zip(*decreases, strict=True))
        numbers |= {"predicted_decrease": predicted, "actual_decrease": actual}
        notes.append("Decreases are sums over the observed steps, each on its own rows.")
    count = "unknown" if steps is None else format_count(steps, "step")
    title = f"{count} by {optimizer}" if optimizer else count
    return ConceptReport(title, numbers, {"layers": layers}, notes)


def _report_learning_rate(run: RunData) -> ConceptReport:
    curve, options = run.get_curve("learning_rate"), run.config.get("optimizer") or {}
    rate = options.get("lr", next(iter(curve.values()), None))
    # A comparison with NaN is false, so steps that ended there are counted apart.
    finite = [pair for pair in run.decreases if math.isfinite(pair[1])]
    kept = [actual / predicted for predicted, actual in finite if 0 < predicted < math.inf]
    raised_loss = sum(actual < 0 for _, actual in finite) + len(run.decreases) - len(finite)
    share = raised_loss / len(run.decreases) if run.decreases else None
    numbers: Row = {
        "learning_rate": rate,
        "schedule": _get_class_name(run, "schedule"),
        "observed_rates": curve if len(set(curve.values())) > 1 else {},
        "share_of_predicted_decrease": median(kept) if kept else None,
        "share_of_steps_to_a_higher_loss": share,
    }
    summary = "unknown" if rate is None else format_number(rate)
    if share is not None:
        summary += f"; {format_percent(share)} of the steps raised the loss"
    notes = [_NO_READINGS if share is None else _STEP_LENGTHS]
    longest = max(run.update_ratios.values(), default=math.inf)
    if longest < _TINY_RATIO:
        notes.append(
            "In every layer, a median step moves the weights by less than "
            f"{format_percent(_TINY_RATIO)} of their length: unless the gradient is zero, the "
            "learning rate is far too small."
        )
    if run.summary.get("state") == "failed":
        notes.append(f"The training failed: {run.summary.get('reason')}.")
    return ConceptReport(summary, numbers, {}, notes)


def _get_class_name(run: RunData, group: str) -> str | None:
    options = run.config.get(group) or {}
    path = options.get("_target_") or options.get("function")
    return None if path is None else str(path).rpartition(".")[2]


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
    # Rows may have different columns: ReLU has no upper limit.
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
        # Twice, because a curve may have a single point.
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


def _count_parameters(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters() if each.requires_grad)
