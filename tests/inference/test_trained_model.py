"""Tests of loading runs and of predictions by trained models."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from brainnet import load
from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Diabetes, Digits, Iris, Moons
from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.scaling import Scaling
from brainnet.data.table import Table
from brainnet.errors import InputError
from brainnet.inference.evaluate import evaluate
from brainnet.inference.trained_model import TrainedModel
from brainnet.learning.loss import CrossEntropy, MeanSquaredError
from brainnet.structure.network import Network
from brainnet.training.fit import fit
from brainnet.training.run_directory import find_run

SOURCES = {
    "digits": (Digits(), [64, 8, 10]),
    "moons": (Moons(rows=200), [2, 8, 1]),
    "diabetes": (Diabetes(), [10, 4, 1]),
}


def fit_run(folder, network, data, **options):
    options = {"epochs": 2, "observe": "off", "progress": False, **options}
    return fit(network, data, folder=folder / "run", **options)


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    """A run on the irises, made once."""
    options = {"epochs": 20, "learning_rate": 0.03}  # from any first weights three kinds are told
    return fit_run(tmp_path_factory.mktemp("iris"), Network([4, 8, 3]), "iris", **options)


@pytest.fixture(scope="module")
def trained(iris):
    return load(iris.folder)


@pytest.fixture(scope="module")
def rows():
    """The irises as measured, as a DataFrame."""
    data = Iris().load(0)
    return pd.DataFrame(data.inputs.numpy(), columns=list(data.input_names))


@pytest.mark.parametrize("name", SOURCES)
def test_outputs_equal_those_at_the_end_of_training(tmp_path, name):
    source, sizes = SOURCES[name]
    data = DataModule(source)
    raw = DataModule(source).dataset.inputs[data.row_indices("test")]
    result = fit_run(tmp_path, Network(sizes), data)
    at_the_end = result.network(data.take("test")[0]).detach()
    trained = load(result.folder)
    assert torch.equal(trained.compute_outputs(raw), at_the_end)
    frame = pd.DataFrame(raw.double().numpy(), columns=list(data.dataset.input_names))
    assert torch.equal(trained.compute_outputs(frame), at_the_end)
    judged = evaluate(trained, data)
    assert torch.equal(judged.outputs, at_the_end)


def test_rows_of_any_form_give_the_same_outputs(trained, rows):
    expected = trained.compute_outputs(rows)
    forms = [
        rows.to_numpy(),
        np.asfortranarray(rows.to_numpy()),
        torch.tensor(rows.to_numpy()).double(),
        rows.to_numpy().tolist(),
        dict(rows[rows.columns[::-1]]),
        rows.to_dict("records"),
        rows.assign(more="a word").iloc[:, ::-1],
    ]
    for form in forms:
        assert torch.equal(trained.compute_outputs(form), expected)


def test_single_row_as_mapping(trained, rows):
    one = trained.predict(rows.iloc[0].to_dict())
    assert one.shape == (1, 4)
    assert one.iloc[0, 1:].astype(float).tolist() == pytest.approx(
        trained.predict(rows).iloc[0, 1:].tolist(), abs=1e-5
    )


def test_predict_returns_class_names_and_probabilities(trained, rows):
    moved = rows.set_axis(range(1000, 1150))
    found = trained.predict(moved)
    names = [f"probability {name}" for name in ("setosa", "versicolor", "virginica")]
    assert list(found.columns) == ["prediction", *names]
    assert found.index.equals(moved.index)
    shares = trained.compute_outputs(rows).softmax(dim=1)
    assert torch.equal(torch.tensor(found[names].to_numpy()), shares)
    assert torch.equal(trained.compute_probabilities(rows), shares)
    likeliest = found[names].to_numpy().argmax(axis=1)
    assert found["prediction"].tolist() == [trained.class_names[place] for place in likeliest]
    assert len(set(found["prediction"])) == 3


def test_numbers_are_predicted_in_their_own_unit(tmp_path):
    data = Diabetes().load(0)
    trained = load(fit_run(tmp_path, Network([10, 4, 1]), data).folder)
    found = trained.predict(data.inputs)
    assert list(found.columns) == ["prediction"]
    assert trained.compute_probabilities(data.inputs) is None
    learnt = data.targets[DataModule(data).row_indices("train"), 0].double()
    spread, mean = torch.std_mean(learnt, correction=0)
    expected = trained.compute_outputs(data.inputs)[:, 0] * spread + mean
    assert found["prediction"].to_numpy() == pytest.approx(expected.numpy(), rel=1e-5)


def test_several_targets_have_one_column_each(tmp_path):
    inputs = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    result = fit_run(tmp_path, Network([2, 4, 2]), (inputs, torch.cat([inputs, inputs], 1)[:, 1:3]))
    found = load(result.folder).predict(inputs)
    assert list(found.columns) == ["prediction target_0", "prediction target_1"]


def test_binary_task_has_two_probabilities(tmp_path):
    data = Moons(rows=100).load(0)
    trained = load(fit_run(tmp_path, Network([2, 4, 1]), data).folder)
    found = trained.predict(data.inputs)
    both = found.iloc[:, 1:].to_numpy()
    assert both.sum(axis=1) == pytest.approx(1)
    assert (found["prediction"] == trained.class_names[1]).tolist() == (both[:, 1] > 0.5).tolist()


def test_threads_share_a_model(iris):
    data = Iris().load(0)
    trained = load(iris.folder)
    parts = [data.inputs.roll(shift, 0) for shift in range(64)]
    expected = [trained.compute_outputs(part) for part in parts]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(trained.compute_outputs, parts * 4))
    assert all(map(torch.equal, found, expected * 4))
    assert not trained.network.training


def test_no_rows_give_an_empty_frame(trained, rows):
    found = trained.predict(rows[:0])
    assert found.shape == (0, 4)
    assert list(found.columns) == list(trained.predict(rows).columns)


def test_repr(trained):
    assert repr(trained).endswith("best.ckpt: multiclass, 4 inputs, 3 classes)")


def test_float64_weights_are_kept(tmp_path, rows):
    data = DataModule(Iris())
    network = Network([4, 5, 3], dtype=torch.float64)
    result = fit_run(tmp_path, network, data, trainer={"precision": "64-true"})
    trained = load(result.folder)
    assert next(trained.network.parameters()).dtype == torch.float64
    raw = DataModule(Iris()).dataset.inputs[data.row_indices("test")]
    expected = result.network(data.take("test")[0].double()).detach()
    assert torch.equal(trained.compute_outputs(raw), expected)


def test_bfloat16_weights_are_decoded_as_float32(tmp_path, rows):
    result = fit_run(tmp_path, Network([4, 5, 3]), "iris", trainer={"precision": "bf16-true"})
    trained = load(result.folder)
    assert trained.compute_outputs(rows).dtype == torch.bfloat16
    found = trained.predict(rows)
    assert found.iloc[:, 1:].to_numpy().sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"petal length (cm)": [1.0]}, r"lack the columns sepal length \(cm\), sepal width"),
        (pd.DataFrame({"sepal_length (cm)": [1.0]}), r"Did you mean sepal_length \(cm\)\?"),
        ([[1.0, 2.0]], r"must have shape \(rows, 4\).* got \(1, 2\)"),
        ([1.0, 2.0, 3.0, 4.0], r"Put a single row into a list: \[row\]"),
        (torch.zeros(2, 2, 4), r"got \(2, 2, 4\)"),
        ([[1.0, 2.0, 3.0, "tall"]], r"column 'petal width \(cm\)' contains numbers.*'tall'"),
        ([[1.0, 2.0, float("nan"), 4.0]], r"'petal length \(cm\)' is empty in row 1"),
        ([[1.0, 2.0, float("inf"), 4.0]], "finite numbers"),
        ([[1.0], [2.0, 3.0]], "table of 4 columns of the same length"),
    ],
)
def test_invalid_rows_are_rejected(trained, rows, said):
    with pytest.raises(InputError, match=said):
        trained.predict(rows)


def test_load_last_checkpoint_or_file(iris, rows):
    last = load(iris.folder, checkpoint="last")
    assert last.checkpoint.name == "last.ckpt"
    named = load(iris.folder / "checkpoints" / "last.ckpt")
    assert torch.equal(named.compute_outputs(rows), last.compute_outputs(rows))
    assert torch.equal(
        load(find_run(iris.folder)).compute_outputs(rows), load(iris.folder).compute_outputs(rows)
    )
    with pytest.raises(InputError, match="must be best or last; got 'first'"):
        load(iris.folder, checkpoint="first")


def test_custom_network_is_passed_to_load(tmp_path, rows):
    def own():
        return nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.ReLU(), nn.Linear(6, 3))

    result = fit_run(tmp_path, own(), "iris")
    with pytest.raises(InputError, match=r"passed in Python.*load\(RUN, network=\.\.\.\)"):
        load(result.folder)
    trained = load(result.folder, network=own())
    result.network.eval()
    scaled = trained.compute_inputs(rows)
    assert torch.equal(trained.compute_outputs(rows), result.network(scaled).detach())
    with pytest.raises(InputError, match="weights of a different network"):
        load(result.folder, network=nn.Sequential(nn.Linear(4, 3)))


class OwnLoss(nn.Module):
    def forward(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets)


def test_custom_loss_is_passed_to_load(tmp_path, rows):
    result = fit_run(tmp_path, Network([4, 5, 3]), "iris", loss=OwnLoss())
    with pytest.raises(InputError, match=r"OwnLoss is not allowed.*\n.*\n.*BRAINNET_ALLOW="):
        load(result.folder)
    trained = load(result.folder, loss=OwnLoss())
    assert trained.compute_probabilities(rows) is None  # the meaning of its outputs is unknown
    assert list(trained.predict(rows).columns) == ["prediction"]


def test_damaged_or_missing_run_is_rejected(tmp_path, iris):
    with pytest.raises(InputError, match="there is no run"):
        load(tmp_path / "nothing")
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes((iris.folder / "checkpoints" / "best.ckpt").read_bytes()[:2000])
    with pytest.raises(InputError, match="damaged"):
        load(broken)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("config", "network", ["Network"]),
        ("config", "network", {"_target_": "brainnet.structure.network.Network", "outputs": "3"}),
        ("config", "loss", "cross_entropy"),
        ("config", "seed", None),
        ("scaling", "encoder", {"kind": "numbers"}),
        ("scaling", "task", "ranking"),
        ("scaling", "image_shape", 7),
    ],
)
def test_invalid_values_of_a_checkpoint_are_rejected(tmp_path, iris, part, key, value):
    stored = torch.load(iris.folder / "checkpoints" / "best.ckpt", weights_only=True)
    stored["brainnet"][part][key] = value
    torch.save(stored, tmp_path / "edited.ckpt")
    with pytest.raises(InputError, match=r"edited\.ckpt contains an invalid configuration"):
        load(tmp_path / "edited.ckpt")


def test_load_does_not_change_random_state(tmp_path):
    run = fit(Network([4, 3]), "iris", epochs=1, folder=tmp_path / "run", progress=False)
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    load(run.folder)
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("own", [False, True])
def test_network_without_embeddings_is_reported_and_loaded(tmp_path, caplog, own):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"town": [f"town {place % 40}" for place in range(400)]})
    frame["answer"] = random.choice(["yes", "no"], 400)
    frame.to_csv(tmp_path / "towns.csv", index=False)
    network = nn.Sequential(nn.Linear(1, 2)) if own else Network([1, 2])
    data = Table(tmp_path / "towns.csv", "answer")
    run = fit(network, data, epochs=1, folder=tmp_path / "run", progress=False)
    assert "reads the codes as numbers" in caplog.text
    trained = load(run.folder, network=nn.Sequential(nn.Linear(1, 2)) if own else None)
    assert len(trained.predict(frame)) == 400
    caplog.clear()
    fit(Network([1, 2], embeddings={0: 41}), data, epochs=1, folder=tmp_path / "b", progress=False)
    assert "reads the codes as numbers" not in caplog.text


def test_rows_with_overflow_have_no_prediction(tmp_path, caplog):
    network = Network([4, 8, 3], activation="relu")
    trained = load(fit_run(tmp_path, network, "iris").folder)
    found = trained.predict([[5.1, 3.5, 1.4, 0.2], [3e38, -3e38, 3e38, 3e38]])
    assert found["prediction"].isna().tolist() == [False, True]
    assert "1 of 2 rows have no prediction" in caplog.text


NONE = Scaling("none", (0.0,), (1.0,))


def build_task(encoder, **changes):
    """The prediction task of a model of cats and dogs with this encoder."""
    values = {
        "run": None,
        "checkpoint": Path("best.ckpt"),
        "config": {},
        "network": nn.Identity(),
        "loss": CrossEntropy(),
        "task": "multiclass",
        "class_names": ("cat", "dog"),
        "target_names": (),
        "encoder": encoder,
        "scaling": NONE,
        "target_scaling": NONE,
    }
    return TrainedModel(**values | changes).build_prediction_task()


def test_embedded_categories_are_named_by_position():
    towns = tuple(f"town {number}" for number in range(40))
    colours = ColumnEncoder("colour", "category", ("blue", "red"))
    task = build_task(TableEncoder((colours, ColumnEncoder("town", "category", towns))))
    assert task.names.inputs == ("colour=blue", "colour=red", "town")
    assert dict(task.names.categories) == {2: towns}


def test_pixels_have_short_names():
    names = build_task(ImageEncoder(2, 2)).names.inputs
    assert names == ("pixel 0,0", "pixel 0,1", "pixel 1,0", "pixel 1,1")


@pytest.mark.parametrize(
    ("kind", "shape", "baseline"),
    [
        ("standard", (2, 2), "an average row"),
        ("minmax", (2, 2), "an empty image"),
        ("minmax", None, "a row of the smallest values"),
        ("none", None, "a row of zeros"),
    ],
)
def test_baseline_depends_on_the_scaling(kind, shape, baseline):
    scaling = Scaling(kind, (0.0, 0.0), (1.0, 1.0))
    encoder = TableEncoder.from_names(["a", "b"])
    task = build_task(encoder, scaling=scaling, image_shape=shape)
    assert task.baseline == baseline


def test_only_numbers_have_a_target_scaling():
    assert build_task(TableEncoder.from_names(["a"])).target_scaling is None
    numbers = build_task(
        TableEncoder.from_names(["a"]),
        task="regression",
        loss=MeanSquaredError(),
        class_names=(),
        target_names=("price",),
        target_scaling=Scaling("standard", (5.0,), (2.0,)),
    )
    assert numbers.names.outputs == ("price",)
    assert numbers.target_scaling == Scaling("standard", (5.0,), (2.0,))
