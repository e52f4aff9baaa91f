"""Whether the data module splits, scales and serves as it promises, alone and under a Trainer."""

import hashlib
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
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
from brainnet.errors import InputError

PARTS = ("train", "validation", "test")


def rows(count=100, seed=0):
    numbers = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return numbers * torch.tensor([1.0, 10.0, 100.0]) + 5


def regression(**options):
    inputs = rows()
    return DataModule((inputs, inputs.sum(dim=1) * 7 + 100), **options)


def test_what_the_network_needs_is_known_at_once():
    digits = DataModule("digits")
    assert (digits.task, digits.inputs, digits.targets) == ("multiclass", 64, 10)
    assert digits.image_shape == (8, 8)
    assert digits.class_names == tuple("0123456789")
    assert len(digits.input_names) == 64
    assert regression().targets == 1
    assert regression().class_names == ()


@pytest.mark.parametrize(
    "source", ["moons", Moons(), Moons().load(0), (rows(), np.arange(100) % 2)], ids=repr
)
def test_every_kind_of_source(source):
    data = DataModule(source)
    assert [len(getattr(data, part)[1]) for part in PARTS] == [
        round(len(data.dataset) * share) for share in (0.7, 0.1, 0.2)
    ]


def test_scaling_is_measured_on_the_training_rows_alone():
    data = DataModule((rows(), torch.arange(100) % 2))
    inputs, _ = data.train
    torch.testing.assert_close(inputs.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std(dim=0, correction=0), torch.ones(3))
    for part in (data.validation, data.test):
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
    assert torch.equal(other.train[0], inputs)
    assert not torch.equal(other.test[0], data.test[0])


def test_no_row_is_in_two_parts():
    data = DataModule((rows(), torch.arange(100) % 2))
    parts = [{tuple(row) for row in getattr(data, part)[0].tolist()} for part in PARTS]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 100


def test_constant_pixels_are_safe():
    for kind in ("standard", "minmax"):
        data = DataModule("digits", normalize=kind)
        assert all(getattr(data, part)[0].isfinite().all() for part in PARTS)
        assert (data.train[0][:, 0] == 0).all()


def test_targets_of_a_regression_are_scaled_and_brought_back():
    data = regression()
    _, targets = data.train
    assert targets.mean().item() == pytest.approx(0, abs=1e-5)
    assert targets.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    plain = regression(normalize_targets=False)
    for part in PARTS:
        undone = data.target_scaling.undo(getattr(data, part)[1])
        torch.testing.assert_close(undone, getattr(plain, part)[1], rtol=1e-5, atol=1e-3)


def test_classes_are_never_scaled():
    data = DataModule("iris")
    assert data.target_scaling.kind == "none"
    assert data.train[1].dtype == torch.int64
    assert set(data.train[1].tolist()) == {0, 1, 2}


@pytest.mark.parametrize("source", ["moons", "digits", "diabetes"])
def test_the_same_seed_gives_the_same_bits(source):
    once, again, other = (DataModule(source, seed=seed) for seed in (5, 5, 6))
    for part in (*PARTS, "sample"):
        for first, second in zip(getattr(once, part), getattr(again, part), strict=True):
            assert torch.equal(first, second)
    for first, second in zip(once.train_dataloader(), again.train_dataloader(), strict=True):
        assert torch.equal(first[0], second[0])
    assert not torch.equal(once.train[0], other.train[0])


def test_the_sample_is_training_rows_of_every_class_at_most_256():
    data = DataModule("digits")
    inputs, targets = data.sample
    assert inputs.shape == (256, 64)
    assert set(targets.tolist()) == set(range(10))
    training = {tuple(row) for row in data.train[0].tolist()}
    assert all(tuple(row) in training for row in inputs.tolist())
    small = DataModule("iris")
    assert len(small.sample[0]) == len(small.train[0])


def test_another_runs_scaling_judges_other_data():
    fitted = regression()
    other = DataModule(
        (rows(60, seed=9) * 3, rows(60, seed=9)[:, 0]),
        scaling=fitted.scaling,
        target_scaling=fitted.target_scaling,
    )
    inputs, targets = other.test
    torch.testing.assert_close(
        fitted.scaling.undo(inputs), other.dataset.inputs[other._split.test], rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        fitted.target_scaling.undo(targets),
        other.dataset.targets[other._split.test],
        rtol=1e-4,
        atol=1e-3,
    )
    with pytest.raises(InputError, match="measured on 3 columns"):
        DataModule("iris", scaling=fitted.scaling)


