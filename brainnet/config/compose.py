"""Compose a configuration with Hydra, which only reads YAML files here and instantiates nothing."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import hydra
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from brainnet.config.instantiate import (
    GROUP_BASE_CLASSES,
    TargetAllowList,
    find_targets,
    list_arguments,
    resolve_target,
)
from brainnet.config.schema import (
    KEYS_BY_PATH,
    Config,
    find_conf_directory,
    list_choices,
    list_groups,
    read_choice_keys,
)
from brainnet.errors import InputError, did_you_mean, format_override, quote_value

# Groups of which several choices can be combined.
_MULTIPLE_CHOICE = ("callbacks", "logger", "experiment", "debug")
RUN_DIR, _SEARCH_PATH = "hydra.run.dir", "hydra.searchpath"


@dataclass(frozen=True, slots=True)
class ConfigFiles:
    """Where YAML files are read from: the first file, and a directory of the user, if any."""

    name: str = "train"
    extra_directory: Path | None = None

    @classmethod
    def select(cls, name: str | None, directory: str | None) -> "ConfigFiles":
        """Return the files for `--config-name` and `--config-dir`."""
        extra = Path(directory).expanduser().resolve() if directory else None
        if extra is not None and not extra.is_dir():
            raise InputError(
                f"--config-dir needs a folder of YAML files; there is none at {extra}."
            )
        return cls((name or "train").removesuffix(".yaml"), extra)

    def list_directories(self) -> list[Path]:
        """Return the directories to search, first the one with the file to start from."""
        extra = [] if self.extra_directory is None else [self.extra_directory]
        directories = [find_conf_directory(), *extra]
        # Hydra looks for the file to start from in the first directory only.
        return sorted(directories, key=lambda path: not (path / f"{self.name}.yaml").is_file())

    def to_flags(self) -> list[str]:
        """Return the command line options that select these files."""
        extra = self.extra_directory
        return ["--config-name", self.name, *(["--config-dir", str(extra)] if extra else [])]


def parse_overrides(words: Sequence[str]) -> list[Override]:
    """Parse overrides in Hydra's grammar; an error says how to write them."""
    overrides = []
    parser = OverridesParser.create()
    for word in words:
        try:
            override = parser.parse_override(word)
        except HydraException as error:
            # Without the list of all tokens that the grammar accepts.
            reason = str(error).partition(" expecting {")[0].rstrip(".")
            raise InputError(
                f"cannot read {word!r}: {reason}.\n{_suggest_override(word, parser)}"
            ) from error
        _check_override(override)
        overrides.append(override)
    return overrides


def _suggest_override(word: str, parser: OverridesParser) -> str:
    """Return what to type instead of a word that cannot be parsed."""
    key, equals, value = word.partition("=")
    # Users type the name of data or of an experiment without its group.
    if not equals:
        matches = [f"{group}={word}" for group in list_groups() if word in list_choices(group)]
        suggestion = f" Did you mean {' or '.join(matches)}?" if matches else ""
        return f"An override is key=value, as in optimizer.lr=0.01.{suggestion}"
    if not value.startswith(("[", "{", "'", '"')) and not value.endswith(("]", "}")):
        try:
            parser.parse_override(f"{key}={quote_value(value)}")
        except HydraException:
            # The key is wrong, not the value.
            pass
        else:
            return f"Hydra needs quotes around such a value; type {format_override(key, value)}"
    return (
        "An override is key=value, as in optimizer.lr=0.01; lists and texts are written as in "
        "'network.hidden=[64, 32]' and 'name=\"a (1)\"'."
    )


def _check_override(override: Override) -> None:
    """Reject overrides that Hydra accepts, but that have no meaning here."""
    group = override.key_or_group
    if not group:
        raise InputError(f"cannot read {override.input_line!r}: there is no key.")
    # Hydra does not run, so its other settings would have no effect.
    if re.match(r"hydra\b", group) and group not in (RUN_DIR, _SEARCH_PATH):
        raise InputError(
            f"{override.input_line} is not allowed: of Hydra's settings, only {RUN_DIR} and "
            f"{_SEARCH_PATH} can be set."
        )
    if group == _SEARCH_PATH and not isinstance(override.value(), list):
        raise InputError(f"{_SEARCH_PATH} is a list of folders, as in [file:///home/me/conf].")
    is_glob = override.value_type is ValueType.GLOB_CHOICE_SWEEP
    if is_glob or (override.is_sweep_override() and not override.is_discrete_sweep()):
        raise InputError(
            f"{override.input_line} is no list of values: type them, as in seed=0,1,2."
        )
    has_value = not override.is_delete() and not override.is_sweep_override()
    is_list = has_value and isinstance(override.value(), list)
    if is_list and group in list_groups() and group not in _MULTIPLE_CHOICE:
        # Hydra would merge the files into a mixture of both.
        values = override.get_value_string()
        raise InputError(
            f"{group} takes one choice; got {values}. To run each of them: "
            f"-m {group}={values.strip('[]')}"
        )


