import pytest
import torch
from torch import nn

from brainnet.observation.hooks import Stopwatch


@pytest.fixture
def watch(monkeypatch):
    """A stopwatch whose clock moves on by one second at each look at it."""
    clock = iter(range(100))
    monkeypatch.setattr("brainnet.observation.hooks.perf_counter", lambda: float(next(clock)))
    return Stopwatch()


def test_the_outermost_call_counts_alone_and_calls_add_up(watch):
    inner = nn.Linear(1, 1)
    outer = nn.Sequential(inner)
    for module in (outer, inner):
        module.register_forward_pre_hook(watch.start)
        module.register_forward_hook(watch.stop)
    assert watch.seconds is None
    outer(torch.ones(1, 1))
    assert watch.seconds == 1.0
    outer(torch.ones(1, 1))
    assert watch.seconds == 2.0


def test_what_is_spent_aside_is_left_out(watch):
    watch.start(nn.Identity(), ())
    watch.aside += 0.25
    watch.stop(nn.Identity(), (), None)
    assert watch.seconds == 0.75


def test_whoever_judges_in_between_is_not_timed(watch):
    with torch.no_grad():
        watch.start(nn.Identity(), ())
        watch.stop(nn.Identity(), (), None)
    assert watch.seconds is None


def test_a_call_that_breaks_off_does_not_count_and_the_next_one_does(watch):
    inner = nn.Linear(1, 1)
    outer = nn.Sequential(inner)
    for module in (outer, inner):
        module.register_forward_pre_hook(watch.start)
        module.register_forward_hook(watch.stop, always_call=True)
    with pytest.raises(RuntimeError):
        outer(torch.ones(1, 2))
    assert watch.seconds is None
    outer(torch.ones(1, 1))
    watch.learnt()
    assert watch.seconds == watch.backward == 1.0
