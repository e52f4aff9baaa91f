import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from brainnet.data.datamodule import DataModule
from brainnet.inference.evaluate import evaluate
from brainnet.learning.loss import CrossEntropy
from brainnet.structure.network import Network

ROOT = Path(__file__).parents[2]

SCRIPT = """
import sys
import torch
from brainnet.structure.network import Network
from brainnet.training.fit import fit

if __name__ == "__main__":
    network = Network([64, 16, 10], generator=torch.Generator().manual_seed(0))
    result = fit(
        network,
        "digits",
        folder=sys.argv[1],
        epochs=2,
        trainer={"accelerator": "cpu", "devices": 2, "strategy": "ddp"},
    )
    print("weights", sum(value.sum().item() for value in network.parameters()), result.folder)
    print("tested", int(result.confusion.sum()))
"""


@pytest.mark.slow
def test_two_processes_share_the_work_and_one_writes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "run"],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("weights")]
    assert told[0][0] == told[1][0]
    # An odd number of test rows, each counted once, and as one process counts them.
    tested = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("tested")]
    data = DataModule("digits")
    assert tested == ["359", "359"]
    assert len(data.take("test")[1]) == 359
    alone = evaluate(tmp_path / "run", Network([64, 16, 10]), data, CrossEntropy())
    assert {folder for _, folder in told} == {"None", str(tmp_path / "run")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "script.py"]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    # 1,259 training rows, in 32s, over two processes.
    assert (summary["state"], summary["steps"]) == ("finished", 40)
    assert {tag: summary["metrics"][tag] for tag in alone.metrics} == pytest.approx(alone.metrics)
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss/validation")] == [0, 20, 40]
    assert len(list((tmp_path / "run").glob("events*"))) == 1
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert not any(key.startswith("module.") for key in kept["state_dict"])
