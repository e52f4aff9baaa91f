import copy
import itertools
import math
import pickle
import signal
import subprocess
import sys
import weakref

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.checkpoint import checkpoint

from brainnet import Network, watch
from brainnet.errors import InputError
from brainnet.observation.recording import read_recording

INPUTS = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randn(16, 2, generator=torch.Generator().manual_seed(1))
CRITERION = nn.MSELoss()


class Odd(nn.Module):
    """All that is unusual: frozen, unused, shared, sparse, dropping out, and normalised."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(16, 4, sparse=True)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.last = nn.Linear(4, 2)
        self.unused = nn.Linear(9, 9)

    def forward(self, inputs):
        signals = self.frozen(inputs) + self.table(torch.arange(len(inputs)))
        return self.last(self.second(torch.relu(self.first(self.drop(self.norm(signals))))))


def ours():
    return Network([4, 5, 3, 2], generator=torch.Generator().manual_seed(2))


def odd():
    torch.manual_seed(4)
    return Odd()


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)


def train(model, optimizer, steps=3, watching=None, order="zero backward step"):
    """A loop, with the calls in any order."""
    for _ in range(steps):
        loss = CRITERION(model(INPUTS), TARGETS)
        for call in order.split():
            match call:
                case "zero":
                    optimizer.zero_grad()
                case "zero_in_place":
                    optimizer.zero_grad(set_to_none=False)
                case "backward":
                    loss.backward()
                case "step":
                    optimizer.step()
        if watching is not None:
            watching.step(loss)


def hooks_of(model, *optimizers):
    found = [
        hooks
        for module in model.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
    ]
    for each in optimizers:
        found += [each._optimizer_step_pre_hooks, each._optimizer_step_post_hooks]
    return sum(map(len, found))


def events(folder):
    return EventAccumulator(str(folder)).Reload()


def list_messages(caplog):
    """What was said, by us alone."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("brainnet")]


@pytest.mark.parametrize("level", ["light", "full"])
@pytest.mark.parametrize("make", [ours, odd])
def test_watching_does_not_change_the_training(tmp_path, make, level):
    states = []
    for watched in (False, True):
        model = make()
        optimizer = sgd(model)
        torch.manual_seed(5)
        if watched:
            given = {"optimizer": optimizer, "criterion": CRITERION, "sample": (INPUTS, TARGETS)}
            with watch(model, tmp_path, every=1, level=level, **given) as watching:
                train(model, optimizer, 5, watching)
            assert len(watching.readings) == 5
            assert watching.readings[-1].actual_decrease is not None
        else:
            train(model, optimizer, 5)
        states.append((model.state_dict(), torch.get_rng_state(), model.training))
    (alone, its_draws, _), (seen, their_draws, training) = states
    assert training
    assert torch.equal(its_draws, their_draws)
    for name, value in alone.items():
        assert torch.equal(value, seen[name]), name


@pytest.mark.parametrize(
    "order",
    [
        "zero backward step",
        "backward step zero",
        "backward step zero_in_place",
        "zero_in_place backward step",
    ],
)
def test_readings_do_not_depend_on_when_gradients_are_cleared(tmp_path, order):
    model, twin = ours(), ours()
    optimizer = sgd(model)
    with watch(model, tmp_path, optimizer=optimizer) as watching:
        train(model, optimizer, 1, watching, order)
    loss = CRITERION(twin(INPUTS), TARGETS)
    loss.backward()
    squares = sum(each.grad.double().square().sum().item() for each in twin.parameters())
    (reading,) = watching.readings
    weights = twin.layers[0].weights.value
    ratio = 0.1 * weights.grad.norm() / weights.norm()
    assert reading.loss == pytest.approx(loss.item())
    assert reading.learning_rate == 0.1
    assert reading.gradient_norm == pytest.approx(math.sqrt(squares))
    assert reading.predicted_decrease == pytest.approx(0.1 * squares, rel=1e-5)
    assert reading.layers[0].update_ratio == pytest.approx(ratio.item(), rel=1e-4)
    assert reading.layers[0].firing_rate is not None
    assert reading.update_seconds > 0


def test_decreases_are_measured_on_the_sample(tmp_path):
    model = ours()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    sample = (INPUTS[:8], TARGETS[:8])
    before = CRITERION(model(sample[0]), sample[1])
    with watch(model, tmp_path, 50, optimizer, CRITERION, sample) as watching:
        train(model, optimizer, 1, watching)
    (reading,) = watching.readings
    fell = before - CRITERION(model(sample[0]), sample[1])
    assert reading.actual_decrease == pytest.approx(fell.item(), rel=1e-2)
    assert reading.predicted_decrease == pytest.approx(fell.item(), rel=1e-1)
    assert watching.limitations == []


