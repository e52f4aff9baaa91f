"""Compose a configuration from YAML files and overrides.

Hydra instantiates its callbacks, launcher and sweeper, and hands its logging to Python's own
configuration, which calls anything by its name. All of it may stand in somebody else's YAML file.
"""

import argparse
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from hydra import version
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import (
    create_config_search_path,
    get_args_parser,  # the parser that hydra.main itself uses
)
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from brainnet.config import instantiate as targets
from brainnet.config.instantiate import (
    DATAMODULE_KEYS,
    GROUP_BASE_CLASSES,
    TargetAllowList,
    join_key,
    list_parameters,
    read_allowed_roots,
    resolve_target,
)
from brainnet.config.schema import KEYS_BY_PATH, Config, is_brainnet_target, leaves
from brainnet.data.image_files import is_idx
from brainnet.data.table_files import READABLE_ENDINGS
from brainnet.errors import InputError, did_you_mean, find_intended, format_override
from brainnet.training.run_directory import SUMMARY_FILE


@dataclass(frozen=True, slots=True)
class Choice:
    """One YAML file of a group: what `group=name` chooses, in the words of its first comment."""

    name: str
    meaning: str


def find_conf_directory() -> Path:
    """The folder of the YAML files: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def list_groups() -> list[str]:
    """The groups in the order of the table of contents, `train.yaml`."""
    lines = (find_conf_directory() / "train.yaml").read_text(encoding="utf-8").splitlines()
    entries = [line.strip()[2:] for line in lines if line.startswith("  - ") and ":" in line]
    return [entry.partition(":")[0] for entry in entries]


def list_choices(group: str) -> list[Choice]:
    """The options of a group; a file whose name begins with `_` is a part of others, no option."""
    files = sorted((find_conf_directory() / group).glob("[!_]*.yaml"))
    return [Choice(file.stem, meaning(file)) for file in files]


def meaning(file: Path) -> str:
    """The sentence that a YAML file opens with; `@package` lines belong to Hydra."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").strip()
    return ""


TABLE = "A table is trained on by: brainnet train data=table {path} data.target=COLUMN"

PICTURES = (
    "Pictures, a folder of them for each class, are trained on by: brainnet train data=images "
)


def of_rows(word: str) -> str | None:
    """What to type to train on a file or a folder; None where the word is neither, by all signs.

    Args:
        word: as typed, in place of an override.

    Example:
        >>> of_rows("house.csv")
        'A table is trained on by: brainnet train data=table data.path=house.csv data.target=COLUMN'
        >>> of_rows("moons") is None
        True
    """
    path = Path(word.strip("'\"")).expanduser()
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
        if is_folder and (path / SUMMARY_FILE).exists():
            return f"A run goes on by: brainnet train {format_override('resume', str(path))}"
    except (OSError, ValueError):  # of a name that no file can have
        return None
    typed = format_override("data.path", str(path))
    suffixes = [each.lower() for each in path.suffixes[-2:]]
    if is_folder or is_idx(path):
        return PICTURES + typed
    if any(each in READABLE_ENDINGS for each in suffixes):
        return TABLE.format(path=typed)
    return f"{TABLE.format(path=typed)}\n{PICTURES}data.path=FOLDER" if is_file else None


def of_word(word: str) -> str | None:
    """What a word that is no override may have meant: a file, a folder, or a choice of a group.

    Example:
        >>> of_word("moons")
        'Did you mean data=moons?'
    """
    rows = of_rows(word)
    if rows is not None:
        return rows
    found = [
        f"{group}={word}"
        for group in list_groups()
        for each in list_choices(group)
        if each.name == word
    ]
    return f"Did you mean {' or '.join(found)}?" if found else None


