"""TensorBoard: event files, layout, graph and texts."""

import contextlib
import errno
import itertools
import math
import os
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import google_crc32c
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.compat.proto.versions_pb2 import VersionDef
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as _LAYOUT
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as _HPARAMS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.plugins.text import metadata as text_metadata
from torch import nn
from torch.nn.parameter import is_lazy

from brainnet import concepts
from brainnet.concepts import CONCEPTS, Concept
from brainnet.observation import tags
from brainnet.observation.reading import Histogram, ReadingWithHistograms
from brainnet.observation.tags import TAGS, Tag, get_description
from brainnet.structure.embedding import Embedding
from brainnet.structure.inspection import LayerInfo, find_layers

Layout = dict[str, dict[str, tuple[str, ...]]]
"""Custom scalars page: heading -> title of a chart -> tags of its curves."""

Setting = bool | int | float | str | None
"""A hyperparameter as TensorBoard can store it."""

_SETTING_TYPES = {
    bool: api_pb2.DATA_TYPE_BOOL,
    int: api_pb2.DATA_TYPE_FLOAT64,
    float: api_pb2.DATA_TYPE_FLOAT64,
    str: api_pb2.DATA_TYPE_STRING,
}


class EventFileWriter:
    """A TensorBoard event file without a thread or a queue, so that errors reach the caller.

    Several threads may write. After an `OSError`, earlier events remain readable.
    """

    _number = itertools.count()

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names, in which ".10" precedes ".9".
        number = f"{next(self._number):06d}"
        name = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{number}"
        self._path = self.folder / f"events.out.tfevents.{name}.brainnet"
        # Unbuffered, so that TensorBoard sees each event at once.
        self._file = self._path.open("xb", buffering=0)
        self._length = 0
        self._lock = threading.Lock()
        self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add_event(self, event: Event) -> None:
        """Write one event as length, checksum, content and checksum."""
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        record = length + _compute_checksum(length) + content + _compute_checksum(content)
        with self._lock:
            if self._file.closed:
                raise OSError(errno.EBADF, "the event file is closed", str(self._path))
            try:
                remaining = memoryview(record)
                # A disk that is nearly full accepts only a part.
                while remaining:
                    remaining = remaining[self._file.write(remaining) :]
                self._length += len(record)
            except BaseException:
                # TensorBoard stops reading at an incomplete record. It can also be caused by an
                # interrupt between two writes.
                with contextlib.suppress(OSError):
                    self._file.truncate(self._length)
                    self._file.seek(self._length)
                raise

    def flush(self) -> None:
        """Do nothing: events are not buffered."""

    def get_logdir(self) -> str:
        """Return the folder, for PyTorch's `SummaryWriter`."""
        return str(self.folder)

    def close(self) -> None:
        """Write all events to disk and close the file."""
        with self._lock:
            if not self._file.closed:
                with self._file:
                    os.fsync(self._file.fileno())


def _compute_checksum(content: bytes) -> bytes:
    """CRC-32C, masked as the TFRecord format requires."""
    checksum = google_crc32c.value(content)
    return struct.pack("<I", ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFF_FFFF)


def create_summary_writer(file: EventFileWriter) -> Any:
    """Create PyTorch's `SummaryWriter` for an open file; closing it leaves the file open."""
    # Imported here because it takes long and is rarely needed.
    from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

    class SharedSummaryWriter(SummaryWriter):
        def _get_file_writer(self) -> Any:
            # Its constructor would open another file.
            self.file_writer: Any = FileWriter.__new__(FileWriter)
            self.file_writer.event_writer = file
            return self.file_writer

        def close(self) -> None:
            """Leave the file open for its owner."""

    return SharedSummaryWriter(log_dir=str(file.folder))