def test_hooks_exist_only_during_due_steps(tmp_path):
    model = ours()
    optimizer = sgd(model)
    with watch(model, tmp_path, every=8, optimizer=optimizer) as watching:
        hooked = []
        for _ in range(20):
            hooked.append(hooks_of(model, optimizer) > 0)
            train(model, optimizer, 1, watching)
    due = [0, 1, 2, 5, 8, 16]
    assert [step for step, on in enumerate(hooked) if on] == due
    assert [reading.step for reading in watching.readings] == due
    assert hooks_of(model, optimizer) == 0


def test_the_automatic_interval_keeps_the_budget(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.observation.background_writer.thread_time", lambda: 0.0)
    clock = [0.0]
    monkeypatch.setattr("brainnet.observation.schedule.perf_counter", lambda: clock[0])
    model = ours()
    optimizer = sgd(model)
    with watch(model, tmp_path, every="auto", optimizer=optimizer) as watching:
        for _ in range(401):
            clock[0] += 0.004 if hooks_of(model, optimizer) else 0.001  # a look costs three steps
            train(model, optimizer, 1, watching)
    assert [reading.step for reading in watching.readings] == [
        *(0, 1, 2, 5, 10, 20, 50, 100, 200, 300, 400)
    ]


def test_readings_are_written_to_the_folder(tmp_path):
    model = ours()
    optimizer = sgd(model)
    with watch(model, tmp_path / "runs" / "mine", optimizer=optimizer) as watching:
        train(model, optimizer, 3, watching)
        watching.validation(loss=torch.tensor(0.5), accuracy=0.75)
    found = events(tmp_path / "runs" / "mine")
    assert [point.step for point in found.Scalars("loss/train")] == [0, 1, 2]
    assert found.Scalars("loss/validation")[0].step == 3
    assert found.Scalars("accuracy/validation")[0].value == 0.75
    assert "weights/hidden_1" in found.Tags()["histograms"]
    assert found.Graph().node
    assert read_recording(tmp_path / "runs" / "mine") == watching.readings


def test_a_loss_with_a_graph_is_accepted(tmp_path):
    model = ours()
    with watch(model, tmp_path / "mine", optimizer=sgd(model)) as watching:
        loss = CRITERION(model(INPUTS), TARGETS)
        watching.validation(loss=loss)  # a warning is an error here
    assert watching.limitations == [] or not any("no more" in said for said in watching.limitations)
    assert events(tmp_path / "mine").Scalars("loss/validation")[0].value == pytest.approx(
        loss.item()
    )


def test_frame_has_one_row_per_reading(tmp_path):
    pytest.importorskip("pandas")
    model = ours()
    optimizer = sgd(model)
    with watch(model, tmp_path, optimizer=optimizer) as watching:
        train(model, optimizer, 2, watching)
    table = watching.frame()
    assert table["step"].tolist() == [0, 1]
    assert table["weights/hidden_1/norm"].tolist() == [
        reading.layers[0].weights_norm for reading in watching.readings
    ]


def test_accumulated_gradients_are_one_step(tmp_path):
    model, twin = ours(), ours()
    optimizer, other = sgd(model), sgd(twin)
    with watch(twin, tmp_path / "whole", optimizer=other) as whole:
        train(twin, other, 1, whole)
    with watch(model, tmp_path / "parts", optimizer=optimizer) as watching:
        for rows in (slice(0, 8), slice(8, 16)):
            loss = CRITERION(model(INPUTS[rows]), TARGETS[rows]) / 2
            loss.backward()
        optimizer.step()
        watching.step(2 * loss)
    one, same = watching.readings[0], whole.readings[0]
    assert one.gradient_norm == pytest.approx(same.gradient_norm, rel=1e-5)
    assert one.layers[0].firing_rate == same.layers[0].firing_rate


def test_without_an_optimizer_limitations_are_listed(tmp_path, caplog):
    model, twin = ours(), ours()
    optimizer = sgd(model)
    with watch(twin, tmp_path / "other", optimizer=(other := sgd(twin))) as expected:
        train(twin, other, 1, expected)
    with watch(model, tmp_path / "mine") as watching:
        train(model, optimizer, 1, watching)
        train(model, optimizer, 1, watching, "backward step zero")
    first, second = watching.readings
    assert first.gradient_norm == expected.readings[0].gradient_norm
    assert first.layers[0].update_ratio == expected.readings[0].layers[0].update_ratio
    assert first.layers[0].weights_norm == expected.readings[0].layers[0].weights_norm
    assert first.learning_rate is None
    assert second.gradient_norm is None
    assert second.layers[0].update_ratio > 0
    assert "no optimizer was passed" in watching.limitations[0]
    assert list_messages(caplog) == []


def test_several_optimizers_are_one_reading(tmp_path):
    model, twin = ours(), ours()
    with watch(twin, tmp_path / "one", optimizer=(one := sgd(twin))) as expected:
        train(twin, one, 1, expected)
    several = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in model.layers]
    with watch(model, tmp_path / "several", optimizer=several) as watching:
        loss = CRITERION(model(INPUTS), TARGETS)
        loss.backward()
        for each in several:
            each.step()
        watching.step(loss)
    found, same = watching.readings[0], expected.readings[0]
    assert found.gradient_norm == pytest.approx(same.gradient_norm)
    assert found.predicted_decrease == pytest.approx(same.predicted_decrease)
    assert [layer.update_ratio for layer in found.layers] == pytest.approx(
        [layer.update_ratio for layer in same.layers]
    )
    assert hooks_of(model, *several) == 0


