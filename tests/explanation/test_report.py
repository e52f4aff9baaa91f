"""Run report: numbers are computed again by hand, and every sentence is true of its run."""

import json
import math
import re
from dataclasses import replace
from statistics import median

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from brainnet import concepts, explain, fit, load
from brainnet.concepts import CONCEPTS, find_concept
from brainnet.explanation.report import build_report, report_concept, summarize_run
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.network import Network

KINDS = ("class_run", "number_run", "run_without_rows", "unobserved_run", "tanh_run")


def report(run, name):
    return build_report(run, find_concept(name))


def join_text(run, name):
    return " ".join(" ".join(report(run, name).lines).split())


def change_readings(run, **changes):
    return replace(run, readings=tuple(replace(each, **changes) for each in run.readings))


def change_ratios(run, ratio):
    return replace(
        run,
        readings=tuple(
            replace(
                reading, layers=tuple(replace(each, update_ratio=ratio) for each in reading.layers)
            )
            for reading in run.readings
        ),
    )


def change_summary(run, **changes):
    return replace(run, summary={**run.summary, **changes})


def fill_parameters(run, value):
    network = Network([3, 6, 2]).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)
    return replace(run, network=network)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)
def test_every_concept_of_every_run_is_reported(concept, kind, request):
    result = build_report(request.getfixturevalue(kind), concept)
    assert result.lines
    assert [line for line in result.lines if line.startswith(" ") and len(line) > 76] == []
    assert not any(re.search(r"\b(nan|inf|None)\b", line) for line in result.lines)
    json.dumps(result.values, allow_nan=False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_summary_has_one_line_per_concept(kind, request):
    run = request.getfixturevalue(kind)
    summary = summarize_run(run)
    lines = [line for section in summary.sections for line in section.lines]
    assert [line[2:22].strip() for line in lines] == [concept.name for concept in CONCEPTS]
    assert max(map(len, lines)) <= 80
    assert "best.ckpt" in summary.text[0]
    assert f"3 → 6 → {run.network.sizes[-1]}" in lines[0]


def test_a_page_names_its_run_and_the_next_command(class_run):
    page = report_concept(class_run, concepts.FORWARD_PASS)
    assert page.title == "forward pass of runs/it"
    assert page.lines[-1] == "All sums: brainnet explain --run runs/it --row 48"


def test_layers_have_their_sizes_and_parameters(class_run):
    values = report(class_run, "layers").values
    total = 3 * 6 + 6 + 6 * 2 + 2
    assert values["trainable_parameters"] == total
    columns = ("name", "inputs", "neurons", "parameters")
    assert [[layer[key] for key in columns] for layer in values["layers"]] == [
        ["hidden_1", 3, 6, 24],
        ["output", 6, 2, 14],
    ]


def compute_hidden(run):
    with torch.no_grad():
        return run.network.layers[0](run.parts["train"].inputs)


def test_firing_rates_use_every_row(class_run):
    values, fires = report(class_run, "neurons").values, compute_hidden(class_run) > 0
    rates = fires.double().mean(dim=0)
    (layer,) = values["layers"]
    assert (values["rows"], layer["neurons"]) == (40, 6)
    assert layer["firing_rate"] == pytest.approx(float(rates.mean()))
    assert layer["never_fire"] == (rates == 0).nonzero().flatten().tolist()
    assert layer["always_fire"] == (rates == 1).nonzero().flatten().tolist()
    firing = rates[rates > 0].sort(descending=True).values.tolist()
    assert [each["firing_rate"] for each in values["most active"]] == pytest.approx(firing[:3])
    assert [each["firing_rate"] for each in values["least active"]] == pytest.approx(firing[:-4:-1])


def test_the_shares_of_an_activation_are_counted(class_run):
    (layer,) = report(class_run, "activation").values["layers"]
    outputs = compute_hidden(class_run)
    assert layer["silent"] == pytest.approx(float((outputs == 0).double().mean()))
    assert layer["full"] == pytest.approx(float((outputs == 1).double().mean()))
    assert (layer["threshold"], layer["width"]) == ((0.0, 0.0), (1.0, 1.0))
    assert layer["flat"] == pytest.approx(layer["silent"] + layer["full"])


def test_a_smooth_activation_has_flat_parts_but_no_limits(tanh_run):
    (layer,) = report(tanh_run, "activation").values["layers"]
    with torch.no_grad():
        sums = tanh_run.network.layers[0].pre_activation(tanh_run.parts["train"].inputs)
    slopes = 1 - sums.tanh().square()
    assert layer["activation"] == "Tanh"
    assert {"threshold", "full"}.isdisjoint(layer)
    assert layer["flat"] == pytest.approx(float((slopes < 0.1).double().mean()))


def test_a_leaky_ramp_is_not_flat_outside(class_run):
    network = Network([3, 6, 2], ThresholdRamp(leak=0.5)).eval()
    run = replace(class_run, network=network)
    (layer,) = report(run, "activation").values["layers"]
    assert layer["silent"] > 0
    assert layer["flat"] == 0


def test_an_activation_that_receives_other_values_is_not_reported(class_run):
    class Actor(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.tanh = nn.Linear(3, 5), nn.Tanh()
            self.last = nn.Linear(5, 2)

        def forward(self, inputs):
            return self.tanh(self.last(self.first(inputs).relu()))

    layers = report(replace(class_run, network=Actor()), "activation").values["layers"]
    assert [(each["name"], each["activation"]) for each in layers] == [("last", "Tanh")]


def test_the_largest_weights_are_named(class_run):
    values = report(class_run, "weights").values
    weights = class_run.network.layers[0].weights.value.detach()
    assert values["layers"][0]["mean_size"] == pytest.approx(float(weights.abs().mean()))
    first = [each for each in values["largest"] if "→ hidden_1" in each["name"]]
    largest = weights.abs().flatten().sort(descending=True).values[:5]
    assert [abs(each["weight"]) for each in first] == pytest.approx(largest.tolist())
    for each in first:
        source, neuron = each["name"].split(" → hidden_1 #")
        assert each["weight"] == weights[int(neuron), "xyz".index(source)].item()
    others = [each["name"] for each in values["largest"] if each not in first]
    assert {name.split(" → ")[1] for name in others} <= {"low", "high"}


def test_biases_have_their_signs_and_extremes(class_run):
    first = report(class_run, "biases").values["layers"][0]
    bias = class_run.network.layers[0].bias.value.detach()
    assert (first["positive"], first["negative"]) == (int((bias > 0).sum()), int((bias < 0).sum()))
    assert (first["lowest"], first["highest"]) == (bias.min().item(), bias.max().item())


def test_the_forward_pass_is_that_of_the_first_unseen_row(class_run):
    values = report(class_run, "forward pass").values
    rows = class_run.parts["test"]
    with torch.no_grad():
        outputs = class_run.network(rows.inputs[:1])
    verdict = "low, correct" if outputs.argmax() == rows.targets[0] == 0 else "high, correct"
    assert (values["row"], values["part"]) == (48, "test")
    assert values["outputs"] == outputs[0].tolist()
    assert values["loss"] == pytest.approx(float(F.cross_entropy(outputs, rows.targets[:1])))
    assert values["seconds_per_batch"] == median(e.forward_seconds for e in class_run.readings)
    assert report(class_run, "forward pass").summary == f"row 48: {verdict}"


def test_the_loss_has_its_curve_and_the_final_metrics(class_run):
    values = report(class_run, "loss").values
    assert values["observed_batches"] == {0: 1.2, 5: 0.8, 10: 0.5}
    assert (values["loss"], values["accuracy/test"]) == ("CrossEntropy", 0.5)
    assert report(class_run, "loss").summary == "1.2 → 0.5"


def test_the_final_loss_is_that_of_new_rows_if_it_is_known(class_run):
    run = change_summary(class_run, metrics={"loss/train": 0.4, "loss/validation": None})
    assert report(run, "loss").summary == "1.2 → 0.4 (train)"
    run = change_summary(class_run, metrics={"loss/train": 0.4, "loss/validation": 0.6})
    assert report(run, "loss").summary == "1.2 → 0.6 (validation)"


def test_blame_and_gradients_are_those_of_autograd(class_run):
    parameters, rows = list(class_run.network.parameters()), class_run.parts["train"]
    loss = F.cross_entropy(class_run.network(rows.inputs), rows.targets)
    squares = [float(each.square().sum()) for each in torch.autograd.grad(loss, parameters)]
    hidden, total = sum(squares[:2]), sum(squares)
    blame, gradient = (report(class_run, name).values for name in ("backpropagation", "gradient"))
    assert blame["loss"] == pytest.approx(float(loss.detach()))
    shares = [each["blame"] for each in blame["layers"]]
    assert shares == pytest.approx([hidden / total, 1 - hidden / total])
    assert gradient["norm"] == pytest.approx(total**0.5)
    assert gradient["layers"][0]["norm"] == pytest.approx(hidden**0.5)
    assert gradient["observed_norms"] == {0: 1.2, 5: 0.8, 10: 0.5}
    assert all(each.grad is None for each in parameters)


def test_steps_are_summed_up(class_run):
    values = report(class_run, "gradient descent").values
    assert (values["steps"], values["epochs"], values["optimizer"]) == (11, 2, "Adam")
    assert values["observed_steps"] == 3
    assert [each["update_ratio"] for each in values["layers"]] == pytest.approx([0.02, 0.06])
    assert values["predicted_decrease"] == pytest.approx(0.7)
    assert values["actual_decrease"] == pytest.approx(0.2)


def get_bars(run, name):
    pattern = re.compile(r"[█░]{10}$")
    return [match[0] for line in report(run, name).lines if (match := pattern.search(line))]


@pytest.mark.parametrize(
    ("ratio", "bars"),
    [
        (0.0, ["░" * 10, "░" * 10]),
        (1e-9, ["░" * 10, "░" * 10]),
        (1e-3, ["█" + "░" * 9, "███" + "░" * 7]),
        (0.02, ["█" * 10, "█" * 10]),
    ],
)
def test_bars_of_update_ratios_have_an_absolute_scale(class_run, ratio, bars):
    readings = change_ratios(class_run, ratio).readings
    layers = [
        replace(each, layers=(each.layers[0], replace(each.layers[1], update_ratio=3 * ratio)))
        for each in readings
    ]
    assert get_bars(replace(class_run, readings=tuple(layers)), "gradient descent") == bars


def test_tiny_update_ratios_are_not_printed_as_zero(class_run):
    text = join_text(change_ratios(class_run, 1.5e-6), "gradient descent")
    assert "0.00015%" in text
    assert " 0% " not in text


def test_the_learning_rate_is_compared_with_its_decreases(class_run):
    values = report(class_run, "learning rate").values
    assert (values["learning_rate"], values["schedule"]) == (0.1, "WarmupCosine")
    assert values["share_of_predicted_decrease"] == pytest.approx(0.5)  # of 1/2, -1/2 and 1
    assert values["share_of_steps_to_a_higher_loss"] == pytest.approx(1 / 3)
    assert report(class_run, "learning rate").summary == "0.1; 33.3% of the steps raised the loss"
    assert "the loss is linear along the step" in join_text(class_run, "learning rate")


@pytest.mark.parametrize("steps", [0, None])
def test_a_run_without_steps_has_no_shares(unobserved_run, steps):
    run = change_summary(unobserved_run, steps=steps, epochs=0)
    assert report(run, "learning rate").summary == "0.1"
    assert "No observed steps are stored" in join_text(run, "learning rate")
    assert report(run, "gradient descent").values["observed_steps"] == 0
    expected = "0 steps by Adam" if steps == 0 else "unknown by Adam"
    assert report(run, "gradient descent").summary == expected


def diverge(run):
    """Replace the last step by one that ends at a loss that is not a number."""
    *rest, last = run.readings
    layers = tuple(replace(each, update_ratio=math.nan) for each in last.layers)
    last = replace(last, predicted_decrease=1e30, actual_decrease=math.nan, layers=layers)
    config = {"optimizer": {"_target_": "torch.optim.Adam", "lr": 1e30}}
    return replace(run, config=config, readings=(*rest, last))


def test_a_step_to_nan_counts_as_a_step_to_a_higher_loss(class_run):
    run = diverge(class_run)
    values = report(run, "learning rate").values
    assert values["share_of_steps_to_a_higher_loss"] == pytest.approx(2 / 3)
    assert values["share_of_predicted_decrease"] == pytest.approx(0)  # of 1/2 and -1/2
    assert "actual decrease not finite" in join_text(run, "gradient descent")


def test_a_run_whose_only_step_led_to_nan(class_run):
    run = replace(diverge(class_run), readings=diverge(class_run).readings[-1:])
    values = report(run, "learning rate").values
    assert values["share_of_predicted_decrease"] is None
    assert values["share_of_steps_to_a_higher_loss"] == 1.0
    assert report(run, "gradient descent").values["layers"][0]["update_ratio"] == math.inf
    assert "not finite" in join_text(run, "gradient descent")


def test_the_reason_of_a_failed_training_is_reported(class_run):
    reason = "the loss became nan at step 11"
    run = change_summary(class_run, state="failed", reason=reason)
    assert "The training failed: the loss became nan at step 11." in join_text(run, "learning rate")
    assert "failed" not in join_text(class_run, "learning rate")


def test_a_constant_learning_rate_has_no_curve_and_a_changing_one_has(class_run):
    assert report(class_run, "learning rate").values["observed_rates"] == {}
    first, *rest = class_run.readings
    run = replace(class_run, readings=(replace(first, learning_rate=0.01), *rest))
    rates = report(run, "learning rate").values["observed_rates"]
    assert rates == {0: 0.01, 5: 0.1, 10: 0.1}


def test_a_network_of_nan_is_reported_as_such(class_run):
    run = fill_parameters(class_run, math.nan)
    assert report(run, "neurons").summary == "not finite"
    assert "hidden_1: not all outputs are finite." in report(run, "neurons").notes
    assert report(run, "activation") == report(run, "neurons")
    assert report(run, "backpropagation").summary == "not finite"
    for concept in CONCEPTS:
        assert not any(re.search(r"\bnan\b", line) for line in build_report(run, concept).lines)


def test_a_dead_network_has_no_blame(class_run):
    run = replace(fill_parameters(class_run, 0.0), readings=())
    targets = torch.tensor([0, 1] * 20)
    rows = replace(run.parts["train"], targets=targets)
    run = replace(run, load_rows=lambda: (rows,))
    assert report(run, "neurons").summary == "firing rate 0%; 6 of 6 never fire"
    assert report(run, "neurons").values["most active"] == []
    assert report(run, "backpropagation").summary == "the gradient is zero"


def test_without_rows_the_numbers_of_the_network_remain(run_without_rows):
    assert report(run_without_rows, "neurons").values == {}
    assert "rows of the run are not available" in join_text(run_without_rows, "neurons")
    assert "rows of the run are not available" in join_text(run_without_rows, "activation")
    assert report(run_without_rows, "layers").summary == "3 → 6 → 2, 38 trainable parameters"
    names = {each["name"] for each in report(run_without_rows, "weights").values["largest"]}
    assert any(name.startswith("hidden_1 #") for name in names)
    blame, gradient = (report(run_without_rows, name) for name in ("backpropagation", "gradient"))
    assert [each["blame"] for each in blame.values["layers"]] == [0.75, 0.25]
    assert [each["norm"] for each in gradient.values["layers"]] == [1.5, 1.0]
    for each in (blame, gradient):
        assert "those of the last observed step" in each.notes[1]


def test_without_rows_and_readings_the_gradient_is_unknown(run_without_rows):
    for name in ("backpropagation", "gradient"):
        result = report(replace(run_without_rows, readings=()), name)
        assert result.values["layers"] == []
        assert "last observed step" not in result.notes[1]


def test_numbers_of_unobserved_steps_are_left_out(unobserved_run):
    assert report(unobserved_run, "loss").values["observed_batches"] == {}
    assert report(unobserved_run, "gradient").values["observed_norms"] == {}


def test_a_convolution_is_reported_by_channel(class_run):
    model = nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)
    ).eval()
    run = replace(class_run, network=model)
    with torch.no_grad():
        outputs = model[:3](run.parts["train"].inputs)
    rates = (outputs > 0).double().mean(dim=(0, 2))
    layer = report(run, "neurons").values["layers"][0]
    assert (layer["neurons"], layer["firing_rate"]) == (2, pytest.approx(float(rates.mean())))
    assert all(
        "→ low" in e["name"] or "→ high" in e["name"]
        for e in report(run, "weights").values["largest"]
    )


