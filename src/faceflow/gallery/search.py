"""Exact stage-1 search: the k faces of largest cosine, by brute force.

Scores must not depend on the batch, yet a matrix product rounds differently for every batch
size. So the float32 product only preselects: with a rigorous bound on its error it keeps
every face that can be among the best k, and those few are scored again in float64, summed in
one fixed order. The result is the same to the last bit for one query or a thousand, on any
machine.

In large galleries a scan in int8 (:mod:`.rounded`) selects first, by a bound just as rigorous,
and the float32 product is taken of the faces that it leaves: same faces, same scores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from faceflow.arrays import Bools, Float32, Float64, Int64
from faceflow.errors import GalleryError, InputError
from faceflow.gallery import rounded
from faceflow.gallery.records import Shortlist
from faceflow.gallery.rounded import RoundedEmbeddings
from faceflow.gallery.store import Revision, Store
from faceflow.score import embedding_cosine

UNIT_TOLERANCE = 1e-5
"""How far from 1 an embedding's length may be; the error bound below counts on it."""

SCAN_FROM = 30_000
"""Faces from which a gallery keeps int8 codes too: measured by benchmarks/speed/stage1.py."""

# Similarities held at a time: 16 MB, and as much again for selecting.
_BLOCK_SCORES = 4_000_000
_BLOCK_QUERIES = 128
# A shortlist longer than the gallery is padded, within reason.
_LONGEST_PADDED = 100_000
# Faces scored again at a time.
_BLOCK_FACES = 4096


