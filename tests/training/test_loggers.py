import csv
import io
import math
import re
from contextlib import closing

import pytest
from lightning.pytorch.loggers import CSVLogger, Logger
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from brainnet.training import loggers
from brainnet.training.checkpoint import RunWriteError
from brainnet.training.loggers import Progress, RunLogger, start_loggers
from brainnet.training.run_directory import RunDirectory
from brainnet.training.trainer import quiet


def read(folder):
    return EventAccumulator(str(folder)).Reload()


def test_a_resumed_run_discards_points_after_its_checkpoint(tmp_path):
    for first_step, value in ((None, 1.0), (20, 2.0)):
        with closing(RunLogger(RunDirectory(tmp_path), first_step)) as curves:
            for step in range(10 if first_step is None else first_step, 50, 10):
                curves.log_metrics({"loss/train": value}, step)
    points = read(tmp_path).Scalars("loss/train")
    assert [(point.step, point.value) for point in points] == [
        (10, 1.0),
        (20, 2.0),
        (30, 2.0),
        (40, 2.0),
    ]


def test_other_callbacks_write_to_the_same_file(tmp_path):
    with closing(RunLogger(RunDirectory(tmp_path))) as curves:
        curves.log_metrics({"loss/train": 1.0}, 0)
        curves.experiment.add_scalar("theirs", 0.5, 1)
        curves.log_metrics({"loss/train": 0.5}, 2)
    assert len(list(tmp_path.glob("events*"))) == 1
    assert {"loss/train", "theirs"} <= set(read(tmp_path).Tags()["scalars"])


def test_an_error_at_the_end_does_not_hide_an_earlier_one(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", refuse)
    with (
        pytest.raises(RunWriteError, match="Input/output error"),
        closing(RunLogger(RunDirectory(tmp_path))) as curves,
    ):
        curves.log_metrics({"loss/train": 1.0}, 0)
    curves = RunLogger(RunDirectory(tmp_path))
    curves.log_metrics({"loss/train": 1.0}, 1)
    curves.close(ZeroDivisionError)


def read_csv(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def logger_in(folder):
    return CSVLogger(folder, name="", version="")


def log_points(folder, first_step=None, **points):
    logger = logger_in(folder)
    start_loggers([logger], {}, first_step)
    for step in points.pop("steps"):
        logger.log_metrics(points, step)
    logger.save()


def test_a_resumed_run_continues_its_csv_file(tmp_path):
    log_points(tmp_path, steps=[0, 7, 14], loss=1.0)
    log_points(tmp_path, first_step=8, steps=[14, 21], loss=0.5)
    assert [(row["step"], row["loss"]) for row in read_csv(tmp_path)] == [
        ("0", "1.0"),
        ("7", "1.0"),
        ("14", "0.5"),
        ("21", "0.5"),
    ]


def test_new_columns_keep_old_rows(tmp_path):
    log_points(tmp_path, steps=[0], loss=1.0)
    log_points(tmp_path, first_step=1, steps=[7], loss=0.5, accuracy=0.9)
    assert read_csv(tmp_path) == [
        {"accuracy": "", "loss": "1.0", "step": "0"},
        {"accuracy": "0.9", "loss": "0.5", "step": "7"},
    ]


def test_overwriting_another_csv_file_warns(tmp_path):
    log_points(tmp_path, steps=[0], loss=1.0)
    with quiet(), pytest.warns(UserWarning, match="exists and is not empty"):
        log_points(tmp_path, steps=[7], loss=0.5)
    assert [row["step"] for row in read_csv(tmp_path)] == ["7"]


def test_other_files_in_the_folder_cause_no_warning(tmp_path):
    (tmp_path / "config.yaml").write_text("name: moons")
    log_points(tmp_path, steps=[0], loss=1.0)
    assert len(read_csv(tmp_path)) == 1


def test_an_interrupted_run_has_the_csv_file_of_a_whole_one(start, tmp_path):
    whole = start(
        folder=tmp_path / "whole",
        trainer={"max_epochs": 4},
        loggers=[logger_in(tmp_path / "whole")],
    )
    first = start(folder=tmp_path / "parts", loggers=[logger_in(tmp_path / "parts")])
    start(
        resume=first.folder,
        trainer={"max_epochs": 4},
        loggers=[logger_in(tmp_path / "parts")],
    )
    steps = [row["step"] for row in read_csv(first.folder) if row["loss/validation"]]
    assert steps == ["0", "7", "14", "21", "28"]
    assert [row for row in read_csv(first.folder) if row["loss/train"]] == [
        row for row in read_csv(whole.folder) if row["loss/train"]
    ]


class ConfigLogger(Logger):
    """Keeps the configuration."""

    name = version = "logger"

    def __init__(self):
        super().__init__()
        self.config = None

    def log_hyperparams(self, params, *args, **kwargs):
        self.config = params

    def log_metrics(self, metrics, step=None):
        pass


def test_loggers_receive_the_configuration(start, tmp_path):
    logger = ConfigLogger()
    start(loggers=[logger], config={"network": {"hidden": (8,)}, "paths": tmp_path})
    assert logger.config == {"network": {"hidden": [8]}, "paths": str(tmp_path)}


def test_plain_lines_are_printed_at_growing_intervals(start, capsys, monkeypatch):
    monkeypatch.setattr(loggers, "_LINE_SECONDS", math.inf)  # however slow the machine
    start(progress=True, trainer={"max_epochs": 13})
    lines = capsys.readouterr().out.splitlines()
    epochs = [line.split()[1] for line in lines]
    assert epochs == ["1/13", "2/13", "5/13", "10/13", "13/13"]
    assert "step 91/91" in lines[-1]
    for word in ("loss", "validation", "accuracy", "steps/s", "left"):
        assert word in lines[-1]


def test_nothing_is_printed_without_progress(start, capfd):
    start(progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_one_live_line(start, monkeypatch):
    monkeypatch.setattr(loggers, "_DRAW_SECONDS", 0.0)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160, color_system=None)
    start(callbacks=[Progress(console)])
    drawn = screen.getvalue()
    assert "epoch 2/2" in drawn
    assert "step 14/14" in drawn
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


def test_the_cursor_is_restored_after_a_failure(start):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160, color_system=None)

    class Bug(Progress):
        def on_train_epoch_end(self, trainer, pl_module):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start(callbacks=[Bug(console)])
    drawn = screen.getvalue()
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


@pytest.mark.parametrize("width", [40, 60, 80])
def test_the_line_fits_a_narrow_terminal(start, monkeypatch, width):
    monkeypatch.setattr(loggers, "_DRAW_SECONDS", 0.0)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    start(callbacks=[Progress(console)])
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    last = [line for line in re.split(r"[\r\n]+", plain) if "step 14/14" in line][-1]
    assert "epoch 2/2" in last
    assert len(last.rstrip()) <= width
