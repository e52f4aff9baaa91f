"""A run gives account of itself: of its concepts, of its rows, and of rows from elsewhere."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from brainnet import explain, load
from brainnet.concepts import CONCEPTS, find_concept
from brainnet.data.images import Images
from brainnet.data.table import Table
from brainnet.errors import InputError
from brainnet.explanation.report import report_concept
from brainnet.structure.network import Network
from brainnet.training.fit import fit

COLOURS = ("red", "green", "blue")


def fitted(folder, network, data, **options):
    return fit(network, data, folder=folder / "run", progress=False, **{"epochs": 3, **options})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = fitted(tmp_path_factory.mktemp("iris"), Network([4, 8, 3]), "iris", epochs=8)
    return load(run.folder)


@pytest.fixture(scope="module")
def iris(trained):
    return trained.account()


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
    return load(fitted(folder, network, data).folder).account(), folder / "rows.csv", frame


def looking_at(account, path):
    """The same account where the run's rows lie in another file."""
    config = account.own.config
    config = config | {"data": config["data"] | {"path": str(path)}}
    return replace(account, own=replace(account.own, config=config))


def test_a_row_is_told_with_its_part_and_its_right_answer(iris, trained):
    for part in ("train", "validation", "test"):
        number = int(iris.own.data.row_indices(part)[0])
        told = iris.row(number)
        assert (told.part, told.row, told.rows, told.source) == (part, number, 150, "iris")
        names = trained.class_names
        assert told.explanation.prediction.true_class == names[int(iris.own.data.dataset.targets[number])]


def test_a_row_gets_the_answer_that_predict_gives(iris, trained):
    raw = iris.own.data.dataset.inputs[:150:29]
    said = trained.predict(raw.double().numpy())
    for place, number in enumerate(range(0, 150, 29)):
        answer = iris.row(number).explanation.prediction
        assert answer.classes[0].name == said["prediction"][place]
        shares = {each.name: each.probability for each in answer.classes}
        for name in trained.class_names:
            assert shares[name] == pytest.approx(said[f"probability {name}"][place], abs=1e-6)


def test_the_columns_hold_what_was_measured(iris, trained):
    told = iris.row(50)
    assert [each.name for each in told.columns] == list(iris.own.data.input_names)
    raw = iris.own.data.dataset.inputs[50].tolist()
    assert [each.value for each in told.columns] == raw
    assert [each.scaled for each in told.explanation.inputs] == pytest.approx(
        trained.scaling.apply(torch.tensor([raw]))[0].tolist()
    )


def test_the_neighbours_are_training_rows_and_never_the_row_itself(iris, trained):
    number = int(iris.own.data.row_indices("train")[3])
    found = iris.row(number).explanation.neighbors
    training = set(iris.own.data.row_indices("train").tolist())
    assert len(found) == 5
    assert {each.row for each in found} <= training - {number}
    inputs, targets = iris.own.data.gather(torch.arange(150))
    apart = (inputs.double() - inputs[number].double()).norm(dim=1)
    for each in found:
        assert each.distance == pytest.approx(float(apart[each.row]))
        assert each.target == trained.class_names[int(targets[each.row])]


@pytest.mark.parametrize("number", [-1, 150])
def test_a_row_that_is_not_there_is_refused_with_the_range(iris, number):
    with pytest.raises(InputError, match=f"iris has rows 0 to 149; got {number}"):
        iris.row(number)


def test_a_row_of_a_file_is_that_of_the_data_and_its_right_answer_is_read(table):
    account, path, frame = table
    for number in (0, 7, 119):
        own, told = account.row(number), account.row_of_file(path, number)
        assert told.part is None
        assert told.explanation.prediction == own.explanation.prediction
        assert told.explanation.prediction.true_class == frame["verdict"][number]
        assert told.columns == own.columns
    assert account.row_of_file(path, 0).columns[1].value == frame["colour"][0]
    assert account.row_of_file(path, 0).columns[2].value == frame["town"][0]


def test_a_missing_number_is_told_as_missing_and_carries_nothing(table):
    age = table[0].row(7).columns[0]
    assert (age.value, age.gradient_times_input, age.contribution) == (None, 0.0, 0.0)


def test_the_parts_of_a_words_inputs_are_added_up(table):
    told = table[0].row(3)
    colours = [each for each in told.explanation.inputs if each.name.startswith("colour=")]
    assert len(colours) == 3
    assert told.columns[1].contribution == pytest.approx(sum(each.contribution for each in colours))
    assert told.columns[1].inputs == 3


