from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from brainnet.training.loggers import RunLogger
from brainnet.training.run_directory import RunDirectory


def read(folder):
    return EventAccumulator(str(folder)).Reload()


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path):
    for first_step, value in ((None, 1.0), (20, 2.0)):
        with RunLogger(RunDirectory(tmp_path), first_step) as curves:
            for step in range(10 if first_step is None else first_step, 50, 10):
                curves.log_metrics({"loss/train": value}, step)
    points = read(tmp_path).Scalars("loss/train")
    assert [(point.step, point.value) for point in points] == [
        (10, 1.0),
        (20, 2.0),
        (30, 2.0),
        (40, 2.0),
    ]


def test_callbacks_of_others_write_into_the_same_file(tmp_path):
    with RunLogger(RunDirectory(tmp_path)) as curves:
        curves.log_metrics({"loss/train": 1.0}, 0)
        curves.experiment.add_scalar("theirs", 0.5, 1)
        curves.log_metrics({"loss/train": 0.5}, 2)
    assert len(list(tmp_path.glob("events*"))) == 1
    assert {"loss/train", "theirs"} <= set(read(tmp_path).Tags()["scalars"])


def test_a_full_disk_is_said_once_and_ends_no_training(tmp_path, caplog, monkeypatch):
    with RunLogger(RunDirectory(tmp_path)) as curves:
        curves.log_metrics({"loss/train": 1.0}, 0)

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("brainnet.observation.tensorboard.EventFileWriter.add_event", full)
        curves.log_metrics({"loss/train": 0.5}, 1)
        curves.log_hyperparameters({"data": "xor"}, {"loss/test": 0.1}, 2)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "No space left" in message
    assert len(read(tmp_path).Scalars("loss/train")) == 1


def test_a_disk_that_refuses_at_the_end_or_a_point_after_it_ends_no_training(
    tmp_path, caplog, monkeypatch
):
    def refuses(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", refuses)
    with RunLogger(RunDirectory(tmp_path)) as curves:
        curves.log_metrics({"loss/train": 1.0}, 0)
    curves.log_metrics({"loss/train": 0.5}, 1)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "Input/output error" in message
    assert len(read(tmp_path).Scalars("loss/train")) == 1