class TensorBoardWriter:
    """Writer of one run's events, with the help text of each tag.

    `file` is the open file of another writer: TensorBoard follows only the newest of a folder.
    """

    def __init__(self, folder: Path | str, *, file: Any = None) -> None:
        self.folder = Path(folder)
        self._owns_file = file is None
        self._file = file or EventFileWriter(folder)
        self._described_tags: set[str] = set()

    def __enter__(self) -> Self:
        """Return the writer, which is open since construction."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def drop_from(self, step: int) -> None:
        """Make TensorBoard ignore the events of older files of this run from a step on."""
        log = SessionLog(status=SessionLog.START)
        self._file.add_event(Event(wall_time=time.time(), step=step, session_log=log))

    def add_reading(self, resolved: ReadingWithHistograms) -> None:
        """Write all values and histograms of a reading as one event."""
        scalars = resolved.reading.to_scalars()
        values = [self._build_scalar(tag, value) for tag, value in scalars.items()]
        for tag, histogram in resolved.histograms.items():
            metadata = self._describe(histogram_metadata, tag)
            content = _build_histogram(histogram)
            values.append(Summary.Value(tag=tag, histo=content, metadata=metadata))
        self._add(values, resolved.reading.step)

    def add_scalars(self, scalars: Mapping[str, float], step: int) -> None:
        """Write one point of each of several curves."""
        self._add([self._build_scalar(tag, value) for tag, value in scalars.items()], step)

    def add_image(self, tag: str, png: bytes, step: int) -> None:
        """Write an image, given as the content of a PNG file."""
        width, height = struct.unpack_from(">II", png, 16)  # of the header chunk
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
        metadata = self._describe(image_metadata, tag, converted_to_tensor=False)
        self._add([Summary.Value(tag=tag, image=image, metadata=metadata)], step)

    def add_text(self, tag: str, markdown: str, step: int = 0) -> None:
        """Write a text in Markdown."""
        metadata = text_metadata.create_summary_metadata(tag, get_description(tag))
        self._add([_build_bytes(tag, markdown.encode(), metadata)], step)

    def add_graph(self, nodes: Sequence[NodeDef]) -> None:
        """Write the graph of the model, as `build_graph` returns it."""
        graph = GraphDef(node=nodes, versions=VersionDef(producer=22))
        self._file.add_event(Event(wall_time=time.time(), graph_def=graph.SerializeToString()))

    def add_layout(self, layout: Layout) -> None:
        """Write the custom scalars page: charts with several curves, under headings."""
        message = layout_pb2.Layout()
        for heading, charts in layout.items():
            category = message.category.add(title=heading)
            for title, chart_tags in charts.items():
                # TensorBoard reads each tag as a regular expression.
                patterns = [f"^{tag.replace('.', '[.]')}$" for tag in chart_tags]
                category.chart.add(title=title).multiline.tag.extend(patterns)
        tag, metadata = _LAYOUT.CONFIG_SUMMARY_TAG, _LAYOUT.create_summary_metadata()
        self._add([_build_bytes(tag, message.SerializeToString(), metadata)], 0)

    def add_hyperparameters(
        self, settings: Mapping[str, Setting], metrics: Mapping[str, float], step: int
    ) -> None:
        """Write the run as one row of the HParams page, with its final metrics at `step`."""
        values = {
            # The page is JSON, which has no infinity.
            name: value if not isinstance(value, float) or math.isfinite(value) else str(value)
            for name, value in settings.items()
            if value is not None
        }
        data = HParamsPluginData()
        for name, value in values.items():
            data.experiment.hparam_infos.add(name=name, type=_SETTING_TYPES[type(value)])
        for tag in metrics:
            data.experiment.metric_infos.add(display_name=tag).name.tag = tag
        tag, metadata = _HPARAMS.EXPERIMENT_TAG, _HPARAMS.create_summary_metadata(data)
        experiment = Summary.Value(tag=tag, metadata=metadata, tensor=_HPARAMS.NULL_TENSOR)
        # Without an id, runs with equal settings would share a row.
        session = hparams_pb(values, trial_id=str(self.folder))
        self._add([experiment, *session.value], 0)
        self.add_scalars(metrics, step)

    def close(self) -> None:
        """Write everything to disk; a file of another logger stays open."""
        if self._owns_file:
            self._file.close()
        else:
            self._file.flush()

    def _add(self, values: Sequence[Summary.Value], step: int) -> None:
        summary = Summary(value=values)
        self._file.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def _build_scalar(self, tag: str, value: float) -> Summary.Value:
        metadata = self._describe(scalar_metadata, tag)
        return Summary.Value(tag=tag, simple_value=value, metadata=metadata)

    def _describe(self, plugin: Any, tag: str, **options: bool) -> SummaryMetadata | None:
        """Metadata with the help text; TensorBoard reads only that of a tag's first event."""
        if tag in self._described_tags:
            return None
        self._described_tags.add(tag)
        metadata: SummaryMetadata = plugin.create_summary_metadata(
            tag, get_description(tag), **options
        )
        return metadata


