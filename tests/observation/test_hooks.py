import copy
import io
import subprocess
import sys
from contextlib import closing

import pytest
import torch
from torch import nn

from brainnet.observation.capabilities import ObservedModel
from brainnet.observation.hooks import StepTimer
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
    """Return the statistics of the first layer after one pass of the model."""
    model(INPUTS).square().mean().backward()
    observed.measure_gradients(model.parameters())
    return observed.finish(step=0, epoch=0).resolve().reading.layers[0].firing_rate


@pytest.mark.parametrize("make", [plain, ours])
def test_copies_of_the_model_are_not_observed_and_lose_their_hooks(make):
    model, twin = make(), make()
    expected = firing(StepObserver(ObservedModel(twin)), twin)
    observed = StepObserver(ObservedModel(model), level="full")
    target = copy.deepcopy(model)
    with torch.no_grad():
        next(target.parameters()).add_(100.0)
    target(INPUTS).sum().backward()
    assert hooks_of(target) == 0
    assert firing(observed, model) == expected


@pytest.mark.parametrize("make", [plain, ours])
def test_an_observed_model_can_be_saved_and_loaded(make):
    model = make()
    stored = io.BytesIO()
    with closing(StepObserver(ObservedModel(model))):
        torch.save(model, stored)
    stored.seek(0)
    again = torch.load(stored, weights_only=False)
    assert torch.equal(again(INPUTS), model(INPUTS))


def test_loading_an_observed_model_needs_no_brainnet(tmp_path):
    model = plain()
    with closing(StepObserver(ObservedModel(model))):
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
def test_compiled_graphs_contain_no_hooks(make):
    model, twin = make(), make()
    operations = []

    def backend(graph, _inputs):
        operations.append([node.target for node in graph.graph.nodes])
        return graph.forward

    with closing(StepObserver(ObservedModel(model))):
        answer = torch.compile(model, fullgraph=True, backend=backend)(INPUTS)
    expected = torch.compile(twin, fullgraph=True, backend=backend)(INPUTS)
    assert torch.equal(answer, expected)
    assert len(operations[0]) == len(operations[1])


@pytest.mark.parametrize("strict", [False, True])
def test_exported_graphs_contain_no_hooks(strict):
    model, twin = plain().eval(), plain().eval()
    with closing(StepObserver(ObservedModel(model))):
        found = torch.export.export(model, (INPUTS,), strict=strict)
    expected = torch.export.export(twin, (INPUTS,), strict=strict)
    assert [node.target for node in found.graph.nodes if node.op == "call_function"] == [
        node.target for node in expected.graph.nodes if node.op == "call_function"
    ]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_traces_contain_no_hooks_and_scripting_is_rejected():
    model, twin = plain().eval(), plain().eval()
    with closing(StepObserver(ObservedModel(model))):
        found = torch.jit.trace(model, INPUTS)
        with pytest.raises(AttributeError, match=r"before watch\(\) or after close"):
            torch.jit.script(model)
    kinds = [
        [node.kind() for node in traced.inlined_graph.nodes()]
        for traced in (found, torch.jit.trace(twin, INPUTS))
    ]
    assert kinds[0] == kinds[1]
    assert torch.jit.script(model)(INPUTS).shape == (16, 2)


def test_tensor_hooks_are_inert_after_close():
    model = plain()
    observed = StepObserver(ObservedModel(model), level="full")
    answer = model(INPUTS).sum()
    observed.close()
    deltas = set(observed.layers[0].totals)
    answer.backward()  # hooks on signals stay as long as these
    assert set(observed.layers[0].totals) == deltas


@pytest.fixture
def watch(monkeypatch):
    """A stopwatch whose clock moves on by one second at each look at it."""
    clock = iter(range(100))
    monkeypatch.setattr("brainnet.observation.hooks.perf_counter", lambda: float(next(clock)))
    return StepTimer()


def test_only_outermost_calls_are_timed_and_added_up(watch):
    inner = nn.Linear(1, 1)
    outer = nn.Sequential(inner)
    for module in (outer, inner):
        module.register_forward_pre_hook(watch.start_forward)
        module.register_forward_hook(watch.stop_forward)
    assert watch.forward_seconds is None
    outer(torch.ones(1, 1))
    assert watch.forward_seconds == 1.0
    outer(torch.ones(1, 1))
    assert watch.forward_seconds == 2.0


def test_time_spent_on_observation_is_excluded(watch):
    watch.start_forward(nn.Identity(), ())
    watch.excluded_seconds += 0.25
    watch.stop_forward(nn.Identity(), (), None)
    assert watch.forward_seconds == 0.75


def test_evaluation_without_gradients_is_not_timed(watch):
    with torch.no_grad():
        watch.start_forward(nn.Identity(), ())
        watch.stop_forward(nn.Identity(), (), None)
    assert watch.forward_seconds is None


def test_calls_that_raise_are_not_timed(watch):
    inner = nn.Linear(1, 1)
    outer = nn.Sequential(inner)
    for module in (outer, inner):
        module.register_forward_pre_hook(watch.start_forward)
        module.register_forward_hook(watch.stop_forward, always_call=True)
    with pytest.raises(RuntimeError):
        outer(torch.ones(1, 2))
    assert watch.forward_seconds is None
    outer(torch.ones(1, 1))
    watch.stop_backward()
    assert watch.forward_seconds == watch.backward_seconds == 1.0
