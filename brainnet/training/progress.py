"""Progress: how far a run has come, as a live line on a terminal and as plain lines elsewhere."""

import math
import sys
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

from brainnet.observation.schedule import is_round_step

# A drawing of the bar costs as much as ten steps of a small network.
_SECONDS_BETWEEN_DRAWINGS = 0.25

_SECONDS_BETWEEN_LINES = 10.0

_BAR, _WIDTH_WITH_BAR = 20, 80


class Progress(Callback):
    """Shows epoch, steps, losses, validation score, speed and time left.

    On a terminal (standard error) one live line, drawn four times a second. Elsewhere lines on
    standard output: after epochs 1, 2, 5, 10, 20, 50, … and the last, and every ten seconds.

    Args:
        console: where to draw; standard error unless given.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._start = self._last = 0.0
        self._first_step = 0
        self._steps: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and the bar."""
        self._start = self._last = time.monotonic()
        self._first_step = trainer.global_step
        total = trainer.estimated_stepping_batches
        self._steps = int(total) if math.isfinite(total) and total > 0 else None
        if self._console.is_terminal and trainer.is_global_zero:
            # Without colours rich draws what is left of a bar, and all of an empty one, as spaces.
            has_room = self._console.width >= _WIDTH_WITH_BAR and not self._console.no_color
            self._bar = Bar(
                *([BarColumn(bar_width=_BAR)] if has_room else []),
                TextColumn("{task.description}", table_column=Column(no_wrap=True)),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._task = self._bar.add_task("", total=self._steps)
            self._bar.start()
            self._draw(trainer, pl_module)

    def needs_step(self, step: int) -> bool:
        """Whether it is time to draw."""
        due = time.monotonic() - self._last >= _SECONDS_BETWEEN_DRAWINGS
        return self._bar is not None and due

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Draw, where it is time to."""
        if self.needs_step(trainer.global_step):
            self._draw(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print a line, where there is no terminal and it is time to."""
        if self._bar is not None or not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch + 1
        waited = time.monotonic() - self._last >= _SECONDS_BETWEEN_LINES
        if is_round_step(epoch) or waited or epoch == trainer.max_epochs:
            self._last = time.monotonic()
            sys.stdout.write(f"{self._told(trainer, pl_module)}\n")
            sys.stdout.flush()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        self._stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Take the bar away, or the terminal would stay without its cursor."""
        self._stop()

    def _draw(self, trainer: Trainer, module: LightningModule) -> None:
        assert self._bar is not None, "drawn only where there is a bar"
        self._bar.update(
            self._task,
            completed=trainer.global_step,
            description=self._told(trainer, module, self._room()),
        )
        self._bar.refresh()
        self._last = time.monotonic()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _room(self) -> int:
        """Columns for the text beside the bar."""
        bar = self._bar is not None and len(self._bar.columns) > 1
        return self._console.width - (_BAR + 1 if bar else 0) - 1

    def _told(self, trainer: Trainer, module: LightningModule, room: int | None = None) -> str:
        """Everything in one line; in little room without what matters least."""
        steps, epoch = trainer.global_step, trainer.current_epoch + 1
        seconds = time.monotonic() - self._start
        speed = (steps - self._first_step) / seconds if seconds > 0 else 0.0
        parts = {
            "epoch": f"epoch {epoch}{_of(trainer.max_epochs)}",
            "step": f"step {steps:,}{_of(self._steps)}",
            **_curves(getattr(module, "curves", {})),
        }
        if speed > 0:
            parts["speed"] = f"{speed:,.0f} steps/s" if speed >= 10 else f"{speed:.2g} steps/s"
            if self._steps is not None:
                parts["left"] = f"{_duration(max(0, self._steps - steps) / speed)} left"
        for least in ("speed", "score", "validation", "train", "epoch", "step"):
            if room is not None and len("  ".join(parts.values())) > room:
                parts.pop(least, None)
        return "  ".join(parts.values())


def _curves(curves: dict[str, Any]) -> dict[str, str]:
    named = (
        ("train", "loss/train", "loss {:.4g}"),
        ("validation", "loss/validation", "validation {:.4g}"),
        ("score", "accuracy/validation", "accuracy {:.1%}"),
        ("score", "r2/validation", "R² {:.3f}"),
    )
    return {what: text.format(curves[tag]) for what, tag, text in named if tag in curves}


def _of(total: int | None) -> str:
    return f"/{total:,}" if total is not None and total > 0 else ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"
