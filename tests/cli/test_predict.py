"""Tests of `brainnet predict`."""

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
from brainnet.inference import inputs as inputs_module
from brainnet.learning.predictions import BATCH_ROWS
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


def test_lightning_is_not_imported():
    program = "import sys, brainnet.cli.predict; print('lightning' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_predictions_equal_those_of_python(capsys, run, rows):
    found = pd.read_csv(io.StringIO(predicted(capsys, "--input", "rows.csv")))
    expected = load(run).predict(rows)
    assert list(found.columns) == list(expected.columns)
    assert found["prediction"].tolist() == expected["prediction"].tolist()
    assert found.iloc[:, 1:].to_numpy() == pytest.approx(expected.iloc[:, 1:].to_numpy(), abs=6e-7)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_kept_columns_are_written_to_a_file(capsys, run, rows, ending):
    words = ["--input", "rows.csv", "--output", f"answers.{ending}", "--keep", "id"]
    assert main(["predict", "latest", *words]) == 0
    assert "predicted 150 rows in answers" in capsys.readouterr().err
    found = {
        "csv": lambda file: pd.read_csv(file, dtype={"id": str}),
        "jsonl": lambda file: pd.DataFrame(map(json.loads, Path(file).read_text().splitlines())),
        "parquet": pd.read_parquet,
    }[ending](f"answers.{ending}")
    assert found["id"].tolist() == rows["id"].tolist()
    assert found["prediction"].tolist() == load(run).predict(rows)["prediction"].tolist()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_kept_whole_numbers_next_to_missing_ones(capsys, run, rows, ending):
    rows["id"] = pd.array([None if row == 7 else row for row in range(len(rows))], dtype="Int64")
    rows.to_csv("rows.csv", index=False)
    rows.to_parquet("rows.parquet")
    words = ["--input", f"rows.{ending}", "--keep", "id"]
    lines = predicted(capsys, *words).splitlines()
    assert [line.partition(",")[0] for line in lines[7:10]] == ["6", "", "8"]
    assert main(["predict", "latest", *words, "--output", "a.parquet"]) == 0
    kept = pd.read_parquet("a.parquet", dtype_backend="pyarrow")["id"]
    assert kept.dropna().astype(int).tolist() == rows["id"].dropna().tolist()


def test_outputs_do_not_depend_on_the_batches(tmp_path, monkeypatch):
    inputs = np.random.default_rng(0).standard_normal((40_000, 10)).astype(np.float32)
    network = Network([10, 50, 7, 2])
    targets = (inputs[:, 0] > 0).astype(np.int64)
    fit(network, (inputs[:200], targets[:200]), epochs=1, folder="run", progress=False)
    np.save("rows.npy", inputs)
    trained = load("run")
    whole = trained.compute_outputs(inputs)
    for most in (1, 3):
        monkeypatch.setattr(
            inputs_module, "choose_table_batch_rows", lambda columns, rows=most * BATCH_ROWS: rows
        )
        parts = inputs_module.read_table_batches(trained.encoder, open_table("rows.npy"))
        cut = [trained.compute_outputs(rows) for _, rows in parts]
        assert len(cut) > 1
        assert torch.equal(torch.cat(cut), whole)


def test_columns_are_matched_by_name_and_others_reported(capsys, caplog, run, rows):
    expected = predicted(capsys, "--input", "rows.csv")
    shuffled = rows[rows.columns[::-1]].assign(species="setosa", more=1)
    shuffled.to_csv("shuffled.tsv", index=False, sep="\t")
    caplog.clear()
    assert main(["predict", "latest", "--input", "shuffled.tsv"]) == 0
    said = capsys.readouterr()
    assert said.out == expected
    assert len(caplog.records) == 1
    assert (
        "columns that were not in the training data, ignored here: id, species, more" in caplog.text
    )


def test_standard_input_is_read(capsys, run, rows, monkeypatch):
    expected = predicted(capsys, "--input", "rows.csv")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path("rows.csv").read_bytes())))
    assert predicted(capsys, "--input", "-") == expected


def test_errors_name_the_standard_input(capsys, run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert main(["predict", "latest", "--input", "-"]) == 2
    assert "error: the standard input is empty" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_pipe_is_read_once(capsys, run, rows, ending):
    expected = predicted(capsys, "--input", "rows.csv")
    rows.to_parquet("rows.parquet")
    pipe, content = Path("a pipe"), Path(f"rows.{ending}").read_bytes()
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(content))
    writer.start()
    assert predicted(capsys, "--input", str(pipe)) == expected
    writer.join(100)


def test_errors_name_the_pipe(capsys, run):
    assert main(["predict", "latest", "--input", "/dev/null"]) == 2
    assert "error: /dev/null is empty" in capsys.readouterr().err


def test_output_may_be_a_link_or_a_pipe(capsys, run, rows):
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


def test_late_error_leaves_no_parquet_file(capsys, run, rows, monkeypatch):
    monkeypatch.setattr(inputs_module, "choose_table_batch_rows", lambda columns: 100)
    rows.loc[140, "petal width (cm)"] = None
    rows.to_csv("rows.csv", index=False)
    assert main(["predict", "latest", "--input", "rows.csv", "--output", "a.parquet"]) == 2
    assert "is empty in row 141" in capsys.readouterr().err
    assert not list(Path.cwd().glob("a.parquet*"))


def test_columns_without_header_are_in_training_order(capsys, run, rows):
    expected = predicted(capsys, "--input", "rows.csv")
    rows.drop(columns="id").to_csv("bare.csv", index=False, header=False)
    assert predicted(capsys, "--input", "bare.csv", "--no-header") == expected
    rows.to_csv("bare.csv", index=False, header=False)
    assert main(["predict", "latest", "--input", "bare.csv", "--no-header"]) == 2
    assert "they have 0, 1, 2, 3, 4. " in capsys.readouterr().err


