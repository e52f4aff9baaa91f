"""Answering: a run from its raw input to its answer as one module, for whoever traces it."""

import io
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from brainnet.answering.trained import Trained
from brainnet.errors import InputError
from brainnet.exporting.raw_input import Prepared, RawInput
from brainnet.training.answers import PREDICTION, answers, probabilities

CLASS_NAME, PROBABILITIES = "class_name", "probabilities"


class Answering(nn.Module):
    """What `Trained.predict` does, in operations of tensors alone.

    Args:
        trained: the run. Its network is used as it is; one of half precision is copied and
            computes in 32 bits, as few runtimes have 16 on a CPU, and one elsewhere is copied here.
    """

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.prepared = Prepared(trained.preparation)
        held = [*trained.network.parameters(), *trained.network.buffers()]
        kinds = {tensor.dtype for tensor in held if tensor.is_floating_point()}
        self.kind = torch.float64 if torch.float64 in kinds else torch.float32
        self.network = trained.network
        if kinds - {self.kind} or any(tensor.device.type != "cpu" for tensor in held):
            self.network = deepcopy(trained.network).to("cpu", self.kind)
        self.trained = [trained]  # in a list: it is no part of the module

    @property
    def inputs(self) -> list[RawInput]:
        """What it takes, in order."""
        return self.prepared.raw

    @property
    def outputs(self) -> list[str]:
        """What it gives, in order."""
        with torch.no_grad():
            given = self(*(raw.example for raw in self.inputs))
        return [PREDICTION, PROBABILITIES][: len(given)]

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Prepare, scale, think, and say what the outputs stand for.

        Returns:
            Numbers in their own units, (batch, targets) float32; or the index of the class,
            (batch,) int64, and, where the loss has them, the probabilities, (batch, classes).
        """
        (trained,) = self.trained
        outputs = self.network(trained.scaling.apply(self.prepared(*given)).to(self.kind))
        found = answers(outputs, trained.loss, trained.task)
        if trained.task == "regression":
            return (trained.target_scaling.undo(found).to(torch.float32),)
        shares = probabilities(outputs, trained.loss, trained.task)
        return (found,) if shares is None else (found, shares.to(torch.float32))


def program_of(answering: Answering) -> ExportedProgram:
    """Trace the module for batches of any size.

    Raises:
        InputError: where its network cannot be told in operations of tensors alone.
    """
    batch = Dim("batch")
    examples = tuple(raw.example for raw in answering.inputs)
    said = io.StringIO()  # where tracing fails, PyTorch prints all it traced so far
    try:
        with torch.no_grad(), own_warnings_left_out(), redirect_stderr(said):
            program = torch.export.export(
                answering.eval(),
                examples,
                dynamic_shapes=(tuple({0: batch} for _ in examples),),
            )
    except Exception as error:  # whatever a network of the user's may do
        raise InputError(
            f"{type(answering.network).__name__} cannot be exported: {_why(error)} An exported "
            "network is a fixed list of operations on tensors: its forward must not decide by the "
            "values in them or leave PyTorch, and must take batches of any size."
        ) from error
    sys.stderr.write(said.getvalue())
    # What was to learn is to answer now; the network itself stays as it is.
    for name, tensor in program.state_dict.items():
        if isinstance(tensor, nn.Parameter):
            program.state_dict[name] = nn.Parameter(tensor.detach(), requires_grad=False)
    return program


@contextmanager
def own_warnings_left_out() -> Iterator[None]:
    """Leave out what torch.export says of itself; what it says of the network is shown."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        yield


def _why(error: Exception) -> str:
    """What stopped the tracing, in a sentence, and where in the user's file where that is known."""
    text = str(error)
    if "Constraints violated" in text:
        return "it works only for as many rows as it was shown."
    if "data-dependent" in text:
        place = re.search(r'raised this error:\s*File "(.*?)", line (\d+)', text)
        where = f" ({place[1]}, line {place[2]})" if place else ""
        return f"it decides by the values in its tensors{where}."
    return first_line(error)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, as a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    return line if line.endswith((".", "!", "?")) else f"{line}."
