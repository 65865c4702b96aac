"""The one command for everything: what it promises is there, and a changed kernel is seen."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def dev() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "dev.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_promised_task_is_there(dev: ModuleType) -> None:
    promised = (dev.__doc__ or "").splitlines()[0].split("dev.py ")[1].rstrip(".").split(" | ")
    assert sorted(promised) == sorted(dev.TASKS)


def test_an_unknown_task_gives_help() -> None:
    done = call("fly")
    assert done.returncode == 1
    assert "there is no task 'fly'" in done.stderr
    assert "sanitize" in done.stderr
    assert call().returncode == 2


def test_bench_lists_every_benchmark(dev: ModuleType) -> None:
    done = call("bench")
    assert done.returncode == 0
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert listed == {path.stem for path in dev.BENCHMARKS.glob("*.py")} - {"measuring"}
    assert call("bench", "no-such").returncode == 2


def test_a_changed_kernel_is_another_state(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {path.relative_to(ROOT).as_posix() for path in dev.kernel_sources()}
    assert {"native/CMakeLists.txt", "native/src/gemm.hpp", "native/src/module.cpp"} <= names
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    source = tmp_path / "kernel.cpp"
    source.write_text("int a;")
    first = dev.digest([source])
    assert dev.digest([source]) == first
    source.write_text("int b;")
    assert dev.digest([source]) != first
    moved = source.rename(tmp_path / "other.cpp")
    assert dev.digest([moved]) != first


def test_what_fast_leaves_out_exists(dev: ModuleType) -> None:
    assert [path for path in dev.SLOW if not (ROOT / path).exists()] == []
    assert all(path in call("check", "--help").stdout for path in ("tests/training", "docs"))
