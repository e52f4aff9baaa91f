import shutil

import pytest
import torch
from torch import nn

from brainnet.errors import InputError
from brainnet.learning.loss import BinaryCrossEntropy
from brainnet.training.callbacks import Observe
from brainnet.training.checkpoint_files import load_checkpoint
from brainnet.training.compilation import compile_network
from brainnet.training.module import LearningModule

# What takes apart what is compiled, without a C++ compiler.
NO_COMPILER = "aot_eager"


@pytest.fixture
def backend(monkeypatch):
    """Choose another backend for `network.compile()`."""
    compiled = nn.Module.compile

    def chosen(backend):
        monkeypatch.setattr(
            nn.Module, "compile", lambda self, mode=None: compiled(self, backend=backend)
        )

    return chosen


@pytest.fixture(autouse=True)
def forgotten():
    """What was compiled for one test is not for the next."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def alike(one, other, **tolerance):
    return all(
        torch.allclose(one[name], other[name], **tolerance) for name in one.keys() | other.keys()
    )


def check_run(start, tmp_path, **tolerance):
    plain = start(folder=tmp_path / "plain")
    quick = start(folder=tmp_path / "compiled", trainer={"compile": True})
    assert quick.network._compiled_call_impl is not None
    assert alike(plain.network.state_dict(), quick.network.state_dict(), **tolerance)
    assert quick.metrics == pytest.approx(plain.metrics, rel=1e-3)
    stored = [
        load_checkpoint(run.folder / "checkpoints" / "last.ckpt")["state_dict"]
        for run in (plain, quick)
    ]
    assert stored[0].keys() == stored[1].keys()
    assert alike(*stored, **tolerance)


def test_a_compiled_run_is_the_same_run(start, tmp_path, backend):
    backend(NO_COMPILER)
    check_run(start, tmp_path, atol=1e-6)


@pytest.mark.slow
@pytest.mark.native
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # PyTorch's own compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_run_that_is_really_compiled_is_the_same_run(start, tmp_path):
    check_run(start, tmp_path, atol=1e-4)


def test_a_compiled_run_can_be_resumed_without_compiling(start, tmp_path, backend):
    backend(NO_COMPILER)
    whole = start(folder=tmp_path / "whole", trainer={"max_epochs": 4})
    start(folder=tmp_path / "compiled", trainer={"compile": True})
    resumed = start(resume=tmp_path / "compiled", trainer={"max_epochs": 4})
    assert alike(whole.network.state_dict(), resumed.network.state_dict(), atol=1e-6)


def test_weights_and_gradients_of_a_compiled_network_are_seen(start, tmp_path, backend):
    backend(NO_COMPILER)
    result = start(trainer={"compile": True}, observe=Observe(every=5))
    assert [reading.step for reading in result.readings] == [0, 1, 2, 5, 10]


def test_compiling_changes_no_weight_and_draws_no_random_number(moons, network, backend):
    backend(NO_COMPILER)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    compile_network(network, moons, torch.device("cpu"))
    assert alike(network.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(state, torch.get_rng_state())
    assert network.training


def test_what_cannot_be_compiled_is_said_before_anything_is_written(start, tmp_path, backend):
    def broken(graph, inputs):
        raise RuntimeError("no compiler at all")

    backend(broken)
    with pytest.raises(InputError, match="no compiler at all") as told:
        start(trainer={"compile": True})
    assert "trainer.compile=false" in str(told.value)
    assert not (tmp_path / "run").exists()


def test_a_graph_is_captured_on_cuda_alone(start, tmp_path):
    with pytest.raises(InputError, match=r"this run is on cpu\. Set trainer\.compile=true"):
        start(trainer={"compile": "graph"})
    assert not (tmp_path / "run").exists()


def test_a_graph_adds_up_no_gradients(start, tmp_path):
    with pytest.raises(InputError, match=r"Set trainer\.compile=true, or trainer\.accumulate"):
        start(trainer={"compile": "graph", "accumulate_grad_batches": 2})
    assert not (tmp_path / "run").exists()


class Overwriting(nn.Module):
    """Gives its answers in the same memory each time, as a captured graph does."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.memory = {}

    def forward(self, inputs):
        found = self.network(inputs)
        memory = self.memory.setdefault(found.shape, torch.empty_like(found, requires_grad=False))
        with torch.no_grad():
            memory.copy_(found)
        return memory


def test_what_a_captured_network_answers_is_kept_before_it_answers_again(moons):
    network = nn.Linear(2, 1)
    network.weight.data = torch.tensor([[0.0, -5.0]])  # the upper moon, or the lower one
    batches = list(moons.train_dataloader())

    def judged(network, *, keeps_answers):
        module = LearningModule(network, BinaryCrossEntropy(), task="binary", targets=2)
        module.keeps_answers = keeps_answers
        with torch.no_grad():
            for batch in batches:
                module._judge("validation", batch)
        return module.validation_tally.read()

    right = judged(network, keeps_answers=True)
    assert judged(Overwriting(network), keeps_answers=False) == right
    assert judged(Overwriting(network), keeps_answers=True) != right


@pytest.mark.cuda
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_captured_run_is_the_same_run(start, tmp_path):
    plain = start(folder=tmp_path / "plain", trainer={"accelerator": "gpu"})
    captured = start(
        folder=tmp_path / "captured", trainer={"accelerator": "gpu", "compile": "graph"}
    )
    assert alike(plain.network.state_dict(), captured.network.state_dict(), atol=1e-4)
    assert captured.metrics == pytest.approx(plain.metrics, rel=1e-3)
