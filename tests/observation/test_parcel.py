import pytest
import torch

from brainnet.observation.pending_reading import AsyncTransfer


def test_everything_comes_home_in_its_shape_to_the_last_bit():
    contents = {
        "whole": torch.tensor([[2**62 + 1], [-3]]),
        "number": torch.tensor(0.1, dtype=torch.float64),
        "half": torch.tensor([0.5, 65504.0], dtype=torch.float16),
        "odd": torch.tensor([torch.inf, -torch.inf]),
        "none": torch.zeros(0, 4),
    }
    found = AsyncTransfer(contents).open()
    assert list(found) == list(contents)
    for name, tensor in contents.items():
        assert found[name].shape == tuple(tensor.shape)
        assert found[name].tolist() == tensor.tolist()
    assert AsyncTransfer({}).open() == {}


def test_devices_without_float64_send_their_floats_too(monkeypatch):
    class Narrow(AsyncTransfer):
        def __init__(self, contents):
            super().__init__({})
            self._narrow = True
            self._labels = [(name, each.shape, True) for name, each in contents.items()]
            self._send(torch.cat([self._bits(each, each.device) for each in contents.values()]))

    found = Narrow({"a": torch.tensor([0.25, -3.0]), "b": torch.tensor(7.0)}).open()
    assert found["a"].tolist() == [0.25, -3.0]
    assert found["b"] == 7.0


@pytest.mark.cuda
def test_on_a_gpu_nothing_waits_until_it_is_opened():
    busy = torch.randn(4096, 4096, device="cuda")
    for _ in range(50):
        busy = busy @ busy
    parcel = AsyncTransfer({"last": busy[0, 0] * 0 + 1})
    assert not torch.cuda.current_stream().query()
    assert parcel.open()["last"].shape == ()
