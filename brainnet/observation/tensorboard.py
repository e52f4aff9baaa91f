"""TensorBoard: event files, layout, graph and texts."""

import contextlib
import errno
import functools
import itertools
import math
import os
import socket
import struct
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.compat.proto.versions_pb2 import VersionDef
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar_metadata
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
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


@dataclass(frozen=True, slots=True)
class Node:
    """One box of the drawing.

    Attributes:
        name: where it stands; slashes make boxes within boxes.
        concept: what it is.
        sources: names of the nodes that it receives from.
        notes: what a reader may want to know of it, such as its shape.
    """

    name: str
    concept: str
    sources: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()


def build_graph(
    places: Sequence[LayerInfo], loss: str = "loss", optimizer: str = "optimizer"
) -> list[Node]:
    """The concepts as they work together: forward to the loss, and back to a step.

    Layers are joined in the order in which the model names them, which in a network of ours, and
    in any `nn.Sequential`, is the order of the forward pass. Embeddings stand side by side.

    Args:
        places: the layers.
        loss: what the loss function is called.
        optimizer: what does the steps.

    Example:
        >>> from brainnet.structure.inspection import find_layers
        >>> [node.name for node in concept_graph(find_layers(nn.Linear(2, 1)))][:4]
        ['inputs', 'Linear/weights', 'Linear/bias', 'Linear/neurons']
    """
    nodes = [Node("inputs", "inputs")]
    seen = ["inputs"]
    for place in places:
        looked_up = isinstance(place.module, Embedding)  # one beside the other, each in the inputs
        nodes += _layer(place, ("inputs",) if looked_up else tuple(seen))
        seen = [*seen, nodes[-1].name] if looked_up else [nodes[-1].name]
    answer = nodes[-1].name
    # A box each, though of one node: TensorBoard shortens the names of single nodes.
    sting = f"loss_function/{loss}"
    blame, slope = "backpropagation/blame", "gradient/slope"
    step = f"gradient_descent/{optimizer}"
    return [
        *nodes,
        Node("targets", "targets"),
        Node(sting, concepts.LOSS_FUNCTION.name, (answer, "targets")),
        Node(blame, concepts.BACKPROPAGATION.name, (sting,)),
        Node(slope, concepts.GRADIENT.name, (blame,)),
        Node("learning_rate/step_size", concepts.LEARNING_RATE.name),
        Node(step, concepts.GRADIENT_DESCENT.name, (slope, "learning_rate/step_size")),
    ]


def _layer(place: LayerInfo, sources: tuple[str, ...]) -> list[Node]:
    """Weights and biases meet in the neurons, which react through the activation function."""
    box = place.name.replace(".", "/")
    shape = (("shape", " x ".join(map(str, place.weights.shape))),)
    nodes = [Node(f"{box}/weights", concepts.WEIGHTS.name, sources, shape)]
    if place.bias is not None:
        shape = (("shape", str(len(place.bias))),)
        nodes.append(Node(f"{box}/bias", concepts.BIASES.name, (), shape))
    sums = Node(f"{box}/neurons", concepts.NEURONS.name, tuple(node.name for node in nodes))
    nodes.append(sums)
    if not isinstance(place.activation, (nn.Identity, type(None))):
        note = (("function", repr(place.activation)),)
        nodes.append(
            Node(f"{box}/activation", concepts.ACTIVATION_FUNCTION.name, (sums.name,), note)
        )
    return nodes


@dataclass(frozen=True, slots=True)
class Chart:
    """Several curves in one chart.

    Attributes:
        title: what stands above it.
        tags: the curves.
    """

    title: str
    tags: tuple[str, ...]


LOSS = Chart("loss", (tags.LOSS_TRAIN.at(), tags.LOSS_VALIDATION.at()))

ACCURACY = Chart("accuracy", (tags.ACCURACY_TRAIN.at(), tags.ACCURACY_VALIDATION.at()))

R2 = Chart("R²", (tags.R2_TRAIN.at(), tags.R2_VALIDATION.at()))


def build_layout(places: Sequence[str], task: str | None = None) -> dict[str, tuple[Chart, ...]]:
    """Charts under the heading of each concept, in the order in which a reader asks.

    Args:
        places: names of the layers.
        task: "multiclass", "binary" or "regression"; None where others log the loss.

    Example:
        >>> list(curated(["hidden_1", "output"]))[0]
        'gradient descent: is the step right?'
    """
    learns = (LOSS, R2 if task == "regression" else ACCURACY)
    inside = _inside(places)
    return inside if task is None else {"loss function: does it learn?": learns, **inside}


