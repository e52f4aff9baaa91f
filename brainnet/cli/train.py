"""`brainnet train`: one run, or one run per combination of a sweep."""

import math
import os
import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import torch
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
from brainnet.config.resume import compose_resumed
from brainnet.config.schema import RUN_NAME, Config, check_config, check_hidden_layers
from brainnet.data.dataset import Dataset
from brainnet.data.datasets import resolve_paths
from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import TableEncoder
from brainnet.data.validation import join_names
from brainnet.errors import InputError, quote_value
from brainnet.explanation.formatting import format_number
from brainnet.files import iterate_numbered, remove_empty_folders, remove_if_unused
from brainnet.training.fit import train
from brainnet.training.run_directory import Run, RunDirectory, lock_run

# Exit codes in increasing severity. A bug outweighs a failed training, and an interruption
# outweighs everything.
_SEVERITY = (DONE, WRONG_INPUT, TRAINING_FAILED, BUG, INTERRUPTED, TERMINATED)
_SCORES = ("accuracy/test", "r2/test", "loss/test")
_RUN_DIR = "hydra.run.dir"
_MAX_PROCESSES_PER_CORE = 4
# The longest list of columns that is printed.
_MAX_COLUMNS = 12
_COLUMN_KINDS = {
    "number": "numbers",
    "category": "categories",
    "boolean": "yes/no",
    "date": "dates",
}


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
class Session:
    """The overrides of a command line, and the jobs that they define.

    Attributes:
        overrides: the parsed overrides.
        files: where YAML files are read from.
        allow_list: classes that the user allows.
        config: the configuration with Hydra's own node, without the values of a sweep.
        is_sweep: whether several jobs run.
        debug: whether tracebacks are shown.
        results: of every job so far.
        planned: the overrides of every job of a sweep, also of those that did not start.
    """

    overrides: list[Override]
    files: ConfigFiles
    allow_list: TargetAllowList
    config: DictConfig
    is_sweep: bool
    debug: bool = False
    results: list[JobResult] = field(default_factory=list)
    planned: list[tuple[str, ...]] = field(default_factory=list)
    _folder: RunDirectory = field(init=False)
    _metric: float | None = field(init=False, default=None)

    @classmethod
    def start(cls, words: Sequence[str], files: ConfigFiles, *, multirun: bool) -> "Session":
        """Compose the configuration, and check what Hydra would instantiate.

        Raises:
            InputError: the configuration cannot be composed, or names a class that is not allowed.
        """
        overrides = parse_overrides(words, files)
        allow_list = build_allow_list(overrides)
        # Values of a sweep are checked with the job that they belong to, in `create_jobs`.
        swept = [override for override in overrides if override.is_sweep_override()]
        config = compose_config(
            [override for override in overrides if override not in swept], files
        )
        check_hydra(config, allow_list)
        is_sweep = multirun or config.hydra.mode == RunMode.MULTIRUN
        if swept and not is_sweep:
            raise InputError(
                f"{swept[0].input_line} has several values: add -m to run each of them, or write "
                f"a list as {swept[0].key_or_group}=[...]."
            )
        return cls(overrides, files, allow_list, config, is_sweep)

    def create_job(
        self, composed: DictConfig, choices: Mapping[str, object]
    ) -> tuple[Config, Run | None]:
        """Check one composed configuration; returns it, and the run that it resumes, if any.

        Args:
            composed: with or without Hydra's own node.
            choices: the choice of each group.

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
        # Stored paths are absolute, so that the run can be used from any directory.
        config["data"] = resolve_paths(config["data"])
        if config.get("name") is None:
            config["name"] = name_run(config["data"], str(choices["data"]))
        return config, run

    def create_jobs(self) -> list[tuple[Config, Run | None]]:
        """Check and return every job; for another sweeper than Hydra's, only the base job.

        Raises:
            InputError: a job failed a check.
        """
        jobs = expand_sweep(self.config, self.overrides, self.files) if self.is_sweep else None
        if jobs is None:
            return [self.create_job(self.config, self.config.hydra.runtime.choices)]
        configs = [compose_config(parse_overrides(job, self.files), self.files) for job in jobs]
        for config in configs:
            check_hydra(config, self.allow_list)
            self.planned.append(tuple(config.hydra.overrides.task))
        return [self.create_job(config, config.hydra.runtime.choices) for config in configs]

    def find_directory(self, jobs: Sequence[tuple[Config, Run | None]]) -> Path:
        """Return the directory of the run or, in a sweep, of its jobs."""
        if any(override.key_or_group == _RUN_DIR for override in self.overrides):
            # Lightning passes the directory of the run to the processes that join it.
            return Path(str(self.config.hydra.run.dir))
        config, run = jobs[0]
        if run is not None:
            return run.folder.path
        names = {job["name"] for job, _ in jobs}
        name = names.pop() if len(names) == 1 else "sweep"
        path = RunDirectory.plan(Path(config["paths"]["runs"]), name).path
        return next(candidate for candidate in iterate_numbered(path) if not candidate.exists())

    def run_jobs(self, directory: Path) -> None:
        """Train all jobs in the directory of the run or the sweep."""
        config = self.config
        if not (self.is_sweep or config.hydra.callbacks or config.hydra.job.chdir):
            # Hydra would compose the configuration twice more to call the same function.
            config.hydra.run.dir = str(directory)
            config.hydra.runtime.output_dir = str(directory.absolute())
            HydraConfig.instance().set_config(config)
            try:
                self.run_job(config)
            finally:
                HydraConfig.instance().cfg = None
            return
        words = [str(override.input_line) for override in self.overrides]
        words = [word for word in words if not word.startswith(f"{_RUN_DIR}=")]
        job_directory = str(directory)
        if self.is_sweep:
            job_directory = "${hydra.sweep.dir}/${hydra.sweep.subdir}"
            # Hydra's parser accepts no option between two overrides.
            words = ["--multirun", *words, f"hydra.sweep.dir={quote_value(str(directory))}"]
        call_hydra(self.run_job, self.files, [*words, f"{_RUN_DIR}={quote_value(job_directory)}"])

    def run_job(self, config: DictConfig) -> float | None:
        """Train one job; errors are reported here, so that the jobs after it still run.

        Returns:
            The lowest validation loss, which sweepers minimize.
        """
        running = HydraConfig.get()
        words = tuple(running.overrides.task)
        if self.is_sweep:
            print(f"\njob {running.job.num}: {' '.join(words)}", flush=True)
        path = Path(running.runtime.output_dir)
        if path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())
        self._folder, self._metric = RunDirectory(path), None
        # Lightning starts the other processes of a distributed run from `sys.argv`, which must
        # not start the whole sweep again.
        hydra_words = [] if self.files.extra_directory else list(running.overrides.hydra)
        search_path = [word for word in hydra_words if word.startswith("hydra.searchpath=")]
        arguments = ["train", *self.files.to_flags(), *search_path, *words]
        with _isolate_process(arguments):
            code = report_errors(lambda: self._train(config), debug=self.debug)
        remove_empty_folders([path])
        self.results.append(JobResult(self._folder, words, code, self._metric))
        if self.is_sweep and code in (INTERRUPTED, TERMINATED):
            raise SweepStopped
        return self._metric

    def _train(self, composed: DictConfig) -> int:
        config, resume = self.create_job(composed, HydraConfig.get().runtime.choices)
        self._folder = RunDirectory(self._folder.path, Path(config["paths"]["runs"]))
        # Loggers and profilers receive the directory, so it is claimed before they are built.
        with _claim_directory(self._folder, resume) as self._folder:
            parts = build_components(config, self.allow_list, self._folder.path)
            check_process_count(parts.trainer)
            if _is_main_process() and resume is None and not self.results:
                print(*describe_training_data(parts.data.dataset), sep="", end="", flush=True)
            result = train(**vars(parts), folder=self._folder, seed=config["seed"], resume=resume)
        self._metric = result.best
        if _is_main_process():
            # Written by Lightning's profiler, if one was chosen.
            profiles = sorted(self._folder.path.glob("*profile*"))
            print(result.summary, *(f"profile  {file}" for file in profiles), sep="\n", flush=True)
            if result.signal is not None:
                # Allowed classes must be typed again.
                words = [str(override.input_line) for override in self.overrides]
                targets = [word for word in words if "_target_" in word]
                command = shlex.join([f"resume={result.folder}", *targets])
                print(f"continue with    brainnet train {command}", flush=True)
        return DONE if result.signal is None else 128 + result.signal


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
    files = ConfigFiles.select(arguments.config_name, arguments.config_dir)
    session = Session.start(arguments.overrides, files, multirun=arguments.multirun)
    # Hydra only shows something here; the checks above came first, because it reads all files.
    if arguments.cfg or arguments.info or arguments.hydra_help:
        options = {"--cfg": arguments.cfg, "--info": arguments.info, "--package": arguments.package}
        flags = [word for flag, value in options.items() if value for word in (flag, value)]
        flags += ["--hydra-help"] if arguments.hydra_help else []
        call_hydra(lambda config: None, files, [*flags, *arguments.overrides])
        return DONE
    session.debug = arguments.debug
    directory = session.find_directory(session.create_jobs())
    with remove_if_unused(directory):
        try:
            with suppress(SweepStopped):
                session.run_jobs(directory)
        finally:
            # Hydra writes this file even if no job began.
            if [path.name for path in directory.glob("*")] == ["multirun.yaml"]:
                (directory / "multirun.yaml").unlink()
    code = find_worst_code(session.results)
    if session.is_sweep:
        # After an interruption, the table also lists the jobs that did not start.
        skipped = list(enumerate(session.planned))[len(session.results) :]
        folders = [RunDirectory(directory / str(number)) for number, _ in skipped]
        rows = [JobResult(f, words, code) for f, (_, words) in zip(folders, skipped, strict=True)]
        print_sweep_table([*session.results, *rows])
    return code


@contextmanager
def _claim_directory(folder: RunDirectory, resume: Run | None) -> Iterator[RunDirectory]:
    """Claim the directory of a new run; remove it again if no run begins in it."""
    if resume is not None and _is_main_process():
        # Fails before the rows are read if another command trains this run.
        with lock_run(resume.folder.path):
            pass
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


def call_hydra(task: Callable[[DictConfig], object], files: ConfigFiles, words: list[str]) -> None:
    """Call `hydra.main` with the given command line; errors are raised, not printed."""
    decorated = hydra.main(
        version_base=VERSION_BASE, config_path=str(files.primary_directory), config_name=files.name
    )(task)
    with _isolate_process([*words, *files.build_search_path(words)]):
        # Otherwise Hydra prints an error and exits with code 1.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        decorated()


@contextmanager
def _isolate_process(arguments: Sequence[str]) -> Iterator[None]:
    """Replace `sys.argv`, and restore it, the environment and the process group afterwards.

    With the variables of a distributed run, the next job would be mistaken for a process of it.
    """
    previous, environment = sys.argv, dict(os.environ)
    sys.argv = [previous[0], *arguments]
    try:
        yield
    finally:
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
        sys.argv = previous
        os.environ.clear()
        os.environ.update(environment)


def check_process_count(trainer: Mapping[str, object]) -> None:
    """Check that processes on the CPU do not share cores excessively.

    Raises:
        InputError: there are more than four processes per core.
    """
    devices, accelerator = trainer.get("devices"), trainer.get("accelerator", "auto")
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not has_gpu)
    cores = os.cpu_count() or 1
    if on_cpu and isinstance(devices, int) and devices > _MAX_PROCESSES_PER_CORE * cores:
        raise InputError(
            f"trainer.devices={devices} starts {devices} processes, and this processor has {cores} "
            f"cores. Set trainer.devices={cores} (at most {_MAX_PROCESSES_PER_CORE * cores})."
        )


def _is_main_process() -> bool:
    # Lightning numbers the processes of a distributed run; only the first one prints.
    return os.environ.get("LOCAL_RANK", "0") == "0"


def find_worst_code(results: Sequence[JobResult]) -> int:
    """Return the most severe exit code; an unknown code counts as a bug."""
    codes = (result.code if result.code in _SEVERITY else BUG for result in results)
    return max(codes, key=_SEVERITY.index, default=DONE)


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
    losses = [math.nan if result.metric is None else result.metric for result in results]
    # A diverged job cannot be the best.
    finite = [number for number, loss in enumerate(losses) if math.isfinite(loss)]
    best = min(finite, key=losses.__getitem__) if finite and len(results) > 1 else None
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
    # rich pads the last column with blanks, which are removed.
    with console.capture() as capture:
        console.print(table)
    console.file.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())
    if best is not None:
        loss = format_number(results[best].metric)
        console.print(Text(f"* best: job {best}, with the lowest validation loss, {loss}"))


def describe_training_data(data: Dataset) -> Iterator[str]:
    """Yield lines with the target and the columns of a table, or with the size of images.

    Nothing for built-in data and arrays.
    """
    encoder, classes = data.encoder, data.class_names
    if classes:
        target = " or ".join(classes) if len(classes) <= 3 else f"{len(classes):,} classes"
    else:
        target = f"{', '.join(data.target_names)} (regression)"
    if isinstance(encoder, ImageEncoder):
        color = "in color" if encoder.channels == 3 else "gray"
        size = f"{encoder.height} x {encoder.width}, {color}"
        yield f"predict {target}, from {len(data):,} images of {size}\n"
    if not isinstance(encoder, TableEncoder) or not encoder.columns:
        return
    yield f"predict {target}, from {len(data):,} rows of {data.name}\n"
    for kind, label in _COLUMN_KINDS.items():
        # A wrong guess of the kind shows here, before the training.
        names = [
            f"{column.name} ({len(column.values):,})" if column.values else column.name
            for column in encoder.columns
            if column.kind == kind
        ]
        if names:
            yield f"  {label:<11}{join_names(names, _MAX_COLUMNS)}\n"
