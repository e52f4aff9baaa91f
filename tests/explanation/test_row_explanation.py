"""Row explanations: prediction, score, contributions and blame are those of PyTorch."""

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from brainnet.data.preprocessing import ColumnEncoder
from brainnet.explanation.row_explanation import decode_cell, explain_row, find_nearest_rows


def test_classes_are_ranked_by_probability(classes, seeded, row):
    model, one = seeded([4, 8, 3]), row()
    found = explain_row(model, one, classes, target=torch.tensor([2])).prediction
    with torch.no_grad():
        outputs = model(one)
    shares = outputs.softmax(dim=1)[0]
    assert found.outputs == tuple(outputs[0].tolist())
    names = classes.names.outputs
    order = shares.argsort(descending=True).tolist()
    assert [each.name for each in found.classes] == [names[place] for place in order]
    assert [each.probability for each in found.classes] == shares[order].tolist()
    assert found.true_class == "milk"
    assert found.is_correct == (order[0] == 2)
    assert found.loss == pytest.approx(float(F.cross_entropy(outputs, torch.tensor([2]))))


def test_the_alternative_is_the_second_class_or_the_true_one(classes, seeded, row):
    model, one = seeded([4, 8, 3]), row()
    with torch.no_grad():
        order = model(one)[0].argsort(descending=True).tolist()
    names = classes.names.outputs
    for right, rival in ((order[0], order[1]), (order[1], order[1]), (order[2], order[2])):
        found = explain_row(model, one, classes, target=torch.tensor([right]))
        assert (found.score.prediction, found.score.alternative) == (names[order[0]], names[rival])
        assert [each.name for each in found.layers[-1].sums] == [names[order[0]], names[rival]]
        assert bool(found.blamed_weights) == (right != order[0])


def test_the_score_is_a_difference_of_outputs_and_the_sum_of_contributions(classes, seeded, row):
    model, one = seeded([4, 8, 3]), row()
    found = explain_row(model, one, classes)
    outputs = dict(zip(classes.names.outputs, found.prediction.outputs, strict=True))
    score = found.score
    assert score.value == pytest.approx(
        outputs[score.prediction] - outputs[score.alternative], abs=1e-6
    )
    with torch.no_grad():
        start = dict(zip(outputs, model(torch.zeros(1, 4))[0].tolist(), strict=True))
    assert score.baseline == pytest.approx(
        start[score.prediction] - start[score.alternative], abs=1e-6
    )
    assert score.baseline + score.contribution == pytest.approx(score.value, abs=3e-3)
    assert score.unexplained == 0.0
    for layer in found.layers:
        assert layer.contribution == pytest.approx(score.contribution, abs=3e-3)


@pytest.mark.parametrize("seed", range(6))
def test_a_single_output_stands_for_the_second_class(yes_or_no, seeded, row, seed):
    model, one = seeded([4, 6, 1]), row(seed=seed)
    found = explain_row(model, one, yes_or_no)
    output = found.prediction.outputs[0]
    outputs_ = "yes" if output > 0 else "no"
    assert found.score.prediction == found.prediction.classes[0].name == outputs_
    assert found.score.value == pytest.approx(abs(output), abs=1e-6)
    assert [each.name for each in found.layers[-1].sums] == ["yes"]


def test_numbers_have_units_of_the_data_and_the_largest_error_is_explained(numbers, seeded, row):
    model, one = seeded([4, 6, 2]), row()
    with torch.no_grad():
        outputs = model(one)
    right = outputs + torch.tensor([[0.1, -0.5]])
    found = explain_row(model, one, numbers, target=right)
    price, weight = found.prediction.values
    assert price.value == pytest.approx(float(outputs[0, 0]) * 10 + 100, rel=1e-5)
    assert weight.true_value == pytest.approx(float(right[0, 1]) * 2 + 5, rel=1e-5)
    assert (found.score.prediction, found.score.alternative) == ("weight", None)
    assert found.score.value == pytest.approx(weight.value, rel=1e-5)
    assert (found.score.scale, found.score.shift) == (2.0, 5.0)
    slope = torch.func.grad(lambda each: 2 * model(each)[0, 1])(one)[0]
    assert [each.gradient for each in found.inputs] == pytest.approx(slope.tolist(), abs=1e-5)


def test_blamed_weights_have_the_largest_gradients(classes, seeded, row):
    model, one = seeded([4, 8, 3]), row()
    with torch.no_grad():
        wrong = int(model(one).argmin())
    right = torch.tensor([wrong])
    found = explain_row(model, one, classes, target=right)
    named = dict(model.named_parameters())
    loss = F.cross_entropy(model(one), right)
    gradients = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
    total = sum(float(each.square().sum()) for each in gradients.values())
    weights = [gradients[f"layers.{depth}.weights.value"] for depth in (0, 1)]
    largest = torch.cat([each.flatten() for each in weights]).abs().sort(descending=True).values
    assert [abs(each.gradient) for each in found.blamed_weights] == pytest.approx(
        largest[: len(found.blamed_weights)].tolist(), rel=1e-5
    )
    for each in found.blamed_weights:
        depth = 0 if each.layer == "hidden_1" else 1
        sources = classes.names.inputs if depth == 0 else [f"hidden_1 #{i}" for i in range(8)]
        targets = [f"hidden_1 #{i}" for i in range(8)] if depth == 0 else classes.names.outputs
        place = targets.index(each.target), sources.index(each.source)
        assert each.gradient == pytest.approx(float(weights[depth][place]), rel=1e-5)
        assert each.weight == float(named[f"layers.{depth}.weights.value"].detach()[place])
        assert each.blame == pytest.approx(each.gradient**2 / total, rel=1e-4)
    assert sum(found.layer_blame.values()) == pytest.approx(1.0)


