"""Plot callback: plots of weights, decision boundary, confusion matrix and loss slice."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
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
from brainnet.observation.plots import (
    LossSlice,
    compute_loss_slice,
    plot_boundary,
    plot_confusion,
    plot_loss_slice,
    plot_weights,
)
from brainnet.observation.probe import isolated_eval, limit_rows
from brainnet.observation.session import stop_on_error
from brainnet.observation.tensorboard import TensorBoardWriter
from brainnet.structure.inspection import find_layers
from brainnet.training.callbacks import find_writer
from brainnet.training.module import LearningModule

_EPOCHS = (0, 1, 10, 100, 1000, 10_000)
_MAX_ROWS = 1024
_GRID_POINTS = 120  # along each side of the decision boundary
_MARGIN = 0.12  # around the outermost rows, relative to their range
_Task = tuple[LearningModule, DataModule]


class PlotCallback(Callback):
    """Writes plots of a `LearningModule` on a `DataModule` to TensorBoard's Images page.

    These are the first layer's weights if the inputs are images, the decision boundary if there
    are two inputs, the confusion matrix of a classification, and the loss slice: the loss along
    the first step of the epoch. They show the network before the epochs 0, 1, 10, 100 … and at
    the end. A test adds its confusion matrix. Other modules and data are not plotted.

    The results of the training do not change, and no random numbers are drawn. If a plot fails,
    this is logged once, no more plots are drawn, and training continues.

    Args:
        folder: where to write; by default as in `Observe`.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._writer: TensorBoardWriter | None = None
        self._task: _Task | None = None  # None while nothing is plotted
        self._before: dict[str, Tensor] | None = None
        self._initial_loss: float | None = None
        self._step = 0
        self._plots: list[tuple[str, int, Callable[[], bytes]]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the loss of the untrained network, which captions compare with."""
        return {} if self._initial_loss is None else {"initial_loss": self._initial_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the plots of a checkpoint."""
        self._initial_loss = state_dict.get("initial_loss")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file if there is anything to plot."""
        if trainer.global_step == 0:
            self._initial_loss = None
        # `fast_dev_run` writes no files.
        is_dry_run = bool(getattr(trainer, "fast_dev_run", False))
        self._task = None if is_dry_run else _find_task(trainer)
        if self._task is not None:
            with self._stop_on_error():
                self._writer = find_writer(trainer, self.folder)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the plots of the network before an epoch that is due."""
        if trainer.current_epoch in _EPOCHS:
            self._add_plots(trainer)

    def needs_step(self, step: int) -> bool:
        """Return whether the step of the loss slice is being taken."""
        return self._before is not None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Copy the parameters before the first step of an epoch that is due."""
        if self._task is not None and batch_idx == 0 and trainer.current_epoch in _EPOCHS:
            with self._stop_on_error():
                self._step, self._before = trainer.global_step, _copy_parameters(self._task[0])

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Plot the loss slice after that step, and draw all plots of the epoch."""
        if self._before is None or self._task is None or trainer.global_step == self._step:
            return
        before, self._before = self._before, None
        with self._stop_on_error():
            with _isolate(trainer, self._task[0]):
                loss_slice = _compute_loss_slice(*self._task, before)
            if self._step == 0:
                self._initial_loss = loss_slice.start
            # A loss that is not finite cannot be plotted, and ends the run with a message.
            if loss_slice.is_finite:
                caption = loss_slice.describe(self._initial_loss)
                plot = partial(plot_loss_slice, loss_slice, self._step, caption)
                self._plots.append((tags.LOSS_SLICE_PLOT.at(), self._step, plot))
            self._draw()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plot the trained network."""
        self._add_plots(trainer)
        with self._stop_on_error():
            self._draw()
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the file."""
        self._close()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plot the confusion matrix of the test."""
        task = _find_task(trainer)
        if task is None or task[0].confusion is None:
            return
        with self._stop_on_error():
            counts, names = task[0].confusion.numpy(), task[1].dataset.class_names
            png = plot_confusion(counts, names, "test")
            with find_writer(trainer, self.folder) as writer:
                writer.add_image(tags.CONFUSION_PLOT.at("test"), png, trainer.global_step)

    def _add_plots(self, trainer: Trainer) -> None:
        """Compute what the plots of the network in its current state show."""
        if self._task is None:
            return
        module, data = self._task
        with self._stop_on_error(), _isolate(trainer, module):
            # A run whose weights are not finite ends with a message.
            if not all(bool(value.isfinite().all()) for value in module.network.parameters()):
                return
            plots: dict[str, Callable[[], bytes]] = {}
            layer, dataset = find_layers(module)[0], data.dataset
            shape, names = dataset.image_shape, dataset.class_names
            if shape is not None and layer.weights.shape[1] == dataset.input_count:
                weights = layer.weights.detach().float().cpu().clone().numpy()
                tag = tags.WEIGHTS_PLOT.at(layer.name)
                plots[tag] = partial(plot_weights, weights, shape, layer.name)
            if names:
                counts = _count_confusion(module, data)
                tag = tags.CONFUSION_PLOT.at("validation")
                plots[tag] = partial(plot_confusion, counts, names, "validation")
                # The codes of an embedded column have no order.
                if dataset.input_count == 2 and not data.encoder.embeddings:
                    plots[tags.BOUNDARY_PLOT.at()] = _prepare_boundary(module, data)
            self._plots += [(tag, trainer.global_step, plot) for tag, plot in plots.items()]

    def _draw(self) -> None:
        """Draw and write all plots, after a step, so that the first does not wait for them."""
        for tag, step, plot in self._plots:
            assert self._writer is not None, "opened before anything is plotted"
            self._writer.add_image(tag, plot(), step)
        self._plots.clear()

    def _stop_on_error(self) -> AbstractContextManager[None]:
        return stop_on_error("PlotCallback: plots", self._close)

    def _close(self) -> None:
        writer, self._writer, self._before, self._task = self._writer, None, None, None
        self._plots.clear()
        if writer is not None:
            # Closing writes to disk, which may be full.
            with self._stop_on_error():
                writer.close()


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
    """Compute the predictions on a plane; the function that plots them."""
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
    extent = left, right, bottom, top
    names = data.dataset.class_names, data.dataset.input_names
    return partial(plot_boundary, grid, extent, points.numpy(), classes.numpy(), *names)
