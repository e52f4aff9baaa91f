"""Neighbours: the same as by comparing with every row, however the rows are cut."""

import pytest
import torch

from brainnet.explanation.row_explanation import find_nearest_rows


def rows():
    return torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("piece", [1, 3, 7, 50])
def test_the_nearest_are_those_of_a_search_through_all(piece):
    table, row = rows(), torch.ones(4)
    numbers = torch.randperm(50, generator=torch.Generator().manual_seed(1)) + 100
    found = find_nearest_rows(
        row, zip(numbers.split(piece), table.split(piece), strict=True), count=4
    )
    apart = (table.double() - row.double()).square().sum(dim=1).sqrt()
    order = apart.argsort()[:4]
    assert [number for number, _ in found] == numbers[order].tolist()
    assert [distance for _, distance in found] == pytest.approx(apart[order].tolist())


def test_the_row_itself_is_left_out_where_it_is_named():
    table = rows()
    numbers = torch.arange(50)
    assert find_nearest_rows(table[8], [(numbers, table)])[0] == (8, 0.0)
    assert 8 not in [
        number for number, _ in find_nearest_rows(table[8], [(numbers, table)], without=8)
    ]


def test_codes_differ_or_they_do_not():
    table = torch.tensor([[0.0, 40.0], [0.0, 2.0], [0.5, 1.0]])
    found = find_nearest_rows(torch.tensor([0.0, 1.0]), [(torch.arange(3), table)], codes=[1])
    assert found == [(2, 0.5), (0, 1.0), (1, 1.0)]


def test_fewer_rows_than_asked_for_are_all_told():
    assert len(find_nearest_rows(torch.zeros(4), [(torch.arange(3), rows()[:3])])) == 3
