"""Reasons: the answer, its score, the way there and the blame, held against PyTorch's own."""

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from brainnet.explanation.row_explanation import explain_row


def test_an_answer_is_told_with_its_probabilities_the_most_probable_first(classes, seeded, row):
    model, one = seeded([4, 8, 3]), row()
    found = explain_row(model, one, classes, right=torch.tensor([2])).answer
    with torch.no_grad():
        outputs = model(one)
    shares = outputs.softmax(dim=1)[0]
    assert found.outputs == tuple(outputs[0].tolist())
    names = classes.labels.outputs
    order = shares.argsort(descending=True).tolist()
    assert [each.name for each in found.classes] == [names[place] for place in order]
    assert [each.probability for each in found.classes] == shares[order].tolist()
    assert found.right == "milk"
    assert found.correct == (order[0] == 2)
    assert found.loss == pytest.approx(float(F.cross_entropy(outputs, torch.tensor([2]))))


def test_a_right_answer_is_held_against_the_second_a_wrong_one_against_the_right(
    classes, seeded, row
):
    model, one = seeded([4, 8, 3]), row()
    with torch.no_grad():
        order = model(one)[0].argsort(descending=True).tolist()
    names = classes.labels.outputs
    for right, rival in ((order[0], order[1]), (order[1], order[1]), (order[2], order[2])):
        found = explain_row(model, one, classes, right=torch.tensor([right]))
        assert (found.score.answer, found.score.rival) == (names[order[0]], names[rival])
        assert [each.name for each in found.layers[-1].shown] == [names[order[0]], names[rival]]
        assert bool(found.damage) == (right != order[0])


def test_the_score_is_the_difference_of_the_outputs_and_falls_into_its_parts(classes, seeded, row):
    model, one = seeded([4, 8, 3]), row()
    found = explain_row(model, one, classes)
    outputs = dict(zip(classes.labels.outputs, found.answer.outputs, strict=True))
    score = found.score
    assert score.value == pytest.approx(outputs[score.answer] - outputs[score.rival], abs=1e-6)
    with torch.no_grad():
        start = dict(zip(outputs, model(torch.zeros(1, 4))[0].tolist(), strict=True))
    assert score.start == pytest.approx(start[score.answer] - start[score.rival], abs=1e-6)
    assert score.start + score.carried == pytest.approx(score.value, abs=3e-3)
    assert score.missed == 0.0
    for layer in found.layers:
        assert layer.carried == pytest.approx(score.carried, abs=3e-3)


@pytest.mark.parametrize("seed", range(6))
def test_one_output_speaks_for_the_second_class_and_against_the_first(yes_or_no, seeded, row, seed):
    model, one = seeded([4, 6, 1]), row(seed=seed)
    found = explain_row(model, one, yes_or_no)
    output = found.answer.outputs[0]
    said = "yes" if output > 0 else "no"
    assert found.score.answer == found.answer.classes[0].name == said
    assert found.score.value == pytest.approx(abs(output), abs=1e-6)
    assert [each.name for each in found.layers[-1].shown] == ["yes"]


def test_numbers_are_in_units_of_the_data_and_the_one_missed_most_is_followed(numbers, seeded, row):
    model, one = seeded([4, 6, 2]), row()
    with torch.no_grad():
        outputs = model(one)
    right = outputs + torch.tensor([[0.1, -0.5]])
    found = explain_row(model, one, numbers, right=right)
    price, weight = found.answer.numbers
    assert price.value == pytest.approx(float(outputs[0, 0]) * 10 + 100, rel=1e-5)
    assert weight.right == pytest.approx(float(right[0, 1]) * 2 + 5, rel=1e-5)
    assert (found.score.answer, found.score.rival) == ("weight", None)
    assert found.score.value == pytest.approx(weight.value, rel=1e-5)
    assert (found.score.factor, found.score.shift) == (2.0, 5.0)
    slope = torch.func.grad(lambda each: 2 * model(each)[0, 1])(one)[0]
    assert [each.gradient for each in found.inputs] == pytest.approx(slope.tolist(), abs=1e-5)


