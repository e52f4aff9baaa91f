"""Memory that does not suffice is told as wrong input, before anything is written."""

import pytest

from brainnet.cli.main import main


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
