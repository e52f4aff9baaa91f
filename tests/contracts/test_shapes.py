"""Every `Shape:` block is checked against a real call."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import brainnet
from brainnet.data.dataset import Dataset
from brainnet.data.loader import InMemoryLoader
from brainnet.data.preprocessing import TableEncoder
from brainnet.data.scaling import Scaling
from brainnet.inference.trained_model import TrainedModel
from brainnet.kernels.counters import create_counters
from brainnet.kernels.threshold_ramp import threshold_ramp
from brainnet.learning import loss
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.bias import Bias
from brainnet.structure.embedding import Embedding, Embeddings
from brainnet.structure.layer import Layer
from brainnet.structure.network import Network
from brainnet.structure.neuron import Neuron
from brainnet.structure.weights import Weights
from brainnet.training.run_directory import Run, RunDirectory

ROOT = Path(brainnet.__file__).parent
ENTRY = re.compile(r"^(\w+):\s*\(([^)]*)\)\s*(\w*)")
Values = dict[str, Tensor]


def call(part: Callable[..., Tensor], **given: Tensor) -> Values:
    """Return the inputs, the output and the tensors of a module."""
    held = {
        name: value
        for name in ("value", "weights")
        if isinstance(value := getattr(part, name, None), Tensor)
    }
    return {**given, **held, "return": part(*given.values())}


def make_classes() -> Values:
    return {"outputs": torch.randn(5, 3), "targets": torch.tensor([0, 1, 2, 0, 1])}


def make_numbers() -> Values:
    return {"outputs": torch.randn(5, 2), "targets": torch.randn(5, 2)}


def run_trained_model() -> Values:
    trained = TrainedModel(
        run=Run(RunDirectory(Path("run"))),
        checkpoint=Path("best.ckpt"),
        config={},
        network=Network([3, 4, 1]).eval(),
        loss=loss.BinaryCrossEntropy(),
        task="binary",
        class_names=("no", "yes"),
        target_names=(),
        encoder=TableEncoder.from_names(("a", "b", "c")),
        scaling=Scaling.fit(TABLE, "standard"),
        target_scaling=Scaling("none", (0.0,), (1.0,)),
    )
    names = ("inputs", "outputs", "probabilities")
    return {name: getattr(trained, f"compute_{name}")(TABLE) for name in names}


SIGNALS = torch.randn(5, 3)
TABLE = torch.randn(5, 3)
RUNS: dict[str, Callable[[], Values]] = {
    "kernels/threshold_ramp.py:threshold_ramp": lambda: call(
        threshold_ramp, input=torch.randn(5, 4), threshold=torch.zeros(4), width=torch.ones(4)
    ),
    "kernels/counters.py:create_counters": lambda: dict(
        zip(("counts", "sums"), create_counters(5), strict=True)
    ),
    "data/dataset.py:Dataset": lambda: {
        "inputs": Dataset.from_arrays(TABLE, [0, 1, 1, 0, 1]).inputs
    },
    "data/loader.py:InMemoryLoader": lambda: {
        "inputs": InMemoryLoader(TABLE, torch.zeros(5), batch_size=2).inputs
    },
    "data/scaling.py:Scaling": lambda: call(Scaling.fit(TABLE, "standard").apply, values=TABLE),
    "structure/weights.py:Weights": lambda: call(Weights(3, 4), inputs=SIGNALS),
    "structure/bias.py:Bias": lambda: call(Bias(4, 3), weighted=torch.randn(5, 4)),
    "structure/activation.py:ThresholdRamp": lambda: call(ThresholdRamp(), input=torch.randn(5, 4)),
    "structure/embedding.py:Embedding": lambda: call(Embedding(6, 4), column=torch.arange(5.0)),
    "structure/embedding.py:Embeddings": lambda: call(Embeddings(3, {1: 12}), inputs=SIGNALS),
    "structure/neuron.py:Neuron": lambda: call(Neuron(3), inputs=SIGNALS),
    "structure/neuron.py:Neuron.pre_activation": lambda: call(
        Neuron(3).pre_activation, inputs=SIGNALS
    ),
    "structure/layer.py:Layer": lambda: call(Layer(3, 4), inputs=SIGNALS),
    "structure/layer.py:Layer.pre_activation": lambda: call(
        Layer(3, 4).pre_activation, inputs=SIGNALS
    ),
    "structure/network.py:Network": lambda: call(Network([3, 4, 2]), inputs=SIGNALS),
    "structure/network.py:Network.trace": lambda: {"inputs": Network([3, 2]).trace(SIGNALS).inputs},
    "inference/trained_model.py:TrainedModel": run_trained_model,
    "learning/loss.py:CrossEntropy": lambda: call(loss.CrossEntropy(), **make_classes()),
    "learning/loss.py:BinaryCrossEntropy": lambda: call(
        loss.BinaryCrossEntropy(), outputs=torch.randn(5, 1), targets=torch.tensor([0, 1, 1, 0, 1])
    ),
    "learning/loss.py:MeanSquaredError": lambda: call(loss.MeanSquaredError(), **make_numbers()),
    "learning/loss.py:MeanAbsoluteError": lambda: call(loss.MeanAbsoluteError(), **make_numbers()),
    "learning/loss.py:Huber": lambda: call(loss.Huber(), **make_numbers()),
}


def find_blocks() -> Iterator[tuple[str, str]]:
    """Yield name and text of each `Shape:` block of the package."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        place = path.relative_to(ROOT).as_posix()
        yield from _find_within(tree, f"{place}:", top=True)


def _find_within(node: ast.AST, name: str, *, top: bool = False) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef):
            continue
        full = f"{name}{child.name}" if top else f"{name}.{child.name}"
        _, marker, block = (ast.get_docstring(child) or "").partition("Shape:\n")
        if marker:
            yield full, block.split("\n\n")[0]
        yield from _find_within(child, full)


BLOCKS = dict(find_blocks())


def test_every_block_has_a_call() -> None:
    assert set(BLOCKS) == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_sizes_match(name: str) -> None:
    values, sizes = RUNS[name](), dict[str, int]()
    lines = [line.strip() for line in BLOCKS[name].splitlines()]
    entries = [ENTRY.match(line) for line in lines]
    assert all(entries), f"{name}: every line reads 'name: (size, size) dtype'; got {lines}"
    assert {entry[1] for entry in entries if entry} == set(values)
    for entry in filter(None, entries):
        value, words = values[entry[1]], [word for word in re.split(r",\s*", entry[2]) if word]
        assert value.ndim == len(words), f"{name}: {entry[1]} is {tuple(value.shape)}"
        for word, size in zip(words, value.shape, strict=True):
            expected = int(word) if word.isdigit() else sizes.setdefault(word, size)
            assert size == expected, f"{name}: {entry[1]} is {tuple(value.shape)}"
        assert not entry[3] or str(value.dtype) == f"torch.{entry[3]}"
    assert len(set(sizes.values())) == len(sizes), "names need different sizes"


def test_concept_modules_have_shape_blocks() -> None:
    for part in (Weights, Bias, ThresholdRamp, Neuron, Layer, Network, *loss.LOSSES.values()):
        assert issubclass(part, nn.Module)
        assert "Shape:" in (part.__doc__ or ""), part
