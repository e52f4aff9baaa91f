import pytest
import torch
from torch import nn

from brainnet.data.datamodule import DataModule
from brainnet.errors import InputError
from brainnet.learning.loss import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from brainnet.structure.network import Network
from brainnet.training.assembly import check_sizes


@pytest.fixture(scope="module")
def iris():
    return DataModule("iris")


def test_what_fits_passes(iris):
    check_sizes(Network([4, 3]), iris, CrossEntropy())
    check_sizes(nn.Sequential(nn.Linear(4, 3)), iris, CrossEntropy())
    check_sizes(nn.Sequential(nn.Linear(4, 3)), iris, nn.CrossEntropyLoss())
    check_sizes(nn.Linear(4, 3, dtype=torch.float64), iris, CrossEntropy())


@pytest.mark.parametrize(
    ("network", "loss", "message"),
    [
        (
            Network([5, 3]),
            CrossEntropy(),
            r"expects 5 inputs; got 4 \(data: iris\)\. Set network\.inputs=4",
        ),
        (Network([4, 2]), CrossEntropy(), r"iris \(3 classes\) needs 3 outputs.*has 2.*outputs=3"),
        (nn.Linear(4, 2), CrossEntropy(), "needs 3 outputs; the network has 2"),
        (nn.Linear(5, 3), CrossEntropy(), "cannot read rows of 4 inputs"),
        (nn.Flatten(0), CrossEntropy(), "has no weights"),
        (nn.Sequential(nn.Linear(4, 3), nn.Flatten(0)), CrossEntropy(), "must answer with"),
        (nn.Linear(4, 3, device="meta"), CrossEntropy(), "meta device"),
        (Network([4, 1]), BinaryCrossEntropy(), "is for binary tasks; iris is a multiclass task"),
        (Network([4, 1]), MeanSquaredError(), "is for regression tasks"),
    ],
)
def test_what_does_not_fit_is_said_in_words(iris, network, loss, message):
    with pytest.raises(InputError, match=message):
        check_sizes(network, iris, loss)


class Odd(nn.Module):
    """Has sizes of its own meaning, or fails in its own way."""

    def __init__(self, failure=None):
        super().__init__()
        self.sizes = "odd"
        self.layer = nn.Linear(4, 3)
        self.failure = failure

    def forward(self, inputs):
        if self.failure is not None:
            raise self.failure
        return self.layer(inputs)


def test_sizes_of_another_meaning_are_not_asked(iris):
    check_sizes(Odd(), iris, CrossEntropy())


@pytest.mark.parametrize("failure", [IndexError("dimension 2"), AttributeError("no such part")])
def test_whatever_a_network_raises_is_said_in_words(iris, failure):
    with pytest.raises(InputError, match=f"{type(failure).__name__}: {failure}"):
        check_sizes(Odd(failure), iris, CrossEntropy())


def test_a_loss_that_is_no_mean_is_refused(iris):
    with pytest.raises(InputError, match="CrossEntropyLoss has reduction='sum'"):
        check_sizes(nn.Linear(4, 3), iris, nn.CrossEntropyLoss(reduction="sum"))


def test_a_loss_that_would_fit_is_named_as_it_is_typed():
    moons = DataModule("moons")
    with pytest.raises(InputError, match=r'outputs=1 .* loss=cross_entropy .*loss="cross_entropy"'):
        check_sizes(Network([2, 2]), moons, BinaryCrossEntropy())


def test_a_module_of_the_users_is_never_sent_to_a_key_that_it_does_not_have(iris):
    moons = DataModule("moons")
    with pytest.raises(
        InputError, match=r"needs 1 output; the network has 2\. Choose loss"
    ) as said:
        check_sizes(nn.Linear(2, 2), moons, BinaryCrossEntropy())
    assert "network.outputs" not in str(said.value)
    with pytest.raises(InputError, match=r"the network has 2\. Give the Linear 3 outputs\.$"):
        check_sizes(nn.Linear(4, 2), iris, CrossEntropy())
    check_sizes(Network([2, 2]), moons, CrossEntropy())


def test_asking_leaves_the_network_as_it_was(iris):
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    state = torch.get_rng_state()
    check_sizes(network, iris, CrossEntropy())
    assert network.training
    assert network[1].num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), state)
