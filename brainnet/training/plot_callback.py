"""Plot callback: plots of weights, decision boundary, confusion matrix and loss slice."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.functional.classification import multiclass_confusion_matrix

from brainnet.data.datamodule import DataModule
from brainnet.learning.predictions import compute_probabilities
from brainnet.observation import tags
from brainnet.observation.background_writer import BackgroundWriter
from brainnet.observation.plots import (
    LossSlice,
    compute_loss_slice,
    plot_boundary,
    plot_confusion,
    plot_loss_slice,
    plot_weights,
)
from brainnet.observation.probe import isolated_eval, limit_rows
from brainnet.observation.schedule import is_round_step
from brainnet.structure.inspection import find_layers
from brainnet.training.callbacks import find_writer
from brainnet.training.module import LearningModule

_log = logging.getLogger(__name__)
_MAX_ROWS = 1024
# Drawing slows the steps of a small network down, and a short training is better drawn at its end.
_DELAY_SECONDS = 10.0
_GRID_POINTS = 120  # along each side of the decision boundary
_MARGIN = 0.12  # around the outermost rows, relative to their range
_Task = tuple[LearningModule, DataModule]


class PlotCallback(Callback):
    """Writes plots of a `LearningModule` on a `DataModule` to TensorBoard's Images page.

    These are the first layer's weights if the inputs are images, the decision boundary if there
    are two inputs, the confusion matrix of a classification, and the loss slice: the loss along
    the first step of the epoch. They are computed before the epochs 0, 1, 2, 5, 10, 20, 50 …
    and at the end, and drawn in a background thread. A test adds its confusion matrix. Other
    modules and data are not plotted.

    The results of the training do not change, and no random numbers are drawn. If a plot fails,
    this is logged once, and training continues.

    Args:
        folder: where to write; by default as in `Observe`.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._writer: BackgroundWriter | None = None
        self._step = 0
        self._task: _Task | None = None  # None while nothing is plotted
        self._before: dict[str, Tensor] | None = None
        self._initial_loss: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the loss of the untrained network, which captions compare with."""
        return {} if self._initial_loss is None else {"initial_loss": self._initial_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the plots of a checkpoint."""
        self._initial_loss = state_dict.get("initial_loss")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file if there is anything to plot."""
        self._before = None
        if trainer.global_step == 0:
            self._initial_loss = None
        # `fast_dev_run` writes no files.
        is_dry_run = bool(getattr(trainer, "fast_dev_run", False))
        self._task = None if is_dry_run else _find_task(trainer)
        if self._task is not None:
            with self._stop_on_error():
                writer = find_writer(trainer, self.folder)
                self._writer = BackgroundWriter(
                    [], writer=writer, report=_report, delay_seconds=_DELAY_SECONDS
                )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plot the network before an epoch that is due."""
        if is_round_step(trainer.current_epoch):
            self._plot_network(trainer)

    def needs_step(self, step: int) -> bool:
        """Return whether the step of the loss slice is being taken."""
        return self._before is not None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Copy the parameters before the first step of an epoch that is due."""
        if self._task is not None and batch_idx == 0 and is_round_step(trainer.current_epoch):
            self._step, self._before = trainer.global_step, _copy_parameters(self._task[0])

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Plot the loss slice after that step."""
        if self._before is None or self._task is None or trainer.global_step == self._step:
            return
        before, self._before = self._before, None
        with self._stop_on_error(), _isolate(trainer, self._task[0]):
            loss_slice = _compute_loss_slice(*self._task, before)
            step = self._step
            if step == 0:
                self._initial_loss = loss_slice.start
            # A loss that is not finite cannot be plotted, and ends the run with a message.
            if loss_slice.is_finite:
                caption = loss_slice.describe(self._initial_loss)
                tag = tags.LOSS_SLICE_PLOT.at()
                self._submit(tag, step, lambda: plot_loss_slice(loss_slice, step, caption))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plot the trained network."""
        self._plot_network(trainer)
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Write the remaining plots."""
        self._close()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plot the confusion matrix of the test."""
        task = _find_task(trainer)
        if task is None or task[0].confusion is None:
            return
        counts, names = task[0].confusion.numpy(), task[1].dataset.class_names
        with self._stop_on_error():
            writer = find_writer(trainer, self.folder)
            png = plot_confusion(counts, names, "test")
            writer.add_image(tags.CONFUSION_PLOT.at("test"), png, trainer.global_step)
            writer.close()

    def _plot_network(self, trainer: Trainer) -> None:
        """Submit all plots of the network in its current state."""
        if self._task is None:
            return
        module, data = self._task
        with self._stop_on_error(), _isolate(trainer, module):
            # A run whose weights are not finite ends with a message.
            if not all(bool(value.isfinite().all()) for value in module.network.parameters()):
                return
            step, layer = trainer.global_step, find_layers(module)[0]
            shape = data.dataset.image_shape
            if shape is not None and layer.weights.shape[1] == data.dataset.input_count:
                weights = layer.weights.detach().float().cpu().clone().numpy()
                tag = tags.WEIGHTS_PLOT.at(layer.name)
                self._submit(tag, step, lambda: plot_weights(weights, shape, layer.name))
            if data.dataset.class_names:
                counts = _count_confusion(module, data)
                names = data.dataset.class_names
                tag = tags.CONFUSION_PLOT.at("validation")
                self._submit(tag, step, lambda: plot_confusion(counts, names, "validation"))
                # The codes of an embedded column have no order.
                if data.dataset.input_count == 2 and not data.encoder.embeddings:
                    plot = _prepare_boundary(module, data)
                    self._submit(tags.BOUNDARY_PLOT.at(), step, plot)

    def _submit(self, tag: str, step: int, plot: Callable[[], bytes]) -> None:
        """Draw and write a plot in the background."""
        assert self._writer is not None, "opened before anything is plotted"
        self._writer.write(lambda writer: writer.add_image(tag, plot(), step))

    @contextmanager
    def _stop_on_error(self) -> Iterator[None]:
        """Stop plotting after an exception instead of ending the training."""
        try:
            yield
        except Exception as error:
            _report(f"plots stopped: {type(error).__name__}: {error}")
            _log.debug("PlotCallback: plots stopped", exc_info=True)
            self._close()

    def _close(self) -> None:
        writer, self._writer, self._before, self._task = self._writer, None, None, None
        if writer is not None:
            writer.close()


def _report(message: str) -> None:
    # Not a Python warning, which would raise if warnings are errors.
    _log.warning("PlotCallback: %s", message)


def _find_task(trainer: Trainer) -> _Task | None:
    """The module and its data, if they are brainnet's and this is the main process."""
    module, data = trainer.lightning_module, getattr(trainer, "datamodule", None)
    if isinstance(module, LearningModule) and isinstance(data, DataModule):
        return (module, data) if trainer.is_global_zero and find_layers(module) else None
    return None


