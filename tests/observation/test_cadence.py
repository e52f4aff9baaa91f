import pytest

from brainnet.errors import InputError
from brainnet.observation.schedule import (
    AdaptiveInterval,
    check_interval,
    choose_interval,
    is_due,
    is_round_step,
)


def test_looks_are_dense_at_first_then_at_each_stride():
    assert [step for step in range(201) if is_due(step, 50)] == [
        0,
        1,
        2,
        5,
        10,
        20,
        50,
        100,
        150,
        200,
    ]


def test_a_stride_of_one_looks_at_every_step():
    assert all(is_due(step, 1) for step in range(100))


def test_round_counts_are_one_two_five_at_every_size():
    assert [n for n in range(2001) if is_round_step(n)] == [
        *(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
    ]


@pytest.mark.parametrize("every", [0, -1, 2.5, True, "often", None])
def test_a_stride_that_is_none_is_refused_with_the_key_to_set(every):
    with pytest.raises(InputError, match=r"observe\.every=50"):
        check_interval(every, "observe.every")


@pytest.mark.parametrize(("look", "step"), [(3e-3, 2e-4), (0.05, 0.02), (1e-6, 1.0), (1.0, 0.03)])
def test_a_stride_keeps_within_the_budget_and_a_shorter_one_would_not(look, step):
    stride = choose_interval(look, step, budget=0.03)
    assert is_round_step(stride)
    assert look / (stride * step) <= 0.03
    shorter = max((n for n in range(1, stride) if is_round_step(n)), default=None)
    assert shorter is None or look / (shorter * step) > 0.03


def test_a_pace_that_was_given_stays():
    pace = AdaptiveInterval(7)
    for _ in range(5):
        pace.passed(looked=True, aside=[100.0])
    assert pace.stride == 7
    assert pace.due(14)


def test_a_pace_follows_the_times_of_steps_and_looks(monkeypatch):
    times = iter([0.0, 1.0, 2.0, 3.0, 6.5, 7.5])
    monkeypatch.setattr("brainnet.observation.schedule.perf_counter", lambda: next(times))
    pace = AdaptiveInterval("auto")
    assert pace.due(0)
    assert not pace.due(300)
    for looked in (True, False, False, False, True, False):
        pace.passed(looked=looked, aside=[0.5, 0.5, 9.0] if looked else [])
    assert pace.stride == choose_interval(3.0, 1.0) == 100
    assert [step for step in range(301) if pace.due(step)] == [
        *(0, 1, 2, 5, 10, 20, 50),
        *(100, 200, 300),
    ]


def test_a_first_step_that_took_long_does_not_end_in_a_look_at_every_step(monkeypatch):
    now = 0.0
    monkeypatch.setattr("brainnet.observation.schedule.perf_counter", lambda: now)
    pace, looks = AdaptiveInterval("auto"), []
    for step in range(10_000):
        looked = pace.due(step)
        looks += [step] if looked else []
        now += (0.5 if step == 3 else 0.001) + 0.002 * looked
        pace.passed(looked=looked)
    assert 0.002 * len(looks) <= 0.04 * now
    assert len(looks) > 50