def test_its_state_is_primitives_and_brings_the_scaling_back():
    data, other = regression(), regression(normalize="minmax", normalize_targets=False)
    file = io.BytesIO()
    torch.save(data.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.scaling == data.scaling
    assert other.target_scaling == data.target_scaling
    for part in PARTS:
        assert torch.equal(getattr(other, part)[0], getattr(data, part)[0])
        assert torch.equal(getattr(other, part)[1], getattr(data, part)[1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of 1 or more; got 0"),
        ({"normalize": "z-score"}, "normalize must be one of standard, minmax, none"),
        ({"validation": 0}, "validation must be a fraction"),
        ({"test": 1.0}, "test must be a fraction"),
        ({"validation": 0.6, "test": 0.4}, "leave no rows to train on"),
        ({"normalize_targets": "no"}, "normalize_targets must be true or false; got 'no'"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"source": "digit"}, "Did you mean digits"),
        ({"source": 3}, "data must be a built-in data set or its name.* got int"),
        ({"source": (rows(4), [0, 1, 0])}, "4 rows of inputs and 3 of targets"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        DataModule(**{"source": "iris", **options})


def test_options_are_checked_before_any_rows_are_made():
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
def test_under_a_trainer_every_epoch_has_its_own_order(tmp_path):
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
    assert module.tested == len(data.test[0])


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
def test_overfitting_sees_the_same_batches_every_epoch(tmp_path):
    data, module = DataModule(Moons(rows=60), batch_size=8), Recorder()
    quiet_trainer(tmp_path, max_epochs=3, overfit_batches=2).fit(module, data)
    epochs = [torch.cat(batches) for batches in module.epochs]
    assert len(epochs) == 3
    assert all(torch.equal(epoch, data.train[0][:16]) for epoch in epochs)


def test_the_trainers_rank_decides_the_share():
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
    assert len(loader) == -(-(len(data.train[0]) // 2) // 8)


def test_one_line_says_what_it_is():
    expected = "DataModule(moons: binary, 2 inputs, 2 classes; rows 700 train, 100 validation, 200"
    assert repr(DataModule("moons")).startswith(expected)
    assert str(DataModule("moons")).startswith(expected)
    assert "10 inputs, 1 targets" in repr(DataModule("diabetes"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_the_rows_move_to_the_gpu_once():
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


def test_a_data_set_that_was_checked_is_taken_as_it_is():
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
def test_the_order_of_the_rows_stays_as_it_was_recorded(source, recorded):
    data, found = DataModule(source, seed=3), hashlib.sha256()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            for _, targets in loader:
                found.update(bytes(targets.tolist()))
    assert found.hexdigest()[:16] == recorded


@pytest.mark.parametrize("source", ["digits", "diabetes", "spirals"])
@pytest.mark.parametrize("normalize", ["standard", "minmax"])
def test_batches_are_to_the_bit_those_of_parts_that_are_scaled_as_a_whole(source, normalize):
    data = DataModule(source, normalize=normalize, seed=1)
    dataset = DataModule(source, seed=1).dataset
    rows = data.numbers("train").long()
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


def test_all_parts_are_gathered_from_one_copy():
    data = DataModule("iris")
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    assert {loader.inputs.data_ptr() for loader in loaders} == {data.dataset.inputs.data_ptr()}
    assert {loader.targets.data_ptr() for loader in loaders} == {data.dataset.targets.data_ptr()}
    assert len(torch.cat([data.numbers(part) for part in PARTS]).unique()) == 150


def test_a_part_is_the_same_before_and_after_it_is_scaled_in_place():
    for source in ("iris", "diabetes"):
        data = DataModule(source)
        before = [data.train, data.first("validation", 3), data.sample, *data.batches("test", 20)]
        raw = data.dataset.inputs.clone()
        data.train_dataloader()
        assert not torch.equal(data.dataset.inputs, raw)
        data.val_dataloader()  # scales no second time
        after = [data.train, data.first("validation", 3), data.sample, *data.batches("test", 20)]
        for old, new in zip(before, after, strict=True):
            assert torch.equal(old[0], new[0])
            assert torch.equal(old[1], new[1])


class Keeper:
    """A source of the user's, which hands over the same rows each time."""

    def __init__(self):
        self.dataset = Dataset.from_arrays(rows(), rows()[:, :1])

    def load(self, seed):
        return self.dataset


@pytest.mark.parametrize("wrap", [lambda keeper: keeper, lambda keeper: keeper.dataset])
def test_rows_of_the_users_are_never_changed(wrap):
    keeper = Keeper()
    inputs, targets = keeper.dataset.inputs.clone(), keeper.dataset.targets.clone()
    own = DataModule((rows(), rows()[:, :1]))
    data = DataModule(wrap(keeper))
    for batch, expected in zip(data.train_dataloader(), own.train_dataloader(), strict=True):
        assert torch.equal(batch[0], expected[0])
        assert torch.equal(batch[1], expected[1])
    assert torch.equal(keeper.dataset.inputs, inputs)
    assert torch.equal(keeper.dataset.targets, targets)


def test_another_scaling_comes_in_when_rows_are_scaled_in_place_already():
    data, other = DataModule("diabetes"), DataModule("diabetes", normalize="minmax")
    data.train_dataloader()
    data.load_state_dict(other.state_dict())
    assert torch.equal(data.train[0], other.train[0])
    assert torch.equal(data.train[1], other.train[1])
    for batch, expected in zip(data.train_dataloader(), other.train_dataloader(), strict=True):
        assert torch.equal(batch[0], expected[0])


def pictures(count=60, channels=3):
    pixels = ImageEncoder(2, 2, channels)
    draw = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (count, pixels.inputs), generator=draw, dtype=torch.uint8)
    return Dataset(
        "pictures",
        "binary",
        values,
        torch.arange(count) % 2,
        pixels.names,
        ("no", "yes"),
        pixels.shape,
        pixels,
    )


def test_pictures_stay_bytes_and_come_as_floats():
    dataset = pictures()
    data = DataModule(dataset, normalize="minmax")
    loader = data.train_dataloader()
    assert loader.inputs.dtype == torch.uint8
    inputs, _ = next(iter(loader))
    assert inputs.dtype == torch.float32
    numbers = data.numbers("train")
    expected = data.scaling.apply(dataset.inputs[numbers.long()].float())
    assert torch.equal(data.train[0], expected)
    assert data.image_shape == (3, 2, 2)


def test_pixels_of_a_channel_share_one_scale():
    dataset = pictures()
    dataset.inputs[:, 4:8] //= 4  # green is darker
    data = DataModule(dataset, normalize="standard")
    shift = torch.tensor(data.scaling.shift).reshape(3, 4)
    assert (shift == shift[:, :1]).all()
    train = dataset.inputs[data.numbers("train").long()].double().reshape(-1, 3, 4)
    torch.testing.assert_close(shift[:, 0].double(), train.mean(dim=(0, 2)))
    torch.testing.assert_close(
        torch.tensor(data.scaling.scale).double()[::4],
        train.transpose(0, 1).reshape(3, -1).std(1, correction=0),
    )


def test_missing_numbers_become_the_mean_of_the_training_rows():
    inputs = rows()
    inputs[::7, 1] = torch.nan
    columns = TableEncoder(
        (ColumnEncoder("a"), ColumnEncoder("b"), ColumnEncoder("c")), imputes=True
    )
    names = ("a", "b", "c")
    dataset = Dataset(
        "holes", "binary", inputs, torch.arange(100) % 2, names, ("no", "yes"), preparation=columns
    )
    data = DataModule(dataset)
    train = dataset.inputs[data.numbers("train").long()]
    assert data.scaling.fill[1] == pytest.approx(train[:, 1].nanmean().item())
    holes = dataset.inputs.isnan()
    assert holes.any()
    for part in PARTS:
        found = holes[data.numbers(part).long()]
        assert (getattr(data, part)[0][found].abs() < 1e-6).all()
    assert data.train[0][:, 1].std() < 1  # what is filled in stands in the middle
    again = Scaling.from_dict(data.state_dict()["scaling"])
    assert again == data.scaling
    assert torch.equal(again.apply(dataset.inputs[data.numbers("test").long()]), data.test[0])


def test_codes_of_categories_are_not_scaled():
    words = tuple(f"town {number}" for number in range(40))
    columns = TableEncoder((ColumnEncoder("size"), ColumnEncoder("town", "category", words)))
    codes = torch.arange(100) % 6  # each among the training rows
    inputs = torch.stack([rows()[:, 0], codes.float()], dim=1)
    dataset = Dataset(
        "towns", "regression", inputs, rows()[:, :1], columns.names, preparation=columns
    )
    data = DataModule(dataset)
    for part in PARTS:
        assert torch.equal(getattr(data, part)[0][:, 1], codes[data.numbers(part).long()].float())


def test_parts_that_came_apart_stay_apart():
    dataset = Dataset(
        "files",
        "binary",
        rows(),
        torch.arange(100) % 2,
        ("a", "b", "c"),
        ("no", "yes"),
        parts=(70, 0, 30),
    )
    data = DataModule(dataset)
    assert data.numbers("test").tolist() == list(range(70, 100))
    assert len(data.numbers("validation")) == 8  # a tenth of each class
    assert sorted([*data.numbers("train").tolist(), *data.numbers("validation").tolist()]) == list(
        range(70)
    )


def test_its_state_is_the_same_until_it_scales_otherwise():
    data = DataModule(Moons(rows=100), seed=0)
    state = data.state_dict()
    assert data.state_dict() is state
    other = DataModule(Moons(rows=200), seed=9).state_dict()
    data.scale_as(other)
    assert data.state_dict()["scaling"] == other["scaling"] != state["scaling"]


def test_its_state_tells_what_raw_rows_need():
    state = DataModule("iris").state_dict()
    assert restore_encoder(state["preparation"]).names == DataModule("iris").input_names
    assert state["task"] == "multiclass"
    assert state["class_names"] == ["setosa", "versicolor", "virginica"]
    assert (state["target_names"], state["image_shape"]) == ([], None)
    assert DataModule("digits").state_dict()["image_shape"] == [8, 8]
    assert regression().state_dict()["target_names"] == ["target_0"]
    old = {key: state[key] for key in ("scaling", "target_scaling")}
    DataModule("iris", seed=4).load_state_dict(old)


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
def test_a_large_table_trains_in_little_more_than_its_own_size(tmp_path):
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
    assert 0.9 < kilobytes * 1024 / size < 1.3
