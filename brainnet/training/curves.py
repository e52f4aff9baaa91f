"""Curves: TensorBoard's logger, writing straight into the run's folder."""

from collections.abc import Mapping
from typing import Any, Self

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from brainnet.observation.writer import Setting, Writer
from brainnet.training.run_folder import RunFolder

FOREMOST = ("data", "network.hidden", "activation", "optimizer", "optimizer.lr")
"""Settings that TensorBoard's table of runs shows first."""

APART = ("name", "resume", "observe", "logger", "callbacks", "paths")
"""Keys that do not bear on what is learned."""


class Curves(TensorBoardLogger):
    """Lightning's logger with one file per run, no folder per version, no hparams.yaml.

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
            purge_step=first_step,
        )
        self._folder = folder
        self._writer: Writer | None = None

    def __enter__(self) -> Self:
        """The file is opened when the first point comes."""
        return self

    def __exit__(self, *_: object) -> None:
        """Put on disk all that was written, and end."""
        if self._experiment is not None:
            self._experiment.close()

    @property
    def writer(self) -> Writer:
        """The writer of this run, into the logger's own file."""
        if self._writer is None:
            # TensorBoard follows only the newest file of a folder, so that there must be but one.
            self._writer = Writer(self._folder.path, sink=self.experiment.file_writer)
        return self._writer

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add one point to each curve; those of the test come with the hyper-parameters."""
        points = {tag: float(value) for tag, value in metrics.items() if not _is_of_test(tag)}
        self.writer.scalars(points, step or 0)

    @rank_zero_only
    def log_hyperparameters(
        self, config: Mapping[str, Any], metrics: Mapping[str, float], step: int
    ) -> None:
        """Add the run to TensorBoard's table of runs: what was set, and what the test gave."""
        final = {tag: value for tag, value in metrics.items() if _is_of_test(tag)}
        self.writer.hyperparameters(dict(_flat(config)), final, step, foremost=FOREMOST)

    @rank_zero_only
    def save(self) -> None:
        """Flush; config.yaml holds what hparams.yaml would."""
        self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flush; a run is trained and then tested, and both write to the same file."""
        self.experiment.flush()


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
