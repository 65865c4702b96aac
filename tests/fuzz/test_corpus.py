"""Every kept input of every fuzz target, and a few hundred mutations of them, as ordinary tests."""

from __future__ import annotations

import importlib.util
import random
import time
from pathlib import Path
from typing import Any

import pytest

# By its place, because tests are no package.
_SPEC = importlib.util.spec_from_file_location("fuzz_run", Path(__file__).with_name("run.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
run: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(run)

INPUTS = [(name, path) for name in run.targets() for path in run.corpus(name)]


@pytest.mark.parametrize(("name", "path"), INPUTS, ids=[f"{n}/{p.name}" for n, p in INPUTS])
def test_kept_inputs_break_nothing(name: str, path: Path) -> None:
    began = time.process_time()
    run.load(name).one(path.read_bytes())
    assert time.process_time() - began < 10


@pytest.mark.parametrize("name", run.targets())
def test_mutated_inputs_break_nothing(name: str) -> None:
    """200, or as many as 5 seconds allow, the same every time."""
    one = run.load(name).one
    seeds = [path.read_bytes() for path in run.corpus(name)]
    source = random.Random(1)
    end = time.monotonic() + 5
    for _ in range(200):
        one(run.mutate(source.choice(seeds), seeds, source))
        if time.monotonic() > end:
            break


@pytest.mark.parametrize("name", run.targets())
def test_corpora_are_small(name: str) -> None:
    assert sum(path.stat().st_size for path in run.corpus(name)) < 500_000
