import random

import pytest
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c as theirs

from brainnet.observation.tensorboard import BLOCK, crc32c


@pytest.mark.parametrize(
    "length", [*range(9), 100, BLOCK - 1, BLOCK, *range(BLOCK + 1, BLOCK + 6), 3 * BLOCK + 7]
)
def test_it_is_tensorboards_own_for_every_length(length):
    content = random.Random(length).randbytes(length)
    assert crc32c(content) == theirs(content)
