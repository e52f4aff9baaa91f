import pytest
import torch

from brainnet.learning.gradient_descent import OPTIMIZERS, GradientDescent
from brainnet.learning.learning_rate import SCHEDULES
from brainnet.learning.loss import DEFAULT_LOSS, LOSSES, BinaryCrossEntropy, CrossEntropy, Huber
from brainnet.training.assembly import build_loss, choose_optimizer, choose_schedule


@pytest.mark.parametrize("task", DEFAULT_LOSS)
def test_auto_is_the_loss_of_the_task(task):
    assert task in build_loss("auto", task).tasks


@pytest.mark.parametrize(("outputs", "loss"), [(1, BinaryCrossEntropy), (2, CrossEntropy)])
def test_auto_asks_two_classes_of_as_many_outputs_as_the_network_has(outputs, loss):
    assert type(build_loss("auto", "binary", outputs)) is loss


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_its_name(name):
    assert type(build_loss(name, "regression")) is LOSSES[name]


def test_a_loss_of_ones_own_is_taken_as_it_is():
    own = Huber(2.0)
    assert build_loss(own, "regression") is own


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_has_its_name(name):
    made = choose_optimizer(name, 0.25)([torch.nn.Parameter(torch.ones(1))])
    assert type(made) is OPTIMIZERS[name]
    assert made.param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_lasts_the_whole_run(name):
    descent = GradientDescent([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    factory = choose_schedule(name)
    if name == "constant":
        assert factory is None
        return
    schedule = factory(descent, 30)
    rates = []
    for _ in range(30):
        rates.append(descent.param_groups[0]["lr"])
        descent.step()
        schedule.step()
    assert type(schedule) is SCHEDULES[name]
    assert rates[-1] < 0.05 < max(rates) <= 1.0
