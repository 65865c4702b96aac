"""The score of a query face against gallery faces: the one place where it is made.

    score = alpha * emd + (1 - alpha) * ((1 - visible_share) * cosine
                                         + visible_share * visible_cosine)

:func:`rerank` computes every term of it. Identification, verification, calibration, evaluation and
explanations call it, so that none of them can score in its own way. A face's score depends on
the two faces and the options alone: a batch equals its loop and the order of faces does not
matter, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from faceflow.arrays import Float32, Float64, Int8, Int64
from faceflow.errors import InputError
from faceflow.features import FaceFeatures, require_same_digest
from faceflow.matching.options import MatchOptions
from faceflow.matching.transport import Plan, Sinkhorn, Solver, native
from faceflow.matching.weighting import weigh

# Faces widened to float64 at a time.
_BLOCK_FACES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Reranked:
    """One query face against N gallery faces, in their order.

    Attributes:
        score: (N,) float64, the final score.
        cosine: (N,) float64, cosine of the embeddings, as stage 1 has it to the last bit.
        emd: (N,) float64, EMD similarity of the patches; None where no transport was solved
            (alpha 0 and no flow asked for).
        visible_cosine: (N,) float64, cosine of what both faces show; None where it does not count.
        plan: the transports, with their flows (N, R, S) if asked for; None like ``emd``.
    """

    score: Float64
    cosine: Float64
    emd: Float64 | None = None
    visible_cosine: Float64 | None = None
    plan: Plan | None = None

    def __len__(self) -> int:
        return len(self.score)


class CodedFaces(NamedTuple):
    """What a transport of int8 codes reads of N faces, and no more.

    Attributes:
        embedding: (N, D) float32.
        patches: (N, R, C) int8, see :func:`faceflow.matching.transport.encode`.
        pooled: (N, C) float32, exact.
    """

    embedding: Float32
    patches: Int8
    pooled: Float32


class KeptFaces(Protocol):
    """Gallery faces where they are kept: they are read in the form that a comparison takes."""

    @property
    def digest(self) -> str | None:
        """What made them, see :attr:`FaceFeatures.digest`."""

    @property
    def sizes(self) -> tuple[int, int]:
        """R patches with C numbers each."""

    def features(self, *, landmarks: bool) -> FaceFeatures:
        """The faces' features, with landmark shares if asked for."""

    def codes(self) -> CodedFaces:
        """Their int8 codes, equal to encoding the patches of :meth:`features`."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFaces:
    """Faces as the terms of the score want them; made by :func:`prepare`, once for many calls.

    Attributes:
        options: what they were prepared for.
        embedding: (N, D) float32.
        digest: what made them, see :attr:`FaceFeatures.digest`.
        patches: what is transported: projected, with visibilities, or pooled to a grid; None
            where nothing but the embeddings counts, or where there are ``codes``.
        projected: contributions to the embedding for the visible cosine; None where it does not
            count.
        codes: int8 patches in place of ``patches``.
    """

    options: MatchOptions
    embedding: Float32
    digest: str | None
    patches: FaceFeatures | None = None
    projected: FaceFeatures | None = None
    codes: CodedFaces | None = None

    @property
    def channels(self) -> int | None:
        """C of the patches that are transported; None where there are none."""
        if self.codes is not None:
            return int(self.codes.patches.shape[2])
        return None if self.patches is None else int(self.patches.patches.shape[2])

    def __len__(self) -> int:
        return len(self.embedding)

    def __getitem__(self, rows: int | slice | Sequence[int] | Int64) -> PreparedFaces:
        """Select faces; the face axis is always kept, as in :class:`FaceFeatures`."""
        at = [rows] if isinstance(rows, (int, np.integer)) else rows
        patches = None if self.patches is None else self.patches[at]
        projected = self.projected
        if projected is not None:
            projected = patches if projected is self.patches else projected[at]
        codes = self.codes
        if codes is not None:
            codes = CodedFaces(codes.embedding[at], codes.patches[at], codes.pooled[at])
        return PreparedFaces(
            self.options, self.embedding[at], self.digest, patches, projected, codes
        )


Faces = FaceFeatures | KeptFaces | PreparedFaces


def rerank(
    query: FaceFeatures | PreparedFaces, faces: Faces, options: MatchOptions, *, flow: bool = False
) -> Reranked:
    """Score gallery faces against one query face.

    Args:
        query: features of one face, as the network gave them; or one prepared face.
        faces: N gallery faces of the same network, N may be 0: features as the network gave
            them, faces where a gallery keeps them, or prepared faces.
        options: how they are compared; ``k`` plays no part.
        flow: keep the flows (N, R, S) for an explanation; transport is then solved for an alpha
            of 0 too.

    Returns:
        One entry per gallery face, in their order.

    Raises:
        InputError: not exactly one query, faces of other sizes, or options that these faces
            cannot be compared with.
        GalleryMismatchError: the two sides come from different networks or alignments, or one
            of them from nobody knows where.
    """
    one, many = prepare(query, options, flow=flow), prepare(faces, options, flow=flow)
    if len(one) != 1:
        raise InputError(
            f"scores are for one query face at a time, got {len(one)}", todo="pick one: query[i]"
        )
    require_same_digest(one.digest, many.digest)
    for what, mine, theirs in (
        ("embedding", one.embedding.shape[1], many.embedding.shape[1]),
        ("patch", one.channels, many.channels),
    ):
        if mine != theirs and None not in (mine, theirs):
            raise InputError(
                f"the query's {what} has {mine} numbers, the gallery's {theirs}",
                why="the faces come from different networks",
            )
    cosine = embedding_cosine(one.embedding[0], many.embedding)
    plan = _transport(one, many, options, flow) if options.alpha > 0 or flow else None
    shown: Float64 | None = None
    if options.visible_share > 0:
        assert options.model is not None
        assert one.projected is not None
        assert many.projected is not None
        shown = options.model.visible_cosine(one.projected, many.projected)
    emd = None if plan is None else plan.similarity
    score = combine(cosine, emd, shown, alpha=options.alpha, visible_share=options.visible_share)
    return Reranked(score, cosine, emd, shown, plan)


def combine(
    cosine: Float64,
    emd: Float64 | None,
    visible_cosine: Float64 | None,
    *,
    alpha: float,
    visible_share: float,
) -> Float64:
    """The score from its terms, arrays of one shape; see the module.

    ``alpha`` 0 with ``visible_share`` 0 keeps stage 1's order, 1 uses the transport alone. The
    published code takes a negative alpha to mean the plain sum; that is half the score at alpha
    0.5 and orders alike, so here alpha must lie in [0, 1]. A term whose share is 0 may be None.

    Raises:
        InputError: a term with a share is None.
    """
    whole = cosine
    if visible_share > 0:
        if visible_cosine is None:
            raise InputError(f"visible_share is {visible_share}, and there is no visible cosine")
        whole = (1 - visible_share) * cosine + visible_share * visible_cosine
    if alpha > 0:
        if emd is None:
            raise InputError(f"alpha is {alpha}, and there is no EMD similarity")
        whole = alpha * emd + (1 - alpha) * whole
    return whole


def prepare(faces: Faces, options: MatchOptions, *, flow: bool = False) -> PreparedFaces:
    """Bring faces, on either side, into the form that :func:`rerank` compares.

    ``rerank`` calls it by itself; who compares the same faces many times calls it once.

    Args:
        faces: as for :func:`rerank`; prepared faces come back as they are.
        options: how they will be compared.
        flow: whether flows will be asked for.

    Raises:
        InputError: the options need a patch model or a grid that these faces do not have, or
            the faces were prepared for other options.
    """
    if isinstance(faces, PreparedFaces):
        if faces.options != options or faces.options.model is not options.model:
            raise InputError(
                "the faces were prepared for other options",
                todo="prepare them again for these options",
            )
        return faces
    options.require_model()
    if not isinstance(faces, FaceFeatures):
        if takes_codes(options, *faces.sizes):
            codes = faces.codes()
            return PreparedFaces(options, codes.embedding, faces.digest, codes=codes)
        faces = faces.features(landmarks=options.needs_landmarks)
    if options.stage1_alone and not flow:
        return PreparedFaces(options, faces.embedding, faces.digest)
    patches, model = faces, options.model
    if model is not None and options.patches == "projected":
        patches = model.project(faces)
    elif model is not None and options.weighting == "uncovered":
        patches = model.see(faces)
    if options.grid is not None:
        patches = patches.regrid(options.grid)
    projected: FaceFeatures | None = None
    if model is not None and options.visible_share > 0:
        projected = patches if options.patches == "projected" else model.project(faces)
    return PreparedFaces(options, faces.embedding, faces.digest, patches, projected)


def takes_codes(options: MatchOptions, patches: int, channels: int) -> bool:
    """Whether transport rounds raw patches to int8 anyway, so that kept codes give equal plans.

    Args:
        options: how faces are compared.
        patches: R of the network's own grid.
        channels: C.
    """
    solver = options.solver
    return (
        options.patches == "raw"
        and options.grid is None
        and options.visible_share == 0
        and options.weighting in native.WEIGHTINGS
        and isinstance(solver, Sinkhorn)
        and solver.dtype == "int8"
        and solver.backend_for(patches, patches, channels) == "native"
    )


def _transport(
    query: PreparedFaces, faces: PreparedFaces, options: MatchOptions, flow: bool
) -> Plan:
    solver, codes = options.solver, faces.codes
    one = query.patches
    if one is None or (codes is None and faces.patches is None):
        raise InputError(
            "the faces were prepared for their embeddings alone", todo="prepare them with flow=True"
        )
    if codes is None:
        assert faces.patches is not None
        return emd_similarity(
            one, faces.patches, weighting=options.weighting, solver=solver, flow=flow
        )
    assert isinstance(solver, Sinkhorn)
    return solver.weighted(
        one.patches[0],
        codes.patches,
        options.weighting,
        pooled_query=one.pooled[0],
        pooled_gallery=codes.pooled,
        flow=flow,
    )


def emd_similarity(
    query: FaceFeatures,
    gallery: FaceFeatures,
    *,
    weighting: str = "apc",
    solver: Solver | None = None,
    flow: bool = False,
) -> Plan:
    """Optimal transport between the patches of one query and those of N gallery faces.

    The patches are taken as they are; :func:`rerank` is what projects, pools and mixes.

    Args:
        query: features of one face.
        gallery: features of N faces from the same network, on the same grid; N may be 0.
        weighting: a name from :data:`faceflow.matching.weighting.WEIGHTINGS`.
        solver: how to solve; default :class:`faceflow.matching.transport.Sinkhorn`.
        flow: keep the flows (N, R, S) for an explanation.

    Returns:
        One entry per gallery face; ``similarity`` lies in [-1, 1] (paper equation 1 with
        cosine similarity in place of the cost).
    """
    if query.grid != gallery.grid:
        raise InputError(
            f"the query's grid is {query.grid}, the gallery's {gallery.grid}",
            todo="bring both to one grid with regrid()",
        )
    solve = solver if solver is not None else Sinkhorn()
    sizes = (query.patches.shape[1], *gallery.patches.shape[1:])
    if (
        len(query) == 1
        and weighting in native.WEIGHTINGS
        and isinstance(solve, Sinkhorn)
        and solve.backend_for(*sizes) == "native"
    ):
        return solve.weighted(
            query.patches[0],
            gallery.patches,
            weighting,
            pooled_query=query.pooled[0],
            pooled_gallery=gallery.pooled,
            flow=flow,
        )
    u, v = weigh(weighting, query, gallery)
    return solve(query.patches[0], gallery.patches, u, v, flow=flow)


def embedding_cosine(query: Float32, faces: Float32) -> Float64:
    """Cosine of one embedding with N others, each by itself and in one fixed order of summation.

    Args:
        query: (D,) float32, any length.
        faces: (N, D) float32.

    Returns:
        (N,) float64 in [-1, 1]; 0 with a vector of zeros.
    """
    wide = query.astype(np.float64)[:, None]
    square = _sum(wide * wide)
    scores = np.empty(len(faces))
    for start in range(0, len(faces), _BLOCK_FACES):
        # (D, m), because sums over the first axis are the faster ones.
        block = faces[start : start + _BLOCK_FACES].T
        some = np.ascontiguousarray(block, dtype=np.float64)
        # The product of two float32 is exact in float64. One root of the product, because
        # sqrt(x * x) is x again: a face has cosine 1 with itself.
        lengths = np.sqrt(square * _sum(some * some))
        dots = _sum(some * wide)
        scores[start : start + len(dots)] = np.divide(
            dots, lengths, out=np.zeros_like(dots), where=lengths > 0
        )
    return np.clip(scores, -1, 1)


def _sum(terms: Float64) -> Float64:
    """Sum over the first axis by halving it; overwrites ``terms``.

    Only element-wise additions, so that no library may choose another order.
    """
    width = len(terms)
    while width > 1:
        half = (width + 1) // 2
        terms[: width - half] += terms[half:width]
        width = half
    total: Float64 = terms[0]
    return total
