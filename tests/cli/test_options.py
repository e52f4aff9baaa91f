"""Options of the commands."""

import pytest

from brainnet.cli.options import parse_arguments
from brainnet.errors import InputError


def test_options_and_overrides_can_be_mixed():
    words = ["predict", "latest", "--input", "-", "--overwrite", "paths.runs=x", "--to=csv"]
    arguments = parse_arguments([*words, "--keep=id,name"])
    assert (arguments.command, arguments.run, arguments.input) == ("predict", "latest", "-")
    assert arguments.overrides == ["paths.runs=x"]
    assert (arguments.overwrite, arguments.to, arguments.keep) == (True, "csv", ["id", "name"])
    assert (arguments.unknown, arguments.broken, arguments.output) == ("ignore", None, None)


def test_train_accepts_options_between_overrides():
    words = ["train", "data=iris", "-m", "~seed", "+a.b=-1", "--config-dir", "mine", "lr=1,2"]
    arguments = parse_arguments(words)
    assert arguments.overrides == ["data=iris", "~seed", "+a.b=-1", "lr=1,2"]
    assert arguments.multirun
    assert arguments.config_dir == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("predict x --inptu a", r"no option --inptu\. Did you mean --input\?"),
        ("predict x --input a -i", "no option -i"),
        ("predict x --input", r"--input: expected one argument\.\nUsage: brainnet predict RUN"),
        ("predict x --input a --overwrite=yes", "ignored explicit argument 'yes'"),
        ("predict x --input a --unknown other", r"invalid choice: 'other' \(choose from"),
        ("predict --input a", "arguments are required: RUN"),
        ("predict x", "arguments are required: --input"),
        ("evaluate", r"arguments are required: RUN\.\nUsage: brainnet evaluate RUN"),
        ("evaluate latest -m", "evaluate has no option -m"),
        ("evaluate --batch-size 4 latest", r"Did you mean data\.batch_size="),
        ("kernels", r"required: action\.\nUsage: brainnet kernels build\|status\|clean"),
        ("kernels bulid", "invalid choice: 'bulid'"),
        ("kernels build clean", "unrecognized arguments: clean"),
        ("explain --row x", "invalid int value: 'x'"),
        ("train --cfg", "expected one argument"),
        ("train --epochs 5", r"Did you mean trainer\.max_epochs="),
        ("train --lr 0.1", r"Did you mean optimizer\.lr=\.\.\.\?"),
        ("train --lr=0.1", r"Did you mean optimizer\.lr=\.\.\.\?"),
        ("train -lr 0.1", r"Did you mean optimizer\.lr=\.\.\.\?"),
        ("train data=moons --batch-size", r"Did you mean data\.batch_size="),
        ("train --multirum", r"Did you mean --multirun\?"),
        ("train --zebra", r"no option --zebra\. brainnet train --help"),
        ("trian", r"no command trian\. Did you mean train\?"),
        ("--versoin", "unrecognized arguments: --versoin"),
    ],
)
def test_wrong_options_are_reported_with_a_suggestion(words, message):
    with pytest.raises(InputError, match=message):
        parse_arguments(words.split())
