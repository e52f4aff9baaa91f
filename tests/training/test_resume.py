import json
import os
import signal

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from brainnet.errors import InputError
from brainnet.structure.network import Network
from brainnet.training.fit import fit


class Signal(Callback):
    """Sends Ctrl-C from one of Lightning's hooks."""

    def __init__(self, hook):
        setattr(self, hook, self.send)

    def send(self, *_, **__):
        os.kill(os.getpid(), signal.SIGINT)


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize("hook", ["on_train_end", "on_test_start", "on_test_batch_end"])
def test_a_run_that_was_stopped_in_its_test_is_tested(start, tmp_path, hook):
    whole = start(folder=tmp_path / "whole")
    first = start(folder=tmp_path / "parts", callbacks=[Signal(hook)])
    assert (first.state, first.signal, first.steps) == ("interrupted", signal.SIGINT, 14)
    second = start(resume=first.folder)
    assert (second.state, second.signal, second.steps) == ("finished", None, 14)
    assert second.metrics == whole.metrics
    told = summary(first.folder)
    assert (told["state"], told["steps"], told["epochs"]) == ("finished", 14, 2)
    assert told["metrics"] == whole.metrics
    with pytest.raises(InputError, match="all of its 2 epochs"):
        start(resume=first.folder)


def test_a_signal_after_the_last_batch_of_the_test_interrupts_nothing(start):
    result = start(callbacks=[Signal("on_test_end")])
    assert (result.state, result.signal) == ("finished", None)
    assert summary(result.folder)["state"] == "finished"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            Network([2, 9, 1]),
            r"another network: network\.layers\.0\.weights\.value is \(8, 2\) there and \(9, 2\)",
        ),
        (Network([2, 8, 8, 1]), r"network\.layers\.2\.weights\.value is missing"),
        (nn.Linear(2, 1), r"network\.weight is missing.*has no place in it.*more"),
    ],
)
def test_another_network_is_refused_before_anything_is_written(start, network, message):
    first = start(config={"name": "first"})
    before = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    weights = [value.clone() for value in network.parameters()]
    with pytest.raises(InputError, match=message):
        start(network, resume=first.folder, trainer={"max_epochs": 4}, config={"name": "second"})
    after = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    assert after == before
    assert all(torch.equal(*pair) for pair in zip(weights, network.parameters(), strict=True))


def test_a_folder_beside_a_run_to_resume_is_refused(start, tmp_path):
    first = start()
    with pytest.raises(InputError, match="goes on in its own folder"):
        fit(Network([2, 8, 1]), "moons", resume=first.folder, folder=tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("part", ["loops", "global_step", "state_dict", "fit_loop", "config"])
def test_a_checkpoint_without_its_parts_is_said_in_words(start, part):
    first = start()
    path = first.folder / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    {"fit_loop": checkpoint["loops"], "config": checkpoint["brainnet"]}.get(part, checkpoint).pop(
        part
    )
    torch.save(checkpoint, path)
    with pytest.raises(InputError, match=r"no checkpoint of brainnet|does not say how far"):
        start(resume=first.folder, trainer={"max_epochs": 4})
    assert summary(first.folder)["state"] == "finished"


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"max_epochs": 1}, r"gone through 2 epochs already, more than trainer\.max_epochs=1\."),
        ({"max_epochs": 4, "max_steps": 3}, r"taken 14 steps already, more than .*max_steps=3\."),
    ],
)
def test_a_run_that_came_further_than_asked_is_said_in_words(start, limit, said):
    first = start(callbacks=[Signal("on_train_end")])
    with pytest.raises(InputError, match=said):
        start(resume=first.folder, trainer=limit)
