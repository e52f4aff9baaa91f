"""Embeddings equal `nn.Embedding`, with codes given among other inputs."""

import io

import pytest
import torch
from torch import nn

from brainnet.errors import InputError
from brainnet.learning.backpropagation import backpropagate
from brainnet.structure.embedding import Embedding, Embeddings, choose_width
from brainnet.structure.inspection import find_layers
from brainnet.structure.network import Network
from brainnet.training.assembly import describe_network

ROWS = torch.tensor([[0.5, 1.0, -1.0, 4.0], [2.0, 0.0, 3.0, 2.0], [0.0, 2.0, 0.0, 4.0]])
CODES = {1: 3, 3: 5}


def build_tables(embeddings: Embeddings) -> dict[int, nn.Embedding]:
    """Build an `nn.Embedding` with the same weights for each column."""
    return {
        column: nn.Embedding.from_pretrained(
            part.value.detach().t().clone(), freeze=False, padding_idx=0
        )
        for column, part in zip(embeddings.codes, embeddings, strict=True)
    }


def embed_by_hand(embedded: dict[int, nn.Embedding], rows: torch.Tensor) -> torch.Tensor:
    return torch.cat(
        [rows[:, :1], embedded[1](rows[:, 1].long()), rows[:, 2:3], embedded[3](rows[:, 3].long())],
        dim=1,
    )


def test_outputs_and_gradients_equal_nn_embedding() -> None:
    embeddings = Embeddings(4, CODES)
    embedded = build_tables(embeddings)
    actual, reference = embeddings(ROWS), embed_by_hand(embedded, ROWS)
    assert torch.equal(actual, reference)
    assert actual.shape == (3, embeddings.width)
    factors = torch.randn_like(actual)
    (actual * factors).sum().backward()
    (reference * factors).sum().backward()
    for part, table in zip(embeddings, embedded.values(), strict=True):
        assert torch.equal(part.value.grad, table.weight.grad.t())


def test_lookup_equals_product_with_one_hot_input() -> None:
    part = Embedding(codes=5, width=3)
    codes = torch.tensor([4, 0, 1])
    one_hot = nn.functional.one_hot(codes, 5).float()
    assert torch.equal(part(codes.float()), nn.functional.linear(one_hot, part.value))


def test_initial_values_equal_nn_embedding() -> None:
    torch.manual_seed(3)
    table = nn.Embedding(7, 4, padding_idx=0)
    assert torch.equal(
        Embedding(7, 4, generator=torch.Generator().manual_seed(3)).value, table.weight.t()
    )


@pytest.mark.parametrize("code", [0.0, 5.0, -1.0, 1.5, 3.99, float("nan"), float("inf")])
def test_unknown_codes_give_zeros_and_no_gradient(code: float) -> None:
    part = Embedding(codes=5, width=3)
    output = part(torch.tensor([code]))
    assert output.tolist() == [[0.0, 0.0, 0.0]]
    output.sum().backward()
    assert part.value.grad.count_nonzero() == 0


def test_first_layer_receives_embedded_inputs() -> None:
    network = Network([4, 6, 2], embeddings=CODES)
    embedded = embed_by_hand(build_tables(network.embeddings), ROWS)
    expected = network.layers[1](network.layers[0](embedded))
    assert torch.equal(network(ROWS), expected)
    assert network.sizes == (4, 6, 2)
    assert network.layers[0].inputs == embedded.shape[1]


def test_neurons_equal_their_layer_behind_embeddings() -> None:
    network = Network([4, 6, 2], embeddings=CODES)
    first = network.trace(ROWS).layers[len(CODES)]
    layer = network.layers[0]
    alone = torch.stack([layer.neuron(index)(first.inputs) for index in range(6)], dim=1)
    torch.testing.assert_close(alone, layer(first.inputs))


