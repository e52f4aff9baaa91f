"""Cadence: when to look; often while everything is new, then at a steady stride."""

from brainnet.errors import InputError


def is_round(count: int) -> bool:
    """Whether a count is 0, 1, 2, 5, 10, 20, 50, 100 …: evenly spaced on a logarithmic scale.

    Example:
        >>> [count for count in range(60) if is_round(count)]
        [0, 1, 2, 5, 10, 20, 50]
    """
    if count < 10:
        return count in (0, 1, 2, 5)
    return count % 10 == 0 and is_round(count // 10)


def due(step: int, every: int) -> bool:
    """Whether to look at a step: at the round ones first, then at each multiple of `every`.

    Args:
        step: optimizer steps taken so far; 0 is the untrained network.
        every: the stride, in optimizer steps.

    Example:
        >>> [step for step in range(151) if due(step, every=50)]
        [0, 1, 2, 5, 10, 20, 50, 100, 150]
    """
    return step % every == 0 or (step < every and is_round(step))


def check_stride(every: int, name: str) -> int:
    """The stride itself, if it is one.

    Args:
        every: what the user gave.
        name: how the user knows it, for the message.

    Raises:
        InputError: where it is not a whole number of at least 1.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise InputError(
            f"{name} needs a whole number of steps, 1 or more; got {every!r}. "
            f"Set {name}=50 to look at every fiftieth step."
        )
    return every
