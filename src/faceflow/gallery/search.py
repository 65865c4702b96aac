"""Exact stage-1 search: the k faces of largest cosine, by brute force.

Scores must not depend on the batch, yet a matrix product rounds differently for every batch
size. So the float32 product only preselects: with a rigorous bound on its error it keeps
every face that can be among the best k, and those few are scored again in float64, summed in
one fixed order. The result is the same to the last bit for one query or a thousand, on any
machine.

In large galleries a scan in int8 (:mod:`.rounded`) selects first, by a bound just as rigorous,
and the float32 product is taken of the faces that it leaves: same faces, same scores. On a device
(:mod:`.device_index`) the product of all faces is taken there.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from faceflow.arrays import Bools, Float32, Float64, Int64
from faceflow.errors import GalleryError, InputError
from faceflow.gallery import rounded
from faceflow.gallery.device_index import DeviceEmbeddings
from faceflow.gallery.rounded import RoundedEmbeddings
from faceflow.gallery.stores.store import Revision, StoreView
from faceflow.matching.score import embedding_cosine
from faceflow.matching.shortlist import Shortlist

UNIT_TOLERANCE = 1e-5
"""How far from 1 an embedding's length may be; the error bound below counts on it."""

SCAN_FROM = 10_000
"""Faces from which a gallery keeps int8 codes too: measured by benchmarks/speed/stage1.py."""
SCAN_AFTER = 32
"""Queries after which it does: rounding all embeddings costs what some forty searches save."""

