"""Fit: one training run, from untrained network to test result."""

import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any, Literal, NoReturn, cast

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn

from brainnet.data.datamodule import DataModule
from brainnet.data.dataset import Dataset
from brainnet.data.datasets import Source
from brainnet.data.validation import check_number, check_whole_number
from brainnet.errors import InputError, TrainingFailure
from brainnet.observation.tags import Level
from brainnet.training.assembly import (
    check_sizes,
    check_trainable,
    choose_loss,
    choose_optimizer,
    choose_schedule,
    describe_run,
    measure_outputs,
)
from brainnet.training.callbacks import Observe
from brainnet.training.checkpoint import (
    AtomicCheckpointIO,
    Checkpoints,
    NotStored,
    ResumePoint,
    fork_random_state,
)
from brainnet.training.checkpoint_files import load_checkpoint, load_network
from brainnet.training.compilation import Compile, compile_in_place, compile_network
from brainnet.training.loggers import RunLogger, start_loggers
from brainnet.training.module import LearningModule, OptimizerFactory, ScheduleFactory
from brainnet.training.plot_callback import PlotCallback
from brainnet.training.progress import Progress
from brainnet.training.run_directory import (
    Run,
    RunDirectory,
    collect_provenance,
    find_run,
    lock_run,
)
from brainnet.training.signals import Interrupted, SignalHandler
from brainnet.training.trainer import (
    check_precision,
    limit_threads,
    make_trainer,
    quiet,
    restored_determinism,
)


class RunSummary:
    """Keeps `config.yaml` and `summary.json`.

    Over several processes only the first has a folder; in the others nothing is written.

    Args:
        folder: the run's, already made; None in a process that writes nothing.
        config: what is run, resolved.
        about: what else there is to say about it from the start.
        resumed: whether the folder holds an earlier part of the same run.
    """

    def __init__(
        self,
        folder: RunDirectory | None,
        config: Mapping[str, Any],
        about: Mapping[str, Any],
        *,
        resumed: bool = False,
    ) -> None:
        self.folder = folder
        self.config = config
        self.steps = 0
        self.epochs = 0
        self.metrics: dict[str, float] = {}
        earlier = folder.read_summary() if folder and resumed else {}
        self._start = time.monotonic() - float(earlier.get("seconds") or 0.0)
        self._about = dict(about)
        if folder is not None:
            folder.write_config(config)
            self.write("running")

    @property
    def seconds(self) -> float:
        """How long the run has taken, all its parts together."""
        return time.monotonic() - self._start

    def write(self, state: str, **more: object) -> None:
        """Write the summary as of now."""
        if self.folder is None:
            return
        self.folder.write_summary(
            {
                "state": state,
                **more,
                "metrics": dict(sorted(self.metrics.items())),
                "steps": self.steps,
                "epochs": self.epochs,
                "seconds": round(self.seconds, 3),
                **self._about,
            }
        )

    def leave(self, number: int) -> None:
        """Say that a second signal ended the run on the spot."""
        self.write("interrupted", signal=signal.Signals(number).name)


State = Literal["finished", "interrupted"]

