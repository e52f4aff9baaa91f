"""Trained: a run's network with all it takes to answer raw rows, as at the end of its training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from brainnet.answering.rows import measured, note_never_seen
from brainnet.building.targets import Consent
from brainnet.concepts import Concept
from brainnet.data.column import Unseen
from brainnet.data.columns import Columns
from brainnet.data.dataset import ImageShape
from brainnet.data.notes import note
from brainnet.data.preparation import Preparation
from brainnet.data.scaling import Scaling
from brainnet.explanation import Explanation
from brainnet.learning.loss import Task
from brainnet.training.answers import PREDICTION, PROBABILITY, answers, outputs_of, probabilities
from brainnet.training.run_folder import Run

if TYPE_CHECKING:
    import pandas as pd

    from brainnet.answering.account import Account


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Trained:
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
        preparation: how raw rows become inputs as measured.
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
    preparation: Preparation
    scaling: Scaling
    target_scaling: Scaling
    image_shape: ImageShape | None = None
    learnt: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return where it came from, the task, and how much goes in and comes out."""
        inputs, classes = len(self.scaling.shift), len(self.class_names)
        answers = f"{classes} classes" if classes else ", ".join(self.target_names)
        return f"Trained({self.checkpoint}: {self.task}, {inputs} inputs, {answers})"

    def inputs(self, rows: Any, *, unseen: Unseen = "other") -> Tensor:  # noqa: ANN401
        """Return raw rows as the network reads them: encoded and scaled.

        Args:
            rows: as above.
            unseen: what to do with a category that training never saw: take it for none of those
                it saw, or refuse the rows.

        Raises:
            InputError: a column is missing, or a cell cannot be read.
        """
        return self.scaling.apply(self.measured(rows, unseen=unseen))

    def measured(self, rows: Any, *, unseen: Unseen = "other") -> Tensor:  # noqa: ANN401
        """Return raw rows as inputs before they are scaled; see `inputs`."""
        return measured(rows, self.preparation, unseen=unseen)

    def outputs(self, rows: Any) -> Tensor:  # noqa: ANN401
        """Return what the network gives for raw rows, as its loss takes it, on the CPU."""
        return outputs_of(self.network, self.inputs(rows))

    def probabilities(self, rows: Any) -> Tensor | None:  # noqa: ANN401
        """Return the share that each class is given, or None where there are none."""
        return probabilities(self.outputs(rows), self.loss, self.task)

    def predict(
        self,
        rows: Any,  # noqa: ANN401
        *,
        unseen: Unseen = "other",
    ) -> "pd.DataFrame":
        """Return an answer for each row.

        Args:
            rows: as above.
            unseen: as for `inputs`.

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
        found = self.measured(rows, unseen=unseen)
        if isinstance(self.preparation, Columns):
            note_never_seen(self.preparation, found)
        outputs = outputs_of(self.network, self.scaling.apply(found))
        note_lost(lost_rows(outputs), len(outputs))
        return pd.DataFrame(self.told(outputs), index=index)

    def answer(
        self,
        rows: Any,  # noqa: ANN401
        *,
        unseen: Unseen = "other",
    ) -> dict[str, Any]:
        """Return the same as `predict`, as arrays (rows,) by the name of the column."""
        return self.told(outputs_of(self.network, self.inputs(rows, unseen=unseen)))

    def told(self, outputs: Tensor) -> dict[str, Any]:
        """Return what outputs (rows, outputs) say, as named columns; see `predict`."""
        if outputs.dtype in (torch.bfloat16, torch.float16):  # which NumPy or pandas do not know
            outputs = outputs.float()
        found = answers(outputs, self.loss, self.task)
        if self.task == "regression":
            numbers = self.target_scaling.undo(found).numpy()
            if numbers.shape[1] == 1:
                return {PREDICTION: numbers[:, 0]}
            return {
                f"{PREDICTION} {name}": numbers[:, column]
                for column, name in enumerate(self.target_names)
            }
        named = np.array(self.class_names, dtype=object)[found.numpy()]
        named[~outputs.isfinite().all(dim=1).numpy()] = None
        columns: dict[str, Any] = {PREDICTION: named}
        shares = probabilities(outputs, self.loss, self.task)
        if shares is not None:
            for column, name in enumerate(self.class_names):
                columns[PROBABILITY + name] = shares[:, column].numpy()
        return columns

    def explanation(
        self,
        concept: Concept | str | None = None,
        *,
        row: Any = None,  # noqa: ANN401
    ) -> Explanation:
        """Tell of the run in words and its own numbers; see `brainnet.explain`.

        Args:
            concept: one of the eleven; a line of each where None.
            row: a row of the run's data by its number, or a raw row: why it gets its answer.

        Raises:
            InputError: there is no such concept or row.
        """
        return self.account().explanation(concept, row=row)

    def account(self, consent: Consent | None = None) -> "Account":
        """What the run has to say of itself: of each concept, and of why a row gets its answer.

        Args:
            consent: which classes the run's data may name, beside the built-in ones; those of the
                environment variable BRAINNET_ALLOW where None.
        """
        # Here, not above: a fifth of a second, and Lightning; whoever predicts asks for no reasons.
        from brainnet.answering.account import Account
        from brainnet.answering.asked import question_of
        from brainnet.answering.history import History
        from brainnet.answering.own_rows import OwnRows

        question = question_of(
            self.task,
            self.loss,
            preparation=self.preparation,
            outputs=self.target_names if self.task == "regression" else self.class_names,
            scaling=self.scaling,
            target_scaling=self.target_scaling,
            image_shape=self.image_shape,
        )
        return Account(
            network=self.network,
            preparation=self.preparation,
            scaling=self.scaling,
            question=question,
            own=OwnRows(self.config, self.learnt, self.scaling, self.target_scaling, consent),
            history=History(self.run.folder, self.config, self.checkpoint),
        )


def lost_rows(outputs: Tensor) -> int:
    """How many rows a network has no finite answer to."""
    return int((~outputs.isfinite().all(dim=1)).sum())


def note_lost(lost: int, rows: int) -> None:
    """Tell of rows without an answer, if there are some."""
    if lost:
        note(
            f"{lost:,} of {rows:,} rows have no answer: with their numbers those of the network "
            "are no longer finite."
        )
