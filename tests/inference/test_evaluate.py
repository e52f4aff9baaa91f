"""Tests of evaluation on test rows and on other data."""

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet import fit, load
from brainnet.data.datamodule import DataModule
from brainnet.data.dataset import Dataset
from brainnet.data.datasets import Diabetes, Moons
from brainnet.data.image_files import ImageEncoder
from brainnet.data.table import Table
from brainnet.data.table_files import open_table
from brainnet.errors import InputError
from brainnet.inference.evaluate import evaluate, evaluate_images, evaluate_table_file
from brainnet.structure.network import Network


@pytest.fixture
def moons():
    return DataModule(Moons(rows=100), batch_size=10)


@pytest.fixture
def start(tmp_path):
    """Start a short run, by default of `Network([2, 8, 1])` on the moons."""

    def run(network=None, data=None, *, epochs=2, precision="32-true"):
        return fit(
            network or Network([2, 8, 1], generator=torch.Generator().manual_seed(0)),
            data or DataModule(Moons(rows=100), batch_size=10),
            learning_rate=0.01,
            epochs=epochs,
            folder=tmp_path / "run",
            trainer={"precision": precision},
            observe="off",
            progress=False,
        )

    return run


def test_evaluation_equals_the_test_of_the_run(start, moons):
    result = start()
    found = evaluate(load(result.folder), moons)
    tests = {tag: value for tag, value in result.metrics.items() if tag.endswith("/test")}
    assert found.metrics == pytest.approx(tests)
    assert torch.equal(found.confusion, result.confusion)
    assert found.checkpoint == result.folder / "checkpoints" / "best.ckpt"
    right = (found.predictions == found.targets).double().mean().item()
    assert found.metrics["accuracy/test"] == pytest.approx(right)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("64-true", torch.float64), ("bf16-true", torch.bfloat16)]
)
def test_evaluation_uses_the_dtype_of_training(start, precision, dtype):
    data = DataModule(Diabetes())
    result = start(Network([10, 1]), data, epochs=10, precision=precision)
    found = evaluate(load(result.folder), data)
    assert found.outputs.dtype == dtype
    assert found.metrics["r2/test"] == pytest.approx(result.metrics["r2/test"], rel=1e-5)


def test_other_data_are_scaled_as_in_the_run(start, moons):
    result = start()
    other = DataModule(Moons(rows=400, noise=0.3), seed=9)
    found = evaluate(load(result.folder), other)
    assert other.scaling == moons.scaling
    outputs = result.network(moons.scaling.apply(other.dataset.inputs[other._split.test]))
    assert torch.equal(found.outputs, outputs)


def test_regression_is_evaluated_by_r2(start):
    data = DataModule(Diabetes())
    result = start(Network([10, 1]), data, epochs=10)
    found = evaluate(load(result.folder), data)
    assert found.confusion is None
    assert found.metrics == pytest.approx(
        {tag: result.metrics[tag] for tag in ("loss/test", "r2/test")}
    )


def test_other_number_of_inputs_is_rejected(start):
    trained = load(start().folder)
    with pytest.raises(InputError, match="trained on data with 2 inputs; breast_cancer has 30"):
        evaluate(trained, DataModule("breast_cancer"))


def test_mean_absolute_error_is_in_the_unit_of_the_target(tmp_path):
    data = DataModule("diabetes")
    result = fit(Network([10, 1]), data, folder=tmp_path / "run", epochs=2, progress=False)
    trained = load(result.folder)
    found = evaluate(trained, data)
    rows, measured = data.row_indices("test"), Diabetes().load(0)  # of the module's own are scaled
    said = trained.predict(measured.inputs[rows])["prediction"]
    right = measured.targets[rows, 0].numpy()
    assert list(found.errors) == list(data.dataset.target_names)
    assert next(iter(found.errors.values())) == pytest.approx(abs(said - right).mean(), rel=1e-4)


def fruit(rows, seed):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"size": random.normal(50, 10, rows).round(1)})
    frame["colour"] = random.choice(["red", "green", "blue"], rows)
    frame["fruit"] = np.where(
        frame["size"] > 52, "apple", np.where(frame["colour"] == "blue", "plum", "kiwi")
    )
    frame["price"] = frame["size"] / 10 + (frame["colour"] == "red")
    return frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fruit")
    fruit(300, 0).to_csv(folder / "fruit.csv", index=False)
    return folder


def build_network(*sizes):
    return Network(sizes, generator=torch.Generator().manual_seed(0))


