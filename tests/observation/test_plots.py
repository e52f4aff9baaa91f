from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from brainnet.observation import plots
from brainnet.observation.plots import (
    LossSlice,
    compute_loss_slice,
    plot_boundary,
    plot_confusion,
    plot_loss_slice,
    plot_weights,
)

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, in order."""
    drawn = []
    to_png = plots._to_png
    monkeypatch.setattr(plots, "_to_png", lambda figure: drawn.append(figure) or to_png(figure))
    return drawn


def read_pixels(png):
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)


def count_pixels(png, color):
    return int((np.abs(read_pixels(png) - color).max(axis=-1) <= 1).sum())


def square_slice(end, start=1.0, scale=1.0, offset=0.0):
    """The loss w² along a step from `start` to `end`."""
    network = nn.Linear(1, 1, bias=False)
    states = ({"weight": torch.tensor([[value]])} for value in (start, end))
    return compute_loss_slice(
        network,
        lambda outputs: scale * outputs.square().mean() + offset,
        torch.ones(1, 1),
        *states,
    )


def test_loss_slice_follows_the_parabola():
    loss_slice = square_slice(0.5)
    assert (loss_slice.start, loss_slice.end) == (1.0, 0.25)
    assert loss_slice.slope == pytest.approx(-1.0, rel=1e-4)
    assert loss_slice.lowest_position == 2.0
    assert loss_slice.step_ratio == 0.5
    assert loss_slice.losses == pytest.approx(
        [(1 - 0.5 * position) ** 2 for position in loss_slice.positions], abs=1e-6
    )


@pytest.mark.parametrize(
    ("end", "caption"),
    [
        (0.99, "Short: the loss still falls after 24 such steps."),
        (0.9, "Short: the lowest loss on this line is about 10 such steps away."),
        (0.2, "About right"),
        (-0.6, "A little too long"),
        (-1.5, "Overshot: the step raises the loss of these rows by 125%."),
        (1.1, "Uphill: the step raises the loss of these rows by 21%."),
        (1.001, "Almost level: the step raises the loss of these rows by 0.2%."),
        (1 - 1e-7, "Much too short: the step changes the weights by only 1e-07 of their norm."),
    ],
)
def test_caption_states_whether_the_step_was_right(end, caption):
    assert square_slice(end).describe().startswith(caption)


def test_caption_of_changes_below_float_precision_claims_nothing():
    flat = square_slice(0.99, scale=1e-7, offset=2.3)
    assert flat.describe().startswith("Flat: even 3 such steps change the loss by less than")


def test_caption_of_a_loss_far_above_its_initial_value_says_diverging():
    loss_slice = square_slice(0.2)
    assert loss_slice.describe(initial_loss=0.9).startswith("About right")
    assert loss_slice.describe(initial_loss=0.1).startswith("Diverging: the loss is 10 times")


def train(learning_rate, steps, optimizer=torch.optim.SGD):
    """Train a classifier on two noisy clusters and return the slice of its last step."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(256) % 2
    inputs = torch.randn(256, 2, generator=generator) + 2.0 * targets[:, None]
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    descent = optimizer(network.parameters(), lr=learning_rate)
    initial_loss = nn.functional.cross_entropy(network(inputs), targets).item()
    for _ in range(steps):
        rows = torch.randint(256, (32,), generator=generator)
        before = {name: value.detach().clone() for name, value in network.named_parameters()}
        descent.zero_grad()
        nn.functional.cross_entropy(network(inputs[rows]), targets[rows]).backward()
        descent.step()
    after = dict(network.named_parameters())
    loss_slice = compute_loss_slice(
        network,
        lambda outputs: nn.functional.cross_entropy(outputs, targets),
        inputs,
        before,
        after,
    )
    return loss_slice, initial_loss


@pytest.mark.parametrize("steps", range(1000, 1010))
def test_caption_of_a_healthy_converged_run_reports_no_problem(steps):
    loss_slice, initial_loss = train(0.05, steps)
    assert loss_slice.start < 0.5 * initial_loss
    caption = loss_slice.describe(initial_loss)
    assert not caption.startswith(("Uphill", "Overshot", "Diverging"))


@pytest.mark.parametrize("steps", range(5, 15))
def test_caption_of_a_diverged_run_says_so(steps):
    loss_slice, initial_loss = train(30.0, steps)
    assert loss_slice.start > 10 * initial_loss
    assert loss_slice.describe(initial_loss).startswith("Diverging")


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_caption_of_a_tiny_learning_rate_says_much_too_short(optimizer):
    loss_slice, initial_loss = train(1e-7, 5, optimizer)
    assert loss_slice.describe(initial_loss).startswith("Much too short")


def test_slice_reaches_only_as_far_as_the_loss_falls():
    assert square_slice(0.0).positions[-1] == 3.0
    assert square_slice(0.999).positions[-1] == 24.0


def test_slice_leaves_the_network_unchanged():
    network = nn.Linear(2, 1)
    start = {name: value.detach().clone() for name, value in network.named_parameters()}
    end = {name: value + 1 for name, value in start.items()}
    compute_loss_slice(
        network, lambda outputs: outputs.square().mean(), torch.ones(3, 2), start, end
    )
    for name, value in network.named_parameters():
        assert torch.equal(value, start[name])
        assert value.grad is None


