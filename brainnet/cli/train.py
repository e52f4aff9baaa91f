"""`brainnet train`: one run, or one run per combination of a sweep."""

import math
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from torch import distributed

from brainnet.cli.evaluate import own_choice, runs_of
from brainnet.cli.exit_codes import (
    BUG,
    DONE,
    INTERRUPTED,
    TERMINATED,
    TRAINING_FAILED,
    WRONG_INPUT,
    report_errors,
)
from brainnet.config import instantiate as targets
from brainnet.config.components import build_components
from brainnet.config.compose import (
    VERSION_BASE,
    Arguments,
    Composer,
    build_allow_list,
    check_hydra,
    find_conf_directory,
    parse,
    without_leftovers,
)
from brainnet.config.instantiate import Builder, TargetAllowList
from brainnet.config.resume import check_keeps, compose_resumed, read_stored_config
from brainnet.config.schema import (
    Config,
    build_name_kind,
    check_begun,
    check_config,
    check_hidden,
    to_plain,
)
from brainnet.data.dataset import Dataset
from brainnet.data.datasets import resolve_paths
from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import TIME_FORMAT, ColumnEncoder, TableEncoder
from brainnet.errors import InputError
from brainnet.explanation.formatting import format_number
from brainnet.files import iterate_numbered, remove_empty_folders, remove_if_unused
from brainnet.training.fit import RunResult, train
from brainnet.training.run_directory import Run, RunDirectory, find_run, lock_run


@contextmanager
def left_alone() -> Iterator[None]:
    """Forget what Lightning leaves of a distributed run: its variables and its process group.

    With them the next job would take itself for one of the processes of the last.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
        os.environ.clear()
        os.environ.update(before)


MOST_FOR_A_CORE = 4

"""Processes: each of them holds all libraries in memory."""


def crowded(trainer: Mapping[str, object]) -> str:
    """A line on processes that have to share processor cores; empty where they need not.

    Raises:
        InputError: they are so many that none would get anywhere.
    """
    devices, accelerator = trainer.get("devices"), trainer.get("accelerator", "auto")
    other = torch.cuda.is_available() or torch.backends.mps.is_available()
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not other)
    cores = os.cpu_count() or 1
    if not on_cpu or not isinstance(devices, int) or devices <= cores:
        return ""
    if devices > MOST_FOR_A_CORE * cores:
        raise InputError(
            f"trainer.devices={devices} asks for as many processes, and this processor has {cores} "
            f"cores. Set trainer.devices={cores}, or at most {MOST_FOR_A_CORE * cores} to try "
            "something out."
        )
    return (
        f"{devices} processes share the {cores} cores of this processor (trainer.devices="
        f"{devices}): they will wait for each other."
    )


def is_first() -> bool:
    """Whether this process speaks for a distributed run; Lightning numbers the others from 1."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


MOST = 12  # columns named of each kind

WIDEST = 100

KINDS = {"number": "numbers", "category": "words", "boolean": "yes or no", "date": "dates"}


def columns_told(data: Dataset) -> list[str]:
    """Lines that name the columns of a table by what they are taken for, or the size of pictures.

    None for data that come with brainnet, or as arrays.
    """
    learnt = data.encoder
    if isinstance(learnt, ImageEncoder):
        return [_pictures_told(data, learnt)]
    if not isinstance(learnt, TableEncoder) or not learnt.columns:
        return []
    lines = [f"to learn {_asked(data)}, from {_counted(len(data), 'row')} of {data.name}"]
    for kind, name in KINDS.items():
        own = [_named(column) for column in learnt.columns if column.kind == kind]
        if own:
            more = [f"and {len(own) - MOST:,} more"] if len(own) > MOST else []
            lines += _folded(name, ", ".join([*own[:MOST], *more]))
    return lines


