"""`brainnet train`: one run, or one run per combination of a sweep."""

import math
import os
import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
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
    RUN_DIR,
    ConfigFiles,
    build_allow_list,
    compose_config,
    drop_unused_keys,
    expand_sweep,
    parse_overrides,
    resolve_config,
    resolve_run_dir,
    select_groups,
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
from brainnet.files import iterate_numbered, remove_if_unused
from brainnet.training.fit import train
from brainnet.training.run_directory import Run, RunDirectory, claim_run, lock_run

# Exit codes in increasing severity. A bug outweighs a failed training, and an interruption
# outweighs everything.
_SEVERITY = (DONE, WRONG_INPUT, TRAINING_FAILED, BUG, INTERRUPTED, TERMINATED)
_SCORES = ("accuracy/test", "r2/test", "loss/test")
# The longest list of columns that is printed.
_MAX_COLUMNS = 12
_COLUMN_KINDS = {
    "number": "numbers",
    "category": "categories",
    "boolean": "yes/no",
    "date": "dates",
}


@dataclass(slots=True)
class Job:
    """One run of the command; `code` is its exit code and `metric` its lowest validation loss."""

    folder: RunDirectory
    words: Sequence[str]
    config: Config = field(default_factory=dict)
    resume: Run | None = None
    code: int = DONE
    metric: float = math.nan


def run_train(arguments: Namespace) -> int:
    """Train as typed; returns the exit code."""
    files = ConfigFiles.select(arguments.config_name, arguments.config_dir)
    overrides = parse_overrides(arguments.overrides)
    if arguments.cfg:
        sys.stdout.write(format_config(compose_config(overrides, files), arguments.package))
        return DONE
    _check_sweep(overrides, is_sweep=arguments.multirun)
    allow_list = build_allow_list(overrides)
    # All jobs are checked before the first one begins.
    jobs = [plan_job(words, files, allow_list) for words in expand_sweep(overrides)]
    if not jobs:
        raise InputError("the sweep is empty: one of its keys has no values.")
    directory = choose_directory(overrides, jobs)
    for number, job in enumerate(jobs):
        path = directory / str(number) if arguments.multirun else directory
        job.folder = RunDirectory(path, Path(job.config["paths"]["runs"]))
    with remove_if_unused(directory):
        for number, job in enumerate(jobs):
            if arguments.multirun:
                print(f"\njob {number}: {' '.join(job.words)}", flush=True)
            # Lightning starts the other processes of a distributed run from `sys.argv`, which must
            # not start the whole sweep again.
            run_dir = f"{RUN_DIR}={quote_value(str(job.folder.path))}"
            with _isolate_process(["train", *files.to_flags(), *job.words, run_dir]):
                action = partial(run_job, job, allow_list, is_first=number == 0)
                job.code = report_errors(action, debug=arguments.debug)
            if job.code in (INTERRUPTED, TERMINATED):
                break
    if arguments.multirun:
        print_sweep_table(jobs)
    return find_worst_code(jobs)


def format_config(config: DictConfig, package: str | None) -> str:
    """Return a composed configuration, or the part at a dotted path, as YAML."""
    groups = select_groups(config)
    part = OmegaConf.select(groups, package) if package else groups
    if part is None:
        raise InputError(f"the configuration has no part {package}. Leave --package out.")
    return OmegaConf.to_yaml(part) if OmegaConf.is_config(part) else f"{part}\n"


def _check_sweep(overrides: Sequence[Override], *, is_sweep: bool) -> None:
    for override in overrides:
        if override.is_sweep_override() and not is_sweep:
            raise InputError(
                f"{override.input_line} has several values: add -m to run each of them, or write "
                f"a list as {override.key_or_group}=[...]."
            )
        if override.key_or_group == "resume" and is_sweep:
            raise InputError("resume continues one run: leave -m out.")


def plan_job(words: Sequence[str], files: ConfigFiles, allow_list: TargetAllowList) -> Job:
    """Compose and check the configuration of one job; `choose_directory` chooses its folder."""
    overrides = parse_overrides(words)
    resumed = [item.value() for item in overrides if item.key_or_group == "resume"][-1:]
    run, choice, composed = None, "", None
    if resumed and resumed[0] is not None:
        config, run = compose_resumed(str(resumed[0]), overrides, files)
    else:
        composed = compose_config(overrides, files)
        config, choice = resolve_config(composed), str(composed.hydra.runtime.choices["data"])
        if config.get("resume") is not None:
            raise InputError(f"resume={config['resume']} must be typed, not set in a YAML file.")
    check_config(config)
    if run is None:
        check_hidden_layers(config)
    check_targets(config, allow_list)
    config = drop_unused_keys(config, overrides, allow_list)
    # Stored paths are absolute, so that the run can be used from any directory.
    config["data"] = resolve_paths(config["data"])
    if config.get("name") is None:
        config["name"] = name_run(config["data"], choice)
    directory = Path() if composed is None else resolve_run_dir(composed, config["name"])
    # The directory is added where a process of a distributed run needs it.
    words = [word for word in words if not word.startswith(f"{RUN_DIR}=")]
    return Job(RunDirectory(directory), words, config, run)


