import contextlib
import io
import json
import pickle
import random
import time
import unittest.mock
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Moons
from brainnet.errors import InputError, TrainingFailure
from brainnet.observation.recording import read_recording
from brainnet.structure.network import Network
from brainnet.training import checkpoint as checkpoint_module
from brainnet.training.callbacks import Observe
from brainnet.training.checkpoint import (
    _DELAYED,
    AtomicCheckpointIO,
    RunCheckpoint,
    _copy_state,
    fork_random_state,
    get_random_state,
    set_random_state,
)
from brainnet.training.checkpoint_files import load_checkpoint, load_network, load_scaling


def is_plain(value):
    if isinstance(value, dict):
        return all(is_plain(part) for part in [*value, *value.values()])
    if isinstance(value, list | tuple):
        return all(is_plain(part) for part in value)
    return value is None or type(value) in (bool, int, float, str, torch.Tensor)


def test_checkpoints_hold_only_tensors_and_plain_values(start, tmp_path):
    config = {"name": "moons", "paths": tmp_path, "network": {"hidden": (8,)}}
    result = start(config=config)
    checkpoint = load_checkpoint(result.folder / "checkpoints" / "last.ckpt")
    assert is_plain(checkpoint)
    assert checkpoint["brainnet"]["config"] == {
        "name": "moons",
        "paths": str(tmp_path),
        "network": {"hidden": [8]},
    }
    assert set(checkpoint["state_dict"]) == {
        f"network.{name}" for name in result.network.state_dict()
    }


def test_load_network_restores_the_weights(start):
    result = start()
    checkpoint = load_checkpoint(result.folder / "checkpoints" / "best.ckpt")
    fresh = Network([2, 8, 1])
    load_network(fresh, checkpoint)
    rows = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fresh.eval()(rows), result.network(rows))
    with pytest.raises(InputError, match="weights of a different network"):
        load_network(Network([2, 9, 1]), checkpoint)


def test_load_scaling_applies_the_scaling_of_the_run(start):
    data = DataModule(Moons(rows=100), seed=0)
    checkpoint = load_checkpoint(start(data=data).folder / "checkpoints" / "best.ckpt")
    other = DataModule(Moons(rows=200), seed=9)
    assert other.scaling != data.scaling
    load_scaling(other, checkpoint)
    assert other.scaling == data.scaling


def test_the_state_of_the_data_is_stored(start):
    data = DataModule(Moons(rows=100), seed=0)
    stored = load_checkpoint(start(data=data).folder / "checkpoints" / "last.ckpt")
    assert stored["brainnet"]["scaling"] == data.state_dict()


def test_load_scaling_works_for_a_derived_data_module(start):
    class UserData(DataModule):
        """Lightning stores the state of a derived class under its name."""

    data = DataModule(Moons(rows=100), seed=0)
    path = start(data=data).folder / "checkpoints" / "best.ckpt"
    other = UserData(Moons(rows=200), seed=9)
    load_scaling(other, load_checkpoint(path))
    assert other.scaling == data.scaling


@pytest.mark.parametrize("scaling", [None, {}, {"scaling": {}, "target_scaling": {}}])
def test_missing_scaling_is_rejected(start, moons, scaling):
    checkpoint = load_checkpoint(start().folder / "checkpoints" / "best.ckpt")
    checkpoint["brainnet"]["scaling"] = scaling
    with pytest.raises(InputError, match="has no scaling of its data"):
        load_scaling(moons, checkpoint)


