"""A run is judged by other rows as it read its own: by names, with its own scaling."""

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet import load
from brainnet.data.dataset import Dataset
from brainnet.data.image_files import ImageEncoder
from brainnet.data.table import Table
from brainnet.data.table_files import open_table
from brainnet.errors import InputError
from brainnet.inference.evaluate import evaluate_images, evaluate_table_file
from brainnet.structure.network import Network
from brainnet.training.fit import fit


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


def network_of(*sizes):
    return Network(sizes, generator=torch.Generator().manual_seed(0))


def trained_on(folder, target, drop, network):
    data = Table(folder / "fruit.csv", target, drop=drop)
    run = fit(network, data, epochs=20, folder=folder / target, observe="off", progress=False)
    return load(run.folder)


@pytest.fixture(scope="module")
def classes(folder):
    return trained_on(folder, "fruit", "price", network_of(4, 8, 3))


def judged(trained, tmp_path, frame, target, **options):
    frame.to_csv(tmp_path / "other.csv", index=False)
    return evaluate_table_file(trained, open_table(tmp_path / "other.csv"), [target], **options)


def test_all_rows_are_judged_and_classes_go_by_name(classes, tmp_path):
    other = fruit(100, 1).sort_values("fruit", ascending=False)[["fruit", "colour", "size"]]
    found = judged(classes, tmp_path, other, "fruit")
    right = (classes.predict(other)["prediction"].to_numpy() == other["fruit"].to_numpy()).mean()
    assert right > 0.7
    assert found.metrics["accuracy/test"] == pytest.approx(right)
    assert torch.equal(found.outputs, classes.outputs(other))
    counted = other["fruit"].value_counts().reindex(classes.class_names).tolist()
    assert found.confusion.sum(dim=1).tolist() == counted


def test_a_class_that_does_not_occur_is_no_harm(classes, tmp_path):
    other = fruit(100, 1).query("fruit != 'kiwi'")
    found = judged(classes, tmp_path, other, "fruit")
    assert found.confusion[classes.class_names.index("kiwi")].sum() == 0
    assert len(found.truths) == len(other)


def test_numbers_are_judged_in_the_runs_own_scale(folder, tmp_path):
    trained = trained_on(folder, "price", "fruit", network_of(4, 8, 1))
    other = fruit(80, 2)
    found = judged(trained, tmp_path, other, "price")
    answers = trained.predict(other)["prediction"].to_numpy()
    spread = ((other["price"] - other["price"].mean()) ** 2).sum()
    assert found.metrics["r2/test"] == pytest.approx(
        1 - ((answers - other["price"]) ** 2).sum() / spread, abs=1e-4
    )
    assert found.confusion is None


def test_rows_with_empty_cells_are_refused_or_left_out(classes, tmp_path):
    other = fruit(50, 3)
    other.loc[4, "size"] = None
    with pytest.raises(InputError, match="'size' is empty in row 5"):
        judged(classes, tmp_path, other, "fruit")
    assert len(judged(classes, tmp_path, other, "fruit", missing="drop").truths) == 49


def test_rows_without_a_word_are_left_out_where_that_is_asked_for(classes, tmp_path):
    other = fruit(50, 3)
    other.loc[[4, 9], "colour"] = None
    assert len(judged(classes, tmp_path, other, "fruit", missing="drop").truths) == 48
    assert len(judged(classes, tmp_path, other, "fruit").truths) == 50  # a word never seen


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.replace("plum", "banana"), r"the classes apple, .*'banana'.*no others"),
        (lambda rows: rows.drop(columns="fruit"), "right answers: .* no column 'fruit'"),
        (lambda rows: rows.drop(columns="size"), "lack the column size"),
        (lambda rows: rows.assign(fruit=None), "target 'fruit' has empty cells"),
    ],
    ids=["class", "target", "column", "empty"],
)
def test_rows_that_do_not_fit_are_told(classes, tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        judged(classes, tmp_path, change(fruit(50, 3)), "fruit")


def pictures(names, shades):
    labels = torch.arange(len(names)).repeat(20)
    inputs = torch.tensor([shades[label] for label in labels], dtype=torch.uint8)
    inputs = inputs.unsqueeze(1).repeat(1, 4)
    pixels = ImageEncoder(2, 2)
    return Dataset(
        "pictures", "binary", inputs, labels, pixels.names, names, (2, 2), encoder=pixels
    )


def test_pictures_are_judged_by_the_names_of_their_classes(tmp_path):
    torch.manual_seed(0)
    data = pictures(("dark", "light"), (20, 220))
    options = {"epochs": 30, "learning_rate": 0.05, "progress": False}
    run = fit(Network([4, 4, 1]), data, folder=tmp_path / "run", **options)
    trained = load(run.folder)
    swapped = evaluate_images(trained, pictures(("light", "dark"), (210, 30)))
    assert swapped.metrics["accuracy/test"] == 1.0
    assert swapped.truths.tolist() == [1, 0] * 20
    with pytest.raises(InputError, match=r"the classes black, .* it knows dark, light"):
        evaluate_images(trained, pictures(("black", "light"), (20, 220)))