def _pictures_told(data: Dataset, learnt: ImageEncoder) -> str:
    """The pictures in a line, with the size and the colours that all of them were brought to."""
    colours = "in colour" if learnt.channels == 3 else "grey"
    count = _counted(len(data), "picture")
    return f"to learn {_asked(data)}, from {count} of {learnt.height} x {learnt.width}, {colours}"


def _asked(data: Dataset) -> str:
    """The classes by name where they are few, or the numbers that are to be told."""
    answers = data.class_names
    if answers:
        return " or ".join(answers) if len(answers) <= 3 else f"{len(answers):,} classes"
    kind = "a number" if len(data.target_names) == 1 else "numbers"
    return f"{', '.join(data.target_names)} ({kind})"


def _named(column: ColumnEncoder) -> str:
    if column.kind == "category":
        how = "each a vector that is learnt" if column.is_embedded else "an input each"
        return f"{column.name} ({len(column.values):,}, {how})"
    if column.kind == "boolean":
        return f"{column.name} ({' = 0, '.join(column.values)} = 1)"
    if column.format == TIME_FORMAT:
        return f"{column.name} (hours since midnight)"
    return column.name


def _folded(name: str, told: str) -> Iterator[str]:
    yield from textwrap.wrap(
        told,
        WIDEST,
        initial_indent=f"  {name:<11}",
        subsequent_indent=" " * 13,
        break_on_hyphens=False,
    )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


Task = Callable[[DictConfig], float | None]

NAME = build_name_kind()

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
    consent: TargetAllowList

    @classmethod
    def begin(cls, arguments: Arguments) -> "Session":
        """Compose what was typed, and check what Hydra would build of it, were it only to show it.

        Raises:
            InputError: when it cannot be composed, or names what is not allowed.
        """
        composer = Composer.over(arguments)
        parsed = composer.parsed(arguments.overrides)
        arguments = replace(arguments, overrides=(*choice_of_run(parsed), *arguments.overrides))
        consent = build_allow_list(parsed)
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
        own, run = to_plain(config), None
        check_begun(own)
        if own.get("resume") is not None:
            if self.sweeps:
                raise InputError("resume goes on with one run: leave -m out.")
            own, run = compose_resumed(own, self.composer.parsed(self.arguments.overrides))
        check_config(own)
        if run is None:
            check_hidden(own)
        targets.check_targets(own, self.consent)
        typed = self.composer.parsed(self.arguments.overrides)
        own = without_leftovers(own, typed, self.consent)
        own["data"] = resolve_paths(own["data"])
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
        return own_choice(overrides, read_stored_config(run))
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
    folder = str(arguments.config_path or find_conf_directory())
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


SWEEP = "multirun.yaml"
# From harmless to grave: input outweighs nothing but success, and a bug of ours all the rest.
GRAVITY = (DONE, WRONG_INPUT, TRAINING_FAILED, BUG, INTERRUPTED, TERMINATED)

SHOWN = ("accuracy/test", "r2/test", "loss/test")


@dataclass(frozen=True, slots=True)
class Ending:
    """How one job ended.

    Attributes:
        folder: its own.
        words: that it was run with.
        code: its exit code.
        metric: what a sweep is judged by, the lowest validation loss of the job; None where there
            is none.
    """

    folder: RunDirectory
    words: tuple[str, ...]
    code: int
    metric: float | None = None

    def summary(self) -> dict[str, Any]:
        """What the job wrote of itself; nothing when it never began."""
        try:
            return self.folder.read_summary()
        except InputError:
            return {"state": "not started"}


def worst(endings: Sequence[Ending]) -> int:
    """The gravest exit code; one that is none of ours counts as a bug."""
    codes = (ending.code if ending.code in GRAVITY else BUG for ending in endings)
    return max(codes, key=GRAVITY.index, default=DONE)


def best(endings: Sequence[Ending]) -> int | None:
    """Which job had the lowest validation loss, the first of several; None where none has one."""
    known = {
        number: ending.metric
        for number, ending in enumerate(endings)
        if ending.metric is not None and math.isfinite(ending.metric)
    }
    return min(known, key=lambda number: known[number], default=None)


