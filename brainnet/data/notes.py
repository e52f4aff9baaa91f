"""Notes: what somebody should know of their data, though nothing is wrong with it."""

import logging

log = logging.getLogger("brainnet")


def note(message: str) -> None:
    """Tell it as a warning of the log, which without any settings goes to stderr as it is."""
    log.warning("brainnet: note: %s", message)
