from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.arrays import Float32, Int64, unit
from faceflow.errors import InputError
from faceflow.gallery import search
from faceflow.gallery.search import exact_search


def gallery_of(n: int, d: int, seed: int, *, close: float = 0.0) -> tuple[Int64, Float32, Float32]:
    """ids, embeddings, queries; with ``close`` all faces lie that near to one another."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((n, d))
    if close:
        matrix = rng.standard_normal(d) + close * matrix
    ids = np.cumsum(rng.integers(1, 4, n))
    return ids, unit(matrix), unit(rng.standard_normal((5, d)))


def naive(query: Float32, matrix: Float32) -> list[float]:
    """Cosine by exact summation, face by face."""

    def dot(a: Float32, b: Float32) -> float:
        return math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))

    length = math.sqrt(dot(query, query))
    return [dot(query, face) / (length * math.sqrt(dot(face, face))) for face in matrix]


@given(
    n=st.integers(1, 200),
    d=st.sampled_from([1, 2, 7, 64, 256]),
    k=st.integers(1, 220),
    seed=st.integers(0, 2**32 - 1),
    close=st.sampled_from([0.0, 1e-3, 1e-6, 1e-8]),
)
@settings(max_examples=60, deadline=None)
def test_a_batch_equals_its_loop_to_the_last_bit(
    n: int, d: int, k: int, seed: int, close: float
) -> None:
    ids, matrix, queries = gallery_of(n, d, seed, close=close)
    together = exact_search(queries, ids, matrix, k)
    for i in range(len(queries)):
        alone = exact_search(queries[i : i + 1], ids, matrix, k)
        assert np.array_equal(alone.face_ids[0], together.face_ids[i])
        assert np.array_equal(alone.cosine[0], together.cosine[i], equal_nan=True)
        # Nor on the faces it is searched among.
        best = together.face_ids[i, 0]
        row = np.flatnonzero(ids == best)
        single = exact_search(queries[i : i + 1], ids[row], matrix[row], 1)
        assert single.cosine[0, 0] == together.cosine[i, 0]


@given(
    n=st.integers(1, 120),
    d=st.sampled_from([1, 3, 64, 256]),
    k=st.integers(1, 130),
    seed=st.integers(0, 2**32 - 1),
    close=st.sampled_from([0.0, 1e-4, 1e-7]),
)
@settings(max_examples=40, deadline=None)
def test_it_finds_what_a_naive_scan_finds(n: int, d: int, k: int, seed: int, close: float) -> None:
    ids, matrix, queries = gallery_of(n, d, seed, close=close)
    found = exact_search(queries, ids, matrix, k)
    assert found.face_ids.shape == found.cosine.shape == (5, k)
    for i, query in enumerate(queries):
        scores = np.array(naive(query, matrix))
        m = min(n, k)
        assert (found.face_ids[i, m:] == -1).all()
        assert np.isnan(found.cosine[i, m:]).all()
        rows = np.searchsorted(ids, found.face_ids[i, :m])
        assert len(set(rows.tolist())) == m
        assert np.abs(found.cosine[i, :m] - scores[rows]).max() < 1e-14
        assert np.abs(found.cosine[i, :m] - np.sort(scores)[::-1][:m]).max() < 1e-14


def test_ties_go_to_the_smaller_id() -> None:
    _, matrix, queries = gallery_of(3, 64, 1)
    copies = np.repeat(matrix, 50, axis=0)
    ids = np.arange(10, 160)
    found = exact_search(queries, ids, copies, 70)
    for i in range(len(queries)):
        order = np.lexsort((found.face_ids[i], -found.cosine[i]))
        assert (order == np.arange(70)).all()
        first = found.face_ids[i, 0]
        assert found.face_ids[i, :50].tolist() == list(range(first, first + 50))


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    ids, matrix, _ = gallery_of(300, 32, 2)
    queries = unit(np.random.default_rng(3).standard_normal((40, 32)))
    whole = exact_search(queries, ids, matrix, 20)
    monkeypatch.setattr(search, "_BLOCK_SCORES", 700)
    monkeypatch.setattr(search, "_BLOCK_FACES", 3)
    pieces = exact_search(queries, ids, matrix, 20)
    assert np.array_equal(whole.face_ids, pieces.face_ids)
    assert np.array_equal(whole.cosine, pieces.cosine)


def test_the_face_itself_has_cosine_one() -> None:
    ids, matrix, _ = gallery_of(100, 256, 4)
    found = exact_search(matrix, ids, matrix, 1)
    assert (found.cosine == 1).all()
    assert (found.face_ids[:, 0] == ids).all()


def test_excluded_faces_are_not_found() -> None:
    ids, matrix, queries = gallery_of(50, 16, 5)
    everything = exact_search(queries, ids, matrix, 50)
    exclude = [
        everything.face_ids[0, :10].tolist(),
        set(),
        {-5, 10**9},
        everything.face_ids[3].tolist(),
        frozenset(everything.face_ids[4, 1:].tolist()),
    ]
    found = exact_search(queries, ids, matrix, 5, exclude)
    assert found.face_ids[0].tolist() == everything.face_ids[0, 10:15].tolist()
    assert found.cosine[0].tolist() == everything.cosine[0, 10:15].tolist()
    assert found.face_ids[1:3].tolist() == everything.face_ids[1:3, :5].tolist()
    assert (found.face_ids[3] == -1).all()
    assert np.isnan(found.cosine[3]).all()
    assert found.face_ids[4].tolist() == [everything.face_ids[4, 0], -1, -1, -1, -1]


def test_no_faces_and_no_queries() -> None:
    ids, matrix, queries = gallery_of(10, 16, 6)
    empty = exact_search(queries, ids[:0], matrix[:0], 3)
    assert (empty.face_ids == -1).all()
    assert np.isnan(empty.cosine).all()
    assert exact_search(queries, ids[:0], matrix[:0], 3, [[1]] * 5).face_ids.shape == (5, 3)
    assert exact_search(queries[:0], ids, matrix, 3).face_ids.shape == (0, 3)


def test_a_query_without_direction_is_equally_far_from_all() -> None:
    ids, matrix, _ = gallery_of(10, 16, 7)
    found = exact_search(np.zeros((1, 16), np.float32), ids, matrix, 3)
    assert found.face_ids[0].tolist() == ids[:3].tolist()
    assert (found.cosine == 0).all()


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3", None, 10**9])
def test_k_out_of_range(k: int) -> None:
    ids, matrix, queries = gallery_of(10, 16, 8)
    with pytest.raises(InputError, match="k is"):
        exact_search(queries, ids, matrix, k)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0])
def test_queries_that_are_not_unit(value: float) -> None:
    ids, matrix, queries = gallery_of(10, 16, 9)
    queries[2, 3] = value
    with pytest.raises(InputError, match="query embedding 2 has length"):
        exact_search(queries, ids, matrix, 3)


def test_exclude_needs_one_entry_per_query() -> None:
    ids, matrix, queries = gallery_of(10, 16, 10)
    with pytest.raises(InputError, match="1 entries for 5 queries"):
        exact_search(queries, ids, matrix, 3, [[1]])


def test_a_product_alone_and_among_others_selects_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """One query stays off BLAS; whichever way it is multiplied, the answer is the same bits."""
    rng = np.random.default_rng(11)
    matrix = unit(rng.standard_normal((300, 24)).astype(np.float32))
    queries = unit(matrix[:3] + np.float32(0.1) * rng.standard_normal((3, 24)).astype(np.float32))
    ids = np.arange(1, 301)
    alone = exact_search(queries[:1], ids, matrix, 7)
    together = exact_search(queries, ids, matrix, 7)
    monkeypatch.setattr(search, "_ALONE", 0)
    by_blas = exact_search(queries[:1], ids, matrix, 7)
    for other in (together, by_blas):
        assert other.face_ids[0].tolist() == alone.face_ids[0].tolist()
        assert other.cosine[0].tolist() == alone.cosine[0].tolist()
