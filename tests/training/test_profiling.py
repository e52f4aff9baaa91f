"""Where the time of a run went."""

import pytest
from lightning.pytorch.profilers import AdvancedProfiler, SimpleProfiler

from brainnet.training.trainer import build_profiler


@pytest.mark.parametrize(
    ("kind", "wanted"), [("simple", SimpleProfiler), ("advanced", AdvancedProfiler)]
)
def test_writes_its_table_into_the_folder(kind, wanted, tmp_path):
    profiler = build_profiler(kind, tmp_path)
    assert type(profiler) is wanted
    profiler.setup("fit")
    with profiler.profile("thinking"):
        pass
    profiler.describe()
    profiler.teardown("fit")
    assert "thinking" in (tmp_path / "fit-profile.txt").read_text()
