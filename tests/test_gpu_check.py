"""The GPU check runs, small and on the CPU, so that it works where there is a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu" / "check.py"


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "TRITON" not in name}
    return subprocess.run(
        [sys.executable, str(CHECK), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_runs_on_the_cpu() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
    done = ran("--small")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    for start in ("f32, PyTorch", "int8, PyTorch"):
        (line,) = (one for one in lines if one.startswith(start))
        assert line.endswith("4 of 4")
    assert sum("the same answer to the last bit" in line for line in lines) == 2
    assert any("published computation in PyTorch" in line for line in lines)
    assert any("off the CPU by" in line for line in lines)
    assert "0 parts failed" in lines[-1]


def test_a_device_that_is_not_there() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    done = ran()
    assert done.returncode == 8
    assert "The device cuda cannot be used" in done.stderr
