import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from brainnet.training.signals import WATCHED, Interrupted, SignalHandler

ROOT = Path(__file__).parents[2]

STUCK = """
import sys, time
from pathlib import Path
from lightning.pytorch import Callback
from brainnet.structure.network import Network
from brainnet.training.signals import Interruption
from brainnet.training.fit import fit

class Stuck(Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 3:
            (interruption,) = (each for each in trainer.callbacks if type(each) is Interruption)
            print("stuck", flush=True)
            while interruption.signal is None:
                time.sleep(0.01)
            print("heard", flush=True)
            time.sleep(250)

fit(Network([4, 3]), "iris", folder=sys.argv[1], callbacks=[Stuck()], observe="off")
"""


class OneProcess:
    world_size = 1


def test_the_first_signal_waits_for_the_end_of_the_batch():
    with SignalHandler() as interruption:
        interruption.on_train_batch_end(OneProcess())
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.signal == signal.SIGINT
        with pytest.raises(Interrupted):
            interruption.on_train_batch_end(OneProcess())


def test_handlers_are_handed_back_also_after_an_error():
    before = [signal.getsignal(number) for number in WATCHED]
    with suppress(ZeroDivisionError), SignalHandler():
        assert [signal.getsignal(number) for number in WATCHED] != before
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in WATCHED] == before


def test_outside_the_main_thread_nothing_is_touched():
    found = []

    def enter():
        with SignalHandler():
            found.extend(signal.getsignal(number) for number in WATCHED)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(number) for number in WATCHED]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals between processes")
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_the_second_signal_leaves_at_once(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    with process.stdout as lines:
        try:
            # Python remembers that a signal came, not how often: the second must not catch up.
            for heard in ("stuck", "heard"):
                assert any(heard in line for line in lines)
                process.send_signal(number)
            assert process.wait(timeout=100) == 128 + number
        finally:
            process.kill()
    told = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (told["state"], told["signal"]) == ("interrupted", signal.Signals(number).name)
