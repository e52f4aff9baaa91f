import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from torch import nn

from brainnet.kernels.statistics import compute_statistics
from brainnet.observation.pending_reading import build_histograms, parse_stats
from brainnet.observation.reading import Reading, ReadingWithHistograms
from brainnet.observation.tensorboard import TensorBoardWriter, build_graph, build_layout
from brainnet.structure.inspection import find_layers


def read(folder):
    return EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0}).Reload()


def test_scalars_come_back_with_their_steps(tmp_path):
    with TensorBoardWriter(tmp_path) as writer:
        for step in (0, 1, 5):
            writer.scalars({"loss/train": 1 / (step + 1), "accuracy/train": 0.5}, step)
    points = read(tmp_path).Scalars("loss/train")
    assert [(point.step, point.value) for point in points] == [
        (0, 1.0),
        (1, 0.5),
        (5, pytest.approx(1 / 6)),
    ]


def test_close_loses_nothing(tmp_path):
    with TensorBoardWriter(tmp_path) as writer:
        for step in range(3000):
            writer.scalars({"loss/train": float(step)}, step)
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert len(events.Scalars("loss/train")) == 3000


def test_no_event_is_odd_to_tensorboard(tmp_path, caplog):
    with TensorBoardWriter(tmp_path) as writer:
        writer.look(
            ReadingWithHistograms(
                Reading(0, 0, gradient_norm=1.0), {"weights/a": found(torch.ones(3))}
            )
        )
        writer.picture("gradient_descent/hill", b"png", (1, 1), 0)
        writer.text("explanation/note", "words")
    read(tmp_path)
    assert caplog.records == []


def found(values):
    return build_histograms(parse_stats(compute_statistics([values]).numpy()))[0]


@pytest.mark.parametrize(
    "values", [torch.randn(1000), torch.zeros(7), torch.tensor([math.nan, 1.0, 2.0])]
)
def test_histograms_hold_every_finite_element(tmp_path, values):
    with TensorBoardWriter(tmp_path) as writer:
        writer.histograms({"weights/hidden_1": found(values)}, step=4)
    (event,) = read(tmp_path).Histograms("weights/hidden_1")
    finite = values[values.isfinite()]
    stored = event.histogram_value
    assert event.step == 4
    assert stored.num == sum(stored.bucket) == len(finite)
    assert stored.max == finite.max().item()
    assert stored.bucket_limit[-1] >= stored.max
    assert stored.sum == pytest.approx(finite.double().sum().item())


def test_a_look_is_one_event_with_the_meaning_of_its_tags(tmp_path):
    with TensorBoardWriter(tmp_path) as writer:
        for step in (0, 1):
            writer.look(
                ReadingWithHistograms(Reading(step, 0, learning_rate=0.1, gradient_norm=2.0), {})
            )
    events = read(tmp_path)
    assert [event.value for event in events.Scalars("learning_rate")] == pytest.approx([0.1, 0.1])
    assert "size of the step" in events.SummaryMetadata("learning_rate").summary_description


def test_texts_and_pictures_come_back(tmp_path):
    with TensorBoardWriter(tmp_path) as writer:
        writer.text("explanation/weights", "How **much**.")
        writer.picture("gradient_descent/hill", b"png", (20, 10), step=3)
    events = read(tmp_path)
    (text,) = events.Tensors("explanation/weights")
    assert text.tensor_proto.string_val == [b"How **much**."]
    (picture,) = events.Images("gradient_descent/hill")
    assert (picture.step, picture.width, picture.height) == (3, 20, 10)
    assert picture.encoded_image_string == b"png"


def test_the_graph_comes_back_as_it_was_built(tmp_path):
    nodes = build_graph(find_layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))))
    with TensorBoardWriter(tmp_path) as writer:
        writer.graph(nodes)
    graph = read(tmp_path).Graph()
    assert isinstance(graph, GraphDef)
    assert [(node.name, node.op, tuple(node.input)) for node in graph.node] == [
        (node.name, node.concept, node.sources) for node in nodes
    ]
    assert graph.node[1].attr["shape"].s == b"3 x 2"


def test_the_layout_groups_charts_by_concept(tmp_path):
    with TensorBoardWriter(tmp_path) as writer:
        writer.layout(build_layout(["a.0", "output"], "binary"))
    (event,) = read(tmp_path).Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    assert layout.category[0].title.startswith("loss function")
    patterns = layout.category[1].chart[1].multiline.tag
    assert patterns[0] == "^gradient_descent/a[.]0/update_ratio$"


def test_hyperparameters_stand_in_the_run_itself(tmp_path):
    settings = {"lr": 0.1, "bias": True, "network": "mlp", "inputs": None, "limit": math.inf}
    with TensorBoardWriter(tmp_path) as writer:
        writer.hyperparameters(settings, {"accuracy/test": 0.97}, step=1200)
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
        with TensorBoardWriter(tmp_path, sink=first._sink) as second:
            second.scalars({"loss/train": 1.0}, step=0)
        first.scalars({"loss/train": 0.5}, step=1)
    assert len(list(tmp_path.iterdir())) == 1
    assert len(read(tmp_path).Scalars("loss/train")) == 2


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        TensorBoardWriter(tmp_path / "file" / "run")


def test_the_foremost_settings_lead_the_table(tmp_path):
    with TensorBoardWriter(tmp_path) as writer:
        writer.hyperparameters({"a": 1, "lr": 0.1}, {}, step=0, foremost=("lr",))
    content = read(tmp_path).SummaryMetadata(hparams_metadata.EXPERIMENT_TAG).plugin_data.content
    experiment = hparams_metadata.parse_experiment_plugin_data(content)
    assert {info.name: info.differs for info in experiment.hparam_infos} == {"a": False, "lr": True}
