"""The command `brainnet`."""

import sys
from collections.abc import Callable, Iterator, Sequence

from brainnet.cli.exit_codes import report_errors
from brainnet.config.compose import list_choices, list_groups
from brainnet.config.schema import KEYS
from brainnet.errors import InputError, did_you_mean

TRAIN_HEADER = """\
brainnet train [key=value ...] [options]

Trains a network, watched, and writes it to runs/NAME/TIME. Without a word: the digits.

Examples
  brainnet train
  brainnet train data=moons network.hidden=[8,8] optimizer.lr=0.01
  brainnet train data=diabetes loss=huber optimizer=sgd optimizer.momentum=0.9
  brainnet train -m optimizer.lr=0.1,0.01,0.001 seed=0,1,2      every combination, one run each
  brainnet train experiment=deep_sigmoid
  brainnet train resume=latest trainer.max_epochs=60
  brainnet train network=custom network._target_=their.module.Net

Options (Hydra's, https://hydra.cc)
  -m, --multirun             run every combination of the values separated by commas
  --cfg job                  show the configuration instead of running it
  --config-dir FOLDER        a folder of your own groups and options
  --config-name NAME         start from another file than train.yaml
  --info [TOPIC]             where a configuration comes from: defaults, searchpath, plugins ...
  --hydra-help               Hydra's own help
  --debug                    show the traceback of an error

Groups (group=choice)
"""

KERNELS_HELP = """\
brainnet kernels build|status|clean

Networks compute the same with and without the C++ kernels, faster with them. They are compiled only
here and by the set-up scripts, once for each PyTorch, compiler and processor; a run never compiles.

  build [--force]   compile them into the cache, or find them there; needs g++ or clang++ (or CXX)
  status            which path computes on each device, and why
  clean             remove what was built, for whichever PyTorch

Environment
  BRAINNET_KERNELS  auto (the fastest path there is) or reference (PyTorch's own operations)
  BRAINNET_CACHE    a folder for the cache other than the user's own
"""

EVALUATE_HELP = """\
brainnet evaluate RUN [key=value ...] [--json]

Judges the best checkpoint of a run on the rows that were kept for the test, or on other data: by
how many answers are right, and which class was taken for which.
RUN is a run's folder, latest, or a checkpoint file.

Examples
  brainnet evaluate latest
  brainnet evaluate latest data.path=other.csv
  brainnet evaluate runs/digits/2026-01-31_12-00-00 --json
  brainnet evaluate runs/moons/2026-01-31_12-00-00/checkpoints/last.ckpt
  brainnet evaluate latest data=moons data.noise=0.3

Keys
  data.path=FILE             all rows of another table, or all pictures of another folder, read as
                             the run read its own: columns and classes go by name
  data.target=COLUMN         where the right answers are called otherwise
  data.missing=drop          leave out rows with empty cells
  data=..., data.*           other rows to judge by, scaled as those it was trained on
  seed=...                   draw other rows, where they are drawn
  paths.runs=FOLDER          where latest is looked for

Options
  --json                     the same for programs: one JSON object
"""

PREDICT_HELP = """\
brainnet predict RUN --input FILE [options]

Answers the rows of a file with the best checkpoint of a run, in their order: the class and the
probability of each, or the numbers to predict in their own units. Rows are as the run's own data
were, neither scaled nor encoded; the run knows how. Any number of rows: memory does not grow.
RUN is a run's folder, latest, or a checkpoint file.

Examples
  brainnet predict latest --input rows.csv --output answers.csv
  brainnet predict latest --input rows.csv --keep id --output answers.parquet
  brainnet predict latest --input rows.csv | head
  cat rows.csv | brainnet predict latest --input - --to jsonl

Options
  --input FILE               CSV, TSV and the like, Parquet, .npy or .npz; - is the standard input.
                             For a network of pictures: a folder, a picture, IDX, .npy or .npz
  --output FILE              .csv, .jsonl or .parquet; without it CSV to the standard output. It
                             appears once it is whole
  --to csv|jsonl|parquet     where the ending of the output does not say it. Texts have six
                             decimals of a probability, Parquet has every digit
  --keep COLUMN,...          columns of the input to put before each answer, to join them by
  --unknown ignore|error     a category not seen in training: encoded as unknown (ignore),
                             or a reason to stop
  --broken refuse|skip       a file that cannot be read as a picture: none is answered (refuse), or
                             the others are, and it is named (skip)
  --no-header                the first line is a row; columns come in the order of training
  --overwrite                replace the output where it is there already

Keys
  network._target_=CLASS     consent to a class of the run's own, as for activation and loss
  paths.runs=FOLDER          where latest is looked for
"""

EXPORT_HELP = """\
brainnet export RUN --to onnx|torch|json [options]

Writes the best checkpoint of a run as one file that needs nothing of brainnet: raw rows go in,
neither scaled nor encoded, and the answer comes out. docs/export.md says how to use each.
RUN is a run's folder, latest, or a checkpoint file.

Examples
  brainnet export latest --to onnx
  brainnet export latest --to torch --output iris.pt2
  brainnet export runs/iris/2026-01-31_12-00-00 --to json --overwrite

Options
  --to onnx                  for any runtime of ONNX; words go in as strings, names of classes come
                             out. It takes two packages more: pip install "brainnet[onnx]"
  --to torch                 a program of torch.export, for PyTorch alone
  --to json                  numbers and words to read, which 30 lines of NumPy run; layers of
                             neurons alone
  --output FILE              without it network.onnx, .pt2 or .json in the run's folder
  --overwrite                replace the file where it is there already

Keys
  network._target_=CLASS     consent to a class of the run's own, as for activation and loss
  paths.runs=FOLDER          where latest is looked for
"""


def train_help() -> str:
    """The page of `brainnet train --help`."""
    return TRAIN_HEADER + "".join(_group_lines()) + "\nKeys (key=value)\n" + "".join(_key_lines())


def _group_lines() -> Iterator[str]:
    for group in list_groups():
        if group == "hydra":
            continue
        options = list_choices(group)
        yield f"  {group}\n"
        width = max(len(option.name) for option in options)
        for option in options:
            yield f"    {option.name:<{width}}  {option.meaning}\n"


def _key_lines() -> Iterator[str]:
    for key in KEYS:
        if not key.path.endswith("._target_"):
            yield f"  {key.path}\n      {key.meaning}: {key.kind.words}\n"


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
        return report_errors(lambda: dispatch(words, debug=debug), debug=debug)
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
        sys.stdout.write(EVALUATE_HELP)
        return 0
    from brainnet.cli.evaluate import run

    return run(words, debug=debug)


def _predict(words: list[str], debug: bool) -> int:
    if "--help" in words or "-h" in words:
        sys.stdout.write(PREDICT_HELP)
        return 0
    from brainnet.cli.predict import run

    return run(words)


def _export(words: list[str], debug: bool) -> int:
    if "--help" in words or "-h" in words:
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
