"""Verification, 1:1: do two photos show the same person?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceflow.errors import InputError
from faceflow.features import FaceFeatures
from faceflow.matching import MatchOptions
from faceflow.similarity import emd_similarity
from faceflow.transport import Plan


@dataclass(frozen=True, slots=True)
class Verification:
    """How alike two faces are.

    Attributes:
        score: as :class:`faceflow.matching.MatchOptions` has it; with its plain options
            ``alpha * emd + (1 - alpha) * cosine`` (paper section S4, equation 9).
        cosine: cosine of the two embeddings.
        emd: EMD similarity of the patches.
        same: whether the score reaches the threshold; None when no threshold was given.
        threshold: the threshold, if any.
        plan: the transport with its flow.
        visible_cosine: cosine of what both faces show, or None where it does not count.
    """

    score: float
    cosine: float
    emd: float
    same: bool | None
    threshold: float | None
    plan: Plan
    visible_cosine: float | None = None


def verify(
    a: FaceFeatures, b: FaceFeatures, options: MatchOptions, *, threshold: float | None = None
) -> Verification:
    """Compare two faces.

    Args:
        a: features of one face.
        b: features of one face from the same network.
        options: alpha, weighting, grid and solver; k is not used.
        threshold: the least score that counts as the same person. There is no universal
            value: calibrate it on photos like yours.

    Raises:
        InputError: more than one face on a side, or two networks.
    """
    if len(a) != 1 or len(b) != 1:
        raise InputError(f"verify compares two single faces, got {len(a)} and {len(b)}")
    if a.embedding.shape != b.embedding.shape or a.patches.shape != b.patches.shape:
        raise InputError("the two faces come from different networks")
    cosine = float(np.dot(a.embedding[0].astype(np.float64), b.embedding[0].astype(np.float64)))
    first, second = options.prepare(a), options.prepare(b)
    plan = emd_similarity(
        first, second, weighting=options.weighting, solver=options.solver, flow=True
    )
    emd = float(plan.similarity[0])
    shown = options.visible_cosine(first, second)
    score = float(options.score(plan.similarity, np.array([cosine]), shown)[0])
    same = None if threshold is None else score >= threshold
    return Verification(
        score, cosine, emd, same, threshold, plan, None if shown is None else float(shown[0])
    )
