"""The words of a command that has options of its own: `--name VALUE`, switches, and the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean


@dataclass(frozen=True, slots=True)
class Flags:
    """What was typed.

    Attributes:
        values: of each option that takes one.
        switches: that were set.
        words: everything else, in order.
    """

    values: dict[str, str]
    switches: frozenset[str]
    words: tuple[str, ...]


def read(
    command: str, argv: Sequence[str], options: Mapping[str, str], switches: Sequence[str] = ()
) -> Flags:
    """Read the words behind a command; options may be typed as `--name VALUE` or `--name=VALUE`.

    Args:
        command: whose words they are.
        argv: the words.
        options: by their names, what they take, as the help calls it.
        switches: options that take nothing.

    Raises:
        InputError: there is no such option, its value is missing, or it is given twice.

    Example:
        >>> read("predict", ["latest", "--input", "a.csv"], {"--input": "FILE"}).values
        {'--input': 'a.csv'}
    """
    values: dict[str, str] = {}
    chosen: set[str] = set()
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            if word.startswith("-") and word != "-":
                raise _unknown(command, word, [*options, *switches])
            rest.append(word)
        elif word in switches:
            chosen.add(word)
        elif name in switches:
            raise InputError(
                f"{name} takes no value; got {word}. Type {name} alone, or leave it out."
            )
        elif name not in options:
            raise _unknown(command, name, [*options, *switches])
        elif name in values:
            raise InputError(
                f"{name} is given twice: {values[name]}, and once more. Leave one out."
            )
        else:
            if not equals:
                value = words.pop(0) if words and not words[0].startswith("--") else ""
            if not value:
                raise InputError(f"{name} needs a value: {name} {options[name]}.")
            values[name] = value
    return Flags(values, frozenset(chosen), tuple(rest))


def _unknown(command: str, option: str, known: Sequence[str]) -> InputError:
    return InputError(
        f"{command} has no option {option}.{did_you_mean(option, known)} "
        f"brainnet {command} --help lists them."
    )
