"""TrainedModel: a finished run, loaded to make predictions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from brainnet.concepts import Concept
from brainnet.config.instantiate import TargetAllowList, instantiate
from brainnet.config.network import build_network
from brainnet.data.dataset import ImageShape, InputEncoder, restore_encoder
from brainnet.data.preprocessing import TableEncoder, UnknownCategories
from brainnet.data.scaling import Scaling
from brainnet.data.validation import format_count, report_warning
from brainnet.errors import InputError
from brainnet.explanation.explanation import Explanation
from brainnet.explanation.row_explanation import PredictionTask
from brainnet.explanation.signal_names import SignalNames
from brainnet.inference.inputs import (
    count_unknown_categories,
    encode_rows,
    warn_unknown_categories,
)
from brainnet.learning.loss import DEFAULT_LOSS, LOSSES, Task
from brainnet.learning.predictions import (
    PREDICTION_COLUMN,
    PROBABILITY_PREFIX,
    compute_outputs,
    compute_probabilities,
    decode_predictions,
)
from brainnet.structure.network import Network
from brainnet.training.checkpoint_files import (
    BRAINNET_KEY,
    NETWORK_PREFIX,
    SCALING_KEY,
    load_checkpoint,
    load_network,
)
from brainnet.training.run_directory import Run, find_run

if TYPE_CHECKING:
    import pandas as pd

    from brainnet.inference.explain_row import RowExplainer

_PIXEL = re.compile(r"row (\d+) column (\d+)")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TrainedModel:
    """A trained network that predicts raw rows; several threads may use it at once.

    Rows contain the raw columns of the training data, neither scaled nor encoded. Columns of a
    DataFrame, a mapping of columns or a list of mappings are matched by name; those of an array, a
    tensor or nested lists by position.

    Shape:
        inputs:        (rows, inputs) float32
        outputs:       (rows, outputs)
        probabilities: (rows, classes)

    The same rows in the same order give the same predictions, bit for bit.

    Attributes:
        network: the network, in evaluation mode.
        loss: the loss it was trained with, which defines the meaning of the outputs.
        class_names: one name per class; empty for regression.
        target_names: one name per number to predict; empty for classes.
        data_state: the stored `DataModule.state_dict`, from which the data were restored.
    """

    run: Run
    checkpoint: Path
    config: dict[str, Any]
    network: nn.Module
    loss: nn.Module
    task: Task
    class_names: tuple[str, ...]
    target_names: tuple[str, ...]
    encoder: InputEncoder
    scaling: Scaling
    target_scaling: Scaling
    image_shape: ImageShape | None = None
    data_state: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the checkpoint, the task, and the numbers of inputs and outputs."""
        inputs, classes = len(self.scaling.shift), len(self.class_names)
        targets = f"{classes} classes" if classes else ", ".join(self.target_names)
        return f"TrainedModel({self.checkpoint}: {self.task}, {inputs} inputs, {targets})"

    def compute_inputs(self, rows: Any, *, unknown: UnknownCategories = "ignore") -> Tensor:
        """Encode and scale raw rows; the arguments are as for `predict`."""
        return self.scaling.apply(encode_rows(rows, self.encoder, unknown=unknown))

    def compute_outputs(self, rows: Any) -> Tensor:
        """Return the outputs of the network for raw rows, on the CPU."""
        return compute_outputs(self.network, self.compute_inputs(rows))

    def compute_probabilities(self, rows: Any) -> Tensor | None:
        """Return the probability of each class for raw rows, or None if there are none."""
        return compute_probabilities(self.compute_outputs(rows), self.loss, self.task)

    def predict(self, rows: Any, *, unknown: UnknownCategories = "ignore") -> "pd.DataFrame":
        """Predict raw rows.

        Args:
            rows: raw rows.
            unknown: whether categories not seen in training are encoded as unknown ("ignore") or
                are an error.

        Returns:
            A column `prediction` with the name of the class, or the number in its own unit
            (several numbers: a column `prediction NAME` each); for classes also a column
            `probability NAME` per class. The index of a DataFrame is kept.

        Raises:
            InputError: a column is missing, or a cell cannot be read.

        """
        import pandas as pd

        inputs = encode_rows(rows, self.encoder, unknown=unknown)
        if isinstance(self.encoder, TableEncoder):
            warn_unknown_categories(count_unknown_categories(self.encoder, inputs))
        outputs = compute_outputs(self.network, self.scaling.apply(inputs))
        # After the prediction: a single warning for all rows.
        warn_missing_predictions(count_missing_predictions(outputs), len(outputs))
        index = rows.index if isinstance(rows, pd.DataFrame) else None
        return pd.DataFrame(self.decode_outputs(outputs), index=index)

    def decode_outputs(self, outputs: Tensor) -> dict[str, Any]:
        """Return outputs (rows, outputs) as named columns (rows,); see `predict`."""
        # NumPy and pandas have no bfloat16.
        if outputs.dtype in (torch.bfloat16, torch.float16):
            outputs = outputs.float()
        predictions = decode_predictions(outputs, self.loss, self.task)
        if self.task == "regression":
            numbers = self.target_scaling.undo(predictions).numpy()
            names = [f"{PREDICTION_COLUMN} {name}" for name in self.target_names]
            names = [PREDICTION_COLUMN] if numbers.shape[1] == 1 else names
            return dict(zip(names, numbers.T, strict=True))
        labels = np.array(self.class_names, dtype=object)[predictions.numpy()]
        # `argmax` of NaN is a class, too; no prediction is better than a wrong one.
        labels[~outputs.isfinite().all(dim=1).numpy()] = None
        columns: dict[str, Any] = {PREDICTION_COLUMN: labels}
        probabilities = compute_probabilities(outputs, self.loss, self.task)
        if probabilities is not None:
            for position, name in enumerate(self.class_names):
                columns[PROBABILITY_PREFIX + name] = probabilities[:, position].numpy()
        return columns

    def explain(self, concept: Concept | str | None = None, *, row: Any = None) -> Explanation:
        """Explain the run in its own numbers; the arguments are those of `brainnet.explain`."""
        return self.build_explainer().explain(concept, row=row)

    def build_explainer(self, allow_list: TargetAllowList | None = None) -> "RowExplainer":
        """Return an object that explains the run and its rows; `allow_list` is as for `load`."""
        # Imported here, because Lightning takes two seconds and `predict` does not need it.
        from brainnet.inference.explain_row import RowExplainer

        return RowExplainer(self, allow_list)

    def build_prediction_task(self) -> PredictionTask:
        """Return how to read inputs and outputs of the network, for explanations."""
        names, categories = self.encoder.names, {}
        if isinstance(self.encoder, TableEncoder):
            embedded = [column for column in self.encoder.columns if column.is_embedded]
            positions = sorted(self.encoder.embeddings)
            categories = {p: c.values for p, c in zip(positions, embedded, strict=True)}
        else:
            # "row 3 column 5" is too long to stand next to a number.
            pixels = (_PIXEL.sub(r"\1,\2", name) for name in names)
            names = tuple(name if name[0].isalpha() else f"pixel {name}" for name in pixels)
        baselines = {"standard": "an average row", "minmax": "a row of the smallest values"}
        baseline = baselines.get(self.scaling.kind, "a row of zeros")
        if self.scaling.kind != "standard" and self.image_shape is not None:
            baseline = "an empty image"
        is_regression = self.task == "regression"
        outputs = self.target_names if is_regression else self.class_names
        return PredictionTask(
            task=self.task,
            loss=self.loss,
            names=SignalNames(names, outputs, categories),
            target_scaling=self.target_scaling if is_regression else None,
            image_shape=self.image_shape,
            baseline=baseline,
        )


