"""EMD over a whole gallery ("EMD at stage 1", paper Table S1), and how exact the answer is.

Three ways, in the order of what they promise:

    exhaustive   every face is solved on the full grid
    certified    faces whose upper bound lies below the k-th similarity found so far are left
                 out; the k best are proven to be those of ``exhaustive``, scores included
    cascade      every face is solved on a coarse grid, the best n of them on the full one;
                 a heuristic: a good face that the coarse grid ranks below n is lost

What ``certified`` saves depends on the solver: its bound needs the product of all patches, which
at the default epsilon 0.05 is most of a solve, so there ``exhaustive`` is faster on the compiled
kernel. At epsilon 0.01, where a solve takes many more iterations, it is the faster one.
``cascade`` pays when the coarse features are kept ready (``fetch``); pooling them on the way
costs about as much as solving. ``benchmarks/speed/gallery.py`` measures all of it.

Faces are ordered by similarity, then by id, so no answer depends on how a gallery is cut into
blocks or in which order the blocks come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from faceflow.arrays import Float64, Int64
from faceflow.errors import InputError
from faceflow.features import FaceFeatures, Grid
from faceflow.similarity import emd_similarity
from faceflow.similarity_bound import similarity_bound
from faceflow.transport import RefinedSinkhorn, Sinkhorn, Solver, Status

Method = Literal["exhaustive", "certified", "cascade"]
Block = tuple[Int64, FaceFeatures]


@dataclass(frozen=True, slots=True, eq=False)
class GalleryRanking:
    """The gallery faces most similar to one query by EMD, best first.

    Attributes:
        face_ids: (k,) int64, fewer where the gallery is smaller.
        similarity: (k,) float64, solved on the full grid whatever the method.
        method: how they were found.
        faces: how many faces the gallery held.
        solved: how many of them were solved on the full grid.
        coarse: how many were solved on the coarse grid (cascade only).
        unconverged: full-grid solves that met the iteration cap; their similarity is usable
            and part of the ranking.
    """

    face_ids: Int64
    similarity: Float64
    method: Method
    faces: int
    solved: int
    coarse: int = 0
    unconverged: int = 0

    @property
    def pruned(self) -> int:
        """Faces never solved on the full grid."""
        return self.faces - self.solved

    @property
    def exact(self) -> bool:
        """Whether these are certainly the k faces that solving all would give."""
        return self.method != "cascade" or self.pruned == 0

    @property
    def exactness(self) -> str:
        """The same in a sentence, for people."""
        if self.method == "exhaustive":
            return f"exact: all {self.faces} faces were solved"
        if self.method == "certified":
            return (
                f"exact: {self.solved} of {self.faces} faces were solved; the bound proves that "
                f"none of the other {self.pruned} is among the best {len(self.face_ids)}"
            )
        if self.exact:
            return f"exact: the cascade kept all {self.faces} faces"
        return (
            f"heuristic: the best {self.solved} of {self.faces} faces on the coarse grid were "
            "solved on the full grid; a face outside them may be missing"
        )


def emd_over_gallery(
    query: FaceFeatures,
    blocks: Iterable[Block],
    *,
    k: int = 100,
    weighting: str = "apc",
    solver: Solver | None = None,
    method: Method = "exhaustive",
    coarse_grid: Grid = (4, 4),
    n: int = 1000,
    fetch: Callable[[Int64], FaceFeatures] | None = None,
) -> GalleryRanking:
    """Rank a whole gallery by EMD similarity to one query and return the k best.

    Args:
        query: features of one face.
        blocks: the gallery as (ids (M,), features of M faces), any number of blocks of any
            size, read once; ids are unique. ``certified`` solves less when likely faces come
            early, e.g. in the order of stage 1's cosine.
        k: how many faces to return.
        weighting: a name from :data:`faceflow.weighting.WEIGHTINGS`; "certified" takes
            uniform, apc and sc alone.
        solver: default :class:`faceflow.transport.Sinkhorn`; ``certified`` takes no other kind.
        method: "exhaustive", "certified" or "cascade", see the module.
        coarse_grid: cascade only; its first grid.
        n: cascade only; how many faces go on to the full grid, at least k.
        fetch: cascade only; gives the full features of ids. With it, blocks may hold features
            already on the coarse grid; without it the full features of the best n are kept
            in memory meanwhile.

    Raises:
        InputError: an option is out of range, ids and features differ in number, or the solver
            cannot do what the method promises.
    """
    solve = Sinkhorn() if solver is None else solver
    if k < 1:
        raise InputError(f"k is {k}", why="at least one face must be returned")
    if len(query) != 1:
        raise InputError(f"one query face is ranked for at a time, got {len(query)}")
    if isinstance(solve, RefinedSinkhorn):
        raise InputError(
            "a gallery cannot be ranked with a refining solver",
            why="it refines the best of each call, so scores would depend on the blocks",
            todo="use Sinkhorn with one dtype",
        )
    if method == "cascade":
        if n < k:
            raise InputError(f"n is {n}", why=f"it must be at least k = {k}")
        return _cascade(query, blocks, k, weighting, solve, coarse_grid, n, fetch)
    if method == "certified":
        if not isinstance(solve, Sinkhorn):
            raise InputError(
                f"no bound is known for {type(solve).__name__}",
                todo="use Sinkhorn, or method exhaustive",
            )
        return _certified(query, blocks, k, weighting, solve)
    if method != "exhaustive":
        raise InputError(
            f"there is no method {method!r}", todo="choose exhaustive, certified or cascade"
        )
    best = _Best(k)
    faces = 0
    for ids, features in map(_checked, blocks):
        faces += len(ids)
        best.solve(query, ids, features, weighting, solve)
    return GalleryRanking(
        best.ids, best.similarity, "exhaustive", faces, faces, unconverged=best.unconverged
    )


class _Best:
    """The best k faces so far, by similarity and then by id."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.ids: Int64 = np.empty(0, dtype=np.int64)
        self.similarity: Float64 = np.empty(0)
        self.unconverged = 0

    def solve(
        self,
        query: FaceFeatures,
        ids: Int64,
        features: FaceFeatures,
        weighting: str,
        solver: Solver,
    ) -> None:
        plan = emd_similarity(query, features, weighting=weighting, solver=solver)
        self.unconverged += int((plan.status == Status.MAX_ITERATIONS).sum())
        self.add(ids, plan.similarity)

    def add(self, ids: Int64, similarity: Float64) -> Int64:
        """Take more faces in; returns the places of the kept ones in (held before, added)."""
        ids = np.concatenate([self.ids, ids])
        similarity = np.concatenate([self.similarity, similarity])
        keep = np.lexsort((ids, -similarity))[: self.k].astype(np.int64)  # NaN comes last
        self.ids, self.similarity = ids[keep], similarity[keep]
        return keep

    @property
    def least(self) -> float:
        """What a face needs at least to get in; NaN among the best lets everyone in."""
        return float(self.similarity[-1]) if len(self.ids) == self.k else -np.inf


