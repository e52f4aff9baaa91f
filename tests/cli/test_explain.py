"""`brainnet explain`: concepts, runs and rows, as text and as JSON."""

import io
import json
import re
import subprocess
import sys
from io import BytesIO, TextIOWrapper

import pytest

from brainnet.cli.explain import OVERRIDES, TAGS
from brainnet.cli.main import main
from brainnet.cli.options import load_named_run
from brainnet.concepts import CONCEPTS
from brainnet.config.compose import compose_config, parse_overrides, resolve_config
from brainnet.config.schema import check_config
from brainnet.explanation.worked_example import describe_concept
from brainnet.observation.tags import Tag

EACH = pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)
ANSI = re.compile(r"\033\[[\d;]+m")


def join_words(text):
    return " ".join(text.split())


def show(capsys, *words):
    assert main(["explain", *words]) == 0
    return capsys.readouterr().out


def reject(capsys, *words):
    assert main(["explain", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return join_words(captured.err)


def use_terminal(monkeypatch, columns):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def rows(empty_folder):
    path = empty_folder / "rows.csv"
    path.write_text(
        "petal width (cm),petal length (cm),sepal width (cm),sepal length (cm),leaf\n"
        "0.2,1.4,3.5,5.1,green\n1.8,5.1,3.0,5.9,dark\n,5.1,3.0,5.9,dark\n"
    )
    return path


@EACH
def test_a_concept_page_shows_everything_about_it(concept, capsys):
    text = join_words(show(capsys, concept.slug))
    facts = (concept.analogy, concept.definition, concept.formula, concept.home, concept.reference)
    numbers = [line for line in describe_concept(concept) if line.startswith(" ")]
    tags = [tag.at("hidden_1") for tag in TAGS[concept]]
    overrides = [f"brainnet train {override}" for override in OVERRIDES[concept]]
    for expected in (*facts, *numbers, *tags, *overrides):
        assert join_words(expected) in text


def test_without_a_name_all_concepts_are_listed_by_group(capsys):
    lines = show(capsys).splitlines()
    headings = [line for line in lines if line.startswith("The ")]
    assert headings == ["The structural primitives:", "The learning mechanics:"]
    listed = [line[2:22].strip() for line in lines if line.startswith("  ")]
    assert listed == [concept.name for concept in CONCEPTS]


def test_a_name_of_two_words_needs_no_quotes(capsys):
    assert show(capsys, "forward", "pass") == show(capsys, "forward_pass")


@EACH
def test_json_of_a_concept(concept, capsys):
    text = show(capsys, concept.slug, "--json")
    values = json.loads(text)
    assert text.isascii()
    assert values["name"] == concept.name
    assert values["formula"] == concept.formula
    assert values["worked_example"][1:] == list(describe_concept(concept))
    assert values["overrides"] == OVERRIDES[concept]


def test_json_without_a_name_is_a_list_of_all_concepts(capsys):
    values = json.loads(show(capsys, "--json"))
    assert [each["name"] for each in values] == [concept.name for concept in CONCEPTS]


def test_help_names_every_option(capsys):
    text = show(capsys, "weights", "--help")
    assert all(option in text for option in ("--run", "--row", "--input", "--json"))


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["wieghts"], "got 'wieghts'. Did you mean weights?"),
        (["squirrel"], "Choose one of: layers, neurons"),
        (["weights", "biases"], "got 'weights biases'"),
        (["--jsno"], "explain has no option --jsno. Did you mean --json?"),
        (["--rnu", "latest"], "explain has no option --rnu. Did you mean --run?"),
        (["--run"], "--run"),
        (["--row", "3"], "brainnet explain --run latest --row 3"),
        (["--input", "rows.csv"], "brainnet explain --run latest --input rows.csv"),
        (["weights", "optimizer.lr=1"], "explain needs a run for optimizer.lr=1: add --run RUN"),
    ],
)
def test_invalid_words_are_rejected(words, answer, capsys):
    assert answer in reject(capsys, *words)


@pytest.mark.parametrize(
    ("name", "run"),
    [("latest", "latest"), ("lastest", "latest"), ("mine", "mine"), ("a b.ckpt", "'a b.ckpt'")],
)
def test_a_run_without_its_option_is_rejected_with_the_command(name, run, empty_folder, capsys):
    (empty_folder / "mine").mkdir()
    (empty_folder / "mine" / "summary.json").write_text("{}")
    assert f"Did you mean brainnet explain --run {run}?" in reject(capsys, name)


@pytest.mark.parametrize("width", [40, 60, 80, 100])
@EACH
def test_prose_fits_the_terminal(concept, width, capsys, monkeypatch):
    use_terminal(monkeypatch, width)
    lines = [ANSI.sub("", line).rstrip() for line in show(capsys, concept.slug).splitlines()]
    assert [line for line in lines if len(line) > width and not line.startswith(" ")] == []


