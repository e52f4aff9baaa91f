"""What `brainnet evaluate` says: how good the answers are, and which class was taken for which."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from brainnet.answering.evaluation import Evaluation
from brainnet.figures import figure

MOST_CLASSES = 12  # that fit beside each other
MISTAKES = 10  # named of more classes
WIDEST = 16  # letters of a class in the table


@dataclass(frozen=True, slots=True)
class Judgement:
    """An evaluation with what its rows and classes are called.

    Attributes:
        evaluation: what came of it.
        rows: which rows it was judged by, as a sentence ends: "test rows of iris".
        class_names: what each class is called; empty for a regression.
    """

    evaluation: Evaluation
    rows: str
    class_names: tuple[str, ...]

    def told(self) -> str:
        """For people: the figures, then which class was taken for which."""
        metrics = sorted(self.evaluation.metrics.items())
        lines = [f"{tag:<15}{value:.4g}" for tag, value in metrics]
        errors = self.evaluation.errors.items()
        lines += [f"{'off by':<15}{figure(value)} on average in {name}" for name, value in errors]
        lines += [
            f"{'judged by':<15}{len(self.evaluation.truths):,} {self.rows}",
            f"{'checkpoint':<15}{self.evaluation.checkpoint}",
        ]
        confusion = self.evaluation.confusion
        if confusion is not None:
            lines += ["", *confused(confusion, self.class_names)]
        return "\n".join(lines) + "\n"

    def as_json(self) -> str:
        """For programs: one JSON object, on a line."""
        confusion = self.evaluation.confusion
        told = {
            "metrics": self.evaluation.metrics,
            "mean_absolute_errors": self.evaluation.errors,
            "rows": len(self.evaluation.truths),
            "judged_by": self.rows,
            "checkpoint": str(self.evaluation.checkpoint),
            "classes": list(self.class_names),
            "confusion": None if confusion is None else confusion.tolist(),
        }
        return json.dumps(told, ensure_ascii=False) + "\n"


def confused(confusion: Tensor, names: Sequence[str]) -> list[str]:
    """Lines that say how many rows of each class got which answer.

    Args:
        confusion: rows of each class (row) by the answer they got (column), (classes, classes).
        names: of the classes.
    """
    counts: list[list[int]] = confusion.tolist()
    if len(names) > MOST_CLASSES:
        return mistakes(counts, names)
    shown = [name if len(name) <= WIDEST else f"{name[: WIDEST - 1]}…" for name in names]
    first = max(map(len, [*shown, "class"]))
    widths = [
        max(len(name), *(len(f"{row[place]:,}") for row in counts))
        for place, name in enumerate(shown)
    ]
    header = "  ".join(f"{name:>{width}}" for name, width in zip(shown, widths, strict=True))
    lines = ["rows of each class, by the answer they got", f"{'':<{first}}  {header}"]
    for name, row in zip(shown, counts, strict=True):
        told = (f"{count:,}" if count else "·" for count in row)
        cells = (f"{cell:>{width}}" for cell, width in zip(told, widths, strict=True))
        lines.append(f"{name:<{first}}  {'  '.join(cells)}".rstrip())
    return lines


def mistakes(counts: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    """Lines with the most frequent mistakes, for more classes than fit into a table."""
    wrong = sorted(
        (-count, row, column)
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
        if count and row != column
    )
    if not wrong:
        return ["no row got a wrong answer"]
    told = [
        f"{-count:>7,}  {names[row]} taken for {names[column]}"
        for count, row, column in wrong[:MISTAKES]
    ]
    more = len(wrong) - MISTAKES
    return ["the most frequent mistakes", *told, *([f"{'':>7}  and {more} more"] * (more > 0))]
