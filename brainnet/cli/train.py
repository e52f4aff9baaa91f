"""`brainnet train`: one run, or one run per combination of a sweep."""

import math
import os
import re
import shlex
import sys
import textwrap
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.conf import OverridesConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from torch import distributed

from brainnet.cli.exit_codes import (
    BUG,
    DONE,
    INTERRUPTED,
    TERMINATED,
    TRAINING_FAILED,
    WRONG_INPUT,
    report_errors,
)
from brainnet.config.components import build_components
from brainnet.config.compose import (
    VERSION_BASE,
    ConfigFiles,
    build_allow_list,
    check_hydra,
    compose_config,
    drop_unused_keys,
    expand_sweep,
    parse_overrides,
    resolve_config,
)
from brainnet.config.instantiate import TargetAllowList, check_targets
from brainnet.config.resume import compose_resumed, find_stored_data_choice
from brainnet.config.schema import RUN_NAME, Config, check_config, check_hidden_layers
from brainnet.data.dataset import Dataset
from brainnet.data.datasets import resolve_paths
from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import TIME_FORMAT, ColumnEncoder, TableEncoder
from brainnet.errors import InputError, quote_value
from brainnet.explanation.formatting import format_number
from brainnet.files import iterate_numbered, remove_empty_folders, remove_if_unused
from brainnet.training.fit import train
from brainnet.training.run_directory import Run, RunDirectory, lock_run

# From harmless to grave. A bug outweighs a failed training; an interruption outweighs all.
_SEVERITY = (DONE, WRONG_INPUT, TRAINING_FAILED, BUG, INTERRUPTED, TERMINATED)
_STOPPED = (INTERRUPTED, TERMINATED)
_SCORES = ("accuracy/test", "r2/test", "loss/test")
_RUN_DIR = "hydra.run.dir"
_MAX_PROCESSES_PER_CORE = 4
# The longest list of columns that is printed, and the widest line of it.
_MAX_COLUMNS = 12
_LINE_WIDTH = 100
_COLUMN_KINDS = {
    "number": "numbers",
    "category": "categories",
    "boolean": "yes/no",
    "date": "dates",
}


@dataclass(frozen=True, slots=True)
class Job:
    """One run to train.

    Attributes:
        config: its checked configuration.
        resume: the run that it continues, if any.
        words: its overrides, in a sweep.
    """

    config: Config
    resume: Run | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """What was typed, and what follows from it before a run begins.

    Attributes:
        overrides: what was typed, parsed.
        files: where YAML files are read from.
        allow_list: classes that the user allows.
        config: the configuration with Hydra's own node, without the values of a sweep.
        is_sweep: whether several jobs run.
    """

    overrides: list[Override]
    files: ConfigFiles
    allow_list: TargetAllowList
    config: DictConfig
    is_sweep: bool

    @classmethod
    def start(cls, words: Sequence[str], files: ConfigFiles, *, multirun: bool) -> "Session":
        """Compose what was typed, and check what Hydra would instantiate.

        Raises:
            InputError: it cannot be composed, or names a class that is not allowed.
        """
        overrides = parse_overrides(words, files)
        overrides = parse_overrides(find_stored_data_choice(overrides), files) + overrides
        allow_list = build_allow_list(overrides)
        swept = [override for override in overrides if override.is_sweep_override()]
        config = compose_config([each for each in overrides if each not in swept], files)
        check_hydra(config, allow_list)
        is_sweep = multirun or config.hydra.mode == RunMode.MULTIRUN
        if swept and not is_sweep:
            raise InputError(
                f"{swept[0].input_line} has several values: add -m to run each of them, or write "
                f"a list as {swept[0].key_or_group}=[...]."
            )
        return cls(overrides, files, allow_list, config, is_sweep)

    def create_job(
        self, composed: DictConfig, choices: Mapping[str, object], words: Sequence[str] = ()
    ) -> Job:
        """Check one composed configuration, and return the run that it describes.

        Args:
            composed: with or without Hydra's own node.
            choices: the choice of each group.
            words: the overrides of the job, in a sweep.

        Raises:
            InputError: a check failed.
        """
        config, run = resolve_config(composed), None
        if config.get("resume") is not None:
            if self.is_sweep:
                raise InputError("resume continues one run: leave -m out.")
            config, run = compose_resumed(config, self.overrides)
        check_config(config)
        if run is None:
            check_hidden_layers(config)
        check_targets(config, self.allow_list)
        config = drop_unused_keys(config, self.overrides, self.allow_list)
        config["data"] = resolve_paths(config["data"])
        if config.get("name") is None:
            config["name"] = name_run(config["data"], str(choices["data"]))
        return Job(config, run, tuple(words))

    def create_jobs(self) -> list[Job]:
        """Check and return every job; for another sweeper than Hydra's, only its base job.

        Raises:
            InputError: a job failed a check.
        """
        jobs = expand_sweep(self.config, self.overrides, self.files) if self.is_sweep else None
        if jobs is None:
            return [self.create_job(self.config, self.config.hydra.runtime.choices)]
        created = []
        for words in jobs:
            config = compose_config(parse_overrides(words, self.files), self.files)
            check_hydra(config, self.allow_list)
            node = config.hydra
            created.append(self.create_job(config, node.runtime.choices, node.overrides.task))
        return created

    def find_typed_directory(self) -> Path | None:
        """Return `hydra.run.dir=...`, which tells Lightning's processes which run they join."""
        if any(override.key_or_group == _RUN_DIR for override in self.overrides):
            return Path(str(self.config.hydra.run.dir))
        return None


