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
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from faceflow.arrays import Float32, Float64, Int8, Int64, unit
from faceflow.errors import InputError
from faceflow.features import FaceFeatures, Grid, require_comparable
from faceflow.matching.contributions import Contributions, residues_of
from faceflow.matching.options import MatchOptions
from faceflow.matching.transport import Plan, Sinkhorn, Solver, encode, native, rounded
from faceflow.matching.weighting import uncovered, weigh

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
        solved_by: what solved them: "native", "numpy", "torch", "triton", or the name of another
            solver's class; None like ``emd``.
    """

    score: Float64
    cosine: Float64
    emd: Float64 | None = None
    visible_cosine: Float64 | None = None
    plan: Plan | None = None
    solved_by: str | None = None

    def __len__(self) -> int:
        return len(self.score)


class CodedFaces(NamedTuple):
    """What a comparison of int8 codes reads of N faces, and no more.

    Attributes:
        embedding: (N, D) float32.
        patches: (N, R, C) int8, see :func:`faceflow.matching.transport.encode`.
        pooled: (N, C) float32, exact.
        norms: (N, R) float32 lengths of the raw patches, or None where ``scales`` tell them.
        scales: (N, R) float32, what the codes are multiplied with to be raw patches, or None.
        residues: (N, R, C) int8, what rounding took away, in 1/256 of a code; None: nothing.
    """

    embedding: Float32
    patches: Int8
    pooled: Float32
    norms: Float32 | None = None
    scales: Float32 | None = None
    residues: Int8 | None = None


class KeptFaces(Protocol):
    """Gallery faces where they are kept: they are read in the form that a comparison takes."""

    @property
    def digest(self) -> str | None:
        """What made them, see :attr:`FaceFeatures.digest`."""

    @property
    def sizes(self) -> tuple[int, int]:
        """R patches with C numbers each."""

    @property
    def grid(self) -> Grid:
        """(h, w) of the patches."""

    def embeddings(self) -> Float32:
        """(N, D), all that stage 1 alone compares."""

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
            where nothing but the embeddings counts, or where there are codes in its place.
        projected: contributions to the embedding for the visible cosine, in float32; None where
            it does not count, or where there are int8 ``contributions``.
        codes: int8 patches in place of ``patches``.
        contributions: int8 contributions, for the visible cosine and, where ``patches`` is None,
            for the transport.
    """

    options: MatchOptions
    embedding: Float32
    digest: str | None
    patches: FaceFeatures | None = None
    projected: FaceFeatures | None = None
    codes: CodedFaces | None = None
    contributions: Contributions | None = None

    @property
    def channels(self) -> int | None:
        """C of the patches that are transported; None where there are none."""
        return self.sizes[1] or None

    @property
    def sizes(self) -> tuple[int, int]:
        """How many patches are transported, of how many numbers; 0 where there are none."""
        if self.codes is not None:
            _, r, c = self.codes.patches.shape
        elif self.patches is not None:
            _, r, c = self.patches.patches.shape
        elif self.contributions is not None:
            _, r, c = self.contributions.codes.shape
        else:
            r, c = 0, 0
        return r, c

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
        shares = self.contributions
        return PreparedFaces(
            self.options,
            self.embedding[at],
            self.digest,
            patches,
            projected,
            codes,
            None if shares is None else shares[at],
        )


Faces = FaceFeatures | KeptFaces | PreparedFaces