def train_on(folder, target, drop, network):
    data = Table(folder / "fruit.csv", target, drop=drop)
    run = fit(network, data, epochs=20, folder=folder / target, observe="off", progress=False)
    return load(run.folder)


@pytest.fixture(scope="module")
def classes(folder):
    return train_on(folder, "fruit", "price", build_network(4, 8, 3))


def evaluate_frame(trained, tmp_path, frame, target, **options):
    frame.to_csv(tmp_path / "other.csv", index=False)
    return evaluate_table_file(trained, open_table(tmp_path / "other.csv"), [target], **options)


def test_all_rows_are_evaluated_with_classes_by_name(classes, tmp_path):
    other = fruit(100, 1).sort_values("fruit", ascending=False)[["fruit", "colour", "size"]]
    found = evaluate_frame(classes, tmp_path, other, "fruit")
    right = (classes.predict(other)["prediction"].to_numpy() == other["fruit"].to_numpy()).mean()
    assert right > 0.7
    assert found.metrics["accuracy/test"] == pytest.approx(right)
    assert torch.equal(found.outputs, classes.compute_outputs(other))
    counted = other["fruit"].value_counts().reindex(classes.class_names).tolist()
    assert found.confusion.sum(dim=1).tolist() == counted


def test_class_without_rows(classes, tmp_path):
    other = fruit(100, 1).query("fruit != 'kiwi'")
    found = evaluate_frame(classes, tmp_path, other, "fruit")
    assert found.confusion[classes.class_names.index("kiwi")].sum() == 0
    assert len(found.targets) == len(other)


def test_numbers_are_evaluated_on_the_scale_of_the_run(folder, tmp_path):
    trained = train_on(folder, "price", "fruit", build_network(4, 8, 1))
    other = fruit(80, 2)
    found = evaluate_frame(trained, tmp_path, other, "price")
    answers = trained.predict(other)["prediction"].to_numpy()
    spread = ((other["price"] - other["price"].mean()) ** 2).sum()
    assert found.metrics["r2/test"] == pytest.approx(
        1 - ((answers - other["price"]) ** 2).sum() / spread, abs=1e-4
    )
    assert found.confusion is None


def test_rows_with_empty_cells_are_rejected_or_dropped(classes, tmp_path):
    other = fruit(50, 3)
    other.loc[4, "size"] = None
    with pytest.raises(InputError, match="'size' has empty cells: row 5"):
        evaluate_frame(classes, tmp_path, other, "fruit")
    assert len(evaluate_frame(classes, tmp_path, other, "fruit", missing="drop").targets) == 49


def test_rows_without_category_are_dropped_on_request(classes, tmp_path):
    other = fruit(50, 3)
    other.loc[[4, 9], "colour"] = None
    assert len(evaluate_frame(classes, tmp_path, other, "fruit", missing="drop").targets) == 48
    assert len(evaluate_frame(classes, tmp_path, other, "fruit").targets) == 50  # a word never seen


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.replace("plum", "banana"), r"the classes apple, .*'banana'.*no others"),
        (lambda rows: rows.drop(columns="fruit"), "no column 'fruit'"),
        (lambda rows: rows.drop(columns="size"), "there is no column 'size'"),
        (lambda rows: rows.assign(fruit=None), "column 'fruit' has empty cells"),
    ],
    ids=["class", "target", "column", "empty"],
)
def test_invalid_rows_are_rejected(classes, tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        evaluate_frame(classes, tmp_path, change(fruit(50, 3)), "fruit")


def build_images(names, shades):
    labels = torch.arange(len(names)).repeat(20)
    inputs = torch.tensor([shades[label] for label in labels], dtype=torch.uint8)
    inputs = inputs.unsqueeze(1).repeat(1, 4)
    pixels = ImageEncoder(2, 2)
    return Dataset(
        "build_images", "binary", inputs, labels, pixels.names, names, (2, 2), encoder=pixels
    )


def test_images_are_evaluated_with_classes_by_name(tmp_path):
    torch.manual_seed(0)
    data = build_images(("dark", "light"), (20, 220))
    options = {"epochs": 30, "learning_rate": 0.05, "progress": False}
    run = fit(Network([4, 4, 1]), data, folder=tmp_path / "run", **options)
    trained = load(run.folder)
    swapped = evaluate_images(trained, build_images(("light", "dark"), (210, 30)))
    assert swapped.metrics["accuracy/test"] == 1.0
    assert swapped.targets.tolist() == [1, 0] * 20
    with pytest.raises(InputError, match=r"the classes black, .* it has dark, light"):
        evaluate_images(trained, build_images(("black", "light"), (20, 220)))
