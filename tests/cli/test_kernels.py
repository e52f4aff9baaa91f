"""`brainnet kernels`: build, status and clean."""

import os
from pathlib import Path

import pytest

from brainnet.cli.main import main
from brainnet.kernels import build, dispatch


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINNET_CACHE", str(tmp_path))
    yield tmp_path / "kernels"
    monkeypatch.undo()
    dispatch.reset_dispatch()


def test_help(capsys):
    assert main(["kernels", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("build", "status", "clean", "BRAINNET_KERNELS"))
    assert main(["kernels"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bulid"], "invalid choice: 'bulid'"),
        (["build", "--forse"], "no option --forse. Did you mean --force?"),
        (["status", "--force"], "takes no --force."),
    ],
)
def test_wrong_arguments_are_reported(capsys, words, message):
    assert main(["kernels", *words]) == 2
    assert message in capsys.readouterr().err


def test_status_and_clean(capsys, cache, monkeypatch):
    dispatch.reset_dispatch()
    assert main(["kernels", "status"]) == 0
    out = capsys.readouterr().out
    assert f"{'cpu':<8}{'reference':<12}not built" in out
    assert str(cache) in out
    assert main(["kernels", "clean"]) == 0
    assert "nothing was built" in capsys.readouterr().out
    (cache / "torch-1.0").mkdir(parents=True)
    assert main(["kernels", "clean"]) == 0
    assert f"removed {cache / 'torch-1.0'}" in capsys.readouterr().out
    assert list(cache.iterdir()) == []


def test_missing_compiler_is_reported(capsys, cache, monkeypatch):
    monkeypatch.setenv("PATH", str(cache))
    monkeypatch.delenv("CXX", raising=False)
    assert main(["kernels", "build"]) == 2
    err = capsys.readouterr().err
    assert "needs a C++ compiler" in err
    assert "Traceback" not in err
    assert not cache.exists()


@pytest.mark.skipif(os.name == "nt", reason="the compiler of this test is a shell script")
def test_library_that_cannot_be_loaded_is_an_error(capsys, cache, tmp_path, monkeypatch):
    script = tmp_path / "c++"
    script.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo quick && exit 0\n'
        'while [ "$1" != -o ]; do shift; done; echo nonsense > "$2"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("BRAINNET_KERNELS", "auto")
    monkeypatch.setattr(dispatch, "_loaded_libraries", set())
    assert main(["kernels", "build"]) == 2
    assert "cannot be loaded" in capsys.readouterr().err


@pytest.mark.native
@pytest.mark.skipif(build.find_library() is None, reason="not built: brainnet kernels build")
def test_built_kernels_are_not_built_again(capsys, monkeypatch):
    monkeypatch.setenv("BRAINNET_KERNELS", "auto")
    library = build.find_library()
    assert isinstance(library, Path)
    made = library.stat().st_mtime_ns
    assert main(["kernels", "build"]) == 0
    assert f"already built: {library}" in capsys.readouterr().out
    assert library.stat().st_mtime_ns == made
    assert main(["kernels", "status"]) == 0
    assert f"{'cpu':<8}native" in capsys.readouterr().out
