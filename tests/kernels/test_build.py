"""Building the kernels: only on request, cached, with clear errors."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from brainnet.errors import InputError
from brainnet.kernels import build, dispatch


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BRAINNET_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def quick_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that copies a line into its output and counts how often it was called."""
    if os.name == "nt":
        pytest.skip("needs a POSIX shell")
    script = tmp_path / "c++"
    script.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --version ]; then echo "quick 1.0"; exit 0; fi\n'
        f'echo x >> "{tmp_path}/calls"\n'
        'while [ "$1" != -o ]; do shift; done; echo built > "$2"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    return tmp_path / "calls"


def test_a_build_is_found_again(cache: Path, quick_compiler: Path) -> None:
    assert build.find_library() is None
    first, second = build.build_library(), build.build_library()
    assert first.seconds is not None
    assert second.seconds is None
    assert first.library == second.library == build.find_library()
    assert first.library.is_relative_to(cache)
    assert quick_compiler.read_text().count("x") == len(build.SOURCES) + 1
    assert build.build_library(force=True).seconds is not None


def test_clean_removes_what_was_built(cache: Path, quick_compiler: Path) -> None:
    folder = build.build_library().library.parent
    assert build.clean_cache() == [folder]
    assert (build.find_library(), build.clean_cache()) == (None, [])


def test_a_damaged_library_is_reported_and_ignored(
    cache: Path, quick_compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.build_library()
    monkeypatch.setenv("BRAINNET_KERNELS", "auto")
    monkeypatch.setattr(dispatch, "_loaded_libraries", set())
    dispatch.reset_dispatch()
    status = dispatch.read_status()["cpu"]
    dispatch.reset_dispatch()
    assert status["path"] == "reference"
    assert "cannot be loaded" in status["reason"]


def test_a_missing_compiler_is_reported(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match="needs a C\\+\\+ compiler"):
        build.build_library()


@pytest.mark.parametrize("chosen", ["false", "g+++", "/nowhere/g++", "false g++"])
def test_a_broken_compiler_in_cxx_is_reported_and_not_replaced(
    cache: Path, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setenv("CXX", chosen)
    with pytest.raises(
        InputError, match=rf"^CXX={re.escape(chosen)} is not a working C\+\+ compiler"
    ):
        build.build_library()
    assert build.find_library() is None


def test_cxx_may_contain_a_wrapper(
    cache: Path, quick_compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", f"env {os.environ['CXX']}")
    assert build.build_library().compiler == "quick 1.0"


def test_on_start_is_called_once_all_requirements_are_met(
    cache: Path, quick_compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    (cache / "file").write_text("")
    monkeypatch.setenv("BRAINNET_CACHE", str(cache / "file"))
    with pytest.raises(InputError, match="BRAINNET_CACHE"):
        build.build_library(on_start=lambda: calls.append("begins"))
    monkeypatch.setenv("BRAINNET_CACHE", str(cache))
    for _ in range(2):
        build.build_library(on_start=lambda: calls.append("begins"))
    assert calls == ["begins"]


def test_compiler_errors_are_reported(
    cache: Path, quick_compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Path(os.environ["CXX"])
    script.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo quick && exit 0\necho "error: no" >&2; exit 1\n'
    )
    with pytest.raises(InputError, match="error: no"):
        build.build_library()
    assert build.find_library() is None


def test_an_unwritable_cache_is_reported(
    tmp_path: Path, quick_compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BRAINNET_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="BRAINNET_CACHE"):
        build.build_library()


def test_builds_of_other_sources_are_ignored(
    cache: Path, quick_compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = build.build_library().library
    for name, files in (("SOURCES", build.SOURCES), ("HEADERS", build.HEADERS)):
        changed = tmp_path / files[-1].name
        changed.write_bytes(files[-1].read_bytes() + b"\n")
        with monkeypatch.context() as other_tree:
            other_tree.setattr(build, name, (*files[:-1], changed))
            assert build.find_library() is None
            other = build.build_library().library
            assert other != original
            assert build.find_library() == other
    assert build.find_library() == original  # and not the newest


def test_headers_lists_every_included_file() -> None:
    included = {
        name
        for source in (*build.SOURCES, *build.HEADERS)
        for name in re.findall(r'#include "(.*)"', source.read_text())
    }
    assert included == {header.name for header in build.HEADERS}
