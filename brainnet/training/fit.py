"""Fit: one training run, from the untrained network to the test result."""

import contextlib
import errno
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn

from brainnet.data.datamodule import DataModule
from brainnet.data.dataset import Dataset
from brainnet.data.datasets import Source
from brainnet.data.validation import check_number, check_whole_number
from brainnet.errors import InputError, TrainingFailure
from brainnet.learning.predictions import use_threads
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
    RunCheckpoint,
    RunWriteError,
    fork_random_state,
    load_resume_point,
)
from brainnet.training.checkpoint_files import load_checkpoint, load_network
from brainnet.training.loggers import Progress, RunLogger, start_loggers
from brainnet.training.module import (
    LearningModule,
    OptimizerFactory,
    ScheduleFactory,
    compile_in_place,
)
from brainnet.training.plot_callback import PlotCallback
from brainnet.training.run_directory import (
    SUMMARY_FILE,
    Run,
    RunDirectory,
    claim_run,
    collect_provenance,
    find_run,
    lock_run,
)
from brainnet.training.trainer import (
    Compile,
    Interrupted,
    SignalHandler,
    choose_threads,
    compile_network,
    make_trainer,
    quiet,
)

State = Literal["finished", "interrupted"]

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_WRITE_ADVICE = "Free some disk space, and continue with resume=latest."
_LOSS_ADVICE = (
    "Try a tenth of the learning rate (optimizer.lr), trainer.gradient_clip_val=1, or "
    "data.normalize=standard."
)

# A loss may rise for a while in a healthy run, but not end at this many times its start.
_DIVERGENCE_FACTOR = 10


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run.

    Attributes:
        folder: run directory; None in all but the first process of a distributed run.
        state: "finished" or "interrupted"; a failed run raises instead.
        metrics: last value of each curve, and the test metrics, by tag.
        network: the network with its best weights (lowest validation loss).
        readings: readings of `observe`, one per observed step.
        confusion: confusion matrix of the test: target class by row, predicted class by column.
        steps: optimizer steps taken.
        seconds: duration of the run, including the parts before it was resumed.
        signal: number of the signal that interrupted the run.
        best: lowest validation loss, that of `network`; training loss if there is no validation;
            None if nothing was trained.
        untrained_loss: training loss before the first step; None if the run was resumed.
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
        """The result in a few lines: metrics, run directory, and the TensorBoard command."""
        lines = [f"{self.state} after {self.steps:,} steps in {self.seconds:.1f} s"]
        # Only an interrupted run has no test metrics to show.
        for tag, value in sorted(self.metrics.items()):
            if "/test" in tag or self.state != "finished":
                lines.append(f"  {tag} {value:.4g}")
        start, end = self.untrained_loss, self.metrics.get("loss/train", 0.0)
        # Not a failure: the best weights are from before the divergence.
        if start is not None and end > _DIVERGENCE_FACTOR * start:
            lines.append(
                f"the loss ended at {end:.3g} and started at {start:.3g}: try a smaller "
                "optimizer.lr (in Python: learning_rate)"
            )
        # Quoted, so that the command can be copied.
        folder = f'"{self.folder}"' if " " in str(self.folder) else self.folder
        return "\n".join(
            [
                *lines,
                f"run          {self.folder}",
                f"tensorboard  {_find_tensorboard()} --logdir {folder}",
            ]
        )


def _find_tensorboard() -> str:
    """Return the command that starts TensorBoard in this environment."""
    script = Path(sys.executable).with_name("tensorboard")
    if shutil.which("tensorboard") or not script.exists():
        return "tensorboard"
    return str(script.relative_to(Path.cwd()) if Path.cwd() in script.parents else script)