def test_gradients_of_a_closure_are_read_during_the_step(tmp_path):
    model, twin = ours(), ours()
    with watch(twin, tmp_path / "plain", optimizer=(plain := sgd(twin))) as expected:
        train(twin, plain, 2, expected)
    optimizer = sgd(model)

    def closure():
        optimizer.zero_grad()
        loss = CRITERION(model(INPUTS), TARGETS)
        loss.backward()
        return loss

    with watch(model, tmp_path / "closure", optimizer=optimizer) as watching:
        for _ in range(2):
            watching.step(optimizer.step(closure))
    for found, same in zip(watching.readings, expected.readings, strict=True):
        assert found.gradient_norm == pytest.approx(same.gradient_norm)
        assert found.predicted_decrease == pytest.approx(same.predicted_decrease)
        assert found.layers[0].firing_rate == same.layers[0].firing_rate


@pytest.mark.parametrize("fused", [False, True])
def test_scaled_losses_are_unscaled_and_skipped_steps_ignored(tmp_path, fused):
    model, twin = ours(), ours()
    with watch(twin, tmp_path / "plain", optimizer=(plain := sgd(twin))) as expected:
        train(twin, plain, 1, expected)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with watch(model, tmp_path / "scaled", optimizer=optimizer) as watching:
        loss = CRITERION(model(INPUTS), TARGETS)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        watching.step(loss)
        optimizer.zero_grad()
        scaler.scale(CRITERION(model(INPUTS), TARGETS * math.inf)).backward()
        scaler.step(optimizer)
        scaler.update()
        watching.step(loss)
    found, same = watching.readings[0], expected.readings[0]
    assert found.gradient_norm == pytest.approx(same.gradient_norm, rel=1e-5)
    assert found.predicted_decrease == pytest.approx(same.predicted_decrease, rel=1e-4)
    assert len(watching.readings) == (2 if fused else 1)  # a fused one steps, and stays


@pytest.mark.parametrize("way", ["method", "function"])
def test_compiled_models_report_their_limitations(tmp_path, way, caplog):
    model = ours()
    if way == "method":
        model.compile(backend="eager")
        watched = model
    else:
        watched = torch.compile(model, backend="eager")
    optimizer = sgd(model)
    with watch(watched, tmp_path, 50, optimizer, CRITERION, (INPUTS, TARGETS)) as watching:
        train(watched, optimizer, 2, watching)
    first = watching.readings[0].layers[0]
    assert first.name == "hidden_1"
    assert first.gradient_norm > 0
    assert first.firing_rate is None
    assert "compiled" in watching.limitations[0]
    assert len(list_messages(caplog)) == 1


def test_non_finite_values_are_recorded(tmp_path):
    model = ours()
    with torch.no_grad():
        model.layers[0].weights.value[0, 0] = math.nan
    optimizer = sgd(model)
    with watch(model, tmp_path, optimizer=optimizer) as watching:
        train(model, optimizer, 2, watching)
    assert all(math.isnan(reading.layers[0].weights_norm) for reading in watching.readings)
    assert all(math.isnan(reading.loss) for reading in watching.readings)


def test_unreadable_parameters_are_named(tmp_path):
    model = ours()
    model.phase = nn.Parameter(torch.zeros(3, dtype=torch.complex64))
    optimizer = sgd(model)
    with watch(model, tmp_path, optimizer=optimizer) as watching:
        train(model, optimizer, 1, watching)
    assert len(watching.readings) == 1
    assert "phase" in watching.limitations[0]


def test_sharded_parameters_are_skipped(tmp_path):
    model = ours()
    model.layers[0].weights.value.placements = ("a shard",)  # as torch.distributed's tensors have
    optimizer = sgd(model)
    with watch(model, tmp_path, optimizer=optimizer) as watching:
        train(model, optimizer, 1, watching)
    first, second, _ = watching.readings[0].layers
    assert first.weights_norm is None
    assert second.update_ratio > 0
    assert "layers.0.weights.value" in watching.limitations[0]