def rerank(
    query: FaceFeatures | PreparedFaces, faces: Faces, options: MatchOptions, *, flow: bool = False
) -> Reranked:
    """Score gallery faces against one query face.

    Args:
        query: features of one face, as the network gave them; or one prepared face.
        faces: N gallery faces of the query's network or of its teacher, N may be 0: features as
            the network gave them, faces where a gallery keeps them, or prepared faces.
        options: how they are compared; ``k`` plays no part.
        flow: keep the flows (N, R, S) for an explanation; transport is then solved for an alpha
            of 0 too.

    Returns:
        One entry per gallery face, in their order.

    Raises:
        InputError: not exactly one query, faces of other sizes, or options that these faces
            cannot be compared with.
        GalleryMismatchError: the two sides come from different networks or detectors, or one
            of them from nobody knows where.
    """
    one, many = prepare(query, options, flow=flow), prepare(faces, options, flow=flow)
    if len(one) != 1:
        raise InputError(
            f"scores are for one query face at a time, got {len(one)}", todo="pick one: query[i]"
        )
    require_comparable(one.digest, many.digest)
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
        shown = _visible_cosine(one, many, options)
    emd = None if plan is None else plan.similarity
    score = combine(cosine, emd, shown, alpha=options.alpha, visible_share=options.visible_share)
    solved_by = None if plan is None else _solved_by(options.solver, one, many)
    return Reranked(score, cosine, emd, shown, plan, solved_by)


def _solved_by(solver: Solver, query: PreparedFaces, faces: PreparedFaces) -> str:
    if not isinstance(solver, Sinkhorn):
        return type(solver).__name__
    (r, c), (s, _) = query.sizes, faces.sizes
    return solver.backend_for(r, s, c)


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
    if options.stage1_alone and not flow:
        vectors = faces.embedding if isinstance(faces, FaceFeatures) else faces.embeddings()
        return PreparedFaces(options, vectors, faces.digest)
    if takes_contributions(options):
        return _contributing(faces, options)
    if not isinstance(faces, FaceFeatures):
        if takes_codes(options, *faces.sizes):
            codes = faces.codes()
            return PreparedFaces(options, codes.embedding, faces.digest, codes=codes)
        faces = faces.features(landmarks=options.needs_landmarks)
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
    return PreparedFaces(
        options,
        faces.embedding,
        faces.digest,
        _as_solved(patches, options.solver, options.weighting),
        projected,
    )


def takes_contributions(options: MatchOptions) -> bool:
    """Whether contributions to the embedding count, and the solver's format is int8."""
    return (
        (options.patches == "projected" or options.visible_share > 0)
        and options.model is not None
        and options.model.linear
        and isinstance(options.solver, Sinkhorn)
        and options.solver.dtype == "int8"
    )


def _contributing(faces: FaceFeatures | KeptFaces, options: MatchOptions) -> PreparedFaces:
    """Faces with int8 contributions; and in float32 what is transported, unless it is those."""
    model, solver = options.model, options.solver
    assert model is not None
    assert isinstance(solver, Sinkhorn)
    sizes = len(model.projection), len(model.projection), model.projection.shape[2]
    alone = (
        options.patches == "projected"
        and options.weighting == "uncovered"
        and solver.backend_for(*sizes) != "numpy"
    )
    if alone and not isinstance(faces, FaceFeatures):
        model.require_patches(faces.grid, faces.sizes[1])
        coded, digest, whole = faces.codes(), faces.digest, None
    else:
        whole = (
            faces
            if isinstance(faces, FaceFeatures)
            else faces.features(landmarks=options.needs_landmarks)
        )
        model.require_patches(whole.grid, whole.patches.shape[2])
        coded, digest = _coded(whole), whole.digest
    shares = model.rounded.contributions(
        coded.patches,
        coded.residues,
        norms=coded.norms,
        scales=coded.scales,
        threads=solver.threads,
    )
    if whole is not None and whole.visibility is not None:
        # As :meth:`PatchModel.see`: what is known to be hidden stays hidden.
        known = np.minimum(shares.visibility, whole.visibility)
        shares = replace(shares, visibility=known)
    patches: FaceFeatures | None = None
    if not alone:
        assert whole is not None
        if options.patches == "projected":
            patches = _as_features(whole, shares)
        else:
            seen = replace(whole, visibility=shares.visibility)
            patches = _as_solved(seen, solver, options.weighting)
    return PreparedFaces(options, coded.embedding, digest, patches, contributions=shares)