def test_the_damage_is_the_largest_gradient_of_the_loss_by_name(classes, seeded, row):
    model, one = seeded([4, 8, 3]), row()
    with torch.no_grad():
        wrong = int(model(one).argmin())
    right = torch.tensor([wrong])
    found = explain_row(model, one, classes, right=right)
    named = dict(model.named_parameters())
    loss = F.cross_entropy(model(one), right)
    gradients = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
    total = sum(float(each.square().sum()) for each in gradients.values())
    weights = [gradients[f"layers.{depth}.weights.value"] for depth in (0, 1)]
    largest = torch.cat([each.flatten() for each in weights]).abs().sort(descending=True).values
    assert [abs(each.gradient) for each in found.damage] == pytest.approx(
        largest[: len(found.damage)].tolist(), rel=1e-5
    )
    for each in found.damage:
        depth = 0 if each.layer == "hidden_1" else 1
        sources = classes.labels.inputs if depth == 0 else [f"hidden_1 #{i}" for i in range(8)]
        targets = [f"hidden_1 #{i}" for i in range(8)] if depth == 0 else classes.labels.outputs
        place = targets.index(each.target), sources.index(each.source)
        assert each.gradient == pytest.approx(float(weights[depth][place]), rel=1e-5)
        assert each.weight == float(named[f"layers.{depth}.weights.value"].detach()[place])
        assert each.blame == pytest.approx(each.gradient**2 / total, rel=1e-4)
    assert sum(each.blame for each in found.blame) == pytest.approx(1.0)


def test_the_network_is_left_as_it_is(classes, row):
    model = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.ReLU(), nn.Linear(5, 3)).train()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = explain_row(model, row(), classes, right=torch.tensor([0]))
    again = explain_row(model, row(), classes, right=torch.tensor([0]))
    assert first == again
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [each.requires_grad for each in model.parameters()] == [False, False, True, True]
    assert all(not part._forward_hooks for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_reasons_are_primitives_all_the_way_down(classes, seeded, row):
    found = explain_row(seeded([4, 8, 3]), row(), classes, right=torch.tensor([0]))
    told = json.loads(json.dumps(asdict(found), allow_nan=False))
    assert told["score"]["zero"] == "nothing"
    assert told["layers"][0]["name"] == "hidden_1"


class Unsloped(nn.Module):
    """A network with a part that passes no slopes back, of one of three makes."""

    def __init__(self, make):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.make, self.hidden, self.output = make, nn.Linear(4, 8), nn.Linear(8, 3)
        for parameter in self.parameters():
            parameter.data.normal_(generator=generator)

    def forward(self, inputs):
        if self.make == "no_grad":
            with torch.no_grad():
                said = self.hidden(inputs).relu()
        else:
            sums = self.hidden(inputs)
            jumped = (sums > self.hidden.bias).float()  # for nothing nobody does
            said = sums.detach().relu() if self.make == "detach" else jumped
        return self.output(said)


@pytest.mark.parametrize("make", ["no_grad", "detach", "jumps"])
def test_a_network_without_slopes_is_told_and_what_is_missing_is_said(classes, row, make):
    found = explain_row(Unsloped(make), row(), classes, right=torch.tensor([0]))
    rise = found.score.value - found.score.start
    assert abs(rise) > 0.1
    assert {each.carried for each in found.inputs} == {0.0}
    assert found.score.missed == rise
    (untold,) = found.untold
    assert "no slope comes back from the answer to the inputs" in untold
    assert found.layers[-1].carried == pytest.approx(rise, abs=1e-5)


class HalfJumping(nn.Module):
    """Half of what it says jumps, half does not."""

    def __init__(self):
        super().__init__()
        self.smooth = nn.Linear(4, 3)
        self.smooth.weight.data.normal_(generator=torch.Generator().manual_seed(3))

    def forward(self, inputs):
        said = self.smooth(inputs)
        return said + (inputs[:, :3].abs() > 0.1).float() * torch.tensor([4.0, 2.0, 1.0])


def test_where_the_parts_do_not_add_up_the_rest_is_said(classes, row):
    found = explain_row(HalfJumping(), row(), classes)
    score = found.score
    assert score.carried != 0.0
    assert abs(score.missed) > 0.1
    assert score.start + score.carried + score.missed == pytest.approx(score.value)
    assert any("the network jumps" in each for each in found.untold)


def test_steps_are_cut_until_the_parts_of_a_steep_network_add_up(classes, seeded, row):
    model = seeded([4, 32, 32, 3])
    for layer in model.layers:
        layer.weights.value.data.mul_(30)
    found = explain_row(model, 30 * row(), classes)
    score = found.score
    rise = score.value - score.start
    assert abs(rise) > 1
    assert score.carried == pytest.approx(rise, rel=5e-3)
    assert (score.missed, found.untold) == (0.0, ())
    for layer in found.layers:
        assert layer.carried == pytest.approx(rise, rel=1e-2)
