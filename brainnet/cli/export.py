"""`brainnet export RUN`: write a trained network as a file that needs no brainnet."""

from argparse import Namespace
from pathlib import Path

from brainnet.cli.exit_codes import print_message
from brainnet.cli.options import load_named_run
from brainnet.inference.export import export


def run_export(arguments: Namespace) -> int:
    """Export a run; return the exit code."""
    trained, _ = load_named_run(arguments.run, arguments.overrides, "export")
    output = None if arguments.output is None else Path(arguments.output)
    file = export(trained, arguments.to, output, overwrite=arguments.overwrite)
    print_message(f"exported to {file} ({file.stat().st_size:,} bytes)")
    return 0
