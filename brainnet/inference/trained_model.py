"""TrainedModel: a finished run, loaded to make predictions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from brainnet.concepts import Concept
from brainnet.config.components import build_network
from brainnet.config.instantiate import (
    ALLOWED_ROOTS,
    TargetAllowList,
    instantiate,
    is_under,
    read_allowed_roots,
)
from brainnet.data.dataset import ImageShape, InputEncoder, restore_encoder
from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import TableEncoder, UnknownCategories
from brainnet.data.scaling import Scaling
from brainnet.data.validation import report_warning
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


def describe_question(
    task: Task,
    loss: nn.Module,
    *,
    encoder: InputEncoder,
    outputs: tuple[str, ...],
    scaling: Scaling,
    target_scaling: Scaling,
    image_shape: ImageShape | None,
) -> PredictionTask:
    """What a network was asked, and how its outputs are to be read.

    Args:
        task: what it learnt.
        loss: by which it learnt.
        encoder: how raw rows become inputs as measured.
        outputs: names of the classes, or of the numbers to predict.
        scaling: of the inputs.
        target_scaling: of the numbers to predict.
        image_shape: of a row that is a picture.
    """
    words = {}
    if isinstance(encoder, TableEncoder):
        coded = [column for column in encoder.columns if column.is_embedded]
        positions = sorted(encoder.embeddings)
        words = {place: each.values for place, each in zip(positions, coded, strict=True)}
    return PredictionTask(
        task=task,
        loss=loss,
        names=SignalNames(_short(encoder), outputs, words),
        decode=partial(decode_predictions, loss=loss, task=task),
        probabilities=partial(compute_probabilities, loss=loss, task=task),
        target_scaling=target_scaling if task == "regression" else None,
        image_shape=None if image_shape is None else tuple(image_shape),
        baseline=_zero(scaling, image_shape),
    )


def _short(encoder: InputEncoder) -> tuple[str, ...]:
    """The names of the inputs; those of pixels so short that they fit beside a number."""
    names = encoder.names
    if isinstance(encoder, ImageEncoder):
        short = (_PIXEL.sub(r"\1,\2", name) for name in names)
        return tuple(name if name[0].isalpha() else f"pixel {name}" for name in short)
    return names


def _zero(scaling: Scaling, image_shape: ImageShape | None) -> str:
    """What a row of zeros stands for, as the run scaled its inputs."""
    if scaling.kind == "standard":
        return "an average row"
    if image_shape is not None:
        return "an empty picture"
    return "a row of the smallest values" if scaling.kind == "minmax" else "a row of zeros"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TrainedModel:
    """A trained network that answers raw rows; several threads may ask at once.

    Rows may be a DataFrame, a mapping of columns or a list of mappings, whose columns go by name
    (more than needed do no harm), or an array, a tensor or nested lists, which go by position:
    the columns that the run learnt from, as measured, neither scaled nor encoded.

    Shape:
        inputs:        (rows, inputs) float32
        outputs:       (rows, outputs)
        probabilities: (rows, classes)

    The same rows in the same order are answered the same, to the bit. On their own or among others
    they may differ in the last bit, as sums over other numbers of rows are taken in another order.

    Attributes:
        run: where it came from.
        checkpoint: the file of its weights.
        config: of the run.
        network: in evaluation mode.
        loss: what it learnt by, which knows what outputs mean.
        task: "multiclass", "binary" or "regression".
        class_names: what each class is called; empty for a regression.
        target_names: what each number to predict is called; empty for classes.
        encoder: how raw rows become inputs as measured.
        scaling: how these were scaled.
        target_scaling: how the numbers to predict were scaled.
        image_shape: where a row is a picture.
        learnt: what the checkpoint tells of the data, these among it; see `DataModule.state_dict`.
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
    learnt: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return where it came from, the task, and how much goes in and comes out."""
        inputs, classes = len(self.scaling.shift), len(self.class_names)
        answers = f"{classes} classes" if classes else ", ".join(self.target_names)
        return f"Trained({self.checkpoint}: {self.task}, {inputs} inputs, {answers})"

    def inputs(self, rows: Any, *, unknown: UnknownCategories = "ignore") -> Tensor:
        """Return raw rows as the network reads them: encoded and scaled.

        Args:
            rows: as above.
            unknown: what to do with a category that training never saw: take it for none of those
                it saw, or refuse the rows.

        Raises:
            InputError: a column is missing, or a cell cannot be read.
        """
        return self.scaling.apply(self.measured(rows, unknown=unknown))

    def measured(self, rows: Any, *, unknown: UnknownCategories = "ignore") -> Tensor:
        """Return raw rows as inputs before they are scaled; see `inputs`."""
        return encode_rows(rows, self.encoder, unknown=unknown)

    def outputs(self, rows: Any) -> Tensor:
        """Return what the network gives for raw rows, as its loss takes it, on the CPU."""
        return compute_outputs(self.network, self.inputs(rows))

    def probabilities(self, rows: Any) -> Tensor | None:
        """Return the share that each class is given, or None where there are none."""
        return compute_probabilities(self.outputs(rows), self.loss, self.task)

    def predict(
        self,
        rows: Any,
        *,
        unknown: UnknownCategories = "ignore",
    ) -> "pd.DataFrame":
        """Return an answer for each row.

        Args:
            rows: as above.
            unknown: as for `inputs`.

        Returns:
            The column `prediction`: the name of the class, or the number in its own units (several:
            `prediction NAME` each); and for classes `probability NAME` of each. A DataFrame's
            index is kept.

        Raises:
            InputError: a column is missing, or a cell cannot be read.

        Example:
            >>> import tempfile
            >>> from brainnet import Network, fit, load
            >>> with tempfile.TemporaryDirectory() as runs:
            ...     run = fit(Network([4, 8, 3]), "iris", folder=f"{runs}/iris", progress=False)
            ...     trained = load(run.folder)
            >>> trained.predict([[5.1, 3.5, 1.4, 0.2]]).shape
            (1, 4)
        """
        import pandas as pd

        index = rows.index if isinstance(rows, pd.DataFrame) else None
        found = self.measured(rows, unknown=unknown)
        if isinstance(self.encoder, TableEncoder):
            warn_unknown_categories(count_unknown_categories(self.encoder, found))
        outputs = compute_outputs(self.network, self.scaling.apply(found))
        warn_dropped_rows(find_dropped_rows(outputs), len(outputs))
        return pd.DataFrame(self.told(outputs), index=index)

    def answer(
        self,
        rows: Any,
        *,
        unknown: UnknownCategories = "ignore",
    ) -> dict[str, Any]:
        """Return the same as `predict`, as arrays (rows,) by the name of the column."""
        return self.told(compute_outputs(self.network, self.inputs(rows, unknown=unknown)))

    def told(self, outputs: Tensor) -> dict[str, Any]:
        """Return what outputs (rows, outputs) say, as named columns; see `predict`."""
        if outputs.dtype in (torch.bfloat16, torch.float16):  # which NumPy or pandas do not know
            outputs = outputs.float()
        found = decode_predictions(outputs, self.loss, self.task)
        if self.task == "regression":
            numbers = self.target_scaling.undo(found).numpy()
            if numbers.shape[1] == 1:
                return {PREDICTION_COLUMN: numbers[:, 0]}
            return {
                f"{PREDICTION_COLUMN} {name}": numbers[:, column]
                for column, name in enumerate(self.target_names)
            }
        named = np.array(self.class_names, dtype=object)[found.numpy()]
        named[~outputs.isfinite().all(dim=1).numpy()] = None
        columns: dict[str, Any] = {PREDICTION_COLUMN: named}
        shares = compute_probabilities(outputs, self.loss, self.task)
        if shares is not None:
            for column, name in enumerate(self.class_names):
                columns[PROBABILITY_PREFIX + name] = shares[:, column].numpy()
        return columns

    def explanation(
        self,
        concept: Concept | str | None = None,
        *,
        row: Any = None,
    ) -> Explanation:
        """Tell of the run in words and its own numbers; see `brainnet.explain`.

        Args:
            concept: one of the eleven; a line of each where None.
            row: a row of the run's data by its number, or a raw row: why it gets its answer.

        Raises:
            InputError: there is no such concept or row.
        """
        return self.account().explanation(concept, row=row)

    def account(self, consent: TargetAllowList | None = None) -> "RowExplainer":
        """What the run has to say of itself: of each concept, and of why a row gets its answer.

        Args:
            consent: which classes the run's data may name, beside the built-in ones; those of the
                environment variable BRAINNET_ALLOW where None.
        """
        # Here, not above: a fifth of a second, and Lightning; whoever predicts asks for no reasons.
        from brainnet.inference.explain_row import History, OwnRows, RowExplainer

        question = describe_question(
            self.task,
            self.loss,
            encoder=self.encoder,
            outputs=self.target_names if self.task == "regression" else self.class_names,
            scaling=self.scaling,
            target_scaling=self.target_scaling,
            image_shape=self.image_shape,
        )
        return RowExplainer(
            network=self.network,
            encoder=self.encoder,
            scaling=self.scaling,
            task=question,
            own=OwnRows(self.config, self.learnt, self.scaling, self.target_scaling, consent),
            history=History(self.run.folder, self.config, self.checkpoint),
        )


def find_dropped_rows(outputs: Tensor) -> int:
    """How many rows a network has no finite answer to."""
    return int((~outputs.isfinite().all(dim=1)).sum())


def warn_dropped_rows(lost: int, rows: int) -> None:
    """Tell of rows without an answer, if there are some."""
    if lost:
        report_warning(
            f"{lost:,} of {rows:,} rows have no answer: with their numbers those of the network "
            "are no longer finite."
        )


def load(
    run: Run | Path | str,
    *,
    network: nn.Module | None = None,
    loss: nn.Module | None = None,
    checkpoint: Literal["best", "last"] = "best",
    device: torch.device | str = "cpu",
    consent: TargetAllowList | None = None,
) -> TrainedModel:
    """Load a trained network, ready to answer raw rows.

    Args:
        run: its folder, `latest`, or a checkpoint file.
        network: where it is a class of your own: one as the run trained it. It is given the run's
            weights.
        loss: where it is a class of your own: one as the run was trained by.
        checkpoint: the best on the validation rows, or the last.
        device: where the network computes; answers come back to the CPU.
        consent: which classes beyond the built-in ones the run may name; those of the environment
            variable BRAINNET_ALLOW where None.

    Raises:
        InputError: there is no such run, or it names a class that is not allowed.

    Example:
        >>> import tempfile
        >>> from brainnet import Network, fit
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     run = fit(Network([4, 8, 3]), "iris", folder=f"{runs}/iris", progress=False)
        ...     trained = load(run.folder)
        >>> trained.task
        'multiclass'
    """
    found = run if isinstance(run, Run) else find_run(run)
    if checkpoint not in ("best", "last"):
        raise InputError(f"checkpoint must be best or last; got {checkpoint!r}.")
    path = found.best if checkpoint == "best" else found.last
    stored = load_checkpoint(path)
    config, state = _config(stored, path), _state(stored, path)
    allow_list = consent or TargetAllowList(roots=read_allowed_roots())
    scaling = Scaling.from_dict(state["scaling"])
    encoder = _preparation(state, scaling)
    judged = loss or _loss(config, state, allow_list)
    shape = state.get("image_shape")
    embedded = encoder.embeddings if _reads_codes(config, stored["state_dict"]) else {}
    with torch.random.fork_rng(devices=[]):  # the random numbers of whoever loads stay as they are
        made = network or _network(config, allow_list, len(scaling.shift), embedded, shape)
    weights = [
        value for key, value in stored["state_dict"].items() if key.startswith(NETWORK_PREFIX)
    ]
    numbers = next((value.dtype for value in weights if value.is_floating_point()), None)
    made = made.to(numbers)  # as trained: float64 weights would lose bits
    load_network(made, stored)
    outputs = int(config["network"].get("outputs") or 0)
    task = state.get("task") or _task(judged, outputs)
    classes = () if task == "regression" else tuple(map(str, range(max(2, outputs))))
    return TrainedModel(
        run=found,
        checkpoint=path,
        config=config,
        network=made.to(device).eval(),
        loss=judged.eval(),
        task=task,
        class_names=tuple(state.get("class_names", classes)),
        target_names=tuple(state.get("target_names", ())),
        encoder=encoder,
        scaling=scaling,
        target_scaling=Scaling.from_dict(state["target_scaling"]),
        image_shape=None if shape is None else cast(ImageShape, tuple(shape)),
        learnt=state,
    )


def _reads_codes(config: Mapping[str, Any], weights: Mapping[str, Any]) -> bool:
    """Whether the network had vectors for codes; one that was handed over may have had none."""
    own = (config.get("network") or {}).get("_target_") == f"{Network.__module__}.Network"
    return not own or any(key.startswith(f"{NETWORK_PREFIX}embeddings.") for key in weights)


def _config(stored: Mapping[str, Any], path: Path) -> dict[str, Any]:
    config: dict[str, Any] = stored[BRAINNET_KEY]["config"]
    parts = {name: config.get(name) for name in ("network", "loss", "data", "activation")}
    wrong = [name for name, part in parts.items() if not isinstance(part, Mapping | None)]
    if not isinstance(config.get("seed", 0), int):
        wrong.append("seed")
    if wrong:
        raise InputError(
            f"the configuration in {path} is damaged: {wrong[0]} is {config[wrong[0]]!r}, which no "
            "run has. Train the run anew, or take another checkpoint."
        )
    return config


def _state(stored: Mapping[str, Any], path: Path) -> dict[str, Any]:
    state = stored[BRAINNET_KEY].get(SCALING_KEY)
    if not isinstance(state, dict) or not {"scaling", "target_scaling"} <= set(state):
        raise InputError(
            f"{path} does not say how its data were scaled, and without that no row can be "
            "answered. Train the run anew."
        )
    return state


def _preparation(state: Mapping[str, Any], scaling: Scaling) -> InputEncoder:
    stored = state.get("encoder")
    if stored is not None:
        return restore_encoder(stored)
    return TableEncoder.from_names([f"input_{column}" for column in range(len(scaling.shift))])


def _task(loss: nn.Module, outputs: int) -> Task:
    tasks = getattr(loss, "tasks", ("multiclass",))
    if "regression" in tasks:
        return "regression"
    return "binary" if outputs in (1, 2) else "multiclass"


def _loss(
    config: Mapping[str, Any], state: Mapping[str, Any], allow_list: TargetAllowList
) -> nn.Module:
    options = config.get("loss") or {}
    if options.get("_target_") is None:
        return LOSSES[DEFAULT_LOSS[cast(Task, state["task"])]]()
    _check_own("loss", options, allow_list)
    loss: nn.Module = instantiate(options, "loss", allow_list)
    return loss


def _network(
    config: Mapping[str, Any],
    allow_list: TargetAllowList,
    inputs: int,
    embedded: Mapping[int, int],
    image_shape: Sequence[int] | None,
) -> nn.Module:
    options = config.get("network") or {}
    _check_own("network", options, allow_list)
    if "outputs" not in options:
        raise InputError(
            f"the network of this run ({options.get('_target_')}) was handed over in Python, and "
            "its configuration does not say how to make it again. Hand over one like it: "
            "brainnet.load(RUN, network=...)."
        )
    return build_network(
        config,
        allow_list,
        inputs=inputs,
        outputs=options["outputs"],
        embeddings=embedded,
        image_shape=image_shape,
    )


def _check_own(part: str, options: Mapping[str, Any], consent: TargetAllowList) -> None:
    """Raise an InputError that says how to hand over a class of the user's, unless allowed."""
    target = str(options.get("_target_"))
    if target not in consent.typed and not is_under(target, ALLOWED_ROOTS + consent.roots):
        raise InputError(
            f"the {part} of this run is a class of its own, {target}. If you trust it, hand one "
            f"over in Python, brainnet.load(RUN, {part}=...), or allow its module: "
            f"BRAINNET_ALLOW={target.rpartition('.')[0]} (on the command line also "
            f"{part}._target_={target})."
        )
