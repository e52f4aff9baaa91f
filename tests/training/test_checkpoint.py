import contextlib
import io
import json
import pickle
import time
import types
import unittest.mock
import zipfile
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Moons
from brainnet.errors import InputError, TrainingFailure
from brainnet.observation.recording import read_recording
from brainnet.structure.network import Network
from brainnet.training import checkpoint as checkpoint_module
from brainnet.training.callbacks import Observe
from brainnet.training.checkpoint import ALSO, AtomicCheckpointIO, Checkpoints, NotStored
from brainnet.training.checkpoint_files import load_checkpoint, load_network, load_scaling


def plain_leaves(value):
    if isinstance(value, dict):
        return all(plain_leaves(part) for part in [*value, *value.values()])
    if isinstance(value, list | tuple):
        return all(plain_leaves(part) for part in value)
    return value is None or type(value) in (bool, int, float, str, torch.Tensor)


def test_holds_tensors_and_plain_values_alone(start, tmp_path):
    config = {"name": "moons", "paths": tmp_path, "network": {"hidden": (8,)}}
    result = start(config=config)
    checkpoint = load_checkpoint(result.folder / "checkpoints" / "last.ckpt")
    assert plain_leaves(checkpoint)
    assert checkpoint["brainnet"]["config"] == {
        "name": "moons",
        "paths": str(tmp_path),
        "network": {"hidden": [8]},
    }
    assert set(checkpoint["state_dict"]) == {
        f"network.{name}" for name in result.network.state_dict()
    }


def test_gives_a_network_its_weights_back(start):
    result = start()
    checkpoint = load_checkpoint(result.folder / "checkpoints" / "best.ckpt")
    fresh = Network([2, 8, 1])
    load_network(fresh, checkpoint)
    rows = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fresh.eval()(rows), result.network(rows))
    with pytest.raises(InputError, match="weights of another network"):
        load_network(Network([2, 9, 1]), checkpoint)


def test_gives_other_data_the_scaling_of_the_run(start):
    data = DataModule(Moons(rows=100), seed=0)
    checkpoint = load_checkpoint(start(data=data).folder / "checkpoints" / "best.ckpt")
    other = DataModule(Moons(rows=200), seed=9)
    assert other.scaling != data.scaling
    load_scaling(other, checkpoint)
    assert other.scaling == data.scaling


def test_what_was_learnt_of_the_columns_is_stored_once_and_found_under_both_names(start):
    data = DataModule(Moons(rows=100), seed=0)
    stored = load_checkpoint(start(data=data).folder / "checkpoints" / "last.ckpt")
    assert stored["DataModule"] is stored["brainnet"]["scaling"]
    assert stored["DataModule"] == data.state_dict()


def test_only_state_that_never_changes_is_not_copied():
    class Counting(DataModule):
        """Tells more than ours, and in an object that it may change."""

        def state_dict(self):
            return super().state_dict()

    for kind, still in ((DataModule, 2), (Counting, 1)):
        store, data = AtomicCheckpointIO(), kind(Moons(rows=100), seed=0)
        kept = Checkpoints({"name": "moons"}, store)
        kept.on_save_checkpoint(types.SimpleNamespace(datamodule=data), None, {})
        assert len(store.still) == still


def test_scaling_is_also_that_of_a_class_of_the_users(start):
    class Mine(DataModule):
        """Derived, so that Lightning stores its state under another name."""

    data = DataModule(Moons(rows=100), seed=0)
    path = start(data=data).folder / "checkpoints" / "best.ckpt"
    other = Mine(Moons(rows=200), seed=9)
    load_scaling(other, load_checkpoint(path))
    assert other.scaling == data.scaling


@pytest.mark.parametrize("scaling", [None, {}, {"scaling": {}, "target_scaling": {}}])
def test_scaling_that_is_not_told_is_said_in_words(start, moons, scaling):
    checkpoint = load_checkpoint(start().folder / "checkpoints" / "best.ckpt")
    checkpoint["brainnet"]["scaling"] = scaling
    with pytest.raises(InputError, match="does not say how its data were scaled"):
        load_scaling(moons, checkpoint)


@pytest.mark.parametrize(
    "damage", ["cut", "flipped", "empty", "text", "folder", "missing", "foreign", "code"]
)
def test_what_is_damaged_or_foreign_is_said_in_words(start, tmp_path, damage):
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


def test_a_newer_format_is_said_in_words(tmp_path):
    torch.save({"brainnet": {"format": 99}}, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match="newer brainnet"):
        load_checkpoint(tmp_path / "a.ckpt")


OURS_ALONE = {ALSO: []}


