"""Module: one data set made ready to train on, split, scaled and served from memory."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from brainnet.data.builtin import Source, find_source
from brainnet.data.checks import check_seed, check_whole_number
from brainnet.data.dataset import Dataset
from brainnet.data.loader import InMemoryLoader
from brainnet.data.scaling import Kind, Scaling, check_kind
from brainnet.data.split import check_fractions, split
from brainnet.errors import InputError
from brainnet.learning.loss import Task

SAMPLE_ROWS = 256

Rows = tuple[Tensor, Tensor]


class DataModule(LightningDataModule):
    """A data set split by seed, scaled by what its training rows show, in batches from memory.

    Complete once constructed: `train`, `validation` and `test` are (inputs, targets), scaled, on
    the CPU. Under a Trainer each part moves to the training device once, whole, and batches are
    cut from it there; without one it stays where it is. The same seed gives the same rows, bit for
    bit.

    Args:
        source: a built-in data set or its name, a Dataset, or a pair (inputs, targets) of arrays.
        batch_size: rows per step, on each process.
        normalize: how inputs are scaled: "standard", "minmax" or "none".
        normalize_targets: whether the targets of a regression are scaled to mean 0 and standard
            deviation 1; `target_scaling.undo` turns predictions back. Classes never are.
        validation: the fraction of rows that choose the best moment of training.
        test: the fraction of rows that judge at the end.
        seed: what generated rows, the split, the order of the rows and the sample follow from.
        scaling: what another run measured, in place of `normalize`; for judging a trained network
            by other data.
        target_scaling: the same, for the targets.

    Raises:
        InputError: an option is out of range, or the data are not fit to learn from.

    Example:
        >>> data = DataModule("iris", batch_size=16)
        >>> data
        DataModule(iris: multiclass, 4 inputs, 3 classes; rows 105 train, 15 validation, 30 test)
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> inputs.shape
        torch.Size([16, 4])
    """

    def __init__(
        self,
        source: Source | Dataset | str | tuple[Any, Any],
        *,
        batch_size: int = 32,
        normalize: Kind = "standard",
        normalize_targets: bool = True,
        validation: float = 0.1,
        test: float = 0.2,
        seed: int = 0,
        scaling: Scaling | None = None,
        target_scaling: Scaling | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = check_whole_number("batch_size", batch_size, least=1)
        self.seed = check_seed(seed)
        check_kind("normalize", normalize)
        check_fractions(validation, test)
        if not isinstance(normalize_targets, bool):
            raise InputError(f"normalize_targets must be true or false; got {normalize_targets!r}.")
        # Kept for whoever describes the run: what was asked for.
        self.source = source
        self.fractions = (validation, test)
        self.normalize_targets = normalize_targets
        self.dataset = _load(source, self.seed)
        self._split = split(self.dataset, validation=validation, test=test, seed=self.seed)
        scaled = normalize_targets and self.task == "regression"
        training = self._split.train
        self._use(
            scaling or Scaling.fit(self.dataset.inputs[training], normalize),
            target_scaling
            or Scaling.fit(self._target_table()[training], "standard" if scaled else "none"),
        )

    @property
    def task(self) -> Task:
        """What is to be learnt: "multiclass", "binary" or "regression"."""
        return self.dataset.task

    @property
    def inputs(self) -> int:
        """The number of inputs, which is what the network's first layer reads."""
        return self.dataset.inputs.shape[1]

    @property
    def targets(self) -> int:
        """The number of classes, or of numbers to predict."""
        return self.dataset.target_columns

    @property
    def input_names(self) -> tuple[str, ...]:
        """What each input is called."""
        return self.dataset.input_names

    @property
    def class_names(self) -> tuple[str, ...]:
        """What each class is called; empty for a regression."""
        return self.dataset.class_names

    @property
    def image_shape(self) -> tuple[int, int] | None:
        """(height, width) where a row of inputs is a picture."""
        return self.dataset.image_shape

    @property
    def sample(self) -> Rows:
        """At most 256 training rows, the same at every look, to watch the network with."""
        inputs, targets = self.train  # the split left them in random order
        return inputs[:SAMPLE_ROWS], targets[:SAMPLE_ROWS]

    def train_dataloader(self) -> InMemoryLoader:
        """Return batches of the training rows, in another order each epoch.

        Under a Trainer with `overfit_batches` the order stays, or it would be other rows each time.
        """
        # Lightning sets the attribute from outside its class, where type checkers do not see it.
        overfit = getattr(self.trainer, "overfit_batches", 0) > 0
        return self._loader(self.train, shuffle=not overfit)

    def val_dataloader(self) -> InMemoryLoader:
        """Return batches of the validation rows, in order."""
        return self._loader(self.validation)

    def test_dataloader(self) -> InMemoryLoader:
        """Return batches of the test rows, in order."""
        return self._loader(self.test)

    def transfer_batch_to_device(
        self,
        batch: Any,  # noqa: ANN401 - Lightning's own signature
        device: torch.device,
        dataloader_idx: int,
    ) -> Any:  # noqa: ANN401
        """Return the batch as it is: the loader already cut it on the training device."""
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured on the training rows, as strings and floats."""
        return {
            "scaling": self.scaling.to_dict(),
            "target_scaling": self.target_scaling.to_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Scale all parts by what another run measured.

        Raises:
            InputError: that run's data had other columns.
        """
        self._use(
            Scaling.from_dict(state_dict["scaling"]),
            Scaling.from_dict(state_dict["target_scaling"]),
        )

    def __repr__(self) -> str:
        """Return the data, the task, and how many rows each part has."""
        answers = "classes" if self.class_names else "targets"
        return (
            f"DataModule({self.dataset.name}: {self.task}, {self.inputs} inputs, "
            f"{self.targets} {answers}; rows {len(self._split.train)} train, "
            f"{len(self._split.validation)} validation, {len(self._split.test)} test)"
        )

    def __str__(self) -> str:
        """Return the same as `repr`; Lightning's own asks the loaders for a `dataset`."""
        return repr(self)

    def _use(self, scaling: Scaling, target_scaling: Scaling) -> None:
        inputs = scaling.apply(self.dataset.inputs)
        targets = self.dataset.targets
        if self.task == "regression":
            targets = target_scaling.apply(targets)
        self.scaling = scaling
        self.target_scaling = target_scaling
        parts = self._split
        self.train: Rows = (inputs[parts.train], targets[parts.train])
        self.validation: Rows = (inputs[parts.validation], targets[parts.validation])
        self.test: Rows = (inputs[parts.test], targets[parts.test])

    def _target_table(self) -> Tensor:
        """Return the targets as columns; classes make one that is never scaled."""
        targets = self.dataset.targets
        return targets if self.task == "regression" else targets.unsqueeze(1)

    def _loader(self, rows: Rows, *, shuffle: bool = False) -> InMemoryLoader:
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        inputs, targets = (part.to(device) for part in rows)
        return InMemoryLoader(
            inputs,
            targets,
            batch_size=self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )


def _load(source: Source | Dataset | str | tuple[Any, Any], seed: int) -> Dataset:
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str):
        return find_source(source)().load(seed)
    if isinstance(source, tuple | list) and len(source) == 2:
        return Dataset.from_arrays(*source)
    if hasattr(source, "load"):
        return source.load(seed)
    raise InputError(
        "data must be a built-in data set or its name, a Dataset, or a pair (inputs, targets); "
        f"got {type(source).__name__}."
    )
