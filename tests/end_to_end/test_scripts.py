"""The setup scripts, run on a tiny project without dependencies.

The project has the same scripts, name and extras, and its own build backend. A real environment is
created by the real pip within seconds and without a network.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the scripts are for a POSIX shell")

ROOT = Path(__file__).parents[2]
SCRIPTS = ("scripts/setup.sh", "scripts/train.sh", "scripts/test.sh", ".ci/run")

# A complete build backend: an editable wheel that points at the sources. In braces: {requires}.
BACKEND = """
import pathlib
import zipfile

FILES = {
    "METADATA": "Metadata-Version: 2.1\\nName: brainnet\\nVersion: 0.1.0\\n"
    "Provides-Extra: dev\\n{requires}",
    "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "entry_points.txt": "[console_scripts]\\nbrainnet = brainnet.cli.main:main\\n",
    "RECORD": "",
}

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "brainnet-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as wheel:
        wheel.writestr("brainnet.pth", str(pathlib.Path.cwd()))
        for file, text in FILES.items():
            wheel.writestr("brainnet-0.1.0.dist-info/" + file, text)
    return name
"""

BUILD_SYSTEM = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""

MAIN = """
import os
import sys

def main():
    print("arguments", sys.argv[1:], "in", os.getcwd())
"""

PYTEST = """
import os
import sys

print("pytest", sys.argv[1:], "in", os.getcwd())
"""


def tiny_project(folder: Path, requires: str = "") -> Path:
    """Create the project in `folder`, with a space in its path."""
    project = folder / "my project"
    files = {
        "pyproject.toml": BUILD_SYSTEM,
        "constraints.txt": "# nothing\n",
        "backend.py": BACKEND.replace("{requires}", requires),
        "brainnet/__init__.py": "",
        "brainnet/cli/__init__.py": "",
        "brainnet/cli/main.py": MAIN,
        "pytest.py": PYTEST,
    }
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    for script in SCRIPTS:
        (project / script).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / script, project / script)
    return project


def build_environment(**changes: str) -> dict[str, str]:
    """Environment variables without network access and without pip settings."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))
    }
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PYTHON": sys.executable}
    return kept | offline | changes