def _build_bytes(tag: str, content: bytes, metadata: SummaryMetadata) -> Summary.Value:
    # TensorBoard's own function for this requires TensorFlow.
    tensor = TensorProto(dtype=DT_STRING, string_val=[content])
    return Summary.Value(tag=tag, tensor=tensor, metadata=metadata)


_MOMENTS = struct.Struct("<BdBdBdBdBd")


def _build_histogram(histogram: Histogram) -> HistogramProto:
    """Convert a histogram by way of protobuf's binary format, which is eight times as fast."""
    # Each field starts with eight times its number, plus 1 for a float64 or 2 for a list.
    message = _MOMENTS.pack(
        9, histogram.minimum, 17, histogram.maximum, 25, histogram.count,
        33, histogram.total, 41, histogram.total_of_squares,
    )  # fmt: skip
    for field, values in (50, histogram.edges), (58, histogram.buckets):
        content = values.astype("<f8").tobytes()
        # The length as a varint of two bytes, which is enough for the at most 771 buckets.
        message += bytes([field, len(content) & 127 | 128, len(content) >> 7]) + content
    return HistogramProto.FromString(message)


def write_introduction(
    writer: TensorBoardWriter,
    model: nn.Module,
    *,
    loss: str,
    optimizer: str,
    task: str | None = None,
) -> None:
    """Write the graph, the layout and the explanations; charts of the loss only with a `task`."""
    layers = find_layers(model)
    # Lazy parameters have no shape yet.
    if layers and not any(is_lazy(layer.weights) for layer in layers):
        writer.add_graph(build_graph(layers, loss, optimizer))
    writer.add_layout(build_layout([layer.name for layer in layers], task))
    for tag, text in build_texts().items():
        writer.add_text(tag, text)


def build_graph(
    layers: Sequence[LayerInfo], loss: str = "loss", optimizer: str = "optimizer"
) -> list[NodeDef]:
    """Build the graph of the concepts, with layers in the order in which they are registered."""
    nodes = [NodeDef(name="inputs", op="inputs")]
    previous = ["inputs"]
    for layer in layers:
        is_embedding = isinstance(layer.module, Embedding)
        nodes += _build_layer_nodes(layer, ["inputs"] if is_embedding else previous)
        previous = [*previous, nodes[-1].name] if is_embedding else [nodes[-1].name]
    nodes.append(NodeDef(name="targets", op="targets"))
    # Each of these has a box of its own, because TensorBoard shortens names outside of boxes.
    loss_name, blame, slope = f"loss_function/{loss}", "backpropagation/blame", "gradient/slope"
    rate = "learning_rate/step_size"
    for name, concept, inputs in (
        (loss_name, concepts.LOSS_FUNCTION, [*previous, "targets"]),
        (blame, concepts.BACKPROPAGATION, [loss_name]),
        (slope, concepts.GRADIENT, [blame]),
        (rate, concepts.LEARNING_RATE, []),
        (f"gradient_descent/{optimizer}", concepts.GRADIENT_DESCENT, [slope, rate]),
    ):
        nodes.append(NodeDef(name=name, op=concept.name, input=inputs))
    return nodes


