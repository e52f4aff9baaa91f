"""Tests of the data module, alone and under a Trainer."""

import hashlib
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch

import brainnet
from brainnet.data.datamodule import DataModule
from brainnet.data.dataset import Dataset, restore_encoder
from brainnet.data.datasets import Moons
from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.scaling import Scaling
from brainnet.data.split import RandomStream, create_generator
from brainnet.data.table import Table
from brainnet.errors import InputError

PARTS = ("train", "validation", "test")


def rows(count=100, seed=0):
    numbers = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return numbers * torch.tensor([1.0, 10.0, 100.0]) + 5


def regression(**options):
    inputs = rows()
    return DataModule((inputs, inputs.sum(dim=1) * 7 + 100), **options)


def test_sizes_and_names_are_known_after_construction():
    digits = DataModule("digits").dataset
    assert (digits.task, digits.input_count, digits.target_count) == ("multiclass", 64, 10)
    assert digits.image_shape == (8, 8)
    assert digits.class_names == tuple("0123456789")
    assert len(digits.input_names) == 64
    assert regression().dataset.target_count == 1
    assert regression().dataset.class_names == ()


@pytest.mark.parametrize(
    "source", ["moons", Moons(), Moons().load(0), (rows(), np.arange(100) % 2)], ids=repr
)
def test_all_kinds_of_sources_are_split(source):
    data = DataModule(source)
    assert [len(data.take(part)[1]) for part in PARTS] == [
        round(len(data.dataset) * share) for share in (0.7, 0.1, 0.2)
    ]


def test_scaling_is_fitted_on_training_rows_only():
    data = DataModule((rows(), torch.arange(100) % 2))
    inputs, _ = data.take("train")
    torch.testing.assert_close(inputs.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std(dim=0, correction=0), torch.ones(3))
    for part in (data.take("validation"), data.take("test")):
        assert (part[0].mean(dim=0).abs() > 1e-3).all()

    # Whatever happens in the other parts, the training rows and the scaling stay the same.
    changed = rows()
    train = torch.isin(changed[:, 0], data.scaling.undo(inputs)[:, 0])
    assert not train.all()
    used = {tuple(row) for row in data.dataset.inputs[data._split.train].tolist()}
    outside = torch.tensor([tuple(row) not in used for row in changed.tolist()])
    changed[outside] = 1e6
    other = DataModule((changed, torch.arange(100) % 2))
    assert other.scaling == data.scaling
    assert torch.equal(other.take("train")[0], inputs)
    assert not torch.equal(other.take("test")[0], data.take("test")[0])


def test_no_row_is_in_two_parts():
    data = DataModule((rows(), torch.arange(100) % 2))
    parts = [{tuple(row) for row in data.take(part)[0].tolist()} for part in PARTS]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 100


def test_constant_pixels_become_zero():
    for kind in ("standard", "minmax"):
        data = DataModule("digits", normalize=kind)
        assert all(data.take(part)[0].isfinite().all() for part in PARTS)
        assert (data.take("train")[0][:, 0] == 0).all()


def test_target_scaling_can_be_reversed():
    data = regression()
    _, targets = data.take("train")
    assert targets.mean().item() == pytest.approx(0, abs=1e-5)
    assert targets.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    plain = regression(normalize_targets=False)
    for part in PARTS:
        undone = data.target_scaling.undo(data.take(part)[1])
        torch.testing.assert_close(undone, plain.take(part)[1], rtol=1e-5, atol=1e-3)


def test_classes_are_never_scaled():
    data = DataModule("iris")
    assert data.target_scaling.kind == "none"
    assert data.take("train")[1].dtype == torch.int64
    assert set(data.take("train")[1].tolist()) == {0, 1, 2}


@pytest.mark.parametrize("source", ["moons", "digits", "diabetes"])
def test_same_seed_gives_the_same_bits(source):
    once, again, other = (DataModule(source, seed=seed) for seed in (5, 5, 6))
    for part in PARTS:
        for first, second in zip(once.take(part), again.take(part), strict=True):
            assert torch.equal(first, second)
    for first, second in zip(once.train_dataloader(), again.train_dataloader(), strict=True):
        assert torch.equal(first[0], second[0])
    assert not torch.equal(once.take("train")[0], other.take("train")[0])