def name_run(data: Mapping[str, Any], choice: str) -> str:
    """Return the name of a run: of the file that it learns from, else of the choice of data.

    Example:
        >>> name_run({"path": "houses/prices 2025.csv"}, "table")
        'prices 2025'
        >>> name_run({"path": "Küche & co.csv"}, "table")
        'Küche co'
    """
    path = data.get("path")
    stem = Path(str(path)).resolve().name.partition(".")[0] if path else ""
    if not RUN_NAME.accepts(stem):
        stem = " ".join(re.sub(r"[^\w .,=+-]|^\W+", " ", stem)[:100].split())
    return stem if RUN_NAME.accepts(stem) else choice


def run_train(arguments: Namespace) -> int:
    """Train as typed; returns the exit code.

    Raises:
        InputError: something typed is wrong; nothing was written.
    """
    files = ConfigFiles.select(arguments.config_path, arguments.config_name, arguments.config_dir)
    session = Session.start(arguments.overrides, files, multirun=arguments.multirun)
    shown = _list_display_flags(arguments)
    if shown:
        _call_hydra(lambda config: None, files, [*shown, *arguments.overrides])
        return DONE
    jobs = session.create_jobs()
    runs = Path(jobs[0].config["paths"]["runs"])
    directory = session.find_typed_directory() or _plan_directory(jobs, runs)
    runner = JobRunner(session, runs, arguments.debug)
    with remove_if_unused(directory):
        try:
            with suppress(SweepStopped):
                runner.run_all(directory)
        finally:
            _remove_unused_sweep(directory)
    if not session.is_sweep:
        return runner.results[-1].code
    print_sweep_table([*runner.results, *runner.list_skipped(jobs)])
    return find_worst_code(runner.results)


def _list_display_flags(arguments: Namespace) -> list[str]:
    """Return the options with which Hydra shows something instead of running it."""
    values = {"--cfg": arguments.cfg, "--info": arguments.info}
    flags = [word for flag, value in values.items() if value for word in (flag, value)]
    flags += ["--hydra-help"] if arguments.hydra_help else []
    if flags and arguments.package:
        flags += ["--package", arguments.package]
    return [*flags, "--resolve"] if flags and arguments.resolve else flags


