"""Writer: puts readings, pictures and words into TensorBoard's event files."""

import math
import struct
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

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

from brainnet.observation.event_file import EventFile
from brainnet.observation.graph import Node
from brainnet.observation.layout import Chart
from brainnet.observation.reading import Histogram, Look
from brainnet.observation.tags import meaning_of

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


class Writer:
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
        self._sink: EventSink = sink or EventFile(folder)
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

    def look(self, look: Look) -> None:
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
        metadata = text_metadata.create_summary_metadata(tag, meaning_of(tag))
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

    def _described_by(self, plugin: Any, tag: str, **options: bool) -> SummaryMetadata | None:  # noqa: ANN401
        """What TensorBoard shows beside a chart; it takes it from the first point alone."""
        if tag in self._described:
            return None
        self._described.add(tag)
        described: SummaryMetadata = plugin.create_summary_metadata(tag, meaning_of(tag), **options)
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


def _kind(value: Setting) -> Any:  # noqa: ANN401  (an enumeration of protobuf's)
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
