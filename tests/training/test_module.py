import math

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Diabetes
from brainnet.errors import InputError, TrainingFailure
from brainnet.learning.gradient_descent import OPTIMIZERS
from brainnet.learning.loss import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from brainnet.observation.tags import get_description
from brainnet.structure.network import Network
from brainnet.training.module import (
    FOREACH_OPTIMIZERS,
    MAX_FOREACH_WEIGHTS,
    LearningModule,
    use_foreach,
)
from brainnet.training.trainer import quiet


class Points(CSVLogger):
    """Keeps every point in memory."""

    def __init__(self, folder):
        super().__init__(folder)
        self.points = []

    def log_metrics(self, metrics, step):
        self.points += [(tag, step, value) for tag, value in metrics.items()]

    def curve(self, tag):
        return {step: value for name, step, value in self.points if name == tag}


def fit(module, data, folder, **options):
    points = Points(folder)
    options = {"max_epochs": 2, "log_every_n_steps": 50, **options}
    with quiet():
        trainer = Trainer(
            accelerator="cpu",
            logger=points,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **options,
        )
        trainer.fit(module, datamodule=data)
    return points, trainer


def judge(trainer, module, data):
    with quiet():
        trainer.test(module, datamodule=data, verbose=False)


def learning(network, **options):
    return LearningModule(network, BinaryCrossEntropy(), task="binary", targets=2, **options)


def test_curves_start_with_the_untrained_network(moons, network, tmp_path):
    with torch.no_grad():
        outputs = network(moons.take("validation")[0])
    loss = BinaryCrossEntropy()(outputs, moons.take("validation")[1]).item()
    right = (outputs[:, 0] > 0).long() == moons.take("validation")[1]
    points, _ = fit(learning(network), moons, tmp_path)
    assert points.curve("loss/validation")[0] == pytest.approx(loss)
    assert points.curve("accuracy/validation")[0] == pytest.approx(right.double().mean().item())
    assert list(points.curve("loss/train")) == [0, 7, 14]
    assert list(points.curve("accuracy/train")) == [0, 7, 14]


def test_every_tag_has_a_description(moons, network, tmp_path):
    module = learning(network)
    _, trainer = fit(module, moons, tmp_path)
    judge(trainer, module, moons)
    assert len(module.curves) == 6
    assert all(get_description(tag) for tag in module.curves)