def test_sample_is_at_most_256_training_rows():
    data = DataModule("digits")
    inputs, targets = data.sample
    assert inputs.shape == (256, 64)
    assert set(targets.tolist()) == set(range(10))
    training = {tuple(row) for row in data.take("train")[0].tolist()}
    assert all(tuple(row) in training for row in inputs.tolist())
    small = DataModule("iris")
    assert len(small.sample[0]) == len(small.take("train")[0])


def test_scaling_of_another_run_is_used():
    fitted = regression()
    other = DataModule((rows(60, seed=9) * 3, rows(60, seed=9)[:, 0]))
    other.apply_scaling(fitted.state_dict())
    inputs, targets = other.take("test")
    test = other.row_indices("test")
    expected = fitted.scaling.apply(other.dataset.inputs[test])
    assert torch.equal(inputs, expected)
    assert torch.equal(targets, fitted.target_scaling.apply(other.dataset.targets[test]))
    before = DataModule("iris")
    with pytest.raises(InputError, match="trained on data with 3 inputs; iris has 4"):
        before.apply_scaling(fitted.state_dict())
    assert before.scaling == DataModule("iris").scaling


def test_state_restores_the_scaling():
    data, other = regression(), regression(normalize="minmax", normalize_targets=False)
    file = io.BytesIO()
    torch.save(data.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.scaling == data.scaling
    assert other.target_scaling == data.target_scaling
    for part in PARTS:
        assert torch.equal(other.take(part)[0], data.take(part)[0])
        assert torch.equal(other.take(part)[1], data.take(part)[1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of 1 or more; got 0"),
        ({"normalize": "z-score"}, "normalize must be one of standard, minmax, none"),
        ({"validation": 0}, "validation must be a fraction"),
        ({"test": 1.0}, "test must be a fraction"),
        ({"validation": 0.6, "test": 0.4}, "leave no training rows"),
        ({"normalize_targets": "no"}, "normalize_targets must be true or false; got 'no'"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"source": "digit"}, "Did you mean digits"),
        ({"source": 3}, "data must be a built-in data set or its name.* got int"),
        ({"source": (rows(4), [0, 1, 0])}, "needs 4 rows of targets; got 3"),
    ],
)
def test_invalid_options_are_rejected(options, words):
    with pytest.raises(InputError, match=words):
        DataModule(**{"source": "iris", **options})


def test_options_are_checked_before_loading():
    class Untouchable:
        def load(self, seed):
            raise AssertionError

    with pytest.raises(InputError):
        DataModule(Untouchable(), batch_size=0)