def test_only_process_zero_observes(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.observation.watch.get_process_rank", lambda: 3)
    model = ours()
    optimizer = sgd(model)
    with watch(model, tmp_path / "run", optimizer=optimizer) as watching:
        train(model, optimizer, 2, watching)
        watching.validation(loss=1.0)
    assert watching.readings == []
    assert watching.limitations == ["process 3 observes nothing; process 0 does."]
    assert not (tmp_path / "run").exists()


def test_lazy_models_are_observed_from_the_first_step(tmp_path):
    model = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.Linear(5, 2))
    with watch(model, tmp_path) as watching:
        loss = CRITERION(model(INPUTS), TARGETS)
        loss.backward()
        watching.step(loss)
        optimizer = sgd(model)
        train(model, optimizer, 1, watching)
    first, second = watching.readings
    assert first.layers[0].gradient_norm > 0
    assert first.layers[0].weights_norm is None
    assert second.layers[0].update_ratio > 0


def test_models_without_weights_are_reported_once(tmp_path, caplog):
    with watch(nn.ReLU(), tmp_path / "run") as watching:
        for _ in range(3):
            watching.step(torch.tensor(1.0))
            watching.validation(loss=1.0)
    assert watching.readings == []
    assert len(list_messages(caplog)) == len(watching.limitations) == 1
    assert "ReLU has no weights to observe" in caplog.text
    assert not (tmp_path / "run").exists()


def test_steps_before_any_forward_pass_are_not_observed(tmp_path):
    model = ours()
    optimizer = sgd(model)
    with watch(model, tmp_path, optimizer=optimizer) as watching:
        watching.step()
        watching.step(1.0)
        train(model, optimizer, 1, watching)
    assert [reading.step for reading in watching.readings] == [2]


def test_an_unwritable_folder_is_reported_and_readings_are_kept(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    model = ours()
    optimizer = sgd(model)
    with watch(model, tmp_path / "file" / "run", optimizer=optimizer) as watching:
        train(model, optimizer, 3, watching)
        watching.validation(loss=1.0)
    assert len(watching.readings) == 3
    assert len(list_messages(caplog)) == 1
    assert "nothing is written" in caplog.text


def test_a_full_disk_ends_writing_and_keeps_what_was_written(tmp_path, caplog, monkeypatch):
    model = ours()
    optimizer = sgd(model)
    with watch(model, tmp_path, every=1, optimizer=optimizer) as watching:
        train(model, optimizer, 2, watching)
        kept = watching.readings

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("brainnet.observation.recording.Recording._add_record", full)
        monkeypatch.setattr("brainnet.observation.tensorboard.EventFileWriter.add_event", full)
        train(model, optimizer, 3, watching)
    assert len(watching.readings) == 5
    assert read_recording(tmp_path) == kept
    assert len(events(tmp_path).Scalars("learning_rate")) == 2
    assert [message.count("No space left") for message in list_messages(caplog)] == [1, 1]


def test_a_second_watcher_of_a_folder_keeps_readings_in_memory(tmp_path, caplog):
    first, second = ours(), ours()
    one, other = sgd(first), sgd(second)
    with (
        watch(first, tmp_path, optimizer=one) as watching,
        watch(second, tmp_path, optimizer=other) as refused,
    ):
        train(first, one, 3, watching)
        train(second, other, 2, refused)
    assert caplog.text.count("another training") == len(list_messages(caplog)) == 1
    assert len(refused.readings) == 2
    assert read_recording(tmp_path) == watching.readings
    assert len(list(tmp_path.glob("events*"))) == 1


def test_a_second_training_uses_another_folder_or_continues(tmp_path, caplog):
    folder, second = tmp_path / "mine", tmp_path / "mine_2"
    for given, first_step, written, steps in (
        (folder, 0, folder, [0, 1, 2, 5]),
        (folder, 2, folder, [0, 1, 2, 5, 10]),
        (folder, 0, second, [0, 1, 2]),
        (second, 2, second, [0, 1, 2, 5]),
    ):
        model = ours()
        optimizer = sgd(model)
        with watch(model, given, optimizer=optimizer, first_step=first_step) as watching:
            train(model, optimizer, steps[-1] + 1 - first_step, watching)
        assert watching.folder == written
        assert [reading.step for reading in read_recording(written)] == steps
        points = events(written).Scalars("learning_rate")
        assert [point.step for point in points] == steps
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine_2"]
    assert [reading.step for reading in read_recording(folder)] == [0, 1, 2, 5, 10]
    assert list_messages(caplog) == [
        f"watch: {folder} contains another training; writing to {second}."
    ]


def test_changed_layers_are_observed(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    optimizer = sgd(model)
    with watch(model, tmp_path, every=1, optimizer=optimizer) as watching:
        train(model, optimizer, 2, watching)
        model[2] = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))
        optimizer.add_param_group({"params": model[2].parameters()})
        train(model, optimizer, 2, watching)
    assert [len(reading.layers) for reading in watching.readings] == [2, 2, 2, 3]
    assert watching.readings[-1].layers[2].update_ratio > 0
    assert read_recording(tmp_path) == watching.readings


