"""Rates by quality: the parts add up to the whole, and the picture shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from faceflow.calibration import CalibrationResult, Evidence, Origin, conclude
from faceflow.calibration.picture import trust_picture
from faceflow.errors import InputError
from faceflow.quality import BANDS, BOUNDS, Quality

GOOD = Quality(size=200.0, sharpness=500.0, visible=0.97)


def qualities(evidence: Evidence) -> list[Quality]:
    """Masked faces are half visible, and every third of them is poor."""
    poor = BOUNDS["visible"].poor
    return [
        GOOD if stratum == 0 else replace(GOOD, visible=poor - 0.05 if n % 3 == 0 else poor + 0.05)
        for n, stratum in enumerate(evidence.stratum)
    ]


@pytest.fixture
def result(make_evidence: Callable[..., Evidence], origin: Origin) -> CalibrationResult:
    evidence = make_evidence(clean=1.6, mask=0.4)
    return conclude(evidence, 0.1, origin, quality=qualities(evidence))


def test_bands_add_up_to_all_searches(result: CalibrationResult) -> None:
    assert [name for name, _ in result.bands] == list(BANDS)
    rates = [one for _, one in result.bands]
    assert sum(one.mated for one in rates) == result.overall.mated
    assert sum(one.nonmated for one in rates) == result.overall.nonmated
    for name in ("tpir", "fpir"):
        size = "mated" if name == "tpir" else "nonmated"
        parts = sum(getattr(one, name).estimate * getattr(one, size) for one in rates)
        whole = getattr(result.overall, name).estimate * getattr(result.overall, size)
        assert parts == pytest.approx(whole)
    # Good is the stratum clean here, so its rates are that stratum's.
    assert result.bands[0][1] == result.strata[0].rates


def test_parts_by_visible_share_hold_every_search_once(result: CalibrationResult) -> None:
    assert sum(part.rates.mated for part in result.visible) == result.overall.mated
    for part in result.visible:
        assert part.low < part.high
    assert result.visible[-1].rates.mated == result.bands[0][1].mated


def test_without_qualities_there_are_no_bands(
    make_evidence: Callable[..., Evidence], origin: Origin
) -> None:
    evidence = make_evidence(clean=1.6)
    found = conclude(evidence, 0.1, origin)
    assert found.bands == found.visible == ()
    with pytest.raises(InputError, match="covers learn"):
        trust_picture(found)
    unseen = [replace(GOOD, visible=None)] * len(evidence)
    found = conclude(evidence, 0.1, origin, quality=unseen)
    assert [name for name, _ in found.bands] == ["good"]
    assert found.visible == ()


def test_the_picture_is_a_document_that_shows_every_rate(result: CalibrationResult) -> None:
    root = ElementTree.fromstring(trust_picture(result))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    lines = root.findall(".//{*}polyline")
    points = root.findall(".//{*}circle")
    assert len(lines) == 4  # missed and named, with and without re-ranking
    assert len(points) == 4 * len(result.visible)
    text = "".join(root.itertext())
    assert "visible share of the face" in text
    # Higher on the picture is a smaller y: more is missed where less is visible.
    missed = np.array([pair.split(",") for pair in lines[0].get("points", "").split()], float)
    assert missed[0, 1] < missed[-1, 1]


def test_the_record_keeps_bands(result: CalibrationResult) -> None:
    record = result.record()
    assert [name for name, _ in record["bands"]] == list(BANDS)
    assert record["visible"][0]["rates"]["mated"] == result.visible[0].rates.mated


def test_a_calibration_names_the_patch_model_it_was_measured_with(
    result: CalibrationResult,
) -> None:
    known = replace(result, origin=replace(result.origin, patch_model="ab"))
    assert known.calibration.patch_model is None, "raw patches depend on none"
    projected = replace(known, setting=replace(known.setting, patches="projected", alpha=0.2))
    assert projected.calibration.patch_model == "ab"
    assert (
        type(projected.calibration).from_json(projected.calibration.as_json()).patch_model == "ab"
    )
