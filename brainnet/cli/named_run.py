"""The run that a command is about, loaded with the consent that was typed beside it."""

from pathlib import Path

from brainnet.answering.load import load
from brainnet.answering.trained import Trained
from brainnet.building.targets import Consent, allowed_roots
from brainnet.cli.flags import Flags
from brainnet.cli.quotes import bare
from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean
from brainnet.training.run_folder import find_run

OWN = ("network._target_", "activation._target_", "loss._target_")
RUNS = "paths.runs"


def trained_of(command: str, typed: Flags, usage: str) -> Trained:
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
    consent = Consent(typed=frozenset(given.values()), roots=allowed_roots())
    trained = load(find_run(names[0], runs), consent=consent)
    for key, value in given.items():
        stored = trained.config.get(key.partition(".")[0], {}).get("_target_")
        if value != stored:
            raise InputError(f"{key}={value}: the run was trained with {stored}. Leave it out.")
    return trained
