"""Pictures: a training now and then drawn: weights, decision boundary, confusion and hill."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from brainnet.data.datamodule import DataModule
from brainnet.observation import tags
from brainnet.observation.plots import (
    LossSlice,
    Picture,
    compute_loss_slice,
    plot_boundary,
    plot_confusion,
    plot_loss_slice,
    plot_weights,
)
from brainnet.observation.probe import isolated_eval, limit_rows
from brainnet.observation.schedule import is_round_step
from brainnet.observation.tensorboard import TensorBoardWriter
from brainnet.structure.inspection import find_layers
from brainnet.training.callbacks import find_writer
from brainnet.training.module import LearningModule

log = logging.getLogger(__name__)

ROWS = 1024

"""Rows that a picture shows at most."""

GRID = 120

"""Points along each side of the plane whose answers are drawn."""

MARGIN = 0.12

"""Room around the outermost rows, as a share of their spread."""


class PlotCallback(Callback):
    """Draws a `LearningModule` on a `DataModule` for TensorBoard's Images page.

    The first layer's weights where the inputs are a picture, what the network would answer at
    every point where there are two inputs, which class is taken for which, and the hill: the loss
    along the first step of the epoch. Drawn before epochs 0, 1, 2, 5, 10, 20, 50 … and at the end;
    which class is taken for which also after a test. With other modules and data it draws nothing.

    It changes no weight and draws no random number. Where it cannot go on it says so once in the
    log and leaves the training alone.

    Args:
        folder: where to write; as in `Observe` where None.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._writer: TensorBoardWriter | None = None
        self._drawing = False
        self._step = 0
        self._before: dict[str, Tensor] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See whether there is anything to draw."""
        self._before = None
        rehearsal = bool(getattr(trainer, "fast_dev_run", False))
        self._drawing = trainer.is_global_zero and not rehearsal and _subject(trainer) is not None
        if self._drawing:
            with self._careful():
                self._writer = find_writer(trainer, self.folder)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the network as it stands before a round epoch."""
        if self._drawing and is_round_step(trainer.current_epoch):
            self._draw(trainer)

    def needs_step(self, step: int) -> bool:
        """Whether the step of the hill is under way; none but an epoch's first ever is."""
        return self._before is not None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Remember where the weights are before the first step of a round epoch."""
        if self._drawing and batch_idx == 0 and is_round_step(trainer.current_epoch):
            subject = _subject(trainer)
            if subject is not None:
                self._step, self._before = trainer.global_step, _parameters(subject[0])

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Draw the hill, once that step is done."""
        if self._before is None or trainer.global_step == self._step:
            return
        before, self._before = self._before, None
        subject = _subject(trainer)
        if subject is not None and self._drawing:
            with self._careful(), _still(trainer, subject[0]):
                found = _hill(*subject, before)
                # A loss that is no number any more has no place on paper; the run says it itself.
                if all(map(math.isfinite, (*found.losses, found.start, found.slope, found.end))):
                    self._show(
                        tags.HILL_PICTURE.at(), plot_loss_slice(found, self._step), self._step
                    )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what has become of it."""
        if self._drawing:
            self._draw(trainer)
        self._stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Put on disk what was drawn."""
        self._stop()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw which class was taken for which in the test."""
        subject = _subject(trainer)
        if subject is None or not trainer.is_global_zero:
            return
        module, data = subject
        if module.confusion is None:
            return
        with self._careful():
            self._writer = find_writer(trainer, self.folder)
            picture = plot_confusion(module.confusion.numpy(), data.class_names, "test")
            self._show(tags.CONFUSION_PICTURE.at("test"), picture, trainer.global_step)
        self._stop()

    def _draw(self, trainer: Trainer) -> None:
        """All pictures of the network as it stands."""
        subject = _subject(trainer)
        if subject is None:
            return
        module, data = subject
        with self._careful(), _still(trainer, module):
            if not all(bool(value.isfinite().all()) for value in module.network.parameters()):
                return  # weights that are no numbers: no more to see than a failed run will tell
            step = trainer.global_step
            place = find_layers(module)[0]
            if data.image_shape is not None and place.weights.shape[1] == data.inputs:
                weights = place.weights.detach().float().cpu().numpy()
                picture = plot_weights(weights, data.image_shape, place.name)
                self._show(tags.WEIGHTS_PICTURE.at(place.name), picture, step)
            if data.class_names:
                picture = _confusion(module, data)
                self._show(tags.CONFUSION_PICTURE.at("validation"), picture, step)
                if data.inputs == 2 and not data.encoder.embeddings:  # codes lie in no order
                    self._show(tags.BOUNDARY_PICTURE.at(), _boundary(module, data), step)

    def _show(self, tag: str, picture: Picture, step: int) -> None:
        assert self._writer is not None, "opened before anything is drawn"
        self._writer.picture(tag, picture.png, picture.size, step)

    @contextmanager
    def _careful(self) -> Iterator[None]:
        """A training must not end because somebody drew it."""
        try:
            yield
        except Exception as error:
            log.warning("Pictures stopped drawing: %s: %s", type(error).__name__, error)
            log.debug("Pictures stopped drawing", exc_info=True)
            self._drawing = False

    def _stop(self) -> None:
        writer, self._writer, self._drawing = self._writer, None, False
        if writer is not None:
            with self._careful():
                writer.close()


def _subject(trainer: Trainer) -> tuple[LearningModule, DataModule] | None:
    """The module and its data, where they are brainnet's own."""
    module, data = trainer.lightning_module, getattr(trainer, "datamodule", None)
    if isinstance(module, LearningModule) and isinstance(data, DataModule) and find_layers(module):
        return module, data
    return None


