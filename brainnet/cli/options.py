"""Options and help of every command, declared with argparse; imports no torch."""

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from brainnet.config.schema import KEYS, KEYS_BY_PATH, list_choices, list_groups
from brainnet.errors import InputError, did_you_mean, find_intended, find_nearest

if TYPE_CHECKING:
    from brainnet.config.instantiate import TargetAllowList
    from brainnet.inference.trained_model import TrainedModel

_RUN_HELP = "directory of a run, latest, or a checkpoint file"
# Keys of commands that load a trained network: its own classes must be typed again.
_RUN_KEYS = ("paths.runs", *(f"{g}._target_" for g in ("network", "activation", "loss", "data")))


class CommandParser(argparse.ArgumentParser):
    """An argument parser that raises `InputError` instead of exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise a message with the usage of the command."""
        raise InputError(f"{message}.\nUsage: {self.usage} (--help lists the options)")


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Parse the words behind `brainnet`; `command` is the name of the command."""
    parser, commands = _build_parsers()
    if not words or words[0] not in commands:
        arguments = parser.parse_args(words[:1] if words and words[0][:1] == "-" else [])
        if not words or arguments.version:
            return arguments
        raise InputError(
            f"there is no command {words[0]}.{did_you_mean(words[0], commands)} "
            f"The commands are {', '.join(commands)}."
        )
    command = commands[words[0]]
    # Reading all YAML files takes time that only the help needs.
    if words[0] == "train" and {"-h", "--help"} & set(words):
        command.epilog = "".join([*_describe_groups(), "\n", *_describe_keys()])
    options = [flag for action in command._actions for flag in action.option_strings]
    # Before parsing: a misspelled option is reported rather than the one that is missing then.
    for word in words[1:]:
        name = word.partition("=")[0]
        if re.match("--?[a-zA-Z]", name) and name not in options:
            _reject_option(name, words[0], options)
    # Intermixed: options may stand between overrides.
    arguments = command.parse_intermixed_args(list(words[1:]))
    arguments.command = words[0]
    return arguments


def _reject_option(name: str, command: str, options: Sequence[str]) -> NoReturn:
    """Raise a message with the option, or the key of the configuration, that was meant."""
    flag = find_nearest(name, options)
    # Users of other tools type keys as options: --lr 0.1.
    keys = find_intended(name.lstrip("-").replace("-", "_"), KEYS_BY_PATH)
    meant = [flag] if flag else [f"{key}=..." for key in keys]
    hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
    raise InputError(
        f"{command} has no option {name}.{hint} brainnet {command} --help lists the options."
    )


def _build_parsers() -> tuple[CommandParser, dict[str, CommandParser]]:
    """Return the parser of `brainnet`, and those of its commands by name."""
    parser = CommandParser(
        prog="brainnet",
        usage="brainnet COMMAND ... (brainnet COMMAND --help shows the options of a command)",
        description="Neural networks as a glass box: every part named, observed and explained.",
        epilog=_MAIN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="show the version")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(title="commands", metavar="", dest="command")
    for add in (_add_train, _add_evaluate, _add_predict, _add_export, _add_explain, _add_kernels):
        add(commands)
    return parser, dict(commands.choices)


def _add_command(
    commands: Any, usage: str, short: str, text: str, epilog: str = ""
) -> Callable[..., argparse.Action]:
    """Add the parser of a command; return its `add_argument`."""
    name, argument, *_ = usage.split()
    command = commands.add_parser(
        name,
        usage=f"brainnet {usage}",
        help=short,
        description=f"{short[0].upper()}{short[1:]}.{text}",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # An abbreviation could change its meaning when an option is added.
        allow_abbrev=False,
    )
    add: Callable[..., argparse.Action] = command.add_argument
    if argument == "RUN":
        add("run", metavar="RUN", help=_RUN_HELP)
        # Without a default, parse_intermixed_args reports the overrides as missing.
        add("overrides", nargs="*", default=[], metavar="key=value", help="see below")
    return add


def _add_train(commands: Any) -> None:
    usage = "train [key=value ...] [options]"
    short = "train a network, and write it to runs/NAME/TIME"
    add = _add_command(commands, usage, short, _TRAIN_TEXT)
    add("overrides", nargs="*", default=[], metavar="key=value", help="see Groups and Keys below")
    add("-m", "--multirun", action="store_true", help="run every combination of values a,b,c")
    add("-c", "--cfg", choices=("job",), help="show the configuration, do not run")
    add("-p", "--package", metavar="KEY", help="the part of the configuration to show")
    add("-cd", "--config-dir", metavar="FOLDER", help="folder of your own groups and choices")
    add("-cn", "--config-name", metavar="NAME", help="file to start from instead of train.yaml")


def _add_evaluate(commands: Any) -> None:
    usage = "evaluate RUN [key=value ...] [--json]"
    short = "evaluate the best checkpoint of a run on its test rows, or on other data"
    add = _add_command(commands, usage, short, _EVALUATE_TEXT)
    add("--json", action="store_true", help="write one JSON object")


def _add_predict(commands: Any) -> None:
    usage = "predict RUN --input FILE [options]"
    short = "predict the rows of a file with the best checkpoint of a run, with probabilities"
    add = _add_command(commands, usage, short, _PREDICT_TEXT, _ALLOW_TEXT)
    source = "CSV, TSV, Parquet, .npy, .npz, a folder or an image; - is standard input"
    add("--input", metavar="FILE", required=True, help=source)
    add("--output", metavar="FILE", help=".csv, .jsonl or .parquet; CSV to standard output if none")
    add("--to", choices=("csv", "jsonl", "parquet"), help="format, if not that of the suffix")
    keep = "input columns to write before each prediction"
    add("--keep", metavar="COLUMN,...", default=[], type=lambda text: text.split(","), help=keep)
    unknown = "category not seen in training: encode it as none of the known ones, or stop"
    add("--unknown", choices=("ignore", "error"), default="ignore", help=unknown)
    add("--broken", choices=("error", "skip"), help="unreadable image file: stop, or leave it out")
    add("--no-header", action="store_true", help="the first line is a row; columns as in training")
    add("--overwrite", action="store_true", help="replace an existing output file")


def _add_export(commands: Any) -> None:
    usage = "export RUN --to onnx|torch|json [options]"
    short = "write the best checkpoint of a run as one file that needs no brainnet"
    add = _add_command(commands, usage, short, _EXPORT_TEXT, _ALLOW_TEXT)
    formats = (
        'onnx: for any ONNX runtime, needs pip install "brainnet[onnx]"; torch: a torch.export '
        "program; json: readable text that 30 lines of NumPy run, dense layers only"
    )
    add("--to", choices=("onnx", "torch", "json"), required=True, help=formats)
    add("--output", metavar="FILE", help="default: network.onnx|.pt2|.json in the run's directory")
    add("--overwrite", action="store_true", help="replace an existing output file")


def _add_explain(commands: Any) -> None:
    usage = "explain [CONCEPT] [--run RUN [--row N] [--input FILE]] [--json]"
    short = "explain a concept, the numbers of a run, or the prediction of a row"
    add = _add_command(commands, usage, short, _EXPLAIN_TEXT, _ALLOW_TEXT)
    add("words", nargs="*", default=[], metavar="CONCEPT", help="name of a concept")
    add("--run", metavar="RUN", help=f"{_RUN_HELP}; uses its best weights")
    add("--row", metavar="N", type=int, help="row of the run's data, counted from 0")
    add("--input", metavar="FILE", help="take the row from this file, or this image; - is stdin")
    add("--json", action="store_true", help="write JSON")


def _add_kernels(commands: Any) -> None:
    usage = "kernels build|status|clean"
    short = "compile the C++ kernels, show which path is used, or remove them"
    add = _add_command(commands, usage, short, _KERNELS_TEXT)
    add("action", choices=("build", "status", "clean"))
    add("--force", action="store_true", help="build: compile again")


def _describe_groups() -> Iterator[str]:
    yield "Groups (group=choice)\n"
    for group in list_groups():
        # Hydra's own settings are no choice of the user.
        if group != "hydra":
            yield f"  {group}\n"
            choices = list_choices(group)
            width = max(map(len, choices))
            for name, meaning in choices.items():
                yield f"    {name:<{width}}  {meaning}\n"


def _describe_keys() -> Iterator[str]:
    yield "Keys (key=value)\n"
    for key in KEYS:
        if not key.path.endswith("._target_"):
            yield f"  {key.path}\n      {key.meaning}: {key.type.description}\n"


def load_named_run(
    run: str, words: Sequence[str], command: str
) -> "tuple[TrainedModel, TargetAllowList]":
    """Load the run that a command names, and the classes that its overrides allow.

    Overrides may only be `paths.runs` and the classes of the run, which must be typed again.
    """
    # These import torch, or Hydra, which not every command needs.
    from brainnet.config.instantiate import TargetAllowList
    from brainnet.inference.trained_model import load
    from brainnet.training.run_directory import find_run

    values: dict[str, str] = {}
    if words:
        from brainnet.config.compose import parse_overrides

        values = {item.key_or_group: str(item.value()) for item in parse_overrides(words)}
    for key in values:
        if key not in _RUN_KEYS:
            raise InputError(
                f"{command} uses the network as it was trained: {key} cannot be set here."
                f"{did_you_mean(key, _RUN_KEYS)}"
            )
    runs = Path(values.pop("paths.runs", "runs"))
    allow_list = TargetAllowList(typed=frozenset(values.values()))
    trained = load(find_run(run, runs), allow_list=allow_list)
    # Allowing a class that the run does not use is a mistake of the user.
    for key, value in values.items():
        stored = trained.config.get(key.partition(".")[0], {}).get("_target_")
        if value != stored:
            raise InputError(f"{key}={value}: the run was trained with {stored}. Leave it out.")
    return trained, allow_list


_MAIN_EPILOG = """\
examples:
  brainnet train
  brainnet train data=moons network.hidden=[8,8] optimizer.lr=0.01
  brainnet evaluate latest
  brainnet predict latest --input rows.csv --output predictions.csv
  brainnet export latest --to onnx
  brainnet explain weights
  brainnet explain --run latest --row 0
  brainnet kernels status
  tensorboard --logdir runs

