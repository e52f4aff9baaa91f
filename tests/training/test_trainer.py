import functools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from lightning.pytorch.profilers import AdvancedProfiler, SimpleProfiler
from torch import nn

from brainnet.config.schema import PRECISIONS
from brainnet.errors import InputError
from brainnet.learning.loss import BinaryCrossEntropy
from brainnet.learning.predictions import use_threads
from brainnet.structure.network import Network
from brainnet.training.callbacks import Observe
from brainnet.training.checkpoint import AtomicCheckpointIO
from brainnet.training.checkpoint_files import load_checkpoint
from brainnet.training.fit import fit
from brainnet.training.module import LearningModule
from brainnet.training.trainer import (
    _SIGNALS,
    Interrupted,
    SignalHandler,
    build_profiler,
    choose_threads,
    compile_network,
    make_trainer,
    quiet,
)


def test_creating_a_trainer_writes_and_logs_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with quiet():
        trainer = make_trainer({"max_epochs": 1}, [], AtomicCheckpointIO())
    assert trainer.max_epochs == 1
    assert trainer.loggers == []
    assert list(tmp_path.iterdir()) == []
    assert caplog.text == ""


def test_options_are_passed_to_the_trainer():
    options = {
        "accelerator": "cpu",
        "devices": 1,
        "max_steps": 5,
        "max_epochs": -1,
        "gradient_clip_val": 0.5,
        "accumulate_grad_batches": 3,
        "limit_train_batches": 2,
        "precision": "bf16-mixed",
    }
    with quiet():
        trainer = make_trainer(options, [], AtomicCheckpointIO())
    assert trainer.max_steps == 5
    assert trainer.gradient_clip_val == 0.5
    assert trainer.accumulate_grad_batches == 3
    assert trainer.limit_train_batches == 2
    assert trainer.precision == "bf16-mixed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epoch": 1}, "no option 'max_epoch' here. Did you mean max_epochs"),
        ({"callbacks": []}, "are passed as callbacks="),
        ({"devices": 0, "accelerator": "cpu"}, "cannot be set up.*trainer=auto"),
        ({"max_steps": 0}, "max_steps must be 1 or more"),
    ],
)
def test_invalid_options_are_rejected(options, message):
    with quiet(), pytest.raises(InputError, match=message):
        make_trainer(options, [], AtomicCheckpointIO())


def test_quiet_is_limited_to_its_context():
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    with quiet():
        warnings.warn("The 'val_dataloader' does not have many workers", stacklevel=1)
        assert logger.level == logging.WARNING
    assert logger.level == level
    with pytest.raises(UserWarning):
        warnings.warn("The 'val_dataloader' does not have many workers", stacklevel=1)


CPU = torch.device("cpu")


@pytest.fixture
def _three_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_three_threads")
@pytest.mark.parametrize(
    ("network", "batch_size", "device", "threads"),
    [
        (Network([64, 64, 32, 10]), 32, CPU, 1),
        (Network([64, 64, 32, 10]), 4096, CPU, 3),
        (nn.Linear(1000, 1000, device="meta"), 32, CPU, 3),
        (Network([64, 64, 32, 10]), 32, torch.device("cuda"), 3),
    ],
)
def test_small_networks_use_one_thread(network, batch_size, device, threads):
    assert choose_threads(network, batch_size, device) == threads


@pytest.mark.usefixtures("_three_threads")
def test_the_environment_overrides_the_number_of_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with use_threads(1):
        assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("_three_threads")
def test_the_number_of_threads_is_restored():
    with use_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


NUMBERS = {"64-true": torch.float64, "bf16-true": torch.bfloat16, "16-true": torch.float16}


def run(precision, folder, data="moons", optimizer="sgd"):
    sizes = {"moons": [2, 8, 1], "diabetes": [10, 8, 1], "iris": [4, 8, 3]}[data]
    network = Network(sizes, generator=torch.Generator().manual_seed(0))
    return fit(
        network,
        data,
        epochs=2,
        optimizer=optimizer,
        learning_rate=0.1 if optimizer == "sgd" else 0.01,
        trainer={"precision": precision, "accelerator": "cpu"},
        folder=folder,
        progress=False,
    )


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """Trains in 32 bits, once for each kind of data."""
    return functools.cache(lambda data: run("32-true", tmp_path_factory.mktemp(data) / "run", data))


@pytest.mark.parametrize("data", ["moons", "diabetes"])
@pytest.mark.parametrize("precision", [each for each in PRECISIONS if each != "16-mixed"])
def test_every_precision_trains_and_plots(tmp_path, caplog, exact, precision, data):
    with caplog.at_level(logging.WARNING, "brainnet"):
        result = run(precision, tmp_path / "run", data)
    assert result.state == "finished"
    assert "plots stopped" not in caplog.text
    numbers = NUMBERS.get(precision, torch.float32)
    assert {weight.dtype for weight in result.network.parameters()} == {numbers}
    assert result.metrics["loss/test"] == pytest.approx(exact(data).metrics["loss/test"], rel=0.05)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("kind", "wanted"), [("simple", SimpleProfiler), ("advanced", AdvancedProfiler)]
)
def test_the_profiler_writes_into_the_folder(kind, wanted, tmp_path):
    profiler = build_profiler(kind, tmp_path)
    assert type(profiler) is wanted
    profiler.setup("fit")
    with profiler.profile("thinking"):
        pass
    profiler.describe()
    profiler.teardown("fit")
    assert "thinking" in (tmp_path / "fit-profile.txt").read_text()


# What takes apart what is compiled, without a C++ compiler.
NO_COMPILER = "aot_eager"


