import pytest

from brainnet.errors import InputError
from brainnet.observation.schedule import (
    AdaptiveInterval,
    check_interval,
    choose_interval,
    is_due,
    is_round_step,
)


def test_steps_are_due_at_round_numbers_then_at_each_interval():
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


def test_every_step_is_due_at_an_interval_of_one():
    assert all(is_due(step, 1) for step in range(100))


def test_round_steps_are_one_two_and_five_times_powers_of_ten():
    assert [n for n in range(2001) if is_round_step(n)] == [
        *(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
    ]


@pytest.mark.parametrize("every", [0, -1, 2.5, True, "often", None])
def test_invalid_intervals_are_rejected_with_a_valid_example(every):
    with pytest.raises(InputError, match=r"observe\.every=50"):
        check_interval(every, "observe.every")


@pytest.mark.parametrize(("look", "step"), [(3e-3, 2e-4), (0.05, 0.02), (1e-6, 1.0), (1.0, 0.03)])
def test_chosen_interval_is_the_smallest_within_the_budget(look, step):
    stride = choose_interval(look, step, budget=0.03)
    assert is_round_step(stride)
    assert look / (stride * step) <= 0.03
    shorter = max((n for n in range(1, stride) if is_round_step(n)), default=None)
    assert shorter is None or look / (shorter * step) > 0.03


def test_a_fixed_interval_stays():
    interval = AdaptiveInterval(7)
    interval.background_seconds.append(100.0)
    assert [step for step in range(30) if interval.is_due(step)] == [0, 1, 2, 5, 7, 14, 21, 28]
    assert interval.interval == 7


def test_the_automatic_interval_follows_the_measured_cost(monkeypatch):
    now = 0.0
    monkeypatch.setattr("brainnet.observation.schedule.perf_counter", lambda: now)
    interval, due = AdaptiveInterval("auto"), []
    interval.background_seconds.extend([0.5, 0.5, 9.0])
    for step in range(301):
        is_observed = interval.is_due(step)
        assert interval.is_due(step) == is_observed  # asking again changes nothing
        due += [step] if is_observed else []
        now += 3.5 if is_observed else 1.0
    assert interval.interval == choose_interval(3.0, 1.0) == 100
    assert due == [0, 1, 2, 5, 10, 20, 50, 100, 200, 300]


def test_one_slow_step_does_not_make_every_step_observed(monkeypatch):
    now = 0.0
    monkeypatch.setattr("brainnet.observation.schedule.perf_counter", lambda: now)
    interval, observed_steps = AdaptiveInterval("auto"), []
    for step in range(10_000):
        observed = interval.is_due(step)
        observed_steps += [step] if observed else []
        now += (0.5 if step == 3 else 0.001) + 0.002 * observed
    assert 0.002 * len(observed_steps) <= 0.04 * now
    assert len(observed_steps) > 50