class Recorder(pl.LightningModule):
    """Notes the first targets of every epoch and takes part in training for form's sake."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)
        self.epochs = []
        self.tested = 0

    def training_step(self, batch, index):
        inputs, _ = batch
        if index == 0:
            self.epochs.append([])
        self.epochs[-1].append(inputs)
        return self.linear(inputs).mean()

    def validation_step(self, batch, index):
        pass

    def test_step(self, batch, index):
        self.tested += len(batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def quiet_trainer(tmp_path, **options):
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **options,
    )


# Lightning 2.6 asks torch's pytree in a way that torch 2.13 is about to drop.
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
def test_trainer_uses_a_new_order_each_epoch(tmp_path):
    data, module = DataModule(Moons(rows=60), batch_size=8), Recorder()
    trainer = quiet_trainer(tmp_path, max_epochs=2)
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    first, second = (torch.cat(batches) for batches in module.epochs)
    alone = DataModule(Moons(rows=60), batch_size=8).train_dataloader()
    for epoch, walked in enumerate((first, second)):
        alone.sampler.set_epoch(epoch)
        assert torch.equal(torch.cat([inputs for inputs, _ in alone]), walked)
    assert not torch.equal(first, second)
    assert module.tested == len(data.take("test")[0])


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
def test_overfit_batches_use_the_same_rows(tmp_path):
    data, module = DataModule(Moons(rows=60), batch_size=8), Recorder()
    quiet_trainer(tmp_path, max_epochs=3, overfit_batches=2).fit(module, data)
    epochs = [torch.cat(batches) for batches in module.epochs]
    assert len(epochs) == 3
    assert all(torch.equal(epoch, data.take("train")[0][:16]) for epoch in epochs)


def test_loader_uses_the_rank_of_the_trainer():
    class Strategy:
        root_device = torch.device("cpu")

    class Trainer:
        overfit_batches = 0.0
        strategy = Strategy()
        world_size = 2
        global_rank = 1

    data = DataModule(Moons(rows=60), batch_size=8)
    data.trainer = Trainer()
    loader = data.train_dataloader()
    assert (loader.sampler.rank, loader.sampler.world_size) == (1, 2)
    assert len(loader) == -(-(len(data.take("train")[0]) // 2) // 8)


def test_repr_lists_task_and_sizes():
    expected = "DataModule(moons: binary, 2 inputs, 2 classes; rows 700 train, 100 validation, 200"
    assert repr(DataModule("moons")).startswith(expected)
    assert str(DataModule("moons")).startswith(expected)
    assert "10 inputs, 1 targets" in repr(DataModule("diabetes"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_rows_move_to_the_gpu_once():
    class Strategy:
        root_device = torch.device("cuda", 0)

    class Trainer:
        overfit_batches = 0.0
        strategy = Strategy()
        world_size = 1
        global_rank = 0

    data = DataModule(Moons(rows=60))
    data.trainer = Trainer()
    loader = data.train_dataloader()
    assert loader.inputs.is_cuda
    assert all(inputs.is_cuda and targets.is_cuda for inputs, targets in loader)


def test_dataset_is_used_unchanged():
    dataset = Dataset.from_arrays(rows(30), [0, 1, 2] * 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert DataModule(dataset).dataset is dataset


@pytest.mark.parametrize(
    ("source", "recorded"),
    [
        ("digits", "fa01f8a9f709ae90"),
        ("iris", "a8c0f96040ec34e8"),
        ("moons", "c6ebc8a867968e52"),
    ],
)
def test_row_order_equals_the_recorded_order(source, recorded):
    data, found = DataModule(source, seed=3), hashlib.sha256()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            for _, targets in loader:
                found.update(bytes(targets.tolist()))
    assert found.hexdigest()[:16] == recorded


@pytest.mark.parametrize("source", ["digits", "diabetes", "spirals"])
@pytest.mark.parametrize("normalize", ["standard", "minmax"])
def test_batches_equal_scaled_parts_bit_for_bit(source, normalize):
    data = DataModule(source, normalize=normalize, seed=1)
    dataset = DataModule(source, seed=1).dataset
    rows = data.row_indices("train").long()
    inputs = dataset.inputs[rows].double()
    low, high = inputs.amin(dim=0), inputs.amax(dim=0)
    if normalize == "standard":
        shift, scale = inputs.mean(dim=0), inputs.std(dim=0, correction=0)
    else:
        shift, scale = low, high - low
    shift, scale = torch.where(low == high, low, shift), torch.where(low == high, 1.0, scale)
    expected = (dataset.inputs[rows] - shift.float()) / scale.float()
    loader = data.train_dataloader()
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        order = torch.randperm(len(rows), generator=create_generator(1, RandomStream.ORDER, epoch))
        assert torch.equal(torch.cat([inputs for inputs, _ in loader]), expected[order])


def test_all_loaders_share_one_copy():
    data = DataModule("iris")
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    assert {loader.inputs.data_ptr() for loader in loaders} == {data.dataset.inputs.data_ptr()}
    assert {loader.targets.data_ptr() for loader in loaders} == {data.dataset.targets.data_ptr()}
    assert len(torch.cat([data.row_indices(part) for part in PARTS]).unique()) == 150


def test_training_leaves_the_rows_unscaled():
    for source in ("iris", "diabetes"):
        data = DataModule(source)
        raw = data.dataset.inputs.clone()
        list(data.train_dataloader())
        assert torch.equal(data.dataset.inputs, raw)


class SharedSource:
    """A source of the user's, which hands over the same rows each time."""

    def __init__(self):
        self.dataset = Dataset.from_arrays(rows(), rows()[:, :1])

    def load(self, seed):
        return self.dataset


