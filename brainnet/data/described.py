"""Described: what is asked of data again and again, told by the data set that they are."""

from functools import cached_property
from typing import Any

from brainnet.data.columns import Columns
from brainnet.data.dataset import Dataset, ImageShape
from brainnet.data.identity import told_of
from brainnet.data.preparation import Preparation
from brainnet.learning.loss import Task


class Described:
    """Tells of a data set that something holds: its task, its sizes, and what all is called."""

    dataset: Dataset

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
    def target_names(self) -> tuple[str, ...]:
        """What each number to predict is called; empty for classes."""
        if self.class_names or self.dataset.target_names:
            return self.dataset.target_names
        return tuple(f"target_{column}" for column in range(self.targets))

    @property
    def image_shape(self) -> ImageShape | None:
        """(height, width), or (channels, height, width), where a row of inputs is a picture."""
        return self.dataset.image_shape

    @property
    def preparation(self) -> Preparation:
        """How raw rows become inputs; numbers do as they are."""
        return self.dataset.preparation or Columns.numbers(self.input_names)

    @cached_property  # written with every checkpoint, and never changed
    def told(self) -> dict[str, Any]:
        """What the data are, apart from how they are scaled, as primitives and lists of them."""
        return told_of(self.dataset, self.target_names)
