"""Profiling: where the time of a run went, as a table in its folder."""

from pathlib import Path

from lightning.pytorch.profilers import AdvancedProfiler, Profiler, SimpleProfiler

PROFILERS: dict[str, type[SimpleProfiler] | type[AdvancedProfiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
}


def profiler_for(kind: str, folder: Path) -> Profiler:
    """Return Lightning's profiler of this kind, writing into the folder when the run ends.

    By itself it tells its table to Lightning's log, which a run keeps quiet.

    Args:
        kind: "simple", by hook, or "advanced", by Python function.
        folder: of the run; `fit-profile.txt` and `test-profile.txt` are written there.
    """
    return PROFILERS[kind](dirpath=folder, filename="profile")