def _inside(places: Sequence[str]) -> dict[str, tuple[Chart, ...]]:
    """What happens inside, in charts with one curve for each layer."""

    def each(tag: Tag) -> tuple[str, ...]:
        return tuple(tag.at(place) for place in places)

    return {
        "gradient descent: is the step right?": (
            Chart(
                "how far the loss falls: promised and real",
                (tags.PREDICTED_DECREASE.at(), tags.ACTUAL_DECREASE.at()),
            ),
            Chart("step over weights, by layer", each(tags.UPDATE_RATIO)),
            Chart("learning rate", (tags.LEARNING_RATE.at(),)),
        ),
        "activation function: who speaks?": (
            Chart("share of answers above zero", each(tags.FIRING_RATE)),
            Chart("share of silent neurons", each(tags.SILENT)),
            Chart("share of saturated neurons", each(tags.SATURATED)),
        ),
        "backpropagation and gradient: does the blame arrive?": (
            Chart("share of the blame, by layer", each(tags.BLAME)),
            Chart("steepness, by layer", each(tags.GRADIENT_NORM)),
            Chart("steepness of it all", (tags.GRADIENT_TOTAL_NORM.at(),)),
        ),
        "weights and biases: what has it become?": (
            Chart("length of the weights, by layer", each(tags.WEIGHTS_NORM)),
            Chart("length of the biases, by layer", each(tags.BIAS_NORM)),
        ),
    }


def concept_text(concept: Concept) -> str:
    """One concept: in a brain, plainly, as a formula, in code."""
    return "\n\n".join(
        [
            f"## {concept.name}",
            f"*{concept.group}*",
            f"**In a brain.** {concept.analogy}",
            f"**Plainly.** {concept.definition}",
            f"    {concept.formula}",
            f"**In code.** `{concept.home}`",
            f"**To read on.** {concept.reference}",
        ]
    )


def guide_text() -> str:
    """How to read the charts: each kind of tag and its meaning, as a table."""
    rows = [f"| `{tag.pattern.replace('{place}', '…')}` | {tag.meaning} |" for tag in TAGS]
    return "\n".join(
        [
            "## How to read these pages",
            "",
            "Headings are concepts; `…` is the name of a layer.",
            "",
            "| chart | what it shows |",
            "|---|---|",
            *(row.replace("|dL/dz|", "the size of dL/dz") for row in rows),
        ]
    )


def all_texts() -> dict[str, str]:
    """Every text by its tag, numbered in the order in which to read them.

    Example:
        >>> list(all_texts())[:2]
        ['explanation/00_how_to_read', 'explanation/01_layers']
    """
    texts = {"explanation/00_how_to_read": guide_text()}
    for number, concept in enumerate(CONCEPTS, start=1):
        texts[f"explanation/{number:02}_{concept.name.replace(' ', '_')}"] = concept_text(concept)
    return texts


POLYNOMIAL = np.uint32(0x82F63B78)

"""Castagnoli's, bits reversed (RFC 3720, appendix B.4)."""

BLOCK = 128

"""Bytes whose contributions are looked up together: their table fits a processor's cache."""


@functools.cache
def _contributions() -> NDArray[np.uint32]:
    """What a byte (column) contributes where so many bytes (row) follow in its block.

    The checksum is linear: that of a block is the exclusive or of what its bytes contribute.
    """
    table: NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (POLYNOMIAL * (table & np.uint32(1)))
    rows = np.empty((BLOCK, 256), dtype=np.uint32)
    rows[0] = table
    for row in range(1, BLOCK):
        rows[row] = table[rows[row - 1] & 0xFF] ^ (rows[row - 1] >> 8)
    return rows


@functools.cache
def _in_order() -> tuple[NDArray[np.uint32], NDArray[np.intp]]:
    """The contributions of a block's first byte, its second …, end to end; and where each begin."""
    return np.ascontiguousarray(_contributions()[::-1]).reshape(-1), np.arange(BLOCK) * 256


@functools.cache
def _carried() -> list[list[int]]:
    """What each byte of the state contributes after a block, as its first four; and after one."""
    return [_contributions()[row].tolist() for row in (*range(BLOCK - 1, BLOCK - 5, -1), 0)]