@dataclass
class FitSession:
    """Trains and tests a module, and writes its files if this process has a run directory."""

    trainer: Trainer
    module: LearningModule
    data: DataModule
    signals: SignalHandler
    folder: RunDirectory | None
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    resume: Run | None
    state: State = "finished"

    def __post_init__(self) -> None:
        """Start the clock; the duration includes the parts before the run was resumed."""
        previous = self.folder.read_summary() if self.folder and self.resume else {}
        self._start = time.monotonic() - float(previous.get("seconds") or 0.0)
        self.signals.on_exit = lambda number: self._write_summary("interrupted", number)

    def run(self) -> None:
        """Train, test the best weights, and write the summary in every case."""
        path = str(self.resume.last) if self.resume else None
        if self.folder is not None:
            with _convert_write_errors("configuration"):
                self.folder.write_config(self.config)
            self._write_summary("running")
        try:
            self.trainer.fit(self.module, datamodule=self.data, ckpt_path=path, weights_only=True)
            self._test()
            for logger in self.trainer.loggers:
                if isinstance(logger, RunLogger):
                    logger.log_hyperparameters(
                        self.config, self.module.curves, self.trainer.global_step
                    )
            self._write_summary("finished")
        except BaseException as error:
            self._end_early(error)

    def build_result(self, readings: list[Any], best_loss: float | None) -> RunResult:
        """Return the result of the run."""
        is_interrupted = self.folder is not None and self.state == "interrupted"
        return RunResult(
            folder=self.folder.path if self.folder else None,
            state=self.state,
            metrics=dict(self.module.curves),
            network=self.module.network,
            readings=readings,
            confusion=self.module.confusion,
            steps=self.trainer.global_step,
            seconds=time.monotonic() - self._start,
            # Only in the first process: if another one exited with the code of the signal,
            # Lightning would treat it as failed, and kill the first one.
            signal=self.signals.signal if is_interrupted else None,
            best=best_loss,
            untrained_loss=self.module.untrained_loss,
        )

    def _write_summary(self, state: str, number: int | None = None, reason: str = "") -> None:
        if self.folder is None:
            return
        details = {"signal": signal.Signals(number).name} if number is not None else {}
        details |= {"reason": reason} if reason else {}
        summary = {
            "state": state,
            **details,
            "metrics": dict(sorted(self.module.curves.items())),
            "steps": self.trainer.global_step,
            "epochs": self.trainer.current_epoch,
            "seconds": round(time.monotonic() - self._start, 3),
            **self.provenance,
        }
        with _convert_write_errors("summary"):
            self.folder.write_summary(summary)

    def _test(self) -> None:
        # Only the first process reads the file; other processes may be on other machines.
        best = load_checkpoint(Run(self.folder).best) if self.folder else None
        if self.trainer.world_size > 1:
            best = self.trainer.strategy.broadcast(best)
        assert best is not None, "the first process always has a checkpoint"
        load_network(self.module.network, best)
        self.trainer.test(self.module, datamodule=self.data, verbose=False)
        # The network of the result is used for predictions.
        self.module.network.eval()

    def _end_early(self, original: BaseException) -> None:
        """Write the summary of an interrupted or failed run; raise the error of a failed one."""
        error = _convert_error(original)
        number = self.signals.signal
        is_known = isinstance(error, InputError | TrainingFailure)
        # A process can also end because the same signal stopped another one.
        if isinstance(error, Interrupted) or (number is not None and not is_known):
            self.state = "interrupted"
            self._write_summary("interrupted", number)
            return
        is_new = self.resume is None and self.trainer.global_step == 0
        if isinstance(error, InputError) and is_new and self.folder is not None:
            # A directory without a summary is removed by `claim_run`.
            (self.folder.path / SUMMARY_FILE).unlink(missing_ok=True)
        else:
            # If the disk is full, the first error still says more.
            with contextlib.suppress(RunWriteError):
                self._write_summary("failed", reason=str(error))
        if isinstance(error, TrainingFailure):
            advice = _WRITE_ADVICE if isinstance(error, RunWriteError) else _LOSS_ADVICE
            checkpoint = ""
            if self.folder is not None and self.folder.last.exists():
                checkpoint = f" The last good checkpoint is {self.folder.last}."
            raise TrainingFailure(f"{error}.{checkpoint} {advice}") from original
        raise error from (None if error is original else original)


@contextlib.contextmanager
def _convert_write_errors(file: str) -> Iterator[None]:
    """Raise a RunWriteError if this file of the run cannot be written."""
    try:
        yield
    except OSError as error:
        raise RunWriteError(f"the {file} cannot be written: {error.strerror}") from error