def of_option(option: str, words: Sequence[str], options: Iterable[str]) -> str:
    """What an option that there is not may have meant: a key, which is typed without dashes.

    Args:
        option: as typed, `--lr` or `--lr=0.1`.
        words: all that was typed, in order.
        options: those that there are.

    Example:
        >>> of_option("--lr", ["--lr", "0.1"], ["--help"])
        ' Keys are typed without dashes: optimizer.lr=0.1.'
    """
    name, equals, value = option.lstrip("-").partition("=")
    after = words[words.index(option) + 1 :] if option in words else []
    if not equals and after and not after[0].startswith("-") and "=" not in after[0]:
        value = after[0]
    keys = find_intended(name.replace("-", "_"), [*KEYS_BY_PATH, *list_groups()])
    near = find_intended(option, options)
    exact = [key for key in keys if key.rpartition(".")[2] == name.replace("-", "_")]
    if exact or (keys and not near):
        told = " or ".join(
            format_override(key, value) if value else f"{key}=..." for key in exact or keys
        )
        return f" Keys are typed without dashes: {told}."
    return f" Did you mean {' or '.join(near)}?" if near else ""


QUOTES = "'\""
# What Hydra's grammar takes without quotes; of letters, English ones alone.
_KNOWN = re.compile(r"[A-Za-z0-9_/\-\\+.$%*@?|: \t]*")

_ESCAPED = re.compile(r"\\[\\()\[\]{}:=, \t]")

_ENDS = ",[](){}="


def readable(word: str) -> str:
    """An override as Hydra reads it: what holds letters of any language or other signs is quoted.

    What is quoted, escaped or refers to something else stays as it was typed.

    Example:
        >>> print(readable("data.drop=[Größe, Nr]"))
        data.drop=["Größe", Nr]
        >>> print(readable("data.target=prix d'été"))
        data.target="prix d'été"
        >>> print(readable('name="über"'), readable("seed=1"))
        name="über" seed=1
    """
    key, sign, value = word.partition("=")
    if not sign or "${" in value or _ESCAPED.search(value):
        return word
    done, depth = "", 0
    while value:
        if value[0] in _ENDS or (value[0] == ":" and depth):
            depth += {"{": 1, "}": -1}.get(value[0], 0)
            done, value = done + value[0], value[1:]
            continue
        part = _part(value, _ENDS + ":" * (depth > 0))
        done, value = done + _quoted(part), value[len(part) :]
    return f"{key}={done}"


def bare(value: str) -> str:
    """A value without the quotes that Hydra's grammar would take off.

    Example:
        >>> bare('"my runs"'), bare("my runs"), bare("'")
        ('my runs', 'my runs', "'")
    """
    closed = len(value) > 1 and value[0] == value[-1] and value[0] in QUOTES
    return value[1:-1].replace(f"\\{value[0]}", value[0]) if closed else value


def _part(value: str, ends: str) -> str:
    """What comes before the next sign of the grammar; a part in quotes as a whole."""
    begun = value.lstrip()
    if begun[:1] in QUOTES and (quoted := re.match(r"\s*(['\"])(?:.*?[^\\])??\1\s*", value)):
        return quoted.group()
    plain = re.match(f"[^{re.escape(ends)}]*", value)
    return plain.group() if plain else value


def _quoted(part: str) -> str:
    text = part.strip()
    if _KNOWN.fullmatch(text) or text[0] in QUOTES or text.endswith("\\"):
        return part
    escaped = text.replace('"', '\\"')
    return part.replace(text, f'"{escaped}"')


REASONS = (
    (r"token recognition error at: '(?P<at>[\"'].*)'", "a quote in {at} is not closed"),
    (r"token recognition error at: ' '", "there is a space where none can be"),
    (r"token recognition error at: '(?P<at>.*)'", "{at} needs quotes"),
    (r"no viable alternative at input '(?P<at>.*)'", "it goes wrong, or is not finished, at {at}"),
    (r"(?:mismatched|extraneous) input '<EOF>'.*", "something is missing at its end"),
    (r"(?:mismatched|extraneous) input '(?P<at>.*?)' expecting.*", "{at} is not expected there"),
    (r"missing '?(?P<need>.*?)'? at '<EOF>'", "{need} is missing at its end"),
    (r"missing '?(?P<need>.*?)'? at '(?P<at>.*)'", "{need} is missing before {at}"),
)


