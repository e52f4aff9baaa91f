"""Exit codes for every kind of error."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from brainnet.cli.exit_codes import report_errors
from brainnet.errors import InputError, TrainingFailure


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (InputError("no"), 2),
        (TrainingFailure("no"), 3),
        (KeyError("no"), 1),
        (OSError(errno.ENOSPC, "full"), 2),
        (OSError(errno.EACCES, "no"), 1),
        (KeyboardInterrupt(), 130),
        (SystemExit(), 0),
        (SystemExit(0), 0),
        (SystemExit(2), 2),
        (SystemExit(143), 143),
        (SystemExit(77), 1),
        (SystemExit("gave up"), 1),
    ],
    ids=repr,
)
def test_exception_becomes_an_exit_code(capsys, raised, code):
    def action():
        raise raised

    assert report_errors(action, debug=False) == code
    message = capsys.readouterr().err
    assert code != 1 or str(raised.args[0]) in message


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_full_device_is_reported():
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "brainnet", "explain", "weights"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            check=False,
        )
    assert ended.returncode == 2
    assert ended.stderr == "brainnet: error: cannot write: no space left on device.\n"