def crc32c(content: bytes) -> int:
    """The checksum of some bytes.

    TensorBoard's own takes them one by one in Python, 5 to 11 MB a second, while nothing else in
    the program goes on.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    state = 0xFFFF_FFFF
    whole = len(content) // BLOCK * BLOCK
    blocks = np.frombuffer(content, dtype=np.uint8, count=whole).reshape(-1, BLOCK)
    contributions, begins = _in_order()
    found = np.bitwise_xor.reduce(contributions.take(blocks + begins), axis=1)
    first, second, third, fourth, table = _carried()
    for block in found.tolist():
        state = (
            block
            ^ first[state & 0xFF]
            ^ second[state >> 8 & 0xFF]
            ^ third[state >> 16 & 0xFF]
            ^ fourth[state >> 24]
        )
    for byte in content[whole:]:
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ 0xFFFF_FFFF


class EventFileWriter:
    """A file of TensorBoard's, without a thread: whoever writes hears what goes wrong.

    Its name and records are those of TensorBoard's own `EventFileWriter`, which checks its sums
    byte by byte in Python, 5 to 11 MB a second, in a thread that holds up all others. Several
    threads may write. An event is handed to the system as it comes, so that it outlives this
    process; closing has all of them on disk, so that they outlive the machine's power as well.

    Args:
        folder: made where it is missing.

    Attributes:
        folder: where it lies.

    Raises:
        OSError: where it cannot be made, or is there already, or, later, an event cannot be
            written, as after the end; those before it stay readable.
    """

    _number = itertools.count()

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names, in which ".10" comes before ".9".
        number = f"{next(self._number):06d}"
        made = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{number}"
        # Unbuffered: TensorBoard sees each event at once, and the system has what was written.
        path = self.folder / f"events.out.tfevents.{made}.brainnet"
        self._path = path
        self._file = path.open("xb", buffering=0)
        self._length = 0
        self._lock = threading.Lock()
        self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add_event(self, event: Event) -> None:
        """Write one event: length, its checksum, content, its checksum."""
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        record = length + _checked(length) + content + _checked(content)
        with self._lock:
            if self._file.closed:
                raise OSError(errno.EBADF, "the file of curves is closed", str(self._path))
            try:
                rest = memoryview(record)
                while rest:  # a disk that is nearly full takes a part
                    rest = rest[self._file.write(rest) :]
                self._length += len(record)
            except BaseException:  # an interruption comes between two parts as well
                # TensorBoard would read no further than half a record.
                with contextlib.suppress(OSError):
                    self._file.truncate(self._length)
                    self._file.seek(self._length)
                raise

    def flush(self) -> None:
        """Do nothing: the system has it."""

    def close(self) -> None:
        """End, with all that was written on disk.

        Raises:
            OSError: the disk does not take it.
        """
        with self._lock:
            if not self._file.closed:
                with self._file:  # closed in any case
                    os.fsync(self._file.fileno())


def create_summary_writer(file: EventFileWriter) -> Any:
    """PyTorch's `SummaryWriter`, for who wants to write more into a file that is open already.

    Closing it leaves the file open.
    """
    # Here, not above: few ask for one.
    from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

    class Appending(FileWriter):
        def __init__(self) -> None:
            self.event_writer = file

        def get_logdir(self) -> str:
            return str(file.folder)

        def close(self) -> None:
            """Whoever opened it closes it."""

        def reopen(self) -> None:
            """It is open."""

    class Shared(SummaryWriter):
        def _get_file_writer(self) -> Any:
            self.file_writer: Any = self.file_writer or Appending()
            self.all_writers: Any = {self.file_writer.get_logdir(): self.file_writer}
            return self.file_writer

    return Shared(log_dir=str(file.folder))


def _checked(content: bytes) -> bytes:
    """The checksum, masked as the format asks, since content may hold checksums itself."""
    found = crc32c(content)
    return struct.pack("<I", ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFF_FFFF)


Setting = bool | int | float | str | None

"""A hyper-parameter as TensorBoard can hold it."""


class EventSink(Protocol):
    """Whatever takes events: TensorBoard's file writer, here or inside another logger."""

    def add_event(self, event: Event) -> None:
        """Take one event."""

    def flush(self) -> None:
        """Hand to the system all that was taken."""

    def close(self) -> None:
        """Put on disk all that was taken, and end."""


