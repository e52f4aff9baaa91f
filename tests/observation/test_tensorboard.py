import math
import os
import threading
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from torch import nn

from brainnet.concepts import CONCEPTS, WEIGHTS
from brainnet.kernels.statistics import compute_statistics
from brainnet.observation.pending_reading import build_histogram, parse_stats
from brainnet.observation.reading import Reading, ReadingWithHistograms
from brainnet.observation.tags import TAGS, get_description
from brainnet.observation.tensorboard import (
    EventFileWriter,
    TensorBoardWriter,
    _build_concept_text,
    _build_guide,
    build_graph,
    build_layout,
    build_texts,
    create_summary_writer,
)
from brainnet.structure.inspection import find_layers
from brainnet.structure.network import Network

_FILE = BytesIO()
Image.new("RGB", (20, 10)).save(_FILE, "PNG")
PNG = _FILE.getvalue()


def read(folder):
    return EventAccumulator(
        str(folder), size_guidance={"images": 0, "tensors": 0, "scalars": 0}
    ).Reload()


def test_scalars_are_read_back_with_their_steps(tmp_path):
    with TensorBoardWriter(tmp_path) as writer:
        for step in (0, 1, 5):
            writer.add_scalars({"loss/train": 1 / (step + 1), "accuracy/train": 0.5}, step)
    points = read(tmp_path).Scalars("loss/train")
    assert [(point.step, point.value) for point in points] == [
        (0, 1.0),
        (1, 0.5),
        (5, pytest.approx(1 / 6)),
    ]


def test_close_writes_all_events(tmp_path):
    with TensorBoardWriter(tmp_path) as writer:
        for step in range(3000):
            writer.add_scalars({"loss/train": float(step)}, step)
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert len(events.Scalars("loss/train")) == 3000


def test_tensorboard_reads_all_events_without_warnings(tmp_path, caplog):
    with TensorBoardWriter(tmp_path) as writer:
        writer.add_reading(
            ReadingWithHistograms(
                Reading(0, 0, gradient_norm=1.0), {"weights/a": found(torch.ones(3))}
            )
        )
        writer.add_image("gradient_descent/loss_slice", PNG, 0)
        writer.add_text("explanation/note", "words")
    read(tmp_path)
    assert caplog.records == []


def found(values):
    return build_histogram(*parse_stats(compute_statistics([values]).numpy()))


@pytest.mark.parametrize(
    "values", [torch.randn(1000), torch.zeros(7), torch.tensor([math.nan, 1.0, 2.0])]
)
def test_histograms_count_every_finite_element(tmp_path, values):
    with TensorBoardWriter(tmp_path) as writer:
        writer.add_reading(
            ReadingWithHistograms(Reading(4, 0), {"weights/hidden_1": found(values)})
        )
    (event,) = read(tmp_path).Histograms("weights/hidden_1")
    finite = values[values.isfinite()]
    stored = event.histogram_value
    assert event.step == 4
    assert stored.num == sum(stored.bucket) == len(finite)
    assert stored.max == finite.max().item()
    assert stored.bucket_limit[-1] >= stored.max
    assert stored.sum == pytest.approx(finite.double().sum().item())


def test_readings_have_descriptions(tmp_path):
    with TensorBoardWriter(tmp_path) as writer:
        for step in (0, 1):
            writer.add_reading(
                ReadingWithHistograms(Reading(step, 0, learning_rate=0.1, gradient_norm=2.0), {})
            )
    events = read(tmp_path)
    assert [event.value for event in events.Scalars("learning_rate")] == pytest.approx([0.1, 0.1])
    assert "size of the step" in events.SummaryMetadata("learning_rate").summary_description


def test_texts_and_images_are_read_back(tmp_path):
    with TensorBoardWriter(tmp_path) as writer:
        writer.add_text("explanation/weights", "How **much**.")
        writer.add_image("gradient_descent/loss_slice", PNG, step=3)
    events = read(tmp_path)
    (text,) = events.Tensors("explanation/weights")
    assert text.tensor_proto.string_val == [b"How **much**."]
    (picture,) = events.Images("gradient_descent/loss_slice")
    assert (picture.step, picture.width, picture.height) == (3, 20, 10)
    assert picture.encoded_image_string == PNG


def test_the_graph_is_read_back(tmp_path):
    nodes = build_graph(find_layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))))
    with TensorBoardWriter(tmp_path) as writer:
        writer.add_graph(nodes)
    graph = read(tmp_path).Graph()
    assert isinstance(graph, GraphDef)
    assert [(node.name, node.op, tuple(node.input)) for node in graph.node] == [
        (node.name, node.op, tuple(node.input)) for node in nodes
    ]
    assert graph.node[1].attr["shape"].s == b"3 x 2"


