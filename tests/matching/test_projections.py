"""What a patch adds to the embedding, kept beside the graph: equal, checked, made again."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceflow import networks
from faceflow.errors import WeightsError
from faceflow.matching import covers, projections
from faceflow.matching.projections import projection_of
from faceflow.networks import NetworkSpec
from faceflow.system import caches

SPEC = networks.spec("lightcnn-v4")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own that holds the default network."""
    model = Path("models") / SPEC.model_name
    there = caches.cache_dir() / model
    (tmp_path / model).mkdir(parents=True)
    for file in [*there.glob("*.onnx"), there / "manifest.json"]:
        (tmp_path / model / file.name).symlink_to(file)
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path))
    return tmp_path


def kept(cache: Path) -> Path:
    (file,) = cache.glob("models/*/projection-*/*")
    return file


def without_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_: str) -> None:
        pytest.fail("the graph is read again")

    monkeypatch.setattr(networks, "last_layer", read)


def test_read_again_it_is_the_last_layer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weight, _ = networks.last_layer(SPEC.name)
    expected = np.moveaxis(weight, 0, 2)
    first = projection_of(SPEC)
    without_graph(monkeypatch)
    second = projection_of(SPEC)
    for found in (first, second):
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, expected, strict=True)
    assert kept(cache).stat().st_size == 32 + expected.nbytes


@pytest.mark.parametrize("damage", ["a bit", "cut off", "too long", "empty", "of another key"])
def test_a_damaged_file_is_made_again(
    cache: Path, damage: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = projection_of(SPEC)
    whole = kept(cache).read_bytes()
    content = bytearray(whole)
    if damage == "a bit":
        content[len(content) // 2] ^= 1
    elif damage == "of another key":
        content = bytearray(projections._sum("other", whole[32:]) + whole[32:])
    else:
        content = {"cut off": content[:-4], "too long": content + b"\0"}.get(damage, content[:0])
    kept(cache).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        found = projection_of(SPEC)
    assert "is damaged and is made again" in caplog.text
    np.testing.assert_array_equal(found, expected)
    assert kept(cache).read_bytes() == whole
    without_graph(monkeypatch)
    projection_of(SPEC)


def test_what_other_code_has_made_is_not_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    projection_of(SPEC)
    old = kept(cache)
    monkeypatch.setattr(caches, "source_digest", lambda module: f"another {module.__name__}")
    projection_of(SPEC)
    assert kept(cache).name != old.name, "and what is old is swept"


def test_a_graph_that_was_replaced_has_another_key(cache: Path) -> None:
    """Whatever is kept: the manifest must be that of the weights that the network names."""
    projection_of(SPEC)
    manifest = cache / "models" / SPEC.model_name / "manifest.json"
    text = manifest.read_text()
    manifest.unlink()
    (sum_,) = networks.model(SPEC).graph_sha256.values()
    manifest.write_text(text.replace(sum_, "0" * 64))
    with pytest.raises(WeightsError, match="not ready") as caught:
        projection_of(SPEC)
    assert "replaced" in str(caught.value)
    manifest.unlink()
    with pytest.raises(WeightsError, match="faceflow models pull"):
        projection_of(SPEC)


def test_a_cache_that_cannot_be_written_is_no_error(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caches, "atomic_write", full)
    assert projection_of(SPEC).shape == (64, 128, 256)
    assert not list(cache.glob("models/*/projection-*/*"))


def test_a_network_that_is_not_linear_is_kept_as_such(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    middle: NetworkSpec = replace(SPEC, patch_output="middle")
    monkeypatch.setattr(networks, "spec", lambda _: middle)
    assert projection_of(middle).shape == (64, 128, 0)
    without_graph(monkeypatch)
    assert projection_of(middle).shape == (64, 128, 0)


def test_the_patch_model_is_the_same_from_a_kept_file(cache: Path) -> None:
    first, second = (covers.shipped(SPEC) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.projection is not second.projection
    assert first.digest == second.digest
    for name in ("map", "map_scale", "cover", "cover_scale", "bias", "usual"):
        ours, theirs = getattr(first.rounded, name), getattr(second.rounded, name)
        np.testing.assert_array_equal(ours, theirs, strict=True)