@pytest.mark.parametrize("wrap", [lambda keeper: keeper, lambda keeper: keeper.dataset])
def test_rows_of_the_caller_are_never_changed(wrap):
    keeper = SharedSource()
    inputs, targets = keeper.dataset.inputs.clone(), keeper.dataset.targets.clone()
    own = DataModule((rows(), rows()[:, :1]))
    data = DataModule(wrap(keeper))
    for batch, expected in zip(data.train_dataloader(), own.train_dataloader(), strict=True):
        assert torch.equal(batch[0], expected[0])
        assert torch.equal(batch[1], expected[1])
    assert torch.equal(keeper.dataset.inputs, inputs)
    assert torch.equal(keeper.dataset.targets, targets)


def build_images(count=60, channels=3):
    pixels = ImageEncoder(2, 2, channels)
    draw = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (count, pixels.inputs), generator=draw, dtype=torch.uint8)
    return Dataset(
        "build_images",
        "binary",
        values,
        torch.arange(count) % 2,
        pixels.names,
        ("no", "yes"),
        pixels.shape,
        pixels,
    )


def test_images_are_stored_as_bytes_and_loaded_as_floats():
    dataset = build_images()
    data = DataModule(dataset, normalize="minmax")
    loader = data.train_dataloader()
    assert loader.inputs.dtype == torch.uint8
    inputs, _ = next(iter(loader))
    assert inputs.dtype == torch.float32
    numbers = data.row_indices("train")
    expected = data.scaling.apply(dataset.inputs[numbers].float())
    assert torch.equal(data.take("train")[0], expected)
    assert data.dataset.image_shape == (3, 2, 2)


def test_pixels_of_a_channel_share_a_scale():
    dataset = build_images()
    dataset.inputs[:, 4:8] //= 4  # green is darker
    data = DataModule(dataset, normalize="standard")
    shift = torch.tensor(data.scaling.shift).reshape(3, 4)
    assert (shift == shift[:, :1]).all()
    train = dataset.inputs[data.row_indices("train")].double().reshape(-1, 3, 4)
    torch.testing.assert_close(shift[:, 0].double(), train.mean(dim=(0, 2)))
    torch.testing.assert_close(
        torch.tensor(data.scaling.scale).double()[::4],
        train.transpose(0, 1).reshape(3, -1).std(1, correction=0),
    )


def test_missing_numbers_become_the_mean_of_training_rows():
    inputs = rows()
    inputs[::7, 1] = torch.nan
    columns = TableEncoder(
        (ColumnEncoder("a"), ColumnEncoder("b"), ColumnEncoder("c")), imputes=True
    )
    names = ("a", "b", "c")
    dataset = Dataset(
        "holes", "binary", inputs, torch.arange(100) % 2, names, ("no", "yes"), encoder=columns
    )
    data = DataModule(dataset)
    train = dataset.inputs[data.row_indices("train")]
    assert data.scaling.fill[1] == pytest.approx(train[:, 1].nanmean().item())
    holes = dataset.inputs.isnan()
    assert holes.any()
    for part in PARTS:
        found = holes[data.row_indices(part)]
        assert (data.take(part)[0][found].abs() < 1e-6).all()
    assert data.take("train")[0][:, 1].std() < 1  # what is filled in stands in the middle
    again = Scaling.from_dict(data.state_dict()["scaling"])
    assert again == data.scaling
    assert torch.equal(again.apply(dataset.inputs[data.row_indices("test")]), data.take("test")[0])


def test_codes_of_categories_are_not_scaled():
    words = tuple(f"town {number}" for number in range(40))
    columns = TableEncoder((ColumnEncoder("size"), ColumnEncoder("town", "category", words)))
    codes = torch.arange(100) % 6  # each among the training rows
    inputs = torch.stack([rows()[:, 0], codes.float()], dim=1)
    dataset = Dataset("towns", "regression", inputs, rows()[:, :1], columns.names, encoder=columns)
    data = DataModule(dataset)
    for part in PARTS:
        assert torch.equal(data.take(part)[0][:, 1], codes[data.row_indices(part)].float())


def test_separate_parts_are_kept():
    dataset = Dataset(
        "files",
        "binary",
        rows(),
        torch.arange(100) % 2,
        ("a", "b", "c"),
        ("no", "yes"),
        part_sizes=(70, 0, 30),
    )
    data = DataModule(dataset)
    assert data.row_indices("test").tolist() == list(range(70, 100))
    assert len(data.row_indices("validation")) == 8  # a tenth of each class
    assert sorted(
        [*data.row_indices("train").tolist(), *data.row_indices("validation").tolist()]
    ) == list(range(70))