def _build_layer_nodes(layer: LayerInfo, sources: Sequence[str]) -> list[NodeDef]:
    """Nodes of one layer, in a box of its name."""
    nodes: list[NodeDef] = []

    def add_node(part: str, concept: Concept, inputs: Sequence[str], **notes: str) -> None:
        name = f"{layer.name.replace('.', '/')}/{part}"
        attributes = {key: AttrValue(s=note.encode()) for key, note in notes.items()}
        nodes.append(NodeDef(name=name, op=concept.name, input=inputs, attr=attributes))

    shape = " x ".join(map(str, layer.weights.shape))
    add_node("weights", concepts.WEIGHTS, sources, shape=shape)
    if layer.bias is not None:
        add_node("bias", concepts.BIASES, [], shape=str(len(layer.bias)))
    add_node("neurons", concepts.NEURONS, [node.name for node in nodes])
    if not isinstance(layer.activation, (nn.Identity, type(None))):
        function, name = repr(layer.activation), nodes[-1].name
        add_node("activation", concepts.ACTIVATION_FUNCTION, [name], function=function)
    return nodes


# Heading of the custom scalars page -> title of a chart -> tags of its curves.
_CHARTS: dict[str, dict[str, tuple[Tag, ...]]] = {
    "gradient descent: is the step size right?": {
        "decrease of the loss: predicted, actual": (tags.PREDICTED_DECREASE, tags.ACTUAL_DECREASE),
        "update ratio by layer": (tags.UPDATE_RATIO,),
        "learning rate": (tags.LEARNING_RATE_VALUE,),
    },
    "activation function: which neurons fire?": {
        "firing rate by layer": (tags.FIRING_RATE,),
        "share of silent neurons by layer": (tags.SILENT,),
        "share of saturated neurons by layer": (tags.SATURATED,),
    },
    "backpropagation and gradient: does the error reach all layers?": {
        "share of the blame by layer": (tags.BLAME,),
        "gradient norm by layer": (tags.GRADIENT_NORM,),
        "total gradient norm": (tags.GRADIENT_TOTAL_NORM,),
    },
    "weights and biases: how do they grow?": {
        "norm of the weights by layer": (tags.WEIGHTS_NORM,),
        "norm of the biases by layer": (tags.BIAS_NORM,),
    },
}


def build_layout(layers: Sequence[str], task: str | None = None) -> Layout:
    """Build the custom scalars page: charts under the heading of each concept."""
    learning = {"loss": (tags.LOSS_TRAIN, tags.LOSS_VALIDATION)}
    if task == "regression":
        learning["R²"] = (tags.R2_TRAIN, tags.R2_VALIDATION)
    else:
        learning["accuracy"] = (tags.ACCURACY_TRAIN, tags.ACCURACY_VALIDATION)
    charts = {} if task is None else {"loss function: does the model learn?": learning}
    return {
        heading: {
            # A tag of a layer stands for one curve per layer.
            title: tuple(
                tag.at(name)
                for tag in curves
                for name in (layers if "{name}" in tag.pattern else [""])
            )
            for title, curves in group.items()
        }
        for heading, group in (charts | _CHARTS).items()
    }


def build_texts() -> dict[str, str]:
    """Build the texts by tag: how to read the charts, then one text per concept."""
    texts = {"explanation/00_how_to_read": _build_guide()}
    for number, concept in enumerate(CONCEPTS, start=1):
        tag = f"explanation/{number:02}_{concept.name.replace(' ', '_')}"
        texts[tag] = _build_concept_text(concept)
    return texts


def _build_concept_text(concept: Concept) -> str:
    return f"""## {concept.name}

*{concept.group}*

**In a brain.** {concept.analogy}

**In plain words.** {concept.definition}

    {concept.formula}

**In code.** `{concept.home}`

**Further reading.** {concept.reference}"""


def _build_guide() -> str:
    """A table of all tags and their help texts."""
    lines = [
        "## How to read these pages\n",
        "Headings are concepts; `…` is the name of a layer.\n",
        "| chart | what it shows |",
        "|---|---|",
    ]
    for tag in TAGS:
        # A vertical bar would end the cell.
        meaning = tag.meaning.replace("|dL/dz|", "the size of dL/dz")
        lines.append(f"| `{tag.pattern.replace('{name}', '…')}` | {meaning} |")
    return "\n".join(lines)
