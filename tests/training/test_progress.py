import io
import math
import re

import pytest
from rich.console import Console

from brainnet.training import progress
from brainnet.training.progress import Progress, _duration


def test_plain_lines_thin_out(start, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", math.inf)  # however slow the machine
    start(progress=True, trainer={"max_epochs": 13})
    lines = capsys.readouterr().out.splitlines()
    epochs = [line.split()[1] for line in lines]
    assert epochs == ["1/13", "2/13", "5/13", "10/13", "13/13"]
    assert "step 91/91" in lines[-1]
    for word in ("loss", "validation", "accuracy", "steps/s", "left"):
        assert word in lines[-1]


def test_silence_is_silent(start, capfd):
    start(progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_gets_one_live_line_and_its_cursor_back(start, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_DRAWINGS", 0.0)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160, color_system=None)
    start(callbacks=[Progress(console)])
    drawn = screen.getvalue()
    assert "epoch 2/2" in drawn
    assert "step 14/14" in drawn
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


def test_a_terminal_gets_its_cursor_back_also_after_a_failure(start):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160, color_system=None)

    class Bug(Progress):
        def on_train_epoch_end(self, trainer, pl_module):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start(callbacks=[Bug(console)])
    drawn = screen.getvalue()
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


def test_durations_read_as_people_say_them():
    assert [_duration(s) for s in (0.4, 59.4, 60, 3599, 3600, 36061)] == [
        "0 s",
        "59 s",
        "1:00",
        "59:59",
        "1:00:00",
        "10:01:01",
    ]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_in_little_room_the_epoch_the_step_and_the_time_left_survive(start, monkeypatch, width):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_DRAWINGS", 0.0)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    start(callbacks=[Progress(console)])
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    last = [line for line in re.split(r"[\r\n]+", plain) if "step 14/14" in line][-1]
    assert "epoch 2/2" in last
    assert last.rstrip().endswith("left")
    assert len(last.rstrip()) <= width