def test_state_describes_the_data():
    state = DataModule("iris").state_dict()
    assert restore_encoder(state["encoder"]).names == DataModule("iris").dataset.input_names
    assert state["task"] == "multiclass"
    assert state["class_names"] == ["setosa", "versicolor", "virginica"]
    assert (state["target_names"], state["image_shape"]) == ([], None)
    assert DataModule("digits").state_dict()["image_shape"] == [8, 8]
    assert regression().state_dict()["target_names"] == ["target_0"]


MEASURED = """
from pathlib import Path
import matplotlib, numpy, pandas, sklearn
from brainnet.data.datamodule import DataModule
from brainnet.data.table import Table
from brainnet.structure.network import Network
from brainnet.training.fit import fit

# Not getrusage: its peak is the parent's where that held more when it started this process.
def held(which):
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(which))

fit(Network([4, 3]), "iris", epochs=1, folder="small", progress=False)
before = held("VmRSS")
data = DataModule(Table("rows.npy", "20", task="regression"), batch_size=8192)
fit(Network([20, 8, 1]), data, epochs=1, folder="large", progress=False)
print(held("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of memory")
def test_peak_memory_of_a_large_table(tmp_path):
    count = 5_000_000
    table = np.random.default_rng(0).standard_normal((count, 21), dtype=np.float32)
    np.save(tmp_path / "rows.npy", table)
    size = table.nbytes
    del table
    found_here = {"PYTHONPATH": str(Path(brainnet.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED],
        cwd=tmp_path,
        env=os.environ | found_here,
        capture_output=True,
        text=True,
        check=True,
    )
    kilobytes = int(done.stdout.split()[-1])  # above what the interpreter held before
    assert 0.9 < kilobytes * 1024 / size < 1.6


def write_rare_rows(folder, others):
    """Write a table with a category that only a test row has."""
    random = np.random.default_rng(0)
    words = np.resize([f"w{number}" for number in range(others)], 200).astype(object)
    words[::2] = "w0"
    frame = pd.DataFrame({"size": random.normal(0, 1, 200), "word": words})
    frame["answer"] = np.where(frame["size"] > 0, "yes", "no")
    frame.to_csv(folder / "rows.csv", index=False)
    test = DataModule(Table(folder / "rows.csv", "answer")).row_indices("test")[0].item()
    frame.loc[test, "word"] = "rare"
    frame.to_csv(folder / "rows.csv", index=False)
    return Table(folder / "rows.csv", "answer"), test


@pytest.mark.parametrize("others", [5, 40], ids=["inputs", "codes"])
def test_category_without_training_row_is_unknown(tmp_path, others):
    source, number = write_rare_rows(tmp_path, others)
    plain = source.load(0)
    data = DataModule(source)
    assert data.dataset.input_count == plain.inputs.shape[1]
    word = slice(1, None)
    assert plain.inputs[number, word].any()
    assert not data.dataset.inputs[number, word].any()
    column = data.encoder.columns[1]
    assert "rare" in column.unseen
    taught = data.row_indices("train")
    assert torch.equal(data.dataset.inputs[taught], plain.inputs[taught])
    stored = restore_encoder(data.state_dict()["encoder"])
    assert stored == data.encoder
    rows = pd.DataFrame({"size": [0.0, 0.0], "word": ["rare", "w0"]})
    assert not stored.transform(rows)[0, word].any()
    assert stored.transform(rows)[1, word].any()


def test_unknown_categories_are_cleared_in_a_copy(tmp_path):
    source, number = write_rare_rows(tmp_path, 40)
    held = source.load(0)
    before = held.inputs.clone()
    data = DataModule(held)
    assert data.dataset.inputs[number, 1] == 0
    assert torch.equal(held.inputs, before)


def test_trained_categories_leave_the_data_unchanged(tmp_path):
    held = write_rare_rows(tmp_path, 3)[0].load(0)
    held.inputs[:, 1:] = torch.eye(4).repeat(50, 1)
    assert DataModule(held).dataset is held