def _plan_directory(jobs: Sequence[Job], runs: Path) -> Path:
    """Return the directory of the run or, in a sweep, of its jobs."""
    if jobs[0].resume is not None:
        return jobs[0].resume.folder.path
    names = {job.config["name"] for job in jobs}
    path = RunDirectory.plan(runs, names.pop() if len(names) == 1 else "sweep").path
    return next(candidate for candidate in iterate_numbered(path) if not candidate.exists())


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of one job.

    Attributes:
        folder: its directory.
        words: its overrides.
        code: its exit code.
        metric: its lowest validation loss, by which a sweep is judged; None if there is none.
    """

    folder: RunDirectory
    words: tuple[str, ...]
    code: int
    metric: float | None = None

    def read_summary(self) -> dict[str, Any]:
        """Return what the job wrote; its state is "not started" if it wrote nothing."""
        try:
            return self.folder.read_summary()
        except InputError:
            return {"state": "not started"}


class SweepStopped(BaseException):
    """Ends a sweep when one of its jobs was interrupted; Hydra continues after an Exception."""


@dataclass(slots=True)
class JobRunner:
    """Trains the jobs of a session one after the other.

    Attributes:
        session: what was typed.
        runs: the directory of all runs.
        debug: whether tracebacks are shown.
        results: of every job so far.
    """

    session: Session
    runs: Path
    debug: bool
    results: list[JobResult] = field(default_factory=list)
    _folder: RunDirectory = field(init=False)
    _metric: float | None = field(init=False, default=None)

    def run_all(self, directory: Path) -> None:
        """Train all jobs.

        Args:
            directory: of the run or, in a sweep, of all its jobs.
        """
        config, files = self.session.config, self.session.files
        if not (self.session.is_sweep or config.hydra.callbacks or config.hydra.job.chdir):
            # Hydra would compose the configuration twice more to call the same function.
            config.hydra.run.dir = str(directory)
            config.hydra.runtime.output_dir = str(directory.absolute())
            HydraConfig.instance().set_config(config)
            try:
                self.run_job(config)
            finally:
                HydraConfig.instance().cfg = None
            return
        words = [str(each.input_line) for each in self.session.overrides]
        words = [word for word in words if not word.startswith(f"{_RUN_DIR}=")]
        job_directory = directory
        if self.session.is_sweep:
            # Lightning passes run.dir to the processes that it starts for a job.
            job_directory = Path("${hydra.sweep.dir}/${hydra.sweep.subdir}")
            words += [f"hydra.sweep.dir={quote_value(str(directory))}"]
        words += [f"{_RUN_DIR}={quote_value(str(job_directory))}"]
        # Hydra's parser accepts no option between two overrides.
        flags = ["--multirun"] if self.session.is_sweep else []
        _call_hydra(self.run_job, files, [*flags, *words])

    def run_job(self, config: DictConfig) -> float | None:
        """Train one job; errors are reported here, so that the jobs after it still run.

        Returns:
            The lowest validation loss, which sweepers minimize.
        """
        running = HydraConfig.get()
        words = tuple(running.overrides.task)
        if self.session.is_sweep:
            _write_line(f"\njob {running.job.num}: {' '.join(words)}")
        path = Path(running.runtime.output_dir)
        if path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())
        self._folder, self._metric = RunDirectory(path, self.runs), None
        arguments = self._list_job_arguments(running.overrides)
        with _replace_argv(arguments), _restore_process_state():
            code = report_errors(lambda: self._train(config), debug=self.debug)
        remove_empty_folders([path])
        self.results.append(JobResult(self._folder, words, code, self._metric))
        if self.session.is_sweep and code in _STOPPED:
            raise SweepStopped
        return self._metric

    def _list_job_arguments(self, overrides: OverridesConf) -> list[str]:
        """Return the arguments that run this job alone.

        Lightning starts the other processes of a distributed run from `sys.argv`, which would
        start the whole sweep again.
        """
        files = self.session.files
        hydra_words = [] if files.extra_directory else list(overrides.hydra)
        search_path = [word for word in hydra_words if word.startswith("hydra.searchpath=")]
        return ["train", *files.to_flags(), *search_path, *overrides.task]

    def _train(self, config: DictConfig) -> int:
        job = self.session.create_job(config, HydraConfig.get().runtime.choices)
        with _claim_directory(self._folder, job.resume) as self._folder:
            parts = build_components(job.config, self.session.allow_list, self._folder.path)
            warning = check_process_count(parts.trainer)
            if _is_main_process() and warning:
                _write_line(warning)
            if _is_main_process() and job.resume is None and not self.results:
                for line in describe_dataset(parts.data.dataset):
                    _write_line(line)
            result = train(
                parts.network,
                parts.data,
                loss=parts.loss,
                optimizer=parts.optimizer,
                schedule=parts.schedule,
                folder=self._folder,
                seed=job.config["seed"],
                trainer=parts.trainer,
                observe=parts.observe,
                callbacks=parts.callbacks,
                loggers=parts.loggers,
                config=parts.config,
                resume=job.resume,
            )
        self._metric = result.best
        if _is_main_process():
            profiles = sorted(self._folder.path.glob("*profile*"))
            _write_line("\n".join([result.summary, *(f"profile  {file}" for file in profiles)]))
            if result.signal is not None:
                # Allowed classes must be typed again.
                targets = [
                    o.input_line for o in self.session.overrides if "_target_" in o.input_line
                ]
                command = shlex.join([f"resume={result.folder}", *map(str, targets)])
                _write_line(f"continue with    brainnet train {command}")
        return DONE if result.signal is None else 128 + result.signal

    def list_skipped(self, jobs: Sequence[Job]) -> list[JobResult]:
        """Return the jobs that did not start because an earlier one was interrupted."""
        if not self.results or self.results[-1].code not in _STOPPED:
            return []
        parent, code = self.results[0].folder.path.parent, self.results[-1].code
        started = len(self.results)
        return [
            JobResult(RunDirectory(parent / str(number), self.runs), job.words, code)
            for number, job in enumerate(jobs[started:], started)
        ]


@contextmanager
def _claim_directory(folder: RunDirectory, resume: Run | None) -> Iterator[RunDirectory]:
    """Claim the directory of a new run; remove it again if no run begins in it."""
    if resume is not None and _is_main_process():
        with lock_run(resume.folder.path):
            pass  # fails before the rows are read if another command trains this run
    if resume is not None or not _is_main_process():
        yield folder
        return
    claimed = folder.claim()
    try:
        yield claimed
    except BaseException:
        if not claimed.has_summary:
            claimed.abandon()
        raise


def _call_hydra(task: Callable[[DictConfig], object], files: ConfigFiles, words: list[str]) -> None:
    """Call `hydra.main` with the given command line."""
    decorated = hydra.main(
        version_base=VERSION_BASE, config_path=str(files.primary_directory), config_name=files.name
    )(task)
    with _replace_argv([*words, *files.build_search_path(words)]), _restore_process_state():
        # Hydra re-raises errors instead of printing them.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        decorated()


@contextmanager
def _replace_argv(words: Sequence[str]) -> Iterator[None]:
    previous = sys.argv
    sys.argv = [previous[0], *words]
    try:
        yield
    finally:
        sys.argv = previous


@contextmanager
def _restore_process_state() -> Iterator[None]:
    """Restore the environment variables, and end the process group of a distributed run.

    With them, the next job would be mistaken for a process of this one.
    """
    environment = dict(os.environ)
    try:
        yield
    finally:
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
        os.environ.clear()
        os.environ.update(environment)


def check_process_count(trainer: Mapping[str, object]) -> str:
    """Return a warning if processes on the CPU share cores; empty otherwise.

    Raises:
        InputError: there are more than four processes per core.
    """
    devices, accelerator = trainer.get("devices"), trainer.get("accelerator", "auto")
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not has_gpu)
    cores = os.cpu_count() or 1
    if not on_cpu or not isinstance(devices, int) or devices <= cores:
        return ""
    if devices > _MAX_PROCESSES_PER_CORE * cores:
        raise InputError(
            f"trainer.devices={devices} starts {devices} processes, and this processor has {cores} "
            f"cores. Set trainer.devices={cores} (at most {_MAX_PROCESSES_PER_CORE * cores})."
        )
    return (
        f"warning: {devices} processes share the {cores} cores of this processor "
        f"(trainer.devices={devices}) and slow each other down."
    )


def _is_main_process() -> bool:
    return os.environ.get("LOCAL_RANK", "0") == "0"


def find_worst_code(results: Sequence[JobResult]) -> int:
    """Return the most severe exit code; an unknown code counts as a bug."""
    codes = (result.code if result.code in _SEVERITY else BUG for result in results)
    return max(codes, key=_SEVERITY.index, default=DONE)


def _find_best(results: Sequence[JobResult]) -> int | None:
    """Return the index of the job with the lowest validation loss, if there are several jobs."""
    losses = {
        number: result.metric
        for number, result in enumerate(results)
        if result.metric is not None and math.isfinite(result.metric)
    }
    return min(losses, key=lambda number: losses[number], default=None) if results[1:] else None


def print_sweep_table(results: Sequence[JobResult]) -> None:
    """Print what all jobs have in common, one line per job with what differs, and the best job."""
    if not results:
        return
    common = [word for word in results[0].words if all(word in each.words for each in results)]
    parent = Path(os.path.commonpath([result.folder.path.parent for result in results]))
    summaries = [result.read_summary() for result in results]
    scores = [summary.get("metrics") or {} for summary in summaries]
    tags = [tag for tag in _SCORES if any(tag in values for values in scores)]
    folded = [Column(name, overflow="fold") for name in ("overrides", "state", *tags, "folder")]
    table = Table(Column("job", no_wrap=True), *folded, box=None, pad_edge=False)
    best = _find_best(results)
    for number, (result, summary, values) in enumerate(
        zip(results, summaries, scores, strict=True)
    ):
        cells = [
            f"{number} *" if number == best else number,
            " ".join(word for word in result.words if word not in common),
            summary["state"],
            *(f"{values[tag]:.4g}" if values.get(tag) is not None else "" for tag in tags),
            result.folder.path.relative_to(parent),
        ]
        # As `Text`, brackets in overrides are not read as markup.
        table.add_row(*(Text(str(cell)) for cell in cells))
    console = Console(highlight=False)
    console.print()
    for name, words in (("all jobs", " ".join(common)), ("folder", str(parent))):
        if words:
            console.print(Text(f"{name}: {words}"), soft_wrap=True)
    with console.capture() as capture:
        console.print(table)
    console.file.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())
    if best is not None:
        loss = format_number(results[best].metric)
        console.print(Text(f"* best: job {best}, with the lowest validation loss, {loss}"))


def _remove_unused_sweep(directory: Path) -> None:
    """Remove the file that Hydra writes for a sweep, if no job began."""
    if directory.is_dir() and [path.name for path in directory.iterdir()] == ["multirun.yaml"]:
        (directory / "multirun.yaml").unlink()


def describe_dataset(data: Dataset) -> list[str]:
    """Return lines with the target and the columns of a table, or the size of images.

    Empty for built-in data and arrays.
    """
    encoder = data.encoder
    classes = data.class_names
    if classes:
        target = " or ".join(classes) if len(classes) <= 3 else f"{len(classes):,} classes"
    else:
        noun = "a number" if len(data.target_names) == 1 else "numbers"
        target = f"{', '.join(data.target_names)} ({noun})"
    if isinstance(encoder, ImageEncoder):
        color = "in color" if encoder.channels == 3 else "gray"
        size = f"{encoder.height} x {encoder.width}"
        return [f"predict {target}, from {len(data):,} images of {size}, {color}"]
    if not isinstance(encoder, TableEncoder) or not encoder.columns:
        return []
    lines = [f"predict {target}, from {len(data):,} rows of {data.name}"]
    for kind, name in _COLUMN_KINDS.items():
        columns = [_describe_column(column) for column in encoder.columns if column.kind == kind]
        if len(columns) > _MAX_COLUMNS:
            columns[_MAX_COLUMNS:] = [f"and {len(columns) - _MAX_COLUMNS:,} more"]
        lines += textwrap.wrap(
            ", ".join(columns),
            _LINE_WIDTH,
            initial_indent=f"  {name:<11}",
            subsequent_indent=" " * 13,
            break_on_hyphens=False,
        )
    return lines


def _describe_column(column: ColumnEncoder) -> str:
    if column.kind == "category":
        how = "embedded" if column.is_embedded else "one-hot"
        return f"{column.name} ({len(column.values):,}, {how})"
    if column.kind == "boolean":
        return f"{column.name} ({' = 0, '.join(column.values)} = 1)"
    return f"{column.name} (hours since midnight)" if column.format == TIME_FORMAT else column.name


def _write_line(message: str) -> None:
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()
