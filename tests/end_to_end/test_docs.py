"""The pages under docs/ are true: their examples run, their links lead on."""

import doctest
import re
from pathlib import Path

import pytest

from brainnet.concepts import CONCEPTS

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
EXAMPLE = re.compile(r"^```pycon\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_its_examples_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    examples = "\n".join(EXAMPLE.findall(page.read_text(encoding="utf-8")))
    test = doctest.DocTestParser().get_doctest(examples, {}, page.name, str(page), 0)
    found = doctest.DocTestRunner(optionflags=OPTIONS).run(test)
    assert found.failed == 0, capsys.readouterr().out


def test_every_concept_has_a_page_with_an_example() -> None:
    for concept in CONCEPTS:
        page = ROOT / "docs" / "concepts" / f"{concept.slug}.md"
        assert EXAMPLE.search(page.read_text(encoding="utf-8")), page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_its_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target
