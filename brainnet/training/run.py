"""Run: one training from the first guess to the test, with a folder that tells all of it."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, cast

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from torch import nn

from brainnet.data.builtin import Source
from brainnet.data.checks import check_number, check_whole_number
from brainnet.data.dataset import Dataset
from brainnet.data.module import DataModule
from brainnet.errors import InputError
from brainnet.observation.tags import Level
from brainnet.training.checkpoint import AtomicCheckpointIO, Checkpoints
from brainnet.training.choices import loss_for, optimizer_for, schedule_for
from brainnet.training.compilation import Compile, compile_network
from brainnet.training.compiled import compiled_in_place
from brainnet.training.course import Course
from brainnet.training.curves import Curves
from brainnet.training.description import describe_run
from brainnet.training.interruption import Interruption
from brainnet.training.journal import Journal
from brainnet.training.module import LearningModule, OptimizerFactory, ScheduleFactory
from brainnet.training.observe import Observe
from brainnet.training.pictures import Pictures
from brainnet.training.precision import check_precision
from brainnet.training.progress import Progress
from brainnet.training.provenance import provenance
from brainnet.training.randomness import seeded
from brainnet.training.result import RunResult as RunResult
from brainnet.training.resume import Start
from brainnet.training.run_folder import Run, RunFolder, find_run
from brainnet.training.run_lock import trained_alone
from brainnet.training.sizes import check_learns, check_sizes, outputs_of, tell_codes
from brainnet.training.tables import begin_logging
from brainnet.training.threads import fitting_threads
from brainnet.training.trainer import make_trainer, quiet, restored_determinism


def train(
    network: nn.Module,
    data: DataModule,
    *,
    loss: nn.Module,
    optimizer: OptimizerFactory,
    schedule: ScheduleFactory | None = None,
    folder: RunFolder | Path | None = None,
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
    network = compiled_in_place(network)
    check_sizes(network, data, loss)
    check_learns(network)
    tell_codes(network, data)
    module = LearningModule(
        network, loss, task=data.task, targets=data.targets, optimizer=optimizer, schedule=schedule
    )
    found = resume if isinstance(resume, Run | None) else find_run(resume)
    with ExitStack() as stack:
        for context in (quiet(), restored_determinism(), seeded(seed)):
            stack.enter_context(context)
        store = AtomicCheckpointIO()
        interruption, checkpoints = Interruption(), Checkpoints(config or {}, store)
        seen: list[Callback] = [] if observe is None else [observe, Pictures()]
        seen += [Progress()] if progress else []
        options = dict(trainer or {})
        compiles: Compile = options.pop("compile", False)
        lightning = make_trainer(options, [*callbacks, *seen, interruption, checkpoints], store)
        if found is not None and lightning.is_global_zero:
            # Before it is read how far the run has come: another may be taking it further.
            stack.enter_context(trained_alone(found.folder.path))
        start = None if found is None else Start.find(found, module, data)
        if start is not None:
            start.check(lightning)
            module.curves.update(start.metrics)
        check_precision(lightning, network, optimizer)
        device = lightning.strategy.root_device
        stack.enter_context(fitting_threads(network, data.batch_size, device))
        if compiles:
            batches = lightning.accumulate_grad_batches
            compile_network(module.network, data, device, compiles, batches_of_a_step=batches)
            module.keeps_answers = compiles != "graph"
        about = {"seed": seed, **provenance()}
        place = _place(folder, found, data) if lightning.is_global_zero else None
        if place is not None and found is None:
            stack.enter_context(trained_alone(place.path))
        journal = Journal(place, config or {}, about, resumed=found is not None)
        if place is not None:
            checkpoints.folder = place.checkpoints
            first_step = None if start is None else start.first_step
            begin_logging(loggers, config or {}, first_step)
            lightning.loggers = [stack.enter_context(Curves(place, first_step)), *loggers]
        interruption.on_exit = journal.leave
        stack.enter_context(interruption)
        course = Course(lightning, module, data, journal, interruption)
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
    network = compiled_in_place(network)
    epochs = check_whole_number("epochs", epochs, least=1)
    learning_rate = check_number("learning_rate", learning_rate, least=0.0)
    if learning_rate == 0.0:
        raise InputError("learning_rate must be above 0, or nothing is learnt; got 0. Try 0.003.")
    rows = _rows(data, batch_size, seed)
    criterion = loss_for(loss, rows.task, outputs_of(network, rows))
    watching = _observe(observe)
    options = {"max_epochs": epochs, **(trainer or {})}
    result = train(
        network,
        rows,
        loss=criterion,
        optimizer=optimizer_for(optimizer, learning_rate),
        schedule=schedule_for(schedule),
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


def _place(folder: RunFolder | Path | None, found: Run | None, data: DataModule) -> RunFolder:
    if found is not None:
        return found.folder
    if folder is None:
        return RunFolder.plan(Path("runs"), data.dataset.name).claim()
    return (folder if isinstance(folder, RunFolder) else RunFolder(folder)).claim()
