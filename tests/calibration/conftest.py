"""Searches with a known answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from faceflow.arrays import Float32, Float64
from faceflow.calibration import Evidence, Origin, settings_grid
from faceflow.calibration.evidence import collect
from faceflow.evaluation.metrics.mates import MateRanks
from faceflow.evaluation.ranking import Rankings
from faceflow.matching.covers import CoverModel, PatchModel

MakeEvidence = Callable[..., Evidence]
GALLERY = 30


def _rankings(signal: Float64, mated: np.ndarray, *, seed: int, noise: float = 1.0) -> Rankings:
    """Q searches in a gallery of 30 faces; face 0 is the mate where there is one.

    Stage 1 sees the mate 1.6 deviations above the others. The EMD sees it ``signal`` (Q,)
    deviations above them, independently.
    """
    rng = np.random.default_rng(seed)
    size = len(mated)
    cosine = rng.standard_normal((size, GALLERY)) * 0.1
    emd = rng.standard_normal((size, GALLERY)) * 0.1 * noise
    cosine[mated, 0] += 0.16
    emd[mated, 0] += 0.1 * signal[mated]
    order = np.argsort(-cosine, axis=1, kind="stable")
    mate = (order == 0) & mated[:, None]
    ranks = [np.flatnonzero(row) + 1 for row in mate]
    return Rankings(
        faces=order,
        cosine=np.take_along_axis(cosine, order, axis=1),
        emd=np.take_along_axis(emd, order, axis=1),
        visible_cosine=np.full((size, GALLERY), np.nan),
        mate=mate,
        stage1=MateRanks.collect(ranks, mated.astype(np.int64)),
        alpha=1.0,
        unconverged=0,
    )


@pytest.fixture
def rankings() -> Callable[..., Rankings]:
    return _rankings


@pytest.fixture
def make_evidence() -> MakeEvidence:
    """Evidence of people with 2 searches in each of two strata, clean and mask; half of the
    people are not enrolled. ``clean`` and ``mask`` say how much the EMD knows there."""

    def make(
        *, clean: float = 0.0, mask: float = 0.0, people: int = 200, seed: int = 0
    ) -> Evidence:
        person = np.repeat(np.arange(people), 4)
        stratum = np.tile([0, 0, 1, 1], people)
        mated = person % 2 == 0
        signal = np.where(stratum == 0, clean, mask)
        return collect(
            {("raw", "uniform"): _rankings(signal, mated, seed=seed)},
            settings_grid(["uniform"], alphas=(0.1, 0.3, 0.5), ks=(10, 30)),
            mated=mated,
            person=person,
            stratum=stratum,
            strata=("clean", "mask"),
        )

    return make


@pytest.fixture
def make_patch_model() -> Callable[..., PatchModel]:
    """A patch model of random numbers for a 2x2 grid of 4 channels."""

    def make(size: int) -> PatchModel:
        rng = np.random.default_rng(size)

        def numbers(*shape: int) -> Float32:
            return rng.standard_normal(shape).astype(np.float32)

        cover = CoverModel(numbers(4, 4), numbers(4), numbers(4, 4))
        return PatchModel((2, 2), numbers(4, 4, size), cover)

    return make


@pytest.fixture
def origin() -> Origin:
    return Origin(
        made=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        version="0",
        network="example",
        digest="00",
        enrolled_people=100,
        enrolled_faces=100,
        temporary=False,
        people=200,
        impostors=100,
        photographs=400,
        impostor_photographs=200,
        excluded=0,
        enrolled_already=0,
        repeated=0,
        misfiled=0,
        left_out=0,
        unconfirmed=0,
        compared=0,
        by_picture=0,
        by_hash=0,
        seed=0,
    )