def _convert_error(error: BaseException) -> BaseException:
    """Return an error of Lightning or of a full disk as one that the user can correct."""
    if isinstance(error, MisconfigurationException):
        return InputError(f"Lightning rejects these options: {error}")
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return RunWriteError(f"{error.filename or 'a file'} cannot be written: {error.strerror}")
    return error


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
    """Train as `fit` does, with parts that are already built and the configuration to store."""
    network = compile_in_place(network)
    check_sizes(network, data, loss)
    check_trainable(network, data)
    module = LearningModule(
        network,
        loss,
        task=data.dataset.task,
        targets=data.dataset.target_count,
        optimizer=optimizer,
        schedule=schedule,
    )
    run = resume if isinstance(resume, Run | None) else find_run(resume)
    with ExitStack() as stack:
        stack.enter_context(quiet())
        stack.enter_context(fork_random_state(seed))
        checkpoint_io, signals = AtomicCheckpointIO(), SignalHandler()
        checkpoints = RunCheckpoint(config or {}, checkpoint_io)
        observers: list[Callback] = [] if observe is None else [observe, PlotCallback()]
        observers += [Progress()] if progress else []
        options = dict(trainer or {})
        compile_mode: Compile = options.pop("compile", False)
        lightning = make_trainer(
            options, [*callbacks, *observers, signals, checkpoints], checkpoint_io
        )
        first_step = None
        if run is not None:
            if lightning.is_global_zero:
                # Before the checkpoint is read, which another process may still write.
                stack.enter_context(lock_run(run.folder.path))
            first_step = load_resume_point(run, module, data, lightning)
        device = lightning.strategy.root_device
        stack.enter_context(use_threads(choose_threads(network, data.batch_size, device)))
        if compile_mode:
            compile_network(module, data, lightning, compile_mode)
        # Before the directory is created, because it can reject the choice of kernels.
        provenance = {"seed": seed, **collect_provenance()}
        claimed = None
        if lightning.is_global_zero:
            claimed = run.folder if run is not None else _plan_folder(folder, data)
            if run is None:
                # If the set-up fails, nothing is left behind. The command line has claimed it.
                if not claimed.is_claimed:
                    claimed = stack.enter_context(claim_run(claimed))
                stack.enter_context(lock_run(claimed.path))
            checkpoints.folder = claimed
            start_loggers(loggers, config or {}, first_step)
            logger = RunLogger(claimed, first_step)
            stack.push(logger.close)
            lightning.loggers = [logger, *loggers]
        session = FitSession(
            lightning, module, data, signals, claimed, config or {}, provenance, run
        )
        # Last, so that a signal during the preparation ends the process as usual.
        stack.enter_context(signals)
        session.run()
        return session.build_result(observe.readings if observe else [], checkpoints.best_loss)


def _plan_folder(folder: RunDirectory | Path | None, data: DataModule) -> RunDirectory:
    if folder is None:
        return RunDirectory.plan(Path("runs"), data.dataset.name)
    return folder if isinstance(folder, RunDirectory) else RunDirectory(folder)


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
        network: any module from inputs to outputs; trained in place.
        data: the name of a data set, (inputs, targets), a Dataset, or a DataModule.
        loss: a name, a module, or "auto" for the default loss of the task.
        optimizer: a name, or a function that creates the optimizer from the parameters.
        learning_rate: learning rate of an optimizer chosen by name.
        schedule: a name, or a function that creates the schedule from the optimizer and the total
            number of steps.
        epochs: passes over the training rows.
        batch_size: rows per step; a DataModule has its own.
        folder: the run directory; a number is appended if it exists. Default: `runs/DATA/TIME`.
        observe: what to observe: a level, or the callback.
        seed: seed of the split, the order of the rows, and the global random generators. Default:
            that of the DataModule, else 0.
        trainer: further arguments of `lightning.Trainer`.
        callbacks: further Lightning callbacks.
        loggers: further Lightning loggers, beside TensorBoard.
        resume: a run to resume, in its directory.
        progress: whether to show progress, and a summary at the end.

    Raises:
        InputError: the arguments do not fit together, or are not available on this machine.
        TrainingFailure: the loss is not finite, or a checkpoint cannot be written.

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
            f"a resumed run continues in its directory; got folder={folder} as well. "
            "Leave out folder, or leave out resume to train a new run there."
        )
    # Before it is described: the wrapper of `torch.compile` has another class.
    network = compile_in_place(network)
    epochs = check_whole_number("epochs", epochs, least=1)
    learning_rate = check_number("learning_rate", learning_rate, least=0.0)
    if learning_rate == 0.0:
        raise InputError("learning_rate must be above 0; got 0. Try 0.003.")
    if not isinstance(data, DataModule):
        data = DataModule(data, batch_size=batch_size, seed=0 if seed is None else seed)
    elif seed is not None and seed != data.seed:
        raise InputError(
            f"a run has one seed, and this DataModule was split with seed {data.seed}; got "
            f"seed={seed}. Leave seed out, or use DataModule(..., seed={seed})."
        )
    criterion = choose_loss(data.dataset.task, loss, measure_outputs(network, data))
    observer = None
    if observe != "off":
        observer = observe if isinstance(observe, Observe) else Observe(level=observe)
    options = {"max_epochs": epochs, **(trainer or {})}
    result = train(
        network,
        data,
        loss=criterion,
        optimizer=choose_optimizer(optimizer, learning_rate),
        schedule=choose_schedule(schedule),
        folder=None if folder is None else Path(folder),
        seed=data.seed,
        trainer=options,
        observe=observer,
        callbacks=callbacks,
        loggers=loggers,
        config=describe_run(
            network,
            data,
            criterion,
            optimizer=optimizer,
            learning_rate=learning_rate,
            schedule=schedule,
            trainer=options,
            observe=observer,
        ),
        resume=resume,
        progress=progress,
    )
    if progress and result.folder is not None:
        sys.stdout.write(f"{result.summary}\n")
    return result
