"""Predictions: decoded outputs, probabilities, and outputs in batches."""

import pytest
import torch
from torch import nn

from brainnet.learning.loss import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from brainnet.learning.predictions import (
    BATCH_ROWS,
    compute_outputs,
    compute_probabilities,
    decode_predictions,
)
from brainnet.structure.network import Network

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 3.0]])
YES = torch.tensor([[2.0], [-1.0]])


@pytest.mark.parametrize(
    ("outputs", "loss", "task", "expected"),
    [
        (LOGITS, CrossEntropy(), "multiclass", [0, 2]),
        (LOGITS, nn.CrossEntropyLoss(), "multiclass", [0, 2]),
        (YES, BinaryCrossEntropy(), "binary", [1, 0]),
        (YES, nn.BCEWithLogitsLoss(), "binary", [1, 0]),
        (LOGITS, MeanSquaredError(), "regression", LOGITS.tolist()),
        (LOGITS, nn.L1Loss(), "regression", LOGITS.tolist()),
    ],
)
def test_decoded_predictions(outputs, loss, task, expected):
    assert decode_predictions(outputs, loss, task).tolist() == expected


@pytest.mark.parametrize(
    ("outputs", "loss", "task", "expected"),
    [
        (LOGITS, CrossEntropy(), "multiclass", LOGITS.softmax(1)),
        (LOGITS, nn.CrossEntropyLoss(), "multiclass", LOGITS.softmax(1)),
        (LOGITS.log_softmax(1), nn.NLLLoss(), "multiclass", LOGITS.softmax(1)),
        (YES, BinaryCrossEntropy(), "binary", torch.cat([1 - YES.sigmoid(), YES.sigmoid()], 1)),
        (YES, nn.BCEWithLogitsLoss(), "binary", torch.cat([1 - YES.sigmoid(), YES.sigmoid()], 1)),
    ],
)
def test_probabilities(outputs, loss, task, expected):
    probabilities = compute_probabilities(outputs, loss, task)
    assert torch.allclose(probabilities, expected)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("loss", "task"),
    [
        (nn.MultiMarginLoss(), "multiclass"),
        (MeanSquaredError(), "regression"),
        (nn.MSELoss(), "regression"),
    ],
)
def test_unknown_losses_have_no_probabilities(loss, task):
    assert compute_probabilities(LOGITS, loss, task) is None


def test_outputs_do_not_depend_on_batches_and_threads():
    random = torch.Generator().manual_seed(0)
    network = Network([10, 50, 7, 2], generator=random).eval()
    inputs = torch.randn(2 * BATCH_ROWS + 100, 10, generator=random)
    outputs = compute_outputs(network, inputs)
    assert not outputs.requires_grad
    parts = [compute_outputs(network, part) for part in inputs.split(BATCH_ROWS)]
    assert torch.equal(outputs, torch.cat(parts))
    columns_first = inputs.T.contiguous().T
    assert torch.equal(compute_outputs(network, columns_first), outputs)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(compute_outputs(network, inputs), outputs)
    finally:
        torch.set_num_threads(before)
