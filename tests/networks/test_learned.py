"""What was learned of a network: kept whole, found by digest alone, never trusted blindly."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceflow import networks
from faceflow.errors import WeightsError
from faceflow.networks import MatchDefaults, NetworkSpec, learned
from faceflow.networks.learned import LearnedCovers


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetworkSpec:
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path))
    return networks.spec("lightcnn-v4")


def make(spec: NetworkSpec, seed: int = 0) -> LearnedCovers:
    rng = np.random.default_rng(seed)
    r, c = int(np.prod(spec.grid)), spec.channels

    def numbers(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    defaults = MatchDefaults(0.3, "uncovered", 50, "projected", 0.5)
    return LearnedCovers(numbers(r, c), numbers(r), numbers(r, c), defaults, {"photos": 7})


def test_comes_back_as_it_was(spec: NetworkSpec) -> None:
    assert learned.recall(spec) is None
    assert learned.stamp(spec) is None
    known = make(spec)
    path = learned.keep(spec, known)
    found = learned.recall(spec)
    assert found is not None
    for name in ("weight", "bias", "mean"):
        np.testing.assert_array_equal(getattr(found, name), getattr(known, name))
    assert (found.defaults, found.report) == (known.defaults, {"photos": 7})
    assert networks.defaults_for(spec.name) == known.defaults
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    learned.keep(spec, replace(make(spec, 1), defaults=None))
    assert networks.defaults_for(spec.name) == spec.defaults
    assert learned.forget(spec)
    assert not learned.forget(spec)
    assert learned.recall(spec) is None


def test_other_weights_under_the_name_do_not_find_it(spec: NetworkSpec) -> None:
    path = learned.keep(spec, make(spec))
    other = replace(spec, mean=tuple(value + 1 for value in spec.mean))
    assert learned.recall(other) is None
    # Nor when the file is put where theirs would be.
    path.rename(learned._path(other))
    with pytest.raises(WeightsError, match="other weights"):
        learned.recall(other)


def test_every_damaged_byte_of_the_numbers_is_noticed(spec: NetworkSpec) -> None:
    path = learned.keep(spec, make(spec))
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for at in (0, 9, start + 3, len(whole) - 2, start + (len(whole) - start) // 2):
        broken = bytearray(whole)
        broken[at] ^= 0x5A
        path.write_bytes(bytes(broken) + b"")
        learned._read.cache_clear()
        with pytest.raises(WeightsError, match="covers forget --network lightcnn-v4"):
            learned.recall(spec)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", pickle.dumps({"weight": 1}), b"\xff" * 64])
def test_what_is_no_such_file_is_refused(spec: NetworkSpec, content: bytes) -> None:
    path = learned.keep(spec, make(spec))
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read"):
        learned.recall(spec)


def test_numbers_of_another_size_or_none_are_refused(spec: NetworkSpec) -> None:
    known = make(spec)
    for wrong in (
        replace(known, bias=known.bias[:-1].copy()),
        replace(known, weight=known.weight.astype(np.float64)),
        replace(known, mean=np.full_like(known.mean, np.nan)),
    ):
        learned.keep(spec, wrong)
        with pytest.raises(WeightsError, match="finite float32"):
            learned.recall(spec)


def test_a_cache_that_cannot_be_written_is_told(
    spec: NetworkSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match="FACEFLOW_CACHE"):
        learned.keep(spec, make(spec))
