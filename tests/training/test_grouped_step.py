import pytest
import torch

from brainnet.learning.gradient_descent import OPTIMIZERS
from brainnet.training.module import GROUPED, MOST, use_foreach

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
def test_all_at_once_is_one_at_a_time_to_the_bit(name, settings, dtype):
    single = trained(name, settings, dtype, together=False)
    assert all(map(torch.equal, trained(name, settings, dtype, together=True), single))


def test_every_optimizer_that_is_grouped_is_compared():
    assert {OPTIMIZERS[name] for name in SETTINGS} == set(GROUPED)


@pytest.mark.parametrize(
    ("weight", "options"),
    [
        (torch.zeros(3), {"foreach": False}),
        (torch.zeros(3), {"fused": True}),
        (torch.zeros(3, dtype=torch.bfloat16), {}),  # in it, both round differently
        (torch.zeros(MOST + 1), {}),
    ],
)
def test_leaves_alone_what_was_chosen_or_would_differ_or_is_large(weight, options):
    optimizer = torch.optim.Adam([torch.nn.Parameter(weight)], **options)
    before = optimizer.param_groups[0]["foreach"]
    assert use_foreach(optimizer).param_groups[0]["foreach"] is before


def test_others_optimizers_are_left_alone():
    class Theirs(torch.optim.Adam):
        pass

    optimizer = Theirs([torch.nn.Parameter(torch.zeros(3))])
    assert use_foreach(optimizer).param_groups[0]["foreach"] is None


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("tensors", ["lr", "betas"])
def test_a_learning_rate_or_betas_that_are_tensors_work_as_they_did(name, tensors):
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


def test_a_state_stored_one_at_a_time_goes_on_all_at_once():
    single, together = (torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))]) for _ in range(2))
    use_foreach(together).load_state_dict(single.state_dict())
    assert together.param_groups[0]["foreach"] is True


def test_a_state_stored_by_choice_one_at_a_time_stays():
    single, together = (
        torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))], foreach=choice)
        for choice in (False, None)
    )
    use_foreach(together).load_state_dict(single.state_dict())
    assert together.param_groups[0]["foreach"] is False
