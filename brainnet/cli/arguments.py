"""The words behind `brainnet train`, read by Hydra's own parser."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.utils import get_args_parser  # the parser that hydra.main itself uses

from brainnet.cli.first_try import of_option
from brainnet.cli.quotes import readable
from brainnet.errors import InputError


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was typed.

    Attributes:
        overrides: `key=value` as typed, but for quotes that Hydra's grammar wants.
        multirun: whether `-m` asks for a sweep.
        shows: whether Hydra is only to show something (`--cfg`, `--info` ...), and nothing to run.
        flags: everything else that was typed.
        config_path: the folder in place of brainnet's own, if any.
        config_name: the file to start from.
        config_dir: a folder of the user's beside it, if any.
    """

    overrides: tuple[str, ...]
    multirun: bool
    shows: bool
    flags: tuple[str, ...]
    config_path: Path | None
    config_name: str
    config_dir: Path | None

    def options(self) -> list[str]:
        """The flags that decide what is composed, to be typed again for a child process."""
        flags = []
        if self.config_path is not None:
            flags += ["--config-path", str(self.config_path)]
        if self.config_name != "train":
            flags += ["--config-name", self.config_name]
        if self.config_dir is not None:
            flags += ["--config-dir", str(self.config_dir)]
        return flags


def parse(argv: Sequence[str], *, command: str = "train", more: Sequence[str] = ()) -> Arguments:
    """Read the words behind a command.

    Args:
        argv: the words, without the options in `more`.
        command: whose words they are.
        more: options that only this command has, and takes out itself.

    Raises:
        InputError: for an unknown flag, a flag without its value, a folder that is not there.
    """
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        # Intermixed: Hydra's own parser wants no flag between two overrides, people type it there.
        typed, unknown = parser.parse_known_intermixed_args(list(argv))
    except argparse.ArgumentError as error:
        raise InputError(f"{error} (brainnet {command} --help lists them)") from error
    unknown_flags = [word for word in unknown if word.startswith("-")]
    if unknown_flags:
        flags = [*more, *(flag for action in parser._actions for flag in action.option_strings)]
        raise InputError(
            f"there is no option {unknown_flags[0]}.{of_option(unknown_flags[0], argv, flags)} "
            f"brainnet {command} --help lists the options."
        )
    if typed.experimental_rerun is not None:
        raise InputError(
            "--experimental-rerun would load a pickle; use resume=RUN to go on with a run."
        )
    return Arguments(
        overrides=tuple(map(readable, typed.overrides)),
        multirun=typed.multirun,
        shows=bool(typed.cfg or typed.info or typed.hydra_help or typed.shell_completion),
        flags=tuple(word for word in argv if word not in typed.overrides),
        config_path=_folder("--config-path", typed.config_path),
        config_name=(typed.config_name or "train").removesuffix(".yaml"),
        config_dir=_folder("--config-dir", typed.config_dir),
    )


def _folder(flag: str, typed: str | None) -> Path | None:
    if typed is None:
        return None
    folder = Path(typed).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"{flag} needs a folder of YAML files; there is none at {folder}.")
    return folder