def test_the_layout_groups_charts_by_concept(tmp_path):
    with TensorBoardWriter(tmp_path) as writer:
        writer.add_layout(build_layout(["a.0", "output"], "binary"))
    (event,) = read(tmp_path).Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    assert layout.category[0].title.startswith("loss function")
    patterns = layout.category[1].chart[1].multiline.tag
    assert patterns[0] == "^gradient_descent/a[.]0/update_ratio$"


def test_hyperparameters_are_written_to_the_run_itself(tmp_path):
    settings = {"lr": 0.1, "bias": True, "network": "mlp", "inputs": None, "limit": math.inf}
    with TensorBoardWriter(tmp_path) as writer:
        writer.add_hyperparameters(settings, {"accuracy/test": 0.97}, step=1200)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    events = read(tmp_path)
    assert events.Scalars("accuracy/test")[0].step == 1200
    content = events.SummaryMetadata(hparams_metadata.SESSION_START_INFO_TAG).plugin_data.content
    started = hparams_metadata.parse_session_start_info_plugin_data(content)
    assert started.hparams["lr"].number_value == 0.1
    assert started.hparams["bias"].bool_value is True
    assert started.hparams["network"].string_value == "mlp"
    assert started.hparams["limit"].string_value == "inf"
    assert "inputs" not in started.hparams
    content = events.SummaryMetadata(hparams_metadata.EXPERIMENT_TAG).plugin_data.content
    experiment = hparams_metadata.parse_experiment_plugin_data(content)
    assert [metric.name.tag for metric in experiment.metric_infos] == ["accuracy/test"]


def test_the_file_of_another_logger_is_shared_and_stays_open(tmp_path):
    with TensorBoardWriter(tmp_path) as first:
        with TensorBoardWriter(tmp_path, file=first._file) as second:
            second.add_scalars({"loss/train": 1.0}, step=0)
        first.add_scalars({"loss/train": 0.5}, step=1)
    assert len(list(tmp_path.iterdir())) == 1
    assert len(read(tmp_path).Scalars("loss/train")) == 2