def test_weights_of_looked_up_words_are_called_by_them(table):
    account, _, frame = table
    told = str(account.explanation("weights"))
    named = re.findall(r"^  (town \d+) → town #\d", told, re.MULTILINE)
    assert len(named) == 5
    assert set(named) <= set(frame["town"])


def test_a_file_without_the_answers_leaves_them_out(table, tmp_path):
    account, _, frame = table
    frame.drop(columns="verdict").to_csv(tmp_path / "new.csv", index=False)
    answer = account.row_of_file(tmp_path / "new.csv", 2).explanation.prediction
    assert (answer.true_class, answer.is_correct, answer.loss) == (None, None, None)


def test_a_picture_is_told_wherever_it_stands(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (24, 3, 3)).astype(np.uint8)
    np.savez(tmp_path / "train.npz", images=pictures, labels=np.arange(24) % 2)
    run = fitted(tmp_path, Network([9, 1]), Images(tmp_path / "train.npz"), epochs=1)
    account = load(run.folder).account()
    (tmp_path / "a-ubyte").write_bytes(
        b"\0\0\x08\x03" + np.array([24, 3, 3], ">u4").tobytes() + pictures.tobytes()
    )
    for name in ("a-ubyte", "train.npz"):
        told = account.row_of_file(tmp_path / name, 7)
        assert (told.source, told.row) == (str(tmp_path / name), 7)
        assert [each.value for each in told.explanation.inputs] == pictures[7].ravel().tolist()
    Image.fromarray(pictures[5]).save(tmp_path / "five.png")
    told = account.row_of_file(tmp_path / "five.png")
    assert (told.source, told.row) == (str(tmp_path / "five.png"), None)
    assert told.explanation.prediction.classes == account.row(5).explanation.prediction.classes
    with pytest.raises(InputError, match=r"which of the pictures of .*a-ubyte"):
        account.row_of_file(tmp_path / "a-ubyte")


def test_a_table_without_names_of_columns_is_read_as_the_runs_own(tmp_path):
    path = tmp_path / "bare.csv"
    path.write_text("".join(f"{row},{row % 7},{row / 3}\n" for row in range(40)))
    run = fitted(tmp_path, Network([2, 1]), Table(path, 2, header=False), epochs=1)
    told = load(run.folder).account().row_of_file(path, 9)
    assert {each.name: each.value for each in told.columns} == {"0": 9, "1": 2}
    assert told.explanation.prediction.values[0].true_value == pytest.approx(3)


def test_files_that_do_not_fit_are_refused(table, tmp_path, iris):
    account, path, frame = table
    frame.drop(columns="colour").to_csv(tmp_path / "lacking.csv", index=False)
    with pytest.raises(InputError, match="lack the column colour"):
        account.row_of_file(tmp_path / "lacking.csv", 0)
    with pytest.raises(InputError, match="has rows 0 to 119; got 120"):
        account.row_of_file(path, 120)
    with pytest.raises(InputError, match="counted from 0; got -2"):
        account.row_of_file(path, -2)
    with pytest.raises(InputError, match="Say --row N"):
        account.row_of_file(path)
    holes = pd.DataFrame([[1.0, np.nan, 2.0, 3.0]], columns=list(iris.own.data.input_names))
    holes.to_csv(tmp_path / "holes.csv", index=False)
    with pytest.raises(InputError, match="sepal width"):
        iris.row_of_file(tmp_path / "holes.csv", 0)


def test_python_asks_by_explain(iris, trained):
    raw = [5.1, 3.5, 1.4, 0.2]
    forms = [
        raw,
        np.array(raw),
        torch.tensor(raw),
        [raw],
        dict(zip(iris.own.data.input_names, raw, strict=True)),
        pd.Series(raw, index=list(iris.own.data.input_names)),
        pd.DataFrame([raw], columns=list(iris.own.data.input_names)),
    ]
    told = {str(explain(trained, row=form)).split("Contributions")[0] for form in forms}
    assert len(told) == 1
    assert explain(trained, row=3).title.startswith("row 3 of iris")
    assert explain(trained, "weights").concept is not None
    assert "trainable parameters" in str(explain(trained))
    with pytest.raises(InputError, match="Did you mean weights"):
        explain(trained, "wieghts")
    with pytest.raises(InputError, match="a row is explained as a whole"):
        explain(trained, "weights", row=3)
    with pytest.raises(TypeError, match=r"explain\(brainnet.load\(RUN\), row=3\)"):
        explain(Network([2, 1]), row=3)


