"""One command line on its way to runs: composed, checked, and handed to Hydra job by job."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig

from brainnet.building import targets
from brainnet.building.files import located
from brainnet.building.targets import Consent
from brainnet.cli.arguments import Arguments
from brainnet.cli.composition import VERSION_BASE, Composer
from brainnet.cli.conf_folder import conf_folder
from brainnet.cli.configuration import Config, check, check_begun, check_hidden, plain
from brainnet.cli.consent import consent_of
from brainnet.cli.hydra_targets import check_hydra
from brainnet.cli.kinds import name
from brainnet.cli.other_class import without_leftovers
from brainnet.cli.other_data import own_choice, runs_of
from brainnet.cli.resume import check_keeps, resumed, stored_config
from brainnet.errors import InputError
from brainnet.training.run_folder import Run, find_run

Task = Callable[[DictConfig], float | None]
NAME = name()
RUN_DIR = "hydra.run.dir"
FULL_ERROR = "HYDRA_FULL_ERROR"


@dataclass(frozen=True, slots=True)
class Job:
    """One run to be: its checked configuration, and the run it goes on with, if any.

    In a sweep `words` are the overrides of the job.
    """

    config: Config
    resume: Run | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """What was typed, with all that follows from it before a run begins.

    Attributes:
        arguments: the words, read.
        composer: composes the same files again, for each job of a sweep.
        config: the configuration, Hydra's own node included; values of a sweep are not in it.
        consent: which classes the words allow.
    """

    arguments: Arguments
    composer: Composer
    config: DictConfig
    consent: Consent

    @classmethod
    def begin(cls, arguments: Arguments) -> "Session":
        """Compose what was typed, and check what Hydra would build of it, were it only to show it.

        Raises:
            InputError: when it cannot be composed, or names what is not allowed.
        """
        composer = Composer.over(arguments)
        parsed = composer.parsed(arguments.overrides)
        arguments = replace(arguments, overrides=(*choice_of_run(parsed), *arguments.overrides))
        consent = consent_of(parsed)
        config = composer.compose(arguments.overrides, sweep=arguments.multirun)
        check_hydra(config, consent)
        return cls(arguments, composer, config, consent)

    @property
    def sweeps(self) -> bool:
        """Whether several jobs were asked for, by `-m` or by `hydra.mode` in a file."""
        return self.arguments.multirun or self.config.hydra.mode == RunMode.MULTIRUN

    def job(self, config: DictConfig, choices: Mapping[str, str | None]) -> Job:
        """What one composed configuration asks for, once it passed every check.

        Args:
            config: the configuration, with or without Hydra's own node.
            choices: the choice in each group; a run without a name is called after its data.

        Raises:
            InputError: at the first check it does not pass.
        """
        own, run = plain(config), None
        check_begun(own)
        if own.get("resume") is not None:
            if self.sweeps:
                raise InputError("resume goes on with one run: leave -m out.")
            own, run = resumed(own, self.composer.parsed(self.arguments.overrides))
        check(own)
        if run is None:
            check_hidden(own)
        targets.check(own, self.consent)
        typed = self.composer.parsed(self.arguments.overrides)
        own = without_leftovers(own, typed, self.consent)
        own["data"] = located(own["data"])
        if own.get("name") is None:
            own["name"] = name_of(own["data"], str(choices["data"]))
        return Job(own, run)

    def jobs(self) -> list[Job]:
        """Check and list every job; a sweeper that decides as it goes shows only its first words.

        Raises:
            InputError: at the first job that does not pass.
        """
        words = self.composer.jobs(self.config) if self.sweeps else None
        if words is None:
            return [self.job(self.config, self.config.hydra.runtime.choices)]
        configs = [self.composer.compose(job) for job in words]
        for config in configs:
            check_hydra(config, self.consent)
        hydras = len(self.config.hydra.overrides.hydra)
        return [
            replace(self.job(config, config.hydra.runtime.choices), words=tuple(job[hydras:]))
            for config, job in zip(configs, words, strict=True)
        ]

    @property
    def typed_folder(self) -> Path | None:
        """The folder of `hydra.run.dir=...`: how Lightning tells its processes where to join."""
        for override in self.composer.parsed(self.arguments.overrides):
            if override.key_or_group == RUN_DIR:
                return Path(str(self.config.hydra.run.dir))
        return None

    def enter(self, task: Task, folder: Path) -> None:
        """Let Hydra run the jobs in `folder`.

        Args:
            task: called with the configuration of each job, Hydra's own node left out.
            folder: of the run or, in a sweep, of all its jobs.
        """
        kept = [w for w in self.arguments.overrides if not w.startswith(f"{RUN_DIR}=")]
        # Flags first: Hydra's parser takes none between two overrides.
        mode = ["--multirun"] if self.sweeps else []
        words = [*self.arguments.options(), *mode, *kept, *self._places(folder)]

        def job(config: DictConfig) -> float | None:
            with typed_again(self.arguments.options()):
                return task(config)

        hydra_main(job, self.arguments, words)

    def _places(self, folder: Path) -> list[str]:
        if not self.sweeps:
            return [f"{RUN_DIR}={quoted(str(folder))}"]
        # run.dir too: it is what Lightning hands on to the processes it starts for a job.
        job_folder = quoted("${hydra.sweep.dir}/${hydra.sweep.subdir}")
        sweep = f"hydra.sweep.dir={quoted(str(folder))}"
        return [sweep, f"{RUN_DIR}={job_folder}"]


def choice_of_run(overrides: Sequence[Override]) -> list[str]:
    """The kind of data of the run that is gone on with: keys of these can be typed alone."""
    named = [each for each in overrides if each.key_or_group == "resume"]
    if not named or named[-1].is_sweep_override() or named[-1].value() is None:
        return []
    check_keeps(overrides, "resume")
    try:
        run = find_run(str(named[-1].value()), runs_of(overrides))
        return own_choice(overrides, stored_config(run))
    except InputError:  # it is told where the run is needed
        return []


def name_of(data: Mapping[str, Any], choice: str) -> str:
    """What a run is called that was given no name: after the file it learns from, if there is one.

    Example:
        >>> name_of({"path": "houses/prices 2025.csv"}, "table")
        'prices 2025'
        >>> name_of({"path": "Küche & co.csv"}, "table")
        'Küche co'
    """
    path = data.get("path")
    stem = Path(str(path)).resolve().name.partition(".")[0] if path else ""
    if not NAME.accepts(stem):
        stem = " ".join(re.sub(r"[^\w .,=+-]|^\W+", " ", stem)[:100].split())
    return stem if NAME.accepts(stem) else choice


def show(arguments: Arguments) -> int:
    """Let Hydra show what `--cfg`, `--info` and the like ask for."""
    hydra_main(lambda config: None, arguments, [*arguments.flags, *arguments.overrides])
    return 0


def hydra_main(task: Task, arguments: Arguments, words: list[str]) -> None:
    """Enter Hydra by its front door, with words of our own in the place of those typed."""
    folder = str(arguments.config_path or conf_folder())
    decorated = hydra.main(
        version_base=VERSION_BASE, config_path=folder, config_name=arguments.config_name
    )(task)
    GlobalHydra.instance().clear()  # the composer's; it goes on by itself
    with words_typed([sys.argv[0], *words]), errors_raised():
        decorated()


@contextmanager
def typed_again(options: list[str]) -> Iterator[None]:
    """Inside a job: leave in `sys.argv` what runs this very job again.

    Lightning starts the other processes of a distributed run from `sys.argv` and tells them
    `hydra.run.dir`. Without this they would start the whole sweep again, in other folders.
    """
    running = HydraConfig.get()
    searching = [word for word in running.overrides.hydra if word.startswith("hydra.searchpath=")]
    words = [sys.argv[0], "train", *options, *searching, *running.overrides.task]
    with words_typed(words):
        yield


@contextmanager
def errors_raised() -> Iterator[None]:
    """Let errors come out of Hydra as they are; it would print them and exit with 1."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = before


@contextmanager
def words_typed(words: list[str]) -> Iterator[None]:
    """Put words into `sys.argv`, and put back what was there."""
    before = sys.argv
    sys.argv = words
    try:
        yield
    finally:
        sys.argv = before


def quoted(text: str) -> str:
    """A text as Hydra reads it back unchanged from an override."""
    escaped = text.replace("'", "\\'")
    return f"'{escaped}'"