class TensorBoardWriter:
    """One run in TensorBoard.

    `close`, or leaving the `with`, puts everything on disk.

    Args:
        folder: the run's folder; made where it is missing.
        sink: the open file of a logger that writes to this run already. TensorBoard follows only
            the newest of several files in a folder while they grow, so two writers share one.

    Raises:
        OSError: where the folder cannot be made or written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Writer(folder) as writer:
        ...     writer.scalars({"loss/train": 2.3}, step=0)
        ...     writer.text("note", "A **bold** start.")
    """

    def __init__(self, folder: Path | str, *, sink: EventSink | None = None) -> None:
        self.folder = Path(folder)
        self._owns = sink is None
        self._sink: EventSink = sink or EventFileWriter(folder)
        self._described: set[str] = set()

    def __enter__(self) -> Self:
        """The file is open since construction."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, whatever happened."""
        self.close()

    def goes_on_from(self, step: int) -> None:
        """Have TensorBoard drop what older files of this run hold of this step and later ones."""
        self._sink.add_event(
            Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))
        )

    def look(self, look: ReadingWithHistograms) -> None:
        """All numbers and histograms of one look, as one event."""
        step = look.reading.step
        values = [self._scalar(tag, number) for tag, number in look.reading.by_tag().items()]
        values += [self._histogram(tag, found) for tag, found in look.histograms.items()]
        self._add(values, step)

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """One point on each of several curves."""
        self._add([self._scalar(tag, number) for tag, number in numbers.items()], step)

    def histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """One slice of each of several histograms; the buckets are written as they are."""
        self._add([self._histogram(tag, found) for tag, found in histograms.items()], step)

    def picture(self, tag: str, png: bytes, size: tuple[int, int], step: int) -> None:
        """A picture, already a PNG file, of (width, height) pixels."""
        image = Summary.Image(width=size[0], height=size[1], colorspace=3, encoded_image_string=png)
        described = self._described_by(image_metadata, tag, converted_to_tensor=False)
        self._add([Summary.Value(tag=tag, image=image, metadata=described)], step)

    def text(self, tag: str, markdown: str, step: int = 0) -> None:
        """A text, in Markdown."""
        metadata = text_metadata.create_summary_metadata(tag, get_description(tag))
        self._add([_bytes(tag, markdown.encode(), metadata)], step)

    def graph(self, nodes: Sequence[Node]) -> None:
        """The drawing of the network, as it was built rather than traced."""
        graph = GraphDef(node=[_node(node) for node in nodes], versions=VersionDef(producer=22))
        self._sink.add_event(Event(wall_time=time.time(), graph_def=graph.SerializeToString()))

    def layout(self, headings: Mapping[str, Sequence[Chart]]) -> None:
        """The custom page: charts of several curves under headings."""
        categories = [
            layout_pb2.Category(title=heading, chart=[_chart(chart) for chart in charts])
            for heading, charts in headings.items()
        ]
        layout = layout_pb2.Layout(category=categories).SerializeToString()
        metadata = custom_scalar_metadata.create_summary_metadata()
        self._add([_bytes(custom_scalar_metadata.CONFIG_SUMMARY_TAG, layout, metadata)], step=0)

    def hyperparameters(
        self,
        settings: Mapping[str, Setting],
        metrics: Mapping[str, float],
        step: int,
        *,
        foremost: Collection[str] = (),
        succeeded: bool = True,
    ) -> None:
        """The run as one row of TensorBoard's HParams page, judged by its final metrics.

        Written into the run itself: no sub-run appears beside it.

        Args:
            settings: hyper-parameters by name.
            metrics: final values by tag; each is also a point of the curve with that tag.
            step: where on these curves.
            foremost: names of the settings whose columns come first; the rest follow by name, and
                TensorBoard folds all but the first five away.
            succeeded: whether the run came to its end.
        """
        known = {name: value for name, value in settings.items() if value is not None}
        status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
        started = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
        for name, value in known.items():
            _set(started, name, value)
        ended = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
        experiment = api_pb2.Experiment(
            hparam_infos=[
                # "differs" is what TensorBoard sorts the columns by.
                api_pb2.HParamInfo(name=name, type=_kind(value), differs=name in foremost)
                for name, value in known.items()
            ],
            metric_infos=[
                api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=tag)
                for tag in metrics
            ],
        )
        data = plugin_data_pb2.HParamsPluginData
        self._session(hparams_metadata.EXPERIMENT_TAG, data(experiment=experiment))
        self._session(hparams_metadata.SESSION_START_INFO_TAG, data(session_start_info=started))
        self.scalars(metrics, step)
        self._session(hparams_metadata.SESSION_END_INFO_TAG, data(session_end_info=ended))

    def flush(self) -> None:
        """Hand to the system all that was written so far."""
        self._sink.flush()

    def close(self) -> None:
        """End, with all that was written on disk; a file that is another's stays open."""
        if self._owns:
            self._sink.close()
        else:
            self._sink.flush()

    def _add(self, values: Sequence[Summary.Value], step: int) -> None:
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        self._sink.add_event(event)

    def _session(self, tag: str, data: plugin_data_pb2.HParamsPluginData) -> None:
        metadata = hparams_metadata.create_summary_metadata(data)
        value = Summary.Value(tag=tag, metadata=metadata, tensor=hparams_metadata.NULL_TENSOR)
        self._add([value], step=0)

    def _scalar(self, tag: str, number: float) -> Summary.Value:
        described = self._described_by(scalar_metadata, tag)
        return Summary.Value(tag=tag, simple_value=number, metadata=described)

    def _histogram(self, tag: str, found: Histogram) -> Summary.Value:
        described = self._described_by(histogram_metadata, tag)
        return Summary.Value(tag=tag, histo=_drawn(found), metadata=described)

    def _described_by(self, plugin: Any, tag: str, **options: bool) -> SummaryMetadata | None:
        """What TensorBoard shows beside a chart; it takes it from the first point alone."""
        if tag in self._described:
            return None
        self._described.add(tag)
        described: SummaryMetadata = plugin.create_summary_metadata(
            tag, get_description(tag), **options
        )
        return described


