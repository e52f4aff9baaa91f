"""A trained network with its preprocessing as one module of tensor operations."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.errors import InputError
from brainnet.inference.trained_model import TrainedModel
from brainnet.learning.predictions import (
    PREDICTION_COLUMN,
    compute_probabilities,
    decode_predictions,
)

CLASS_NAME = "class_name"
_PROBABILITIES = "probabilities"
_EXAMPLE_ROWS = 2  # more than one, because a tracer takes 1 for a constant


@dataclass(frozen=True, slots=True)
class RawInput:
    """One input of an exported network: a column, or all "rows" or "pixels"; `shape` of one row."""

    name: str
    kind: Literal["rows", "pixels", "number", "boolean", "category", "date"]
    shape: tuple[int, ...] = ()
    values: tuple[str, ...] = ()

    @property
    def dtype(self) -> torch.dtype:
        """Type of its numbers; categories come as their codes."""
        return {"pixels": torch.uint8, "category": torch.int64}.get(self.kind, torch.float32)

    @property
    def example(self) -> Tensor:
        """A few rows of zeros."""
        return torch.zeros(_EXAMPLE_ROWS, *self.shape, dtype=self.dtype)

    def to_dict(self) -> dict[str, Any]:
        """Return the input as primitives and lists."""
        type_name = str(self.dtype).removeprefix("torch.")
        description = {"name": self.name, "kind": self.kind, "type": type_name}
        values = {"values": list(self.values)} if self.values else {}
        return description | {"shape": ["batch", *self.shape]} | values


def list_raw_inputs(encoder: TableEncoder | ImageEncoder) -> list[RawInput]:
    """Return the inputs of an exported network: one table of numbers, or one input per column."""
    if isinstance(encoder, ImageEncoder):
        channels = (encoder.channels,) if encoder.channels > 1 else ()
        return [RawInput("pixels", "pixels", (encoder.height, encoder.width, *channels))]
    if all(column.kind == "number" for column in encoder.columns):
        return [RawInput("rows", "rows", (len(encoder.columns),))]
    return [RawInput(column.name, column.kind, (), column.values) for column in encoder.columns]


class ExportedModel(nn.Module):
    """`TrainedModel.predict` in tensor operations: encoding, scaling, network, decoding.

    Categories come in as their codes (0: unknown), booleans as 0, 1 or NaN.
    """

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        self.encoder = trained.encoder
        self.inputs = list_raw_inputs(self.encoder)
        tensors = [*trained.network.parameters(), *trained.network.buffers()]
        dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
        self.dtype = torch.float64 if torch.float64 in dtypes else torch.float32
        self.network = trained.network
        # Few runtimes compute in half precision.
        if dtypes - {self.dtype} or any(tensor.device.type != "cpu" for tensor in tensors):
            self.network = deepcopy(trained.network).to("cpu", self.dtype)
        self.trained = trained

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        with torch.no_grad():
            count = len(self(*(raw.example for raw in self.inputs)))
        return [PREDICTION_COLUMN, _PROBABILITIES][:count]

    def forward(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Return numbers in their own units; or the index of the class and the probabilities."""
        trained = self.trained
        outputs = self.network(trained.scaling.apply(self._encode(raw)).to(self.dtype))
        predictions = decode_predictions(outputs, trained.loss, trained.task)
        if trained.task == "regression":
            return (trained.target_scaling.undo(predictions).to(torch.float32),)
        probabilities = compute_probabilities(outputs, trained.loss, trained.task)
        if probabilities is None:
            return (predictions,)
        return predictions, probabilities.to(torch.float32)

    def _encode(self, raw: tuple[Tensor, ...]) -> Tensor:
        """Return what the encoder computes, (batch, inputs) float32."""
        if isinstance(self.encoder, ImageEncoder):
            (pixels,) = raw
            # Files store the channels of a pixel together; the network reads channel by channel.
            planes = pixels if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
            return planes.flatten(1).to(torch.float32)
        if self.inputs[0].kind == "rows":
            return raw[0]
        columns = zip(self.encoder.columns, raw, strict=True)
        return torch.cat([_encode_column(column, values) for column, values in columns], dim=1)


def _encode_column(column: ColumnEncoder, values: Tensor) -> Tensor:
    if column.unseen:  # categories without a training row are encoded as unknown
        known = [code * (text not in column.unseen) for code, text in enumerate(column.values, 1)]
        values = torch.tensor([0, *known], device=values.device)[values]
    if column.kind == "category" and not column.is_embedded:
        codes = torch.arange(1, len(column.values) + 1, device=values.device)
        return (values.unsqueeze(1) == codes).to(torch.float32)
    return values.to(torch.float32).unsqueeze(1)


def export_program(model: ExportedModel) -> ExportedProgram:
    """Trace the module for batches of any size."""
    dates = [raw.name for raw in model.inputs if raw.kind == "date"]
    if dates:
        raise InputError(
            f"the column {dates[0]!r} contains dates, which an exported graph cannot encode. Train "
            f"without it (data.drop=[{','.join(dates)}]), or export with --to json (in "
            'Python: "json").'
        )
    batch = Dim("batch")
    examples = tuple(raw.example for raw in model.inputs)
    try:
        with torch.no_grad(), silence_exporter():
            program = torch.export.export(
                model.eval(), examples, dynamic_shapes=(tuple({0: batch} for _ in examples),)
            )
    except Exception as error:  # a user's network can raise anything
        raise InputError(
            f"{type(model.network).__name__} cannot be exported: {get_first_line(error)} An "
            "exported network is a fixed list of tensor operations: its forward must not branch on "
            "the values of tensors or leave PyTorch, and must accept batches of any size."
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # contains paths of this machine
    for name, tensor in program.state_dict.items():
        if isinstance(tensor, nn.Parameter):
            program.state_dict[name] = nn.Parameter(tensor.detach(), requires_grad=False)
    return program


@contextmanager
def silence_exporter() -> Iterator[None]:
    """Silence warnings, missing packages, and traced graphs of PyTorch's exporters."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.disabled = was_disabled


def get_first_line(error: BaseException) -> str:
    """Return the first line of an error message as a sentence."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if line.endswith((".", "!", "?")) else f"{line}."
