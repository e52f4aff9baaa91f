"""A network that this machine cannot hold is refused before it is built."""

import pytest

from brainnet.cli import memory
from brainnet.cli.main import main
from brainnet.cli.memory import amount, check_memory
from brainnet.errors import InputError


def test_weights_and_gradients_are_counted(monkeypatch):
    # (3 + 1) * 5 + (5 + 1) * 2 numbers, twice, of 4 bytes each
    monkeypatch.setattr(memory, "machine_memory", lambda: 256)
    check_memory([3, 5, 2])
    monkeypatch.setattr(memory, "machine_memory", lambda: 255)
    with pytest.raises(
        InputError, match=r"needs 256 bytes of memory .* this machine has 255 bytes"
    ):
        check_memory([3, 5, 2])


def test_where_the_system_does_not_tell_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: None)
    check_memory([10**12, 10**12])


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


@pytest.mark.parametrize("hidden", ["[9999999999]", "[64,99999999999999999999999]"])
def test_a_network_too_large_for_this_machine(capsys, empty_folder, hidden):
    assert main(["train", f"network.hidden={hidden}"]) == 2
    said = capsys.readouterr().err
    assert "that network needs" in said
    assert "this machine has" in said
    assert not any(empty_folder.iterdir())


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")]
)
def test_memory_that_runs_out_later_is_no_bug(capsys, monkeypatch, error):
    def out_of_memory(*args, **options):
        raise error

    monkeypatch.setattr("brainnet.cli.train.train", out_of_memory)
    assert main(["train", "data=iris"]) == 2
    assert "not enough memory" in capsys.readouterr().err
