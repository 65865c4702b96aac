"""Stage 1 on a device finds what the CPU finds, to the last bit; PyTorch's CPU stands in for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.arrays import unit
from faceflow.errors import InputError
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery, device_index
from faceflow.gallery.search import exact_search

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
torch.set_num_threads(1)

DeviceEmbeddings = device_index.DeviceEmbeddings


def same(queries: Any, ids: Any, matrix: Any, k: int, exclude: Any = None) -> None:
    there = DeviceEmbeddings.of(matrix, "cpu")
    expected = exact_search(queries, ids, matrix, k, exclude)
    found = exact_search(queries, ids, matrix, k, exclude, on_device=there)
    np.testing.assert_array_equal(found.face_ids, expected.face_ids)
    np.testing.assert_array_equal(found.cosine, expected.cosine)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 200),
    d=st.sampled_from([1, 2, 7, 64, 256]),
    k=st.integers(1, 220),
    seed=st.integers(0, 2**32 - 1),
    close=st.sampled_from([0.0, 1e-3, 1e-6, 1e-8]),
    excluding=st.booleans(),
)
def test_it_is_the_cpus_answer(
    n: int, d: int, k: int, seed: int, close: float, excluding: bool
) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((n, d))
    if close:  # near ties, which rounding could swap
        matrix = rng.standard_normal(d) + close * matrix
    ids = np.cumsum(rng.integers(1, 4, n))
    queries = unit(rng.standard_normal((5, d)))
    queries[0] = 0
    exclude = [[*rng.choice(ids, min(n, i)).tolist(), -1, 2**70] for i in range(5)]
    same(queries, ids, unit(matrix), k, exclude if excluding else None)


def test_blocks_do_not_show_and_no_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_index, "_BLOCK_SCORES", 60)
    rng = np.random.default_rng(0)
    matrix, queries = unit(rng.standard_normal((20, 8))), unit(rng.standard_normal((10, 8)))
    exclude = [[i] for i in range(10)]
    same(queries, np.arange(20), matrix, 4, exclude)
    same(queries[:0], np.arange(20), matrix, 4)
    same(queries, np.arange(20), np.repeat(matrix[:1], 20, axis=0), 4)


def test_what_the_product_loses_the_bound_gives_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products off by as much as they may be: the answer stays."""
    rng = np.random.default_rng(1)
    matrix = unit(rng.standard_normal(64) + 1e-6 * rng.standard_normal((300, 64)))
    queries = unit(rng.standard_normal((3, 64)))
    real = torch.Tensor.__matmul__

    def off(a: Any, b: Any) -> Any:
        product = real(a, b)
        noise = torch.from_numpy(rng.choice([-1e-6, 1e-6], product.shape).astype(np.float32))
        return product + noise

    monkeypatch.setattr(torch.Tensor, "__matmul__", off)
    same(queries, np.arange(300), matrix, 5)


def test_fewer_digits_are_refused() -> None:
    matrix = unit(np.eye(3, dtype=np.float32))
    there = DeviceEmbeddings.of(matrix, "cpu")
    torch.set_float32_matmul_precision("medium")
    try:
        with pytest.raises(InputError, match="fewer digits"):
            exact_search(matrix, np.arange(3), matrix, 1, on_device=there)
    finally:
        torch.set_float32_matmul_precision("highest")


def test_what_does_not_fit_is_searched_by_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "faceflow")
    monkeypatch.setattr(device_index.pytorch, "require", lambda _: torch)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 1000))
    assert DeviceEmbeddings.of(np.eye(30, dtype=np.float32), "cuda") is None
    assert "30 embeddings do not fit into the memory of cuda" in caplog.text


def test_a_gallery_searches_on_its_device_and_follows_changes(
    tmp_path: Path, random_features: Callable[..., FaceFeatures]
) -> None:
    features = random_features(40, digest=features_digest("0" * 64))

    def entries(start: int, end: int) -> Any:
        return (
            Enrolment(f"person {n % 7}", f"{n}.jpg", f"{n:064x}", features[n])
            for n in range(start, end)
        )

    made = {"network_name": "x", "digest": "0" * 64, "embedding_size": 256}
    place = tmp_path / "people.faceflow"
    with (
        Gallery.create(place, **made, grid=(8, 8), channels=128, device="cpu") as there,
        Gallery.open(place, readonly=True) as here,
    ):
        for change in (
            lambda: there.enroll(entries(0, 30)),
            lambda: there.enroll(entries(30, 40)),
            lambda: there.remove_person("person 3"),
        ):
            change()
            found, expected = there.search(features[:5], 9), here.search(features[:5], 9)
            np.testing.assert_array_equal(found.face_ids, expected.face_ids)
            np.testing.assert_array_equal(found.cosine, expected.cosine)
            known = there._index._newest
            assert known.on_device is not None
            assert len(known.on_device.matrix) == len(known.ids) == len(there)
            assert here._index._newest.on_device is None