def test_somebody_elses_is_there_at_once_wherever_it_belongs(tmp_path):
    store, settled = AtomicCheckpointIO(), []
    store.settle = lambda: settled.append(True)
    store._due = time.monotonic() + 60
    path = tmp_path / "new" / "loss" / "a.ckpt"
    store.save_checkpoint({"value": 1}, path)
    assert torch.load(path, weights_only=True) == {"value": 1}
    assert settled == [True]
    store.remove_checkpoint(path)
    assert not path.exists()


def test_what_is_removed_before_it_is_written_stays_away(tmp_path):
    store = AtomicCheckpointIO()
    store._due = time.monotonic() + 60
    store.save_checkpoint({"value": 1}, tmp_path / "a.ckpt", OURS_ALONE)
    store.remove_checkpoint(tmp_path / "a.ckpt")
    store.flush()
    assert not list(tmp_path.iterdir())


def test_lightnings_own_checkpoints_keep_their_promises(start, tmp_path):
    best = ModelCheckpoint(
        tmp_path / "theirs", "{epoch}", monitor="loss/validation", save_top_k=1, save_last=True
    )
    start(callbacks=[best], trainer={"max_epochs": 6})
    assert len(list((tmp_path / "theirs").iterdir())) == 2
    assert Path(best.best_model_path).exists()


def test_looks_are_on_disk_before_the_checkpoint_that_goes_on_from_them(
    start, tmp_path, monkeypatch
):
    seen, save = [], checkpoint_module._save

    def saved(checkpoint, file):
        steps = [reading.step for reading in read_recording(tmp_path / "run")]
        seen.append((checkpoint["global_step"], max(steps, default=-1)))
        save(checkpoint, file)

    monkeypatch.setattr(checkpoint_module, "_save", saved)
    start(observe=Observe(every=1), trainer={"max_epochs": 3})
    assert max(step for step, _ in seen) == 21
    assert all(last == step - 1 for step, last in seen)


def test_writes_no_more_often_than_pays_and_nothing_is_lost(tmp_path):
    store = AtomicCheckpointIO()
    path, value = tmp_path / "last.ckpt", torch.zeros(3)
    store.save_checkpoint({"value": value}, path, OURS_ALONE)
    store._due = time.monotonic() + 60  # as if writing had taken three seconds
    value.fill_(1)
    store.save_checkpoint({"value": value}, path, OURS_ALONE)
    value.fill_(2)
    assert torch.load(path, weights_only=True)["value"].tolist() == [0, 0, 0]
    store.flush()
    assert torch.load(path, weights_only=True)["value"].tolist() == [1, 1, 1]
    assert list(tmp_path.iterdir()) == [path]


def test_what_waits_is_written_once_it_is_due_though_nothing_more_is_stored(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoint_module.time, "monotonic", lambda: now[0])
    store = AtomicCheckpointIO()
    checkpoints = Checkpoints({}, store)
    whole = checkpoint_module.written_whole

    @contextlib.contextmanager
    def slowly(path):
        with whole(path) as file:
            yield file
        now[0] += 3

    monkeypatch.setattr(checkpoint_module, "written_whole", slowly)
    store.save_checkpoint({"value": 0}, tmp_path / "last.ckpt", OURS_ALONE)
    store.save_checkpoint({"value": 1}, tmp_path / "best.ckpt", OURS_ALONE)
    now[0] += 59  # a twentieth of the time for writing: 60 s after it took 3
    assert not checkpoints.needs_step(0)
    checkpoints.on_validation_batch_start(None, None, None, 0, 0)
    assert not (tmp_path / "best.ckpt").exists()
    now[0] += 2
    assert checkpoints.needs_step(1)
    checkpoints.on_train_batch_start(None, None, None, 0)
    assert torch.load(tmp_path / "best.ckpt", weights_only=True) == {"value": 1}
    assert not checkpoints.needs_step(2)


class LooksAtTheFolder(Callback):
    """Sets the clock on in mid-epoch, and notes at which step the best is there."""

    def __init__(self, folder, now):
        self.path, self.now, self.seen = folder / "checkpoints" / "best.ckpt", now, []

    def needs_step(self, step):
        self.now[0] += 1e15 if step == 10 else 0.0  # also where a disk takes seconds to write
        if step > 7:
            self.seen.append(self.path.exists())
        return False


def test_a_long_epoch_does_not_keep_the_best_in_memory(start, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoint_module, "_SHARE_OF_TIME", 1e-9)  # nothing more is due by itself
    real = time.monotonic
    monkeypatch.setattr(checkpoint_module.time, "monotonic", lambda: real() + now[0])
    looks = LooksAtTheFolder(tmp_path / "run", now)
    monkeypatch.setattr(checkpoint_module.Checkpoints, "on_train_end", lambda *_: None)
    start(callbacks=[looks], trainer={"max_epochs": 2})
    assert looks.seen[0] is False
    assert looks.seen[-1] is True


