"""Whether the data module splits, scales and serves as it promises, alone and under a Trainer."""

import io
import warnings

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from brainnet.data.builtin import Moons
from brainnet.data.dataset import Dataset
from brainnet.data.module import DataModule
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
        torch.testing.assert_close(undone, getattr(plain, part)[1])


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