@pytest.mark.parametrize(
    "where",
    [
        "brainnet.observation.layer_statistics.compute_statistics",
        "brainnet.observation.step_observer.compute_statistics",
        "brainnet.observation.step_observer._compute_norm",
        "brainnet.observation.watch.list_parameters",
        "brainnet.observation.session.AdaptiveInterval.is_due",
    ],
)
def test_errors_are_reported_once_and_training_continues(tmp_path, monkeypatch, caplog, where):
    def fail(*_, **__):
        raise ArithmeticError("out of luck")

    model, twin = ours(), ours()
    optimizer = sgd(model)
    monkeypatch.setattr(where, fail)
    with watch(model, tmp_path, optimizer=optimizer) as watching:
        train(model, optimizer, 3, watching)
    train(twin, sgd(twin), 3)
    assert list_messages(caplog) == ["watch: observation stopped: ArithmeticError: out of luck"]
    assert hooks_of(model, optimizer) == 0
    for one, same in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, same)


def test_a_sample_that_does_not_fit_is_reported(tmp_path, caplog):
    model = ours()
    optimizer = sgd(model)
    sample = (torch.zeros(3, 9), torch.zeros(3, 2))
    with watch(model, tmp_path, 50, optimizer, CRITERION, sample) as watching:
        train(model, optimizer, 2, watching)
    assert len(watching.readings) == 2
    assert caplog.text.count("the sample cannot be evaluated") == 1


@pytest.mark.parametrize(
    ("wrong", "needed"),
    [
        ({"every": 0}, "every must be"),
        ({"level": "loud"}, "light or full"),
        ({"first_step": -1}, "first_step"),
        ({"optimizer": ["sgd"]}, "Optimizer"),
        ({"model": "model"}, "nn.Module"),
    ],
)
def test_invalid_arguments_are_rejected_before_anything_is_written(tmp_path, wrong, needed):
    with pytest.raises(InputError, match=needed):
        watch(**{"model": ours(), "folder": tmp_path / "run", **wrong})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_observed_after_close(tmp_path):
    model = ours()
    optimizer = sgd(model)
    watching = watch(model, tmp_path, optimizer=optimizer)
    train(model, optimizer, 2, watching)
    watching.close()
    watching.close()
    train(model, optimizer, 2, watching)
    watching.validation(loss=1.0)
    assert len(watching.readings) == 2
    assert hooks_of(model, optimizer) == 0


def test_watched_models_can_be_copied(tmp_path):
    model = ours()
    with watch(model, tmp_path, optimizer=sgd(model)):
        twin = copy.deepcopy(model.state_dict())
    assert twin.keys() == ours().state_dict().keys()