def _parameters(module: LearningModule) -> dict[str, Tensor]:
    parameters = module.network.named_parameters()
    return {name: value.detach().clone() for name, value in parameters}


@contextmanager
def _still(trainer: Trainer, module: LearningModule) -> Iterator[None]:
    """Left as it is, while it answers in the trainer's precision."""
    with isolated_eval(module), trainer.precision_plugin.forward_context():
        yield


def _moved(module: LearningModule, *rows: Tensor) -> list[Tensor]:
    """Rows where the module is, in the numbers it computes with."""
    plugin = module.trainer.precision_plugin
    return [plugin.convert_input(part.to(module.device)) for part in rows]


def _hill(module: LearningModule, data: DataModule, before: dict[str, Tensor]) -> LossSlice:
    rows = limit_rows(len(data.sample[0]), module.network)
    inputs, targets = _moved(module, *(part[:rows] for part in data.sample))
    return compute_loss_slice(
        module.network,
        lambda outputs: module.loss(outputs, targets),
        inputs,
        before,
        _parameters(module),
    )


def _confusion(module: LearningModule, data: DataModule) -> Picture:
    inputs, targets = _moved(module, *next(data.iterate_batches("validation", ROWS)))
    answers = module.decode(module.network(inputs))
    counts = multiclass_confusion_matrix(answers, targets, len(data.class_names))
    return plot_confusion(counts.cpu().numpy(), data.class_names, "validation")


def _boundary(module: LearningModule, data: DataModule) -> Picture:
    rows, classes = data.take("train", ROWS)
    points = data.scaling.undo(rows)
    low, high = points.amin(dim=0), points.amax(dim=0)
    room = (high - low).clamp_min(1e-6) * MARGIN
    low, high = low - room, high + room
    across = torch.linspace(float(low[0]), float(high[0]), GRID)
    upward = torch.linspace(float(low[1]), float(high[1]), GRID)
    plane = torch.cartesian_prod(upward, across).flip(1)
    (points_there,) = _moved(module, data.scaling.apply(plane))
    outputs = module.network(points_there)
    return plot_boundary(
        _shares(module, outputs, len(data.class_names)).reshape(GRID, GRID, -1).cpu().numpy(),
        (float(low[0]), float(high[0]), float(low[1]), float(high[1])),
        points.numpy(),
        classes.numpy(),
        data.class_names,
        data.input_names,
    )


def _shares(module: LearningModule, outputs: Tensor, classes: int) -> Tensor:
    """Share given to each class, (rows, classes); all to the answer where a loss tells no more."""
    probabilities = getattr(module.loss, "compute_probabilities", None)
    found = None if probabilities is None else probabilities(outputs)
    if found is None:
        return torch.nn.functional.one_hot(module.decode(outputs), classes).float()
    if found.shape[1] == 1:
        found = torch.cat([1 - found, found], dim=1)
    return found.float()
