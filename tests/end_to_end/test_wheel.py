"""The package as people get it: a wheel, installed beside the pinned packages, used elsewhere."""

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
    """Run a command as somebody who has no source checkout, and return what it printed."""
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=surroundings,
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
    """The wheel, built with the tools that are here: no network needed."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The commands' folder of a fresh environment: the wheel, and the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name != "nt")
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    paths = sysconfig.get_paths("venv", vars={"base": str(folder), "platbase": str(folder)})
    # A path in a .pth file is only added: this checkout's own .pth, in there, is not followed.
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


def test_the_wheel_holds_the_package_its_configuration_and_nothing_else(wheel):
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


def test_the_door_opens_without_torch(installed, tmp_path):
    heavy = "{'torch', 'lightning', 'hydra', 'sklearn', 'matplotlib', 'tensorboard'}"
    code = f"import sys, brainnet; print(brainnet.__file__); print({heavy} & set(sys.modules))"
    place, imported = run(installed / "python", "-c", code, cwd=tmp_path).splitlines()
    assert Path(place).is_relative_to(installed.parent)
    assert imported == "set()"


def test_the_command_says_the_version_of_the_package(installed, tmp_path):
    assert brainnet.__version__ in run(installed / "brainnet", "--version", cwd=tmp_path)


@pytest.mark.slow
def test_a_training_runs_from_an_empty_folder(installed, tmp_path):
    run(installed / "brainnet", "train", "trainer.max_epochs=2", "trainer=cpu", cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    (summary,) = tmp_path.glob("runs/*/*/summary.json")
    told = json.loads(summary.read_text(encoding="utf-8"))
    assert told["state"] == "finished"
    assert 0.5 < told["metrics"]["accuracy/test"] <= 1.0
    run_folder = summary.parent
    assert (run_folder / "config.yaml").is_file()
    assert (run_folder / "checkpoints/last.ckpt").is_file()
    assert list(run_folder.glob("events.out.tfevents.*"))
    run(installed / "brainnet", "evaluate", "latest", cwd=tmp_path)
