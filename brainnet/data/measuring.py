"""Measuring: how inputs and targets of a data set are scaled, by its training rows alone."""

from torch import Tensor

from brainnet.data.dataset import Dataset
from brainnet.data.pixels import Pixels
from brainnet.data.scaling import Kind, Scaling


def scaling_of_inputs(dataset: Dataset, rows: Tensor, kind: Kind) -> Scaling:
    """Return how the inputs are scaled: a colour as one, and codes of categories not at all."""
    preparation = dataset.preparation
    return Scaling.fit(
        dataset.inputs,
        kind,
        rows=rows,
        channels=preparation.channels if isinstance(preparation, Pixels) else None,
        codes=() if preparation is None else preparation.embedded,
        impute=preparation is not None and preparation.imputes,
    )


def scaling_of_targets(dataset: Dataset, rows: Tensor, *, scaled: bool) -> Scaling:
    """Return how the targets are scaled; classes never are."""
    if dataset.task != "regression":  # one column, which is never scaled
        return Scaling("none", (0.0,), (1.0,))
    return Scaling.fit(dataset.targets, "standard" if scaled else "none", rows=rows)
