"""Machine: how much memory there is to hold rows and networks in."""

import os


def machine_memory() -> int | None:
    """All memory of this machine in bytes; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no such question
        return None
