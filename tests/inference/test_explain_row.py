"""Tests of explanations of runs and of single rows."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from brainnet import explain, fit, load
from brainnet.concepts import CONCEPTS, find_concept
from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Diabetes, Iris
from brainnet.data.images import Images
from brainnet.data.table import Table
from brainnet.errors import InputError
from brainnet.explanation.report import report_concept
from brainnet.inference.explain_row import (
    PARTS,
    RowExplainer,
    read_readings,
    read_target,
)
from brainnet.structure.network import Network
from brainnet.training.run_directory import RunDirectory

COLOURS = ("red", "green", "blue")


def fit_run(folder, network, data, **options):
    return fit(network, data, folder=folder / "run", progress=False, **{"epochs": 3, **options})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = fit_run(tmp_path_factory.mktemp("iris"), Network([4, 8, 3]), "iris", epochs=8)
    return load(run.folder)


@pytest.fixture(scope="module")
def iris(trained):
    return trained.build_explainer()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table with numbers that may be missing, few words and many; and the file."""
    folder, random = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.normal(50, 10, 120).round(1),
            "colour": random.choice(COLOURS, 120),
            "town": [f"town {place % 40}" for place in range(120)],
        }
    )
    frame["verdict"] = np.where(frame["age"] > 50, "old", "young")
    frame.loc[7, "age"] = np.nan
    frame.to_csv(folder / "rows.csv", index=False)
    network = Network([5, 6, 1], embeddings={4: 41})
    data = Table(folder / "rows.csv", "verdict", missing="impute")
    return load(fit_run(folder, network, data).folder).build_explainer(), folder / "rows.csv", frame


def replace_file(explainer, path):
    """The same explainer where the run's rows lie in another file."""
    config = explainer.trained.config
    config = config | {"data": config["data"] | {"path": str(path)}}
    return RowExplainer(replace(explainer.trained, config=config))


def test_row_has_its_part_and_its_class(iris, trained):
    for part in ("train", "validation", "test"):
        number = int(iris.data.row_indices(part)[0])
        explained = iris.explain_row(number)
        assert (explained.part, explained.row, explained.rows, explained.source) == (
            part,
            number,
            150,
            "iris",
        )
        names = trained.class_names
        target = int(iris.data.dataset.targets[number])
        assert explained.prediction.true_class == names[target]


def test_row_has_the_prediction_of_predict(iris, trained):
    raw = iris.data.dataset.inputs[:150:29]
    said = trained.predict(raw.double().numpy())
    for place, number in enumerate(range(0, 150, 29)):
        answer = iris.explain_row(number).prediction
        assert answer.classes[0].name == said["prediction"][place]
        shares = {each.name: each.probability for each in answer.classes}
        for name in trained.class_names:
            assert shares[name] == pytest.approx(said[f"probability {name}"][place], abs=1e-6)


def test_columns_contain_unscaled_values(iris, trained):
    explained = iris.explain_row(50)
    assert [each.name for each in explained.columns] == list(iris.data.dataset.input_names)
    raw = iris.data.dataset.inputs[50].tolist()
    assert [each.value for each in explained.columns] == raw
    assert [each.scaled for each in explained.inputs] == pytest.approx(
        trained.scaling.apply(torch.tensor([raw]))[0].tolist()
    )


def test_neighbors_are_other_training_rows(iris, trained):
    number = int(iris.data.row_indices("train")[3])
    found = iris.explain_row(number).neighbors
    training = set(iris.data.row_indices("train").tolist())
    assert len(found) == 5
    assert {each.row for each in found} <= training - {number}
    inputs, targets = iris.data.gather(torch.arange(150))
    apart = (inputs.double() - inputs[number].double()).norm(dim=1)
    for each in found:
        assert each.distance == pytest.approx(float(apart[each.row]))
        assert each.target == trained.class_names[int(targets[each.row])]


@pytest.mark.parametrize("number", [-1, 150])
def test_row_out_of_range_is_rejected(iris, number):
    with pytest.raises(InputError, match=f"iris has rows 0 to 149; got {number}"):
        iris.explain_row(number)