# Similarities held at a time: 16 MB, and as much again for selecting.
_BLOCK_SCORES = 4_000_000
_BLOCK_QUERIES = 128
# Numbers of a matrix whose product with one query is not worth a second thread: 32,000 faces.
_ALONE = 32_768 * 256
LONGEST_PADDED = 100_000
"""A shortlist longer than the gallery is padded, within reason."""
# Faces scored again at a time.
_BLOCK_FACES = 4096


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The embeddings of all faces of one state of a gallery.

    Attributes:
        revision: which state.
        ids: (n,) face ids, ascending.
        matrix: (n, D) float32.
        codes: the same in int8 where there are many, and many queries; a quarter more memory.
        on_device: the same on a device, where the gallery is searched there.
    """

    revision: Revision
    ids: Int64
    matrix: Float32
    codes: RoundedEmbeddings | None
    on_device: DeviceEmbeddings | None = None


class EmbeddingIndex:
    """The embeddings of all faces in memory, shared by all views of a gallery.

    It follows the newest state it was asked for and hands out the part that belongs to a view,
    whatever other threads have asked for since. Arrays grow in place behind what was handed
    out, so that what a view got stays valid and unchanged.

    Args:
        embedding_size: D.
        device: where to search, from :func:`faceflow.weights.devices.resolve`; None: the CPU. The
            newest state is kept there too, moved again when it changes; former states are not.
    """

    def __init__(self, embedding_size: int, device: str | None = None) -> None:
        self._device = device
        self._ids = np.empty(0, dtype=np.int64)
        self._matrix = np.empty((0, embedding_size), dtype=np.float32)
        self._newest = Embeddings(Revision(0, 0), self._ids, self._matrix, None)
        self._asked = 0
        self._lock = threading.Lock()

    def of(self, view: StoreView, queries: int = 1) -> Embeddings:
        """The embeddings of a view's state: fetches what was added, drops what was removed.

        Args:
            view: the state.
            queries: how many will be compared with them.

        Raises:
            GalleryError: the gallery is damaged.
        """
        revision = view.revision()
        with self._lock:
            self._asked += queries
            newest = self._newest
            if revision == newest.revision:
                if newest.codes is None and newest.on_device is None:
                    codes = self._rounded(newest.matrix, None)
                    if codes is not None:
                        self._newest = newest = replace(newest, codes=codes)
                return newest
            if revision.last_face_id < newest.revision.last_face_id or (
                revision.removals < newest.revision.removals
            ):
                return self._former(view, newest)
            self._newest = self._newer(view, newest)
            return self._newest

    def known(self, revision: Revision) -> Embeddings | None:
        """The embeddings of that state, if they are in memory."""
        newest = self._newest
        return newest if revision == newest.revision else None

    def _newer(self, view: StoreView, known: Embeddings) -> Embeddings:
        """What follows ``known``; becomes visible whole or, after an error, not at all."""
        revision, ids, matrix, codes = view.revision(), known.ids, known.matrix, known.codes
        if revision.removals != known.revision.removals and len(ids):
            removed = view.removed_since(known.revision)
            keep = (
                np.isin(ids, view.face_ids(), assume_unique=True)
                if removed is None
                else np.isin(ids, removed, assume_unique=True, invert=True)
            )
            self._ids, self._matrix = ids[keep], matrix[keep]
            ids, matrix, codes = self._ids, self._matrix, None
        faces, used = view.count(), len(ids)
        if used == 0:
            self._reserve(faces, used)
        for new, block in view.embeddings(int(ids[-1]) if used else 0):
            end = used + len(new)
            if end > faces:
                raise _unreadable(end, faces)
            if end > len(self._ids):
                # An eighth more than needed: few copies while growing, little memory unused.
                self._reserve(end + end // 8, used)
            self._ids[used:end] = new
            self._matrix[used:end] = block
            used = end
        if used != faces:
            raise _unreadable(used, faces)
        ids, matrix = self._ids[:used], self._matrix[:used]
        if self._device is not None and used:
            there = DeviceEmbeddings.of(matrix, self._device)
            if there is not None:
                return Embeddings(revision, ids, matrix, None, there)
        return Embeddings(revision, ids, matrix, self._rounded(matrix, codes))

    def _former(self, view: StoreView, newest: Embeddings) -> Embeddings:
        """A state that others have left behind: the newest one's rows, and what was removed."""
        revision = view.revision()
        if revision.removals == newest.revision.removals:
            n = int(np.searchsorted(newest.ids, revision.last_face_id, side="right"))
            codes = newest.codes and replace(newest.codes, faces=n)
            return Embeddings(revision, newest.ids[:n], newest.matrix[:n], codes)
        ids = view.face_ids()
        matrix = np.empty((len(ids), newest.matrix.shape[1]), dtype=np.float32)
        known = np.isin(ids, newest.ids, assume_unique=True)
        matrix[known] = newest.matrix[np.searchsorted(newest.ids, ids[known])]
        matrix[~known] = view.embeddings_of(ids[~known].tolist())
        return Embeddings(revision, ids, matrix, None)

    def _rounded(
        self, matrix: Float32, known: RoundedEmbeddings | None
    ) -> RoundedEmbeddings | None:
        if known is None and self._asked < SCAN_AFTER:
            return None
        return codes_of(matrix, known)

    def _reserve(self, rows: int, used: int) -> None:
        ids = np.empty(rows, dtype=np.int64)
        matrix = np.empty((rows, self._matrix.shape[1]), dtype=np.float32)
        ids[:used], matrix[:used] = self._ids[:used], self._matrix[:used]
        self._ids, self._matrix = ids, matrix


def codes_of(matrix: Float32, known: RoundedEmbeddings | None = None) -> RoundedEmbeddings | None:
    """Embeddings in int8 where there are many; ``known`` are the codes of those that come first."""
    if len(matrix) < SCAN_FROM or not rounded.available(matrix.shape[1]):
        return None
    return known.extended(matrix) if known else RoundedEmbeddings.of(matrix)


def _unreadable(read: int, faces: int) -> GalleryError:
    return GalleryError(
        f"the gallery is damaged: {read} of {faces} faces can be read",
        todo="restore a copy, or import a former export",
    )


