"""Schema: every key of the configuration with its type, bounds and meaning."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from brainnet.config.instantiate import ALLOWED_ROOTS, is_under
from brainnet.errors import InputError, did_you_mean


@dataclass(frozen=True, slots=True)
class Kind:
    """A set of values: `words` tell it to a person, `accepts` decides."""

    words: str
    accepts: Callable[[object], bool]


def whole(minimum: int, *, maximum: int | None = None, special: int | None = None) -> Kind:
    """Whole numbers from `minimum` up to `maximum`, and one `special` number beside them."""

    def accepts(value: object) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return (value >= minimum and (maximum is None or value <= maximum)) or value == special

    bounds = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum}"
    words = f"a whole number, {bounds}"
    return Kind(words if special is None else f"{words} (or {special})", accepts)


def number(
    *,
    above: float | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> Kind:
    """Finite numbers within the given bounds; `above` and `below` exclude the bound itself."""

    def accepts(value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return (
            math.isfinite(value)
            and (above is None or value > above)
            and (minimum is None or value >= minimum)
            and (maximum is None or value <= maximum)
            and (below is None or value < below)
        )

    bounds = [
        f"{word} {bound:g}"
        for word, bound in (
            ("above", above),
            ("at least", minimum),
            ("at most", maximum),
            ("below", below),
        )
        if bound is not None
    ]
    return Kind(" ".join(["a number", " and ".join(bounds)]).strip(), accepts)


def flag() -> Kind:
    """True or false."""
    return Kind("true or false", lambda value: isinstance(value, bool))


def text() -> Kind:
    """Any text that is not empty."""
    return Kind("a text", lambda value: isinstance(value, str) and value.strip() != "")


def build_name_kind() -> Kind:
    """A text that can be the name of one folder, on any system, beside the file `latest`."""
    pattern = re.compile(r"(?!latest$)\w[\w .,=+-]{0,99}", re.IGNORECASE)
    return Kind(
        "letters, digits, - _ . and spaces, the first a letter or digit (not latest)",
        lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None,
    )


def one_of(*allowed: str | int) -> Kind:
    """One of a few words or numbers."""
    words = "|".join(str(word) or "''" for word in allowed)
    return Kind(words, lambda value: not isinstance(value, bool) and value in allowed)


def either(*kinds: Kind) -> Kind:
    """What any of several kinds accepts."""
    words = " or ".join(kind.words for kind in kinds)
    return Kind(words, lambda value: any(kind.accepts(value) for kind in kinds))


def or_null(kind: Kind, *, null: str = "null") -> Kind:
    """What the kind accepts, or null; `null` tells what that means."""
    return Kind(f"{kind.words}, or {null}", lambda value: value is None or kind.accepts(value))


def list_of(kind: Kind, *, length: int | None = None, empty: bool = False) -> Kind:
    """A list with something in it, unless it may be `empty`, every entry of one kind."""

    def accepts(value: object) -> bool:
        if not isinstance(value, list) or not (value or empty):
            return False
        return (length is None or len(value) == length) and all(map(kind.accepts, value))

    count = "a list" if length is None else f"a list of {length}"
    return Kind(f"{count}, each {kind.words}", accepts)


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its dotted path, the values it takes, and one line of meaning."""

    path: str
    kind: Kind
    meaning: str


SHARE = number(minimum=0, maximum=1)

POSITIVE = number(above=0)

NOT_NEGATIVE = number(minimum=0)

CLASS = text()

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")

FROM_DATA = "null: from the data"

FROM_RUN = "null: from the run"

STEPS = or_null(whole(1), null=FROM_RUN)

FILE = text()

COLUMN = Kind("a column", either(text(), whole(0)).accepts)

COLUMNS = Kind("a column or a list of them", either(COLUMN, list_of(COLUMN, empty=True)).accepts)

NO_FILE = "null: a share of the rows"

RUN = (
    Key(
        "name",
        or_null(build_name_kind(), null="null: that of the data"),
        "the run's folder: RUNS/NAME/TIME",
    ),
    Key("seed", whole(0, maximum=2**32 - 1), "of the split, the first weights, the batches' order"),
    Key("resume", or_null(text()), "go on with a run: its folder, latest, or a checkpoint"),
)