def choose_directory(overrides: Sequence[Override], jobs: Sequence[Job]) -> Path:
    """Return the directory of the run or, in a sweep, of its jobs."""
    first = jobs[0]
    if first.resume is not None:
        return first.resume.folder.path
    if any(override.key_or_group == RUN_DIR for override in overrides):
        return first.folder.path
    names = {job.config["name"] for job in jobs}
    name = names.pop() if len(names) == 1 else "sweep"
    path = RunDirectory.plan(Path(first.config["paths"]["runs"]), name).path
    return next(candidate for candidate in iterate_numbered(path) if not candidate.exists())


def run_job(job: Job, allow_list: TargetAllowList, *, is_first: bool) -> int:
    """Train one job and print its result; returns the exit code."""
    # Lightning numbers the processes of a distributed run; only the first one writes.
    is_main = os.environ.get("LOCAL_RANK", "0") == "0"
    with ExitStack() as stack:
        if is_main and job.resume is None:
            # Loggers and profilers receive the directory, so it is claimed before they are built.
            job.folder = stack.enter_context(claim_run(job.folder))
        elif is_main and job.resume is not None:
            # Fails before the rows are read if another command trains this run.
            with lock_run(job.resume.folder.path):
                pass
        parts = build_components(job.config, allow_list, job.folder.path)
        if is_main and is_first and job.resume is None:
            print(*describe_training_data(parts["data"].dataset), sep="", end="", flush=True)
        seed = job.config["seed"]
        result = train(**parts, folder=job.folder, seed=seed, resume=job.resume)
    job.metric = math.nan if result.best is None else result.best
    if is_main:
        # Written by Lightning's profiler, if one was chosen.
        profiles = sorted(job.folder.path.glob("*profile*"))
        print(result.summary, *(f"profile  {file}" for file in profiles), sep="\n", flush=True)
        if result.signal is not None:
            # Allowed classes must be typed again.
            targets = [word for word in job.words if "_target_" in word]
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


def find_worst_code(jobs: Sequence[Job]) -> int:
    """Return the most severe exit code."""
    return max((job.code for job in jobs), key=_SEVERITY.index)


def print_sweep_table(jobs: Sequence[Job]) -> None:
    """Print what all jobs have in common, one line per job with what differs, and the best job."""
    common = [word for word in jobs[0].words if all(word in job.words for job in jobs)]
    parent = Path(os.path.commonpath([job.folder.path.parent for job in jobs]))
    # A diverged job cannot be the best.
    losses = {n: job.metric for n, job in enumerate(jobs) if math.isfinite(job.metric)}
    best = min(losses, key=losses.__getitem__) if losses and len(jobs) > 1 else None
    summaries: list[dict[str, Any]] = [
        job.folder.read_summary() if job.folder.has_summary else {"state": "not started"}
        for job in jobs
    ]
    scores = [summary.get("metrics") or {} for summary in summaries]
    tags = [tag for tag in _SCORES if any(tag in values for values in scores)]
    table = [["job", "overrides", "state", *tags, "folder"]]
    for number, (job, values) in enumerate(zip(jobs, scores, strict=True)):
        cells = [
            f"{number} *" if number == best else str(number),
            " ".join(word for word in job.words if word not in common),
            summaries[number]["state"],
            *(f"{values[tag]:.4g}" if values.get(tag) is not None else "" for tag in tags),
            str(job.folder.path.relative_to(parent)),
        ]
        table.append(cells)
    print()
    for name, text in (("all jobs", " ".join(common)), ("folder", str(parent))):
        if text:
            print(f"{name}: {text}")
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(line.rstrip())
    if best is not None:
        loss = format_number(losses[best])
        print(f"* best: job {best}, with the lowest validation loss, {loss}", flush=True)


def describe_training_data(data: Dataset) -> Iterator[str]:
    """Yield lines with the columns of a table, or the size of images; none for other data."""
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
