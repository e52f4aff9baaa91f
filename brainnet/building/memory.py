"""Memory: whether a network can fit into this machine, asked before it is built."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from brainnet.data.machine import machine_memory
from brainnet.errors import InputError
from brainnet.structure.embedding import width_for

BYTES = 4  # of a number in 32 bits
COPIES = 2  # each weight and its gradient; what the optimizer keeps comes on top
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


def check_memory(sizes: Sequence[int], embeddings: Mapping[int, int] | None = None) -> None:
    """Hold a network of these layers against the memory of this machine.

    Args:
        sizes: inputs, neurons of each hidden layer, outputs.
        embeddings: how many codes there are, by the column of the inputs that holds them.

    Raises:
        InputError: when its weights and their gradients alone need more than there is.
    """
    tables = [(codes, width_for(codes)) for codes in (embeddings or {}).values()]
    seen = sizes[0] + sum(width - 1 for _, width in tables)
    numbers = sum((inputs + 1) * neurons for inputs, neurons in pairwise([seen, *sizes[1:]]))
    numbers += sum(codes * width for codes, width in tables)
    needed = BYTES * COPIES * numbers
    there = machine_memory()
    if there is not None and needed > there:
        raise InputError(
            f"that network needs {amount(needed)} of memory for its weights and their gradients; "
            f"this machine has {amount(there)}. Set network.hidden to fewer neurons."
        )


def amount(number: float) -> str:
    """A number of bytes as people say it.

    Example:
        >>> amount(2_560_000_000_000)
        '2.6 TB'
    """
    unit = 0
    while number >= 999.5 and unit < len(UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.2g} {UNITS[unit]}" if number < 10 else f"{number:.0f} {UNITS[unit]}"