def test_slice_of_a_large_network_has_fewer_points_and_the_same_slope(monkeypatch):
    fine = square_slice(0.5)
    monkeypatch.setattr(plots, "_LARGE", 0)
    coarse = square_slice(0.5)
    assert len(coarse.positions) < len(fine.positions) / 2
    assert set(coarse.positions) < set(fine.positions)
    assert (coarse.slope, coarse.start, coarse.end) == (fine.slope, fine.start, fine.end)
    assert coarse.describe() == fine.describe()


@pytest.mark.parametrize(
    ("scale", "offset"), [(1.0, 0.0), (1e-6, 2.3), (1e-7, 2.3), (1e-9, 2.3), (1e6, 0.0), (0.0, 0.0)]
)
def test_tick_labels_of_the_loss_are_unique(figures, scale, offset):
    loss_slice = square_slice(0.9, scale=scale, offset=offset)
    plot_loss_slice(loss_slice, 7, loss_slice.describe())
    for axis in (figures[0].axes[0].xaxis, figures[0].axes[0].yaxis):
        labels = [label.get_text() for label in axis.get_ticklabels()]
        assert len(labels) >= 3
        assert len(set(labels)) == len(labels)


def test_points_and_captions_are_where_the_values_say(figures):
    plot_loss_slice(square_slice(0.5), 7, "A caption.")
    (axes,) = figures[0].axes
    points = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert points["start of the step"] == [[0.0, 1.0]]
    assert points["end of the step"] == [[1.0, 0.25]]
    (x0, y0), (x1, y1) = points["slope at the start"]
    assert (y1 - y0) / (x1 - x0) == pytest.approx(-1.0, rel=1e-4)
    assert axes.get_title(loc="left") == "Loss along step 7"
    assert figures[0].texts[0].get_text() == "A caption."


def test_correct_predictions_are_blue_and_errors_orange():
    correct = plot_confusion(np.array([[9, 0], [0, 9]]), ["a", "b"], "test")
    wrong = plot_confusion(np.array([[0, 9], [9, 0]]), ["a", "b"], "test")
    assert count_pixels(correct, BLUE) > 1000
    assert count_pixels(correct, ORANGE) == 0
    assert count_pixels(wrong, ORANGE) > 1000
    assert count_pixels(wrong, BLUE) == 0


def test_confusion_caption_and_counts(figures):
    plot_confusion(np.array([[5, 1], [0, 4]]), ["no", "yes"], "validation")
    (figure,) = figures
    assert figure.texts[0].get_text() == "9 of 10 validation rows correct (90.0%)."
    assert {text.get_position(): text.get_text() for text in figure.axes[0].texts} == {
        (0, 0): "5", (1, 0): "1", (1, 1): "4"
    }  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        ["relax", "check the burner"],
        ["relax", "stir", "check the burner"],
        [str(number) for number in range(10)],
        [f"class number {number}" for number in range(10)],
        [f"kind {number} of thing" for number in range(20)],
        ["w" * 60, "i"],
    ],
)
def test_class_names_stay_inside_the_figure_and_clear_of_axis_labels(figures, names):
    plot_confusion(np.eye(len(names), dtype=int), names, "test")
    (figure,) = figures
    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    for axis in (axes.xaxis, axes.yaxis):
        label = axis.label.get_window_extent(renderer)
        for tick in axis.get_ticklabels():
            box = tick.get_window_extent(renderer)
            assert not box.overlaps(label)
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1
            assert box.y0 >= 0
        labels = [tick.get_text() for tick in axis.get_ticklabels()]
        assert [label[:20] for label in labels] == [name[:20] for name in names]


def test_names_with_formulas_or_unknown_letters_are_drawn_as_text():
    names = ["$x$ price", r"\frac{", "\u0378", "ünï²≥λ"]
    assert Image.open(BytesIO(plot_confusion(np.eye(4, dtype=int), names, "test"))).width > 500
    assert plots._clean("\u0378a\n") == "□a□"
    assert plots._clean("ünï²≥λ") == "ünï²≥λ"


def test_color_weights_are_drawn_in_their_colors():
    weights = np.zeros((1, 3, 4, 4))
    weights[0, 0] = 1  # red everywhere
    png = plot_weights(weights.reshape(1, -1), (3, 4, 4), "hidden_1")
    assert count_pixels(png, (255, 127, 127)) > 10_000


PLANE = np.stack([np.tile(np.linspace(0, 1, 8), (8, 1))] * 2, axis=-1)
POSITIONS = tuple(position / 2 for position in range(-2, 7))
PLOTS = {
    "flat slice": lambda: plot_loss_slice(
        LossSlice(POSITIONS, (1.0,) * len(POSITIONS), 1.0, 1.0), 7, "Flat."
    ),
    "empty class": lambda: plot_confusion(np.array([[0, 0], [1, 4]]), ["no", "yes"], "test"),
    "weights": lambda: plot_weights(np.linspace(-1, 1, 7 * 6).reshape(7, 6), (2, 3), "hidden_1"),
    "two channels": lambda: plot_weights(
        np.linspace(-1, 1, 7 * 12).reshape(7, 12), (2, 2, 3), "hidden_1"
    ),
    "zero weights": lambda: plot_weights(np.zeros((1, 6)), (2, 3), "hidden_1"),
    "boundary": lambda: plot_boundary(
        PLANE, (0, 1, 0, 1), np.random.rand(9, 2), np.arange(9) % 2, ["a", "b"], ["x", "y"]
    ),
}


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_a_png_that_shows_something(name):
    image = Image.open(BytesIO(PLOTS[name]()))
    assert image.format == "PNG"
    assert image.width >= 500
    assert image.height >= 400
    assert len(np.unique(np.asarray(image))) > 10