DATA = (
    Key("data._target_", CLASS, "the class that loads the data"),
    Key("data.batch_size", whole(1), "rows per step of learning"),
    Key("data.normalize", one_of("standard", "minmax", "none"), "how the inputs are scaled"),
    Key("data.normalize_targets", flag(), "scale the numbers to predict as well"),
    Key("data.validation", number(above=0, below=1), "share of rows to validate on"),
    Key("data.test", number(above=0, below=1), "share of rows kept for the test"),
    Key("data.rows", whole(4, maximum=10**9), "how many rows to generate"),
    Key("data.noise", NOT_NEGATIVE, "how far the generated rows are strewn"),
    Key("data.factor", number(minimum=0, below=1), "radius of the inner circle, the outer being 1"),
    Key("data.classes", whole(2), "how many classes to generate"),
    Key("data.turns", NOT_NEGATIVE, "how often each spiral winds around the middle"),
    Key("data.inputs", whole(1), "how many inputs to generate"),
    Key("data.path", FILE, "the table, or the folder or file of the pictures"),
    Key("data.target", or_null(COLUMNS, null="null: asked for"), "what is to be predicted"),
    Key("data.columns", or_null(COLUMNS, null="null: all others"), "what to learn from"),
    Key("data.drop", COLUMNS, "columns to leave out"),
    Key("data.missing", one_of("error", "drop", "impute"), "what becomes of empty cells"),
    Key(
        "data.task",
        or_null(one_of("classification", "multiclass", "binary", "regression"), null=FROM_DATA),
        "what the target is: classes, or numbers",
    ),
    Key("data.categories", COLUMNS, "columns that are words, even if they look like numbers"),
    Key(
        "data.header",
        or_null(flag(), null="null: recognised"),
        "whether the first line names the columns (else they are called 0, 1, ...)",
    ),
    Key("data.validation_path", or_null(FILE, null=NO_FILE), "a file of rows to validate on"),
    Key("data.test_path", or_null(FILE, null=NO_FILE), "a file of rows for the test"),
    Key(
        "data.size",
        or_null(either(whole(1), list_of(whole(1), length=2)), null="null: as they are"),
        "pixels of every picture: of its sides, or its height and its width",
    ),
    Key("data.colors", one_of("auto", "gray", "rgb"), "of images; auto: gray if all images are"),
    Key("data.broken", one_of("error", "skip"), "what to do with unreadable images"),
    Key(
        "data.labels",
        or_null(FILE, null="null: found by its name"),
        "the file of labels that belongs to an IDX file of pictures",
    ),
)

NETWORK = (
    Key("network._target_", CLASS, "the class of the network"),
    Key("network.hidden", list_of(whole(1), empty=True), "neurons of each hidden layer"),
    Key("network.inputs", or_null(whole(1), null=FROM_DATA), "how many numbers go in"),
    Key("network.outputs", or_null(whole(1), null=FROM_DATA), "how many numbers come out"),
    Key("network.bias", flag(), "whether neurons have a bias"),
)

ACTIVATION = (
    Key("activation._target_", CLASS, "the class of the activation function"),
    Key("activation.threshold", number(), "below it a neuron stays quiet"),
    Key("activation.width", POSITIVE, "the signal from the threshold to fully firing"),
    Key("activation.leak", NOT_NEGATIVE, "gradient that flows outside the ramp"),
    Key("activation.learn_threshold", flag(), "let the threshold learn"),
    Key("activation.learn_width", flag(), "let the width learn"),
    Key("activation.negative_slope", number(), "slope below zero"),
    Key("activation.approximate", one_of("none", "tanh"), "the exact curve, or a cheaper one"),
    Key("activation.alpha", POSITIVE, "depth of the floor below zero"),
    Key("activation.beta", POSITIVE, "how sharp the bend is"),
    Key("activation.min_val", number(), "output below the ramp"),
    Key("activation.max_val", number(), "output above the ramp"),
)

LOSS = (
    Key("loss._target_", or_null(CLASS, null="null: by the task"), "the class of the loss"),
    Key(
        "loss.label_smoothing",
        number(minimum=0, below=1),
        "certainty withheld from the right class",
    ),
    Key("loss.delta", POSITIVE, "from this mistake on the sting grows in proportion"),
)

