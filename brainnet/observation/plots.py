"""Plots for TensorBoard as PNG files: weights, decision boundary, confusion matrix, loss slice."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from textwrap import fill
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

_Floats = NDArray[np.floating[Any]]
_Integers = NDArray[np.integer[Any]]

# The palette of Okabe and Ito (2008), which color-blind readers can tell apart.
_BLUE, _ORANGE, _GREEN = "#0072b2", "#d55e00", "#009e73"
_CLASS_COLORS = (_BLUE, _ORANGE, _GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#555555")
_TEXT, _GRAY, _GAP = "#1f2933", "#7b8794", "#cbd2d9"
_WIDTH, _HEIGHT, _DPI = 5.2, 4.4, 100  # inches, and pixels per inch
_MAX_NEURONS = 100
_MAX_NAME = 24
_NEAR, _FAR = 3.0, 24.0  # how far the slice looks ahead, in lengths of the step
_POINTS_AHEAD, _POINTS_BEHIND = 36, 12
_LARGE, _STRIDE = 2**20, 3  # with more parameters than this, only every third point is measured

_thread = threading.local()

# Below this ratio of the step to the weights, a step does not change what the network computes.
_NEGLIGIBLE_STEP = 1e-5


@dataclass(frozen=True, slots=True)
class LossSlice:
    """Loss along the line through the parameters before and after a step.

    Positions are in lengths of the step: 0 is its start, 1 its end. `step_ratio` is its length
    relative to the norm of the parameters before it.
    """

    positions: tuple[float, ...]
    losses: tuple[float, ...]
    start: float
    end: float
    step_ratio: float = math.inf

    @property
    def slope(self) -> float:
        """Slope at the start, in loss per length of the step."""
        # The central difference of the nearest points whose losses differ by more than rounding.
        middle = self.positions.index(0.0)
        for distance in range(1, middle + 1):
            before, after = middle - distance, middle + distance
            rise = self.losses[after] - self.losses[before]
            if abs(rise) > self.resolution:
                return rise / (self.positions[after] - self.positions[before])
        return 0.0

    @property
    def lowest_position(self) -> float:
        """Position of the lowest loss."""
        lowest: float = self.positions[int(np.argmin(self.losses))]
        return lowest

    @property
    def is_finite(self) -> bool:
        """Whether all losses are finite."""
        return all(map(math.isfinite, (*self.losses, self.start, self.end)))

    @property
    def resolution(self) -> float:
        """Smallest difference of losses that is not rounding error of float32."""
        # Third differences remove the smooth curve and leave the rounding error, with a standard
        # deviation that is larger by sqrt(20).
        noise = float(np.median(np.abs(np.diff(self.losses, 3)))) / math.sqrt(20)
        return 4 * max(noise, float(np.finfo(np.float32).eps) * abs(self.start))

    def describe(self, initial_loss: float | None = None) -> str:
        """Return whether the step had the right length, given the loss before training."""
        if initial_loss is not None and 0 < 1.5 * initial_loss < self.start:
            ratio = f"{self.start / initial_loss:.3g} times its initial value"
            return f"Diverging: the loss is {ratio}. Reduce the learning rate."
        if self.step_ratio < _NEGLIGIBLE_STEP:
            change = f"{self.step_ratio:.1g} of their norm"
            return f"Much too short: the step changes the weights by only {change}."
        reach, lowest = self.positions[-1], self.lowest_position
        if max(self.losses) - min(self.losses) <= self.resolution:
            return f"Flat: even {reach:.0f} such steps change the loss by less than rounding error."
        if self.end > self.start + self.resolution:
            rise = (self.end - self.start) / max(abs(self.start), 1e-12)
            verdict = "Uphill" if self.slope >= 0 else "Overshot"
            # Near a minimum, the gradients of batches point in different directions.
            verdict = "Almost level" if rise <= 0.05 else verdict
            return f"{verdict}: the step raises the loss of these rows by {100 * rise:.3g}%."
        if lowest < 0.75:
            return "A little too long: the lowest loss on this line lies before its end."
        if lowest <= 2:
            return "About right: the step ends near the lowest loss on this line."
        if lowest < reach:
            return f"Short: the lowest loss on this line is about {lowest:.0f} such steps away."
        return f"Short: the loss still falls after {reach:.0f} such steps."


@torch.no_grad()
def compute_loss_slice(
    network: nn.Module,
    criterion: Callable[[Tensor], Tensor],
    inputs: Tensor,
    start: Mapping[str, Tensor],
    end: Mapping[str, Tensor],
) -> LossSlice:
    """Measure the loss along a line through two states of a network, without changing it.

    The slice looks three lengths of the step ahead or, if the loss still falls there, up to 24.
    """
    parameters = {name: torch.empty_like(value) for name, value in start.items()}

    def compute_loss(position: float) -> float:
        for name, value in parameters.items():
            torch.lerp(start[name], end[name], position, out=value)
        return float(criterion(functional_call(network, parameters, inputs)))

    reach, lowest = _NEAR, compute_loss(1.0)
    while reach < _FAR and (ahead := compute_loss(reach)) < lowest:
        reach, lowest = 2 * reach, ahead
    stride = _STRIDE if sum(value.numel() for value in start.values()) > _LARGE else 1
    # Both neighbors of 0 are always measured, for the slope.
    points = {-1, 1, *range(-_POINTS_BEHIND, _POINTS_AHEAD + 1, stride)}
    positions = tuple(reach * point / _POINTS_AHEAD for point in sorted(points))
    losses = tuple(compute_loss(position) for position in positions)
    changes = torch.cat([(end[name] - start[name]).flatten().float() for name in start])
    norm = torch.cat([value.flatten().float() for value in start.values()]).norm()
    step_ratio = float(changes.norm() / norm) if norm else math.inf
    return LossSlice(positions, losses, losses[positions.index(0.0)], compute_loss(1.0), step_ratio)


def plot_loss_slice(loss_slice: LossSlice, step: int, caption: str) -> bytes:
    """Plot the loss along a step, which must be finite."""
    figure, axes = _create_figure(f"Loss along step {step}", caption)
    low, high = min(loss_slice.losses), max(loss_slice.losses)
    # The floor keeps rounding errors from looking like hills.
    margin = max(0.1 * (high - low), 5 * loss_slice.resolution, 1e-12)
    last = loss_slice.positions[-1]
    tangent = loss_slice.start + loss_slice.slope * last
    axes.plot([0, last], [loss_slice.start, tangent], "--", color=_GRAY, label="slope at the start")
    axes.plot(loss_slice.positions, loss_slice.losses, color=_TEXT, linewidth=2)
    axes.plot(0, loss_slice.start, "o", color=_ORANGE, markersize=9, label="start of the step")
    axes.plot(1, loss_slice.end, "o", color=_BLUE, markersize=9, label="end of the step")
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel("distance in lengths of this step")
    axes.set_ylabel("loss")
    axes.legend(fontsize=9, framealpha=0.9)
    return _to_png(figure)


def plot_boundary(
    probabilities: _Floats,
    extent: tuple[float, float, float, float],
    points: _Floats,
    classes: _Integers,
    class_names: Sequence[str],
    input_names: Sequence[str],
) -> bytes:
    """Plot predictions, (height, width, classes) from the bottom row up, with the rows on top.

    `extent` is left, right, bottom and top in the units of the points, (rows, 2).
    """
    figure, axes = _create_figure("Predicted class at every point", bottom=0.12)
    colors = [_CLASS_COLORS[index % len(_CLASS_COLORS)] for index in range(len(class_names))]
    palette = np.array([_to_rgb(color) for color in colors])
    # Mixed with white, so that the rows stand out.
    plane = 1 - (1 - probabilities @ palette) * 0.45
    axes.imshow(
        plane.clip(0, 1), origin="lower", extent=extent, aspect="auto", interpolation="bilinear"
    )
    for index, (name, color) in enumerate(zip(class_names, colors, strict=True)):
        style = {"color": color, "edgecolors": "white", "linewidths": 0.6, "s": 26}
        axes.scatter(*points[classes == index].T, label=_clean(name), **style)
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.set_xlabel(_clean(input_names[0]))
    axes.set_ylabel(_clean(input_names[1]))
    axes.legend(fontsize=9, framealpha=0.9, loc="upper right")
    return _to_png(figure)


def plot_confusion(counts: _Integers, class_names: Sequence[str], data: str) -> bytes:
    """Plot the number of rows of each true class (down) with each predicted class (across)."""
    correct, total, classes = int(np.trace(counts)), int(counts.sum()), len(counts)
    caption = f"{correct} of {total} {data} rows correct ({correct / max(total, 1):.1%})."
    names = [_clean(name) for name in class_names]
    size = 10 if classes <= 12 else 7
    width = max(_measure(name, size) for name in names)
    rotation = 0 if width * classes <= 0.6 else (35 if classes <= 12 else 90)
    height = width * 1.2 * math.sin(math.radians(rotation))
    figure, axes = _create_figure("Confusion matrix", caption, 0.09 + width, 0.17 + height)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    is_correct = np.eye(classes, dtype=bool)[..., None]
    # Errors are few, and the square root makes them visible.
    axes.imshow(np.where(is_correct, _tint(share, _BLUE), _tint(np.sqrt(share), _ORANGE)))
    for truth, prediction in zip(*np.nonzero(counts), strict=True):
        color = "white" if share[truth, prediction] > 0.5 else _TEXT
        text = str(counts[truth, prediction])
        style = {"color": color, "size": size, "ha": "center", "va": "center"}
        axes.text(prediction, truth, text, **style)
    style = {"rotation": rotation, "ha": "right", "rotation_mode": "anchor"} if rotation else {}
    if rotation == 90:
        style["va"] = "center"
    axes.set_xticks(range(classes), names, size=size, **style)
    axes.set_yticks(range(classes), names, size=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return _to_png(figure)


def plot_weights(
    weights: _Floats, shape: tuple[int, int] | tuple[int, int, int], layer: str
) -> bytes:
    """Plot the weights of each neuron, (neurons, inputs), in the shape of the input images."""
    images = weights[:_MAX_NEURONS].reshape(-1, *shape)
    largest = max(float(np.abs(weights).max()), 1e-12)
    # Three channels are colors, with gray as zero.
    if len(shape) == 3 and shape[0] == 3:
        channels = [_tile(images[:, channel]) for channel in range(3)]
        is_gap = np.isnan(channels[0])
        colors = 0.5 + 0.5 * np.stack(channels, axis=-1) / largest
        meaning = "Bright: positive weights. Dark: negative weights."
    else:
        tiles = _tile(images.reshape(-1, *shape[-2:]))
        is_gap, strength = np.isnan(tiles), np.nan_to_num(tiles) / largest
        is_positive = (strength > 0)[..., None]
        colors = np.where(is_positive, _tint(strength, _BLUE), _tint(-strength, _ORANGE))
        meaning = "Blue: positive weights. Orange: negative weights."
    count = f" ({len(images)} of {len(weights)})" if len(images) < len(weights) else ""
    caption = f"One image per neuron{count}. {meaning}"
    figure, axes = _create_figure(f"Weights of {_clean(layer)}", caption, 0.03, 0.12)
    axes.imshow(np.where(is_gap[..., None], _to_rgb(_GAP), colors).clip(0, 1))
    axes.axis("off")
    return _to_png(figure)


def _tile(images: _Floats) -> _Floats:
    """Arrange images (images, height, width) on a grid, with one pixel of NaN between them."""
    count, height, width = images.shape
    columns = math.ceil(math.sqrt(count * 1.35 * height / width))
    rows = math.ceil(count / columns)
    grid = np.full((rows, columns, height + 1, width + 1), np.nan)
    grid.reshape(-1, height + 1, width + 1)[:count, :height, :width] = images
    return grid.transpose(0, 2, 1, 3).reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]


def _create_figure(
    title: str, caption: str = "", left: float = 0.14, bottom: float = 0.2
) -> tuple[Any, Any]:
    """Empty the figure of this thread and add one pair of axes with fixed margins."""
    # Imported here because many runs draw nothing.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Without pyplot, whose state belongs to the user. A figure that is used again knows the sizes
    # of most texts, and automatic layouts would take a third of the time of a plot.
    if not hasattr(_thread, "figure"):
        _thread.figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI)
        FigureCanvasAgg(_thread.figure)
    figure = _thread.figure
    # `clear` would also create new ticks for the old axes.
    for artist in (*figure.axes, *figure.texts):
        artist.remove()
    axes = figure.add_axes((left, bottom, 0.97 - left, 0.91 - bottom))
    # With a position, Matplotlib does not search for one.
    axes.set_title(title, loc="left", size=12, weight="bold", y=1.01)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=_TEXT)
    # Texts take most of the time of a plot.
    axes.locator_params(nbins=5)
    figure.text(0.03, 0.02, fill(caption, 76), size=9.5, va="bottom")
    return figure, axes


def _to_png(figure: Any) -> bytes:
    file = BytesIO()
    # Unlike `savefig`, this draws the figure only once.
    figure.canvas.print_png(file, pil_kwargs={"compress_level": 1})
    return file.getvalue()


def _to_rgb(color: str) -> _Floats:
    return np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)]) / 255


def _tint(strength: _Floats, color: str) -> _Floats:
    """Colors (…, 3) between white at strength 0 and the color at strength 1."""
    tinted: _Floats = 1 - np.clip(strength, 0, 1)[..., None] * (1 - _to_rgb(color))
    return tinted


def _get_font() -> Any:
    from matplotlib.font_manager import findfont, get_font

    return get_font(findfont("DejaVu Sans"))


def _measure(text: str, size: float) -> float:
    """Width of a text relative to the figure."""
    font = _get_font()
    font.set_size(size, _DPI)
    font.set_text(text)
    return float(font.get_width_height()[0] / 64 / _DPI / _WIDTH)


def _clean(name: str) -> str:
    """Shorten a name, and replace what Matplotlib cannot draw or would read as a formula."""
    font = _get_font()
    short = name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1].rstrip()}…"
    drawn = "".join(letter if font.get_char_index(ord(letter)) else "□" for letter in short)
    return drawn.replace("$", r"\$")