def exact_search(
    queries: Float32,
    ids: Int64,
    matrix: Float32,
    k: int,
    exclude: Sequence[Collection[int]] | None = None,
    *,
    codes: RoundedEmbeddings | None = None,
    on_device: DeviceEmbeddings | None = None,
) -> Shortlist:
    """The k faces of largest cosine for each query; ties go to the smaller id.

    Args:
        queries: (Q, D) float32, rows of length 1 or 0 (cosine 0 with everything).
        ids: (n,) face ids, ascending.
        matrix: (n, D) float32, rows of length 1.
        k: at least 1, and at most 100,000 or n, whichever is more.
        exclude: for each query the ids that must not be found; unknown ids are ignored.
        codes: ``matrix`` in int8, to scan that first; the answer is the same to the last bit.
        on_device: ``matrix`` on a device, to take the product there; likewise.

    Raises:
        InputError: k is out of range, a value is NaN or infinite, a query is not of unit length,
            or ``exclude`` has not one entry per query.
    """
    total, n = len(queries), len(ids)
    check_search(queries, k, n, exclude)
    found = np.full((total, k), -1, dtype=np.int64)
    cosine = np.full((total, k), np.nan)
    if n == 0:
        return Shortlist(found, cosine)
    bound = _error_bound(matrix.shape[1])
    most = k + max(map(len, exclude or [()]), default=0)
    if on_device is not None:
        unwanted = None if exclude is None else [_rows_of(ids, some) for some in exclude]
        selected = on_device.candidates(queries, k, bound, unwanted)
    elif codes is not None and 2 * most < n:
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
        rough = _product(queries[start : start + step], matrix)
        if exclude is not None:
            _mask(rough, ids, exclude[start : start + step])
        for wanted in _candidates(rough, k, bound):
            yield np.flatnonzero(wanted)


def _product(queries: Float32, matrix: Float32) -> Float32:
    """(Q, n) float32 products, rounded in whatever order.

    One query with not very many faces stays in this thread. BLAS would wake others, which wait for
    more in a loop: up to 17 CPU ms after a product of 0.2.
    """
    if len(queries) == 1 and matrix.size <= _ALONE:
        rough: Float32 = np.einsum("nd,d->n", matrix, queries[0])[None]
        return rough
    return np.asarray(queries @ matrix.T, np.float32)


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
            rough = _product(query, left)
            if exclude is not None:
                _mask(rough, ids[rows], exclude[start + offset : start + offset + 1])
            yield rows[_candidates(rough, k, bound)[0]]


def check_search(
    queries: Float32, k: Any, n: int, exclude: Sequence[Collection[int]] | None
) -> None:
    """Raise InputError for what :func:`exact_search` does not take of n faces."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InputError(f"k is {k!r}", why="the shortlist must hold at least 1 face")
    if k > max(n, LONGEST_PADDED):
        raise InputError(f"k is {k}", why=f"the gallery has {n} faces")
    if exclude is not None and len(exclude) != len(queries):
        raise InputError(
            f"exclude has {len(exclude)} entries for {len(queries)} queries",
            todo="give one collection of face ids per query",
        )
    require_unit("query embedding", queries, zero_allowed=True)


def require_unit(name: str, vectors: Float32, *, zero_allowed: bool = False) -> None:
    """Raise InputError unless every row has length 1 (or 0, where that is allowed)."""
    wrong = not_unit(vectors, zero_allowed=zero_allowed)
    if len(wrong):
        length = np.linalg.norm(vectors[wrong[0]].astype(np.float64))
        raise InputError(
            f"{name} {wrong[0]} has length {length:.6g}, not 1",
            todo="build features with FaceFeatures.from_maps, which makes them unit",
        )


def not_unit(vectors: Float32, *, zero_allowed: bool = False) -> Int64:
    """The rows whose length is not 1 (nor 0, where that is allowed), NaN and infinity included."""
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    # Written so that NaN and infinity count as wrong.
    good = np.abs(length - 1) <= UNIT_TOLERANCE
    if zero_allowed:
        good |= length == 0
    return np.flatnonzero(~good)


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
        row[_rows_of(ids, unwanted)] = -np.inf


def _rows_of(ids: Int64, some: Collection[int]) -> Int64:
    """The rows of those ids that there are."""
    wanted = np.array([i for i in some if -(2**63) <= i < 2**63], dtype=np.int64)
    at: Int64 = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    found: Int64 = at[ids[at] == wanted]
    return found


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