OPTIMIZER = (
    Key("optimizer._target_", CLASS, "the class of the optimizer"),
    Key("optimizer.lr", POSITIVE, "learning rate: the size of the step"),
    Key("optimizer.momentum", number(minimum=0, below=1), "share of the last step kept in this"),
    Key("optimizer.dampening", SHARE, "share of the gradient left out of the momentum"),
    Key("optimizer.nesterov", flag(), "look ahead along the momentum before stepping"),
    Key("optimizer.weight_decay", NOT_NEGATIVE, "pull of every weight towards zero"),
    Key(
        "optimizer.betas",
        list_of(number(minimum=0, below=1), length=2),
        "memory of the mean and of the spread of the gradients",
    ),
    Key("optimizer.eps", POSITIVE, "keeps a division from blowing up"),
    Key("optimizer.alpha", number(minimum=0, below=1), "memory of the gradients' size"),
    Key("optimizer.lr_decay", NOT_NEGATIVE, "how fast the learning rate falls"),
)

SCHEDULE = (
    Key(
        "schedule._target_",
        or_null(CLASS, null="null: a constant learning rate"),
        "the class of the schedule; it moves at every step",
    ),
    Key("schedule.T_max", STEPS, "steps until eta_min is reached"),
    Key("schedule.eta_min", NOT_NEGATIVE, "the last learning rate"),
    Key("schedule.max_lr", POSITIVE, "the highest learning rate"),
    Key("schedule.total_steps", STEPS, "steps of the whole schedule"),
    Key("schedule.pct_start", number(above=0, below=1), "share of the steps spent going up"),
    Key("schedule.div_factor", number(above=0), "max_lr over the first learning rate"),
    Key("schedule.final_div_factor", number(above=0), "the first over the last learning rate"),
    Key("schedule.warmup", number(minimum=0, below=1), "share of the steps spent warming up"),
    Key(
        "schedule.gamma",
        or_null(number(above=0, maximum=1), null=FROM_RUN),
        "factor on the learning rate",
    ),
    Key("schedule.step_size", STEPS, "steps between two factors"),
)

TRAINER = (
    Key("trainer.max_epochs", whole(1), "how often the training rows are gone through"),
    Key("trainer.max_steps", whole(1, special=-1), "steps after which to stop (-1: no such limit)"),
    Key("trainer.accelerator", one_of("auto", "cpu", "gpu", "cuda", "mps"), "what to compute on"),
    Key(
        "trainer.devices",
        either(whole(1), one_of("auto"), list_of(whole(0))),
        "how many devices, or which",
    ),
    Key("trainer.strategy", one_of("auto", "ddp"), "how several devices share the work"),
    Key("trainer.precision", one_of(*PRECISIONS), "bits of the numbers computed with"),
    Key("trainer.gradient_clip_val", or_null(POSITIVE), "longest gradient that is let through"),
    Key("trainer.accumulate_grad_batches", whole(1), "batches gathered into one step"),
    Key(
        "trainer.compile",
        either(flag(), one_of("graph")),
        "fuse the network's operations; the first steps take longer; graph: capture them, on CUDA",
    ),
    Key("trainer.deterministic", flag(), "refuse operations that do not repeat to the bit"),
    Key("trainer.overfit_batches", whole(1), "train on these batches alone"),
    Key("trainer.limit_train_batches", whole(1), "training batches per epoch"),
    Key("trainer.limit_val_batches", whole(1), "validation batches per epoch"),
    Key("trainer.limit_test_batches", whole(1), "test batches"),
    Key("trainer.profiler", one_of("simple", "advanced"), "where the time went, told at the end"),
)

OBSERVE = (
    Key("observe._target_", or_null(CLASS, null="null: no look inside"), "the class that looks"),
    Key("observe.level", one_of("light", "full"), "how much is seen"),
    Key(
        "observe.every",
        either(whole(1), one_of("auto")),
        "steps between two looks; auto: as many as keep looking within 3% of the time",
    ),
)

CALLBACKS = (
    Key("callbacks.early_stopping._target_", CLASS, "the class of the callback"),
    Key("callbacks.early_stopping.monitor", text(), "the curve to watch: loss/validation ..."),
    Key("callbacks.early_stopping.mode", one_of("min", "max"), "whether less or more is better"),
    Key("callbacks.early_stopping.patience", whole(0), "epochs without progress to wait"),
    Key("callbacks.early_stopping.min_delta", NOT_NEGATIVE, "the least that counts as progress"),
)

LOGGER = (
    Key("logger.csv._target_", CLASS, "the class of the logger"),
    Key("logger.csv.save_dir", or_null(text(), null="null: the run's"), "the folder to write to"),
    Key("logger.csv.name", either(text(), one_of("")), "a folder in it"),
    Key("logger.csv.version", either(text(), one_of("")), "a folder in that"),
)

PATHS = (Key("paths.runs", text(), "the folder that runs are written to"),)

