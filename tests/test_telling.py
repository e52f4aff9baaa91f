"""The telling: every number it shows is computed, and every sentence around them is true."""

import pytest

from brainnet.concepts import CONCEPTS, find_concept
from brainnet.explanation.worked_example import NETWORK, work_through
from brainnet.explanation.worked_example_text import describe_concept, draw_bar, format_number

EACH = pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)


def told(name):
    return "\n".join(describe_concept(find_concept(name)))


@EACH
def test_drawings_and_sums_fit_a_narrow_terminal(concept):
    assert all(len(line) <= 76 for line in describe_concept(concept) if line.startswith(" "))
    assert any(line.startswith(" ") for line in describe_concept(concept))


@EACH
def test_nothing_is_told_with_a_minus_zero(concept):
    assert "-0.00" not in told(concept.name).replace("-0.001", "")


def test_the_drawing_shows_four_senses_four_hidden_neurons_and_two_answers():
    drawing = describe_concept(find_concept("layers"))[:5]
    assert [line.split()[0] for line in drawing] == ["input", "smoke", "heat", "sizzle", "music"]
    cells = ["fire 0.22", "food 1.00", "fun  0.77", "fear 0.00"]
    assert all(cell in line for cell, line in zip(cells, drawing[1:], strict=True))
    assert drawing[2].endswith("relax             79%")
    assert drawing[3].endswith("check the burner  21%")
    assert "30 numbers that learn" in told("layers")


def test_the_products_and_the_bias_of_the_neuron_add_up_to_its_sum():
    values = [
        float(line.split("=")[1])
        for line in describe_concept(find_concept("neuron"))
        if "=" in line
    ]
    assert len(values) == 4
    assert sum(values) + NETWORK[0].biases[0] == pytest.approx(0.22)
    assert "sum                 0.22  → fires at 0.22" in told("neuron")


def test_the_weights_are_those_of_the_network():
    rows = [
        line.split() for line in describe_concept(find_concept("weights")) if line.startswith("  ")
    ]
    assert rows[0] == ["smoke", "heat", "sizzle", "music"]
    table = tuple(tuple(map(float, row[1:])) for row in rows[1:])
    assert table == NETWORK[0].weights


def test_a_calm_neuron_that_would_fire_without_its_bias_keeps_quiet():
    assert "without the bias   0.45 → fires at 0.45" in told("bias")
    assert "with it           -0.45 → fires at 0.00" in told("bias")


def test_the_activation_shows_quiet_ramp_and_fully_firing():
    assert [line.split()[1:4:2] for line in describe_concept(find_concept("activation"))[1:5]] == [
        ["-0.45", "0.00"],
        ["0.22", "0.22"],
        ["0.77", "0.77"],
        ["1.20", "1.00"],
    ]


def test_the_answers_are_summed_up_and_the_wrong_one_wins():
    assert "relax            -0.5·0.22 + 0.3·1.00 + 1.0·0.77 - 1.0·0.00 + 0.2 = 1.16" in told(
        "forward pass"
    )
    assert "1.0·0.22 + 0.1·1.00 - 0.6·0.77 + 1.2·0.00 + 0.0 = -0.14" in told("forward pass")
    assert "79% and 21%" in told("forward pass")


def test_bigger_mistakes_sting_more():
    rows = [
        line.split() for line in describe_concept(find_concept("loss")) if "probability 0." in line
    ]
    losses = [float(row[3]) for row in rows]
    assert losses == sorted(losses)
    assert losses == [0.01, 0.693, round(work_through().loss, 3), 4.605]


def test_the_music_takes_most_of_the_blame_and_the_listening_to_it_is_named():
    shares = [line for line in describe_concept(find_concept("backpropagation")) if "%" in line]
    assert shares[0].split()[:4] == ["music", "→", "fun", "10.4%"]
    percentages = [float(line.split("%")[0].split()[-1]) for line in shares]
    assert percentages == sorted(percentages, reverse=True)
    assert "1.0 · 0.79 - 0.6 · (-0.79) = 1.26" in told("backpropagation")


def test_the_gradient_agrees_with_a_nudge():
    assert "1.258 · 0.9 = 1.132" in told("gradient")
    assert "loss 1.5426 → 1.5539, a slope of 1.134" in told("gradient")


def test_the_step_lowers_the_loss_and_later_steps_are_shorter():
    assert "0.900 - 0.1 · 1.132 = 0.787" in told("gradient descent")
    assert "0.500 - 0.1 · (-0.708) = 0.571" in told("gradient descent")
    assert "from 1.543 to 0.582" in told("gradient descent")
    steps = [
        line.split()
        for line in describe_concept(find_concept("gradient descent"))
        if "steepness" in line
    ]
    for column in (2, 4, 6):
        values = [float(step[column]) for step in steps]
        assert values == sorted(values, reverse=True)


def test_of_four_learning_rates_one_learns():
    rows = [
        line.split() for line in describe_concept(find_concept("learning rate")) if line[:3].strip()
    ]
    endings = {row[0]: " ".join(row[4:]) for row in rows if row[0] in {"0", "0.001", "0.1", "1"}}
    assert endings == {
        "0": "never learns",
        "0.001": "too small",
        "0.1": "learns",
        "1": "overshoots",
    }
    after_forty = {row[0]: float(row[3]) for row in rows if row[0] in endings}
    assert min(after_forty, key=after_forty.__getitem__) == "0.1"
    assert max(after_forty, key=after_forty.__getitem__) == "1"
    assert "leaps from 0.15 to 4.60" in told("learning rate")


@pytest.mark.parametrize(
    ("share", "blocks"), [(0, 0), (1, 4), (0.5, 2), (7, 4), (-1, 0), (float("nan"), 0)]
)
def test_a_bar_is_never_longer_than_its_box(share, blocks):
    assert draw_bar(share, width=4) == "█" * blocks + "░" * (4 - blocks)


def test_numbers_are_rounded_without_a_minus_zero():
    assert format_number(-0.004) == "0.00"
    assert format_number(1.005, 1) == "1.0"
    assert format_number(float("nan")) == "nan"