def expand_sweep(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the overrides of every combination of values; a single one without a sweep."""
    choices = []
    for override in overrides:
        if override.is_sweep_override():
            key = override.get_key_element()
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            choices.append([str(override.input_line)])
    return [list(job) for job in itertools.product(*choices)]


def compose_config(overrides: Sequence[Override], files: ConfigFiles = ConfigFiles()) -> DictConfig:
    """Compose one configuration, including Hydra's own node."""
    words = [
        str(override.input_line) for override in overrides if override.key_or_group != _SEARCH_PATH
    ]
    first, *others = files.list_directories()
    paths = [f"file://{path}" for path in others]
    typed = [item.value() for item in overrides if item.key_or_group == _SEARCH_PATH]
    primary = first / f"{files.name}.yaml"
    with hydra.initialize_config_dir(str(first), job_name="train", version_base="1.3"):
        try:
            if paths and not typed and primary.is_file():
                # The override below replaces the list in the file.
                typed = [OmegaConf.select(OmegaConf.load(primary), _SEARCH_PATH) or []]
            paths += [str(path) for folders in typed for path in cast(list[object], folders)]
            words += [f"{_SEARCH_PATH}=[{','.join(map(quote_value, paths))}]"] if paths else []
            return hydra.compose(files.name, overrides=words, return_hydra_config=True)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"a YAML file is not YAML in UTF-8 text: {reason}") from error
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(_explain_error(error)) from error
        except ValueError as error:  # a list of defaults that Hydra cannot read
            raise InputError(
                f"the configuration cannot be composed: {error}. In a YAML file, quote words such "
                'as off and no: observe: "off".'
            ) from error


def _explain_error(error: Exception) -> str:
    """Return Hydra's own message, or a clearer one for unknown keys and choices."""
    if isinstance(error, MissingConfigException):
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if error.options:
            options = [option for option in error.options if not option.startswith("_")]
            return (
                f"there is no {group}={name}.{did_you_mean(name, options)} "
                f"{group} is one of {', '.join(options)}."
            )
        return (
            f"{str(error).splitlines()[0]}{did_you_mean(name, ['train'])} --config-dir FOLDER adds "
            "a folder of your own YAML files."
        )
    unknown = re.match(r"Could not override '([^'@]+)'", str(error))
    # Hydra suggests to append the key, which is wrong for a typing error.
    if unknown:
        return _explain_unknown_key(unknown[1])
    # The lines after the message are about Hydra's own code.
    lines = [line for line in f"{error}\n{error.__cause__ or ''}".splitlines() if line.strip()]
    return "\n".join(line for line in lines if not line.startswith(" "))


def _explain_unknown_key(key: str) -> str:
    group, _, name = key.partition(".")
    choices = list_choices(group) if name and group in list_groups() else []
    field = name.partition(".")[0]
    holders = [choice for choice in choices if field in read_choice_keys(group, choice)]
    if holders:
        return (
            f"the chosen {group} has no key {name}. {name} belongs to {group}={'|'.join(holders)}."
        )
    if key in KEYS_BY_PATH:
        return (
            f"no choice of {group} sets {name}: add it with a + before it, +{key}=... "
            f"({KEYS_BY_PATH[key].describe()})."
        )
    return (
        f"there is no key {key}.{did_you_mean(key, [*KEYS_BY_PATH, *list_groups()])} "
        f"brainnet train --help lists the keys; +{key}=... adds one that a class accepts."
    )


def select_groups(config: DictConfig) -> DictConfig:
    """Return the configuration without Hydra's own node."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def resolve_config(config: DictConfig) -> Config:
    """Return the configuration as dicts, lists and primitives, without Hydra's own node."""
    try:
        return cast(Config, OmegaConf.to_container(select_groups(config), resolve=True))
    except OmegaConfBaseException as error:
        raise InputError(f"the configuration cannot be resolved: {error}") from error


def resolve_run_dir(config: DictConfig, name: str) -> Path:
    """Return the folder in `hydra.run.dir`, which may contain the name of the run: out/${name}."""
    config.name = name
    try:
        return Path(str(config.hydra.run.dir))
    except OmegaConfBaseException as error:
        raise InputError(f"{RUN_DIR} cannot be resolved: {error}") from error


def build_allow_list(overrides: Iterable[Override]) -> TargetAllowList:
    """Return the classes that the user allows: those typed as a `_target_`, and BRAINNET_ALLOW."""
    typed: set[object] = set()
    for override in overrides:
        if override.is_delete():
            continue
        values = override.sweep_iterator() if override.is_discrete_sweep() else [override.value()]
        # A typed dictionary may contain targets too: +callbacks.mine={_target_: ...}.
        for value in values:
            if override.key_or_group.rpartition(".")[2] == "_target_":
                typed.add(value)
            typed.update(target for _, target in find_targets(value))
    return TargetAllowList(typed=frozenset(name for name in typed if isinstance(name, str)))


def drop_unused_keys(
    config: Config, overrides: Iterable[Override], allow_list: TargetAllowList
) -> Config:
    """Return a checked configuration without the keys that a typed `_target_` does not accept.

    `activation._target_=torch.nn.SELU` replaces the class of a YAML file, whose threshold means
    nothing to SELU. Keys that were typed stay, and are rejected later if the class has none.
    """
    typed = {override.key_or_group for override in overrides}
    result = dict(config)
    for group in GROUP_BASE_CLASSES:
        target = config.get(group, {}).get("_target_")
        if target is None or f"{group}._target_" not in typed:
            continue
        names = list_arguments(resolve_target(target, group, allow_list), group)
        result[group] = {
            key: value
            for key, value in config[group].items()
            if names is None
            or key in ("_target_", *names)
            or any(f"{word}.".startswith(f"{group}.{key}.") for word in typed)
        }
    return result
