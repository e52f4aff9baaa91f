"""From words to one configuration, by Hydra's own composition, with errors that teach."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml
from hydra import version
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from brainnet.cli.arguments import Arguments
from brainnet.cli.conf_folder import conf_folder, groups
from brainnet.cli.deletions import check_deletions
from brainnet.cli.first_try import of_rows
from brainnet.cli.keys import BY_PATH
from brainnet.cli.unreadable import unreadable
from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean

VERSION_BASE = "1.3"
HYDRA = "hydra"
ONE_CHOICE = frozenset(groups()) - {"callbacks", "logger", "experiment", "debug"}


@dataclass(frozen=True, slots=True)
class Composer:
    """Hydra over brainnet's YAML files and the user's own, composing without running anything."""

    hydra: Hydra
    config_name: str

    @classmethod
    def over(cls, arguments: Arguments) -> "Composer":
        """A composer that looks where the arguments say; it takes the place of any earlier one."""
        version.setbase(VERSION_BASE)
        GlobalHydra.instance().clear()
        search_path = create_config_search_path(str(arguments.config_path or conf_folder()))
        if arguments.config_dir is not None:
            # Just as hydra.main does with --config-dir, so that both find the same files.
            search_path.prepend(
                provider="command-line",
                path=f"file://{arguments.config_dir}",
                anchor=SearchPathQuery(provider="schema"),
            )
        assert isinstance(search_path, ConfigSearchPathImpl)
        hydra = Hydra.create_main_hydra2("brainnet", search_path)
        return cls(hydra, arguments.config_name)

    def compose(self, overrides: Iterable[str], *, sweep: bool = False) -> DictConfig:
        """One configuration, Hydra's own node included; a sweep's values are left out of it.

        Raises:
            InputError: when the overrides do not fit together with the files.
        """
        words = list(overrides)
        parsed = self.parsed(words)
        try:
            self._check_name()
            self._check_choices(words, parsed)
            self._check_deletions(parsed)
            return self._composed(words, sweep=sweep)
        except yaml.YAMLError as error:
            raise InputError(broken(error)) from error
        except UnicodeDecodeError as error:
            raise InputError(
                f"a YAML file is no text in UTF-8: {error}. Save it as such."
            ) from error
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(self._explained(error, parsed)) from error
        except InputError:
            raise
        except ValueError as error:  # of Hydra's, at a list of defaults that it cannot read
            raise InputError(
                f"the configuration cannot be composed: {first_lines(error)}. In a YAML file, "
                'words such as off and no need quotes: observe: "off".'
            ) from error

    def parsed(self, overrides: Sequence[str]) -> list[Override]:
        """The overrides as Hydra understands them.

        Raises:
            InputError: at the first that it cannot read.
        """
        parser = OverridesParser.create(config_loader=self.hydra.config_loader)
        found = []
        for word in overrides:
            try:
                found.append(parser.parse_override(word))
            except HydraException as error:
                raise InputError(unreadable(word, str(error).splitlines()[0])) from error
            if not found[-1].key_or_group:
                raise InputError(unreadable(word, "there is no key"))
        return found

    def jobs(self, config: DictConfig) -> list[list[str]] | None:
        """The overrides of every job of a basic sweep; None when another sweeper decides."""
        sweeper = config.hydra.sweeper
        if not str(sweeper.get("_target_", "")).endswith(".BasicSweeper"):
            return None
        words = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
        words += list(config.hydra.overrides.task)
        try:
            (batch,) = BasicSweeper.split_arguments(self.parsed(words), None)
        except HydraException as error:
            raise InputError(f"this sweep needs another sweeper: {error}") from error
        return [[*config.hydra.overrides.hydra, *job] for job in batch]

    def groups(self) -> list[str]:
        """Every group there is, the user's own included, Hydra's left out."""
        return [name for name in self.hydra.config_loader.list_groups("") if name != HYDRA]

    def options(self, group: str, overrides: Sequence[str] = ()) -> list[str]:
        """The options of a group; names that begin with `_` are parts of others."""
        searching = [word for word in overrides if word.startswith("hydra.searchpath=")]
        names = self.hydra.config_loader.get_group_options(
            group, config_name=self.config_name, overrides=searching
        )
        return [name for name in names if not name.startswith("_")]

    def _composed(self, overrides: list[str], *, sweep: bool) -> DictConfig:
        return self.hydra.compose_config(
            config_name=self.config_name,
            overrides=overrides,
            run_mode=RunMode.MULTIRUN if sweep else RunMode.RUN,
            with_log_configuration=False,
        )

    def _check_name(self) -> None:
        found = self.hydra.config_loader.get_group_options("")
        names = [name for name in found if not name.startswith("_")]
        if self.config_name not in names and "/" not in self.config_name:
            raise InputError(
                f"--config-name needs a YAML file to start from; there is no {self.config_name}."
                f"{did_you_mean(self.config_name, names)} There is {', '.join(names)}; "
                "--config-dir FOLDER adds a folder of yours."
            )

    def _check_choices(self, words: list[str], overrides: list[Override]) -> None:
        existing = set(self.groups())
        for override in overrides:
            group = override.key_or_group
            if group.partition("/")[0] == HYDRA and override.value() is None:
                raise InputError(
                    f"{override.input_line} takes away what trainings are started with. Leave it "
                    "out; brainnet train --hydra-help tells what may change."
                )
            if group in existing and not (override.is_delete() or override.is_sweep_override()):
                self._check_choice(group, override, words)

    def _check_choice(self, group: str, override: Override, words: list[str]) -> None:
        chosen, options = override.value(), self.options(group, words)
        if isinstance(chosen, list) and group in ONE_CHOICE:
            # Hydra would merge the files into something that is neither the one nor the other.
            raise InputError(
                f"{group} takes one choice; got {override.get_value_string()}. "
                f"To run each of them: -m {group}={override.get_value_string().strip('[]')}"
            )
        for choice in chosen if isinstance(chosen, list) else [chosen]:
            if choice not in options:
                name = override.get_value_string() if choice is None else str(choice)
                raise InputError(
                    f"there is no {group}={name}.{did_you_mean(name, options)} "
                    f"{group} is one of {', '.join(options)}."
                    + (f"\n{tried}" if group == "data" and (tried := of_rows(name)) else "")
                )

    def _check_deletions(self, overrides: list[Override]) -> None:
        if any(override.is_delete() for override in overrides):
            config = self._chosen(overrides)
            choices = config.hydra.runtime.choices

            def held(path: str) -> bool:
                group, _, name = path.partition(".")
                chosen = choices.get(group)  # where several files were chosen, Hydra lists none
                options = [chosen] if isinstance(chosen, str) else self.options(group)
                return not name or any(self._holds(group, option, name) for option in options)

            check_deletions(overrides, as_data(config), held)

    def _explained(self, error: Exception, overrides: list[Override]) -> str:
        existing = set(self.groups())
        try:
            known = set(nodes(as_data(self._chosen(overrides))))
        except HydraException:  # not even the files themselves fit together
            return first_lines(error)
        for override in overrides:
            group = override.key_or_group
            if group in existing and (override.is_add() or override.is_force_add()):
                choice = f"{group}={override.get_value_string()}"
                return f"{group} is chosen already: type {choice}, without the +."
        for override in overrides:
            key = override.key_or_group
            unknown = key not in known | existing and not override.is_hydra_override()
            if unknown and not (override.is_add() or override.is_force_add()):
                tried = of_rows(str(override.value())) if key == "data.path" else None
                return "\n".join(filter(None, [self._about_key(key, known, existing), tried]))
        for override in overrides:
            if override.is_sweep_override():
                return (
                    f"{override.input_line} has several values: add -m to run each of them, or "
                    f"write a list as {override.key_or_group}=[...]."
                )
        return first_lines(error)

    def _chosen(self, overrides: list[Override]) -> DictConfig:
        """What the files say of which the overrides choose, nothing changed by hand."""
        existing = set(self.groups())
        words = [
            str(choice.input_line)
            for choice in overrides
            if choice.key_or_group in existing and not choice.is_sweep_override()
        ]
        try:
            return self._composed(words, sweep=False)
        except (HydraException, OmegaConfBaseException):
            return self._composed([], sweep=False)

    def _about_key(self, key: str, known: set[str], groups: set[str]) -> str:
        shown = {name for name in known | groups if not name.startswith("hydra")}
        group, _, name = key.partition(".")
        if key in BY_PATH:
            holders = [option for option in self.options(group) if self._holds(group, option, name)]
            siblings = sorted(n.partition(".")[2] for n in shown if n.startswith(f"{group}."))
            keys = ", ".join(sibling for sibling in siblings if sibling != "_target_")
            if not holders:
                kind = BY_PATH[key].kind.words
                return f"no {group} sets {name}: add it, +{key}=... ({kind}), with a + before it."
            return (
                f"the chosen {group} has no key {name}; it has {keys or 'none'}. "
                f"{name} belongs to {group}={'|'.join(holders)}."
            )
        guess = did_you_mean(key, shown)
        return f"there is no key {key}.{guess} brainnet train --help lists the keys."

    def _holds(self, group: str, option: str, name: str) -> bool:
        loaded = self.hydra.config_loader.load_configuration(
            config_name=self.config_name, overrides=[f"{group}={option}"], run_mode=RunMode.RUN
        )
        return f"{group}.{name}" in nodes(as_data(loaded))


def as_data(config: DictConfig) -> dict[str, object]:
    """The configuration as plain data, nothing resolved.

    OmegaConf itself denies holding a key whose value must be given, `???`.
    """
    found = OmegaConf.to_container(config, resolve=False)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def nodes(tree: object, place: str = "") -> Iterable[str]:
    """The dotted name of every key in a tree of mappings, branches included."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            path = f"{place}.{key}" if place else str(key)
            yield path
            yield from nodes(value, path)


def broken(error: yaml.YAMLError) -> str:
    """Why a YAML file cannot be read: the file, the line, and what is wrong there."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"cannot read a YAML file: {' '.join(str(error).split())}"
    told = [str(part) for name in ("context", "problem") if (part := getattr(error, name, None))]
    # A bracket or a quote that is never closed begins at the context; the problem is at the end.
    begins = getattr(error, "context_mark", None) or mark
    return (
        f"cannot read {mark.name}, line {begins.line + 1}: {', '.join(told)} (line "
        f"{mark.line + 1}, column {mark.column + 1})."
    )


def first_lines(error: Exception) -> str:
    """What Hydra says, without the part that is about its own code."""
    cause = error.__cause__
    told = [str(error), str(cause) if isinstance(cause, OmegaConfBaseException) else ""]
    lines = [line.strip() for text in told for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key", "object_type", "reference"))]
    return "\n".join(kept[:4]) or type(error).__name__
