"""The commands, examples and links of README and docs work."""

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


def get_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def find_blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def find_commands(page: Path) -> list[list[str]]:
    """Return the arguments of each line that begins with `brainnet`."""
    lines = [line for block in find_blocks(page, "bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("brainnet ")]


def shorten(arguments: list[str]) -> list[str]:
    """Limit a new training run to two epochs."""
    trains = arguments[0] == "train" and not any("resume=" in word for word in arguments)
    return [*arguments, "trainer.max_epochs=2"] if trains else arguments


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a temporary directory that contains the files of the docs."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [README, pytest.param(TOUR, marks=pytest.mark.slow)], ids=get_name)
def test_commands_and_python_blocks_run_in_order(
    page: Path, working_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments_list = find_commands(page)
    assert len(arguments_list) >= 8
    for arguments in arguments_list:
        assert main(shorten(arguments)) == 0, f"{arguments}: {capsys.readouterr().err}"
    programs = find_blocks(page, "python")
    assert programs
    for program in programs:
        exec(compile(program, page.name, "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=get_name)
def test_examples_run(
    page: Path, working_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = "\n".join(find_blocks(page, "pycon"))
    test = doctest.DocTestParser().get_doctest(examples, {}, page.name, str(page), 0)
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(test)
    assert result.failed == 0, capsys.readouterr().out


def test_every_concept_has_a_page_with_an_example() -> None:
    for concept in CONCEPTS:
        assert find_blocks(ROOT / "docs" / "concepts" / f"{concept.slug}.md", "pycon"), concept.name


@pytest.mark.parametrize("page", PAGES, ids=get_name)
def test_images_and_links_exist(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        assert target.startswith("http") or (page.parent / target).exists(), target
