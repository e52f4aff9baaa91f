"""Curves: TensorBoard's logger, writing straight into the run's folder."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Self

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from brainnet.observation.event_file import EventFile, summary_writer
from brainnet.observation.writer import Setting, Writer
from brainnet.training.run_folder import RunFolder

log = logging.getLogger(__name__)

FOREMOST = ("data", "network.hidden", "activation", "optimizer", "optimizer.lr")
"""Settings that TensorBoard's table of runs shows first."""

APART = ("name", "resume", "observe", "logger", "callbacks", "paths")
"""Keys that do not bear on what is learned."""


class Curves(TensorBoardLogger):
    """Lightning's logger with one file per run, no folder per version, no hparams.yaml.

    Where the file can no longer be written, it says so once, and the training goes on.

    Args:
        folder: the run's.
        first_step: steps before this one that lie in the folder already stay valid; later ones,
            of a run that went on past its checkpoint, are dropped by TensorBoard.
    """

    def __init__(self, folder: RunFolder, first_step: int | None = None) -> None:
        super().__init__(
            save_dir=folder.path.parent,
            name="",
            version=folder.path.name,
            default_hp_metric=False,
        )
        self._folder = folder
        self._first_step = first_step
        self._file: EventFile | None = None
        self._writer: Writer | None = None
        self._broken = False

    def __enter__(self) -> Self:
        """The file is opened when the first point comes."""
        return self

    def __exit__(self, *_: object) -> None:
        """End; all that was written is on disk."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._tell(error)

    @property
    def file(self) -> EventFile:
        """The one file of this run: TensorBoard follows only the newest of a folder."""
        if self._file is None:
            self._file = EventFile(self._folder.path)
            if self._first_step is not None:
                Writer(self._folder.path, sink=self._file).goes_on_from(self._first_step)
        return self._file

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:  # noqa: ANN401  (a SummaryWriter)
        """PyTorch's writer into the same file, for callbacks of others that ask for it."""
        if self._experiment is None:
            self._experiment = summary_writer(self.file)
        return self._experiment

    @property
    def writer(self) -> Writer:
        """The writer of this run, into the logger's own file."""
        if self._writer is None:
            self._writer = Writer(self._folder.path, sink=self.file)
        return self._writer

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add one point to each curve; those of the test come with the hyper-parameters."""
        points = {tag: float(value) for tag, value in metrics.items() if not _is_of_test(tag)}
        self._write(lambda writer: writer.scalars(points, step or 0))

    @rank_zero_only
    def log_hyperparameters(
        self, config: Mapping[str, Any], metrics: Mapping[str, float], step: int
    ) -> None:
        """Add the run to TensorBoard's table of runs: what was set, and what the test gave."""
        final = {tag: value for tag, value in metrics.items() if _is_of_test(tag)}
        self._write(
            lambda writer: writer.hyperparameters(
                dict(_flat(config)), final, step, foremost=FOREMOST
            )
        )

    @rank_zero_only
    def save(self) -> None:
        """Do nothing: the system has each point, and config.yaml holds what hparams.yaml would."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Do nothing: a run is trained and then tested, and both write to the same file."""

    def _write(self, action: Callable[[Writer], None]) -> None:
        """A training must not end because its curves cannot be drawn."""
        if self._broken:
            return
        try:
            action(self.writer)
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._broken:
            self._broken = True
            # A log, not a warning: where warnings are errors, that would raise.
            log.warning(
                "TensorBoard's file in %s can no longer be written (%s); what is in it stays "
                "readable, and training goes on.",
                self._folder.path,
                error,
            )


def _is_of_test(tag: str) -> bool:
    return tag.endswith("/test")


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Setting]]:
    """Dotted keys; a list is one setting, and a class stands by its name for its group."""
    found: list[tuple[str, Setting]] = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in APART:
            continue
        if key == "_target_" and value is not None:
            found.append((prefix.removesuffix("."), value.rpartition(".")[2]))
        elif isinstance(value, Mapping):
            found += _flat(value, f"{name}.")
        elif value is None or isinstance(value, bool | int | float | str):
            found.append((name, value))
        else:
            found.append((name, str(value)))
    return found