def test_the_network_is_not_changed(classes, row):
    model = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.ReLU(), nn.Linear(5, 3)).train()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = explain_row(model, row(), classes, target=torch.tensor([0]))
    again = explain_row(model, row(), classes, target=torch.tensor([0]))
    assert first == again
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [each.requires_grad for each in model.parameters()] == [False, False, True, True]
    assert all(not part._forward_hooks for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_explanations_are_plain_data(classes, seeded, row):
    found = explain_row(seeded([4, 8, 3]), row(), classes, target=torch.tensor([0]))
    data = json.loads(json.dumps(asdict(found), allow_nan=False))
    assert data["score"]["baseline_name"] == "nothing"
    assert data["layers"][0]["name"] == "hidden_1"


class WithoutGradients(nn.Module):
    """A network with a part without gradients."""

    def __init__(self, make):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.make, self.hidden, self.output = make, nn.Linear(4, 8), nn.Linear(8, 3)
        for parameter in self.parameters():
            parameter.data.normal_(generator=generator)

    def forward(self, inputs):
        if self.make == "no_grad":
            with torch.no_grad():
                outputs_ = self.hidden(inputs).relu()
        else:
            sums = self.hidden(inputs)
            jumped = (sums > self.hidden.bias).float()
            outputs_ = sums.detach().relu() if self.make == "detach" else jumped
        return self.output(outputs_)


@pytest.mark.parametrize("make", ["no_grad", "detach", "jumps"])
def test_parts_without_gradients_are_reported(classes, row, make):
    found = explain_row(WithoutGradients(make), row(), classes, target=torch.tensor([0]))
    rise = found.score.value - found.score.baseline
    assert abs(rise) > 0.1
    assert {each.contribution for each in found.inputs} == {0.0}
    assert found.score.unexplained == rise
    (limitation,) = found.limitations
    assert "a part of it has no gradient" in limitation
    assert found.layers[-1].contribution == pytest.approx(rise, abs=1e-5)


class PartlyDiscontinuous(nn.Module):
    """The sum of a linear layer and a step function."""

    def __init__(self):
        super().__init__()
        self.smooth = nn.Linear(4, 3)
        self.smooth.weight.data.normal_(generator=torch.Generator().manual_seed(3))

    def forward(self, inputs):
        outputs_ = self.smooth(inputs)
        return outputs_ + (inputs[:, :3].abs() > 0.1).float() * torch.tensor([4.0, 2.0, 1.0])


def test_the_unexplained_part_of_a_discontinuous_network_is_reported(classes, row):
    found = explain_row(PartlyDiscontinuous(), row(), classes)
    score = found.score
    assert score.contribution != 0.0
    assert abs(score.unexplained) > 0.1
    assert score.baseline + score.contribution + score.unexplained == pytest.approx(score.value)
    assert any("the network jumps" in each for each in found.limitations)


def test_contributions_of_a_steep_network_add_up(classes, seeded, row):
    model = seeded([4, 32, 32, 3])
    for layer in model.layers:
        layer.weights.value.data.mul_(30)
    found = explain_row(model, 30 * row(), classes)
    score = found.score
    rise = score.value - score.baseline
    assert abs(rise) > 1
    assert score.contribution == pytest.approx(rise, rel=5e-3)
    assert (score.unexplained, found.limitations) == (0.0, ())
    for layer in found.layers:
        assert layer.contribution == pytest.approx(rise, rel=1e-2)


def make_rows():
    return torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("piece", [1, 3, 7, 50])
def test_nearest_rows_are_those_of_a_full_search(piece):
    table, row = make_rows(), torch.ones(4)
    numbers = torch.randperm(50, generator=torch.Generator().manual_seed(1)) + 100
    found = find_nearest_rows(
        row, zip(numbers.split(piece), table.split(piece), strict=True), count=4
    )
    distances = (table.double() - row.double()).square().sum(dim=1).sqrt()
    order = distances.argsort()[:4]
    assert [number for number, _ in found] == numbers[order].tolist()
    assert [distance for _, distance in found] == pytest.approx(distances[order].tolist())


def test_the_row_itself_is_excluded():
    table = make_rows()
    numbers = torch.arange(50)
    assert find_nearest_rows(table[8], [(numbers, table)])[0] == (8, 0.0)
    assert 8 not in [
        number for number, _ in find_nearest_rows(table[8], [(numbers, table)], exclude=8)
    ]


def test_different_codes_have_distance_1():
    table = torch.tensor([[0.0, 40.0], [0.0, 2.0], [0.5, 1.0]])
    found = find_nearest_rows(torch.tensor([0.0, 1.0]), [(torch.arange(3), table)], codes=[1])
    assert found == [(2, 0.5), (0, 1.0), (1, 1.0)]


def test_fewer_rows_than_requested_are_all_returned():
    assert len(find_nearest_rows(torch.zeros(4), [(torch.arange(3), make_rows()[:3])])) == 3


@pytest.mark.parametrize(
    ("column", "values", "cell"),
    [
        (ColumnEncoder("color", "category", ("red", "blue")), [0.0, 1.0], "blue"),
        (ColumnEncoder("color", "category", ("", "blue")), [1.0, 0.0], "nothing"),
        (ColumnEncoder("member", "boolean", ("no", "yes")), [1.0], "yes"),
        (ColumnEncoder("age", "number"), [41.5], 41.5),
        (ColumnEncoder("age", "number"), [None], None),
    ],
)
def test_cells_are_decoded_from_inputs(column, values, cell):
    assert decode_cell(column, values) == cell
