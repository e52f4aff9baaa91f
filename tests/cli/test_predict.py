"""`brainnet predict`: rows in, answers out, in order; nothing half written, every slip told."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet import load
from brainnet.cli import predict
from brainnet.cli.main import main
from brainnet.data.datasets import Iris
from brainnet.data.table_files import open_table
from brainnet.inference import inputs as table_rows
from brainnet.inference import predict as prediction
from brainnet.structure.network import Network
from brainnet.training.fit import fit


@pytest.fixture
def rows():
    """The irises as measured, with a number each, in a file."""
    data = Iris().load(0)
    frame = pd.DataFrame(data.inputs.numpy(), columns=list(data.input_names))
    frame.insert(0, "id", [f"{place:03}" for place in range(len(frame))])
    frame.to_csv("rows.csv", index=False)
    return frame


def predicted(capsys, *words):
    assert main(["predict", "latest", *words]) == 0
    return capsys.readouterr().out


def test_rows_are_answered_in_order_as_python_answers_them(capsys, run, rows):
    found = pd.read_csv(io.StringIO(predicted(capsys, "--input", "rows.csv")))
    expected = load(run).predict(rows)
    assert list(found.columns) == list(expected.columns)
    assert found["prediction"].tolist() == expected["prediction"].tolist()
    assert found.iloc[:, 1:].to_numpy() == pytest.approx(expected.iloc[:, 1:].to_numpy(), abs=6e-7)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_answers_are_written_to_a_file_with_what_to_join_them_by(capsys, run, rows, ending):
    words = ["--input", "rows.csv", "--output", f"answers.{ending}", "--keep", "id"]
    assert main(["predict", "latest", *words]) == 0
    assert "150 rows answered in answers" in capsys.readouterr().err
    found = {
        "csv": lambda file: pd.read_csv(file, dtype={"id": str}),
        "jsonl": lambda file: pd.DataFrame(map(json.loads, Path(file).read_text().splitlines())),
        "parquet": pd.read_parquet,
    }[ending](f"answers.{ending}")
    assert found["id"].tolist() == rows["id"].tolist()
    assert found["prediction"].tolist() == load(run).predict(rows)["prediction"].tolist()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_number_to_join_by_stays_whole_beside_a_gap(capsys, run, rows, ending):
    rows["id"] = pd.array([None if row == 7 else row for row in range(len(rows))], dtype="Int64")
    rows.to_csv("rows.csv", index=False)
    rows.to_parquet("rows.parquet")
    words = ["--input", f"rows.{ending}", "--keep", "id"]
    lines = predicted(capsys, *words).splitlines()
    assert [line.partition(",")[0] for line in lines[7:10]] == ["6", "", "8"]
    assert main(["predict", "latest", *words, "--output", "a.parquet"]) == 0
    kept = pd.read_parquet("a.parquet", dtype_backend="pyarrow")["id"]
    assert kept.dropna().astype(int).tolist() == rows["id"].dropna().tolist()


def test_the_bits_do_not_depend_on_how_a_file_is_cut(tmp_path, monkeypatch):
    inputs = np.random.default_rng(0).standard_normal((40_000, 10)).astype(np.float32)
    network = Network([10, 50, 7, 2])
    targets = (inputs[:, 0] > 0).astype(np.int64)
    fit(network, (inputs[:200], targets[:200]), epochs=1, folder="run", progress=False)
    np.save("rows.npy", inputs)
    trained = load("run")
    whole = trained.outputs(inputs)
    for most in (1, 3):
        monkeypatch.setattr(table_rows, "_MOST_ROWS", most * table_rows.ROWS_AT_ONCE)
        parts = prediction.read_table_batches(trained.encoder, open_table("rows.npy"))
        cut = [trained.outputs(rows) for _, rows in parts]
        assert len(cut) > 1
        assert torch.equal(torch.cat(cut), whole)


def test_columns_go_by_name_and_more_of_them_are_noted_once(capsys, run, rows):
    expected = predicted(capsys, "--input", "rows.csv")
    shuffled = rows[rows.columns[::-1]].assign(species="setosa", more=1)
    shuffled.to_csv("shuffled.tsv", index=False, sep="\t")
    assert main(["predict", "latest", "--input", "shuffled.tsv"]) == 0
    said = capsys.readouterr()
    assert said.out == expected
    assert said.err.count("note:") == 1
    assert (
        "columns that the network did not learn from, left out here: id, species, more" in said.err
    )


def test_the_standard_input_is_read(capsys, run, rows, monkeypatch):
    expected = predicted(capsys, "--input", "rows.csv")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path("rows.csv").read_bytes())))
    assert predicted(capsys, "--input", "-") == expected


def test_what_is_wrong_with_the_standard_input_is_told_of_it(capsys, run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert main(["predict", "latest", "--input", "-"]) == 2
    assert "error: the standard input is empty" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_no_regular_file_is_read_once(capsys, run, rows, ending):
    expected = predicted(capsys, "--input", "rows.csv")
    rows.to_parquet("rows.parquet")
    pipe, content = Path("a pipe"), Path(f"rows.{ending}").read_bytes()
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(content))
    writer.start()
    assert predicted(capsys, "--input", str(pipe)) == expected
    writer.join(100)


def test_what_is_wrong_with_a_pipe_is_told_of_it(capsys, run):
    assert main(["predict", "latest", "--input", "/dev/null"]) == 2
    assert "error: /dev/null is empty" in capsys.readouterr().err


def test_answers_go_through_a_link_or_a_pipe(capsys, run, rows):
    expected = predicted(capsys, "--input", "rows.csv")
    Path("real.csv").write_text("before")
    Path("link.csv").symlink_to("real.csv")
    words = ["predict", "latest", "--input", "rows.csv", "--output"]
    assert main([*words, "link.csv"]) == 2
    assert main([*words, "link.csv", "--overwrite"]) == 0
    assert Path("link.csv").is_symlink()
    assert Path("real.csv").read_text() == expected
    os.mkfifo("pipe.csv")
    found = []
    reader = threading.Thread(target=lambda: found.append(Path("pipe.csv").read_text()))
    reader.start()
    assert main([*words, "pipe.csv"]) == 0
    reader.join(100)
    assert found == [expected]


def test_a_row_that_is_wrong_far_down_leaves_no_parquet_behind(capsys, run, rows, monkeypatch):
    monkeypatch.setattr(table_rows, "_MOST_ROWS", 100)
    monkeypatch.setattr(table_rows, "_CELLS_AT_ONCE", 100)
    rows.loc[140, "petal width (cm)"] = None
    rows.to_csv("rows.csv", index=False)
    assert main(["predict", "latest", "--input", "rows.csv", "--output", "a.parquet"]) == 2
    assert "is empty in row 141" in capsys.readouterr().err
    assert not list(Path.cwd().glob("a.parquet*"))


def test_rows_without_names_come_in_the_order_of_training(capsys, run, rows):
    expected = predicted(capsys, "--input", "rows.csv")
    rows.drop(columns="id").to_csv("bare.csv", index=False, header=False)
    assert predicted(capsys, "--input", "bare.csv", "--no-header") == expected
    rows.to_csv("bare.csv", index=False, header=False)
    assert main(["predict", "latest", "--input", "bare.csv", "--no-header"]) == 2
    assert "5 columns without names; the network learnt from 4" in capsys.readouterr().err


def test_a_column_to_keep_may_stand_among_rows_without_names(capsys, run, rows):
    expected = predicted(capsys, "--input", "rows.csv").splitlines()[1:]
    rows.to_csv("bare.csv", index=False, header=False)
    found = predicted(capsys, "--input", "bare.csv", "--no-header", "--keep", "0").splitlines()
    assert found[0].startswith("0,prediction,")
    assert found[1:] == [f"{name},{line}" for name, line in zip(rows["id"], expected, strict=True)]


def test_words_that_training_never_saw_are_counted_or_refused(capsys, rows):
    rows["colour"] = np.where(rows.index % 2, "red", "blue")
    rows["species"] = np.where(rows.index > 75, "one", "other")
    rows.to_csv("seen.csv", index=False)
    words = ["data=table", "data.path=seen.csv", "data.target=species", "data.drop=[id]"]
    assert main(["train", *words, "trainer.max_epochs=1", "trainer=cpu", "observe=off"]) == 0
    rows.loc[3, "colour"] = "pink"
    rows.to_csv("pink.csv", index=False)
    capsys.readouterr()
    assert main(["predict", "latest", "--input", "pink.csv", "--output", "a.csv"]) == 0
    assert "taken for none of those it saw: colour in 1 row. (--unseen" in capsys.readouterr().err
    words = ["--input", "pink.csv", "--output", "b.csv", "--unseen", "refuse"]
    assert main(["predict", "latest", *words]) == 2
    assert "row 4 ('pink')" in capsys.readouterr().err
    assert not Path("b.csv").exists()


def test_a_run_on_arrays_takes_columns_by_position(capsys, rows):
    data = Iris().load(0)
    fit(Network([4, 3]), (data.inputs, data.targets), epochs=1, folder="run", progress=False)
    rows.drop(columns="id").to_csv("rows.csv", index=False)
    assert main(["predict", "run", "--input", "rows.csv"]) == 0
    capsys.readouterr()
    rows.to_csv("rows.csv", index=False)
    assert main(["predict", "run", "--input", "rows.csv"]) == 2
    assert "lack the columns input_0, input_1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.rename(columns={"petal width (cm)": "petal_width (cm)"}),
         "lack the column petal width (cm)"),
        (lambda rows: rows.assign(**{"petal width (cm)": [1.0] * 149 + [None]}),
         "'petal width (cm)' is empty in row 150"),
        (lambda rows: rows.assign(**{"sepal length (cm)": ["tall"] + [1.0] * 149}),
         "row 1 ('tall')"),
        (lambda rows: rows.replace(5.1, float("inf")), "'sepal length (cm)' holds finite numbers"),
        (lambda rows: rows[:0], "no rows below it"),
    ],
    ids=["lacking", "missing", "word", "infinite", "empty"],
)  # fmt: skip
def test_rows_that_cannot_be_answered_leave_nothing_behind(
    capsys, run, rows, empty_folder, change, said
):
    change(rows).to_csv("bad.csv", index=False)
    before = sorted(empty_folder.iterdir())
    assert main(["predict", "latest", "--input", "bad.csv", "--output", "answers.csv"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert sorted(empty_folder.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "predict needs one run"),
        (["latest"], "predict needs rows to answer"),
        (["latest", "runs", "--input", "rows.csv"], "needs one run"),
        (["nothing", "--input", "rows.csv"], "there is no run nothing"),
        (["latest", "--input", "no.csv"], "there is no file no.csv"),
        (["latest", "--input", "n" * 300], "(File name too long)"),
        (["n" * 300, "--input", "rows.csv"], "can have so long a name: nnn"),
        (["latest", "--input", "rows.csv", "--output", "n" * 300 + ".csv"], "File name too long"),
        (["latest", "--input", "rows.csv", "--overwrite=1"], "--overwrite takes no value"),
        (["latest", "--input", "rows.csv", "--output", "rows.csv"], "is the input"),
        (["latest", "--input", "rows.csv", "--output", "there.csv"], "Add --overwrite"),
        (["latest", "--input", "rows.csv", "--output", "runs"], "is a folder"),
        (["latest", "--input", "rows.csv", "--output", "no/a.csv"], "there is no folder no"),
        (["latest", "--input", "rows.csv", "--output", "a.xlsx"], "end in .csv"),
        (["latest", "--input", "rows.csv", "--to", "parquet"], "add --output FILE.parquet"),
        (["latest", "--input", "rows.csv", "--keep", "ID"], "no column 'ID'"),
        (["latest", "--input", "rows.csv", "--keep", "id,id"], "names a column twice"),
        (["latest", "--input", "rows.csv", "--unseen", "ignore"], "--unseen takes other or refuse"),
        (["latest", "--input", "rows.csv", "optimizer.lr=1"], "optimizer.lr has no place here"),
        (["latest", "--input", "rows.csv", "network._target_=a.B"], "was trained with brainnet"),
        (["latest", "--inptu", "rows.csv"], "Did you mean --input?"),
    ],
)
def test_a_slip_is_told(capsys, run, rows, words, said):
    there = Path("there.csv")
    there.write_text("mine")
    assert main(["predict", *words]) == 2
    assert said in capsys.readouterr().err
    assert there.read_text() == "mine"


def test_an_output_is_replaced_where_that_is_asked_for(capsys, run, rows):
    words = ["predict", "latest", "--input", "rows.csv", "--output", "answers.csv"]
    assert main(words) == 0
    assert main([*words, "--overwrite", "--keep", "id"]) == 0
    assert pd.read_csv("answers.csv").shape == (150, 5)


def test_a_class_of_the_users_own_needs_consent(capsys, rows, empty_folder, monkeypatch):
    (empty_folder / "their").mkdir()
    (empty_folder / "their" / "__init__.py").write_text("")
    (empty_folder / "their" / "net.py").write_text(
        "from torch import nn\nclass Net(nn.Linear):\n"
        "    def __init__(self, inputs, outputs): super().__init__(inputs, outputs)\n"
    )
    own = "network._target_=their.net.Net"
    train = ["train", "data=iris", "network=custom", own, "trainer.max_epochs=1", "trainer=cpu"]
    assert main(train) == 0
    words = ["predict", "latest", "--input", "rows.csv"]
    capsys.readouterr()
    assert main(words) == 2
    assert "the network of this run is a class of its own, their.net.Net" in capsys.readouterr().err
    assert main([*words, own]) == 0
    monkeypatch.setenv("BRAINNET_ALLOW", "their")
    assert main(words) == 0


def test_a_terminal_is_told_how_far_it_is(capsys, run, rows, monkeypatch):
    monkeypatch.setattr(predict, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert main(["predict", "latest", "--input", "rows.csv", "--output", "a.csv"]) == 0
    assert "150 rows, " in capsys.readouterr().err


def test_help_is_told(capsys):
    assert main(["predict", "--help"]) == 0
    said = capsys.readouterr().out
    for option in (*predict.OPTIONS, *predict.SWITCHES):
        assert option in said


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_leaves_nothing_behind(run, rows, empty_folder, sent, code):
    pd.concat([rows] * 4000).to_csv("many.csv", index=False)
    before = sorted(empty_folder.iterdir())
    words = ["predict", "latest", "--input", "many.csv", "--output", "answers.csv"]
    environment = os.environ | {"PYTHONPATH": str(Path(predict.__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-m", "brainnet", *words], env=environment)
    deadline = time.monotonic() + 120
    while not list(empty_folder.glob("answers.csv.*.part")):
        assert process.poll() is None, "it ended before it began to write"
        assert time.monotonic() < deadline, "it wrote nothing"
        time.sleep(0.05)
    process.send_signal(sent)
    assert process.wait(100) == code
    assert sorted(empty_folder.iterdir()) == before


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_without_rows_leaves_nothing(capsys, run, rows, ending):
    rows.iloc[:0].to_parquet("none.parquet")
    assert main(["predict", "latest", "--input", "none.parquet", "--output", f"a.{ending}"]) == 2
    assert "there are no rows to answer" in capsys.readouterr().err
    assert not Path(f"a.{ending}").exists()
