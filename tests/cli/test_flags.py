"""Options of commands that Hydra does not read."""

import pytest

from brainnet.cli.options import parse_options
from brainnet.errors import InputError

OPTIONS = {"--input": "FILE", "--to": "csv|jsonl"}


def test_values_switches_and_words_are_told_apart():
    words = ["latest", "--input", "-", "--force", "--to=csv", "a.b=c"]
    found = parse_options("predict", words, OPTIONS, ["--force"])
    assert found.values == {"--input": "-", "--to": "csv"}
    assert found.switches == {"--force"}
    assert found.words == ("latest", "a.b=c")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--inptu", "a"], r"no option --inptu\. Did you mean --input\?"),
        (["-i", "a"], "no option -i"),
        (["--input"], "--input needs a value: --input FILE"),
        (["--input", "--force"], "--input needs a value"),
        (["--input="], "--input needs a value"),
        (["--input", "a", "--input=b"], "--input is given twice"),
        (["--force=yes"], "--force takes no value; got --force=yes. Type --force alone"),
    ],
)
def test_a_slip_is_told(words, said):
    with pytest.raises(InputError, match=said):
        parse_options("predict", words, OPTIONS, ["--force"])