@pytest.mark.parametrize("concept", ["weights", "biases", "gradient-descent", "learning-rate"])
def test_what_the_checkpoint_tells_is_told_without_reading_the_rows(
    trained, table, concept, monkeypatch
):
    of_table = load(table[0].history.name)
    with_rows = [
        report_concept(each.subject, find_concept(concept))
        for each in (trained.account(), table[0])
    ]

    def read(*_):
        raise AssertionError("no row is needed for this")

    monkeypatch.setattr("brainnet.inference.explain_row.data_from", read)
    accounts = [trained.account(), of_table.account()]
    assert [each.explanation(concept) for each in accounts] == with_rows
    with pytest.raises(AssertionError, match="no row is needed"):
        accounts[0].explanation("layers")


def test_a_run_on_arrays_tells_what_can_be_told(tmp_path):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(60, 3)).astype(np.float32)
    run = fitted(tmp_path, Network([3, 4, 1]), (inputs, (inputs[:, 0] > 0).astype(int)))
    account = load(run.folder).account()
    with pytest.raises(InputError, match=r"handed over in\s+Python and are not stored"):
        account.row(0)
    told = account.raw_row(inputs[:1])
    assert told.explanation.neighbors == ()
    assert "cannot be had again" in told.explanation.limitations[0]
    for concept in CONCEPTS:
        assert account.explanation(concept).lines
    assert "unknown without the rows of the run" in str(account.explanation())


def test_data_that_are_gone_or_others_now_are_no_secret(table, tmp_path):
    account, path, _ = table
    moved = looking_at(account, tmp_path / "gone.csv")
    with pytest.raises(InputError, match=r"gone\.csv"):
        moved.row(0)
    told = moved.row_of_file(path, 0)
    assert told.explanation.neighbors == ()
    assert told.explanation.prediction == account.row_of_file(path, 0).explanation.prediction


def test_the_layers_of_a_network_of_ones_own_keep_their_names(tmp_path):
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    run = fitted(tmp_path, model, "iris")
    account = load(run.folder, network=nn.Sequential(*model)).account()
    assert [layer.name for layer in account.subject.readings[0].layers] == ["0", "2"]
    assert "0" in str(account.explanation("backpropagation"))
    assert account.row(0).explanation.layers[0].sums[0].name.startswith("0 #")


def test_data_that_changed_since_the_run_are_told_as_such(table, tmp_path):
    account, _, frame = table

    def moved(rows):
        path = tmp_path / "changed.csv"
        rows.to_csv(path, index=False)
        return looking_at(account, path)

    older = frame.assign(age=frame["age"] + 20)
    told = moved(older).row(0)
    assert "The data have changed since the run" in str(told.note)
    assert account.row(0).note is None
    others = frame.assign(verdict=frame["verdict"].str.upper())
    with pytest.raises(InputError, match="has the classes OLD, YOUNG now"):
        moved(others).row(0)


def test_a_row_number_of_numpy_is_a_number(iris):
    assert str(iris.explanation(row=np.int64(3))) == str(iris.explanation(row=3))


@pytest.mark.parametrize("missing", ["impute", "drop"])
def test_rows_that_were_left_out_are_told_and_notes_are_not_repeated(tmp_path, missing, caplog):
    lines = [f"{row},{row % 5},1,{'' if row in (0, 3) else row / 7}" for row in range(40)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["id,age,same,price", *lines]) + "\n")
    data = Table(path, "price", missing=missing)
    run = fitted(tmp_path, Network([1, 3, 1]), data)
    assert "2 rows of" in caplog.text
    assert "'same'" in caplog.text
    caplog.clear()
    told = load(run.folder).account().row(0)
    assert "2 rows are not counted" in str(told.note)
    assert "note" not in caplog.text


def test_words_and_numbers_in_one_list_are_a_row(table):
    account, _, frame = table
    cells = [52.5, "red", "town 3"]
    told = account.explanation(row=dict(zip(frame.columns, cells, strict=False)))
    for row in (cells, tuple(cells), [cells], np.array(cells, dtype=object)):
        assert str(account.explanation(row=row)) == str(told)


def test_a_portrait_looks_at_fewer_rows_where_these_take_much_room(iris, trained, monkeypatch):
    number = 4 + 8 + 8 + 3  # inputs, sums, answers and outputs of one row
    monkeypatch.setattr("brainnet.explanation.run_data._MAX_SIGNALS", 20 * number + 1)
    subject = trained.account().subject
    own = [len(iris.own.data.row_indices(rows.part)) for rows in subject.rows]
    assert [len(rows.inputs) for rows in subject.rows] == [min(20, each) for each in own]
    assert max(own) > 20
    assert "20" in str(trained.account().explanation("neurons"))
