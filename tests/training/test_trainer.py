import logging
import os
import warnings

import pytest
import torch

from brainnet.errors import InputError
from brainnet.training.checkpoint import AtomicCheckpointIO
from brainnet.training.trainer import _check_devices, make_trainer, quiet, restored_determinism


def test_nothing_is_written_and_nothing_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with quiet():
        trainer = make_trainer({"max_epochs": 1}, [], AtomicCheckpointIO())
    assert trainer.max_epochs == 1
    assert trainer.loggers == []
    assert list(tmp_path.iterdir()) == []
    assert caplog.text == ""


def test_what_is_asked_for_arrives():
    options = {
        "accelerator": "cpu",
        "devices": 1,
        "max_steps": 5,
        "max_epochs": -1,
        "gradient_clip_val": 0.5,
        "accumulate_grad_batches": 3,
        "limit_train_batches": 2,
        "precision": "bf16-mixed",
    }
    with quiet():
        trainer = make_trainer(options, [], AtomicCheckpointIO())
    assert trainer.max_steps == 5
    assert trainer.gradient_clip_val == 0.5
    assert trainer.accumulate_grad_batches == 3
    assert trainer.limit_train_batches == 2
    assert trainer.precision == "bf16-mixed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epoch": 1}, "no option 'max_epoch'. Did you mean max_epochs"),
        ({"callbacks": []}, "Hand them over beside it"),
        ({"devices": 0, "accelerator": "cpu"}, "cannot be set up"),
        ({"max_steps": 0}, "max_steps must be 1 or more"),
    ],
)
def test_wrong_options_are_said_in_words(options, message):
    with quiet(), pytest.raises(InputError, match=message):
        make_trainer(options, [], AtomicCheckpointIO())


def test_more_gpus_than_there_are_is_said_in_words(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    _check_devices("gpu", 2)
    _check_devices("gpu", "auto")
    with pytest.raises(InputError, match=r"4 GPUs are needed.*trainer\.devices=2"):
        _check_devices("gpu", 4)
    with pytest.raises(InputError, match="3 GPUs are needed"):
        _check_devices("cuda", [2])


def test_quiet_ends():
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    with quiet():
        warnings.warn("The 'val_dataloader' does not have many workers", stacklevel=1)
        assert logger.level == logging.WARNING
    assert logger.level == level
    with pytest.raises(UserWarning):
        warnings.warn("The 'val_dataloader' does not have many workers", stacklevel=1)


@pytest.mark.parametrize("before", [None, ":16:8"])
def test_determinism_is_the_runs_alone(monkeypatch, before):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if before is not None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", before)
    with quiet(), restored_determinism():
        make_trainer({"deterministic": True}, [], AtomicCheckpointIO())
        assert torch.are_deterministic_algorithms_enabled()
        assert "CUBLAS_WORKSPACE_CONFIG" in os.environ
    assert not torch.are_deterministic_algorithms_enabled()
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == before