def tell_table(endings: Sequence[Ending]) -> None:
    """Show on stdout what all jobs have in common, a line for each with what differs, the best."""
    if not endings:
        return
    common = [word for word in endings[0].words if all(word in each.words for each in endings)]
    place = _common_folder([ending.folder.path for ending in endings])
    summaries = [ending.summary() for ending in endings]
    metrics = [summary.get("metrics") or {} for summary in summaries]
    tags = [tag for tag in SHOWN if any(tag in found for found in metrics)]
    # Words are the user's: a bracket in them is no markup, and none of them is cut.
    folded = [Column(name, overflow="fold") for name in ("overrides", "state", *tags, "folder")]
    table = Table(Column("job", no_wrap=True), *folded, box=None, pad_edge=False)
    winner = best(endings) if len(endings) > 1 else None
    for number, (ending, summary, found) in enumerate(
        zip(endings, summaries, metrics, strict=True)
    ):
        own = " ".join(word for word in ending.words if word not in common)
        scores = [f"{found[tag]:.4g}" if found.get(tag) is not None else "" for tag in tags]
        job = f"{number} *" if number == winner else number
        cells = (job, own, summary["state"], *scores, ending.folder.path.relative_to(place))
        table.add_row(*(Text(str(cell)) for cell in cells))
    console = Console(highlight=False)
    console.print()
    for name, words in (("all jobs", " ".join(common)), ("folder", str(place))):
        if words:
            console.print(Text(f"{name}: {words}"), soft_wrap=True)
    with console.capture() as drawn:
        console.print(table)
    console.file.writelines(f"{line.rstrip()}\n" for line in drawn.get().splitlines())
    if winner is not None:
        loss = format_number(endings[winner].metric)
        console.print(Text(f"* the best: job {winner}, whose validation loss was lowest, {loss}"))


def tidy(folder: Path) -> None:
    """Take back what Hydra noted of a sweep of which no job began."""
    if folder.is_dir() and [path.name for path in folder.iterdir()] == [SWEEP]:
        (folder / SWEEP).unlink()


