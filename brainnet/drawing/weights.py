"""Weights: what each neuron of the first layer looks for, drawn as the picture that it looks at."""

from textwrap import wrap

import numpy as np

from brainnet.drawing.colours import BLUE, ORANGE, Numbers, rgb, tint
from brainnet.drawing.paper import CAPTION_COLUMNS, GAP, Paper, Picture, box_at


def draw_weights(
    weights: Numbers, shape: tuple[int, int] | tuple[int, int, int], place: str
) -> Picture:
    """Each neuron's weights laid out as the picture that it looks at.

    Args:
        weights: (neurons, inputs).
        shape: (height, width) of the pictures that are the inputs, or (3, height, width) of
            coloured ones: their weights are shown as colours, grey where there is none.
        place: the layer's name.
    """
    shown = weights[: 10 * 10].reshape(-1, *shape)
    largest = max(float(np.abs(weights).max()), 1e-12)
    coloured = len(shape) == 3 and shape[0] == 3
    if coloured:
        channels = [_tiled(shown[:, channel]) for channel in range(3)]
        colours = 0.5 + 0.5 * np.stack(channels, axis=-1) / largest
        gap = np.isnan(channels[0])
        meaning = "Bright draws it on, dark holds it back."
    else:
        tiles = _tiled(shown.reshape(-1, *shape[-2:]))
        strength, gap = np.nan_to_num(tiles) / largest, np.isnan(tiles)
        on = (tiles > 0)[..., None]
        colours = np.where(on, tint(strength, BLUE), tint(-strength, ORANGE))
        meaning = "Blue draws it on, orange holds it back."
    more = "" if len(shown) == len(weights) else f" (the first {len(shown)} of {len(weights)})"
    sheet = np.where(gap[..., None], np.array(rgb(GAP)), colours)
    caption = wrap(f"A square a neuron{more}. {meaning}", CAPTION_COLUMNS)
    foot = 0.11 + 0.05 * (len(caption) - 1)
    left, top, right, bottom = box_at(0.03, foot, 0.94, 0.89 - foot)
    size = min((right - left) / sheet.shape[1], (bottom - top) / sheet.shape[0])
    left += (right - left - size * sheet.shape[1]) / 2
    paper = Paper((left, top, left + size * sheet.shape[1], top + size * sheet.shape[0]))
    paper.colours(sheet)
    paper.title(f"What {place} looks for")
    paper.caption(caption)
    return paper.picture()


def _tiled(tiles: Numbers) -> Numbers:
    """Pictures side by side with a gap of one pixel, NaN, between them."""
    number, height, width = tiles.shape
    columns = int(np.ceil(np.sqrt(number * 1.35 * height / width)))
    rows = int(np.ceil(number / columns))
    sheet = np.full((rows, columns, height + 1, width + 1), np.nan)
    sheet.reshape(-1, height + 1, width + 1)[:number, :height, :width] = tiles
    return sheet.transpose(0, 2, 1, 3).reshape(rows * (height + 1), columns * (width + 1))
