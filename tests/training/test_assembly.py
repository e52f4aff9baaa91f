import pytest
import torch
import yaml
from torch import nn

from brainnet.config.instantiate import TargetAllowList
from brainnet.config.network import build_network
from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Spirals
from brainnet.errors import InputError
from brainnet.learning.gradient_descent import OPTIMIZERS, GradientDescent
from brainnet.learning.learning_rate import SCHEDULES
from brainnet.learning.loss import (
    DEFAULT_LOSS,
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    MeanSquaredError,
)
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import ACTIVATIONS
from brainnet.structure.network import Network
from brainnet.training.assembly import (
    check_sizes,
    check_trainable,
    choose_loss,
    choose_optimizer,
    choose_schedule,
    compute_network_sizes,
    count_outputs,
    describe_data,
    describe_module,
    describe_network,
)
from brainnet.training.run_directory import to_plain


@pytest.mark.parametrize("task", DEFAULT_LOSS)
def test_auto_is_the_default_loss_of_the_task(task):
    assert task in choose_loss(task).tasks


@pytest.mark.parametrize(("outputs", "loss"), [(1, BinaryCrossEntropy), (2, CrossEntropy)])
def test_auto_depends_on_the_count_outputs_two_classes(outputs, loss):
    assert type(choose_loss("binary", outputs=outputs)) is loss


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_chosen_by_name(name):
    assert type(choose_loss("regression", name)) is LOSSES[name]


def test_a_loss_module_is_returned_unchanged():
    own = Huber(2.0)
    assert choose_loss("regression", own) is own


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_chosen_by_name(name):
    made = choose_optimizer(name, 0.25)([torch.nn.Parameter(torch.ones(1))])
    assert type(made) is OPTIMIZERS[name]
    assert made.param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_covers_the_whole_run(name):
    descent = GradientDescent([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    factory = choose_schedule(name)
    if name == "constant":
        assert factory is None
        return
    schedule = factory(descent, 30)
    rates = []
    for _ in range(30):
        rates.append(descent.param_groups[0]["lr"])
        descent.step()
        schedule.step()
    assert type(schedule) is SCHEDULES[name]
    assert rates[-1] < 0.05 < max(rates) <= 1.0


@pytest.fixture(scope="module")
def iris():
    return DataModule("iris")


def test_matching_sizes_pass(iris):
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
        (nn.Linear(5, 3), CrossEntropy(), "cannot process rows of 4 inputs"),
        (nn.Flatten(0), CrossEntropy(), "has no weights"),
        (nn.Sequential(nn.Linear(4, 3), nn.Flatten(0)), CrossEntropy(), "must return a"),
        (nn.Linear(4, 3, device="meta"), CrossEntropy(), "meta device"),
        (Network([4, 1]), BinaryCrossEntropy(), "is for binary tasks; iris is a multiclass task"),
        (Network([4, 1]), MeanSquaredError(), "is for regression tasks"),
    ],
)
def test_mismatches_are_rejected(iris, network, loss, message):
    with pytest.raises(InputError, match=message):
        check_sizes(network, iris, loss)


class UserNetwork(nn.Module):
    """Has an unrelated attribute `sizes`, and optionally raises."""

    def __init__(self, error=None):
        super().__init__()
        self.sizes = "odd"
        self.layer = nn.Linear(4, 3)
        self.error = error

    def forward(self, inputs):
        if self.error is not None:
            raise self.error
        return self.layer(inputs)


def test_a_foreign_sizes_attribute_is_ignored(iris):
    check_sizes(UserNetwork(), iris, CrossEntropy())


@pytest.mark.parametrize("error", [IndexError("dimension 2"), AttributeError("no such part")])
def test_errors_of_the_network_become_input_errors(iris, error):
    with pytest.raises(InputError, match=f"{type(error).__name__}: {error}"):
        check_sizes(UserNetwork(error), iris, CrossEntropy())


def test_a_sum_reduction_is_rejected(iris):
    with pytest.raises(InputError, match="CrossEntropyLoss has reduction='sum'"):
        check_sizes(nn.Linear(4, 3), iris, nn.CrossEntropyLoss(reduction="sum"))


