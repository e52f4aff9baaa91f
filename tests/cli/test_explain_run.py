"""`brainnet explain --run`: the run's own numbers and any row, on terminals and as JSON."""

import json
import re
from io import BytesIO, TextIOWrapper

import pytest

from brainnet.cli.explain import run as explain
from brainnet.cli.main import main
from brainnet.concepts import CONCEPTS

ANSI = re.compile(r"\033\[\d+m")


def shown(capsys, *words):
    assert main(["explain", *words]) == 0
    return capsys.readouterr().out


def refused(capsys, *words):
    assert main(["explain", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return " ".join(captured.err.split())


@pytest.fixture
def rows(empty_folder):
    path = empty_folder / "rows.csv"
    path.write_text(
        "petal width (cm),petal length (cm),sepal width (cm),sepal length (cm),leaf\n"
        "0.2,1.4,3.5,5.1,green\n1.8,5.1,3.0,5.9,dark\n,5.1,3.0,5.9,dark\n"
    )
    return path


def test_a_run_is_told_in_a_line_for_each_concept(capsys, run):
    told = shown(capsys, "--run", "latest")
    assert all(f"  {concept.name} " in told for concept in CONCEPTS)
    assert f"brainnet explain --run {run} --row 0" in told


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)
def test_each_concept_is_told_with_the_runs_own_numbers(capsys, run, concept):
    told = shown(capsys, concept.slug, "--run", str(run))
    assert told.splitlines()[1] == f"{concept.name} of {run}"
    assert f"What it means: brainnet explain {concept.slug}" in told
    data = json.loads(shown(capsys, concept.slug, "--run", str(run), "--json"))
    assert data["run"] == str(run)
    assert data["concept"] == concept.name
    assert data["report"]


def test_as_json_the_whole_run_is_one_object(capsys, run):
    data = json.loads(shown(capsys, "--run=latest", "--json"))
    assert list(data["concepts"]) == [concept.slug for concept in CONCEPTS]
    assert data["checkpoint"].endswith("best.ckpt")
    assert data["concepts"]["layers"]["trainable_parameters"] == 4 * 4 + 4 + 4 * 3 + 3


def test_a_row_is_followed_to_its_answer(capsys, run):
    told = shown(capsys, "--run", "latest", "--row", "3")
    for heading in (
        "row 3 of iris: ",
        "Prediction",
        "Contributions to ",
        "hidden_1: 4 neurons",
    ):
        assert heading in told
    data = json.loads(shown(capsys, "--run", "latest", "--row", "3", "--json"))
    assert (data["row"], data["rows"], data["part"]) == (3, 150, data["part"])
    assert data["explanation"]["prediction"]["true_class"] == "setosa"
    assert f"to {data['explanation']['score']['prediction']} rather than" in told


def test_a_row_of_a_file_needs_only_its_columns_in_any_order(capsys, run, rows):
    data = json.loads(
        shown(capsys, "--run", "latest", "--row", "1", "--input", str(rows), "--json")
    )
    assert data["source"] == str(rows)
    assert data["part"] is None
    values = {each["name"]: round(each["value"], 2) for each in data["columns"]}
    assert values["sepal length (cm)"] == 5.9
    assert values["petal width (cm)"] == 1.8
    assert data["explanation"]["prediction"]["true_class"] is None


def test_a_row_may_come_through_a_pipe(capsys, run, rows, monkeypatch):
    typed = ["--run", "latest", "--row", "1", "--json", "--input"]
    from_file = json.loads(shown(capsys, *typed, str(rows)))
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(rows.read_bytes())))
    piped = json.loads(shown(capsys, *typed, "-"))
    assert piped == from_file | {"source": "the standard input"}


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--run", "latest", "--row", "150"], "iris has rows 0 to 149; got 150"),
        (["--run", "latest", "--row", "-1"], "iris has rows 0 to 149; got -1"),
        (
            ["--run", "latest", "--row", "2.5"],
            "needs a whole number, counted from 0; got 2.5",
        ),
        (["--run", "latest", "--row"], "--row needs a value: --row N"),
        (["--run", "nowhere"], "there is no run nowhere"),
        (["--run"], "--run needs a value: --run RUN"),
        (["wieghts", "--run", "latest"], "Did you mean weights?"),
        (["weights", "--run", "latest", "--row", "3"], "leave weights out, or the row"),
        (["--row", "3"], "--row needs a run whose network answers"),
        (["--input", "rows.csv"], "--input needs a run whose network answers"),
        (["--run", "latest", "--input", "rows.csv"], "which row of rows.csv? Say --row N"),
        (["--run", "latest", "--input", "gone.csv", "--row", "0"], "there is no file gone.csv"),
        (["--run", "latest", "--input", "rows.csv", "--row", "3"], "rows.csv has rows 0 to 2"),
        (["--run", "latest", "--input", "rows.csv", "--row", "2"], "petal width (cm)"),
        (["--run", "latest", "optimizer.lr=1"], "optimizer.lr has no place here"),
        (["--rnu", "latest"], "explain has no option --rnu. Did you mean --run?"),
    ],
)
def test_wrong_input_ends_with_code_2_and_one_message(capsys, run, rows, words, answer):
    assert answer in refused(capsys, *words)


def test_a_run_nobody_looked_at_still_tells_the_rest(capsys, run):
    (run / "readings.bin").unlink()
    told = " ".join(shown(capsys, "learning-rate", "--run", str(run)).split())
    assert "No observed steps are stored" in told
    assert "hidden_1" in shown(capsys, "backpropagation", "--run", str(run))


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_it_fits_the_terminal_with_colours_or_without(capsys, run, monkeypatch, columns):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    pages = [["--run", "latest", "--row", "77"], ["neurons", "--run", "latest"]]
    for words in pages:
        coloured = shown(capsys, *words)
        assert "\033[1m" in coloured
        lines = [ANSI.sub("", line) for line in coloured.splitlines()]
        assert [line for line in lines if len(line) > columns] == []


def test_the_help_names_every_option(capsys):
    assert explain(["--run", "latest", "--help"]) == 0
    told = capsys.readouterr().out
    assert all(option in told for option in ("--run", "--row", "--input", "--json"))
