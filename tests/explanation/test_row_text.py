"""Row text: every number is shown, lines fit, and the sentences are true."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from brainnet.explanation.attribution import Contribution
from brainnet.explanation.explanation import Explanation
from brainnet.explanation.row_explanation import (
    Neighbor,
    explain_row,
)
from brainnet.explanation.row_text import draw_image, format_row, join_side_by_side


@pytest.fixture
def explained(row):
    def explain(task, model, *, target=None, part="train", **more):
        explanation = explain_row(model, row(), task, target=target)
        place = {"run": "runs/it", "source": "drinks", "row": 3, "rows": 10, "part": part}
        return format_row(replace(explanation, **place, **more))

    return explain


def join_text(explanation):
    assert isinstance(explanation, Explanation)
    return " ".join(str(explanation).split())


def get_section(explanation, beginning):
    found = [each for each in explanation.sections if each.heading.startswith(beginning)]
    assert len(found) == 1, [each.heading for each in explanation.sections]
    return found[0].lines


@pytest.fixture
def wrong(explained, classes, seeded, row):
    with torch.no_grad():
        worst = int(seeded([4, 8, 3])(row()).argmin())
    return explained(classes, seeded([4, 8, 3]), target=torch.tensor([worst]))


def test_tables_and_drawings_fit_sixty_columns(wrong, numbers, explained, seeded, row):
    long = replace(numbers, names=replace(numbers.names, inputs=("a very long name " * 4,) * 4))
    for explanation in (
        wrong,
        explained(long, seeded([4, 8, 2]), target=torch.tensor([[9e6, -9e6]])),
    ):
        lines = [line for each in explanation.sections for line in each.lines]
        assert [line for line in lines if line.startswith(" ") and len(line) > 60] == []


def test_printed_terms_add_up_to_the_printed_sum(wrong, explained, seeded, row):
    for layer in ("hidden_1: 8", "output: 3"):
        total, counted = 0.0, 0
        for line in get_section(wrong, layer):
            last = line.split()[-1]
            if line.startswith("    ") and not line.strip().startswith("sum"):
                total += float(last)
            elif line.strip().startswith("sum"):
                assert float(last) == pytest.approx(total, abs=0.031)
                total, counted = 0.0, counted + 1
        assert counted == 2


def test_a_wrong_prediction_shows_weights_to_blame(wrong, explained, seeded, row):
    assert wrong.title.endswith(", wrong")
    assert any(line.endswith("(true)") for line in get_section(wrong, "output"))
    model = seeded([4, 8, 3])
    target = model(row()).argmin(dim=1)
    loss = torch.nn.functional.cross_entropy(model(row()), target)
    parameters = [layer.weights.value for layer in model.layers]
    gradients = torch.cat([each.flatten() for each in torch.autograd.grad(loss, parameters)])
    largest = gradients[gradients.abs().argsort(descending=True)][:6].tolist()
    shown = [float(line.split()[-1]) for line in get_section(wrong, "Blame") if " → " in line]
    assert shown == pytest.approx(largest, rel=0.05)


def test_printed_contributions_add_up_to_the_printed_score(classes, explained, seeded, row):
    explanation = explained(classes, seeded([4, 8, 3]))
    lines = [line for line in get_section(explanation, "Contributions") if line.startswith("  ")]
    values = {line.split("  ")[1].strip(): line for line in lines[1:]}
    start = float(values["nothing"].split()[-1])
    parts = [float(values[name].split()[2]) for name in "abcd"]
    assert start + sum(parts) == pytest.approx(float(values["score"].split()[-1]), abs=0.04)


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("train", "It is a training row. Rows are counted from 0 to 9."),
        ("validation", "It is a validation row: not trained on"),
        ("test", "It is a test row: not seen in training."),
        (None, "Predicted by the network of runs/it. Prediction"),
    ],
)
def test_the_part_of_the_row_is_named(classes, part, sentence, explained, seeded, row):
    assert sentence in join_text(explained(classes, seeded([4, 8, 3]), part=part))


def test_neighbors_of_the_predicted_class_are_counted(classes, explained, seeded, row):
    with torch.no_grad():
        predicted = classes.names.outputs[int(seeded([4, 8, 3])(row()).argmax())]
    near = tuple(Neighbor(each, each + 1.0, predicted) for each in range(3))
    explanation = explained(classes, seeded([4, 8, 3]), neighbors=near)
    assert f"3 of 3 are {predicted}." in join_text(explanation)
    other = (*near[:1], Neighbor(7, 9.0, "water"))
    assert f"1 of 2 are {predicted}." in join_text(
        explained(classes, seeded([4, 8, 3]), neighbors=other)
    )
    none = (Neighbor(7, 0.0, "water"),)
    assert f"0 of 1 are {predicted}." in join_text(
        explained(classes, seeded([4, 8, 3]), neighbors=none)
    )


def test_numbers_show_their_error_and_the_scaling_of_the_sum(numbers, explained, seeded, row):
    with torch.no_grad():
        outputs = seeded([4, 6, 2])(row())
    explanation = explained(numbers, seeded([4, 6, 2]), target=outputs + torch.tensor([[0.0, 1.0]]))
    value = float(outputs[0, 1]) * 2 + 5
    shown = join_text(explanation)
    assert f"true {value + 2:.4g}, 2 too low" in shown
    assert f"· 2 + 5 = {value:.4g}" in shown


def test_columns_are_shown_instead_of_their_inputs(classes, explained, seeded, row):
    explanation = explain_row(seeded([4, 8, 3]), row(), classes)
    columns = (
        Contribution("colour", "red", 1.0, 2.0),
        Contribution("born", None, 0.5, -0.25),
    )
    explanation = format_row(replace(explanation, source="s", columns=columns))
    lines = get_section(explanation, "Contributions")
    shown = [line.split()[:3] for line in lines[2:4]]
    assert [cells[:2] for cells in shown] == [["colour", "red"], ["born", "missing"]]
    assert [float(cells[2]) for cells in shown] == [2.0, -0.25]
    assert explanation.title.startswith("s: ")


def test_an_image_is_drawn_with_its_positive_and_negative_contributions(
    classes, explained, seeded, row
):
    explanation = explained(classes, seeded([4, 8, 3]), image_shape=(2, 2))
    heading = next(line for line in get_section(explanation, "Contributions") if "input" in line)
    assert heading.count("for ") == 2


def test_limitations_are_listed(classes, explained, seeded, row):
    explanation = explained(classes, seeded([4, 8, 3]), limitations=("The moon.",))
    assert get_section(explanation, "Limitations") == ("The moon.",)


def test_the_unexplained_part_is_a_term_of_the_sum(explained, classes, row):
    class Jumps(nn.Module):
        def __init__(self):
            super().__init__()
            self.sums = nn.Linear(4, 3)
            self.sums.weight.data = torch.arange(12.0).reshape(3, 4) / 10

        def forward(self, inputs):
            return self.sums(inputs) + (inputs[:, :3] != 0) * torch.tensor([9.0, 6.0, 3.0])

    explanation = explained(classes, Jumps())
    lines = get_section(explanation, "Contributions")
    first = next(n for n, line in enumerate(lines) if line.strip().startswith("nothing"))
    last = next(n for n, line in enumerate(lines) if line.strip().startswith("score"))
    assert "not in any contribution" in lines[last - 1]
    carried = [float(line[27:40]) for line in lines[first:last]]
    assert sum(carried) == pytest.approx(float(lines[last].split()[-1]), abs=0.031)
    assert any("the network jumps" in line for line in get_section(explanation, "Limitations"))


def test_large_images_are_reduced():
    image = torch.zeros(64, 64)
    image[:32, 32:] = 1.0
    lines = draw_image(image)
    assert {len(line) for line in lines} == {32}
    assert len(lines) == 16
    assert lines[0] == " " * 16 + "█" * 16
    assert lines[-1] == " " * 32


def test_channels_are_averaged_and_empty_images_drawn():
    assert draw_image(torch.tensor([[1.0, 0.0], [0.0, 0.0]])) == ["██  ", "    "]
    assert draw_image(torch.zeros(2, 2)) == ["    ", "    "]
    assert draw_image(torch.tensor([[torch.nan, 1.0], [0.0, 0.0]])) == ["  ██", "    "]


@pytest.mark.parametrize(("width", "rows"), [(4, 1), (28, 2), (40, 3)])
def test_drawings_are_arranged_in_rows(width, rows):
    lines = join_side_by_side(["a", "b" * 50, "c"], [[mark * width] for mark in "#.+"])
    assert len(lines) == 2 * rows
    assert max(map(len, lines)) <= 58
    assert lines[1].startswith("#" * width)
    assert lines[-1].endswith("+" * width)
