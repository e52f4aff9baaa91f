import io
import sys
from typing import NamedTuple

import torch
from torch import nn

from brainnet.training.checkpoint_files import copy_state, serialize


class Point(NamedTuple):
    x: torch.Tensor
    y: float


def written(value):
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


def test_types_stay_and_what_a_state_holds_beside_its_values():
    state = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).state_dict()
    same = copy_state(
        {"state": state, "point": Point(torch.ones(2), 1.0), "size": torch.Size([2, 3])}
    )
    assert type(same["state"]) is type(state)
    assert same["state"]._metadata == state._metadata
    assert isinstance(same["point"], Point)
    assert (same["point"].x.tolist(), same["point"].y) == ([1.0, 1.0], 1.0)
    assert same["size"] == torch.Size([2, 3])


def test_nothing_moves_with_what_it_was_copied_from():
    weight = nn.Parameter(torch.zeros(3, 2))
    same = copy_state({"weight": weight, "part": weight.detach()[1:], "turned": weight.detach().T})
    with torch.no_grad():
        weight.fill_(1)
    assert all(not value.any() for value in same.values())
    assert not same["weight"].requires_grad
    same["weight"][1, 0] = 5
    assert same["part"].tolist() == [[5, 0], [0, 0]]
    assert same["turned"].tolist() == [[0, 5, 0], [0, 0, 0]]


def test_what_is_shared_is_written_once_as_of_the_value_itself():
    weight = torch.arange(1000.0).view(20, 50)
    value = {
        "part": weight[3:5],
        "all": weight,
        "tied": weight,
        "turned": weight.T,
        "one": weight[0, 0],
    }
    content, own = written(copy_state(value)), written(value)
    assert abs(len(content) - len(own)) < 200 < weight.nbytes
    found = torch.load(io.BytesIO(content), weights_only=True)
    assert all(torch.equal(found[name], value[name]) for name in value)


def test_memory_that_is_shared_is_counted_once():
    weight = torch.zeros(10, 10)
    one, other = {"a": weight, "b": [weight[:2]]}, {"a": torch.zeros(5)}
    assert serialize([one, one, other]) == 400 + 20


def calls_of(function, code):
    """How often a function is called, by whatever calls it."""
    counted = 0

    def count(frame, event, _):
        nonlocal counted
        counted += event == "call" and frame.f_code is code

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return counted


def test_plain_values_are_copied_by_the_list_and_what_never_changes_not_at_all():
    columns = [{"name": f"c{number}", "shift": 0.5} for number in range(10)]
    learnt = {"columns": columns, "names": [each["name"] for each in columns] * 100}
    value = {"ours": learnt, "theirs": learnt, "rates": [0.1] * 1000, "weight": torch.zeros(2)}
    assert calls_of(lambda: copy_state(value), copy_state.__code__) < 100
    same = copy_state(value, still={id(learnt)})
    assert same["ours"] is same["theirs"] is learnt
    assert calls_of(lambda: copy_state(value, still={id(learnt)}), copy_state.__code__) == 5
    value["rates"][0] = 0.2
    assert same["rates"] == [0.1] * 1000
    assert serialize([same], still={id(learnt)}) == 8


def test_kinds_that_are_more_than_their_numbers_are_copied_too():
    sparse, conjugate = torch.eye(3).to_sparse(), torch.tensor([1 + 2j]).conj()
    same = copy_state([sparse, conjugate])
    assert torch.equal(same[0].to_dense(), torch.eye(3))
    assert same[1].tolist() == [1 - 2j]
    assert serialize([conjugate]) == 8