@pytest.mark.parametrize("name", ["weights", "biases", "loss", "gradient descent", "learning rate"])
def test_reports_that_need_no_rows_read_none(class_run, name):
    def load_rows():
        raise AssertionError("no row is needed")

    assert report(replace(class_run, load_rows=load_rows), name) == report(class_run, name)
    with pytest.raises(AssertionError, match="no row is needed"):
        report(replace(class_run, load_rows=load_rows), "neurons")


def test_the_weights_of_a_model_of_the_user_are_named_with_its_own_rows(class_run):
    class Picky(nn.Sequential):
        def forward(self, inputs):
            assert torch.equal(inputs, class_run.parts["train"].inputs)
            return super().forward(inputs)

    run = replace(class_run, network=Picky(nn.Linear(3, 2)).eval())
    assert report(run, "weights").values["largest"][0]["name"].split()[0] in "xyz"


@pytest.mark.parametrize(("learning_rate", "is_small"), [(1e-7, True), (0.003, False)])
def test_only_a_tiny_learning_rate_is_called_far_too_small(tmp_path, learning_rate, is_small):
    run = fit(
        Network([4, 8, 3]),
        "iris",
        learning_rate=learning_rate,
        epochs=3,
        folder=tmp_path / "run",
        progress=False,
    )
    text = " ".join(str(explain(load(run.folder), "learning rate")).split())
    assert ("the learning rate is far too small" in text) == is_small
    assert "suit" not in text