def test_a_folder_that_cannot_be_created_raises(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        TensorBoardWriter(tmp_path / "file" / "run")


def test_several_threads_can_write(tmp_path):
    file = EventFileWriter(tmp_path)

    def write(name):
        with TensorBoardWriter(tmp_path, file=file) as writer:
            for step in range(200):
                writer.add_scalars({name: float(step)}, step)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    events = read(tmp_path)
    for name in ("a", "b", "c"):
        assert [point.step for point in events.Scalars(name)] == list(range(200))


def test_an_incomplete_event_is_removed_after_a_full_disk(tmp_path, monkeypatch):
    file = EventFileWriter(tmp_path)
    writer = TensorBoardWriter(tmp_path, file=file)
    writer.add_scalars({"a": 1.0}, 0)

    class Full:
        """A disk with room for ten bytes more."""

        def __init__(self, inner):
            self.inner, self.room = inner, 10

        def write(self, content):
            if not self.room:
                raise OSError(28, "No space left on device")
            written = self.inner.write(content[: self.room])
            self.room = 0
            return written

        def __getattr__(self, name):
            return getattr(self.inner, name)

    inner = file._file
    monkeypatch.setattr(file, "_file", Full(inner))
    with pytest.raises(OSError, match="No space"):
        writer.add_scalars({"a": 2.0}, 1)
    monkeypatch.setattr(file, "_file", inner)
    writer.add_scalars({"a": 3.0}, 2)
    file.close()
    assert [(point.step, point.value) for point in read(tmp_path).Scalars("a")] == [(0, 1), (2, 3)]


def test_a_summary_writer_can_share_the_file(tmp_path):
    file = EventFileWriter(tmp_path)
    with create_summary_writer(file) as writer:
        writer.add_scalar("theirs", 0.5, 3)
    TensorBoardWriter(tmp_path, file=file).add_scalars(
        {"ours": 1.0}, 4
    )  # closing theirs has not closed it
    writer.add_scalar("theirs", 0.25, 5)
    file.close()
    (path,) = Path(tmp_path).glob("events.out.tfevents.*")
    assert [event.step for event in EventFileLoader(str(path)).Load()] == [0, 3, 4, 5]
    events = read(tmp_path)
    assert [point.value for point in events.Scalars("theirs")] == [0.5, 0.25]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_incomplete_event_is_removed_after_any_error(tmp_path, monkeypatch, error):
    file = EventFileWriter(tmp_path)
    writer = TensorBoardWriter(tmp_path, file=file)
    inner = file._file

    class Interrupted:
        parts = 0

        def write(self, content):
            self.parts += 1
            if self.parts > 1:
                raise error
            return inner.write(content[:10])

        def __getattr__(self, name):
            return getattr(inner, name)

    monkeypatch.setattr(file, "_file", Interrupted())
    with pytest.raises(type(error)):
        writer.add_scalars({"a": 2.0}, 1)
    monkeypatch.setattr(file, "_file", inner)
    writer.add_scalars({"a": 3.0}, 2)
    file.close()
    assert [(point.step, point.value) for point in read(tmp_path).Scalars("a")] == [(2, 3)]


def test_writing_after_close_raises(tmp_path):
    file = EventFileWriter(tmp_path)
    file.close()
    file.close()
    with pytest.raises(OSError, match=r"closed.*tfevents"):
        TensorBoardWriter(tmp_path, file=file).add_scalars({"a": 1.0}, 1)


def test_close_syncs_and_no_file_is_overwritten(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    file = EventFileWriter(tmp_path)
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr(EventFileWriter, "_number", iter([int(path.name.split(".")[-2])] * 2))
    monkeypatch.setattr("time.time", lambda: float(path.name.split(".")[3]))
    with pytest.raises(FileExistsError):
        EventFileWriter(tmp_path)
    file.close()
    assert synced == [path.stat().st_size]


def test_files_of_one_second_are_read_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(EventFileWriter, "_number", iter(range(8, 12)))
    monkeypatch.setattr("time.time", lambda: 1.0e9)
    for step in range(4):
        with TensorBoardWriter(tmp_path) as writer:
            writer.drop_from(step)
            writer.add_scalars({"a": float(step)}, step)
    assert [point.step for point in read(tmp_path).Scalars("a")] == [0, 1, 2, 3]


def test_inputs_of_nodes_precede_them():
    drawn = set()
    for node in build_graph(find_layers(Network([4, 3, 2]))):
        assert set(node.input) <= drawn
        assert node.name not in drawn
        drawn.add(node.name)


def test_nodes_are_labeled_with_concepts():
    labels = {node.op for node in build_graph(find_layers(Network([4, 3, 2])))}
    wholes = {"layers", "forward pass"}  # boxes and their order, no nodes
    assert {concept.name for concept in CONCEPTS} - wholes == labels - {"inputs", "targets"}


def test_nodes_contain_shapes_and_functions():
    notes = {
        node.name: {key: value.s.decode() for key, value in node.attr.items()}
        for node in build_graph(find_layers(Network([4, 3, 2])))
    }
    assert notes["hidden_1/weights"] == {"shape": "3 x 4"}
    assert notes["hidden_1/bias"] == {"shape": "3"}
    assert "ThresholdRamp" in notes["hidden_1/activation"]["function"]
    assert "output/activation" not in notes


def test_nested_modules_are_nested_boxes():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2, bias=False)))
    names = [node.name for node in build_graph(find_layers(model), "MSELoss", "Adam")]
    assert names[1:3] == ["0/0/weights", "0/0/neurons"]
    assert "loss_function/MSELoss" in names
    assert names[-1] == "gradient_descent/Adam"


def test_embeddings_are_parallel():
    network = Network([4, 3, 2], embeddings={1: 3, 2: 5})
    sources = {node.name: tuple(node.input) for node in build_graph(find_layers(network))}
    assert sources["embedding_1/weights"] == sources["embedding_2/weights"] == ("inputs",)
    assert sources["hidden_1/weights"] == (
        "inputs",
        "embedding_1/neurons",
        "embedding_2/neurons",
    )
    assert sources["output/weights"] == ("hidden_1/activation",)


def test_charts_contain_known_tags():
    for task in ("multiclass", "regression", None):
        for charts in build_layout(["a", "b"], task).values():
            for curves in charts.values():
                assert all(get_description(tag) for tag in curves)


def test_the_metric_depends_on_the_task():
    def scores(task):
        return list(build_layout([], task)["loss function: does the model learn?"])

    assert scores("binary") == ["loss", "accuracy"]
    assert scores("regression") == ["loss", "R²"]


def test_concept_texts_are_in_order():
    texts = list(build_texts().values())
    assert texts[1:] == [_build_concept_text(concept) for concept in CONCEPTS]


def test_concept_texts_are_complete():
    text = _build_concept_text(WEIGHTS)
    for part in (WEIGHTS.analogy, WEIGHTS.definition, WEIGHTS.formula, WEIGHTS.home):
        assert part in text


def test_the_guide_lists_all_tags():
    rows = [line for line in _build_guide().splitlines() if line.startswith("| `")]
    assert len(rows) == len(TAGS)
    assert all(row.count("|") == 3 for row in rows)
