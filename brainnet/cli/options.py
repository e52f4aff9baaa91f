"""Options of the commands, and the run that a command names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from brainnet.config.compose import bare
from brainnet.config.instantiate import TargetAllowList, read_allowed_roots
from brainnet.errors import InputError, did_you_mean
from brainnet.inference.trained_model import TrainedModel, load
from brainnet.training.run_directory import find_run


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


def parse_options(
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


OWN = ("network._target_", "activation._target_", "loss._target_")

RUNS = "paths.runs"


def load_named_run(command: str, typed: Flags, usage: str) -> TrainedModel:
    """The run that was named, with consent to the classes that were typed.

    Args:
        command: that was typed.
        typed: the words behind it.
        usage: a line on how to type it.

    Raises:
        InputError: when no run is named, or something else is typed.
    """
    names = [word for word in typed.words if "=" not in word or Path(word).exists()]
    if len(names) != 1:
        raise InputError(
            f"{command} needs one run: its folder, latest, or a checkpoint file; got "
            f"{' '.join(names) or 'none'}.\n{usage}"
        )
    pairs = (word.partition("=") for word in typed.words if word != names[0])
    given = {key: bare(value) for key, _, value in pairs}
    for key in given:
        if key not in (*OWN, RUNS):
            raise InputError(
                f"{command} takes the network as it was trained: {key} has no place here."
                f"{did_you_mean(key, (*OWN, RUNS))}"
            )
    runs = Path(given.pop(RUNS, "runs"))
    consent = TargetAllowList(typed=frozenset(given.values()), roots=read_allowed_roots())
    trained = load(find_run(names[0], runs), consent=consent)
    for key, value in given.items():
        stored = trained.config.get(key.partition(".")[0], {}).get("_target_")
        if value != stored:
            raise InputError(f"{key}={value}: the run was trained with {stored}. Leave it out.")
    return trained
