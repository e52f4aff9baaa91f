"""The command `brainnet`: picks what was asked for, and turns every end into an exit code."""

import sys
from collections.abc import Callable, Sequence

from brainnet.cli.outcome import reported
from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean

# A command is imported when it is called, so that --help and explain wait for nobody's torch.
HELP = """\
brainnet: neural networks as a glass box, every part named, watched and explained.

  brainnet train [key=value ...]           train a network; -m tries several values
  brainnet evaluate RUN [key=value ...]    judge a run's best checkpoint on rows it never saw
  brainnet predict RUN --input FILE        answer the rows of a file, with probabilities
  brainnet export RUN --to onnx|torch|json take the network out, for other programs
  brainnet explain [CONCEPT]               what a concept means, its formula, where it is in code
  brainnet explain --run RUN [--row N]     a run's own numbers; why a row got its answer
  brainnet kernels build|status|clean      the fast C++ path: build it, ask for it, remove it

  brainnet COMMAND --help                  what a command takes, with examples
  brainnet --version

  --debug                                  show the traceback of an error

Try:
  brainnet train
  brainnet train data=moons network.hidden=[8,8] optimizer.lr=0.01
  brainnet evaluate latest
  brainnet predict latest --input rows.csv --output answers.csv
  brainnet explain weights
  brainnet explain --run latest --row 0
  tensorboard --logdir runs

RUN is a run's folder, latest, or a checkpoint file.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words behind `brainnet`; those of this process where None.

    Returns:
        0 when done, 2 when the input is wrong, 3 when the training failed, 1 for a bug of ours,
        130 and 143 when interrupted or terminated.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    path = [*sys.path]
    try:
        return reported(lambda: dispatch(words, debug=debug), debug=debug)
    finally:
        sys.path[:] = path  # a class of the user's may have been looked for beside it


def dispatch(words: list[str], *, debug: bool) -> int:
    """Hand the words to their command.

    Raises:
        InputError: when there is no such command.
    """
    if not words or words[0] in ("--help", "-h", "help"):
        sys.stdout.write(HELP)
        return 0
    if words[0] == "--version":
        from brainnet import __version__

        sys.stdout.write(f"brainnet {__version__}\n")
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        raise InputError(
            f"there is no command {name}.{did_you_mean(name, COMMANDS)} "
            f"The commands are {', '.join(COMMANDS)}."
        )
    return COMMANDS[name](rest, debug)


def _train(words: list[str], debug: bool) -> int:
    if "--help" in words or "-h" in words:
        from brainnet.cli.help import train_help

        sys.stdout.write(train_help())
        return 0
    from brainnet.cli.train import run

    return run(words, debug=debug)


def _evaluate(words: list[str], debug: bool) -> int:
    if not words:
        raise InputError(
            "evaluate needs a run: its folder, latest, or a checkpoint file.\n"
            "Usage: brainnet evaluate RUN [key=value ...], as in brainnet evaluate latest"
        )
    if "--help" in words or "-h" in words:
        from brainnet.cli.help import EVALUATE_HELP

        sys.stdout.write(EVALUATE_HELP)
        return 0
    from brainnet.cli.evaluate import run

    return run(words, debug=debug)


def _predict(words: list[str], debug: bool) -> int:
    if "--help" in words or "-h" in words:
        from brainnet.cli.help import PREDICT_HELP

        sys.stdout.write(PREDICT_HELP)
        return 0
    from brainnet.cli.predict import run

    return run(words)


def _export(words: list[str], debug: bool) -> int:
    if "--help" in words or "-h" in words:
        from brainnet.cli.help import EXPORT_HELP

        sys.stdout.write(EXPORT_HELP)
        return 0
    from brainnet.cli.export import run

    return run(words)


def _explain(words: list[str], debug: bool) -> int:
    from brainnet.cli.explain import run

    return run(words)


def _kernels(words: list[str], debug: bool) -> int:
    if not words:
        raise InputError(
            "kernels needs to be told what to do.\nUsage: brainnet kernels build|status|clean"
        )
    if "--help" in words or "-h" in words:
        from brainnet.cli.help import KERNELS_HELP

        sys.stdout.write(KERNELS_HELP)
        return 0
    from brainnet.cli.kernels import run

    return run(words)


COMMANDS: dict[str, Callable[[list[str], bool], int]] = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "export": _export,
    "explain": _explain,
    "kernels": _kernels,
}
