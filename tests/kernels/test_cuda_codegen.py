"""Machine code of the CUDA kernels, compiled by Triton on machines without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/benchmarks/cuda_codegen.py"
ROWS = ["rows", "statistics"]
RUNS = [
    ("90", "float32", ROWS, 16),
    pytest.param("90", "float32", ["odd", "channels"], 12, marks=pytest.mark.slow),
    pytest.param("90", "bfloat16,float16", [""], 28, marks=pytest.mark.slow),
    pytest.param("80", "float32,bfloat16", [""], 28, marks=pytest.mark.slow),
    pytest.param("100", "float32,bfloat16", [""], 28, marks=pytest.mark.slow),
]


@pytest.mark.skipif(sys.platform != "linux", reason="Triton exists for Linux only")
@pytest.mark.parametrize(("target", "dtypes", "names", "count"), RUNS)
def test_code_of_every_variant(target: str, dtypes: str, names: list[str], count: int) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run(
        [
            sys.executable,
            SCRIPT,
            "--json",
            "--targets",
            target,
            "--dtypes",
            dtypes,
            "--only",
            *names,
        ],
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert result.returncode == 0, result.stderr[-2000:]
    variants = json.loads(result.stdout)
    assert len(variants) == count * len(dtypes.split(","))
    # The statistics in float32 pairs run on GPUs such as sm_89.
    pairs = {variant["target"] for variant in variants if "pairs" in variant["variant"]}
    others = {variant["target"] for variant in variants if "pairs" not in variant["variant"]}
    assert others == {f"sm_{target}"}
    assert pairs <= {"sm_89"}
    for variant in variants:
        assert variant["narrow_accesses"] == 0, variant  # loads and stores have 128 bits
        assert variant["spills"] == 0, variant
        assert variant["loop_calls"] == 0, variant  # such as 64-bit divisions
        # The limits are those of an H200, which runs code for sm_90.
        assert variant["limit"] == "bandwidth" or target != "90", variant
        assert variant["bytes_per_element"] >= 2, variant