def _bytes(tag: str, content: bytes, metadata: SummaryMetadata) -> Summary.Value:
    """A value that holds bytes; TensorBoard's own maker of these asks for TensorFlow."""
    tensor = TensorProto(dtype=DT_STRING, string_val=[content])
    return Summary.Value(tag=tag, tensor=tensor, metadata=metadata)


_MOMENTS = struct.Struct("<BdBdBdBdBd")


def _drawn(found: Histogram) -> HistogramProto:
    """A histogram as TensorBoard's.

    As bytes of protobuf's, the buckets as they lie in memory: number by number it takes ten times
    as long. Each field is led by eight times its number, plus 1 for a float64 and 2 for many.
    """
    message = _MOMENTS.pack(
        9, found.minimum, 17, found.maximum, 25, found.count,
        33, found.total, 41, found.total_of_squares,
    )  # fmt: skip
    for lead, values in (50, found.edges), (58, found.buckets):
        content = values.astype("<f8").tobytes()
        # The length in seven bits a byte, the lowest first; there are at most 771 buckets.
        message += bytes([lead, len(content) & 127 | 128, len(content) >> 7]) + content
    return HistogramProto.FromString(message)


def _node(node: Node) -> NodeDef:
    notes = {key: AttrValue(s=value.encode()) for key, value in node.notes}
    return NodeDef(name=node.name, op=node.concept, input=node.sources, attr=notes)


def _chart(chart: Chart) -> layout_pb2.Chart:
    # TensorBoard reads each tag as a regular expression.
    patterns = [f"^{tag.replace('.', '[.]')}$" for tag in chart.tags]
    return layout_pb2.Chart(
        title=chart.title, multiline=layout_pb2.MultilineChartContent(tag=patterns)
    )


def _kind(value: Setting) -> Any:
    if isinstance(value, bool):
        return api_pb2.DATA_TYPE_BOOL
    if isinstance(value, int | float):
        return api_pb2.DATA_TYPE_FLOAT64
    return api_pb2.DATA_TYPE_STRING


def _set(started: plugin_data_pb2.SessionStartInfo, name: str, value: Setting) -> None:
    if isinstance(value, bool):
        started.hparams[name].bool_value = value
    elif isinstance(value, int | float) and math.isfinite(value):
        started.hparams[name].number_value = value
    else:
        started.hparams[name].string_value = str(value)


def write_introduction(
    writer: TensorBoardWriter,
    model: nn.Module,
    *,
    loss: str,
    optimizer: str,
    task: str | None = None,
) -> None:
    """Write what does not change.

    Args:
        writer: where to.
        model: its layers are drawn.
        loss: name of the loss function.
        optimizer: name of the optimizer.
        task: "multiclass", "binary" or "regression"; None where others log the loss.
    """
    found = find_layers(model)
    # Of some the sizes are still to come.
    if found and not any(is_lazy(place.weights) for place in found):
        writer.graph(build_graph(found, loss, optimizer))
    writer.layout(build_layout([place.name for place in found], task))
    for tag, text in all_texts().items():
        writer.text(tag, text)
