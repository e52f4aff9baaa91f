import logging
from contextlib import suppress
from io import BytesIO

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from brainnet.data.datamodule import DataModule
from brainnet.errors import TrainingFailure
from brainnet.learning.loss import CrossEntropy, MeanSquaredError
from brainnet.observation import plots
from brainnet.structure.network import Network
from brainnet.training.callbacks import Observe
from brainnet.training.module import LearningModule
from brainnet.training.plot_callback import PlotCallback
from brainnet.training.trainer import quiet

QUIET = {
    "accelerator": "cpu",
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
}


def run(data, folder, *callbacks, **options):
    regression = data.dataset.task == "regression"
    module = LearningModule(
        Network(
            [data.dataset.input_count, 8, data.dataset.target_count],
            generator=torch.Generator().manual_seed(0),
        ),
        MeanSquaredError() if regression else CrossEntropy(),
        task=data.dataset.task,
        targets=data.dataset.target_count,
        optimizer=torch.optim.Adam,
    )
    given = {**QUIET, "max_epochs": 3, "default_root_dir": folder, **options}
    with quiet():
        trainer = Trainer(callbacks=list(callbacks), **given)
        trainer.fit(module, datamodule=data)
    return trainer, module


def seen(folder):
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    return {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}


def test_two_inputs_are_plotted_with_boundary_confusion_and_loss_slice(tmp_path, moons):
    run(moons, tmp_path, PlotCallback(tmp_path / "run"))
    whole = [0, 7, 21]  # before epochs 0 and 1, and at the end
    assert seen(tmp_path / "run") == {
        "accuracy/validation/confusion": whole,
        "forward_pass/decision_boundary": whole,
        "gradient_descent/loss_slice": [0, 7],
    }


def test_images_as_inputs_are_plotted_with_first_weights(tmp_path):
    run(DataModule("digits"), tmp_path, PlotCallback(tmp_path / "run"), max_epochs=1)
    shown = seen(tmp_path / "run")
    assert set(shown) == {
        "weights/hidden_1/picture",
        "accuracy/validation/confusion",
        "gradient_descent/loss_slice",
    }
    assert len(shown["weights/hidden_1/picture"]) == 2


def test_a_regression_has_only_the_loss_slice(tmp_path):
    run(DataModule("diabetes"), tmp_path, PlotCallback(tmp_path / "run"), max_epochs=1)
    assert set(seen(tmp_path / "run")) == {"gradient_descent/loss_slice"}


def test_non_finite_runs_are_not_plotted_and_not_reported(tmp_path, caplog):
    def huge(parameters):
        return torch.optim.SGD(parameters, lr=1e30)

    data = DataModule("diabetes")
    module = LearningModule(
        Network(
            [data.dataset.input_count, 4, 1], "relu", generator=torch.Generator().manual_seed(0)
        ),
        MeanSquaredError(),
        task=data.dataset.task,
        targets=data.dataset.target_count,
        optimizer=huge,
    )
    pictures = PlotCallback(tmp_path / "run")
    with quiet(), suppress(TrainingFailure):
        Trainer(callbacks=[pictures], **QUIET, max_epochs=2, default_root_dir=tmp_path).fit(
            module, datamodule=data
        )
    assert "PlotCallback" not in caplog.text
    assert seen(tmp_path / "run") == {}


def test_a_test_plots_its_confusion_matrix(tmp_path, moons):
    trainer, module = run(moons, tmp_path, PlotCallback(tmp_path / "run"), max_epochs=1)
    with quiet():
        trainer.test(module, datamodule=moons, verbose=False)
    assert seen(tmp_path / "run")["accuracy/test/confusion"] == [7]


def test_plots_do_not_change_the_training(tmp_path, moons):
    states = []
    for callbacks in ([], [PlotCallback(tmp_path / "run")]):
        torch.manual_seed(0)
        _, module = run(moons, tmp_path, *callbacks)
        states.append((module.state_dict(), torch.get_rng_state()))
    (alone, its_draws), (drawn, their_draws) = states
    assert torch.equal(its_draws, their_draws)
    for name, value in alone.items():
        assert torch.equal(value, drawn[name])


@pytest.mark.parametrize("name", ["plot_confusion", "_copy_parameters"])
def test_a_failure_stops_only_the_plots(tmp_path, moons, monkeypatch, caplog, name):
    def fail(*_):
        raise ArithmeticError("out of paint")

    monkeypatch.setattr(f"brainnet.training.plot_callback.{name}", fail)
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    observe = Observe()
    with caplog.at_level(logging.WARNING, "brainnet"):
        trainer, _ = run(moons, tmp_path, PlotCallback(), observe, logger=logger)
    assert trainer.global_step == 21
    messages = [record.message for record in caplog.records if record.name.startswith("brainnet")]
    assert messages == ["PlotCallback: plots stopped: ArithmeticError: out of paint"]
    points = EventAccumulator(str(tmp_path / "run")).Reload().Scalars("gradient/total_norm")
    assert [point.step for point in points] == [reading.step for reading in observe.readings]
    assert points[-1].step == 20


def test_a_run_of_digits_draws_at_most_twelve_plots(tmp_path, monkeypatch):
    drawn = []
    to_png = plots._to_png
    monkeypatch.setattr(plots, "_to_png", lambda figure: drawn.append(1) or to_png(figure))
    data = DataModule("digits", batch_size=500)
    trainer, module = run(data, tmp_path, PlotCallback(tmp_path / "run"), max_epochs=30)
    with quiet():
        trainer.test(module, datamodule=data, verbose=False)
    assert len(drawn) == 12


@pytest.mark.parametrize("tag", ["forward_pass/decision_boundary", "gradient_descent/loss_slice"])
def test_plots_are_large_enough_to_read(tmp_path, moons, tag):
    run(moons, tmp_path, PlotCallback(tmp_path / "run"), max_epochs=1)
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    image = Image.open(BytesIO(events.Images(tag)[0].encoded_image_string))
    assert image.width >= 500
    assert image.height >= 400