PROGRAM = """
import os, signal, sys, time
import torch
from torch import nn
from brainnet import watch
model = nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
watching = watch(model, sys.argv[1], every=1, optimizer=optimizer)
for step in range(40):
    loss = model(torch.ones(3, 2)).sum()
    loss.backward()
    optimizer.step()
    watching.step(loss)
{ending}
print("went on")
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("raise RuntimeError", 1),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_all_readings_are_written_however_the_program_ends(tmp_path, ending, code):
    program = PROGRAM.format(ending=ending)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert ("went on" in done.stdout) == (code == 0)
    assert [reading.step for reading in read_recording(tmp_path)] == list(range(40))
    assert len(events(tmp_path).Scalars("learning_rate")) == 40


def test_signal_handlers_are_left_alone(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with watch(ours(), tmp_path):
        assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_process_is_rejected(tmp_path):
    with watch(ours(), tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(ending=""), str(tmp_path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.count("another training") == 1
    assert read_recording(tmp_path) == []


@pytest.mark.cuda
@pytest.mark.parametrize("level", ["light", "full"])
def test_readings_on_a_gpu_equal_those_of_the_cpu(tmp_path, level):
    found = []
    for device, watched in itertools.product(("cpu", "cuda"), (False, True)):
        model = ours().to(device)
        optimizer = sgd(model)
        inputs, targets = INPUTS.to(device), TARGETS.to(device)
        watching = None
        if watched:
            folder = tmp_path / device
            watching = watch(model, folder, 1, optimizer, CRITERION, (INPUTS, TARGETS), level)
        for _ in range(4):
            optimizer.zero_grad()
            loss = CRITERION(model(inputs), targets)
            loss.backward()
            optimizer.step()
            if watching is not None:
                watching.step(loss)
        if watching is not None:
            watching.close()
        found.append((model.state_dict(), watching and watching.readings))
    (alone, _), (seen, on_cpu), (gpu_alone, _), (gpu_seen, on_gpu) = found
    for name in alone:
        assert torch.equal(alone[name], seen[name])
        assert torch.equal(gpu_alone[name], gpu_seen[name])
    for one, other in zip(on_cpu, on_gpu, strict=True):
        cpu, gpu = one.to_scalars(), other.to_scalars()
        assert cpu.keys() == gpu.keys()
        for tag in (tag for tag in cpu if not tag.endswith("/seconds")):
            assert gpu[tag] == pytest.approx(cpu[tag], rel=2e-3, abs=1e-5), tag


@pytest.mark.cuda
def test_observation_does_not_synchronize_the_gpu(tmp_path):
    model = nn.Linear(64, 64).cuda()
    optimizer = sgd(model)
    inputs = torch.randn(8, 64, device="cuda")
    with watch(model, tmp_path, every=1, optimizer=optimizer) as watching:
        for step in range(3):
            if step:
                torch.cuda.set_sync_debug_mode("error")
            loss = model(inputs).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watching.step(loss)
            torch.cuda.set_sync_debug_mode("default")
    assert watching.limitations[1:] == []
    assert len(watching.readings) == 3


def test_a_sample_is_evaluated_whole_if_the_model_requires_it(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.observation.probe._MAX_WEIGHTS_TIMES_ROWS", 0)
    asked = []

    class Whole(nn.Linear):
        def forward(self, inputs):
            asked.append(len(inputs))
            return super().forward(inputs.reshape(20, 4))

    model = Whole(4, 2)
    optimizer = sgd(model)
    sample = (torch.randn(20, 4), torch.randn(20, 2))
    with watch(model, tmp_path, 50, optimizer, CRITERION, sample) as watching:
        optimizer.zero_grad()
        loss = CRITERION(model(torch.randn(20, 4)), torch.randn(20, 2))
        loss.backward()
        optimizer.step()
        watching.step(loss)
    assert asked[:2] == [16, 20]
    assert watching.readings[0].actual_decrease is not None
    assert watching.limitations == []


def test_deltas_are_divided_by_the_scale_of_the_scaler(tmp_path):
    found = []
    for name, scaler in (("plain", None), ("scaled", torch.amp.GradScaler("cpu", 1024.0))):
        model = ours()
        optimizer, folder = sgd(model), tmp_path / name
        with watch(model, folder, 50, optimizer, level="full", scaler=scaler) as watching:
            loss = CRITERION(model(INPUTS), TARGETS)
            (loss if scaler is None else scaler.scale(loss)).backward()
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
            watching.step(loss)
        place = watching.readings[0].layers[0].name
        found.append(events(folder).Histograms(f"backpropagation/{place}")[0].histogram_value)
    assert found[0].sum > 0
    assert found[1].sum == pytest.approx(found[0].sum, rel=1e-4)
    assert found[1].max == pytest.approx(found[0].max, rel=1e-4)


def test_an_optimizer_without_steps_is_reported(tmp_path, caplog):
    model = ours()
    with watch(model, tmp_path, optimizer=sgd(model)) as watching:
        train(model, sgd(model), 25, watching)  # another one
    assert watching.readings == []
    assert caplog.text.count("took a step in 20 calls") == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"folder": None}, "a folder to write to; got None"),
        ({"sample": torch.zeros(3, 4)}, "a pair .* got Tensor"),
        ({"sample": (torch.zeros(3, 4),)}, "a pair .* got Tensor"),
        (
            {"sample": ({"x": torch.zeros(3, 4)}, torch.zeros(3))},
            "a pair .* got dict, Tensor",
        ),
        ({"sample": (torch.zeros(3, 4), [1, 2, 3])}, "a pair .* got Tensor, list"),
    ],
)
def test_invalid_arguments_are_rejected(tmp_path, wrong, message):
    model = ours()
    with pytest.raises(InputError, match=message):
        watch(model, **{"folder": tmp_path, "criterion": CRITERION, **wrong})


class Checkpointed(nn.Module):
    """Repeats its forward pass in the backward pass."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.last = nn.Linear(8, 2)

    def forward(self, inputs):
        return self.last(checkpoint(self.first, inputs, use_reentrant=False))


@pytest.mark.parametrize("level", ["light", "full"])
def test_activation_checkpointing_is_not_disturbed(tmp_path, level):
    found = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = Checkpointed()
        optimizer = sgd(model)
        if watched:
            firing = (model.first(INPUTS) > 0).double().mean().item()
            with watch(model, tmp_path, 1, optimizer, level=level) as watching:
                train(model, optimizer, 3, watching)
            assert watching.readings[0].layers[0].firing_rate == pytest.approx(firing)
            assert len(watching.readings) == 3
        else:
            train(model, optimizer, 3)
        found.append(model.state_dict())
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


def test_ramps_do_not_count_the_sample(tmp_path):
    model = ours()
    ramp = model.layers[0].activation
    ramp.start_counting(5)
    optimizer = sgd(model)
    sample = (100 * INPUTS + 50, TARGETS)
    with torch.no_grad():
        firing = (ramp(model.layers[0].pre_activation(INPUTS)) > 0).double().mean().item()
    ramp.start_counting(5)
    with watch(model, tmp_path, 50, optimizer, CRITERION, sample) as watching:
        train(model, optimizer, 1, watching)
    assert ramp.counts.sum() == len(INPUTS) * 5
    assert watching.readings[0].layers[0].firing_rate == pytest.approx(firing)


