"""The wheel, installed beside the pinned packages and used from another directory."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import brainnet

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without the source checkout and return its output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel with the installed tools, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return the scripts directory of a new environment with the wheel and the current packages."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name != "nt")
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    paths = sysconfig.get_paths("venv", vars={"base": str(folder), "platbase": str(folder)})
    # Paths from a .pth file are added without following the .pth files inside them, so this
    # checkout stays invisible.
    here = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (Path(paths["purelib"]) / "pinned.pth").write_text("\n".join(here), encoding="utf-8")
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        scripts / "python",
    )
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    return scripts


def test_wheel_contains_only_package_and_configuration(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "brainnet").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    configuration = {
        f"brainnet/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")
    }
    assert "brainnet/py.typed" in package
    assert "brainnet/conf/train.yaml" in configuration
    assert f"brainnet-{brainnet.__version__}.dist-info/licenses/LICENSE" in inside
    assert {name for name in inside if ".dist-info/" not in name} == package | configuration


def test_import_does_not_import_torch(installed, tmp_path):
    heavy = "{'torch', 'lightning', 'hydra', 'sklearn', 'matplotlib', 'tensorboard'}"
    code = f"import sys, brainnet; print(brainnet.__file__); print({heavy} & set(sys.modules))"
    place, imported = run(installed / "python", "-c", code, cwd=tmp_path).splitlines()
    assert Path(place).is_relative_to(installed.parent)
    assert imported == "set()"


def test_command_prints_package_version(installed, tmp_path):
    assert brainnet.__version__ in run(installed / "brainnet", "--version", cwd=tmp_path)


@pytest.mark.slow
def test_training_runs_from_empty_directory(installed, tmp_path):
    run(installed / "brainnet", "train", "trainer.max_epochs=2", "trainer=cpu", cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    (summary,) = tmp_path.glob("runs/*/*/summary.json")
    contents = json.loads(summary.read_text(encoding="utf-8"))
    assert contents["state"] == "finished"
    assert 0.5 < contents["metrics"]["accuracy/test"] <= 1.0
    run_folder = summary.parent
    assert (run_folder / "config.yaml").is_file()
    assert (run_folder / "checkpoints/last.ckpt").is_file()
    assert list(run_folder.glob("events.out.tfevents.*"))
    run(installed / "brainnet", "evaluate", "latest", cwd=tmp_path)
