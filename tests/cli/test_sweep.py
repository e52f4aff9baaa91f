"""How a sweep ends."""

from pathlib import Path

import pytest

from brainnet.cli.sweep import Ending, worst
from brainnet.training.run_folder import RunFolder


@pytest.mark.parametrize(
    ("codes", "gravest"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 2, 0], 2),
        ([3, 2], 3),
        ([1, 3], 1),
        ([1, 130], 130),
        ([0, 5], 1),
        ([137, 130], 130),
    ],
)
def test_the_gravest_code_is_returned(codes, gravest):
    assert worst([Ending(RunFolder(Path()), "", code) for code in codes]) == gravest