def test_decreases_are_measured_under_autocast(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with watch(model, tmp_path, 50, optimizer, CRITERION, (INPUTS, TARGETS)) as watching:
        for _ in range(2):  # in one of autocast's own each, as it casts weights once
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = CRITERION(model(INPUTS), TARGETS)
                losses.append(loss.item())
                loss.backward()
                optimizer.step()
                watching.step(loss)
                optimizer.zero_grad()
    fell = losses[0] - losses[1]
    assert fell > 0
    assert watching.readings[0].actual_decrease == pytest.approx(fell, rel=1e-3)


def test_watched_models_can_be_copied_saved_and_compiled_between_steps(tmp_path):
    found = []
    for copied in (False, True):
        model = ours()
        optimizer = sgd(model)
        with watch(model, tmp_path / str(copied), every=1, optimizer=optimizer) as watching:
            if copied:
                target = copy.deepcopy(model)
                with torch.no_grad():
                    target.layers[0].bias.value.fill_(100.0)
                target(INPUTS)
                pickle.loads(pickle.dumps(model))(INPUTS)
                torch.compile(model, fullgraph=True, backend="eager")(INPUTS)
            train(model, optimizer, 1, watching)
        found.append(watching.readings[0].layers)
    assert hooks_of(model) == hooks_of(target) == 0
    assert found[0] == found[1]


class Centring(torch.optim.SGD):
    """Somebody else's: takes the mean off each gradient before its step, in place."""

    @torch.no_grad()
    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            parameter.grad.sub_(parameter.grad.mean())
        return super().step(closure)


@pytest.mark.parametrize("kind", ["looks ahead", "centres"])
def test_gradients_that_the_optimizer_changes_are_read_before_the_step(tmp_path, kind):
    model = ours()
    if kind == "centres":
        optimizer = Centring(model.parameters(), lr=0.1)
    else:
        optimizer = torch.optim.SGD(
            model.parameters(), lr=0.1, momentum=0.9, nesterov=True, foreach=True
        )
    weights = list(model.parameters())
    with watch(model, tmp_path, every=1, optimizer=optimizer, level="full") as watching:
        directions = []
        for _ in range(2):
            optimizer.zero_grad()
            loss = CRITERION(model(INPUTS), TARGETS)
            loss.backward()
            before = [each.detach().clone() for each in weights]
            slopes = [each.grad.clone() for each in weights]
            directions.append(slopes[0].flatten())
            optimizer.step()
            watching.step(loss)
    ways = [old - new.detach() for old, new in zip(before, weights, strict=True)]
    promised = sum((slope * way).sum().item() for slope, way in zip(slopes, ways, strict=True))
    turned = nn.functional.cosine_similarity(*directions, dim=0).item()
    last = watching.readings[1]
    assert last.predicted_decrease == pytest.approx(promised, rel=1e-4)
    assert last.layers[0].gradient_cosine == pytest.approx(turned, rel=1e-4)


@pytest.mark.parametrize("moved", [False, True])
def test_forward_passes_that_raise_are_ignored(tmp_path, moved):
    model = ours()
    optimizer = sgd(model)
    given = {"optimizer": optimizer} if moved else {}
    with watch(model, tmp_path, every=1, **given) as watching:
        for _ in range(3):
            with pytest.raises(ValueError, match="needs 4 inputs"):
                model(torch.ones(2, 9))
            train(model, optimizer, 1, watching)
    assert [reading.step for reading in watching.readings] == [0, 1, 2]
    assert all(reading.forward_seconds > 0 for reading in watching.readings)
    assert all(reading.backward_seconds > 0 for reading in watching.readings)
    assert len(watching.limitations) == 1  # what was not given


def test_activations_of_other_layers_are_reported_once(tmp_path, caplog):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    model.forward = lambda inputs: model[1](model[2](torch.relu(model[0](inputs))))
    optimizer = sgd(model)
    with watch(model, tmp_path, every=1, optimizer=optimizer) as watching:
        train(model, optimizer, 3, watching)
    assert [layer.firing_rate for layer in watching.readings[0].layers] == [None, None]
    assert caplog.text.count("registered after 0 is applied to something else") == 1
    assert len(watching.readings) == 3


def test_a_sample_of_inference_tensors_is_evaluated(tmp_path):
    found = []
    for kind in (torch.inference_mode, torch.enable_grad):
        with kind():
            sample = (INPUTS[:8].clone(), TARGETS[:8].clone())
        model = ours()
        optimizer = sgd(model)
        with watch(model, tmp_path / kind.__name__, 1, optimizer, CRITERION, sample) as watching:
            train(model, optimizer, 2, watching)
        found.append([reading.actual_decrease for reading in watching.readings])
        assert watching.limitations == []
    assert found[0] == found[1] != [None, None]


def test_a_failing_sample_is_reported_and_observation_continues(tmp_path, caplog):
    model = ours()
    optimizer = sgd(model)
    asked = []

    def criterion(outputs, targets):
        asked.append(len(outputs))
        if len(asked) > 3:
            raise ArithmeticError("out of luck")
        return CRITERION(outputs, targets)

    with watch(model, tmp_path, 1, optimizer, criterion, (INPUTS, TARGETS)) as watching:
        train(model, optimizer, 4, watching)
    has_decrease = [reading.actual_decrease is not None for reading in watching.readings]
    assert has_decrease == [True, False, False, False]
    assert len(asked) == 4
    assert list_messages(caplog) == [
        "watch: the sample cannot be evaluated: ArithmeticError: out of luck"
    ]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("oops", "str"),
        (torch.zeros(2), "(2,)"),
        ([0.5], "list"),
    ],
)
def test_an_invalid_loss_is_reported_once_and_ignored(tmp_path, caplog, wrong, named):
    model = ours()
    optimizer = sgd(model)
    with watch(model, tmp_path, every=1, optimizer=optimizer) as watching:
        for loss in (0.5, wrong, wrong, torch.tensor(0.25)):
            train(model, optimizer, 1)
            watching.step(loss)
        watching.validation(loss=wrong, accuracy=0.75)
    assert [reading.loss for reading in watching.readings] == [0.5, None, None, 0.25]
    assert list_messages(caplog) == [
        f"watch: {asker} needs a number or a tensor with one element; got {named}, which is "
        "ignored."
        for asker in ("step()", "validation()")
    ]
    found = events(tmp_path)
    assert found.Scalars("accuracy/validation")[0].value == 0.75
    assert "loss/validation" not in found.Tags()["scalars"]


