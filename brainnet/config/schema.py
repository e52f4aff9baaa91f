"""Schema of the configuration: groups and choices of `conf/`, and every key with its type.

The checks, `brainnet train --help` and the tests of the YAML files read this table.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainnet.config.instantiate import ALLOWED_ROOTS, GROUP_BASE_CLASSES, is_under
from brainnet.errors import InputError, did_you_mean

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ValueType:
    """A set of values: in words, as messages and the help state them, and as a function."""

    description: str
    accepts: Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class _Key:
    """One key of the configuration: its dotted path, its type, and its meaning in one line."""

    path: str
    type: ValueType
    meaning: str

    def describe(self) -> str:
        """Return the type and the meaning in one phrase."""
        return f"{self.type.description}: {self.meaning}"


def _number(
    *,
    above: float = -math.inf,
    minimum: float = -math.inf,
    below: float = math.inf,
    maximum: float = math.inf,
    is_integer: bool = False,
) -> ValueType:
    def accepts(value: object) -> bool:
        # A bool is an int in Python, but not in a configuration.
        if not isinstance(value, int if is_integer else int | float) or isinstance(value, bool):
            return False
        # NaN and infinity would pass where a bound is infinite.
        return math.isfinite(value) and above < value < below and minimum <= value <= maximum

    bounds = ((">", above), (">=", minimum), ("<", below), ("<=", maximum))
    limits = " and ".join(f"{sign} {bound}" for sign, bound in bounds if math.isfinite(bound))
    name = "an integer" if is_integer else "a number"
    return ValueType(f"{name} {limits}".rstrip(), accepts)


def _integer(minimum: int, maximum: float = math.inf) -> ValueType:
    return _number(minimum=minimum, maximum=maximum, is_integer=True)


def _option(*options: str | int) -> ValueType:
    words = "|".join(str(option) or "''" for option in options)
    return ValueType(words, lambda value: value in options)


def _either(*types: ValueType) -> ValueType:
    words = " or ".join(kind.description for kind in types)
    return ValueType(words, lambda value: any(kind.accepts(value) for kind in types))


def _nullable(kind: ValueType, meaning: str = "") -> ValueType:
    words = f"{kind.description}, or null{f' ({meaning})' if meaning else ''}"
    return ValueType(words, lambda value: value is None or kind.accepts(value))


def _list(kind: ValueType, *, length: int | None = None, empty: bool = False) -> ValueType:
    def accepts(value: object) -> bool:
        if not isinstance(value, list) or not (value or empty):
            return False
        return (length is None or len(value) == length) and all(map(kind.accepts, value))

    count = "a list" if length is None else f"a list of {length}"
    return ValueType(f"{count}, each {kind.description}", accepts)


# The name of one folder on every system; the file `latest` names the newest run.
RUN_NAME = ValueType(
    "letters, digits, - _ . and spaces, starting with a letter or digit (not latest)",
    lambda value: (
        isinstance(value, str)
        and re.fullmatch(r"(?!latest$)\w[\w .,=+-]{0,99}", value, re.IGNORECASE) is not None
    ),
)
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")
_FLAG = ValueType("true or false", lambda value: isinstance(value, bool))
_TEXT = ValueType("a text", lambda value: isinstance(value, str) and value.strip() != "")
_POSITIVE = _number(above=0)
_NOT_NEGATIVE = _number(minimum=0)
# Decay rates and fractions that may be off (0) but never everything.
_FRACTION = _number(minimum=0, below=1)
# A part of the rows or steps: neither none nor all.
_PART = _number(above=0, below=1)
_COUNT = _integer(1)
_COLUMN = _either(_TEXT, _integer(0))
_COLUMNS = ValueType(
    "a column or a list of columns", _either(_COLUMN, _list(_COLUMN, empty=True)).accepts
)
# Null is replaced by `learning_rate.fill_run_settings` once the steps of the run are known.
_STEPS = _nullable(_COUNT, "from the length of the run")
_TASK = _option("classification", "multiclass", "binary", "regression")
_TEXTS = _either(_TEXT, _list(_TEXT))
_SIZE = _either(_COUNT, _list(_COUNT, length=2))
_GAMMA = _number(above=0, maximum=1)
_DEVICES = _either(_integer(1, 256), _option("auto"), _list(_integer(0)))
_COMPILE = _either(_FLAG, _option("graph"))
_MAX_STEPS = _either(_COUNT, _option(-1))
_EVERY = _either(_COUNT, _option("auto"))
_FROM_DATA = "from the data"
_DETECTED = "detected"

# The help prints the keys in this order, which is that of the groups in train.yaml.
KEYS: tuple[_Key, ...] = (
    _Key(
        "name", _nullable(RUN_NAME, "the name of the data"), "the run's directory is RUNS/NAME/TIME"
    ),
    _Key("seed", _integer(0, 2**32 - 1), "of the split, the initial weights and the batch order"),
    _Key("resume", _nullable(_TEXT), "continue a run: its directory, latest, or a checkpoint"),
    _Key("data._target_", _TEXT, "class that loads the data"),
    _Key("data.batch_size", _COUNT, "rows per training step"),
    _Key("data.normalize", _option("standard", "minmax", "none"), "how inputs are scaled"),
    _Key("data.normalize_targets", _FLAG, "scale regression targets too"),
    _Key("data.validation", _PART, "fraction of the rows for validation"),
    _Key("data.test", _PART, "fraction of the rows for the test"),
    _Key("data.rows", _integer(4, 10**9), "number of generated rows"),
    _Key("data.noise", _NOT_NEGATIVE, "standard deviation of the noise in generated rows"),
    _Key("data.factor", _FRACTION, "radius of the inner circle; the outer radius is 1"),
    _Key("data.classes", _integer(2), "number of generated classes"),
    _Key("data.turns", _NOT_NEGATIVE, "turns of each spiral around the center"),
    _Key("data.inputs", _COUNT, "number of generated inputs"),
    _Key("data.path", _TEXT, "the table, or the folder or file of images"),
    _Key("data.target", _nullable(_COLUMNS, "must be given"), "target column"),
    _Key("data.columns", _nullable(_COLUMNS, "all others"), "input columns"),
    _Key("data.drop", _COLUMNS, "columns to ignore"),
    _Key("data.missing", _option("error", "drop", "impute"), "how missing values are handled"),
    _Key("data.task", _nullable(_TASK, _FROM_DATA), "whether the target is a class or a number"),
    _Key("data.categories", _COLUMNS, "columns to read as categories, even if they are numeric"),
    _Key("data.header", _nullable(_FLAG, _DETECTED), "whether the first line names the columns"),
    _Key("data.csv.sep", _nullable(_TEXT, _DETECTED), "column separator of a CSV file"),
    _Key("data.csv.decimal", _nullable(_TEXT, _DETECTED), "decimal separator of a CSV file"),
    _Key("data.csv.thousands", _nullable(_TEXT, "none"), "thousands separator of a CSV file"),
    _Key("data.csv.encoding", _nullable(_TEXT, _DETECTED), "text encoding of a CSV file"),
    _Key("data.csv.na_values", _nullable(_TEXTS), "further texts that mean a missing value"),
    _Key("data.validation_path", _nullable(_TEXT, "a fraction"), "file with the validation rows"),
    _Key("data.test_path", _nullable(_TEXT, "a fraction"), "file with the test rows"),
    _Key("data.size", _nullable(_SIZE, "unchanged"), "image side in pixels, or [height, width]"),
    _Key("data.colors", _option("auto", "gray", "rgb"), "color of images; auto: gray if all are"),
    _Key("data.broken", _option("error", "skip"), "how unreadable image files are handled"),
    _Key("data.labels", _nullable(_TEXT, "found by name"), "label file of an IDX image file"),
    _Key("network._target_", _TEXT, "class of the network"),
    _Key("network.hidden", _list(_COUNT, empty=True), "number of neurons in each hidden layer"),
    _Key("network.inputs", _nullable(_COUNT, _FROM_DATA), "number of inputs"),
    _Key("network.outputs", _nullable(_COUNT, _FROM_DATA), "number of outputs"),
    _Key("network.bias", _FLAG, "whether neurons have a bias"),
    _Key("activation._target_", _TEXT, "class of the activation function"),
    _Key("activation.threshold", _number(), "input below which a neuron is silent"),
    _Key("activation.width", _POSITIVE, "input range from the threshold to full output"),
    _Key("activation.leak", _NOT_NEGATIVE, "gradient outside the ramp"),
    _Key("activation.learn_threshold", _FLAG, "train the threshold"),
    _Key("activation.learn_width", _FLAG, "train the width"),
    _Key("activation.negative_slope", _number(), "slope below zero"),
    _Key("activation.approximate", _option("none", "tanh"), "exact curve, or a faster one"),
    _Key("activation.alpha", _POSITIVE, "the output below zero approaches minus this"),
    _Key("activation.beta", _POSITIVE, "sharpness of the bend"),
    _Key("activation.min_val", _number(), "output below the ramp"),
    _Key("activation.max_val", _number(), "output above the ramp"),
    _Key("loss._target_", _nullable(_TEXT, "chosen by the task"), "class of the loss"),
    _Key("loss.label_smoothing", _FRACTION, "probability moved from the true class to all others"),
    _Key("loss.delta", _POSITIVE, "error at which the loss changes from squared to linear"),
    _Key("optimizer._target_", _TEXT, "class of the optimizer"),
    _Key("optimizer.lr", _POSITIVE, "learning rate: the size of a step"),
    _Key("optimizer.momentum", _FRACTION, "fraction of the last step that is kept"),
    _Key("optimizer.dampening", _number(minimum=0, maximum=1), "dampening of the momentum"),
    _Key("optimizer.nesterov", _FLAG, "use Nesterov momentum"),
    _Key("optimizer.weight_decay", _NOT_NEGATIVE, "pull of every weight towards zero"),
    _Key("optimizer.betas", _list(_FRACTION, length=2), "decay of the gradient's running averages"),
    _Key("optimizer.eps", _POSITIVE, "added to the denominator for numerical stability"),
    _Key("optimizer.alpha", _FRACTION, "decay of the running mean square of the gradients"),
    _Key("optimizer.lr_decay", _NOT_NEGATIVE, "decay of the learning rate"),
    _Key("schedule._target_", _nullable(_TEXT, "a constant rate"), "class of the schedule"),
    _Key("schedule.T_max", _STEPS, "steps until eta_min is reached"),
    _Key("schedule.eta_min", _NOT_NEGATIVE, "final learning rate"),
    _Key("schedule.max_lr", _POSITIVE, "highest learning rate"),
    _Key("schedule.total_steps", _STEPS, "steps of the whole schedule"),
    _Key("schedule.pct_start", _PART, "fraction of the steps with a rising learning rate"),
    _Key("schedule.div_factor", _POSITIVE, "max_lr divided by the initial learning rate"),
    _Key("schedule.final_div_factor", _POSITIVE, "initial divided by the final learning rate"),
    _Key("schedule.warmup", _FRACTION, "fraction of the steps for the warm-up"),
    _Key("schedule.gamma", _nullable(_GAMMA, "from the length"), "factor on the learning rate"),
    _Key("schedule.step_size", _STEPS, "steps between two factors"),
    _Key("trainer.max_epochs", _COUNT, "passes over the training rows"),
    _Key(
        "trainer.max_steps",
        _either(_COUNT, _option(-1)),
        "steps after which to stop (-1: no limit)",
    ),
    _Key("trainer.accelerator", _option("auto", "cpu", "gpu", "cuda", "mps"), "device type"),
    _Key("trainer.devices", _DEVICES, "number of devices, or their indices"),
    _Key("trainer.strategy", _option("auto", "ddp"), "how several devices share the work"),
    _Key("trainer.precision", _option(*PRECISIONS), "number format of the computation"),
    _Key("trainer.gradient_clip_val", _nullable(_POSITIVE), "largest norm of the gradient"),
    _Key("trainer.accumulate_grad_batches", _COUNT, "batches per optimizer step"),
    _Key("trainer.compile", _COMPILE, "fuse operations (slow first steps); graph: CUDA graphs"),
    _Key("trainer.deterministic", _FLAG, "reject operations that are not reproducible"),
    _Key("trainer.overfit_batches", _COUNT, "train on this many batches only"),
    _Key("trainer.limit_train_batches", _COUNT, "training batches per epoch"),
    _Key("trainer.limit_val_batches", _COUNT, "validation batches per epoch"),
    _Key("trainer.limit_test_batches", _COUNT, "test batches"),
    _Key("trainer.profiler", _option("simple", "advanced"), "Lightning profiler to use"),
    _Key("observe._target_", _nullable(_TEXT, "no observation"), "class of the observer"),
    _Key("observe.level", _option("light", "full"), "how much is recorded"),
    _Key("observe.every", _EVERY, "steps between observations; auto: at most 3% of the time"),
    _Key("logger.csv._target_", _TEXT, "class of the logger"),
    _Key("logger.csv.save_dir", _nullable(_TEXT, "the run's directory"), "folder to write to"),
    _Key("logger.csv.name", _either(_TEXT, _option("")), "subfolder"),
    _Key("logger.csv.version", _either(_TEXT, _option("")), "subfolder of the subfolder"),
    _Key("callbacks.early_stopping._target_", _TEXT, "class of the callback"),
    _Key("callbacks.early_stopping.monitor", _TEXT, "the curve to watch, such as loss/validation"),
    _Key("callbacks.early_stopping.mode", _option("min", "max"), "whether low or high is better"),
    _Key("callbacks.early_stopping.patience", _integer(0), "epochs without improvement to wait"),
    _Key("callbacks.early_stopping.min_delta", _NOT_NEGATIVE, "smallest improvement that counts"),
    _Key("paths.runs", _TEXT, "the folder that runs are written to"),
)

KEYS_BY_PATH: dict[str, _Key] = {key.path: key for key in KEYS}

# Groups whose entries have names that the user chooses.
_NAMED_GROUPS = ("callbacks", "logger")
# Their keys go to a constructor, which may accept more keys than the schema lists.
_OPEN_GROUPS = (*GROUP_BASE_CLASSES, "trainer")
_REQUIRED = (*(g for g in _OPEN_GROUPS if g not in _NAMED_GROUPS), "paths", "paths.runs", "seed")


def find_conf_directory() -> Path:
    """Return the directory of the YAML files: in an installed package, or beside it."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def list_groups() -> list[str]:
    """Return the names of the groups in the order of `train.yaml`."""
    lines = (find_conf_directory() / "train.yaml").read_text(encoding="utf-8").splitlines()
    return [line[4:].partition(":")[0] for line in lines if re.match(r"  - \w+:", line)]


