"""`brainnet export RUN`: a trained network taken out, as a file that needs nothing of brainnet."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from brainnet.cli.exit_codes import print_message
from brainnet.cli.options import load_named_run, parse_options
from brainnet.errors import InputError
from brainnet.inference.export import EXPORT_FORMATS, ExportFormat, export

OPTIONS = {"--to": "|".join(EXPORT_FORMATS), "--output": "FILE"}

SWITCHES = ("--overwrite",)

NEEDS = "Usage: brainnet export RUN --to onnx|torch|json, as in brainnet export latest --to onnx"


def run(words: Sequence[str]) -> int:
    """Export as the words ask for; returns the exit code.

    Raises:
        InputError: when there is no such run, or it cannot be exported so; then nothing is written.
    """
    typed = parse_options("export", words, OPTIONS, SWITCHES)
    if "--to" not in typed.values:
        raise InputError(f"export needs to know what to write.\n{NEEDS}")
    trained = load_named_run("export", typed, NEEDS)
    file = export(
        trained,
        cast(ExportFormat, typed.values["--to"]),
        Path(typed.values["--output"]) if "--output" in typed.values else None,
        overwrite="--overwrite" in typed.switches,
    )
    print_message(f"exported to {file} ({file.stat().st_size:,} bytes)")
    return 0
