"""The README and the pages under docs/ are true: what they show runs, and their links lead on."""

import doctest
import re
import shlex
from pathlib import Path

import pytest

from brainnet.cli.main import main
from brainnet.concepts import CONCEPTS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TOUR = ROOT / "docs" / "tour.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """The words behind `brainnet`, of each line that begins with it."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("brainnet ")]


def shortened(arguments: list[str]) -> list[str]:
    """The same command over two epochs where it trains anew."""
    trains = arguments[0] == "train" and not any("resume=" in word for word in arguments)
    return [*arguments, "trainer.max_epochs=2"] if trains else arguments


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to write to, with the pages' own files in it."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [README, pytest.param(TOUR, marks=pytest.mark.slow)], ids=name_of)
def test_its_commands_and_then_its_python_run_in_their_order(
    page: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = commands(page)
    assert len(found) >= 8
    for arguments in found:
        assert main(shortened(arguments)) == 0, f"{arguments}: {capsys.readouterr().err}"
    programs = blocks(page, "python")
    assert programs
    for program in programs:
        exec(compile(program, page.name, "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_its_examples_run(page: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = "\n".join(blocks(page, "pycon"))
    test = doctest.DocTestParser().get_doctest(examples, {}, page.name, str(page), 0)
    found = doctest.DocTestRunner(optionflags=OPTIONS).run(test)
    assert found.failed == 0, capsys.readouterr().out


def test_every_concept_has_a_page_with_an_example() -> None:
    for concept in CONCEPTS:
        assert blocks(ROOT / "docs" / "concepts" / f"{concept.slug}.md", "pycon"), concept.name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_its_pictures_and_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        assert target.startswith("http") or (page.parent / target).exists(), target