def count_missing_predictions(outputs: Tensor) -> int:
    """Return the number of rows whose outputs are not finite."""
    return int((~outputs.isfinite().all(dim=1)).sum())


def warn_missing_predictions(missing: int, rows: int) -> None:
    """Report rows without a prediction, if there are any."""
    if missing:
        report_warning(
            f"{missing:,} of {format_count(rows, 'row')} have no prediction: their inputs are so "
            "large that the outputs of the network are not finite."
        )


def load(
    run: Run | Path | str,
    *,
    network: nn.Module | None = None,
    loss: nn.Module | None = None,
    checkpoint: Literal["best", "last"] = "best",
    device: torch.device | str = "cpu",
    allow_list: TargetAllowList | None = None,
) -> TrainedModel:
    """Load a trained network, ready to predict raw rows.

    Args:
        run: its directory, `latest`, or a checkpoint file.
        network: a network like the trained one, if it is a class of your own; it receives the
            weights of the run.
        loss: the loss of the run, if it is a class of your own.
        checkpoint: the best on the validation rows, or the last.
        device: on which the network computes; predictions are returned on the CPU.
        allow_list: classes that the run may name, by default those of the environment variable
            BRAINNET_ALLOW.

    Raises:
        InputError: there is no such run, or it names a class that is not allowed.

    Example:
        >>> import tempfile
        >>> from brainnet import Network, fit
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     run = fit(Network([4, 8, 3]), "iris", folder=f"{runs}/iris", progress=False)
        ...     trained = load(run.folder)
        >>> trained.predict([[5.1, 3.5, 1.4, 0.2]]).shape
        (1, 4)
    """
    run = run if isinstance(run, Run) else find_run(run)
    if checkpoint not in ("best", "last"):
        raise InputError(f"checkpoint must be best or last; got {checkpoint!r}.")
    path = run.best if checkpoint == "best" else run.last
    stored = load_checkpoint(path)
    # Checkpoints come from other users: they may name known classes only.
    allow_list = allow_list or TargetAllowList()
    try:
        trained = _restore_model(run, path, stored, network, loss, allow_list)
    except InputError:
        raise
    # Any value of a file that was edited, or written by another program, can be invalid.
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise InputError(
            f"{path} contains an invalid configuration or description of its data "
            f"({type(e).__name__}: {e}). Use another checkpoint, or train the run again."
        ) from e
    load_network(trained.network, stored)
    trained.network.to(device).eval()
    return trained