# A loss may rise for a while and all be well; not so, where it ends at this many times its start.
_FAR_ABOVE = 10


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run.

    Attributes:
        folder: where it is; None in the second and further processes of a distributed run.
        state: "finished" or "interrupted"; a run that failed raises instead.
        metrics: the last value of each curve, by tag, and those of the test.
        network: with the weights that did best on the validation rows.
        readings: what `observe` saw, one for each look.
        confusion: of the test: rows of each class (row) by the answer they got (column).
        steps: optimizer steps taken.
        seconds: how long it took, all its parts together.
        signal: the number of the signal that interrupted it.
        best: the loss of `network` on the validation rows, the lowest there was; on the training
            rows where none are validated on. None where nothing was learnt yet.
    """

    folder: Path | None
    state: State
    metrics: dict[str, float]
    network: nn.Module = field(repr=False)
    readings: list[Any] = field(default_factory=list, repr=False)
    confusion: Tensor | None = field(default=None, repr=False)
    steps: int = 0
    seconds: float = 0.0
    signal: int | None = None
    best: float | None = None
    untrained_loss: float | None = None

    @property
    def summary(self) -> str:
        """The result in a few lines: what came of it, where it is, how to look at it."""
        values = [f"{tag} {value:.4g}" for tag, value in sorted(self.metrics.items())]
        lines = [
            f"{self.state} after {self.steps:,} steps in {self.seconds:.1f} s",
            *(f"  {value}" for value in values if "/test" in value or self.state != "finished"),
            *self._burst(),
            f"run      {self.folder}",
        ]
        return "\n".join(
            [*lines, f"look     {_tensorboard()} --logdir {format_value(self.folder)}"]
        )

    def _burst(self) -> list[str]:
        """What to do where the loss is finite, but far above that of the untrained network."""
        began, ended = self.untrained_loss, self.metrics.get("loss/train", 0.0)
        if began is None or not ended > _FAR_ABOVE * began:
            return []
        return [
            f"the loss ended at {ended:.3g}, it began at {began:.3g}: try a smaller optimizer.lr "
            "(in Python: learning_rate)"
        ]


def format_value(path: object) -> str:
    """A path as it can be typed: in quotes where it holds a space."""
    return f'"{path}"' if " " in str(path) else str(path)


def _tensorboard() -> str:
    """The command as this environment has it: by name where it is on the path."""
    if shutil.which("tensorboard"):
        return "tensorboard"
    beside = Path(sys.executable).with_name("tensorboard")
    found = beside if beside.exists() else f"{sys.executable} -m tensorboard.main"
    here = Path.cwd()
    return str(beside.relative_to(here) if found is beside and here in beside.parents else found)


class FitSession:
    """Trains, tests the best weights, and leaves a summary however it ends."""

    def __init__(
        self,
        trainer: Trainer,
        module: LearningModule,
        data: DataModule,
        journal: RunSummary,
        interruption: SignalHandler,
    ) -> None:
        self.trainer = trainer
        self.module = module
        self.data = data
        self.journal = journal
        self.interruption = interruption
        self.state: State = "finished"

    def follow(self, found: Run | None) -> None:
        """Train and test, and leave a summary however it ends."""
        path = str(found.last) if found else None
        try:
            self.trainer.fit(self.module, datamodule=self.data, ckpt_path=path, weights_only=True)
            self._note()
            self._test()
        except NotStored as error:
            self._fail(error, "Free some room there, and go on with resume=latest.")
        except TrainingFailure as error:
            self._fail(
                error,
                "Try a smaller step (optimizer.lr a tenth of what it is), "
                "trainer.gradient_clip_val=1, or data.normalize=standard.",
            )
        except MisconfigurationException as error:
            self._refuse(error, began=found is not None or self.trainer.global_step > 0)
        except BaseException as error:
            self._note()
            if not isinstance(error, Interrupted) and self.interruption.signal is None:
                self.journal.write("failed")
                raise
            # Also where another process, stopped by the same signal, left this one alone.
            self.state = "interrupted"
            number = self.interruption.signal
            told = {} if number is None else {"signal": Signals(number).name}
            self.journal.write(self.state, **told)
        else:
            self.journal.metrics = dict(self.module.curves)
            for logger in self.trainer.loggers:
                if isinstance(logger, RunLogger):
                    logger.log_hyperparameters(
                        self.journal.config, self.journal.metrics, self.journal.steps
                    )
            self.journal.write(self.state)

    def result(self, readings: list[Any], *, best: float | None = None) -> RunResult:
        """Return what came of it; `best` is the lowest validation loss."""
        folder = self.journal.folder
        return RunResult(
            folder=folder.path if folder else None,
            state=self.state,
            metrics=dict(self.module.curves),
            best=best,
            untrained_loss=self.module.untrained_loss,
            network=self.module.network,
            readings=readings,
            confusion=self.module.confusion,
            steps=self.journal.steps,
            seconds=self.journal.seconds,
            # One that came after the last batch of the test interrupted nothing. And a further
            # process that ended with the signal's exit code would, to Lightning, have failed, and
            # the first would be killed for it.
            signal=self.interruption.signal if folder and self.state == "interrupted" else None,
        )

    def _note(self) -> None:
        self.journal.steps = self.trainer.global_step
        self.journal.epochs = self.trainer.current_epoch
        self.journal.metrics = dict(self.module.curves)

    def _test(self) -> None:
        folder = self.journal.folder
        best = load_checkpoint(Run(folder).best) if folder else None
        if self.trainer.world_size > 1:
            best = self.trainer.strategy.broadcast(best)
        assert best is not None, "the first process always has a checkpoint"
        load_network(self.module.network, best)
        self.trainer.test(self.module, datamodule=self.data, verbose=False)
        self.module.network.eval()

    def _refuse(self, error: Exception, *, began: bool) -> NoReturn:
        """Some options Lightning checks only once it has seen the data."""
        if began:
            self._note()
            self.journal.write("failed", reason=str(error))
        elif self.journal.folder is not None:
            self.journal.folder.abandon()
        raise InputError(f"Lightning cannot train so: {error}") from error

    def _fail(self, error: TrainingFailure, advice: str) -> NoReturn:
        self._note()
        with contextlib.suppress(OSError):  # of a full disk it is said already
            self.journal.write("failed", reason=str(error))
        folder = self.journal.folder
        there = folder is not None and folder.last.exists()
        kept = f" The last good checkpoint is {folder.last}." if folder and there else ""
        raise TrainingFailure(f"{error}.{kept} {advice}") from None


def train(
    network: nn.Module,
    data: DataModule,
    *,
    loss: nn.Module,
    optimizer: OptimizerFactory,
    schedule: ScheduleFactory | None = None,
    folder: RunDirectory | Path | None = None,
    seed: int = 0,
    trainer: Mapping[str, Any] | None = None,
    observe: Observe | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    config: Mapping[str, Any] | None = None,
    resume: Run | Path | str | None = None,
    progress: bool = True,
) -> RunResult:
    """Train a network, keep its best weights, and judge them by the test rows.

    Everything is checked before anything is written.

    Args:
        network: any module from inputs to outputs; it is trained in place.
        data: what it learns from.
        loss: from outputs and targets to one number.
        optimizer: makes the optimizer from the parameters.
        schedule: makes the schedule from the optimizer and the total number of steps.
        folder: of the run; `runs/<data>/<time>` where None. One that is taken gets a number.
        seed: what global random numbers (dropout, modules of others) follow from.
        trainer: arguments of `lightning.Trainer`; also `compile`, whether to compile the network:
            True, or "graph" to capture it as well, on CUDA.
        observe: the callback that looks inside; with it come pictures. None: curves alone.
        callbacks: more of Lightning's callbacks.
        loggers: more of Lightning's loggers, beside TensorBoard's.
        config: what to store as the run's configuration.
        resume: a run to go on with, in its own folder and curves.
        progress: whether to show progress.

    Raises:
        InputError: something does not fit together, or cannot be had on this machine.
        TrainingFailure: the loss stopped being finite.
    """
    network = compile_in_place(network)
    check_sizes(network, data, loss)
    check_trainable(network, data)
    module = LearningModule(
        network, loss, task=data.task, targets=data.targets, optimizer=optimizer, schedule=schedule
    )
    found = resume if isinstance(resume, Run | None) else find_run(resume)
    with ExitStack() as stack:
        for context in (quiet(), restored_determinism(), fork_random_state(seed)):
            stack.enter_context(context)
        store = AtomicCheckpointIO()
        interruption, checkpoints = SignalHandler(), Checkpoints(config or {}, store)
        seen: list[Callback] = [] if observe is None else [observe, PlotCallback()]
        seen += [Progress()] if progress else []
        options = dict(trainer or {})
        compiles: Compile = options.pop("compile", False)
        lightning = make_trainer(options, [*callbacks, *seen, interruption, checkpoints], store)
        if found is not None and lightning.is_global_zero:
            # Before it is read how far the run has come: another may be taking it further.
            stack.enter_context(lock_run(found.folder.path))
        start = None if found is None else ResumePoint.find(found, module, data)
        if start is not None:
            start.check(lightning)
            module.curves.update(start.metrics)
        check_precision(lightning, network, optimizer)
        device = lightning.strategy.root_device
        stack.enter_context(limit_threads(network, data.batch_size, device))
        if compiles:
            batches = lightning.accumulate_grad_batches
            compile_network(module.network, data, device, compiles, batches_of_a_step=batches)
            module.keeps_answers = compiles != "graph"
        about = {"seed": seed, **collect_provenance()}
        place = _place(folder, found, data) if lightning.is_global_zero else None
        if place is not None and found is None:
            stack.enter_context(lock_run(place.path))
        journal = RunSummary(place, config or {}, about, resumed=found is not None)
        if place is not None:
            checkpoints.folder = place.checkpoints
            first_step = None if start is None else start.first_step
            start_loggers(loggers, config or {}, first_step)
            lightning.loggers = [stack.enter_context(RunLogger(place, first_step)), *loggers]
        interruption.on_exit = journal.leave
        stack.enter_context(interruption)
        course = FitSession(lightning, module, data, journal, interruption)
        course.follow(found)
        readings = observe.readings if observe else []
        return course.result(readings, best=checkpoints.best.get("loss"))


def fit(
    network: nn.Module,
    data: str | Source | Dataset | DataModule | tuple[Any, Any],
    *,
    loss: str | nn.Module = "auto",
    optimizer: str | OptimizerFactory = "adam",
    learning_rate: float = 0.003,
    schedule: str | ScheduleFactory = "constant",
    epochs: int = 30,
    batch_size: int = 32,
    folder: Path | str | None = None,
    observe: Observe | Literal["light", "full", "off"] = "light",
    seed: int | None = None,
    trainer: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    resume: Run | Path | str | None = None,
    progress: bool = True,
) -> RunResult:
    """Train a network on data, from Python.

    Args:
        network: any module from inputs to outputs; it is trained in place.
        data: the name of a built-in data set, a Dataset, a DataModule, or (inputs, targets).
        loss: a name, a module, or "auto": the one that fits the task and the network.
        optimizer: a name, or what makes one from parameters.
        learning_rate: of an optimizer that was chosen by name.
        schedule: a name, or what makes one from the optimizer and the total number of steps.
        epochs: how often the training rows are gone through.
        batch_size: rows per step; a DataModule has its own.
        folder: of the run; `runs/<data>/<time>` where None. One that is taken gets a number.
        observe: how much to look inside.
        seed: what the split, the order of the rows and global random numbers follow from; where
            None that of a DataModule, else 0.
        trainer: more arguments of `lightning.Trainer`.
        callbacks: more of Lightning's callbacks.
        loggers: more of Lightning's loggers, beside TensorBoard's.
        resume: a run to go on with, in its own folder and curves.
        progress: whether to show progress, and at the end a summary.

    Raises:
        InputError: something does not fit together, or cannot be had on this machine.
        TrainingFailure: the loss stopped being finite.

    Example:
        >>> import tempfile
        >>> from brainnet.structure.network import Network
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     result = fit(Network([4, 8, 3]), "iris", folder=f"{runs}/iris", progress=False)
        >>> result.state, sorted(result.metrics)[0]
        ('finished', 'accuracy/test')
    """
    if resume is not None and folder is not None:
        raise InputError(
            f"a resumed run goes on in its own folder; got folder={folder} beside it. "
            "Leave out folder, or resume to train a new run there."
        )
    network = compile_in_place(network)
    epochs = check_whole_number("epochs", epochs, least=1)
    learning_rate = check_number("learning_rate", learning_rate, least=0.0)
    if learning_rate == 0.0:
        raise InputError("learning_rate must be above 0, or nothing is learnt; got 0. Try 0.003.")
    rows = _rows(data, batch_size, seed)
    criterion = choose_loss(rows.task, loss, measure_outputs(network, rows))
    watching = _observe(observe)
    options = {"max_epochs": epochs, **(trainer or {})}
    result = train(
        network,
        rows,
        loss=criterion,
        optimizer=choose_optimizer(optimizer, learning_rate),
        schedule=choose_schedule(schedule),
        folder=None if folder is None else Path(folder),
        seed=rows.seed,
        trainer=options,
        observe=watching,
        callbacks=callbacks,
        loggers=loggers,
        config=describe_run(
            network,
            rows,
            criterion,
            optimizer=optimizer,
            learning_rate=learning_rate,
            schedule=schedule,
            trainer=options,
            observe=watching,
        ),
        resume=resume,
        progress=progress,
    )
    if progress and result.folder is not None:
        sys.stdout.write(f"{result.summary}\n")
    return result


def _rows(
    data: str | Source | Dataset | DataModule | tuple[Any, Any], batch_size: int, seed: int | None
) -> DataModule:
    if not isinstance(data, DataModule):
        return DataModule(data, batch_size=batch_size, seed=0 if seed is None else seed)
    if seed is not None and seed != data.seed:
        raise InputError(
            f"a run has one seed, and this DataModule was split by {data.seed}; got seed={seed}. "
            f"Leave seed out, or make it DataModule(..., seed={seed})."
        )
    return data


def _observe(choice: Observe | str) -> Observe | None:
    if isinstance(choice, Observe):
        return choice
    return None if choice == "off" else Observe(level=cast(Level, choice))


def _place(folder: RunDirectory | Path | None, found: Run | None, data: DataModule) -> RunDirectory:
    if found is not None:
        return found.folder
    if folder is None:
        return RunDirectory.plan(Path("runs"), data.dataset.name).claim()
    return (folder if isinstance(folder, RunDirectory) else RunDirectory(folder)).claim()
