"""Given: what somebody's loop hands over, checked before it is used."""

from torch import Tensor

from brainnet.errors import InputError


def check_sample(sample: object) -> None:
    """Refuse what is no pair of tensors.

    Raises:
        InputError: it is none.
    """
    if sample is None:
        return
    if not (isinstance(sample, tuple | list) and len(sample) == 2):
        raise InputError(
            f"sample is a pair (inputs, targets) of tensors; got {type(sample).__name__}."
        )
    for name, each in zip(("inputs", "targets"), sample, strict=True):
        if not isinstance(each, Tensor):
            raise InputError(
                f"sample is a pair (inputs, targets) of tensors; its {name} are {_kind(each)}. "
                "Leave it out where the model takes no tensor."
            )


def single_number(value: object, asker: str) -> tuple[Tensor | float | None, str]:
    """A real number, and what to say where it is none.

    Args:
        value: what was given; None is no number, and nothing to speak of.
        asker: who needs it.

    Example:
        >>> single_number(0.5, "step()")
        (0.5, '')
        >>> single_number("oops", "step()")[1]
        "step() needs a number or a tensor of one; got the text 'oops', which is left out."
    """
    if value is None:
        return None, ""
    if isinstance(value, Tensor):
        if value.numel() == 1 and not value.is_complex():
            found = value.detach()
            return found if found.is_floating_point() else found.float(), ""
    elif not isinstance(value, str | bytes):
        try:
            return float(value), ""  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            pass
    needed = f"{asker} needs a number or a tensor of one"
    return None, f"{needed}; got {_kind(value)}, which is left out."


def _kind(value: object) -> str:
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    return f"of type {type(value).__name__}"
