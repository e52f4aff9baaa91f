"""DataModule: one data set, split, scaled and served in batches from memory."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from brainnet.data.dataset import Dataset, InputEncoder, check_same_meaning, describe_dataset
from brainnet.data.datasets import Source, load_dataset
from brainnet.data.image_files import ImageEncoder
from brainnet.data.loader import InMemoryLoader
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.scaling import SCALING_KINDS, Scaling, ScalingKind, scale_in_place
from brainnet.data.split import check_fractions, split_dataset
from brainnet.data.table import Table
from brainnet.data.validation import check_one_of, check_seed, check_whole_number
from brainnet.errors import InputError
from brainnet.learning.predictions import choose_batch_rows

_SAMPLE_ROWS = 256
# Training batches in one batch of the validation and the test.
_EVALUATION_BATCHES = 4
PartName = Literal["train", "validation", "test"]
Rows = tuple[Tensor, Tensor]
"""Inputs (rows, inputs) and targets (rows,) or (rows, targets)."""


class DataModule(LightningDataModule):
    """A data set split by seed, scaled with statistics of the training rows, and kept in memory.

    The rows are stored once, unscaled, images as bytes, and each part is a list of row indices.
    `take`, `gather` and `iterate_batches` return scaled copies on the CPU. Under a Trainer, the
    rows move to the training device once, and batches are gathered and scaled there. The same seed
    gives the same rows, bit for bit.

    Args:
        source: built-in data set or its name, a Dataset, or a pair (inputs, targets) of arrays.
        batch_size: rows per step and process.
        normalize: scaling of the inputs: "standard", "minmax" or "none".
        normalize_targets: whether the targets of a regression are scaled to mean 0 and standard
            deviation 1; `target_scaling.undo` reverses this. Classes are never scaled.
        validation: fraction of the rows for validation, which selects the best checkpoint.
        test: fraction of the rows for the final evaluation.
        seed: of generated rows, the split and the order of the rows.

    Raises:
        InputError: an option is out of range, or the data cannot be trained on.

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
        normalize: ScalingKind = "standard",
        normalize_targets: bool = True,
        validation: float = 0.1,
        test: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size = check_whole_number("batch_size", batch_size, least=1)
        self.seed = check_seed(seed)
        check_one_of("normalize", normalize, SCALING_KINDS)
        check_fractions(validation, test)
        if not isinstance(normalize_targets, bool):
            raise InputError(f"normalize_targets must be true or false; got {normalize_targets!r}.")
        # Stored for the description of the run.
        self.source = source
        self.fractions = (validation, test)
        self.normalize_targets = normalize_targets
        # All options were checked: loading may take minutes.
        dataset = load_dataset(source, self.seed)
        self._split = split_dataset(dataset, validation=validation, test=test, seed=self.seed)
        # Rows of the caller are never changed.
        self.dataset = _mark_untrained_categories(
            dataset, self._split.train, in_place=isinstance(source, Table)
        )
        self._device_rows: tuple[torch.device, Rows] | None = None
        self.scaling = self._fit_scaling(normalize)
        self.target_scaling = Scaling("none", (0.0,), (1.0,))
        if dataset.task == "regression":
            kind: ScalingKind = "standard" if normalize_targets else "none"
            self.target_scaling = Scaling.fit(dataset.targets, kind, rows=self._split.train)

    @property
    def encoder(self) -> InputEncoder:
        """Converts raw rows to inputs; numbers are unchanged."""
        return self.dataset.encoder or TableEncoder.from_names(self.dataset.input_names)

    @cached_property
    def description(self) -> dict[str, Any]:
        """The meaning of inputs and targets as plain data; see `describe_dataset`."""
        return describe_dataset(self.dataset)

    @property
    def sample(self) -> Rows:
        """At most 256 training rows, always the same, for observing the network."""
        # The first rows are a random sample, because the split shuffled them.
        return self.take("train", _SAMPLE_ROWS)

    def take(self, part: PartName, rows: int | None = None) -> Rows:
        """Return the first rows of a part (None: all of them), scaled: (inputs, targets)."""
        return self.gather(self.row_indices(part)[:rows])

    def iterate_batches(self, part: PartName, rows: int) -> Iterator[Rows]:
        """Yield a part in order, scaled, with at most this number of rows and 64 MB at a time."""
        # Images are large, so that the number of cells counts, not of rows.
        batch_rows = min(rows, choose_batch_rows(self.dataset.input_count))
        return map(self.gather, self.row_indices(part).split(batch_rows))

    def row_indices(self, part: PartName) -> Tensor:
        """Return the indices (rows,) of a part in the data set."""
        indices: Tensor = getattr(self._split, part)
        return indices

    def gather(self, indices: Tensor) -> Rows:
        """Return the rows with these indices in the data set, scaled: (inputs, targets)."""
        inputs = self.scaling.apply(self.dataset.inputs.index_select(0, indices))
        targets = self.dataset.targets.index_select(0, indices)
        is_regression = self.dataset.task == "regression"
        return inputs, self.target_scaling.apply(targets) if is_regression else targets

    def train_dataloader(self) -> InMemoryLoader:
        """Return a loader of the training rows, in a new random order each epoch."""
        # With `overfit_batches`, all epochs use the same rows. Lightning sets this attribute at run
        # time, where type checkers do not see it.
        overfit = getattr(self.trainer, "overfit_batches", 0) > 0
        return self._build_loader("train", shuffle=not overfit)

    def val_dataloader(self) -> InMemoryLoader:
        """Return a loader of the validation rows, in order."""
        return self._build_loader("validation")

    def test_dataloader(self) -> InMemoryLoader:
        """Return a loader of the test rows, in order."""
        return self._build_loader("test")

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Return the batch unchanged: the loader gathered it on the training device."""
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the scaling and the description as plain data."""
        return {
            "scaling": self.scaling.to_dict(),
            "target_scaling": self.target_scaling.to_dict(),
            **self.description,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the scaling of a run that is resumed; other data are an InputError."""
        self.apply_scaling(state_dict)
        self.check_unchanged(state_dict)

    def apply_scaling(self, state: Mapping[str, Any]) -> None:
        """Scale all parts as the run with this `state_dict`; only the rows may differ."""
        scaling = Scaling.from_dict(state["scaling"])
        target_scaling = Scaling.from_dict(state["target_scaling"])
        name, inputs = self.dataset.name, self.dataset.input_count
        if len(scaling.shift) != inputs:
            raise InputError(
                f"the network was trained on data with {len(scaling.shift)} inputs; {name} has "
                f"{inputs}. Use data with the same columns."
            )
        if self.dataset.task == "regression":
            # Raises an error, before anything changes, for another number of targets.
            target_scaling.to_tensors(self.dataset.targets)
        check_same_meaning(state, self.description, name)
        self.scaling, self.target_scaling = scaling, target_scaling

    def check_unchanged(self, state: Mapping[str, Any]) -> None:
        """Raise an InputError if rows from files changed since the run with this `state_dict`."""
        current, rows = self.description, len(self.dataset)
        checksums = {state.get("checksum"), current.get("checksum")}
        # Arrays and generated rows have no checksum.
        if None in checksums or len(checksums) == 1:
            return
        change = "as many rows as in training, but their values or their order changed"
        if rows != state["rows"]:
            change = f"{rows:,} rows now, and {state['rows']:,} when the network was trained"
        raise InputError(
            f"{self.dataset.name} has {change}: training rows could be used for the test. Restore "
            "the data, or evaluate on all rows of a file that the network was not trained on: "
            "brainnet evaluate RUN data.path=FILE."
        )

    def __repr__(self) -> str:
        """Return the data, the task, and the number of rows of each part."""
        data, rows = self.dataset, self._split
        kind = "classes" if data.class_names else "targets"
        return (
            f"DataModule({data.name}: {data.task}, {data.input_count} inputs, {data.target_count} "
            f"{kind}; rows {len(rows.train)} train, {len(rows.validation)} validation, "
            f"{len(rows.test)} test)"
        )

    def __str__(self) -> str:
        """Return the same as `repr`; Lightning's own version requires `dataset` on each loader."""
        return repr(self)

    def _fit_scaling(self, kind: ScalingKind) -> Scaling:
        encoder = self.dataset.encoder
        return Scaling.fit(
            self.dataset.inputs,
            kind,
            rows=self._split.train,
            # A scale per pixel would amplify pixels that are almost never set.
            channels=encoder.channels if isinstance(encoder, ImageEncoder) else None,
            # Codes are looked up by embeddings, which need the whole numbers.
            codes=() if encoder is None else encoder.embeddings,
            impute=encoder is not None and encoder.imputes,
        )

    def _build_loader(self, part: PartName, *, shuffle: bool = False) -> InMemoryLoader:
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        # All loaders share the copy on the device.
        if self._device_rows is None or self._device_rows[0] != device:
            rows = self.dataset.inputs.to(device), self.dataset.targets.to(device)
            self._device_rows = (device, rows)
        inputs, targets = self._device_rows[1]
        # Converted once per loader: images have thousands of inputs.
        scaling, target_scaling = self.scaling.to_tensors(inputs[:0].float()), None
        if self.dataset.task == "regression":
            target_scaling = self.target_scaling.to_tensors(targets[:0])

        def transform(inputs: Tensor, targets: Tensor) -> Rows:
            if target_scaling is not None:
                targets = scale_in_place(targets, target_scaling)
            return scale_in_place(inputs, scaling), targets

        return InMemoryLoader(
            inputs,
            targets,
            # Without gradients, several batches fit into the memory of a training step.
            batch_size=self.batch_size * (1 if part == "train" else _EVALUATION_BATCHES),
            rows=self.row_indices(part).to(device),
            transform=transform,
            shuffle=shuffle,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )


def _mark_untrained_categories(dataset: Dataset, train: Tensor, *, in_place: bool) -> Dataset:
    """Treat categories without a training row as unknown, because their weights are not trained."""
    encoder, inputs = dataset.encoder, dataset.inputs
    if not isinstance(encoder, TableEncoder):
        return dataset
    is_train = torch.zeros(len(inputs))
    is_train[train] = 1
    columns, stop = [], 0
    for column in encoder.columns:
        start, stop = stop, stop + len(column.inputs)
        columns.append(column)
        if column.kind != "category":
            continue
        is_trained = _find_trained_categories(column, inputs[:, start:stop], is_train)
        if not is_trained.all():
            if not in_place and inputs is dataset.inputs:
                inputs = inputs.clone()
            cells, is_kept = inputs[:, start:stop], is_trained
            if column.is_embedded:
                is_kept = torch.cat([torch.tensor([False]), is_trained])[cells.long()]
            # One-hot inputs, or the code, become 0.
            cells *= is_kept
            pairs = zip(column.values, is_trained.tolist(), strict=True)
            columns[-1] = replace(column, unseen=tuple(v for v, trained in pairs if not trained))
    if tuple(columns) == encoder.columns:
        return dataset
    return replace(dataset, inputs=inputs, encoder=replace(encoder, columns=tuple(columns)))


def _find_trained_categories(column: ColumnEncoder, cells: Tensor, is_train: Tensor) -> Tensor:
    """Return which categories have a training row, booleans (categories,)."""
    if not column.is_embedded:
        # A product, because selecting the training rows would copy them.
        return is_train @ cells > 0
    # Code 0 is the unknown category.
    return torch.bincount(cells.flatten().long(), is_train, len(column.values) + 1)[1:] > 0