def list_choices(group: str) -> dict[str, str]:
    """Return the choices of a group by name, each with the first comment of its YAML file.

    Files whose names begin with `_` are parts of others.
    """
    choices = {}
    for file in sorted((find_conf_directory() / group).glob("[!_]*.yaml")):
        lines = file.read_text(encoding="utf-8").splitlines()
        # `# @package` lines are directives of Hydra.
        comments = (line[1:].strip() for line in lines if re.match("#(?! @package)", line))
        choices[file.stem] = next(comments, "")
    return choices


def read_choice_keys(group: str, choice: str) -> dict[str, Any]:
    """Return the keys that the YAML file of a choice sets."""
    # Imported here: `brainnet train --help` reads no YAML.
    import yaml

    file = find_conf_directory() / group / f"{choice}.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {}


def check_config(config: Config, required: Iterable[str] = _REQUIRED) -> None:
    """Check every group and key against the schema; those of `required` must be present."""
    values = dict(iterate_leaves(config))
    for path in required:
        # A missing key would be replaced by a default that the stored configuration does not show.
        if path in KEYS_BY_PATH and path not in values:
            raise InputError(f"{path} is missing: {path}=... ({KEYS_BY_PATH[path].describe()}).")
        if path not in KEYS_BY_PATH and not isinstance(config.get(path), Mapping):
            raise InputError(
                f"{path} is missing: choose one, {path}=... (brainnet train --help lists them)."
            )
    for path, value in values.items():
        _check_key(path, value, config)
    for group in _NAMED_GROUPS:
        for name, node in (config.get(group) or {}).items():
            if not isinstance(node, Mapping):
                raise InputError(
                    f"{group}.{name} needs a class and its settings; got {_format_value(node)}. "
                    f"Choose a name for it: +{group}.mine._target_=the.Class, and settings as "
                    f"+{group}.mine.KEY=VALUE."
                )