def _certified(
    query: FaceFeatures, blocks: Iterable[Block], k: int, weighting: str, solver: Sinkhorn
) -> GalleryRanking:
    best = _Best(k)
    faces = solved = 0
    step = max(k, 32)
    for ids, features in map(_checked, blocks):
        faces += len(ids)
        bound = similarity_bound(query, features, weighting=weighting, solver=solver)
        order = np.argsort(-bound, kind="stable")
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            # Strictly below only: an equal similarity may still win by its id.
            rows = rows[~(bound[rows] < best.least)]
            if not len(rows):
                break
            solved += len(rows)
            best.solve(query, ids[rows], features[rows], weighting, solver)
    return GalleryRanking(
        best.ids, best.similarity, "certified", faces, solved, unconverged=best.unconverged
    )


def _cascade(
    query: FaceFeatures,
    blocks: Iterable[Block],
    k: int,
    weighting: str,
    solver: Solver,
    grid: Grid,
    n: int,
    fetch: Callable[[Int64], FaceFeatures] | None,
) -> GalleryRanking:
    small = query.regrid(grid)
    first = _Best(n)
    held: FaceFeatures | None = None
    faces = 0
    for ids, features in map(_checked, blocks):
        faces += len(ids)
        if fetch is None and features.grid != query.grid:
            raise InputError(
                f"blocks on a {features.grid} grid cannot give the full {query.grid} features",
                todo="pass fetch, or blocks on the query's grid",
            )
        coarse = features.regrid(grid)
        plan = emd_similarity(small, coarse, weighting=weighting, solver=solver)
        keep = first.add(ids, plan.similarity)
        if fetch is None:
            held = _kept(held, features, keep)
    if fetch is not None and len(first.ids):
        held = fetch(first.ids)
        _checked((first.ids, held))
    best = _Best(k)
    if held is not None:
        best.solve(query, first.ids, held, weighting, solver)
    return GalleryRanking(
        best.ids, best.similarity, "cascade", faces, len(first.ids), faces, best.unconverged
    )


def _kept(held: FaceFeatures | None, features: FaceFeatures, keep: Int64) -> FaceFeatures:
    """Rows ``keep`` of the held faces followed by the new ones."""
    if held is None:
        return features[keep]
    before = len(held)
    old = keep < before
    both = FaceFeatures.concatenate([held[keep[old]], features[keep[~old] - before]])
    back = np.empty(len(keep), dtype=np.int64)
    back[np.concatenate([np.flatnonzero(old), np.flatnonzero(~old)])] = np.arange(len(keep))
    return both[back]


def _checked(block: Block) -> Block:
    ids, features = np.asarray(block[0]), block[1]
    if ids.shape != (len(features),) or ids.dtype.kind not in "iu":
        raise InputError(
            f"ids of shape {ids.shape} and type {ids.dtype} do not go with {len(features)} faces",
            why="a block needs one whole number for each face",
        )
    return ids.astype(np.int64), features
