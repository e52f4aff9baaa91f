"""The command `brainnet`."""

import importlib
import sys
from collections.abc import Sequence

from brainnet.cli.exit_codes import report_errors
from brainnet.cli.options import parse_arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of the given words, or of this process; return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    path = [*sys.path]
    try:
        return report_errors(lambda: _run_command(words, debug=debug), debug=debug)
    finally:
        sys.path[:] = path  # a user's class may have been imported from the current directory


def _run_command(words: Sequence[str], *, debug: bool) -> int:
    arguments = parse_arguments(["--help"] if not words or words[0] == "help" else words)
    if arguments.command is None:  # --version
        from brainnet import __version__

        sys.stdout.write(f"brainnet {__version__}\n")
        return 0
    arguments.debug = debug
    # A command is imported when it runs: --help and explain must not wait for torch.
    module = importlib.import_module(f"brainnet.cli.{arguments.command}")
    code: int = getattr(module, f"run_{arguments.command}")(arguments)
    return code