def _coded(faces: FaceFeatures) -> CodedFaces:
    codes = encode(faces.patches, "int8")
    residues = residues_of(faces.patches, codes)
    return CodedFaces(faces.embedding, codes, faces.pooled, norms=faces.norms, residues=residues)


def _as_features(faces: FaceFeatures, shares: Contributions) -> FaceFeatures:
    """The same faces with int8 contributions, decoded, in place of patches."""
    patches, lengths = shares.unit_patches(), shares.lengths()
    centre = np.einsum("nrd,nr->nd", patches, lengths)
    projected = replace(
        faces,
        patches=patches,
        norms=lengths,
        pooled=rounded(unit(centre), "int8"),
        visibility=shares.visibility,
    )
    return projected


def _as_solved(faces: FaceFeatures, solver: Solver, weighting: str) -> FaceFeatures:
    """Faces as the solver's format holds them, so that weights come from what is transported.

    Where the kernel computes the weights, it rounds by itself.
    """
    if not isinstance(solver, Sinkhorn) or solver.dtype == "f32":
        return faces
    _, r, c = faces.patches.shape
    if weighting in native.WEIGHTINGS and solver.backend_for(r, r, c) == "native":
        return faces
    return replace(
        faces,
        patches=rounded(faces.patches, solver.dtype),
        pooled=rounded(faces.pooled, solver.dtype),
    )


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
    if (
        faces.patches is None
        and query.contributions is not None
        and faces.contributions is not None
    ):
        assert isinstance(solver, Sinkhorn)
        u, v = uncovered(query.contributions.visibility, faces.contributions.visibility)
        patches = query.contributions.unit_patches()[0]
        return solver(patches, faces.contributions.codes, u, v, flow=flow)
    one = query.patches
    if one is None or (codes is None and faces.patches is None):
        raise InputError(
            "the faces were prepared for their embeddings alone", todo="prepare them with flow=True"
        )
    if codes is None:
        assert faces.patches is not None
        return _solved(one, faces.patches, options.weighting, solver, flow)
    assert isinstance(solver, Sinkhorn)
    return solver.weighted(
        one.patches[0],
        codes.patches,
        options.weighting,
        pooled_query=one.pooled[0],
        pooled_gallery=codes.pooled,
        flow=flow,
    )


def _visible_cosine(query: PreparedFaces, faces: PreparedFaces, options: MatchOptions) -> Float64:
    assert options.model is not None
    if query.contributions is not None and faces.contributions is not None:
        threads = options.solver.threads if isinstance(options.solver, Sinkhorn) else None
        return options.model.rounded.visible_cosine(
            query.contributions, faces.contributions, threads=threads
        )
    assert query.projected is not None
    assert faces.projected is not None
    return options.model.visible_cosine(query.projected, faces.projected)


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
    solve = solver if solver is not None else Sinkhorn()
    query, gallery = (_as_solved(side, solve, weighting) for side in (query, gallery))
    return _solved(query, gallery, weighting, solve, flow)


def _solved(
    query: FaceFeatures, gallery: FaceFeatures, weighting: str, solver: Solver, flow: bool
) -> Plan:
    """Transport between patches that are as the solver's format holds them."""
    if query.grid != gallery.grid:
        raise InputError(
            f"the query's grid is {query.grid}, the gallery's {gallery.grid}",
            todo="bring both to one grid with regrid()",
        )
    sizes = (query.patches.shape[1], *gallery.patches.shape[1:])
    if (
        len(query) == 1
        and weighting in native.WEIGHTINGS
        and isinstance(solver, Sinkhorn)
        and solver.backend_for(*sizes) == "native"
    ):
        return solver.weighted(
            query.patches[0],
            gallery.patches,
            weighting,
            pooled_query=query.pooled[0],
            pooled_gallery=gallery.pooled,
            flow=flow,
        )
    u, v = weigh(weighting, query, gallery)
    return solver(query.patches[0], gallery.patches, u, v, flow=flow)


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