def test_all_that_waits_counts_but_what_is_shared_once(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "_BYTES_IN_MEMORY", 1000)
    store = AtomicCheckpointIO()
    store._due = time.monotonic() + 60
    values = [{"value": torch.full((100,), float(number))} for number in range(3)]
    store.save_checkpoint(values[0], tmp_path / "a", {ALSO: [tmp_path / "b"]})
    store.save_checkpoint(values[1], tmp_path / "c", OURS_ALONE)
    assert not list(tmp_path.iterdir())
    store.save_checkpoint(values[2], tmp_path / "d", OURS_ALONE)  # 1200 bytes would wait
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", "d"}
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_cannot_be_written_and_is_shared_is_not_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "_BYTES_IN_MEMORY", 1000)
    disk = Disk(monkeypatch)
    disk.full = True
    store, value = AtomicCheckpointIO(), torch.zeros(200)
    store.save_checkpoint({"value": value}, tmp_path / "a", {ALSO: [tmp_path / "b"]})
    value.fill_(1)
    disk.full = False
    store.finish()
    for name in ("a", "b"):
        assert not torch.load(tmp_path / name, weights_only=True)["value"].any()
    disk.full = True
    with pytest.raises(NotStored, match="No space left"):
        store.save_checkpoint({"value": torch.zeros(300)}, tmp_path / "c", OURS_ALONE)


def test_writing_takes_no_memory_of_its_own(tmp_path, monkeypatch):
    most = []
    real = checkpoint_module.written_whole

    @contextlib.contextmanager
    def watched(path):
        with real(path) as file:
            taken = file.write
            pieces = unittest.mock.Mock(wraps=file)
            pieces.write = lambda content: (most.append(len(content)), taken(content))[1]
            yield pieces

    monkeypatch.setattr(checkpoint_module, "written_whole", watched)
    weights = {str(number): torch.zeros(100_000) for number in range(20)}
    AtomicCheckpointIO().save_checkpoint(weights, tmp_path / "a", {ALSO: [tmp_path / "b"]})
    assert max(most) < 2**20 < sum(weight.nbytes for weight in weights.values())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class NearlyFull(io.RawIOBase):
    """Takes a few bytes; PyTorch's writer would hide the reason."""

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
    """Writes whole files, while there is room."""

    def __init__(self, monkeypatch):
        self.full, self.asked = False, 0
        self._written = checkpoint_module.written_whole
        monkeypatch.setattr(checkpoint_module, "written_whole", self.written)
        monkeypatch.setattr(checkpoint_module, "_SHARE_OF_TIME", 1e9)  # each one is due
        monkeypatch.setattr(checkpoint_module, "_SECONDS_BETWEEN_TRIES", 0.0)

    @contextlib.contextmanager
    def written(self, path):
        self.asked += 1
        with self._written(path) as file:
            if self.full:
                file = io.BufferedWriter(NearlyFull(path), 16)
            yield file


class FillsUp(Callback):
    """Has the disk full from the end of one epoch to that of another."""

    def __init__(self, disk, first, last):
        self.disk, self.first, self.last = disk, first, last

    def on_train_epoch_start(self, trainer, *_):
        self.disk.full = self.first <= trainer.current_epoch < self.last


def test_a_disk_that_is_full_for_a_while_costs_nothing(start, monkeypatch, caplog):
    expected = start(trainer={"max_epochs": 4})
    disk = Disk(monkeypatch)
    result = start(trainer={"max_epochs": 4}, callbacks=[FillsUp(disk, 1, 3)])
    assert result.state == "finished"
    assert disk.asked > 5
    assert caplog.text.count("No space left on device") == 1
    one, other = (
        load_checkpoint(each.folder / "checkpoints" / "last.ckpt") for each in (result, expected)
    )
    assert one["global_step"] == other["global_step"]
    for name, value in other["state_dict"].items():
        assert torch.equal(one["state_dict"][name], value)


def test_a_disk_that_stays_full_fails_the_run_in_words(start, monkeypatch, tmp_path):
    disk = Disk(monkeypatch)
    with pytest.raises(TrainingFailure, match=r"No space left on device.*last\.ckpt.*resume="):
        start(folder=tmp_path / "run", trainer={"max_epochs": 3}, callbacks=[FillsUp(disk, 1, 9)])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["state"] == "failed"
    assert "No space left" in summary["reason"]
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["epoch"] == 0


def test_a_checkpoint_of_somebody_else_that_fails_costs_none_of_ours(start, tmp_path):
    class Elsewhere(Callback):
        def on_train_epoch_end(self, trainer, module):
            if trainer.current_epoch == 5:
                (tmp_path / "file").write_text("")
                trainer.save_checkpoint(tmp_path / "file" / "x.ckpt")

    with pytest.raises(TrainingFailure, match="cannot be written"):
        start(callbacks=[Elsewhere()], trainer={"max_epochs": 9})
    last = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert last["global_step"] == 7 * 5
