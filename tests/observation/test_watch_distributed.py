"""Two processes that train together, on the CPU, watched and not watched."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from brainnet.observation.recording import read_recording

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]

SCRIPT = """
import json
import logging
import os
import sys
from pathlib import Path

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
os.environ |= {  # what Lightning asks for, where others have started the processes
    "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "us",
}

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from brainnet import watch
from brainnet.kernels.statistics import compute_statistics
from brainnet.kernels.statistics_reference import add_table
from brainnet.observation.pending_reading import parse_stats
from brainnet.training.callbacks import Observe

messages = []
class Keep(logging.Handler):
    def emit(self, record):
        messages.append(record.getMessage())
logging.getLogger("brainnet").addHandler(Keep())

distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
)
drawn = torch.Generator().manual_seed(1)
inputs, targets = torch.randn(32, 4, generator=drawn), torch.randint(3, (32,), generator=drawn)
mine = inputs[rank::2], targets[rank::2]

def new_model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3)
    )

def shard(model):
    mesh = init_device_mesh("cpu", (2,))
    for part in (model[0], model[4], model):
        fully_shard(part, mesh=mesh)
    return model

def flatten(model):
    return FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)

def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor

def train(wrap, name=None, batches=1):
    model = wrap(new_model())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    watching = name and watch(model, folder / name, 1, optimizer, cross_entropy, mine, "full")
    lengths = []
    for step in range(3):
        optimizer.zero_grad()
        for batch in range(batches):
            if wrap is nn.parallel.DistributedDataParallel:
                model.require_backward_grad_sync = batch == batches - 1
            rows = slice(batch, None, batches)
            loss = cross_entropy(model(mine[0][rows]), mine[1][rows]) / batches
            loss.backward()
        found = [whole(each.grad).flatten() for each in model.parameters() if each.grad is not None]
        lengths.append(torch.cat(found).norm().item())
        optimizer.step()
        if watching:
            watching.step(loss)
    weights = [whole(each.detach()).tolist() for each in model.parameters()]
    if not watching:
        return weights
    watching.close()
    return {
        "weights": weights, "lengths": lengths, "limitations": watching.limitations,
        "readings": len(watching.readings),
    }

class Module(LightningModule):
    def __init__(self, sharded):
        super().__init__()
        self.model, self.sharded = new_model(), sharded

    def configure_model(self):
        if self.sharded:
            for part in (self.model[0], self.model[4]):
                fully_shard(part, mesh=self.device_mesh["data_parallel"])

    def training_step(self, batch):
        return cross_entropy(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

def observe(strategy, sharded):
    observing = Observe(folder=folder / type(strategy).__name__)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=8)
    Trainer(
        accelerator="cpu", devices=2, strategy=strategy, max_epochs=1, callbacks=[observing],
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Module(sharded), loader)
    return [reading.step for reading in observing.readings]

ddp = nn.parallel.DistributedDataParallel
found = {}
for name, wrap, batches in (
    ("ddp", ddp, 1), ("adding up", ddp, 2), ("sharded", shard, 1), ("flattened", flatten, 1)
):
    alone = train(wrap, batches=batches)
    found[name] = train(wrap, name, batches)
    found[name]["same"] = found[name].pop("weights") == alone

tables = [torch.empty_like(table) for table in [compute_statistics([inputs])] for _ in range(2)]
distributed.all_gather(tables, compute_statistics([mine[0]]))
[merged], [together] = (
    parse_stats(table.numpy()) for table in (add_table(*tables), compute_statistics([inputs]))
)
found["merged"] = [
    (merged.bins == together.bins).all().item(),
    merged.count - merged.non_finite,
    merged.sum - together.sum,
]
messages.clear()
found["observed"] = observe(DDPStrategy(), False)
found["observed, sharded"] = observe(ModelParallelStrategy(), True)
found["messages"] = messages
(folder / f"{rank}.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each of the two processes found, and the folder they wrote to."""
    folder = tmp_path_factory.mktemp("distributed")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(rank), folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)], folder


@pytest.mark.parametrize("how", ["ddp", "adding up", "sharded", "flattened"])
def test_watching_changes_no_weights_in_any_process(results, how):
    assert [each[how]["same"] for each in results[0]] == [True, True]


@pytest.mark.parametrize("how", ["ddp", "adding up"])
def test_gradients_are_read_after_the_reduction(results, how):
    found, folder = results
    assert found[0][how]["limitations"] == []
    assert found[0][how]["lengths"] == found[1][how]["lengths"]
    readings = read_recording(folder / how)
    assert [reading.gradient_norm for reading in readings] == pytest.approx(
        found[0][how]["lengths"]
    )
    # Called as in one process, and nothing is missing.
    assert [[layer.name for layer in reading.layers] for reading in readings] == [["0", "4"]] * 3
    assert all(reading.actual_decrease is not None for reading in readings)
    # Batch normalization is no layer, but its gradient counts in the total.
    assert all(0 < sum(layer.blame for layer in reading.layers) <= 1 for reading in readings)


@pytest.mark.parametrize("how", ["ddp", "adding up", "sharded"])
def test_only_process_zero_observes(results, how):
    first, second = results[0]
    assert first[how]["readings"] == 3
    assert second[how]["readings"] == 0
    assert second[how]["limitations"] == ["process 1 observes nothing; process 0 does."]


def test_only_activations_of_sharded_models_are_observed(results):
    found, folder = results
    weights, sample = found[0]["sharded"]["limitations"]
    assert weights == (
        "not measured, because sharded or not floating point: 0.weight, 0.bias, 1.weight and 3 "
        "more."
    )
    assert "the sample is not evaluated: the parameters are sharded" in sample
    for reading in read_recording(folder / "sharded"):
        first = reading.layers[0]
        assert 0 < first.firing_rate < 1
        assert [reading.gradient_norm, reading.predicted_decrease, reading.actual_decrease] == (
            [None] * 3
        )
        assert [first.weights_norm, first.gradient_norm, first.update_ratio] == [None] * 3


def test_flattened_parameters_are_not_observed(results):
    found, folder = results
    [message] = found[0]["flattened"]["limitations"]
    assert "FullyShardedDataParallel concatenates parameters" in message
    assert found[0]["flattened"]["readings"] == 0
    assert not (folder / "flattened").exists()


def test_statistics_of_two_processes_merge_into_those_of_all_rows(results):
    for each in results[0]:
        same_bins, finite, difference = each["merged"]
        assert same_bins
        assert finite == 32 * 4
        assert difference == pytest.approx(0, abs=1e-12)


def test_observe_skips_sharded_parameters(results):
    first, second = results[0]
    assert (first["observed"], second["observed"]) == ([0, 1], [])
    assert (first["observed, sharded"], second["observed, sharded"]) == ([], [])
    assert first["messages"] == [
        "Observe: the parameters are sharded over devices; nothing is observed."
    ]
    assert second["messages"] == []
