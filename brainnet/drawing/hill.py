"""Hill: the loss along the step just taken, drawn."""

from textwrap import wrap

from brainnet.drawing.colours import BLUE, ORANGE
from brainnet.drawing.paper import CAPTION_COLUMNS, INK, QUIET, WIDTH, Paper, Picture, box_at
from brainnet.observation.hill import Hill


def draw_hill(hill: Hill, step: int) -> Picture:
    """The loss along a step: where it began, the slope there, and where it ended."""
    paper = Paper(box_at(0.19, 0.25, 0.77, 0.65))
    low, high = min(hill.losses), max(hill.losses)
    room = 0.1 * (high - low) or 0.05 * abs(high) or 1.0
    first, last = hill.positions[0], hill.positions[-1]
    margin = 0.05 * (last - first)
    paper.spans((first - margin, last + margin), (low - room, high + room))
    paper.title(f"The hill under step {step}")
    paper.scales()
    slope = [(0.0, hill.start), (last, hill.start + hill.slope * last)]
    paper.line(slope, QUIET, 2, dashed=True)
    paper.line(list(zip(hill.positions, hill.losses, strict=True)), INK, 3, dashed=False)
    paper.dot(0.0, hill.start, ORANGE, 7.5)
    paper.dot(1.0, hill.end, BLUE, 7.5)
    paper.axis_names("how far, in lengths of this step", "loss", 0.145 * WIDTH)
    paper.legend(
        [
            ("slope at the start", QUIET, 0),
            ("start of the step", ORANGE, 7.5),
            ("its end", BLUE, 7.5),
        ]
    )
    paper.caption(wrap(hill.verdict, CAPTION_COLUMNS))
    return paper.picture()