KEYS: tuple[Key, ...] = (
    RUN
    + DATA
    + NETWORK
    + ACTIVATION
    + LOSS
    + OPTIMIZER
    + SCHEDULE
    + TRAINER
    + OBSERVE
    + LOGGER
    + CALLBACKS
    + PATHS
)

KEYS_BY_PATH: dict[str, Key] = {key.path: key for key in KEYS}

Config = dict[str, Any]

NEEDED = ("data", "network", "activation", "loss", "optimizer", "schedule", "trainer", "observe")

GROUPS = (*NEEDED, "logger", "callbacks", "paths")
# What they hold is called as its user likes.
NAMED = ("callbacks", "logger")
# Their keys go to a constructor, whose signature knows more keys than the table does.
OPEN = (*NEEDED, "logger", "callbacks")


def to_plain(config: DictConfig) -> Config:
    """The configuration as dicts, lists and primitives, Hydra's own node left out.

    Raises:
        InputError: where a `${...}` leads nowhere.
    """
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        found = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(f"the configuration refers to what is not there: {error}") from error
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def check_config(config: Config, needed: Iterable[str] = NEEDED) -> None:
    """Hold every group and key against the table of keys.

    Args:
        config: the configuration.
        needed: groups that it cannot do without.

    Raises:
        InputError: for what is missing, unknown, of a wrong type or out of its range.
    """
    for group in needed:
        if not isinstance(config.get(group), Mapping):
            raise InputError(_missing(group))
    for path, value in leaves(config):
        check_key(path, value, config)
    for group in NAMED:
        for name, node in (config.get(group) or {}).items():
            if not isinstance(node, Mapping):
                raise InputError(
                    f"{group}.{name} needs a class and its settings; got {told(node)}. Give it a "
                    f"name of its own: +{group}.mine._target_=the.Class, and settings as "
                    f"+{group}.mine.KEY=VALUE."
                )


def check_begun(config: Config) -> None:
    """Hold a configuration against what is asked of it before all else.

    Raises:
        InputError: for what a file of the user's to start from, or `~`, leaves out.
    """
    if not isinstance(config.get("paths"), Mapping):
        raise InputError(_missing("paths"))
    there = dict(leaves(config))
    for path in ("seed", "paths.runs"):
        if path not in there:
            key = KEYS_BY_PATH[path]
            raise InputError(f"{path} is missing: {path}=... ({key.kind.words}: {key.meaning}).")


def check_hidden(config: Config) -> None:
    """Refuse a new network without neurons of its own; one made in Python may have none.

    Raises:
        InputError: when `network.hidden` is empty.
    """
    if config["network"].get("hidden") == []:
        raise InputError(
            "network.hidden needs at least one layer, such as [8]; got []. Add "
            "activation=identity for a linear model: without a threshold, layers are worth one."
        )


def check_key(path: str, value: object, config: Mapping[str, Any]) -> None:
    """Hold one key against the table.

    Raises:
        InputError: when the key is unknown, or its value of a wrong type or out of range.
    """
    key = KEYS_BY_PATH.get(path)
    group = path.partition(".")[0]
    if key is None:
        if group in OPEN and group != path:
            return
        raise InputError(
            f"there is no key {path}.{did_you_mean(path, KEYS_BY_PATH)} "
            "brainnet train --help lists the keys."
        )
    if value == "???":
        raise InputError(f"{path} must be given: {path}=... ({key.kind.words}: {key.meaning}).")
    if is_brainnet_target(config.get(group)) and not path.endswith("._target_"):
        return
    if not key.kind.accepts(value):
        raise InputError(f"{path} needs {key.kind.words} ({key.meaning}); got {told(value)}.")


def is_brainnet_target(group: object) -> bool:
    """Whether a group is built from a class of the user's, whose keys are the user's too."""
    target = group.get("_target_") if isinstance(group, Mapping) else None
    return isinstance(target, str) and not is_under(target, ALLOWED_ROOTS)


def _missing(group: str) -> str:
    return f"{group} is missing: choose one, {group}=... (brainnet train --help lists them)."


def told(value: object) -> str:
    """A value as one would type it, and its type where that is not plain."""
    if isinstance(value, str):
        return f"the text {value!r}" if value.strip() else "nothing"
    return _typed(value)


def _typed(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_typed, value))}]"
    return str(value) or "''"


def leaves(tree: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Every value of a tree of mappings with its dotted name; an empty mapping has none."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, f"{place}.{key}" if place else str(key))
    else:
        yield place, tree