def _common_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds all of them."""
    return next(
        folder for folder in paths[0].parents if all(folder in path.parents for path in paths)
    )


STOPPED = (INTERRUPTED, TERMINATED)


class SweepStopped(BaseException):
    """An interrupted job takes the jobs after it along; Hydra would go on after an Exception."""


def run(words: Sequence[str], *, debug: bool = False) -> int:
    """Train as the words ask for; returns the exit code.

    Raises:
        InputError: when anything typed is wrong; then nothing was written.
    """
    session = Session.begin(parse(words))
    if session.arguments.shows:
        return show(session.arguments)
    jobs = session.jobs()
    runs = Path(jobs[0].config["paths"]["runs"])
    folder = session.typed_folder or planned(jobs, runs)
    training = Training(session, runs, debug)
    with remove_if_unused(folder):
        try:
            with suppress(SweepStopped):
                session.enter(training.job, folder)
        finally:
            tidy(folder)
    if not session.sweeps:
        return training.endings[-1].code
    tell_table([*training.endings, *training.not_begun(jobs)])
    return worst(training.endings)


def planned(jobs: Sequence[Job], runs: Path) -> Path:
    """The folder of the run or, in a sweep, of its jobs."""
    if jobs[0].resume is not None:
        return jobs[0].resume.folder.path
    names = {job.config["name"] for job in jobs}
    folder = RunDirectory.plan(runs, names.pop() if len(names) == 1 else "sweep").path
    return next(path for path in iterate_numbered(folder) if not path.exists())


@dataclass(slots=True)
class Training:
    """What Hydra calls for each job, and how the jobs ended.

    Attributes:
        session: what was typed.
        runs: the folder of all runs.
        debug: whether tracebacks are wanted.
        endings: of every job so far.
        metric: what a sweeper minimises, of the job that ended last: its best validation loss.
        place: the folder of the job under way; another than Hydra's where that was taken.
    """

    session: Session
    runs: Path
    debug: bool
    endings: list[Ending] = field(default_factory=list)
    metric: float | None = None
    place: RunDirectory = field(init=False)

    def job(self, config: DictConfig) -> float | None:
        """Train one job; its errors are told here, so that the jobs after it go on."""
        running = HydraConfig.get()
        self.place = RunDirectory(as_typed(Path(running.runtime.output_dir)), self.runs)
        made_by_hydra = self.place.path
        words = tuple(running.overrides.task)
        self.metric = None
        if self.session.sweeps:
            say(f"\njob {running.job.num}: {' '.join(words)}")
        with left_alone():
            code = report_errors(lambda: self._train(config), debug=self.debug)
        remove_empty_folders([made_by_hydra])
        self.endings.append(Ending(self.place, words, code, self.metric))
        if self.session.sweeps and code in STOPPED:
            raise SweepStopped
        return self.metric

    def not_begun(self, jobs: Sequence[Job]) -> list[Ending]:
        """The jobs after one that was interrupted, and which it took along."""
        if not self.endings or self.endings[-1].code not in STOPPED:
            return []
        folder, code = self.endings[0].folder.path.parent, self.endings[-1].code
        begun = len(self.endings)
        return [
            Ending(RunDirectory(folder / str(number), self.runs), job.words, code)
            for number, job in enumerate(jobs[begun:], begun)
        ]

    def _train(self, config: DictConfig) -> int:
        job = self.session.job(config, HydraConfig.get().runtime.choices)
        with claimed(self.place, job.resume) as self.place:
            parts = build_components(job.config, Builder(self.session.consent), self.place.path)
            warning = crowded(parts.trainer)
            if warning and is_first():
                say(warning)
            if is_first() and job.resume is None and not self.endings:
                for line in columns_told(parts.data.dataset):
                    say(line)
            result = train(
                parts.network,
                parts.data,
                loss=parts.loss,
                optimizer=parts.optimizer,
                schedule=parts.schedule,
                folder=self.place,
                seed=job.config["seed"],
                trainer=parts.trainer,
                observe=parts.observe,
                callbacks=parts.callbacks,
                loggers=parts.loggers,
                config=parts.config,
                resume=job.resume,
            )
        self.metric = result.best
        if is_first():
            say("\n".join([result.summary, *profiles(self.place.path)]))
            if result.signal is not None:
                say(self._go_on(result))
        return 0 if result.signal is None else 128 + result.signal

    def _go_on(self, result: RunResult) -> str:
        """The command that goes on with an interrupted run; consent must be typed again."""
        typed = [word for word in self.session.arguments.overrides if "_target_=" in word]
        words = [f"resume={result.folder}", *typed]
        return " ".join(["go on    brainnet train", *map(shlex.quote, words)])


@contextmanager
def claimed(folder: RunDirectory, resume: Run | None) -> Iterator[RunDirectory]:
    """The folder to train in, claimed before loggers and profilers are told of it.

    It is taken back where no run begins in it.
    """
    if resume is not None and is_first():
        with lock_run(resume.folder.path):
            pass  # said now rather than when all rows are read; held it is while it is trained
    if resume is not None or not is_first():
        yield folder
        return
    place = folder.claim()
    try:
        yield place
    except BaseException:
        if not place.has_summary:
            place.abandon()
        raise


def profiles(folder: Path) -> list[str]:
    """Where a profiler told what took how long, if there was one."""
    return [f"profile  {file}" for file in sorted(folder.glob("*profile*"))]


def as_typed(folder: Path) -> Path:
    """The folder as seen from here, where that is shorter: Hydra makes it absolute."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def say(message: str) -> None:
    """Write a line on stdout."""
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()
