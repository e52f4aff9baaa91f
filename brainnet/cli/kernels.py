"""`brainnet kernels`: the C++ kernels, built for this machine, told of, or removed."""

import sys
from collections.abc import Callable, Sequence

from brainnet.errors import InputError, did_you_mean
from brainnet.kernels import build as building
from brainnet.kernels import dispatch


def run(words: Sequence[str]) -> int:
    """Do what the words ask for; returns the exit code.

    Raises:
        InputError: for an unknown word, or where nothing can be built or removed.
    """
    action, options = words[0], list(words[1:])
    if action not in ACTIONS:
        raise InputError(
            f"brainnet kernels has no {action}.{did_you_mean(action, ACTIONS)} "
            f"There are {', '.join(ACTIONS)}."
        )
    known = ["--force"] if action == "build" else []
    for option in options:
        if option not in known:
            raise InputError(
                f"brainnet kernels {action} takes no {option}.{did_you_mean(option, known)} "
                "brainnet kernels --help tells what there is."
            )
    sys.stdout.write(ACTIONS[action](options))
    return 0


def _build(options: list[str]) -> str:
    """Compile, and try what came of it.

    Raises:
        InputError: where there is no compiler, or what it built can't be used here.
    """
    built = building.build_library(force="--force" in options, on_start=_say_it_takes_time)
    dispatch.reset_dispatch()
    told = dispatch.read_status()["cpu"]
    if told["path"] != "native" and dispatch.read_choice() != "reference":
        raise InputError(f"the kernels were built but don't serve here: {told['reason']}.")
    how = f"built in {built.seconds:.0f} s" if built.is_new else "there already"
    return f"{how}: {built.library}\ncompiler: {built.compiler}\n"


def _say_it_takes_time() -> None:
    sys.stderr.write("brainnet: compiling the kernels; this takes about half a minute ...\n")


def _status(_options: list[str]) -> str:
    """Which path computes on each device, why, and where the built kernels lie."""
    lines = [
        f"{device:<8}{told['path']:<12}{told['reason']}" for device, told in dispatch.read_status().items()
    ]
    return "\n".join([*lines, f"{'cache':<8}{building.find_cache_folder()}"]) + "\n"


def _clean(_options: list[str]) -> str:
    """Remove all that was built, for whichever PyTorch.

    Raises:
        InputError: where a folder can't be removed.
    """
    gone = building.clean_cache()
    if not gone:
        return f"nothing was built in {building.find_cache_folder()}\n"
    return "".join(f"removed {folder}\n" for folder in gone)


ACTIONS: dict[str, Callable[[list[str]], str]] = {
    "build": _build,
    "status": _status,
    "clean": _clean,
}