def test_empty_embeddings_change_nothing() -> None:
    plain = Network([4, 6, 2], generator=torch.Generator().manual_seed(1))
    for nothing in (None, {}):
        network = Network([4, 6, 2], embeddings=nothing, generator=torch.Generator().manual_seed(1))
        assert list(network.state_dict()) == list(plain.state_dict())
        assert torch.equal(network(ROWS), plain(ROWS))
        assert str(network) == str(plain)


def test_state_and_description_restore_the_network() -> None:
    network = Network([4, 6, 2], embeddings=CODES)
    description = describe_network(network)["network"]
    assert description["embeddings"] == CODES
    # YAML and JSON store keys as strings.
    words = {str(column): count for column, count in description["embeddings"].items()}
    again = Network([4, 6, 2], embeddings=words)
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    again.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(again(ROWS), network(ROWS))
    assert "embeddings" not in describe_network(Network([4, 6, 2]))["network"]


def test_round_trip_through_torch() -> None:
    network = Network([4, 6, 2], "relu", embeddings=CODES)
    stack = network.to_torch()
    assert torch.equal(stack(ROWS), network(ROWS))
    again = Network.from_torch(stack)
    assert torch.equal(again(ROWS), network(ROWS))
    stack[0].columns["1"].value.data.zero_()
    assert again.embeddings.columns["1"].value.count_nonzero() > 0


def test_each_embedding_is_a_layer() -> None:
    network = Network([4, 6, 2], embeddings=CODES)
    layers = find_layers(network)
    assert [layer.name for layer in layers] == ["embedding_1", "embedding_3", "hidden_1", "output"]
    forward_pass = network.trace(ROWS)
    first = forward_pass.layers[0]
    assert first.output.shape == (3, choose_width(3))
    assert "embedding_1" in str(forward_pass)
    blame = backpropagate(forward_pass.output.square().mean(), forward_pass)
    assert blame.layers[0].weights_gradient.shape == first.info.weights.shape
    assert sum(layer.blame for layer in blame.layers) == pytest.approx(1.0)


def test_works_with_fx_and_function_transforms() -> None:
    network = Network([4, 6, 2], embeddings=CODES)
    assert torch.equal(torch.fx.symbolic_trace(network)(ROWS), network(ROWS))
    jacobian = torch.func.vmap(torch.func.jacrev(network))(ROWS)
    assert jacobian.shape == (3, 2, 4)
    assert jacobian[:, :, [1, 3]].count_nonzero() == 0  # codes have no gradient


def test_meta_device_and_to_empty() -> None:
    network = Network([4, 6, 2], embeddings=CODES, device="meta").to_empty(device="cpu")
    network.reset_parameters(torch.Generator().manual_seed(5))
    expected = Network([4, 6, 2], embeddings=CODES, generator=torch.Generator().manual_seed(5))
    assert torch.equal(network(ROWS), expected(ROWS))


@pytest.mark.parametrize("codes", [{4: 3}, {-1: 3}])
def test_invalid_columns_are_rejected(codes: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="columns between 0 and 3; got"):
        Network([4, 6, 2], embeddings=codes)


def test_invalid_sizes_are_rejected() -> None:
    with pytest.raises(ValueError, match="at least two codes"):
        Embedding(codes=1)
    with pytest.raises(ValueError, match=r"need 4 columns .* shape \(2, 3\)"):
        Network([4, 6, 2], embeddings=CODES)(torch.zeros(2, 3))


def test_codes_must_be_representable() -> None:
    few = Embeddings(2, {0: 200}, dtype=torch.bfloat16)
    assert few(torch.tensor([[199.0, 1.0]], dtype=torch.bfloat16)).dtype == torch.bfloat16
    many = Embeddings(2, {0: 300}, dtype=torch.bfloat16)
    with pytest.raises(
        InputError, match=r"300 codes cannot be represented .* only 256 consecutive"
    ):
        many(torch.zeros(1, 2, dtype=torch.bfloat16))


def test_choose_width_equals_fastai() -> None:
    # fastai's emb_sz_rule: min(600, round(1.6 * n_cat**0.56))
    assert [choose_width(codes) for codes in (2, 10, 1000, 10**6)] == [2, 6, 77, 600]
