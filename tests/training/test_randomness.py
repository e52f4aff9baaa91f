import random

import numpy as np
import torch

from brainnet.training.checkpoint import fork_random_state, get_random_state, set_random_state


def draw():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(()).item()


def test_the_same_seed_draws_the_same():
    with fork_random_state(3):
        first = draw()
    with fork_random_state(3):
        assert draw() == first
    with fork_random_state(4):
        assert draw() != first


def test_what_others_draw_is_not_disturbed():
    torch.manual_seed(0)
    state = get_random_state()
    undisturbed = draw()
    set_random_state(state)
    with fork_random_state(3):
        draw()
    assert draw() == undisturbed


def test_state_survives_a_checkpoint(tmp_path):
    np.random.randn()  # leaves a second normal number cached
    torch.save(get_random_state(), tmp_path / "state.pt")
    expected = draw()
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == expected
