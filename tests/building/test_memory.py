"""A network that this machine cannot hold is refused before it is built."""

import pytest

from brainnet.config import components as memory
from brainnet.config.components import amount, check_memory_fits
from brainnet.errors import InputError


def test_weights_and_gradients_are_counted(monkeypatch):
    # (3 + 1) * 5 + (5 + 1) * 2 numbers, twice, of 4 bytes each
    monkeypatch.setattr(memory, "machine_memory", lambda: 256)
    check_memory_fits([3, 5, 2])
    monkeypatch.setattr(memory, "machine_memory", lambda: 255)
    with pytest.raises(
        InputError, match=r"needs 256 bytes of memory .* this machine has 255 bytes"
    ):
        check_memory_fits([3, 5, 2])


def test_embeddings_are_counted(monkeypatch):
    # 12 codes of 6 numbers; the first layer sees 2 inputs and those 6: (8 + 1) * 5 + (5 + 1) * 2
    monkeypatch.setattr(memory, "machine_memory", lambda: 8 * (72 + 57) - 1)
    with pytest.raises(InputError, match="needs 1 kB of memory"):
        check_memory_fits([3, 5, 2], {1: 12})
    check_memory_fits([3, 5, 2])


def test_where_the_system_does_not_tell_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: None)
    check_memory_fits([10**12, 10**12])


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (999_600, "1 MB"),
        (8e9, "8 GB"),
        (64e9, "64 GB"),
        (10**30, "1000000000000 EB"),
    ],
)
def test_an_amount_is_said_as_people_say_it(number, said):
    assert amount(number) == said