@pytest.fixture
def backend(monkeypatch):
    """Choose another backend for `network.compile()`, without graphs of other tests."""
    torch.compiler.reset()
    compiled = nn.Module.compile

    def chosen(backend):
        monkeypatch.setattr(
            nn.Module, "compile", lambda self, mode=None: compiled(self, backend=backend)
        )

    yield chosen
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


def test_a_compiled_run_gives_the_same_result(start, tmp_path, backend):
    backend(NO_COMPILER)
    check_run(start, tmp_path, atol=1e-6)


@pytest.mark.slow
@pytest.mark.native
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # PyTorch's own compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_run_compiled_by_inductor_gives_the_same_result(start, tmp_path):
    check_run(start, tmp_path, atol=1e-4)


def test_a_compiled_run_can_be_resumed_without_compiling(start, tmp_path, backend):
    backend(NO_COMPILER)
    whole = start(folder=tmp_path / "whole", trainer={"max_epochs": 4})
    start(folder=tmp_path / "compiled", trainer={"compile": True})
    resumed = start(resume=tmp_path / "compiled", trainer={"max_epochs": 4})
    assert alike(whole.network.state_dict(), resumed.network.state_dict(), atol=1e-6)


def test_compiled_networks_can_be_observed(start, tmp_path, backend):
    backend(NO_COMPILER)
    result = start(trainer={"compile": True}, observe=Observe(every=5))
    assert [reading.step for reading in result.readings] == [0, 1, 2, 5, 10]


def test_compiling_changes_no_state(moons, network, backend):
    backend(NO_COMPILER)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    module = LearningModule(network, BinaryCrossEntropy(), task="binary", targets=2)
    compile_network(
        module, moons, make_trainer({"accelerator": "cpu"}, [], AtomicCheckpointIO()), True
    )
    assert alike(network.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(state, torch.get_rng_state())
    assert network.training


def test_compiler_errors_are_reported_before_anything_is_written(start, tmp_path, backend):
    def broken(graph, inputs):
        raise RuntimeError("no compiler at all")

    backend(broken)
    with pytest.raises(InputError, match="no compiler at all") as raised:
        start(trainer={"compile": True})
    assert "trainer.compile=false" in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_graphs_need_cuda(start, tmp_path):
    with pytest.raises(
        InputError, match=r"needs a CUDA device.*got cpu and 1\. Set trainer\.compile=true"
    ):
        start(trainer={"compile": "graph"})
    assert not (tmp_path / "run").exists()


def test_graphs_cannot_accumulate_gradients(start, tmp_path):
    with pytest.raises(InputError, match=r"accumulate_grad_batches=1; got cpu and 2\."):
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


def test_reused_output_memory_is_copied(moons):
    network = nn.Linear(2, 1)
    network.weight.data = torch.tensor([[0.0, -5.0]])  # the upper moon, or the lower one
    batches = list(moons.train_dataloader())

    def judged(network, *, reuses_output_memory):
        module = LearningModule(network, BinaryCrossEntropy(), task="binary", targets=2)
        module.reuses_output_memory = reuses_output_memory
        with torch.no_grad():
            for batch in batches:
                module._evaluate_batch("validation", batch)
        return module.validation_metrics.read()

    right = judged(network, reuses_output_memory=False)
    assert judged(Overwriting(network), reuses_output_memory=True) == right
    assert judged(Overwriting(network), reuses_output_memory=False) != right


@pytest.mark.cuda
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_with_graphs_gives_the_same_result(start, tmp_path):
    plain = start(folder=tmp_path / "plain", trainer={"accelerator": "gpu"})
    captured = start(
        folder=tmp_path / "captured", trainer={"accelerator": "gpu", "compile": "graph"}
    )
    assert alike(plain.network.state_dict(), captured.network.state_dict(), atol=1e-4)
    assert captured.metrics == pytest.approx(plain.metrics, rel=1e-3)


ROOT = Path(__file__).parents[2]

STUCK = """
import sys, time
from pathlib import Path
from lightning.pytorch import Callback
from brainnet.structure.network import Network
from brainnet.training.trainer import SignalHandler
from brainnet.training.fit import fit

class Stuck(Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 3:
            (signals,) = (each for each in trainer.callbacks if type(each) is SignalHandler)
            print("stuck", flush=True)
            while signals.signal is None:
                time.sleep(0.01)
            print("received", flush=True)
            time.sleep(250)

fit(Network([4, 3]), "iris", folder=sys.argv[1], callbacks=[Stuck()], observe="off")
"""


class OneProcess:
    world_size = 1


def test_the_first_signal_stops_after_the_batch():
    with SignalHandler() as signals:
        signals.on_train_batch_end(OneProcess())
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.signal == signal.SIGINT
        with pytest.raises(Interrupted):
            signals.on_train_batch_end(OneProcess())


def test_signal_handlers_are_restored_after_an_error():
    before = [signal.getsignal(number) for number in _SIGNALS]
    with suppress(ZeroDivisionError), SignalHandler():
        assert [signal.getsignal(number) for number in _SIGNALS] != before
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in _SIGNALS] == before


def test_no_handlers_are_installed_outside_the_main_thread():
    found = []

    def enter():
        with SignalHandler():
            found.extend(signal.getsignal(number) for number in _SIGNALS)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(number) for number in _SIGNALS]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals between processes")
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_the_second_signal_exits_at_once(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    with process.stdout as lines:
        try:
            # Python remembers that a signal came, not how often: the second must not catch up.
            for received in ("stuck", "received"):
                assert any(received in line for line in lines)
                process.send_signal(number)
            assert process.wait(timeout=100) == 128 + number
        finally:
            process.kill()
    raised = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (raised["state"], raised["signal"]) == ("interrupted", signal.Signals(number).name)
