import logging
import time
from dataclasses import replace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Moons
from brainnet.errors import InputError
from brainnet.learning.gradient_descent import OPTIMIZERS
from brainnet.learning.loss import BinaryCrossEntropy
from brainnet.observation.recording import Recording, read_recording
from brainnet.structure.network import Network
from brainnet.training.callbacks import Observe
from brainnet.training.module import LearningModule
from brainnet.training.trainer import quiet

QUIET = {
    "accelerator": "cpu",
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
}


class Theirs(LightningModule):
    """A module of another author, with a part that draws random numbers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1)
        )
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.unused = nn.Linear(2, 2)

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return (self.body(self.frozen(inputs)) - targets).square().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)

    def train_dataloader(self):
        draw = torch.Generator().manual_seed(1)
        rows = TensorDataset(torch.randn(60, 4, generator=draw), torch.randn(60, 1, generator=draw))
        return DataLoader(rows, batch_size=6)


def run(observe, folder, module=None, data=None, **options):
    given = {**QUIET, "max_epochs": 2, "default_root_dir": folder, **options}
    callbacks = [observe] if observe else []
    module = module or Theirs()
    with quiet():
        checkpoint = given.pop("ckpt_path", None)
        trainer = Trainer(callbacks=callbacks, **given)
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    return trainer, module


def ours():
    network = Network([2, 8, 1], generator=torch.Generator().manual_seed(0))
    return LearningModule(
        network,
        BinaryCrossEntropy(),
        task="binary",
        targets=2,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


def read(folder):
    return EventAccumulator(str(folder)).Reload()


@pytest.mark.parametrize("level", ["light", "full"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 3},
        {"gradient_clip_val": 0.01},
        {"precision": "bf16-mixed"},
        {"precision": "64-true"},
    ],
)
def test_observation_does_not_change_the_training(tmp_path, level, options):
    states = []
    for observe in (None, Observe(every=1, level=level)):
        torch.manual_seed(5)
        _, module = run(observe, tmp_path, **options)
        states.append((module.state_dict(), torch.get_rng_state()))
    assert observe.readings
    (alone, its_draws), (watched, their_draws) = states
    assert torch.equal(its_draws, their_draws)
    for name, value in alone.items():
        assert torch.equal(value, watched[name]), name


def test_observation_does_not_change_a_learning_module(tmp_path, moons):
    states = []
    for observe in (None, Observe(every=1, level="full")):
        _, module = run(observe, tmp_path, ours(), moons)
        states.append(module.network.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])


def test_readings_are_taken_at_due_steps_from_step_zero(tmp_path):
    observe = Observe(every=8)
    run(observe, tmp_path)
    assert [reading.step for reading in observe.readings] == [0, 1, 2, 5, 8, 16]
    assert [reading.epoch for reading in observe.readings] == [0, 0, 0, 0, 0, 1]
    assert {point.step for point in read(tmp_path).Scalars("gradient/total_norm")} == {
        *(0, 1, 2, 5, 8, 16)
    }


def test_hooks_exist_only_during_due_steps(tmp_path):
    during = []

    class Spy(Theirs):
        def training_step(self, batch, batch_idx):
            during.append(sum(len(module._forward_hooks) for module in self.modules()) > 0)
            return super().training_step(batch, batch_idx)

    _, module = run(Observe(every=10), tmp_path, Spy())
    assert [step for step, hooked in enumerate(during) if hooked] == [0, 1, 2, 5, 10]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_reading_equals_a_step_computed_by_hand(tmp_path, moons):
    observe, began = Observe(every=1), time.perf_counter()
    run(observe, tmp_path, ours(), moons, max_steps=1)
    seconds = time.perf_counter() - began
    (reading,) = observe.readings
    twin = ours()
    inputs, targets = next(iter(moons.train_dataloader()))
    loss = twin.loss(twin.network(inputs), targets)
    loss.backward()
    squares = sum(p.grad.double().square().sum().item() for p in twin.network.parameters())
    with torch.no_grad():
        for parameter in twin.network.parameters():
            parameter -= 0.1 * parameter.grad
        after = twin.loss(twin.network(inputs), targets)
    assert reading.loss == pytest.approx(loss.item())
    assert reading.learning_rate == 0.1
    assert reading.gradient_norm == pytest.approx(squares**0.5, rel=1e-5)
    assert reading.predicted_decrease == pytest.approx(0.1 * squares, rel=1e-4)
    assert reading.actual_decrease == pytest.approx((loss - after).item(), rel=1e-4)
    assert 0 < reading.forward_seconds < seconds


def test_accumulated_batches_are_one_reading(tmp_path):
    whole, parts = Observe(every=1), Observe(every=1)

    class Plain(Theirs):
        def __init__(self, batch_size):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
            self.batch_size = batch_size
            torch.manual_seed(3)
            for parameter in self.body.parameters():
                nn.init.normal_(parameter)

        def train_dataloader(self):
            return DataLoader(super().train_dataloader().dataset, batch_size=self.batch_size)

    run(whole, tmp_path, Plain(12), max_epochs=1)
    run(parts, tmp_path, Plain(6), max_epochs=1, accumulate_grad_batches=2)
    assert len(parts.readings) == len(whole.readings) == 5
    one, other = parts.readings[0], whole.readings[0]
    assert one.loss == pytest.approx(other.loss, rel=1e-5)
    assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-5)
    assert one.layers[0].firing_rate == other.layers[0].firing_rate
    assert one.predicted_decrease == pytest.approx(other.predicted_decrease, rel=1e-4)


def test_gradients_are_read_before_clipping(tmp_path):
    free, clipped = Observe(every=1), Observe(every=1)
    run(free, tmp_path, max_steps=1)
    run(clipped, tmp_path, max_steps=1, gradient_clip_val=1e-3)
    assert clipped.readings[0].gradient_norm == free.readings[0].gradient_norm > 1e-3


def test_other_modules_are_observed_without_evaluating_them(tmp_path):
    observe = Observe(every=5)
    run(observe, tmp_path)
    reading = observe.readings[-1]
    assert [layer.name for layer in reading.layers] == ["body.0", "body.4", "frozen", "unused"]
    assert reading.layers[0].silent is not None
    assert reading.layers[2].update_ratio == 0.0
    assert reading.actual_decrease is None
    tags = read(tmp_path).Tags()
    assert "weights/body.0/norm" in tags["scalars"]
    assert not [tag for tag in tags["scalars"] if tag.startswith(("loss/", "accuracy/", "r2/"))]


def test_two_optimizers_in_manual_optimization_are_one_reading(tmp_path):
    class Both(Theirs):
        automatic_optimization = False

        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
            return loss

        def configure_optimizers(self):
            return [
                torch.optim.SGD(part.parameters(), lr=rate)
                for part, rate in ((self.body[0], 0.1), (self.body[4], 0.2))
            ]

    observe = Observe(every=1)
    run(observe, tmp_path, Both(), max_epochs=1)
    first = observe.readings[0]
    assert all(first.layers[place].update_ratio > 0 for place in (0, 1))
    assert first.gradient_norm == pytest.approx(
        sum(first.layers[place].gradient_norm ** 2 for place in (0, 1)) ** 0.5
    )


def test_level_light_writes_these_tags_and_full_adds_others(tmp_path, moons):
    tags = {}
    for level in ("light", "full"):
        run(Observe(level=level, folder=tmp_path / level), tmp_path, ours(), moons)
        found = read(tmp_path / level).Tags()
        tags[level] = {*found["scalars"], *found["histograms"]}
    assert tags["light"] < tags["full"]
    assert {tag for tag in tags["light"] if "output" not in tag} == {
        *("learning_rate", "forward_pass/seconds", "gradient/total_norm"),
        *("backpropagation/seconds", "gradient_descent/seconds"),
        *("gradient_descent/predicted_decrease", "gradient_descent/actual_decrease"),
        *("weights/hidden_1/norm", "bias/hidden_1/norm", "gradient/hidden_1/norm"),
        *("activation/hidden_1/firing_rate", "activation/hidden_1/silent"),
        *("activation/hidden_1/saturated", "backpropagation/hidden_1/blame"),
        *("gradient_descent/hidden_1/update_ratio", "weights/hidden_1", "bias/hidden_1"),
        *("gradient/hidden_1/weights", "activation/hidden_1"),
    }


def test_the_file_of_the_tensorboard_logger_is_shared(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    run(Observe(), tmp_path, logger=logger)
    (file,) = (tmp_path / "run").glob("events*")
    events = read(file)
    assert events.Scalars("learning_rate")
    assert events.Graph().node


@pytest.mark.parametrize(
    ("options", "where"),
    [({}, "."), ({"logger": "csv"}, "csv"), ({"folder": "own", "logger": "csv"}, "own")],
)
def test_without_tensorboard_logger_it_writes_to_the_folder_of_another(tmp_path, options, where):
    folder = options.get("folder")
    logger = CSVLogger(tmp_path, name="", version="csv") if "logger" in options else False
    run(Observe(folder=folder and tmp_path / folder), tmp_path, logger=logger)
    assert len(list((tmp_path / where).glob("events*"))) == 1


def test_fast_dev_run_writes_nothing(tmp_path):
    run(Observe(), tmp_path, fast_dev_run=True)
    assert list(tmp_path.iterdir()) == []


def test_errors_are_reported_once_and_training_continues(tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise ArithmeticError("out of luck")

    monkeypatch.setattr("brainnet.observation.layer_statistics.compute_statistics", fail)
    observe = Observe(every=1)
    with caplog.at_level(logging.WARNING, "brainnet"):
        trainer, module = run(observe, tmp_path)
    assert trainer.global_step == 20
    assert [record.message for record in caplog.records if record.name.startswith("brainnet")] == [
        "Observe: observation stopped: ArithmeticError: out of luck"
    ]
    assert observe.readings == []
    assert not any(part._forward_hooks for part in module.modules())


def test_an_unwritable_folder_stops_only_the_observation(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    trainer, _ = run(Observe(folder=tmp_path / "file" / "run"), tmp_path)
    assert trainer.global_step == 20
    assert "Observe: observation stopped" in caplog.text


def test_an_exception_keeps_readings_and_removes_hooks(tmp_path):
    class Dies(Theirs):
        def training_step(self, batch, batch_idx):
            if self.global_step == 5:
                raise RuntimeError("the loss blew up")
            return super().training_step(batch, batch_idx)

    module = Dies()
    with pytest.raises(RuntimeError, match="blew up"):
        run(Observe(every=1), tmp_path, module)
    assert len(read(tmp_path).Scalars("learning_rate")) == 5
    assert not any(part._forward_hooks for part in module.modules())


def test_a_module_without_layers_is_reported(tmp_path, caplog):
    class Bare(Theirs):
        def __init__(self):
            super().__init__()
            self.body, self.frozen, self.unused = nn.PReLU(), nn.Identity(), nn.Identity()

    trainer, _ = run(Observe(), tmp_path, Bare())
    assert trainer.global_step == 20
    assert "Bare has no weights to observe" in caplog.text


def test_a_second_training_starts_with_no_readings(tmp_path):
    observe = Observe(every=5)
    for _ in range(2):
        run(observe, tmp_path, max_epochs=1)
    assert [reading.step for reading in observe.readings] == [0, 1, 2, 5]


def timeless(reading):
    """A reading without durations."""
    return replace(reading, forward_seconds=None, backward_seconds=None, update_seconds=None)


@pytest.mark.parametrize("level", ["light", "full"])
def test_a_resumed_training_records_the_same_readings(tmp_path, moons, level):
    whole = Observe(every=2, level=level, folder=tmp_path / "whole")
    run(whole, tmp_path, ours(), moons, max_epochs=2)
    first = Observe(every=2, level=level, folder=tmp_path / "parts")
    trainer, _ = run(first, tmp_path, ours(), moons, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    beyond = Observe(every=1, folder=tmp_path / "parts")
    run(beyond, tmp_path, ours(), moons, max_epochs=2, ckpt_path=tmp_path / "half.ckpt")
    rest = Observe(every=2, level=level, folder=tmp_path / "parts")
    run(rest, tmp_path, ours(), moons, max_epochs=2, ckpt_path=tmp_path / "half.ckpt")
    assert [*map(timeless, rest.readings)] == [*map(timeless, whole.readings)]
    assert read_recording(tmp_path / "parts") == rest.readings


def test_readings_replace_those_of_an_earlier_training(tmp_path):
    for epochs in (2, 1):
        observe = Observe(every=5)
        run(observe, tmp_path, max_epochs=epochs)
        assert read_recording(tmp_path) == observe.readings


def test_a_locked_recording_is_reported_and_training_continues(tmp_path, caplog):
    taken = Recording(tmp_path)
    observe = Observe(every=5)
    trainer, _ = run(observe, tmp_path)
    taken.close()
    assert trainer.global_step == 20
    assert len(observe.readings) == 6
    assert read_recording(tmp_path) == []
    assert caplog.text.count("another training") == 1


@pytest.mark.parametrize("wrong", [{"every": 0}, {"level": "loud"}])
def test_invalid_arguments_are_rejected(wrong):
    with pytest.raises(InputError, match="observe"):
        Observe(**wrong)


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
def test_on_a_gpu_training_is_unchanged_and_gradients_are_unscaled(tmp_path, precision):
    states = []
    for observe in (None, Observe(every=1, level="full")):
        torch.manual_seed(5)
        _, module = run(observe, tmp_path, accelerator="gpu", devices=1, precision=precision)
        states.append(module.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    first = observe.readings[0]
    assert 0 < first.gradient_norm < 100
    assert first.layers[0].silent is not None
    assert sum(layer.blame or 0.0 for layer in first.layers) == pytest.approx(1.0)


@pytest.mark.cuda
def test_on_a_gpu_readings_equal_those_of_the_cpu(tmp_path, moons):
    found = []
    for accelerator in ("cpu", "gpu"):
        observe = Observe(every=1)
        run(observe, tmp_path, ours(), moons, max_steps=1, accelerator=accelerator, devices=1)
        found.append(observe.readings[0].to_scalars())
    cpu, gpu = found
    assert cpu.keys() == gpu.keys()
    for tag in (tag for tag in cpu if not tag.endswith("/seconds")):
        assert gpu[tag] == pytest.approx(cpu[tag], rel=1e-3, abs=1e-6), tag


@pytest.mark.parametrize("module", [ours, Theirs])
def test_the_automatic_interval_follows_the_measured_cost(tmp_path, monkeypatch, module):
    passed = []

    def stride_within(look, step):
        passed.append((look, step))
        return 5

    monkeypatch.setattr("brainnet.observation.schedule.choose_interval", stride_within)
    observe = Observe(every="auto")
    data = DataModule(Moons(rows=170), batch_size=10) if module is ours else None
    run(observe, tmp_path, module(), data)
    steps = [reading.step for reading in observe.readings]
    assert steps == [0, 1, 2, 5, *range(10, steps[-1] + 1, 5)]
    assert len(steps) > 4
    assert passed
    assert all(step > 0 for _, step in passed)


def lbfgs(parameters):
    return torch.optim.LBFGS(parameters, lr=0.05, max_iter=3)


@pytest.mark.parametrize("optimizer", [None, lbfgs])
def test_the_loss_before_a_step_is_exact_however_it_is_computed(tmp_path, monkeypatch, optimizer):
    found = []
    for folder in ("known", "asked"):
        module, data = ours(), DataModule(Moons(rows=170), batch_size=10)
        if optimizer is not None:
            module._make_optimizer = optimizer
        observe = Observe(every=1)
        run(observe, tmp_path / folder, module, data, max_epochs=1)
        found.append([reading.actual_decrease for reading in observe.readings])
        # The second time the network is evaluated again, as with dropout.
        monkeypatch.setattr("brainnet.training.callbacks.MODE_INVARIANT_TYPES", set())
    assert found[0] == found[1]
    assert all(found[0])


def test_penalties_of_derived_modules_do_not_count_as_decrease(tmp_path):
    class Penalised(LearningModule):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) + 5.0

    found = []
    for kind in (LearningModule, Penalised):
        module, data = ours(), DataModule(Moons(rows=170), batch_size=10)
        module._make_optimizer = OPTIMIZERS["adam"]
        module.__class__ = kind
        observe = Observe(every=1)
        run(observe, tmp_path / kind.__name__, module, data, max_epochs=1)
        found.append([reading.actual_decrease for reading in observe.readings])
    assert found[0] == found[1]


class LookingAhead(Theirs):
    """Nesterov momentum changes the gradients in place; keeps what they predicted."""

    def configure_optimizers(self):
        self.slopes, self.promised = [], []
        rate = {"lr": 0.01, "momentum": 0.9, "nesterov": True, "foreach": True}
        return torch.optim.SGD(self.body.parameters(), **rate)

    def on_before_optimizer_step(self, optimizer):
        self.slopes = [each.grad.clone() for each in self.body.parameters()]
        self.before = [each.detach().clone() for each in self.body.parameters()]

    def on_train_batch_end(self, outputs, batch, batch_idx):
        moved = zip(self.before, self.body.parameters(), strict=True)
        ways = [old - new.detach() for old, new in moved]
        along = zip(self.slopes, ways, strict=True)
        self.promised.append(sum((slope * way).sum().item() for slope, way in along))


def test_predicted_decrease_uses_gradients_before_nesterov(tmp_path):
    observe, module = Observe(every=1), LookingAhead()
    run(observe, tmp_path, module, max_epochs=1)
    found = [reading.predicted_decrease for reading in observe.readings]
    assert found == pytest.approx(module.promised, rel=1e-4, abs=1e-6)