def unreadable(word: str, reason: str) -> str:
    """Why an override cannot be read, and what one looks like.

    Args:
        word: as typed.
        reason: the first line of what the parser says.

    Example:
        >>> print(unreadable("name=über", "token recognition error at: 'ü'").splitlines()[1])
        Signs and letters beyond English ones need quotes within quotes: 'name="über"'.
    """
    plain = reason.rstrip(".")
    for pattern, words in REASONS:
        if found := re.fullmatch(pattern, plain):
            plain = words.format(**found.groupdict()).replace("EQUAL", "=")
            break
    # Without a sign of equality it is no override at all, and may be a first try.
    tried = None if re.match(r"[~+]*\w[\w./@]*=", word) else of_word(word)
    if tried is not None:
        return f"{word!r} is no override, which is key=value.\n{tried}"
    return f"cannot read {word!r}: {plain}.\n{_hint(word, plain)}"


def _hint(word: str, reason: str) -> str:
    key, sign, value = word.partition("=")
    plain = re.sub(r'(?<!\\)"', "", value).replace('\\"', '"')  # quotes may be put in by now
    is_list = plain[:1] in ("[", "{") or plain[-1:] in ("]", "}")
    if not sign or not plain or is_list or not re.fullmatch(r"[\w.]+", key, re.ASCII):
        return (
            "An override is key=value, as in optimizer.lr=0.01; lists and spaces need quotes for "
            "the shell: 'network.hidden=[64, 32]'."
        )
    told = shlex.quote(f"{key}={_quoted_unreadable(plain)}")
    if reason.endswith("needs quotes"):
        return f"Signs and letters beyond English ones need quotes within quotes: {told}."
    return f"Of a file's name, or another text with such signs, type in the shell: {told}"


def _quoted_unreadable(text: str) -> str:
    r"""A text in the double quotes of Hydra's grammar, in which a backslash escapes them alone.

    Example:
        >>> print(_quoted('my "file" (1).csv'))
        "my \"file\" (1).csv"
    """
    doubled = re.sub(r'(\\+)("|$)', r"\1\1\2", text)
    return '"' + doubled.replace('"', '\\"') + '"'


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


ALWAYS = ("_target_", *DATAMODULE_KEYS)


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
        if not word.is_delete() or path not in KEYS_BY_PATH or path not in values:
            continue
        key = KEYS_BY_PATH[path]
        meaning = f"{key.kind.words}: {key.meaning}"
        if values[path] is None:
            raise InputError(
                f"{path} is null already, and {word.input_line} has nothing to take out. Leave "
                f"that out, or set {path}=... ({meaning})."
            )
        group, _, name = path.partition(".")
        own = is_brainnet_target(config.get(group)) or join_key(group, "_target_") in typed
        if held(path) and (name in ALWAYS or not own):
            raise InputError(
                f"{path} cannot be left out: a default that nobody sees would take its place. "
                f"Instead of {word.input_line}, set {path}=... ({meaning})."
            )


VERSION_BASE = "1.3"

HYDRA = "hydra"

ONE_CHOICE = frozenset(list_groups()) - {"callbacks", "logger", "experiment", "debug"}


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
        search_path = create_config_search_path(str(arguments.config_path or find_conf_directory()))
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
        if key in KEYS_BY_PATH:
            holders = [option for option in self.options(group) if self._holds(group, option, name)]
            siblings = sorted(n.partition(".")[2] for n in shown if n.startswith(f"{group}."))
            keys = ", ".join(sibling for sibling in siblings if sibling != "_target_")
            if not holders:
                kind = KEYS_BY_PATH[key].kind.words
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


def build_allow_list(overrides: Iterable[Override]) -> TargetAllowList:
    """Every class named by a `_target_` on the command line, and the roots of BRAINNET_ALLOW."""
    typed = frozenset(name for override in overrides for name in _names(override))
    return TargetAllowList(typed=typed, roots=read_allowed_roots())


def _names(override: Override) -> Iterator[str]:
    if override.is_delete():
        return
    direct = override.key_or_group.rpartition(".")[2] == "_target_"
    values = override.sweep_iterator() if override.is_discrete_sweep() else [override.value()]
    for value in values:
        if direct and isinstance(value, str):
            yield value
        yield from _nested_names(value)