def test_the_message_names_the_key_of_the_network():
    moons = DataModule("moons")
    with pytest.raises(InputError, match=r"Set network\.outputs=1, or give the network 1 output"):
        check_sizes(Network([2, 2]), moons, BinaryCrossEntropy())
    check_sizes(Network([2, 2]), moons, CrossEntropy())


def test_the_message_for_user_modules_names_no_network_key(iris):
    with pytest.raises(InputError, match=r"has 2\. Give the network 3 outputs, or .*loss=auto"):
        check_sizes(nn.Linear(4, 2), iris, CrossEntropy())


def test_measuring_outputs_does_not_change_the_network(iris):
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    state = torch.get_rng_state()
    check_sizes(network, iris, CrossEntropy())
    assert network.training
    assert network[1].num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_data_description_has_every_split_option():
    data = DataModule(Spirals(rows=300), batch_size=8, normalize="minmax", validation=0.1, test=0.2)
    config = describe_data(data)
    assert config["_target_"] == "brainnet.data.datasets.Spirals"
    assert (config["rows"], config["batch_size"], config["normalize"]) == (300, 8, "minmax")
    assert (config["validation"], config["test"], config["normalize_targets"]) == (0.1, 0.2, True)


def test_a_data_name_is_described_as_its_class():
    assert describe_data(DataModule("iris"))["_target_"] == "brainnet.data.datasets.Iris"


def test_arrays_are_named_but_not_stored():
    config = describe_data(DataModule(([[0.0], [1.0], [2.0]] * 9, [0.5, 1.5, 2.5] * 9)))
    assert (config["_target_"], config["name"]) == (None, "arrays")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_can_be_rebuilt_from_its_description(name):
    kind = ACTIVATIONS[name]
    config = describe_module(kind())
    assert config.pop("_target_") == f"{kind.__module__}.{kind.__qualname__}"
    assert repr(kind(**config)) == repr(kind())


def test_module_arguments_are_described():
    ramp = ThresholdRamp(0.5, 2.0, 0.01, learn_width=True)
    config = describe_module(ramp)
    assert config["threshold"] == 0.5
    assert config["width"] == 2.0
    assert config["leak"] == 0.01
    assert config["learn_width"] is True
    assert describe_module(CrossEntropy(0.1))["label_smoothing"] == 0.1


def test_a_network_is_described_by_its_sizes():
    config = describe_network(Network([3, 5, 2], "relu", bias=False))
    assert config["network"] == {
        "_target_": "brainnet.structure.network.Network",
        "hidden": [5],
        "inputs": 3,
        "outputs": 2,
        "bias": False,
    }
    assert config["activation"] == {"_target_": "torch.nn.modules.activation.ReLU"}


def test_a_user_network_is_described_by_its_class():
    config = describe_network(nn.Sequential(nn.Linear(2, 1)))
    assert config["network"]["_target_"] == "torch.nn.modules.container.Sequential"


def test_a_network_with_embeddings_can_be_rebuilt():
    network = Network([4, 6, 2], ThresholdRamp(0.25), embeddings={1: 3, 3: 50})
    config = yaml.safe_load(yaml.safe_dump(to_plain({"seed": 0, **describe_network(network)})))
    again = build_network(config, TargetAllowList(), inputs=4, outputs=2)
    again.load_state_dict(network.state_dict())
    rows = torch.tensor([[0.5, 2.0, -1.0, 49.0], [0.0, 0.0, 1.0, 7.0]])
    assert torch.equal(again(rows), network(rows))


def test_network_sizes_follow_from_loss_and_data(iris):
    moons = DataModule("moons")
    assert compute_network_sizes(CrossEntropy(), iris) == {"inputs": 4, "outputs": 3}
    assert compute_network_sizes(BinaryCrossEntropy(), moons) == {"inputs": 2, "outputs": 1}
    assert compute_network_sizes(nn.CrossEntropyLoss(), iris) == {"inputs": 4, "outputs": 3}
    assert count_outputs(nn.CrossEntropyLoss(), iris) is None
    with pytest.raises(InputError, match="got 3"):
        count_outputs(BinaryCrossEntropy(), iris)


def test_a_frozen_network_is_rejected(iris):
    with pytest.raises(InputError, match="all weights of the network are frozen"):
        check_trainable(Network([4, 3]).requires_grad_(False), iris)
