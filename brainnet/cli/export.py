"""`brainnet export RUN`: a trained network taken out, as a file that needs nothing of brainnet."""

from argparse import Namespace
from pathlib import Path
from typing import cast

from brainnet.cli.exit_codes import print_message
from brainnet.cli.options import load_named_run
from brainnet.inference.export import ExportFormat, export


def run_export(arguments: Namespace) -> int:
    """Export as the words ask for; returns the exit code.

    Raises:
        InputError: when there is no such run, or it cannot be exported so; then nothing is written.
    """
    trained = load_named_run(arguments.run, arguments.overrides, "export")
    file = export(
        trained,
        cast(ExportFormat, arguments.to),
        Path(arguments.output) if arguments.output else None,
        overwrite=arguments.overwrite,
    )
    print_message(f"exported to {file} ({file.stat().st_size:,} bytes)")
    return 0