def _nested_names(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if str(key) == "_target_" and isinstance(inner, str):
                yield inner
            yield from _nested_names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nested_names(inner)


PLUGINS = ("launcher", "sweeper")

LOGGING = ("job_logging", "hydra_logging")
# Apart, since a handler built in the place of a formatter would open what its format names.
LOG_FORMATTERS = ("colorlog.ColoredFormatter", "logging.Formatter")

LOG_HANDLERS = ("logging.FileHandler", "logging.NullHandler", "logging.StreamHandler")

LOG_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
# Hydra's own. A log elsewhere could write lines of the file's choice into any file there is.
LOG_FILES = (
    "${hydra.runtime.output_dir}/${hydra.job.name}.log",
    "hydra-${hydra.job.name}.log",
)

PROTOCOLS = ("ext:", "cfg:")


def check_hydra(config: DictConfig, consent: TargetAllowList) -> None:
    """Hold Hydra's own node against the rule.

    A reference (`${...}`) is refused wherever something could be built from it: what it leads to
    is known only once Hydra has followed it.

    Raises:
        InputError: for a class that was neither typed nor allowed, for a reference, for a log
            file or an environment that a file has no business with.
    """
    own = OmegaConf.to_container(config.hydra, resolve=False)
    assert isinstance(own, Mapping)
    _check_built(own.get("callbacks"), "hydra.callbacks", consent)
    for key in PLUGINS:
        # Hydra builds only its plugins here, but from their keys whatever these name.
        node = own.get(key)
        if isinstance(node, Mapping):
            node = {name: value for name, value in node.items() if name != "_target_"}
        _check_built(node, f"hydra.{key}", consent)
    for key in LOGGING:
        _check_logging(own.get(key), f"hydra.{key}")
    if (own.get("job") or {}).get("env_set"):
        raise InputError(
            "hydra.job.env_set is not allowed: the environment decides which programs are run. "
            "Set the variables in your shell."
        )


def _check_built(node: object, place: str, consent: TargetAllowList) -> None:
    for path, value in _texts(node, place):
        if value.startswith("${") and value.endswith("}"):
            raise InputError(_refers(path, value))
    for path, name in targets.find_targets(node, place):
        if not (name in consent.typed or targets.is_under(str(name), consent.roots)):
            raise InputError(targets.refusal(str(name), path))


def _check_logging(node: object, place: str) -> None:
    for path, value in _texts(node, place):
        last = path.rpartition(".")[2]
        if last == "filename":
            allowed: tuple[str, ...] = LOG_FILES
        elif last in ("()", "class"):
            allowed = LOG_FORMATTERS if ".formatters." in path else LOG_HANDLERS
        elif value.startswith(PROTOCOLS):
            allowed = LOG_STREAMS
        elif "${" in value:
            raise InputError(_refers(path, value))
        else:
            continue
        if value not in allowed:
            raise InputError(
                f"{path}={value} is not allowed: there, logging takes {', '.join(allowed)} alone."
            )


def _texts(node: object, place: str) -> Iterator[tuple[str, str]]:
    """Every text of a tree, those in lists included, with its dotted place."""
    for path, value in leaves(node, place):
        if isinstance(value, list):
            for index, inner in enumerate(value):
                yield from _texts(inner, join_key(path, str(index)))
        elif isinstance(value, str):
            yield path, value


def _refers(path: str, value: str) -> str:
    return (
        f"{path}={value} is not allowed: what Hydra builds must be written out, so that it can be "
        "checked before it is built."
    )


def without_leftovers(
    config: Config, overrides: Iterable[Override], consent: TargetAllowList
) -> Config:
    """The configuration, less what a typed `_target_` leaves over of the file it was typed into.

    `activation._target_=torch.nn.SELU` is typed into a file about another class: its threshold
    means nothing to SELU. What was typed stays, and is refused later where the class has no such
    key.

    Args:
        config: checked, with every `_target_` allowed.
        overrides: what was typed.
        consent: which classes the words allow.
    """
    typed = {override.key_or_group for override in overrides}
    kept = dict(config)
    for group in GROUP_BASE_CLASSES:
        if join_key(group, "_target_") not in typed or config[group].get("_target_") is None:
            continue
        names = list_parameters(resolve_target(config[group]["_target_"], group, consent))
        if names is None:
            continue
        known = {"_target_", *names, *(DATAMODULE_KEYS if group == "data" else ())}
        kept[group] = {
            key: value
            for key, value in config[group].items()
            if key in known or _was_typed(join_key(group, key), typed)
        }
    return kept


def _was_typed(path: str, typed: set[str]) -> bool:
    return any(word == path or word.startswith(f"{path}.") for word in typed)
