"""The README is true: its commands run, its Python runs, its pictures are there."""

import re
import shlex
from pathlib import Path

import pytest

from brainnet.cli.main import main

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in blocks("bash")
    for line in block.splitlines()
    if line.startswith("brainnet ")
]


def shortened(arguments: list[str]) -> list[str]:
    """The same command over two epochs where it trains anew."""
    trains = arguments[0] == "train" and not any("resume=" in word for word in arguments)
    return [*arguments, "trainer.max_epochs=2"] if trains else arguments


def test_its_commands_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) >= 8
    for arguments in COMMANDS:
        assert main(shortened(arguments)) == 0, f"{arguments}: {capsys.readouterr().err}"


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks("python")
    assert found
    for program in found:
        exec(compile(program, "README.md", "exec"), {})


def test_its_pictures_and_links_are_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(targets) >= 5
    root = Path(__file__).parents[2]
    for target in targets:
        assert target.startswith("http") or (root / target).exists(), target