def test_the_training_loss_is_the_mean_over_the_epoch(moons, network, tmp_path):
    losses = []

    class Note(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            losses.append((outputs["loss"].item(), len(batch[1])))

    points, _ = fit(learning(network), moons, tmp_path, callbacks=[Note()], max_epochs=1)
    mean = sum(loss * rows for loss, rows in losses) / sum(rows for _, rows in losses)
    assert points.curve("loss/train")[7] == pytest.approx(mean)


def test_a_long_epoch_has_several_points(moons, network, tmp_path):
    points, _ = fit(learning(network), moons, tmp_path, log_every_n_steps=2, max_epochs=1)
    assert list(points.curve("loss/train")) == [0, 2, 4, 6, 7]


def test_steps_are_those_of_the_optimizer(moons, network, tmp_path):
    points, trainer = fit(learning(network), moons, tmp_path, accumulate_grad_batches=2)
    assert trainer.global_step == 8
    assert list(points.curve("loss/train")) == [0, 4, 8]


def test_the_untrained_evaluation_changes_no_state(moons, tmp_path):
    class Peek(Callback):
        def on_train_start(self, trainer, pl_module):
            self.random = torch.get_rng_state()

        def on_train_epoch_start(self, trainer, pl_module):
            assert torch.equal(self.random, torch.get_rng_state())
            assert pl_module.network.training
            assert not pl_module.network[1].training

    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    network[1].eval()  # frozen by its owner, and to stay so
    before = network[1].running_mean.clone()
    with pytest.warns(UserWarning, match="in eval mode"):
        fit(learning(network), moons, tmp_path, callbacks=[Peek()], max_epochs=1)
    assert torch.equal(network[1].running_mean, before)


def test_callbacks_can_monitor_the_curves(moons, network, tmp_path):
    _, trainer = fit(learning(network), moons, tmp_path)
    assert {"loss/train", "loss/validation", "accuracy/validation"} <= set(trainer.callback_metrics)


def test_any_data_loader_works(moons, network, tmp_path):
    points = Points(tmp_path)
    with quiet():
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=points,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        train = DataLoader(TensorDataset(*moons.take("train")), batch_size=10, shuffle=True)
        validation = DataLoader(TensorDataset(*moons.take("validation")), batch_size=10)
        trainer.fit(learning(network), train, validation)
    assert list(points.curve("loss/validation")) == [0, 7]


class Stream(IterableDataset):
    """Rows that do not say how many they are."""

    def __init__(self, inputs, targets):
        self.rows = list(zip(inputs, targets, strict=True))

    def __iter__(self):
        return iter(self.rows)


def test_a_data_loader_without_length_works(moons, network, tmp_path):
    points = Points(tmp_path)
    with quiet():
        trainer = Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=points,
            log_every_n_steps=2,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        train = DataLoader(Stream(*moons.take("train")), batch_size=10)
        validation = DataLoader(Stream(*moons.take("validation")), batch_size=10)
        trainer.fit(learning(network), train, validation)
    assert list(points.curve("loss/train")) == [0, 2, 4, 6, 7, 9, 11, 13, 14]


def test_rows_of_another_process_are_not_counted(moons, network):
    module = learning(network)
    rows, truths = (part[:4] for part in moons.take("test"))
    for own in (0, 3):
        module._evaluate_batch("test", (rows, truths), own)
    expected = BinaryCrossEntropy()(network(rows[:3]), truths[:3]).item()
    assert module.test_metrics.read()["loss"] == pytest.approx(expected)
    assert module.test_metrics.compute_confusion().sum() == 3


def test_a_test_counts_the_confusion_matrix(moons, network, tmp_path):
    module = learning(network)
    _, trainer = fit(module, moons, tmp_path)
    judge(trainer, module, moons)
    rows = len(moons.take("test")[1])
    assert module.confusion.sum() == rows
    share = module.confusion.diagonal().sum().item() / rows
    assert module.curves["accuracy/test"] == pytest.approx(share)


def test_regression_is_scored_by_r2(tmp_path):
    data = DataModule(Diabetes())
    network = Network([10, 8, 1], generator=torch.Generator().manual_seed(0))
    module = LearningModule(
        network, MeanSquaredError(), task="regression", targets=data.dataset.target_count
    )
    points, trainer = fit(module, data, tmp_path, max_epochs=20)
    judge(trainer, module, data)
    assert module.curves["r2/test"] > 0.3
    assert module.confusion is None
    assert "accuracy/train" not in {tag for tag, _, _ in points.points}


def test_losses_of_pytorch_give_the_same_curves(moons, tmp_path):
    ours = LearningModule(
        Network([2, 2], generator=torch.Generator().manual_seed(0)),
        CrossEntropy(),
        task="binary",
        targets=2,
    )
    theirs = LearningModule(
        Network([2, 2], generator=torch.Generator().manual_seed(0)),
        nn.CrossEntropyLoss(),
        task="binary",
        targets=2,
    )
    assert fit(ours, moons, tmp_path)[0].points == fit(theirs, moons, tmp_path)[0].points


def test_a_schedule_is_stepped_at_every_step(moons, network, tmp_path):
    rates = []

    class Note(Callback):
        def on_train_batch_start(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def schedule(optimizer, total_steps):
        return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_steps)

    module = learning(network, optimizer=lambda p: torch.optim.SGD(p, lr=1.4), schedule=schedule)
    fit(module, moons, tmp_path, callbacks=[Note()])
    assert rates == pytest.approx([1.4 - 0.1 * step for step in range(14)])


def test_reduce_on_plateau_is_stepped_once_per_epoch(moons, network, tmp_path):
    module = learning(
        network,
        optimizer=lambda p: torch.optim.SGD(p, lr=1e-12),
        schedule=lambda optimizer, _: torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, patience=0, threshold=1e-3
        ),
    )
    _, trainer = fit(module, moons, tmp_path, max_epochs=3)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-14)