@pytest.mark.parametrize(
    "damage", ["cut", "flipped", "empty", "text", "folder", "missing", "foreign", "code"]
)
def test_damaged_and_foreign_files_are_rejected(start, tmp_path, damage):
    path = tmp_path / "damaged.ckpt"
    match damage:
        case "cut":
            whole = (start().folder / "checkpoints" / "last.ckpt").read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        case "flipped":
            whole = bytearray((start().folder / "checkpoints" / "last.ckpt").read_bytes())
            with zipfile.ZipFile(io.BytesIO(whole)) as archive:
                tensor = max(archive.infolist(), key=lambda member: member.file_size)
                following = min(
                    member.header_offset
                    for member in archive.infolist()
                    if member.header_offset > tensor.header_offset
                )
            whole[(tensor.header_offset + following) // 2] ^= 0xFF
            path.write_bytes(whole)
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("not a checkpoint")
        case "folder":
            path.mkdir()
        case "foreign":
            torch.save({"state_dict": {}}, path)
        case "code":
            path.write_bytes(pickle.dumps(print))
    with pytest.raises(InputError, match=r"damaged\.ckpt"):
        load_checkpoint(path)


def test_a_newer_format_is_rejected(tmp_path):
    torch.save({"brainnet": {"format": 99}}, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match="newer version of brainnet"):
        load_checkpoint(tmp_path / "a.ckpt")


NO_FURTHER_PATHS = {_DELAYED: []}


def test_checkpoints_of_other_callbacks_are_written_at_once(tmp_path):
    store, settled = AtomicCheckpointIO(), []
    store.before_write = lambda: settled.append(True)
    store._next_write = time.monotonic() + 60
    path = tmp_path / "new" / "loss" / "a.ckpt"
    store.save_checkpoint({"value": 1}, path)
    assert torch.load(path, weights_only=True) == {"value": 1}
    assert settled == [True]


def test_model_checkpoint_works_beside_the_run_checkpoint(start, tmp_path):
    best = ModelCheckpoint(
        tmp_path / "theirs", "{epoch}", monitor="loss/validation", save_top_k=1, save_last=True
    )
    start(callbacks=[best], trainer={"max_epochs": 6})
    assert len(list((tmp_path / "theirs").iterdir())) == 2
    assert Path(best.best_model_path).exists()


def test_readings_are_on_disk_before_their_checkpoint(start, tmp_path, monkeypatch):
    seen, save = [], checkpoint_module._serialize

    def record(checkpoint, file):
        steps = [reading.step for reading in read_recording(tmp_path / "run")]
        seen.append((checkpoint["global_step"], max(steps, default=-1)))
        save(checkpoint, file)

    monkeypatch.setattr(checkpoint_module, "_serialize", record)
    start(observe=Observe(every=1), trainer={"max_epochs": 3})
    assert max(step for step, _ in seen) == 21
    # A delayed checkpoint may be written after later readings.
    assert all(last >= step - 1 for step, last in seen)


def test_delayed_checkpoints_are_copied_and_written_by_flush(tmp_path):
    store = AtomicCheckpointIO()
    path, value = tmp_path / "last.ckpt", torch.zeros(3)
    store.save_checkpoint({"state_dict": {}, "value": value}, path, NO_FURTHER_PATHS)
    store._next_write = time.monotonic() + 60  # as if writing had taken three seconds
    value.fill_(1)
    store.save_checkpoint({"state_dict": {}, "value": value}, path, NO_FURTHER_PATHS)
    value.fill_(2)
    assert torch.load(path, weights_only=True)["value"].tolist() == [0, 0, 0]
    store.flush()
    assert torch.load(path, weights_only=True)["value"].tolist() == [1, 1, 1]
    assert list(tmp_path.iterdir()) == [path]


def test_pending_checkpoints_are_written_when_they_are_due(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoint_module.time, "monotonic", lambda: now[0])
    store = AtomicCheckpointIO()
    callback = RunCheckpoint({}, store)
    whole = checkpoint_module.open_atomic

    @contextlib.contextmanager
    def slowly(path):
        with whole(path) as file:
            yield file
        now[0] += 3

    monkeypatch.setattr(checkpoint_module, "open_atomic", slowly)
    store.save_checkpoint({"state_dict": {}, "value": 0}, tmp_path / "last.ckpt", NO_FURTHER_PATHS)
    store.save_checkpoint({"state_dict": {}, "value": 1}, tmp_path / "best.ckpt", NO_FURTHER_PATHS)
    now[0] += 149  # 2% of the time for writing: 150 s after it took 3
    assert not callback.needs_step(0)
    assert not (tmp_path / "best.ckpt").exists()
    now[0] += 2
    assert callback.needs_step(1)
    callback.on_train_batch_start(None, None, None, 0)
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["value"] == 1
    assert not callback.needs_step(2)


class WatchesBestCheckpoint(Callback):
    """Advances the clock within an epoch, and records when best.ckpt exists."""

    def __init__(self, folder, now):
        self.path, self.now, self.seen = folder / "checkpoints" / "best.ckpt", now, []

    def needs_step(self, step):
        self.now[0] += 1e15 if step == 10 else 0.0  # also where a disk takes seconds to write
        if step > 7:
            self.seen.append(self.path.exists())
        return False


def test_the_best_checkpoint_is_written_during_a_long_epoch(start, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(
        checkpoint_module, "_MAX_WRITE_SHARE", 1e-9
    )  # nothing more is due by itself
    real = time.monotonic
    monkeypatch.setattr(checkpoint_module.time, "monotonic", lambda: real() + now[0])
    watcher = WatchesBestCheckpoint(tmp_path / "run", now)
    monkeypatch.setattr(checkpoint_module.RunCheckpoint, "on_train_end", lambda *_: None)
    start(callbacks=[watcher], trainer={"max_epochs": 2})
    assert watcher.seen[0] is False
    assert watcher.seen[-1] is True


def test_writing_makes_no_copy_in_memory(tmp_path, monkeypatch):
    most = []
    real = checkpoint_module.open_atomic

    @contextlib.contextmanager
    def watched(path):
        with real(path) as file:
            taken = file.write
            pieces = unittest.mock.Mock(wraps=file)
            pieces.write = lambda content: (most.append(len(content)), taken(content))[1]
            yield pieces

    monkeypatch.setattr(checkpoint_module, "open_atomic", watched)
    weights = {str(number): torch.zeros(100_000) for number in range(20)}
    AtomicCheckpointIO().save_checkpoint(weights, tmp_path / "a", {_DELAYED: [tmp_path / "b"]})
    assert max(most) < 2**20 < sum(weight.nbytes for weight in weights.values())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class NearlyFull(io.RawIOBase):
    """Accepts 300 bytes; PyTorch's writer hides the error."""

    def __init__(self, path):
        self.path, self.room = path, 300

    def writable(self):
        return True

    def write(self, content):
        self.room -= len(content)
        if self.room < 0:
            raise OSError(28, "No space left on device", str(self.path))
        return len(content)


class Disk:
    """Writes files until it is full."""

    def __init__(self, monkeypatch):
        self.full, self.asked = False, 0
        self._written = checkpoint_module.open_atomic
        monkeypatch.setattr(checkpoint_module, "open_atomic", self.written)
        monkeypatch.setattr(checkpoint_module, "_MAX_WRITE_SHARE", 1e9)  # each one is due

    @contextlib.contextmanager
    def written(self, path):
        self.asked += 1
        with self._written(path) as file:
            if self.full:
                file = io.BufferedWriter(NearlyFull(path), 16)
            yield file


class FillsDisk(Callback):
    """Fills the disk from one epoch to another."""

    def __init__(self, disk, first, last):
        self.disk, self.first, self.last = disk, first, last

    def on_train_epoch_start(self, trainer, *_):
        self.disk.full = self.first <= trainer.current_epoch < self.last


def test_a_full_disk_fails_the_run_with_a_message(start, monkeypatch, tmp_path):
    disk = Disk(monkeypatch)
    with pytest.raises(TrainingFailure, match=r"No space left on device.*last\.ckpt.*resume="):
        start(folder=tmp_path / "run", trainer={"max_epochs": 3}, callbacks=[FillsDisk(disk, 1, 9)])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["state"] == "failed"
    assert "No space left" in summary["reason"]
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["epoch"] == 0


def test_a_failing_checkpoint_of_another_callback_loses_no_run_checkpoint(start, tmp_path):
    class SavesElsewhere(Callback):
        def on_train_epoch_end(self, trainer, module):
            if trainer.current_epoch == 5:
                (tmp_path / "file").write_text("")
                trainer.save_checkpoint(tmp_path / "file" / "x.ckpt")

    with pytest.raises(TrainingFailure, match="cannot be written"):
        start(callbacks=[SavesElsewhere()], trainer={"max_epochs": 9})
    last = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert last["global_step"] == 7 * 5


def test_copying_keeps_types_and_metadata():
    state = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).state_dict()
    copied = _copy_state({"state": state, "betas": (torch.ones(2), 1.0), "rates": [0.1]})
    assert type(copied["state"]) is type(state)
    assert copied["state"]._metadata == state._metadata
    assert copied["betas"][0].tolist() == [1.0, 1.0]
    assert (copied["betas"][1], copied["rates"]) == (1.0, [0.1])


def test_copies_do_not_change_with_the_original():
    weight, rates = nn.Parameter(torch.zeros(3, 2)), [0.1]
    copied = _copy_state({"weight": weight, "part": weight.detach()[1:], "rates": rates})
    with torch.no_grad():
        weight.fill_(1)
    rates[0] = 0.2
    assert not copied["weight"].any()
    assert not copied["part"].any()
    assert not copied["weight"].requires_grad
    assert copied["rates"] == [0.1]


def test_sparse_and_conjugate_tensors_are_copied():
    sparse, conjugate = torch.eye(3).to_sparse(), torch.tensor([1 + 2j]).conj()
    copied = _copy_state([sparse, conjugate])
    assert torch.equal(copied[0].to_dense(), torch.eye(3))
    assert copied[1].tolist() == [1 - 2j]


def draw():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(()).item()


def test_the_same_seed_draws_the_same_numbers():
    with fork_random_state(3):
        first = draw()
    with fork_random_state(3):
        assert draw() == first
    with fork_random_state(4):
        assert draw() != first


def test_forking_does_not_change_later_numbers():
    torch.manual_seed(0)
    state = get_random_state()
    undisturbed = draw()
    set_random_state(state)
    with fork_random_state(3):
        draw()
    assert draw() == undisturbed


def test_random_state_can_be_stored_and_restored(tmp_path):
    np.random.randn()  # leaves a second normal number cached
    torch.save(get_random_state(), tmp_path / "state.pt")
    expected = draw()
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == expected


def test_large_checkpoints_are_written_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "_MAX_DELAYED_BYTES", 500)
    store = AtomicCheckpointIO()
    store._next_write = time.monotonic() + 60
    for size, name in ((125, "small"), (126, "large")):
        checkpoint = {"state_dict": {"weight": torch.zeros(size)}}
        store.save_checkpoint(checkpoint, tmp_path / name, NO_FURTHER_PATHS)
        assert (tmp_path / name).exists() is (name == "large")
    assert (tmp_path / "small").exists()
