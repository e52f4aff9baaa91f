"""The command `brainnet explain`: every concept, in every form, on terminals wide and narrow."""

import io
import json
import re
import subprocess
import sys

import pytest

from brainnet.cli.explain import HELP, OVERRIDES, TAGS, Page, page_of, run, write
from brainnet.cli.main import main
from brainnet.concepts import CONCEPTS, WEIGHTS
from brainnet.config.compose import Composer, parse
from brainnet.config.schema import check_config, to_plain
from brainnet.errors import InputError
from brainnet.explanation.worked_example_text import describe_concept
from brainnet.observation.tags import Tag

EACH = pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)
ANSI = re.compile(r"\033\[\d+m")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def words(text):
    return " ".join(text.split())


@EACH
def test_a_concept_is_told_with_all_that_belongs_to_it(concept, capsys):
    assert run([concept.slug]) == 0
    shown = words(capsys.readouterr().out)
    facts = (concept.analogy, concept.definition, concept.formula, concept.home, concept.reference)
    numbers = [line for line in describe_concept(concept) if line.startswith(" ")]
    tags = [tag.at("hidden_1") for tag in TAGS[concept]]
    overrides = [f"brainnet train {override}" for override in OVERRIDES[concept]]
    for expected in (*facts, *numbers, *tags, *overrides):
        assert words(expected) in shown


def test_without_a_name_all_eleven_are_listed_in_two_groups(capsys):
    assert run([]) == 0
    lines = capsys.readouterr().out.splitlines()
    headings = [line for line in lines if line.startswith("The ")]
    assert headings == ["The structural primitives", "The learning mechanics"]
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert listed == [concept.slug for concept in CONCEPTS]


def test_a_name_of_two_words_needs_no_quotes(capsys):
    run(["forward", "pass"])
    unquoted = capsys.readouterr().out
    run(["forward_pass"])
    assert capsys.readouterr().out == unquoted


@EACH
def test_json_holds_the_same_for_programs(concept, capsys):
    assert run([concept.slug, "--json"]) == 0
    text = capsys.readouterr().out
    told = json.loads(text)
    assert text.isascii()
    assert told["name"] == concept.name
    assert told["formula"] == concept.formula
    assert told["worked_example"][1:] == list(describe_concept(concept))
    assert told["overrides"] == OVERRIDES[concept]


def test_json_without_a_name_is_a_list_of_all(capsys):
    assert run(["--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in told] == [concept.name for concept in CONCEPTS]


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_shown(option, capsys):
    assert run(["weights", option]) == 0
    assert capsys.readouterr().out == HELP


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (["wieghts"], "got 'wieghts'. Did you mean weights?"),
        (["squirrel"], "Choose one of: layers, neurons"),
        (["weights", "biases"], "got 'weights biases'"),
        (["--jsno"], "explain has no option --jsno. Did you mean --json?"),
    ],
)
def test_wrong_input_ends_with_code_2_and_one_message(typed, answer, capsys):
    with pytest.raises(InputError):
        run(typed)
    assert main(["explain", *typed]) == 2
    shown = capsys.readouterr()
    assert answer in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("name", "run"),
    [("latest", "latest"), ("lastest", "latest"), ("mine", "mine"), ("a b.ckpt", "'a b.ckpt'")],
)
def test_a_run_that_is_named_alone_is_met_with_how_to_name_it(
    name, run, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "summary.json").write_text("{}")
    assert main(["explain", name]) == 2
    assert f"Did you mean brainnet explain --run {run}?" in capsys.readouterr().err


@pytest.mark.parametrize("width", [40, 60, 80, 100])
@EACH
def test_prose_fits_the_width_and_only_drawings_and_commands_stand_out(concept, width):
    drawings = {line for line in describe_concept(concept) if line.startswith(" ")}
    terms = {f"  brainnet train {override}" for override in OVERRIDES[concept]}
    terms |= {f"  {tag.at('hidden_1')}" for tag in TAGS[concept]}
    broad = {line for line in page_of(concept, Page(width)) if len(line) > width}
    assert {line for line in broad if " " in line.strip()} <= drawings | terms


def test_colours_change_nothing_but_the_colours():
    coloured = list(page_of(WEIGHTS, Page(80, colours=True)))
    assert coloured != list(page_of(WEIGHTS, Page(80)))
    assert [ANSI.sub("", line) for line in coloured] == list(page_of(WEIGHTS, Page(80)))


def test_a_terminal_gets_colours_and_its_own_width(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for columns, width in (("10", 40), ("66", 66), ("300", 100)):
        monkeypatch.setenv("COLUMNS", columns)
        assert Page.fitting(Terminal()) == Page(width, colours=True)


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colours_gets_none(variable, value, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    assert not Page.fitting(Terminal()).colours


def test_a_pipe_gets_plain_text():
    assert Page.fitting(io.StringIO()) == Page(80, colours=False)


def test_an_old_encoding_gets_what_is_alike_or_question_marks_and_no_crash(monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    assert run(["weights"]) == 0
    narrow.flush()
    assert b"z = ?? w? x?" in narrow.buffer.getvalue()


def test_an_old_encoding_still_draws(monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    write("a ███░░ ▁▄█ → b")
    narrow.flush()
    assert narrow.buffer.getvalue() == b"a ###.. _~# > b\n"


@EACH
def test_every_override_that_is_offered_is_accepted(concept):
    for override in OVERRIDES[concept]:
        arguments = parse(override.split())
        check_config(to_plain(Composer.over(arguments).compose(arguments.overrides)))


def test_every_concept_has_a_tag_and_an_override():
    assert set(TAGS) == set(OVERRIDES) == set(CONCEPTS)
    assert all(TAGS.values())
    assert all(OVERRIDES.values())
    assert all(isinstance(tag, Tag) for shown in TAGS.values() for tag in shown)


def test_explaining_starts_without_torch_hydra_or_rich():
    code = (
        "import sys; from brainnet.cli.main import main; main(['explain', 'weights']);"
        "print(sorted({'torch', 'hydra', 'rich', 'numpy'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert answer.stdout.decode().splitlines()[-1] == "[]"
