"""`brainnet kernels`: build the C++ kernels for this machine, show their status, or remove them."""

import sys
from argparse import Namespace

from brainnet.errors import InputError
from brainnet.kernels import build as kernel_build
from brainnet.kernels import dispatch


def run_kernels(arguments: Namespace) -> int:
    """Run one action; returns the exit code."""
    if arguments.force and arguments.action != "build":
        raise InputError(f"brainnet kernels {arguments.action} takes no --force. Leave it out.")
    cache = kernel_build.find_cache_folder()
    if arguments.action == "build":
        text = _build_kernels(force=arguments.force)
    elif arguments.action == "status":
        # Which path computes on each device, why, and where the built kernels are.
        lines = [
            f"{device:<8}{status['path']:<12}{status['reason']}\n"
            for device, status in dispatch.read_status().items()
        ]
        text = "".join([*lines, f"{'cache':<8}{cache}\n"])
    else:
        removed = [f"removed {folder}\n" for folder in kernel_build.clean_cache()]
        text = "".join(removed) or f"nothing was built in {cache}\n"
    sys.stdout.write(text)
    return 0


def _build_kernels(*, force: bool) -> str:
    """Compile the kernels and check that they can be used."""
    built = kernel_build.build_library(force=force, on_start=_report_start)
    # The dispatcher remembers that there was no library.
    dispatch.reset_dispatch()
    status = dispatch.read_status()["cpu"]
    if status["path"] != "native" and dispatch.read_choice() != "reference":
        raise InputError(f"the kernels were built but cannot be used here: {status['reason']}.")
    how = "already built" if built.seconds is None else f"built in {built.seconds:.0f} s"
    return f"{how}: {built.library}\ncompiler: {built.compiler}\n"


def _report_start() -> None:
    # Half a minute without output would look like a hang.
    sys.stderr.write("brainnet: compiling the kernels; this takes about half a minute ...\n")