class EmbeddingIndex:
    """The embeddings of all faces in memory, (n, D) float32, ids ascending.

    Not thread-safe by itself; the arrays it hands out stay valid and unchanged afterwards.
    """

    def __init__(self, embedding_size: int) -> None:
        self._ids = np.empty(0, dtype=np.int64)
        self._matrix = np.empty((0, embedding_size), dtype=np.float32)
        self._used = 0
        self._revision = Revision(0, 0)
        self._codes: RoundedEmbeddings | None = None

    def refresh(self, store: Store) -> None:
        """Fetch what was added since the last call, drop what was removed.

        Call it inside ``store.snapshot()``, so that all it reads is of one state.
        """
        revision = store.revision()
        if revision == self._revision:
            return
        if revision.removals != self._revision.removals and self._used:
            keep = np.isin(self.ids, store.face_ids(), assume_unique=True)
            self._ids, self._matrix = self.ids[keep], self.matrix[keep]
            self._used = len(self._ids)
            self._codes = None
        faces = store.count()
        if self._used == 0:
            self._reserve(faces)
        for ids, block in store.embeddings(int(self.ids[-1]) if self._used else 0):
            self._append(ids, block)
        if self._used != faces:
            raise GalleryError(
                f"{store.path} is damaged: {self._used} of {faces} faces can be read",
                todo="restore a copy, or import a former export",
            )
        if faces >= SCAN_FROM and rounded.available(self._matrix.shape[1]):
            known = self._codes
            self._codes = (
                known.extended(self.matrix) if known else RoundedEmbeddings.of(self.matrix)
            )
        # Only now: after an error the next search must try, and fail, again.
        self._revision = revision

    @property
    def ids(self) -> Int64:
        """(n,) face ids."""
        return self._ids[: self._used]

    @property
    def matrix(self) -> Float32:
        """(n, D) embeddings."""
        return self._matrix[: self._used]

    @property
    def codes(self) -> RoundedEmbeddings | None:
        """The same embeddings in int8 where there are many; a quarter more memory."""
        return self._codes

    def _append(self, ids: Int64, block: Float32) -> None:
        end = self._used + len(ids)
        if end > len(self._ids):
            # An eighth more than needed: few copies while growing, little memory unused.
            self._reserve(end + end // 8)
        self._ids[self._used : end] = ids
        self._matrix[self._used : end] = block
        self._used = end

    def _reserve(self, rows: int) -> None:
        ids = np.empty(rows, dtype=np.int64)
        matrix = np.empty((rows, self._matrix.shape[1]), dtype=np.float32)
        ids[: self._used], matrix[: self._used] = self.ids, self.matrix
        self._ids, self._matrix = ids, matrix


def exact_search(
    queries: Float32,
    ids: Int64,
    matrix: Float32,
    k: int,
    exclude: Sequence[Collection[int]] | None = None,
    *,
    codes: RoundedEmbeddings | None = None,
) -> Shortlist:
    """The k faces of largest cosine for each query; ties go to the smaller id.

    Args:
        queries: (Q, D) float32, rows of length 1 or 0 (cosine 0 with everything).
        ids: (n,) face ids, ascending.
        matrix: (n, D) float32, rows of length 1.
        k: at least 1, and at most 100,000 or n, whichever is more.
        exclude: for each query the ids that must not be found; unknown ids are ignored.
        codes: ``matrix`` in int8, to scan that first; the answer is the same to the last bit.

    Raises:
        InputError: k is out of range, a value is NaN or infinite, a query is not of unit length,
            or ``exclude`` has not one entry per query.
    """
    total, n = len(queries), len(ids)
    _check(queries, k, n, exclude)
    found = np.full((total, k), -1, dtype=np.int64)
    cosine = np.full((total, k), np.nan)
    if n == 0:
        return Shortlist(found, cosine)
    bound = _error_bound(matrix.shape[1])
    most = k + max(map(len, exclude or [()]), default=0)
    if codes is not None and 2 * most < n:
        # The best k of those not excluded are among the best k + excluded of all.
        selected = _scanned(queries, ids, matrix, most, k, bound, exclude, codes)
    else:
        selected = _multiplied(queries, ids, matrix, k, bound, exclude)
    for at, rows in enumerate(selected):
        scores = _cosine(queries[at], matrix, rows)
        best = np.lexsort((ids[rows], -scores))[:k]
        found[at, : len(best)] = ids[rows[best]]
        cosine[at, : len(best)] = scores[best]
    return Shortlist(found, cosine)


def _multiplied(
    queries: Float32,
    ids: Int64,
    matrix: Float32,
    k: int,
    bound: float,
    exclude: Sequence[Collection[int]] | None,
) -> Iterator[Int64]:
    """For each query the rows of its candidates, by a float32 product with all faces."""
    step = min(_BLOCK_QUERIES, max(1, _BLOCK_SCORES // len(ids)))
    for start in range(0, len(queries), step):
        rough = queries[start : start + step] @ matrix.T
        if exclude is not None:
            _mask(rough, ids, exclude[start : start + step])
        for wanted in _candidates(rough, k, bound):
            yield np.flatnonzero(wanted)


def _scanned(
    queries: Float32,
    ids: Int64,
    matrix: Float32,
    most: int,
    k: int,
    bound: float,
    exclude: Sequence[Collection[int]] | None,
    codes: RoundedEmbeddings,
) -> Iterator[Int64]:
    """The same by a scan in int8 for ``most`` faces, then the product with those left."""
    for start in range(0, len(queries), _BLOCK_QUERIES):
        block = queries[start : start + _BLOCK_QUERIES]
        for offset, rows in enumerate(codes.survivors(block, most, 2.1 * UNIT_TOLERANCE)):
            query = block[offset : offset + 1]
            # All of them: as many near ties as faces. Taking rows would copy the matrix.
            left = matrix if len(rows) == len(ids) else matrix[rows]
            rough = query @ left.T
            if exclude is not None:
                _mask(rough, ids[rows], exclude[start + offset : start + offset + 1])
            yield rows[_candidates(rough, k, bound)[0]]


def _check(queries: Float32, k: Any, n: int, exclude: Sequence[Collection[int]] | None) -> None:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InputError(f"k is {k!r}", why="the shortlist must hold at least 1 face")
    if k > max(n, _LONGEST_PADDED):
        raise InputError(f"k is {k}", why=f"the gallery has {n} faces")
    if exclude is not None and len(exclude) != len(queries):
        raise InputError(
            f"exclude has {len(exclude)} entries for {len(queries)} queries",
            todo="give one collection of face ids per query",
        )
    require_unit("query embedding", queries, zero_allowed=True)


def require_unit(name: str, vectors: Float32, *, zero_allowed: bool = False) -> None:
    """Raise InputError unless every row has length 1 (or 0, where that is allowed)."""
    length = np.linalg.norm(vectors.astype(np.float64), axis=-1)
    good = np.abs(length - 1) <= UNIT_TOLERANCE
    if zero_allowed:
        good |= length == 0
    # Written so that NaN and infinity count as bad.
    if not good.all():
        first = int(np.flatnonzero(~good)[0])
        raise InputError(
            f"{name} {first} has length {length[first]:.6g}, not 1",
            todo="build features with FaceFeatures.from_maps, which makes them unit",
        )


def _error_bound(size: int) -> float:
    """Largest difference between a float32 dot product here and the true cosine.

    A sum of D rounded products, in any order, fused or not, errs by at most
    ``gamma = D u / (1 - D u)`` times the product of the lengths, u = 2**-24 (Higham, Accuracy
    and Stability of Numerical Algorithms, 3.1). The second term is for lengths not exactly 1.
    """
    gamma = size * 2.0**-24 / (1 - size * 2.0**-24)
    return gamma * (1 + UNIT_TOLERANCE) ** 2 + 2.1 * UNIT_TOLERANCE


def _mask(rough: Float32, ids: Int64, exclude: Sequence[Collection[int]]) -> None:
    for row, unwanted in zip(rough, exclude, strict=True):
        wanted = np.fromiter(unwanted, dtype=np.int64, count=len(unwanted))
        at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
        row[at[ids[at] == wanted]] = -np.inf


def _candidates(rough: Float32, k: int, bound: float) -> Bools:
    """(Q, n) True where a face can be among the best k of its query.

    At least k faces have a true cosine of ``kth - bound`` or more, so a face that belongs to
    the best k has a rough one of ``kth - 2 * bound`` or more.
    """
    n = rough.shape[1]
    # Excluded faces have -inf, which is below the least float.
    least = np.full((len(rough), 1), np.finfo(np.float32).min)
    if k < n:
        kth = np.partition(rough, n - k, axis=1)[:, n - k].astype(np.float64)
        threshold = (kth - 2 * bound).astype(np.float32)
        # Rounded down, never up.
        least = np.maximum(least, np.nextafter(threshold, -np.inf, dtype=np.float32)[:, None])
    wanted: Bools = rough >= least
    return wanted


def _cosine(query: Float32, matrix: Float32, rows: Int64) -> Float64:
    """(len(rows),) float64 cosine; a copy of some rows at a time, however many there are."""
    parts = [
        embedding_cosine(query, matrix[rows[start : start + _BLOCK_FACES]])
        for start in range(0, len(rows), _BLOCK_FACES)
    ]
    return np.concatenate([np.empty(0), *parts])