def test_a_deleted_watcher_removes_hooks_and_writes_readings(tmp_path):
    model = ours()
    optimizer = sgd(model)
    watching = watch(model, tmp_path, every=1, optimizer=optimizer)
    train(model, optimizer, 3, watching)
    thread, gone = watching._session.writer._thread, weakref.ref(watching)
    del watching
    assert gone() is None  # at once, without garbage collection
    assert hooks_of(model, optimizer) == 0
    thread.join(60)
    assert not thread.is_alive()
    assert [reading.step for reading in read_recording(tmp_path)] == [0, 1, 2]


def test_steps_without_observed_forward_pass_are_reported_once(tmp_path, caplog):
    model = ours()
    optimizer = sgd(model)
    with watch(model, tmp_path, every=1, optimizer=optimizer) as watching:
        train(torch.compile(model, fullgraph=True, backend="eager"), optimizer, 3, watching)
    assert [reading.layers[0].firing_rate for reading in watching.readings] == [None] * 3
    assert all(reading.gradient_norm > 0 for reading in watching.readings)
    assert caplog.text.count("no forward pass was observed before the optimizer step") == 1


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(5, 3)
        self.memory = nn.LSTM(3, 4, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, codes):
        return self.out(self.memory(self.words(codes))[0][:, -1])


def test_weight_matrices_of_any_module_are_observed(tmp_path):
    model = Recurrent()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, tmp_path, optimizer=optimizer, level="full") as watching:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.tensor([[1, 2], [3, 4]])).square().sum().backward()
            gradient, before = model.memory.weight_hh_l0.grad.clone(), model.words.weight.clone()
            optimizer.step()
            watching.step()
    found = {layer.name: layer for layer in watching.readings[-1].layers}
    assert list(found) == ["out", "words", "memory.weight_ih_l0", "memory.weight_hh_l0"]
    assert found["memory.weight_hh_l0"].gradient_norm == pytest.approx(gradient.norm().item())
    assert found["words"].weights_norm == pytest.approx(before.norm().item())
    moved = (model.words.weight - before).norm() / before.norm()
    assert found["words"].update_ratio == pytest.approx(moved.item(), rel=1e-4)
    assert found["words"].firing_rate is None
    assert "observed of words, memory.weight_ih_l0, memory.weight_hh_l0" in watching.limitations[0]


def test_models_without_layers_are_observed(tmp_path):
    model = nn.GRU(2, 3)
    with watch(model, tmp_path) as watching:
        model(torch.ones(4, 1, 2))[0].sum().backward()
        watching.step()
    assert [layer.name for layer in watching.readings[0].layers] == [
        "weight_ih_l0",
        "weight_hh_l0",
    ]


def test_recomputed_weights_have_no_update_ratio(tmp_path):
    model = nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, tmp_path, optimizer=optimizer) as watching:
        model(torch.ones(4, 2)).square().sum().backward()
        optimizer.step()
        watching.step()
    layer, length, direction = watching.readings[0].layers
    assert layer.update_ratio is None
    assert length.update_ratio > 0
    assert direction.update_ratio > 0
