"""Every end of a command has one of its exit codes."""

import pytest

from brainnet.cli.outcome import reported
from brainnet.errors import InputError, TrainingFailure


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (InputError("no"), 2),
        (TrainingFailure("no"), 3),
        (KeyError("no"), 1),
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
def test_whatever_is_raised_has_its_code(capsys, raised, code):
    def action():
        raise raised

    assert reported(action, debug=False) == code
    told = capsys.readouterr().err
    assert code != 1 or str(raised.args[0]) in told