def _restore_model(
    run: Run,
    path: Path,
    stored: Mapping[str, Any],
    network: nn.Module | None,
    loss: nn.Module | None,
    allow_list: TargetAllowList,
) -> TrainedModel:
    """Build everything that a checkpoint describes; the network does not have its weights yet."""
    config, state = stored[BRAINNET_KEY]["config"], stored[BRAINNET_KEY][SCALING_KEY]
    encoder, shape = restore_encoder(state["encoder"]), state["image_shape"]
    # Not `or`, which would call the `__len__` of a compiled network.
    if loss is None:
        options, default = config.get("loss") or {}, LOSSES[DEFAULT_LOSS[state["task"]]]
        has_target = options.get("_target_") is not None
        loss = instantiate(options, "loss", allow_list) if has_target else default()
    if network is None:
        # Building a network draws initial weights; the caller's random numbers must not change.
        with torch.random.fork_rng(devices=[]):
            network = _rebuild_network(config, stored, state, encoder, allow_list)
    weights = (v for k, v in stored["state_dict"].items() if k.startswith(NETWORK_PREFIX))
    return TrainedModel(
        run=run,
        checkpoint=path,
        config=config,
        # The dtype of training: converting float64 weights to float32 would lose digits.
        network=network.to(next((w.dtype for w in weights if w.is_floating_point()), None)),
        loss=loss.eval(),
        task=state["task"],
        class_names=tuple(state["class_names"]),
        target_names=tuple(state["target_names"]),
        encoder=encoder,
        scaling=Scaling.from_dict(state["scaling"]),
        target_scaling=Scaling.from_dict(state["target_scaling"]),
        image_shape=shape and cast(ImageShape, tuple(shape)),
        data_state=state,
    )


def _rebuild_network(
    config: Mapping[str, Any],
    stored: Mapping[str, Any],
    state: Mapping[str, Any],
    encoder: InputEncoder,
    allow_list: TargetAllowList,
) -> nn.Module:
    options = config.get("network") or {}
    # The command line stores the sizes of any class; `fit` knows only its own.
    if "outputs" not in options:
        raise InputError(
            f"the network of this run ({options.get('_target_')}) was passed in Python, and its "
            "configuration does not say how to build it again. Pass one like it: "
            "brainnet.load(RUN, network=...)."
        )
    # A Network passed to `fit` may have been built without embeddings for the category codes.
    is_custom = options.get("_target_") != f"{Network.__module__}.Network"
    prefix = f"{NETWORK_PREFIX}embeddings."
    has_embeddings = is_custom or any(key.startswith(prefix) for key in stored["state_dict"])
    return build_network(
        config,
        allow_list,
        inputs=len(state["scaling"]["shift"]),
        outputs=options["outputs"],
        embeddings=encoder.embeddings if has_embeddings else {},
        image_shape=state["image_shape"],
    )