def test_row_of_a_file_equals_the_row_of_the_data(table):
    explainer, path, frame = table
    for number in (0, 7, 119):
        rows, explained = explainer.explain_row(number), explainer.explain_file_row(path, number)
        assert explained.part is None
        assert explained.prediction == rows.prediction
        assert explained.prediction.true_class == frame["verdict"][number]
        assert explained.columns == rows.columns
    assert explainer.explain_file_row(path, 0).columns[1].value == frame["colour"][0]
    assert explainer.explain_file_row(path, 0).columns[2].value == frame["town"][0]


def test_missing_number_has_no_contribution(table):
    age = table[0].explain_row(7).columns[0]
    assert (age.value, age.gradient_times_input, age.contribution) == (None, 0.0, 0.0)


def test_contributions_of_a_category_are_summed(table):
    explained = table[0].explain_row(3)
    colors = [each for each in explained.inputs if each.name.startswith("colour=")]
    assert len(colors) == 3
    assert explained.columns[1].contribution == pytest.approx(
        sum(each.contribution for each in colors)
    )


def test_embedding_weights_are_named_by_category(table):
    explainer, _, frame = table
    text = str(explainer.explain("weights"))
    named = re.findall(r"^  (town \d+) +→ town #\d", text, re.MULTILINE)
    assert len(named) == 5
    assert set(named) <= set(frame["town"])


def test_file_without_targets(table, tmp_path):
    explainer, _, frame = table
    frame.drop(columns="verdict").to_csv(tmp_path / "new.csv", index=False)
    answer = explainer.explain_file_row(tmp_path / "new.csv", 2).prediction
    assert (answer.true_class, answer.is_correct, answer.loss) == (None, None, None)


def test_image_is_explained_from_any_file(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (24, 3, 3)).astype(np.uint8)
    (tmp_path / "images-ubyte").write_bytes(
        b"\0\0\x08\x03" + np.array([24, 3, 3], ">u4").tobytes() + pictures.tobytes()
    )
    (tmp_path / "labels-ubyte").write_bytes(
        b"\0\0\x08\x01" + np.array([24], ">u4").tobytes() + bytes([0, 1] * 12)
    )
    np.savez(tmp_path / "other.npz", images=pictures)
    run = fit_run(tmp_path, Network([9, 1]), Images(tmp_path / "images-ubyte"), epochs=1)
    explainer = load(run.folder).build_explainer()
    for name in ("images-ubyte", "other.npz"):
        explained = explainer.explain_file_row(tmp_path / name, 7)
        assert (explained.source, explained.row) == (str(tmp_path / name), 7)
        assert [each.value for each in explained.inputs] == pictures[7].ravel().tolist()
    Image.fromarray(pictures[5]).save(tmp_path / "five.png")
    explained = explainer.explain_file_row(tmp_path / "five.png")
    assert (explained.source, explained.row) == (str(tmp_path / "five.png"), None)
    assert explained.prediction.classes == explainer.explain_row(5).prediction.classes
    with pytest.raises(InputError, match=r"images-ubyte contains several images"):
        explainer.explain_file_row(tmp_path / "images-ubyte")


def test_table_without_header_is_read_as_in_the_run(tmp_path):
    path = tmp_path / "bare.csv"
    path.write_text("".join(f"{row},{row % 7},{row / 3}\n" for row in range(40)))
    run = fit_run(tmp_path, Network([2, 1]), Table(path, 2, header=False), epochs=1)
    explained = load(run.folder).build_explainer().explain_file_row(path, 9)
    assert {each.name: each.value for each in explained.columns} == {"0": 9, "1": 2}
    assert explained.prediction.values[0].true_value == pytest.approx(3)


def test_invalid_files_are_rejected(table, tmp_path, iris):
    explainer, path, frame = table
    frame.drop(columns="colour").to_csv(tmp_path / "lacking.csv", index=False)
    with pytest.raises(InputError, match="lack the column colour"):
        explainer.explain_file_row(tmp_path / "lacking.csv", 0)
    with pytest.raises(InputError, match="has rows 0 to 119; got 120"):
        explainer.explain_file_row(path, 120)
    with pytest.raises(InputError, match="has rows 0 to 119; got -2"):
        explainer.explain_file_row(path, -2)
    with pytest.raises(InputError, match="--row N"):
        explainer.explain_file_row(path)
    holes = pd.DataFrame([[1.0, np.nan, 2.0, 3.0]], columns=list(iris.data.dataset.input_names))
    holes.to_csv(tmp_path / "holes.csv", index=False)
    with pytest.raises(InputError, match="sepal width"):
        iris.explain_file_row(tmp_path / "holes.csv", 0)


