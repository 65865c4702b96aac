"""Verification, 1:1: do two photos show the same person?"""

from __future__ import annotations

from dataclasses import dataclass

from faceflow.errors import InputError
from faceflow.features import FaceFeatures
from faceflow.matching.options import MatchOptions, options_for
from faceflow.matching.score import rerank
from faceflow.matching.transport import Plan


@dataclass(frozen=True, slots=True)
class Verification:
    """How alike two faces are.

    Attributes:
        score: as :class:`faceflow.matching.options.MatchOptions` has it; with its plain options
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
    query: FaceFeatures,
    gallery_face: FaceFeatures,
    options: MatchOptions | None = None,
    *,
    threshold: float | None = None,
) -> Verification:
    """Compare two faces.

    Args:
        query: features of one face.
        gallery_face: features of one face from the same network, or from its teacher.
        options: how they are compared; k is not used. None takes what measured best for the
            features' network, as :func:`faceflow.matching.options.options_for` finds it.
        threshold: the least score that counts as the same person. There is no universal
            value: calibrate it on photos like yours.

    Raises:
        InputError: more than one face on a side, or two networks.
        WeightsError: the network is known here, but not in the cache.
    """
    if len(query) != 1 or len(gallery_face) != 1:
        raise InputError(
            f"verify compares two single faces, got {len(query)} and {len(gallery_face)}"
        )
    chosen = options_for(gallery_face.digest) if options is None else options
    found = rerank(query, gallery_face, chosen.on_cpu, flow=True)
    assert found.emd is not None
    assert found.plan is not None
    score = float(found.score[0])
    return Verification(
        score=score,
        cosine=float(found.cosine[0]),
        emd=float(found.emd[0]),
        same=None if threshold is None else score >= threshold,
        threshold=threshold,
        plan=found.plan,
        visible_cosine=None if found.visible_cosine is None else float(found.visible_cosine[0]),
    )