def test_kept_column_without_header(capsys, run, rows):
    expected = predicted(capsys, "--input", "rows.csv").splitlines()[1:]
    rows.to_csv("bare.csv", index=False, header=False)
    found = predicted(capsys, "--input", "bare.csv", "--no-header", "--keep", "0").splitlines()
    assert found[0].startswith("0,prediction,")
    assert found[1:] == [f"{name},{line}" for name, line in zip(rows["id"], expected, strict=True)]


def test_unknown_categories_are_reported_or_rejected(capsys, caplog, rows):
    rows["colour"] = np.where(rows.index % 2, "red", "blue")
    rows["species"] = np.where(rows.index > 75, "one", "other")
    rows.to_csv("seen.csv", index=False)
    words = ["data=table", "data.path=seen.csv", "data.target=species", "data.drop=[id]"]
    assert main(["train", *words, "trainer.max_epochs=1", "trainer=cpu", "observe=off"]) == 0
    rows.loc[3, "colour"] = "pink"
    rows.to_csv("pink.csv", index=False)
    capsys.readouterr()
    assert main(["predict", "latest", "--input", "pink.csv", "--output", "a.csv"]) == 0
    assert "column 'colour': 1 row with categories not seen in training" in caplog.text
    words = ["--input", "pink.csv", "--output", "b.csv", "--unknown", "error"]
    assert main(["predict", "latest", *words]) == 2
    assert "row 4 ('pink')" in capsys.readouterr().err
    assert not Path("b.csv").exists()


def test_run_on_arrays_matches_columns_by_position(capsys, rows):
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
        (lambda rows: rows.replace(5.1, float("inf")), "'sepal length (cm)' contains finite"),
        (lambda rows: rows[:0], "no rows below it"),
    ],
    ids=["lacking", "missing", "word", "infinite", "empty"],
)  # fmt: skip
def test_invalid_rows_leave_no_file(capsys, run, rows, empty_folder, change, said):
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
        ([], "required: "),
        (["latest"], "required: --input"),
        (["latest", "runs", "--input", "rows.csv"], "cannot read 'runs'"),
        (["nothing", "--input", "rows.csv"], "there is no run nothing"),
        (["latest", "--input", "no.csv"], "there is no file no.csv"),
        (["latest", "--input", "n" * 300], "file name too long"),
        (["n" * 300, "--input", "rows.csv"], "file name too long"),
        (["latest", "--input", "rows.csv", "--output", "n" * 300 + ".csv"], "file name too long"),
        (["latest", "--input", "rows.csv", "--overwrite=1"], "argument --overwrite"),
        (["latest", "--input", "rows.csv", "--output", "rows.csv"], "is the input"),
        (["latest", "--input", "rows.csv", "--output", "there.csv"], "Add --overwrite"),
        (["latest", "--input", "rows.csv", "--output", "runs", "--to", "csv"], "is a folder"),
        (["latest", "--input", "rows.csv", "--output", "no/a.csv"], "there is no folder no"),
        (["latest", "--input", "rows.csv", "--output", "a.xlsx"], "end in .csv"),
        (["latest", "--input", "rows.csv", "--to", "parquet"], "add --output FILE.parquet"),
        (["latest", "--input", "rows.csv", "--keep", "ID"], "no column 'ID'"),
        (["latest", "--input", "rows.csv", "--keep", "id,id"], "names a column twice"),
        (["latest", "--input", "rows.csv", "--unknown", "other"], "--unknown"),
        (["latest", "--input", "rows.csv", "optimizer.lr=1"], "optimizer.lr cannot be set here"),
        (["latest", "--input", "rows.csv", "network._target_=a.B"], "was trained with brainnet"),
        (["latest", "--inptu", "rows.csv"], "Did you mean --input?"),
    ],
)
def test_invalid_arguments_are_rejected(capsys, run, rows, words, said):
    there = Path("there.csv")
    there.write_text("mine")
    assert main(["predict", *words]) == 2
    assert said in capsys.readouterr().err
    assert there.read_text() == "mine"


def test_overwrite_replaces_the_output(capsys, run, rows):
    words = ["predict", "latest", "--input", "rows.csv", "--output", "answers.csv"]
    assert main(words) == 0
    assert main([*words, "--overwrite", "--keep", "id"]) == 0
    assert pd.read_csv("answers.csv").shape == (150, 5)


def test_custom_class_must_be_allowed(capsys, rows, empty_folder, monkeypatch):
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
    assert "network._target_=their.net.Net is not allowed" in capsys.readouterr().err
    assert main([*words, own]) == 0
    monkeypatch.setenv("BRAINNET_ALLOW", "their")
    assert main(words) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_leaves_no_file(run, rows, empty_folder, sent, code):
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
def test_table_without_rows_leaves_no_file(capsys, run, rows, ending):
    rows.iloc[:0].to_parquet("none.parquet")
    assert main(["predict", "latest", "--input", "none.parquet", "--output", f"a.{ending}"]) == 2
    assert "the input contains no rows" in capsys.readouterr().err
    assert not Path(f"a.{ending}").exists()


def test_progress_is_shown_on_a_terminal(capsys, run, rows, monkeypatch):
    expected = predicted(capsys, "--input", "rows.csv")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["predict", "latest", "--input", "rows.csv"]) == 0
    printed = capsys.readouterr()
    assert printed.out == expected
    assert "predicted 150 rows" in printed.err
