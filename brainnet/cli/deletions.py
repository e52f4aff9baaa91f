"""What `~` may take out of a configuration: what was added to its files, and nothing they say."""

from collections.abc import Callable, Iterable

from hydra.core.override_parser.types import Override

from brainnet.building.build import ROWS
from brainnet.building.targets import joined
from brainnet.cli.configuration import Config, is_own, leaves
from brainnet.cli.keys import BY_PATH
from brainnet.errors import InputError

ALWAYS = ("_target_", *ROWS)


def check_deletions(
    overrides: Iterable[Override], config: Config, held: Callable[[str], bool]
) -> None:
    """Refuse to take out what the chosen files say: a default that nobody sees would stand instead.

    A class of the user's has keys of its own: those that its file gave to another may go.

    Args:
        overrides: what was typed.
        config: composed of the files alone.
        held: whether a key stands in the file that was chosen of its group.

    Raises:
        InputError: for a key that must stay, or that is null already.
    """
    words = list(overrides)
    typed = {word.key_or_group for word in words}
    values = dict(leaves(config))
    for word in words:
        path = word.key_or_group
        if not word.is_delete() or path not in BY_PATH or path not in values:
            continue
        key = BY_PATH[path]
        meaning = f"{key.kind.words}: {key.meaning}"
        if values[path] is None:
            raise InputError(
                f"{path} is null already, and {word.input_line} has nothing to take out. Leave "
                f"that out, or set {path}=... ({meaning})."
            )
        group, _, name = path.partition(".")
        own = is_own(config.get(group)) or joined(group, "_target_") in typed
        if held(path) and (name in ALWAYS or not own):
            raise InputError(
                f"{path} cannot be left out: a default that nobody sees would take its place. "
                f"Instead of {word.input_line}, set {path}=... ({meaning})."
            )
