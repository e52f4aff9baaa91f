import csv

import pytest
from lightning.pytorch.loggers import CSVLogger, Logger

from brainnet.training.loggers import open_tables
from brainnet.training.trainer import quiet


def table(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def logger_in(folder):
    return CSVLogger(folder, name="", version="")


def logged(folder, first_step=None, **points):
    logger = logger_in(folder)
    open_tables([logger], first_step)
    for step in points.pop("steps"):
        logger.log_metrics(points, step)
    logger.save()


def test_a_resumed_run_goes_on_in_its_table(tmp_path):
    logged(tmp_path, steps=[0, 7, 14], loss=1.0)
    logged(tmp_path, first_step=8, steps=[14, 21], loss=0.5)
    assert [(row["step"], row["loss"]) for row in table(tmp_path)] == [
        ("0", "1.0"),
        ("7", "1.0"),
        ("14", "0.5"),
        ("21", "0.5"),
    ]


def test_a_new_column_leaves_the_old_ones(tmp_path):
    logged(tmp_path, steps=[0], loss=1.0)
    logged(tmp_path, first_step=1, steps=[7], loss=0.5, accuracy=0.9)
    assert table(tmp_path) == [
        {"accuracy": "", "loss": "1.0", "step": "0"},
        {"accuracy": "0.9", "loss": "0.5", "step": "7"},
    ]


def test_a_table_of_another_run_is_written_over_with_lightnings_warning(tmp_path):
    logged(tmp_path, steps=[0], loss=1.0)
    with quiet(), pytest.warns(UserWarning, match="exists and is not empty"):
        logged(tmp_path, steps=[7], loss=0.5)
    assert [row["step"] for row in table(tmp_path)] == ["7"]


def test_other_files_in_the_folder_are_no_reason_to_warn(tmp_path):
    (tmp_path / "config.yaml").write_text("name: moons")
    logged(tmp_path, steps=[0], loss=1.0)
    assert len(table(tmp_path)) == 1


def test_a_run_and_its_rest_leave_one_table(start, tmp_path):
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
    steps = [row["step"] for row in table(first.folder) if row["loss/validation"]]
    assert steps == ["0", "7", "14", "21", "28"]
    assert [row for row in table(first.folder) if row["loss/train"]] == [
        row for row in table(whole.folder) if row["loss/train"]
    ]


class Told(Logger):
    """Keeps what it is told is run."""

    name = version = "told"

    def __init__(self):
        super().__init__()
        self.config = None

    def log_hyperparams(self, params, *args, **kwargs):
        self.config = params

    def log_metrics(self, metrics, step=None):
        pass


def test_other_loggers_are_told_what_is_run(start, tmp_path):
    told = Told()
    start(loggers=[told], config={"network": {"hidden": (8,)}, "paths": tmp_path})
    assert told.config == {"network": {"hidden": [8]}, "paths": str(tmp_path)}