def test_explain_accepts_rows_of_any_form(iris, trained):
    raw = [5.1, 3.5, 1.4, 0.2]
    forms = [
        raw,
        np.array(raw),
        torch.tensor(raw),
        [raw],
        dict(zip(iris.data.dataset.input_names, raw, strict=True)),
        pd.Series(raw, index=list(iris.data.dataset.input_names)),
        pd.DataFrame([raw], columns=list(iris.data.dataset.input_names)),
    ]
    texts = {str(explain(trained, row=form)).split("What mattered")[0] for form in forms}
    assert len(texts) == 1
    assert explain(trained, row=3).title.startswith("row 3 of iris")
    assert explain(trained, "weights").concept is not None
    assert "learning rate" in str(explain(trained))
    with pytest.raises(InputError, match="Did you mean weights"):
        explain(trained, "wieghts")
    with pytest.raises(InputError, match="a row is explained as a whole"):
        explain(trained, "weights", row=3)
    with pytest.raises(TypeError, match=r"explain\(brainnet.load\(RUN\), row=3\)"):
        explain(Network([2, 1]), row=3)


@pytest.mark.parametrize("concept", ["weights", "biases", "gradient-descent", "learning-rate"])
def test_concepts_of_the_checkpoint_read_no_rows(trained, table, concept, monkeypatch):
    of_table = load(table[0].trained.run.folder.path)
    with_rows = [
        report_concept(each.run_data, find_concept(concept))
        for each in (trained.build_explainer(), table[0])
    ]

    def read(*_):
        raise AssertionError("no row is needed for this")

    monkeypatch.setattr("brainnet.inference.explain_row.build_datamodule", read)
    accounts = [trained.build_explainer(), of_table.build_explainer()]
    assert [each.explain(concept) for each in accounts] == with_rows
    with pytest.raises(AssertionError, match="no row is needed"):
        accounts[0].explain("neurons")


def test_run_on_arrays_has_no_rows(tmp_path):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(60, 3)).astype(np.float32)
    run = fit_run(tmp_path, Network([3, 4, 1]), (inputs, (inputs[:, 0] > 0).astype(int)))
    explainer = load(run.folder).build_explainer()
    with pytest.raises(InputError, match=r"passed in\s+Python and are not stored"):
        explainer.explain_row(0)
    explained = explainer.explain_raw_row(inputs[:1])
    assert explained.neighbors == ()
    assert "rows of the run are not available" in explained.limitations[0]
    for concept in CONCEPTS:
        assert explainer.explain(concept).lines
    assert "unknown without the rows of the run" in str(explainer.explain())


def test_missing_data_are_reported(table, tmp_path):
    explainer, path, _ = table
    moved = replace_file(explainer, tmp_path / "gone.csv")
    with pytest.raises(InputError, match=r"gone\.csv"):
        moved.explain_row(0)
    explained = moved.explain_file_row(path, 0)
    assert explained.neighbors == ()
    assert explained.prediction == explainer.explain_file_row(path, 0).prediction


def test_layers_of_a_custom_network_keep_their_names(tmp_path):
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    run = fit_run(tmp_path, model, "iris")
    explainer = load(run.folder, network=nn.Sequential(*model)).build_explainer()
    assert [layer.name for layer in explainer.run_data.readings[0].layers] == ["0", "2"]
    assert "0" in str(explainer.explain("backpropagation"))
    assert explainer.explain_row(0).layers[0].sums[0].name.startswith("0 #")