def check_hidden_layers(config: Config) -> None:
    """Reject a new network without hidden layers; a network created in Python may have none."""
    if config["network"].get("hidden") == []:
        raise InputError(
            "network.hidden needs at least one layer, such as [8]; got []. Add "
            "activation=identity for a linear model."
        )


def _check_key(path: str, value: object, config: Mapping[str, Any]) -> None:
    key = KEYS_BY_PATH.get(path)
    group, _, name = path.partition(".")
    if key is None:
        if name and group in _OPEN_GROUPS:
            # The signature of the class decides, in `instantiate.check_parameters`.
            return
        raise InputError(
            f"there is no key {path}.{did_you_mean(path, KEYS_BY_PATH)} "
            "brainnet train --help lists the keys."
        )
    if value == "???":
        raise InputError(f"{path} must be given: {path}=... ({key.describe()}).")
    # The schema knows the types of built-in classes only.
    node = config.get(group)
    target = node.get("_target_") if isinstance(node, Mapping) else None
    is_user_class = isinstance(target, str) and not is_under(target, ALLOWED_ROOTS)
    if is_user_class and name != "_target_":
        return
    if not key.type.accepts(value):
        raise InputError(
            f"{path} must be {key.type.description} ({key.meaning}); got {_format_value(value)}."
        )


def _format_value(value: object) -> str:
    if isinstance(value, str):
        return f"the text {value!r}" if value.strip() else "nothing"
    return "null" if value is None else str(value).replace("True", "true").replace("None", "null")


def iterate_leaves(tree: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the dotted path and the value of every leaf of nested mappings."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from iterate_leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, tree
