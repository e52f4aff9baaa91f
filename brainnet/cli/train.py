"""`brainnet train`: one run, or one for each combination of a sweep."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from brainnet.building.build import Build
from brainnet.cli.arguments import parse
from brainnet.cli.columns_told import columns_told
from brainnet.cli.outcome import INTERRUPTED, TERMINATED, reported
from brainnet.cli.parts import parts_of
from brainnet.cli.processes import crowded, is_first, left_alone
from brainnet.cli.session import Job, Session, show
from brainnet.cli.sweep import Ending, tell_table, tidy, worst
from brainnet.fresh_folder import left_untouched, numbered, remove_empty
from brainnet.training.run import RunResult, train
from brainnet.training.run_folder import Run, RunFolder
from brainnet.training.run_lock import trained_alone

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
    with left_untouched(folder):
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
    folder = RunFolder.plan(runs, names.pop() if len(names) == 1 else "sweep").path
    return next(path for path in numbered(folder) if not path.exists())


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
    place: RunFolder = field(init=False)

    def job(self, config: DictConfig) -> float | None:
        """Train one job; its errors are told here, so that the jobs after it go on."""
        running = HydraConfig.get()
        self.place = RunFolder(as_typed(Path(running.runtime.output_dir)), self.runs)
        made_by_hydra = self.place.path
        words = tuple(running.overrides.task)
        self.metric = None
        if self.session.sweeps:
            say(f"\njob {running.job.num}: {' '.join(words)}")
        with left_alone():
            code = reported(lambda: self._train(config), debug=self.debug)
        remove_empty([made_by_hydra])
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
            Ending(RunFolder(folder / str(number), self.runs), job.words, code)
            for number, job in enumerate(jobs[begun:], begun)
        ]

    def _train(self, config: DictConfig) -> int:
        job = self.session.job(config, HydraConfig.get().runtime.choices)
        with claimed(self.place, job.resume) as self.place:
            parts = parts_of(job.config, Build(self.session.consent), self.place.path)
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
def claimed(folder: RunFolder, resume: Run | None) -> Iterator[RunFolder]:
    """The folder to train in, claimed before loggers and profilers are told of it.

    It is taken back where no run begins in it.
    """
    if resume is not None and is_first():
        with trained_alone(resume.folder.path):
            pass  # said now rather than when all rows are read; held it is while it is trained
    if resume is not None or not is_first():
        yield folder
        return
    place = folder.claim()
    try:
        yield place
    except BaseException:
        if not place.began:
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
