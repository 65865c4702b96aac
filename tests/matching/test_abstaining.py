"""Who gets no answer, and that the order of people stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from faceflow.analyzer import Face
from faceflow.features import FaceFeatures
from faceflow.matching.abstaining import abstain, quality_of
from faceflow.matching.covers import CoverModel, PatchModel
from faceflow.matching.identification import Matches, PersonMatch
from faceflow.quality import Quality

POOR = Quality(size=5.0, sharpness=400.0)
FINE = Quality(size=200.0, sharpness=400.0)
ADA = PersonMatch("Ada", 0.9, 0.9, None, 1, 1, 7, 1)


@pytest.mark.parametrize("status", ["identified", "unknown", "ranked"])
def test_a_poor_query_names_nobody(status: str) -> None:
    answer = Matches(status, 0.5, (), (ADA,))  # type: ignore[arg-type]
    assert abstain(answer, POOR, "poor") is answer
    assert abstain(answer, FINE, "good") is answer
    unsure = abstain(answer, POOR, "fair")
    assert (unsure.status, unsure.person) == ("unsure", None)
    assert replace(unsure, status=answer.status) == answer


def test_an_empty_gallery_stays_empty() -> None:
    nobody = Matches("empty", None, (), ())
    assert abstain(nobody, POOR, "good") is nobody


def test_the_visible_share_is_the_mean_visibility() -> None:
    rng = np.random.default_rng(0)
    features = FaceFeatures.from_maps(
        rng.standard_normal((1, 5)), rng.standard_normal((1, 3, 2, 2))
    )
    weight = rng.standard_normal((4, 3)).astype(np.float32)
    model = PatchModel(
        (2, 2),
        np.zeros((4, 3, 0), np.float32),  # visibility needs no linear layer
        CoverModel(weight, np.zeros(4, np.float32), weight),
    )
    crop = np.zeros((112, 112, 3), np.uint8)
    face = Face(np.arange(4.0), None, 0.0, crop, features, "whole-image")
    assert quality_of(face, None).visible is None
    found = quality_of(face, model)
    expected = 1 / (1 + np.exp((features.raw_patches[0] * weight).sum(axis=1)))
    assert found.visible == pytest.approx(expected.mean(), rel=1e-5)
    assert replace(found, visible=None) == face.quality
    assert face.quality.length == pytest.approx(float(features.length[0]))
