"""An ONNX runtime predicts for raw rows what brainnet predicts."""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import brainnet
from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.errors import InputError
from brainnet.inference import export as module
from brainnet.inference.export import describe_export, to_onnx
from brainnet.inference.exported_model import ExportedModel, silence_exporter
from brainnet.inference.trained_model import TrainedModel
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.network import Network

Make = Callable[..., TrainedModel]
Numbers = Callable[..., np.ndarray]


def exported(trained: TrainedModel) -> tuple[onnx.ModelProto, onnxruntime.InferenceSession]:
    exported_model = ExportedModel(trained)
    content = to_onnx(exported_model, describe_export(exported_model))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return onnx.load_from_string(content), session


def shares_of(trained: TrainedModel, rows: object) -> np.ndarray:
    return trained.predict(rows).filter(like="probability").to_numpy()


def test_rows_of_numbers_are_predicted_in_batches_of_any_size(
    trained: Make, numbers: Numbers
) -> None:
    run = trained()
    model, session = exported(run)
    assert [(each.name, each.type, each.shape) for each in session.get_inputs()] == [
        ("rows", "tensor(float)", ["batch", 4])
    ]
    for rows in (numbers(257), numbers(1)):
        prediction, name, shares = session.run(None, {"rows": rows})
        assert list(name) == list(run.predict(rows)["prediction"])
        assert [run.class_names[index] for index in prediction] == list(name)
        np.testing.assert_allclose(shares, shares_of(run, rows), rtol=0, atol=1e-5)
    assert [len(part) for part in session.run(None, {"rows": numbers(0)})] == [0, 0, 0]
    assert {node.domain for node in model.graph.node} == {""}
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(run.class_names)
    assert json.loads(metadata["columns"]) == ["a", "b", "c", "d"]
    assert (metadata["brainnet"], metadata["run"], metadata["task"]) == (
        brainnet.__version__,
        "a run",
        "multiclass",
    )
    assert str(sys.prefix) not in str(model)  # nor the paths of the machine it was made on


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [1, 2])
def test_numbers_are_predicted_in_their_units(
    trained: Make, outputs: int, numbers: Numbers
) -> None:
    run = trained("regression", outputs=outputs)
    _, session = exported(run)
    (found,) = session.run(None, {"rows": numbers(100)})
    assert found.shape == (100, outputs)
    np.testing.assert_allclose(found, run.predict(numbers(100)).to_numpy(), rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_two_classes_are_predicted(trained: Make, numbers: Numbers) -> None:
    run = trained("binary")
    _, session = exported(run)
    prediction, name, shares = session.run(
        ["prediction", "class_name", "probabilities"], {"rows": numbers(100)}
    )
    assert set(prediction) == {0, 1}
    assert list(name) == list(run.predict(numbers(100))["prediction"])
    np.testing.assert_allclose(shares, shares_of(run, numbers(100)), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_categories_and_missing_cells_are_predicted_column_by_column(
    trained: Make, mixed: Any, page: dict[str, Any]
) -> None:
    run, rows = trained(encoder=mixed.without_dates), mixed.rows(400)
    model, session = exported(run)
    assert {each.name: each.type for each in session.get_inputs()} == {
        "price": "tensor(float)",
        "town": "tensor(string)",
        "color": "tensor(string)",
        "sold": "tensor(string)",
        "rooms": "tensor(float)",
    }
    _, name, shares = page["predict_onnx"](session, rows)
    assert list(name) == list(run.predict(rows)["prediction"])
    np.testing.assert_allclose(shares, shares_of(run, rows), rtol=0, atol=1e-5)
    assert shares.std(axis=0).min() > 1e-3  # rows are metadata apart
    domains = {node.op_type for node in model.graph.node if node.domain}
    assert domains == {"LabelEncoder"}


@pytest.mark.slow
def test_columns_can_have_the_names_of_outputs(trained: Make) -> None:
    names = ("prediction", "class_name", "Größe in m²")
    encoder = TableEncoder(tuple(ColumnEncoder(name, "boolean", ("no", "yes")) for name in names))
    run = trained(encoder=encoder)
    _, session = exported(run)
    assert [each.name for each in session.get_inputs()] == [
        "prediction (input)",
        "class_name (input)",
        "Größe in m²",
    ]
    words = np.array(["no", "YES", "Yes"], dtype=object)
    found = session.run(["probabilities"], {each.name: words for each in session.get_inputs()})
    rows = {name: list(words) for name in names}
    np.testing.assert_allclose(found[0], shares_of(run, rows), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_predicted_from_bytes(trained: Make, channels: int) -> None:
    run = trained(encoder=ImageEncoder(5, 4, channels))
    _, session = exported(run)
    shape = (6, 5, 4, 3)[: 3 if channels == 1 else 4]
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    _, _, shares = session.run(None, {"pixels": pictures})
    np.testing.assert_allclose(shares, shares_of(run, pictures), rtol=0, atol=1e-5)


RAMPS = {
    "plain": ThresholdRamp(),
    "numbers": ThresholdRamp(0.1, 2.0),
    "leak": ThresholdRamp(0.1, 2.0, leak=0.25),
    "per neuron": ThresholdRamp(torch.linspace(-0.5, 0.5, 6), leak=0.1, learn_width=True),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # of torch.export itself
@pytest.mark.parametrize("name", RAMPS)
@pytest.mark.parametrize("grad", [True, False])
def test_networks_consist_of_standard_operations_for_the_plain_exporter(
    name: str, grad: bool, numbers: Numbers
) -> None:
    network = Network([4, 6, 3], RAMPS[name]).eval()
    rows = torch.from_numpy(numbers(64))
    with torch.set_grad_enabled(grad), silence_exporter():
        program = torch.onnx.export(
            network,
            (rows,),
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    model = program.model_proto
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    if not grad and name != "plain":  # no more than the formula
        assert [node.op_type for node in model.graph.node] == ["Gemm", "Sub", "Div", "Clip", "Gemm"]
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {session.get_inputs()[0].name: rows.numpy()})
    np.testing.assert_allclose(found, network(rows).detach().numpy(), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_half_precision_becomes_float32_and_double_stays(trained: Make, numbers: Numbers) -> None:
    for kind in (torch.bfloat16, torch.float64):
        run = trained(network=Network([4, 8, 3]).to(kind))
        model, session = exported(run)
        _, _, shares = session.run(None, {"rows": numbers(50)})
        assert shares.dtype == np.float32
        near = 1e-6 if kind == torch.float64 else 2e-2
        np.testing.assert_allclose(
            shares, run.compute_probabilities(numbers(50)).float(), atol=near
        )
        weights = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 2}
        wanted = onnx.TensorProto.DOUBLE if kind == torch.float64 else onnx.TensorProto.FLOAT
        assert weights == {wanted}
        assert {weight.dtype for weight in run.network.parameters()} == {kind}


def test_missing_packages_are_reported_with_a_command(
    trained: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    exported_model = ExportedModel(trained())
    with pytest.raises(InputError, match=r'pip install "brainnet\[onnx\]"'):
        to_onnx(exported_model, {})


def test_too_large_networks_are_rejected(trained: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_ONNX_BYTES", 100)
    with pytest.raises(InputError, match=r"at most 2 GB.*--to torch"):
        to_onnx(ExportedModel(trained()), {})


class Convolutional(nn.Module):
    """A small network of convolutions, without brainnet layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            ThresholdRamp(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(36, 3),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.stages(inputs.reshape(-1, 1, 6, 6))
        return found


@pytest.mark.slow
def test_other_modules_are_exported(trained: Make, numbers: Numbers) -> None:
    columns = TableEncoder.from_names([f"pixel {place}" for place in range(36)])
    network = Convolutional()
    network(torch.from_numpy(numbers(64, 36)))  # so that the normalisation has seen something
    run = trained(network=network, encoder=columns, loss=nn.CrossEntropyLoss())
    _, session = exported(run)
    for rows in (numbers(50, 36), numbers(1, 36)):
        _, _, shares = session.run(None, {"rows": rows})
        np.testing.assert_allclose(shares, shares_of(run, rows), rtol=0, atol=1e-5)


class Branching(nn.Module):
    """A network that branches on its own values."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(inputs)
        return found if found.sum() > 0 else -found


class Fixed(nn.Linear):
    """A network for two rows only."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs.reshape(2, 4))


class Bessel(nn.Linear):
    """A network with an operation that ONNX lacks."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(super().forward(inputs))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "match"),
    [
        (
            Branching(),
            r"Branching cannot be exported: .* must not branch on the values",
        ),
        (Fixed(4, 3), r"Fixed cannot be exported: .* must accept batches of any size"),
        (Bessel(4, 3), r"Bessel cannot be expressed in ONNX: .*bessel_j0.*--to torch"),
    ],
    ids=["branches", "two rows", "operation"],
)
def test_networks_that_cannot_be_exported_are_rejected_briefly(
    trained: Make, capsys: pytest.CaptureFixture[str], network: nn.Module, match: str
) -> None:
    exported_model = ExportedModel(trained(network=network))
    with pytest.raises(InputError, match=match) as rejected:
        to_onnx(exported_model, {})
    assert len(str(rejected.value)) < 500
    assert capsys.readouterr().err == ""