def test_changed_data_are_reported(table, tmp_path):
    explainer, _, frame = table

    def moved(rows):
        path = tmp_path / "changed.csv"
        rows.to_csv(path, index=False)
        return replace_file(explainer, path)

    older = frame.assign(age=frame["age"] + 20)
    explained = moved(older).explain_row(0)
    assert "The data have changed since the run" in str(explained.note)
    assert explainer.explain_row(0).note is None
    others = frame.assign(verdict=frame["verdict"].str.upper())
    with pytest.raises(InputError, match="classes changed from old, young to OLD, YOUNG"):
        moved(others).explain_row(0)


def test_row_number_may_be_a_numpy_integer(iris):
    assert str(iris.explain(row=np.int64(3))) == str(iris.explain(row=3))


@pytest.mark.parametrize("missing", ["impute", "drop"])
def test_dropped_rows_are_noted_and_warnings_not_repeated(tmp_path, missing, caplog):
    lines = [f"{row},{row % 5},1,{'' if row in (0, 3) else row / 7}" for row in range(40)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["id,age,same,price", *lines]) + "\n")
    data = Table(path, "price", missing=missing)
    run = fit_run(tmp_path, Network([1, 3, 1]), data)
    assert "2 rows of" in caplog.text
    assert "same" in caplog.text
    caplog.clear()
    explained = load(run.folder).build_explainer().explain_row(0)
    assert "Not counted: 2 rows" in str(explained.note)
    assert "warning" not in caplog.text


def test_text_and_numbers_in_one_list_are_a_row(table):
    explainer, _, frame = table
    cells = [52.5, "red", "town 3"]
    explained = explainer.explain(row=dict(zip(frame.columns, cells, strict=False)))
    for row in (cells, tuple(cells), [cells], np.array(cells, dtype=object)):
        assert str(explainer.explain(row=row)) == str(explained)


def test_report_inspects_fewer_large_rows(iris, trained, monkeypatch):
    number = 4 + 8 + 8 + 3  # inputs, sums, answers and outputs of one row
    monkeypatch.setattr("brainnet.inference.explain_row._MAX_SIGNALS", 20 * number + 1)
    subject = trained.build_explainer().run_data
    parts = subject.parts.values()
    rows = [len(iris.data.row_indices(rows.part)) for rows in parts]
    assert [len(rows.inputs) for rows in parts] == [min(20, each) for each in rows]
    assert max(rows) > 20
    assert "20" in str(trained.build_explainer().explain("neurons"))


@pytest.fixture(scope="module")
def run_rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("iris") / "run"
    run = fit(Network([4, 3]), "iris", epochs=1, seed=3, folder=folder, progress=False)
    return load(run.folder).build_explainer()


def replace_data(explainer, data):
    """An explainer of the same run with another `data` group."""
    return RowExplainer(replace(explainer.trained, config={"data": data, "seed": 0}))


def test_rows_are_split_and_scaled_as_in_the_run(run_rows):
    original = DataModule("iris", seed=3)
    for part in PARTS:
        assert torch.equal(run_rows.data.row_indices(part), original.row_indices(part))
    assert run_rows.data.scaling == original.scaling
    assert run_rows.obstacle is None
    assert run_rows.explain_row(0).note is None


def test_part_of_each_row_is_found(run_rows):
    for part in PARTS:
        assert run_rows.explain_row(int(run_rows.data.row_indices(part)[-1])).part == part


def test_training_rows_have_their_indices(run_rows):
    chunks = zip(*run_rows._iterate_training_rows(), strict=True)
    indices, inputs = (torch.cat(parts) for parts in chunks)
    assert torch.equal(indices, run_rows.data.row_indices("train"))
    unscaled = Iris().load(0).inputs[indices]
    assert torch.equal(inputs, run_rows.trained.scaling.apply(unscaled))


def test_rows_passed_in_python_are_not_available(run_rows):
    missing = replace_data(run_rows, {"name": "mine"})
    assert "(mine) were passed in Python" in str(missing.obstacle)
    with pytest.raises(InputError, match="are not stored"):
        _ = missing.data


def test_rows_with_other_inputs_are_rejected(run_rows):
    other = replace_data(run_rows, {"_target_": f"{Diabetes.__module__}.{Diabetes.__qualname__}"})
    with pytest.raises(
        InputError, match="diabetes has 10 inputs now, and 4 when the network was trained"
    ):
        _ = other.data