RUN is the directory of a run, latest, or a checkpoint file.
"""

_TRAIN_TEXT = """ Without arguments: the digits.

examples:
  brainnet train data=diabetes loss=huber optimizer=sgd optimizer.momentum=0.9
  brainnet train -m optimizer.lr=0.1,0.01,0.001 seed=0,1,2      every combination, one run each
  brainnet train experiment=deep_sigmoid
  brainnet train resume=latest trainer.max_epochs=60
  brainnet train network=custom network._target_=their.module.Net

Hydra needs quotes around values with other characters than letters, digits and -_./: and blanks,
and so does the shell: 'data.path="my (1).csv"'."""

_EVALUATE_TEXT = """

keys:
  data.path=FILE             all rows of another table, or all images of another folder, read as
                             the data of the run; columns and classes are matched by name
  data.target=COLUMN         the target column, if it has another name
  data.missing=drop          leave out rows with missing values
  data=..., data.*           other data, scaled as the data of the run
  seed=...                   other rows, for generated data
  paths.runs=FOLDER          folder in which latest is looked up

examples:
  brainnet evaluate latest data.path=other.csv
  brainnet evaluate runs/moons/2026-01-31_12-00-00/checkpoints/last.ckpt
  brainnet evaluate latest data=moons data.noise=0.3"""

_PREDICT_TEXT = """
Rows are given as in the data of the run, neither scaled nor encoded.

examples:
  brainnet predict latest --input rows.csv --keep id --output predictions.parquet
  cat rows.csv | brainnet predict latest --input - --to jsonl"""

_EXPORT_TEXT = """
Raw rows go in, neither scaled nor encoded, and predictions come out: see docs/export.md.

example:
  brainnet export latest --to torch --output iris.pt2"""

_EXPLAIN_TEXT = """
Without CONCEPT: all eleven. With a row: how its prediction is computed, and which inputs mattered.

examples:
  brainnet explain learning-rate --json
  brainnet explain neurons --run runs/digits/2026-01-31_12-00-00
  brainnet explain --run latest --row 0 --input new.csv"""

_ALLOW_TEXT = """\
keys:
  paths.runs=FOLDER          folder in which latest is looked up
  network._target_=CLASS     allow a class of your own; also activation, loss and data
"""

_KERNELS_TEXT = """
Results are the same with and without them. build needs g++ or clang++ (or CXX).

environment:
  BRAINNET_KERNELS   auto (fastest available path) or reference (PyTorch operations only)
  BRAINNET_CACHE     folder of the compiled kernels"""
