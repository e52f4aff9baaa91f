"""`brainnet export RUN`: a trained network taken out, as a file that needs nothing of brainnet."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from brainnet.cli.flags import read
from brainnet.cli.named_run import trained_of
from brainnet.cli.outcome import tell
from brainnet.errors import InputError
from brainnet.exporting.export import FORMS, Form, export

OPTIONS = {"--to": "|".join(FORMS), "--output": "FILE"}
SWITCHES = ("--overwrite",)
NEEDS = "Usage: brainnet export RUN --to onnx|torch|json, as in brainnet export latest --to onnx"


def run(words: Sequence[str]) -> int:
    """Export as the words ask for; returns the exit code.

    Raises:
        InputError: when there is no such run, or it cannot be exported so; then nothing is written.
    """
    typed = read("export", words, OPTIONS, SWITCHES)
    if "--to" not in typed.values:
        raise InputError(f"export needs to know what to write.\n{NEEDS}")
    trained = trained_of("export", typed, NEEDS)
    file = export(
        trained,
        cast(Form, typed.values["--to"]),
        Path(typed.values["--output"]) if "--output" in typed.values else None,
        overwrite="--overwrite" in typed.switches,
    )
    tell(f"exported to {file} ({file.stat().st_size:,} bytes)")
    return 0