def run(
    script: Path, *arguments: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script as a user does, with an empty stdin."""
    return subprocess.run(
        [script, *arguments],
        cwd=cwd,
        env=build_environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def split_lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_valid_bash(script):
    done = subprocess.run(
        ["bash", "-n", ROOT / script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", ["scripts/train.sh", "scripts/test.sh", ".ci/run"])
def test_commands_are_executable(script):
    assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize("name", ["train.sh", "test.sh"])
def test_missing_python_is_reported_in_one_line(tmp_path, name):
    project = tiny_project(tmp_path)
    commands = tmp_path / "commands"
    commands.mkdir()
    for command in ("bash", "cat", "cksum", "cp", "dirname", "env", "head", "rm", "sed", "sleep"):
        (commands / command).symlink_to(shutil.which(command))
    done = run(project / "scripts" / name, cwd=tmp_path, PATH=str(commands), PYTHON="")
    assert done.returncode == 1
    (line,) = split_lines(done.stderr)
    assert "no Python 3.11 to 3.14 found" in line
    assert not (project / ".venv.lock").exists()


@pytest.mark.parametrize(
    ("version", "words"), [("", "does not run"), ("3.9.18", "is Python 3.9.18; brainnet needs")]
)
def test_unsupported_python_is_named(tmp_path, version, words):
    project = tiny_project(tmp_path)
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {version}\n" if version else "#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    done = run(project / "scripts/train.sh", cwd=tmp_path, PYTHON=str(python))
    assert done.returncode == 1
    (line,) = split_lines(done.stderr)
    assert f"PYTHON={python} {words}" in line


@pytest.mark.slow
class TestSetUp:
    """Each test starts from an environment created by train.sh and restores what it changes."""

    @pytest.fixture(scope="class")
    @staticmethod
    def project(tmp_path_factory):
        project = tiny_project(tmp_path_factory.mktemp("checkout"))
        first = run(project / "scripts/train.sh", "data=moons", cwd=project.parent)
        assert first.returncode == 0, first.stderr
        assert f"arguments ['train', 'data=moons'] in {project.parent}" in first.stdout
        said = split_lines(first.stderr)
        assert "creating .venv with Python" in said[0]
        assert "installing the pinned packages" in said[1]
        assert "the environment is ready" in said[2]
        assert "building the C++ kernels" in said[3]
        assert "the C++ kernels are ready" in said[4]
        return project

    def test_second_run_installs_nothing(self, project):
        log = (project / ".venv.log").stat().st_mtime_ns
        done = run(project / "scripts/train.sh", "a b", "$c", cwd=Path("/"))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "arguments ['train', 'a b', '$c'] in /\n"
        assert (project / ".venv.log").stat().st_mtime_ns == log

    def test_test_script_adds_tools_and_training_keeps_them(self, project):
        done = run(project / "scripts/test.sh", "-k", "x y", cwd=project.parent)
        assert done.returncode == 0, done.stderr
        assert f"pytest ['-k', 'x y'] in {project}" in done.stdout
        assert "creating .venv" not in done.stderr
        assert run(project / "scripts/train.sh", cwd=project).stderr == ""
        assert run(project / "scripts/test.sh", cwd=project).stderr == ""

    def test_failed_kernel_build_is_reported_and_training_continues(self, project):
        main = project / "brainnet/cli/main.py"
        works = main.read_text()
        (project / "brainnet/kernels").mkdir()
        (project / "brainnet/kernels/ramp.cpp").write_text("// changed\n")
        main.write_text(f"{works}    if sys.argv[1] == 'kernels':\n        sys.exit(2)\n")
        try:
            done = run(project / "scripts/train.sh", cwd=project)
            again = run(project / "scripts/train.sh", cwd=project)
        finally:
            main.write_text(works)
        assert done.returncode == 0
        assert "arguments ['train']" in done.stdout
        assert "PyTorch's own operations are used instead" in split_lines(done.stderr)[-1]
        assert again.stderr == ""

    def test_changed_constraints_update_the_environment(self, project):
        with (project / "constraints.txt").open("a") as constraints:
            constraints.write("# changed\n")
        done = run(project / "scripts/train.sh", cwd=project)
        assert done.returncode == 0
        assert "creating .venv" not in done.stderr
        assert "installing the pinned packages" in done.stderr

    def test_scripts_run_under_sh(self, project):
        done = subprocess.run(
            ["sh", project / "scripts/train.sh"],
            env=build_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_moved_checkout_gets_a_new_environment(self, project, tmp_path):
        moved = project.rename(tmp_path / "elsewhere")
        try:
            done = run(moved / "scripts/train.sh", cwd=tmp_path)
        finally:
            moved.rename(project)
        assert done.returncode == 0, done.stderr
        assert f"it was moved here from {project}" in done.stderr
        assert "arguments ['train']" in done.stdout


@pytest.mark.slow
def test_simultaneous_setups_create_one_environment(tmp_path):
    project = tiny_project(tmp_path)
    both = [
        subprocess.Popen(
            [project / "scripts/train.sh", name],
            env=build_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert [
        f"'{name}'" in output for name, (output, _) in zip(("one", "two"), outputs, strict=True)
    ] == [True, True]
    everything = outputs[0][1] + outputs[1][1]
    assert everything.count("installing the pinned packages") == 1
    assert everything.count("waiting for another setup") == 1
    assert not (project / ".venv.lock").exists()


@pytest.mark.slow
def test_killed_setup_is_resumed(tmp_path):
    project = tiny_project(tmp_path)
    finished = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    (project / ".venv.lock").write_text(finished.stdout)
    (project / ".venv" / "bin").mkdir(parents=True)
    done = run(project / "scripts/train.sh", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "its Python does not run" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        pytest.param({}, id="empty-index"),
        pytest.param(
            {"PIP_NO_INDEX": "", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"},
            id="unreachable-index",
        ),
    ],
)
def test_missing_network_is_reported_in_one_line(tmp_path, network):
    project = tiny_project(tmp_path, requires="Requires-Dist: torch")
    for _ in range(2):  # a failed installation must not count as ready
        done = run(project / "scripts/train.sh", cwd=tmp_path, **network)
        assert done.returncode == 1
        assert done.stdout == ""
        problem = split_lines(done.stderr)[-1]
        assert "could not fetch the packages: is there a network connection?" in problem
        assert str(project / ".venv.log") in problem
        assert not any("Traceback" in line or "ERROR" in line for line in split_lines(done.stderr))
        assert not (project / ".venv.lock").exists()
    assert "torch" in (project / ".venv.log").read_text()