def test_a_schedule_without_an_end_is_rejected(moons, network, tmp_path):
    module = learning(network, schedule=lambda optimizer, steps: None)
    with pytest.raises(InputError, match=r"trainer\.max_epochs"):
        fit(module, moons, tmp_path, max_epochs=-1)


def test_a_non_finite_loss_stops_at_its_step(moons, network, tmp_path):
    class Poison(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 4:
                pl_module.network.layers[0].weights.value.data.fill_(math.nan)

    with pytest.raises(TrainingFailure, match="the loss became nan at step 4"):
        fit(learning(network), moons, tmp_path, callbacks=[Poison()])


SHAPES = ((9, 7), (9,), (3, 9), ())

SETTINGS = {
    "adam": [{}, {"weight_decay": 0.01, "eps": 1e-4}, {"amsgrad": True}, {"maximize": True}],
    "adamw": [{}, {"amsgrad": True, "betas": (0.8, 0.99)}],
    "rmsprop": [{}, {"momentum": 0.9, "centered": True, "weight_decay": 0.1}],
}


def trained(name, settings, dtype, *, together):
    drawn = torch.Generator().manual_seed(0)
    weights = [
        torch.nn.Parameter(torch.randn(shape, generator=drawn).to(dtype)) for shape in SHAPES
    ]
    optimizer = OPTIMIZERS[name](weights, lr=0.01, **settings)
    if together:
        use_foreach(optimizer)
        assert optimizer.param_groups[0]["foreach"]
    for step in range(20):
        for weight in weights:
            scale = 10.0 ** torch.randint(-20, 3, weight.shape, generator=drawn)
            weight.grad = torch.randn(weight.shape, generator=drawn).to(dtype) * scale.to(dtype)
        if step % 7 == 3:
            weights[2].grad = None
        if step == 10:
            optimizer.param_groups[0]["lr"] = 0.003
        optimizer.step()
    return weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "settings"), [(name, each) for name, all_ in SETTINGS.items() for each in all_]
)
def test_foreach_is_bit_identical(name, settings, dtype):
    single = trained(name, settings, dtype, together=False)
    assert all(map(torch.equal, trained(name, settings, dtype, together=True), single))


def test_every_foreach_optimizer_is_tested():
    assert {OPTIMIZERS[name] for name in SETTINGS} == set(FOREACH_OPTIMIZERS)


@pytest.mark.parametrize(
    ("weight", "options"),
    [
        (torch.zeros(3), {"foreach": False}),
        (torch.zeros(3), {"fused": True}),
        (torch.zeros(3, dtype=torch.bfloat16), {}),  # in it, both round differently
        (torch.zeros(MAX_FOREACH_WEIGHTS + 1), {}),
    ],
)
def test_foreach_is_not_enabled_if_chosen_different_or_large(weight, options):
    optimizer = torch.optim.Adam([torch.nn.Parameter(weight)], **options)
    before = optimizer.param_groups[0]["foreach"]
    assert use_foreach(optimizer).param_groups[0]["foreach"] is before


def test_foreach_is_not_enabled_for_derived_optimizers():
    class Theirs(torch.optim.Adam):
        pass

    optimizer = Theirs([torch.nn.Parameter(torch.zeros(3))])
    assert use_foreach(optimizer).param_groups[0]["foreach"] is None


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("tensors", ["lr", "betas"])
def test_tensor_settings_work_as_without_foreach(name, tensors):
    if tensors == "betas" and name == "rmsprop":
        return
    value = torch.tensor(0.01)
    settings = {"lr": value} if tensors == "lr" else {"betas": (value, torch.tensor(0.9))}
    found = []
    for prepare in (use_foreach, lambda optimizer: optimizer):
        weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        optimizer = prepare(OPTIMIZERS[name]([weight], **settings))
        weight.grad = torch.tensor([3.0, -1.0])
        optimizer.step()
        found.append(weight)
    assert torch.equal(*found)
    assert not torch.equal(found[0], torch.tensor([1.0, 2.0]))