def _copy_parameters(module: LearningModule) -> dict[str, Tensor]:
    parameters = module.network.named_parameters()
    return {name: value.detach().clone() for name, value in parameters}


@contextmanager
def _isolate(trainer: Trainer, module: LearningModule) -> Iterator[None]:
    """Evaluate the module in the trainer's precision without changing it."""
    with isolated_eval(module), trainer.precision_plugin.forward_context():
        yield


def _move(module: LearningModule, *tensors: Tensor) -> list[Tensor]:
    """Convert tensors to the device and the precision of the module."""
    plugin = module.trainer.precision_plugin
    return [plugin.convert_input(tensor.to(module.device)) for tensor in tensors]


def _compute_loss_slice(
    module: LearningModule, data: DataModule, before: dict[str, Tensor]
) -> LossSlice:
    rows = limit_rows(len(data.sample[0]), module.network)
    inputs, targets = _move(module, *(part[:rows] for part in data.sample))
    return compute_loss_slice(
        module.network,
        lambda outputs: module.loss(outputs, targets),
        inputs,
        before,
        _copy_parameters(module),
    )


def _count_confusion(module: LearningModule, data: DataModule) -> Any:
    inputs, targets = _move(module, *next(data.iterate_batches("validation", _MAX_ROWS)))
    predictions = module.decode(module.network(inputs))
    counts = multiclass_confusion_matrix(predictions, targets, len(data.dataset.class_names))
    return counts.cpu().numpy()


def _prepare_boundary(module: LearningModule, data: DataModule) -> Callable[[], bytes]:
    """Compute the predictions on a plane, and return the function that plots them."""
    rows, classes = data.take("train", _MAX_ROWS)
    points = data.scaling.undo(rows)
    low, high = points.amin(dim=0), points.amax(dim=0)
    margin = (high - low).clamp_min(1e-6) * _MARGIN
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    across = torch.linspace(left, right, _GRID_POINTS)
    upward = torch.linspace(bottom, top, _GRID_POINTS)
    plane = torch.cartesian_prod(upward, across).flip(1)
    (inputs,) = _move(module, data.scaling.apply(plane))
    outputs = module.network(inputs)
    probabilities = compute_probabilities(outputs, module.loss, module.task)
    # A loss without probabilities gives all to the predicted class.
    if probabilities is None:
        probabilities = one_hot(module.decode(outputs), len(data.dataset.class_names))
    grid = probabilities.float().reshape(_GRID_POINTS, _GRID_POINTS, -1).cpu().numpy()
    return lambda: plot_boundary(
        grid,
        (left, right, bottom, top),
        points.numpy(),
        classes.numpy(),
        data.dataset.class_names,
        data.dataset.input_names,
    )
