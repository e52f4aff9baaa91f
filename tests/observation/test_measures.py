import torch
from torch import nn

from brainnet.observation.capabilities import along, compute_norm, is_readable, side_by_side


def test_whole_numbers_and_shards_cannot_be_read():
    assert not is_readable(torch.zeros(3, dtype=torch.int8))
    assert not is_readable(torch.zeros(3, device="meta"))
    assert not is_readable(nn.LazyLinear(2).weight)
    assert is_readable(torch.zeros(3, dtype=torch.bfloat16))


def test_half_types_are_measured_in_float32_and_wide_ones_as_they_are():
    way = torch.full((300, 300), 1.0, dtype=torch.bfloat16)
    assert compute_norm(way).item() == 300.0
    assert along(way, way).item() == 90000.0
    assert compute_norm(way.double()).dtype == along(way, way.double()).dtype == torch.float64


def test_a_way_goes_along_a_sparse_gradient_where_that_is_stored():
    gradient = torch.sparse_coo_tensor([[1]], [[2.0, 3.0]], (3, 2), check_invariants=True)
    assert along(gradient, torch.tensor([[9.0, 9.0], [1.0, 10.0], [9.0, 9.0]])).item() == 32.0


def test_numbers_of_several_kinds_stand_side_by_side_without_loss():
    exact = torch.tensor(1 + 2**-50, dtype=torch.float64)
    found = side_by_side([torch.tensor(0.5), exact])
    assert found.tolist() == [0.5, exact.item()]
