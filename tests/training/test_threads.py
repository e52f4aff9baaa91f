import pytest
import torch
from torch import nn

from brainnet.structure.network import Network
from brainnet.training.trainer import limit_threads, reserve_thread

CPU = torch.device("cpu")


@pytest.fixture
def _three_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_three_threads")
@pytest.mark.parametrize(
    ("network", "batch_size", "device", "threads"),
    [
        (Network([64, 64, 32, 10]), 32, CPU, 1),
        (Network([64, 64, 32, 10]), 4096, CPU, 3),
        (nn.Linear(1000, 1000, device="meta"), 32, CPU, 3),
        (Network([64, 64, 32, 10]), 32, torch.device("cuda"), 3),
    ],
)
def test_only_what_is_tiny_is_computed_by_one(network, batch_size, device, threads):
    with limit_threads(network, batch_size, device):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("_three_threads")
def test_a_number_that_was_chosen_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with limit_threads(Network([2, 1]), 1, CPU):
        assert torch.get_num_threads() == 3


def test_a_thread_is_left_to_reading_and_writing(monkeypatch):
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    before = torch.get_num_threads()
    try:
        for threads, left in ((1, 1), (2, 1), (4, 3)):
            torch.set_num_threads(threads)
            with reserve_thread():
                assert torch.get_num_threads() == left
            assert torch.get_num_threads() == threads
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
        with reserve_thread():
            assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
