"""DataModule: one data set, split, scaled and served in batches from memory.

Which words there are is known from all rows, and so is the number of inputs. Which of them can be
learnt anything of follows from the split: the weights of all others stay as they were drawn.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from brainnet.data.dataset import (
    Dataset,
    DatasetProperties,
    check_same_meaning,
    check_same_rows,
    describe_dataset,
)
from brainnet.data.datasets import Source, is_custom_data, load_dataset
from brainnet.data.image_files import ImageEncoder
from brainnet.data.loader import InMemoryLoader
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.scaling import KINDS, Kind, Scaler, Scaling
from brainnet.data.split import check_fractions, split
from brainnet.data.validation import check_one_of, check_seed, check_whole_number
from brainnet.errors import InputError
from brainnet.learning.predictions import MAX_BATCH_CELLS


def fit_input_scaling(dataset: Dataset, rows: Tensor, kind: Kind) -> Scaling:
    """Return how the inputs are scaled: a colour as one, and codes of categories not at all."""
    preparation = dataset.preparation
    return Scaling.fit(
        dataset.inputs,
        kind,
        rows=rows,
        channels=preparation.channels if isinstance(preparation, ImageEncoder) else None,
        codes=() if preparation is None else preparation.embeddings,
        impute=preparation is not None and preparation.imputes,
    )


def fit_target_scaling(dataset: Dataset, rows: Tensor, *, scaled: bool) -> Scaling:
    """Return how the targets are scaled; classes never are."""
    if dataset.task != "regression":  # one column, which is never scaled
        return Scaling("none", (0.0,), (1.0,))
    return Scaling.fit(dataset.targets, "standard" if scaled else "none", rows=rows)


_ROWS_AT_ONCE = 65536


def without_unlearnt(dataset: Dataset, train: Tensor, *, own: bool) -> Dataset:
    """Return the data with such words as zeros, or as code 0, in all rows and in new ones.

    Args:
        dataset: the rows, as measured.
        train: the numbers of those to train on.
        own: whether the inputs may be changed where they lie; else they are copied first, where
            anything changes.
    """
    columns = dataset.preparation
    if not isinstance(columns, TableEncoder):
        return dataset
    places = list(_categories(columns))
    if not places:
        return dataset
    seen = _seen(dataset.inputs, train, places)
    if all(bool(each.all()) for each in seen.values()):
        return dataset
    inputs = dataset.inputs if own else dataset.inputs.clone()
    told = {}
    for place, column in places:
        cells = zip(column.values, seen[place].tolist(), strict=True)
        told[column.name] = replace(column, unseen=tuple(word for word, has in cells if not has))
        _forget(inputs, place, column, seen[place])
    known = tuple(told.get(column.name, column) for column in columns.columns)
    return replace(dataset, inputs=inputs, preparation=replace(columns, columns=known))


def _categories(columns: TableEncoder) -> Iterator[tuple[int, ColumnEncoder]]:
    """Yield the columns of words, each after the position of its first input."""
    place = 0
    for column in columns.columns:
        if column.kind == "category":
            yield place, column
        place += len(column.inputs)


def _seen(
    inputs: Tensor, train: Tensor, places: list[tuple[int, ColumnEncoder]]
) -> dict[int, Tensor]:
    """Which words the training rows have, (words,) by position; once all were seen, no further."""
    seen = {place: torch.zeros(len(column.values), dtype=torch.bool) for place, column in places}
    for numbers in train.split(_ROWS_AT_ONCE):
        open_still = [(place, column) for place, column in places if not seen[place].all()]
        if not open_still:
            break
        rows = inputs.index_select(0, numbers)
        for place, column in open_still:
            if column.is_embedded:
                codes = rows[:, place].long().unique()
                seen[place][codes[codes > 0] - 1] = True
            else:
                seen[place] |= (rows[:, place : place + len(column.values)] > 0).any(dim=0)
    return seen


def _forget(inputs: Tensor, place: int, column: ColumnEncoder, seen: Tensor) -> None:
    """Make zeros of the words that no training row has."""
    if not column.is_embedded:
        inputs[:, place : place + len(seen)] *= seen
        return
    kept = torch.cat([torch.tensor([False]), seen])
    codes = inputs[:, place]
    codes *= kept[codes.long()]


SAMPLE_ROWS = 256

Rows = tuple[Tensor, Tensor]

Part = Literal["train", "validation", "test"]

_ROWS_AT_ONCE = 65536


class DataModule(DatasetProperties, LightningDataModule):
    """A data set split by seed, scaled by what its training rows show, in batches from memory.

    Complete once constructed. There is one copy of the rows, and the parts are numbers of rows:
    `train`, `validation` and `test` gather theirs anew at each call, as (inputs, targets), scaled,
    on the CPU; `first` and `batches` gather no more than is asked for. Under a Trainer the rows
    move to the training device once, and batches are gathered there. The same seed gives the same
    rows, bit for bit.

    Rows that the module loaded itself are scaled where they lie once training begins, and
    `dataset` then holds them scaled. A Dataset that was given, and what a source of the user's
    own loads, is never changed: its rows are scaled by the batch, and so are bytes.

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
        check_one_of("normalize", normalize, KINDS)
        check_fractions(validation, test)
        if not isinstance(normalize_targets, bool):
            raise InputError(f"normalize_targets must be true or false; got {normalize_targets!r}.")
        # Kept for whoever describes the run: what was asked for.
        self.source = source
        self.fractions = (validation, test)
        self.normalize_targets = normalize_targets
        rows = load_dataset(source, self.seed)
        self._split = split(rows, validation=validation, test=test, seed=self.seed)
        self.dataset = without_unlearnt(rows, self._split.train, own=is_custom_data(source))
        self._scaled = False
        self._there: tuple[torch.device, Rows] | None = None
        self._state: dict[str, Any] | None = None
        self._use(
            scaling or fit_input_scaling(self.dataset, self._split.train, normalize),
            target_scaling
            or fit_target_scaling(self.dataset, self._split.train, scaled=normalize_targets),
        )

    @property
    def train(self) -> Rows:
        """All rows to train on, gathered and scaled: (inputs, targets)."""
        return self.gathered(self._split.train)

    @property
    def validation(self) -> Rows:
        """All rows to validate on, gathered and scaled: (inputs, targets)."""
        return self.gathered(self._split.validation)

    @property
    def test(self) -> Rows:
        """All rows to test on, gathered and scaled: (inputs, targets)."""
        return self.gathered(self._split.test)

    @property
    def sample(self) -> Rows:
        """At most 256 training rows, the same at every look, to watch the network with."""
        return self.first("train", SAMPLE_ROWS)  # the split left them in random order

    def first(self, part: Part, rows: int) -> Rows:
        """Return the first rows of a part, at most so many, scaled: (inputs, targets)."""
        return self.gathered(self.numbers(part)[:rows])

    def batches(self, part: Part, rows: int) -> Iterator[Rows]:
        """Yield a part in order, at most so many rows at a time, scaled: (inputs, targets).

        Fewer where they are large: each time 64 MB at most.
        """
        fitting = max(1, min(rows, MAX_BATCH_CELLS // self.inputs))
        return map(self.gathered, self.numbers(part).split(fitting))

    def numbers(self, part: Part) -> Tensor:
        """Return which rows of the data set a part consists of, (rows,)."""
        found: Tensor = getattr(self._split, part)
        return found

    def gathered(self, numbers: Tensor) -> Rows:
        """Return the rows of the data set with these numbers, scaled: (inputs, targets)."""
        inputs, targets = self.dataset.inputs, self.dataset.targets
        found = inputs.index_select(0, numbers), targets.index_select(0, numbers)
        return found if self._scaled else self._scaler(*found)

    def train_dataloader(self) -> InMemoryLoader:
        """Return batches of the training rows, in another order each epoch.

        Under a Trainer with `overfit_batches` the order stays, or it would be other rows each time.
        """
        # Lightning sets the attribute from outside its class, where type checkers do not see it.
        overfit = getattr(self.trainer, "overfit_batches", 0) > 0
        return self._loader("train", shuffle=not overfit)

    def val_dataloader(self) -> InMemoryLoader:
        """Return batches of the validation rows, in order."""
        return self._loader("validation")

    def test_dataloader(self) -> InMemoryLoader:
        """Return batches of the test rows, in order."""
        return self._loader("test")

    def transfer_batch_to_device(
        self,
        batch: Any,
        device: torch.device,
        dataloader_idx: int,
    ) -> Any:
        """Return the batch as it is: the loader already cut it on the training device."""
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return what was learnt of the training rows, as primitives and lists of them.

        The same each time, not a copy: of many columns it is large, and asked for at every
        checkpoint.
        """
        if self._state is None:
            self._state = {
                "scaling": self.scaling.to_dict(),
                "target_scaling": self.target_scaling.to_dict(),
                **self.told,
            }
        return self._state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from where a run was with these very data: scale all parts as it did.

        Raises:
            InputError: the data are no longer those of that run.
        """
        self.scale_as(state_dict)
        self.check_unchanged(state_dict)

    def scale_as(self, state: Mapping[str, Any]) -> None:
        """Scale all parts as the run did that told this `state_dict`, be the rows its own or not.

        Raises:
            InputError: inputs or answers mean something else than in that run.
        """
        scaling = Scaling.from_dict(state["scaling"])
        if len(scaling.shift) == self.inputs:  # or the scaling itself says what does not fit
            check_same_meaning(state, self.told, self.dataset.name)
        self._use(scaling, Scaling.from_dict(state["target_scaling"]))

    def check_unchanged(self, state: Mapping[str, Any]) -> None:
        """Hold the rows against those of the run that told this `state_dict`.

        Raises:
            InputError: they were read from files, and these hold others now.
        """
        check_same_rows(state, self.told, self.dataset.name)

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
        """Scale by these from now on; rows that were scaled in place are loaded anew."""
        if self._scaled and (scaling, target_scaling) == (self.scaling, self.target_scaling):
            return
        if self._scaled:
            self.dataset, self._scaled = self._loaded_again(), False
        self._there = self._state = None
        inputs, targets = self.dataset.inputs[:0].float(), self.dataset.targets[:0]
        of_targets = target_scaling.columns_like(targets) if self.task == "regression" else None
        self._scaler = Scaler(scaling.columns_like(inputs), of_targets)
        self.scaling: Scaling = scaling
        self.target_scaling: Scaling = target_scaling

    def _loaded_again(self) -> Dataset:
        """Return the rows as measured; a file that has changed meanwhile is refused."""
        again = load_dataset(self.source, self.seed)
        if len(again) == len(self.dataset):
            again = without_unlearnt(again, self._split.train, own=True)
        check_same_rows(self.told, describe_dataset(again, self.target_names), again.name)
        return again

    def _scale_in_place(self) -> None:
        """Scale the rows where they lie, if they are the module's own and floats."""
        rows = (self.dataset.inputs, self.dataset.targets)
        if self._scaled or not is_custom_data(self.source) or not rows[0].is_floating_point():
            return
        _ = self.told  # of the rows as they were measured
        for part in zip(*(each.split(_ROWS_AT_ONCE) for each in rows), strict=True):
            self._scaler(*part)
        self._scaled = True

    def _loader(self, part: Part, *, shuffle: bool = False) -> InMemoryLoader:
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        self._scale_in_place()
        if self._there is None or self._there[0] != device:
            rows = self.dataset.inputs.to(device), self.dataset.targets.to(device)
            self._there = (device, rows)
        inputs, targets = self._there[1]
        return InMemoryLoader(
            inputs,
            targets,
            batch_size=self.batch_size,
            part=self.numbers(part).to(device),
            ready=None if self._scaled else self._scaler.to(device),
            shuffle=shuffle,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