def test_colors_are_used_on_terminals_only(capsys, monkeypatch):
    plain = show(capsys, "weights")
    assert "\033" not in plain
    use_terminal(monkeypatch, 80)
    colored = show(capsys, "weights")
    assert "\033[1m" in colored
    assert ANSI.sub("", colored) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033[36m" not in show(capsys, "weights")


def test_an_old_encoding_replaces_unknown_characters(monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    assert main(["explain", "weights"]) == 0
    narrow.flush()
    assert b"z = ?? w? x?" in narrow.buffer.getvalue()


@EACH
def test_every_suggested_override_is_accepted(concept):
    for override in OVERRIDES[concept]:
        config = resolve_config(compose_config(parse_overrides(override.split())))
        check_config(config)


def test_every_concept_has_a_tag_and_an_override():
    assert set(TAGS) == set(OVERRIDES) == set(CONCEPTS)
    assert all(TAGS.values())
    assert all(OVERRIDES.values())
    assert all(isinstance(tag, Tag) for shown in TAGS.values() for tag in shown)


def test_a_concept_page_imports_no_torch():
    code = (
        "import sys; from brainnet.cli.main import main; main(['explain', 'weights']);"
        "print(sorted({'torch', 'hydra', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert result.stdout.decode().splitlines()[-1] == "[]"


def test_a_run_has_one_line_per_concept(capsys, run):
    text = show(capsys, "--run", "latest")
    assert all(f"  {concept.name} " in text for concept in CONCEPTS)
    assert f"brainnet explain --run {run} --row 0" in text


@EACH
def test_a_concept_with_the_numbers_of_a_run(capsys, run, concept):
    text = show(capsys, concept.slug, "--run", str(run))
    assert text.splitlines()[1] == f"{concept.name} of {run}"
    assert f"What it means: brainnet explain {concept.slug}" in text
    data = json.loads(show(capsys, concept.slug, "--run", str(run), "--json"))
    assert data["run"] == str(run)
    assert data["concept"] == concept.name
    assert data["report"]


def test_json_of_a_run_is_one_object(capsys, run):
    data = json.loads(show(capsys, "--run=latest", "--json"))
    assert list(data["concepts"]) == [concept.slug for concept in CONCEPTS]
    assert data["checkpoint"].endswith("best.ckpt")
    assert data["concepts"]["layers"]["trainable_parameters"] == 4 * 4 + 4 + 4 * 3 + 3


def test_a_row_is_explained(capsys, run):
    text = show(capsys, "--run", "latest", "--row", "3")
    for heading in ("row 3 of iris: ", "Prediction", "Contributions to ", "hidden_1: 4 neurons"):
        assert heading in text
    data = json.loads(show(capsys, "--run", "latest", "--row", "3", "--json"))
    assert (data["row"], data["rows"]) == (3, 150)
    assert data["part"] in ("train", "validation", "test")
    assert data["prediction"]["true_class"] == "setosa"
    score = data["score"]
    assert f"to {score['prediction']} rather than {score['alternative']}" in text


def test_columns_of_a_file_may_have_any_order(capsys, run, rows):
    words = ("--run", "latest", "--row", "1", "--input", str(rows), "--json")
    data = json.loads(show(capsys, *words))
    assert data["source"] == str(rows)
    assert data["part"] is None
    values = {each["name"]: round(each["value"], 2) for each in data["columns"]}
    assert values["sepal length (cm)"] == 5.9
    assert values["petal width (cm)"] == 1.8
    assert data["prediction"]["true_class"] is None


def test_a_row_may_come_through_a_pipe(capsys, run, rows, monkeypatch):
    words = ["--run", "latest", "--row", "1", "--json", "--input"]
    from_file = json.loads(show(capsys, *words, str(rows)))
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(rows.read_bytes())))
    piped = json.loads(show(capsys, *words, "-"))
    assert piped == from_file | {"source": "the standard input"}


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--run", "latest", "--row", "150"], "150"),
        (["--run", "latest", "--row", "-1"], "-1"),
        (["--run", "latest", "--row", "2.5"], "--row"),
        (["--run", "latest", "--row"], "--row"),
        (["--run", "nowhere"], "nowhere"),
        (["wieghts", "--run", "latest"], "Did you mean weights?"),
        (["weights", "--run", "latest", "--row", "3"], "leave out weights, or the row"),
        (["--run", "latest", "--input", "rows.csv"], "--row"),
        (["--run", "latest", "--input", "gone.csv", "--row", "0"], "gone.csv"),
        (["--run", "latest", "--input", "rows.csv", "--row", "3"], "0 to 2"),
        (["--run", "latest", "--input", "rows.csv", "--row", "2"], "petal width (cm)"),
        (["--run", "latest", "optimizer.lr=1"], "optimizer.lr"),
    ],
)
def test_invalid_runs_and_rows_are_rejected(capsys, run, rows, words, answer):
    assert answer in reject(capsys, *words)


def test_only_typed_targets_are_allowed(run):
    overrides = ["paths.runs=torch.nn.Linear", "data._target_='brainnet.data.datasets.Iris'"]
    _, allow_list = load_named_run(str(run), overrides, "explain")
    assert allow_list.typed == {"brainnet.data.datasets.Iris"}


def test_a_run_without_readings_is_still_explained(capsys, run):
    (run / "readings.bin").unlink()
    text = join_words(show(capsys, "learning-rate", "--run", str(run)))
    assert "No observed steps are stored" in text
    assert "hidden_1" in show(capsys, "backpropagation", "--run", str(run))


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_row_fits_the_terminal(capsys, run, monkeypatch, columns):
    use_terminal(monkeypatch, columns)
    text = ANSI.sub("", show(capsys, "--run", "latest", "--row", "77"))
    assert [line for line in text.splitlines() if len(line.rstrip()) > columns] == []
