"""Course: a run under way, from its first step to its test, and how it ended."""

import contextlib
from signal import Signals
from typing import Any, NoReturn

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer

from brainnet.data.module import DataModule
from brainnet.errors import InputError, TrainingFailure
from brainnet.training.checkpoint import NotStored
from brainnet.training.curves import Curves
from brainnet.training.interruption import Interrupted, Interruption
from brainnet.training.journal import Journal
from brainnet.training.module import LearningModule
from brainnet.training.result import RunResult, State
from brainnet.training.run_folder import Run
from brainnet.training.stored import load_checkpoint, load_network


class Course:
    """Trains, tests the best weights, and leaves a summary however it ends."""

    def __init__(
        self,
        trainer: Trainer,
        module: LearningModule,
        data: DataModule,
        journal: Journal,
        interruption: Interruption,
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
                if isinstance(logger, Curves):
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