@pytest.mark.parametrize(
    ("target", "columns"), [(None, []), ("price", ["price"]), (["a", 0], ["a", "0"])]
)
def test_target_columns_are_those_of_the_configuration(run_rows, target, columns):
    assert replace_data(run_rows, {"target": target}).target_columns == columns


@pytest.fixture(scope="module")
def with_numeric_classes(trained):
    """The same with classes that are numbers."""
    return replace(trained, class_names=("0", "1", "2"))


@pytest.mark.parametrize(
    "cell",
    [1, 1.0, "1", "1.0", np.int64(1), np.float32(1), [1, 2]],
    ids=repr,
)
def test_numeric_class_is_read_in_any_form(with_numeric_classes, cell):
    task = with_numeric_classes.build_prediction_task()
    assert read_target(task, {"grade": cell}, ["grade"]).tolist() == [1]


def test_target_is_read_from_rows_of_any_form(trained):
    record = {"kind": "virginica"}
    series = pd.Series(["virginica"], index=[7])
    for rows in (record, [record], {"kind": series}, pd.DataFrame({"kind": series})):
        target = read_target(trained.build_prediction_task(), rows, ["kind"])
        assert target.tolist() == [2]


@pytest.mark.parametrize("rows", [{}, {"kind": None}, {"kind": ""}, [[1.0, 2.0]], np.ones((1, 2))])
def test_missing_target_is_none(trained, rows):
    assert read_target(trained.build_prediction_task(), rows, ["kind"]) is None


def test_unknown_class_is_rejected(trained):
    row = dict.fromkeys(trained.encoder.raw_names, 1.0) | {"kind": "tulip"}
    config = {"data": {**trained.config["data"], "target": "kind"}}
    explainer = replace(trained, config={**trained.config, **config}).build_explainer()
    with pytest.raises(InputError, match=r"setosa, versicolor, virginica.*tulip"):
        explainer.explain_raw_row(row)


def test_numeric_target_is_scaled_and_checked(trained):
    numbers = replace(trained, class_names=(), task="regression")
    scaling = replace(trained.target_scaling, kind="standard", shift=(10.0,), scale=(2.0,))
    task = replace(numbers, target_scaling=scaling).build_prediction_task()
    assert read_target(task, {"price": np.float64(13.0)}, ["price"]).tolist() == [[1.5]]
    with pytest.raises(InputError, match="cheap"):
        read_target(task, {"price": "cheap"}, ["price"])


@pytest.fixture(scope="module")
def sgd_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("iris") / "run"
    options = {"optimizer": "sgd", "learning_rate": 0.05, "epochs": 2}
    return load(fit(Network([4, 6, 3]), "iris", folder=folder, progress=False, **options).folder)


def test_run_data_have_the_configuration_and_the_summary(sgd_run):
    data = sgd_run.build_explainer().run_data
    assert (data.name, data.checkpoint) == (str(sgd_run.run.folder.path), "best.ckpt")
    assert data.summary == sgd_run.run.folder.read_summary()
    descent = report_concept(data, find_concept("gradient-descent"))
    assert "GradientDescent" in str(descent)
    assert "0.05" in str(report_concept(data, find_concept("learning-rate")))


def test_readings_use_the_layer_names_of_the_network(sgd_run):
    readings = sgd_run.build_explainer().run_data.readings
    assert readings[0].step == 0
    assert {tuple(layer.name for layer in each.layers) for each in readings} == {
        ("hidden_1", "output")
    }


def test_run_that_was_killed_is_still_reported(sgd_run, tmp_path):
    shutil.copytree(sgd_run.run.folder.path, tmp_path / "copy")
    for name in ("summary.json", "readings.bin"):
        (tmp_path / "copy" / name).unlink()
    checkpoint = sgd_run.checkpoint.relative_to(sgd_run.run.folder.path)
    explainer = load(tmp_path / "copy" / checkpoint).build_explainer()
    assert explainer.run_data.summary == {}
    assert read_readings(RunDirectory(tmp_path / "copy"), Network([2, 1])) == ()
    for concept in CONCEPTS:
        assert explainer.explain(concept).lines
