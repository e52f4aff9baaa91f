import copy
import io
import subprocess
import sys

import pytest
import torch
from torch import nn

from brainnet.observation.step_observer import StepObserver
from brainnet.structure.network import Network

INPUTS = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def ours():
    return Network([4, 8, 2], generator=torch.Generator().manual_seed(0))


def hooks_of(model):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())


def firing(observed, model):
    """What a look tells of the first layer after a pass of the model's own."""
    model(INPUTS).square().mean().backward()
    observed.before_update(model.parameters())
    return observed.finish(step=0, epoch=0).look().reading.layers[0].firing_rate


@pytest.mark.parametrize("make", [plain, ours])
def test_a_copy_tells_nothing_and_loses_its_hooks(make):
    model, twin = make(), make()
    expected = firing(StepObserver(twin), twin)
    observed = StepObserver(model, level="full")
    target = copy.deepcopy(model)
    with torch.no_grad():
        next(target.parameters()).add_(100.0)
    target(INPUTS).sum().backward()
    assert hooks_of(target) == 0
    assert firing(observed, model) == expected


@pytest.mark.parametrize("make", [plain, ours])
def test_a_watched_model_is_stored_and_read_again(make):
    model = make()
    stored = io.BytesIO()
    with StepObserver(model):
        torch.save(model, stored)
    stored.seek(0)
    again = torch.load(stored, weights_only=False)
    assert torch.equal(again(INPUTS), model(INPUTS))


def test_a_file_needs_no_brainnet(tmp_path):
    model = plain()
    with StepObserver(model):
        torch.save(model, tmp_path / "model.pt")
    program = (
        "import sys, torch; sys.modules['brainnet'] = None\n"
        "print(torch.load(sys.argv[1], weights_only=False)(torch.ones(2, 4)).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "model.pt")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "torch.Size([2, 2])", done.stderr


@pytest.mark.parametrize("make", [plain, ours])
def test_a_watched_model_is_compiled_whole_and_as_if_nobody_watched(make):
    model, twin = make(), make()
    operations = []

    def backend(graph, _inputs):
        operations.append([node.target for node in graph.graph.nodes])
        return graph.forward

    with StepObserver(model):
        answer = torch.compile(model, fullgraph=True, backend=backend)(INPUTS)
    expected = torch.compile(twin, fullgraph=True, backend=backend)(INPUTS)
    assert torch.equal(answer, expected)
    assert len(operations[0]) == len(operations[1])


@pytest.mark.parametrize("strict", [False, True])
def test_a_watched_model_is_exported_as_if_nobody_watched(strict):
    model, twin = plain().eval(), plain().eval()
    with StepObserver(model):
        found = torch.export.export(model, (INPUTS,), strict=strict)
    expected = torch.export.export(twin, (INPUTS,), strict=strict)
    assert [node.target for node in found.graph.nodes if node.op == "call_function"] == [
        node.target for node in expected.graph.nodes if node.op == "call_function"
    ]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_watched_model_is_traced_and_says_why_it_cannot_be_scripted():
    model, twin = plain().eval(), plain().eval()
    with StepObserver(model):
        found = torch.jit.trace(model, INPUTS)
        with pytest.raises(AttributeError, match="before it is watched, or after close"):
            torch.jit.script(model)
    kinds = [
        [node.kind() for node in traced.inlined_graph.nodes()]
        for traced in (found, torch.jit.trace(twin, INPUTS))
    ]
    assert kinds[0] == kinds[1]
    assert torch.jit.script(model)(INPUTS).shape == (16, 2)


def test_a_hook_that_is_left_over_hears_nothing():
    model = plain()
    observed = StepObserver(model, level="full")
    answer = model(INPUTS).sum()
    observed.close()
    deltas = observed.layers[0].tallies.keys()
    answer.backward()  # hooks on signals stay as long as these
    assert observed.layers[0].tallies.keys() == deltas
