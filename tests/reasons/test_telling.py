"""The telling of a row: every number is there, fits, and the sentences around it are true."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from brainnet.explanation.explanation import Explanation
from brainnet.explanation.row_explanation import ColumnPart, ExplainedRow, Neighbor, explain_row
from brainnet.explanation.row_text import format_row


@pytest.fixture
def told(row):
    def tell(question, model, *, right=None, part="train", **more):
        reasons = replace(explain_row(model, row(), question, right=right), **more)
        return format_row(ExplainedRow("runs/it", "drinks", 3, 10, part, reasons))

    return tell


def text(explanation):
    assert isinstance(explanation, Explanation)
    return " ".join(str(explanation).split())


def section(explanation, beginning):
    found = [each for each in explanation.sections if each.heading.startswith(beginning)]
    assert len(found) == 1, [each.heading for each in explanation.sections]
    return found[0].lines


@pytest.fixture
def wrong(told, classes, seeded, row):
    with torch.no_grad():
        worst = int(seeded([4, 8, 3])(row()).argmin())
    return told(classes, seeded([4, 8, 3]), right=torch.tensor([worst]))


def test_drawings_and_sums_fit_sixty_columns(wrong, numbers, told, seeded, row):
    long = replace(numbers, labels=replace(numbers.labels, inputs=("a very long name " * 4,) * 4))
    for explanation in (wrong, told(long, seeded([4, 8, 2]), right=torch.tensor([[9e6, -9e6]]))):
        lines = [line for each in explanation.sections for line in each.lines]
        assert [line for line in lines if line.startswith(" ") and len(line) > 60] == []


def test_the_shown_terms_add_up_as_one_reads_them(wrong, told, seeded, row):
    for layer in ("hidden_1: 8", "output: 3"):
        total, counted = 0.0, 0
        for line in section(wrong, layer):
            last = line.split()[-1]
            if line.startswith("    ") and not line.strip().startswith("sum"):
                total += float(last)
            elif line.strip().startswith("sum"):
                assert float(last) == pytest.approx(total, abs=0.031)
                total, counted = 0.0, counted + 1
        assert counted == 2


def test_a_wrong_answer_says_so_and_who_is_to_blame(wrong, told, seeded, row):
    assert wrong.title.endswith("which is wrong")
    lines = section(wrong, "Who is to blame")
    better = [line.split() for line in lines if line.endswith((" higher", " lower"))]
    assert better
    for words in better:
        assert words[-1] == ("lower" if float(words[-2]) > 0 else "higher")
    assert any("right one" in line for line in section(wrong, "output"))


def test_what_the_columns_carried_adds_up_to_the_score(classes, told, seeded, row):
    explanation = told(classes, seeded([4, 8, 3]))
    lines = [line for line in section(explanation, "What mattered") if line.startswith("  ")]
    values = {line.split("  ")[1].strip(): line for line in lines[1:]}
    start = float(values["nothing"].split()[-1])
    parts = [float(values[name].split()[2]) for name in "abcd"]
    assert start + sum(parts) == pytest.approx(float(values["together"].split()[-1]), abs=0.04)


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("train", "It was trained on this row. Rows are counted from 0 to 9."),
        ("validation", "It was not trained on this row"),
        ("test", "It never saw this row in training."),
        (None, "How the network of runs/it answers it. What it says"),
    ],
)
def test_it_says_whether_the_network_trained_on_the_row(classes, part, sentence, told, seeded, row):
    assert sentence in text(told(classes, seeded([4, 8, 3]), part=part))


def test_neighbours_are_counted_in_a_sentence_that_is_true(classes, told, seeded, row):
    with torch.no_grad():
        said = classes.labels.outputs[int(seeded([4, 8, 3])(row()).argmax())]
    near = tuple(Neighbor(each, each + 1.0, said) for each in range(3))
    explanation = told(classes, seeded([4, 8, 3]), nearest=near)
    assert f"Of these 3, all 3 are {said}." in text(explanation)
    other = (*near[:1], Neighbor(7, 9.0, "water"))
    assert f"Of these 2, 1 is {said}." in text(told(classes, seeded([4, 8, 3]), nearest=other))
    none = (Neighbor(7, 0.0, "water"),)
    assert f"Of these 1, none is {said}." in text(told(classes, seeded([4, 8, 3]), nearest=none))


def test_numbers_say_how_far_off_they_are_and_how_a_sum_gets_its_units(numbers, told, seeded, row):
    with torch.no_grad():
        outputs = seeded([4, 6, 2])(row())
    explanation = told(numbers, seeded([4, 6, 2]), right=outputs + torch.tensor([[0.0, 1.0]]))
    value = float(outputs[0, 1]) * 2 + 5
    shown = text(explanation)
    assert f"right {value + 2:.4g}, 2 too low" in shown
    assert f"· 2 + 5 = {value:.4g}" in shown


def test_columns_are_told_in_place_of_the_inputs_that_came_of_them(classes, told, seeded, row):
    reasons = explain_row(seeded([4, 8, 3]), row(), classes)
    columns = (ColumnPart("colour", "red", 1.0, 2.0, 3), ColumnPart("born", None, 0.5, -0.25, 1))
    explanation = format_row(ExplainedRow("r", "s", None, None, None, reasons, columns=columns))
    lines = section(explanation, "What mattered")
    shown = [line.split()[:3] for line in lines[2:4]]
    assert [cells[:2] for cells in shown] == [["colour", "red"], ["born", "missing"]]
    assert [float(cells[2]) for cells in shown] == [2.0, -0.25]
    assert explanation.title.startswith("s: ")


def test_a_picture_is_drawn_with_what_spoke_for_and_against(classes, told, seeded, row):
    explanation = told(classes, seeded([4, 8, 3]), image_shape=(2, 2))
    heading = next(line for line in section(explanation, "What mattered") if "it sees" in line)
    assert heading.count("for ") == 2


def test_what_could_not_be_found_out_is_said(classes, told, seeded, row):
    explanation = told(classes, seeded([4, 8, 3]), untold=("The moon.",))
    assert section(explanation, "What cannot be told") == ("The moon.",)


def test_what_no_slope_shows_stands_in_the_sum_of_the_inputs(told, classes, row):
    class Jumps(nn.Module):
        def __init__(self):
            super().__init__()
            self.sums = nn.Linear(4, 3)
            self.sums.weight.data = torch.arange(12.0).reshape(3, 4) / 10

        def forward(self, inputs):
            return self.sums(inputs) + (inputs[:, :3] != 0) * torch.tensor([9.0, 6.0, 3.0])

    explanation = told(classes, Jumps())
    lines = section(explanation, "What mattered")
    first = next(n for n, line in enumerate(lines) if line.strip().startswith("nothing"))
    last = next(n for n, line in enumerate(lines) if line.strip().startswith("together"))
    assert "what no slope shows" in lines[last - 1]
    carried = [float(line[30:39]) for line in lines[first:last]]
    assert sum(carried) == pytest.approx(float(lines[last].split()[-1]), abs=0.031)
    assert any("the network jumps" in line for line in section(explanation, "What cannot be told"))
