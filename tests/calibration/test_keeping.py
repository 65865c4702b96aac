"""A calibration in its gallery, and what identification makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faceflow.calibration import Setting, conclude, forget, recall, remember
from faceflow.errors import GalleryError, GalleryMismatchError
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery
from faceflow.matching import covers
from faceflow.matching.covers import PatchModel
from faceflow.matching.identification import identify
from faceflow.matching.options import Calibration, MatchOptions
from faceflow.matching.transport import Sinkhorn


@pytest.fixture
def faces(random_features) -> FaceFeatures:
    return random_features(5, grid=(2, 2), channels=4, size=8, digest=features_digest("00"))


@pytest.fixture
def gallery(tmp_path: Path, faces: FaceFeatures) -> Iterator[Gallery]:
    with Gallery.create(
        tmp_path / "people.faceflow",
        network_name="example",
        digest="00",
        embedding_size=8,
        grid=(2, 2),
        channels=4,
    ) as opened:
        opened.enroll(
            Enrolment(f"p{n}", f"{n}.jpg", f"{n:064x}", faces[n]) for n in range(len(faces))
        )
        yield opened


def test_kept_shown_and_forgotten(gallery, faces, make_evidence, origin) -> None:
    result = conclude(make_evidence(clean=1.6, mask=1.6), 0.1, origin)
    before = gallery.settings
    assert recall(gallery) is None
    remember(gallery, result)
    record = recall(gallery)
    assert record == json.loads(json.dumps(result.record()))
    assert record["origin"]["made"] == "2026-01-02T03:04:05+00:00"
    assert record["overall"]["tpir"]["low"] == result.overall.tpir.low
    assert record["match"] == gallery.settings["match"]

    (found,) = identify(faces[0], gallery)
    assert found.threshold == result.threshold
    chosen = result.setting
    options = MatchOptions(chosen.alpha, chosen.weighting, chosen.k)
    by_hand = identify(faces[0], gallery, options, threshold=result.threshold)[0]
    assert gallery.calibration == result.calibration
    assert found == by_hand
    assert forget(gallery)
    assert gallery.settings == before
    assert not forget(gallery)
    assert identify(faces[0], gallery)[0].status == "ranked"


def test_the_threshold_holds_for_the_calibrated_score_alone(
    gallery, faces, make_evidence, origin
) -> None:
    result = conclude(make_evidence(clean=1.6, mask=1.6), 0.1, origin)
    remember(gallery, result)
    alpha = result.setting.alpha
    same = {"alpha": alpha, "weighting": "uniform", "solver": Sinkhorn(threads=1)}
    assert identify(faces[0], gallery, gallery.options(**same))[0].threshold == result.threshold
    for other in (
        {"alpha": alpha / 2},
        {"weighting": "apc"},
        {"k": 3},
        {"grid": (1, 1)},
        {"solver": Sinkhorn(epsilon=0.1)},
    ):
        (answer,) = identify(faces[0], gallery, gallery.options(**other))
        assert (answer.status, answer.threshold) == ("ranked", None), other
        (answer,) = identify(faces[0], gallery, gallery.options(**other), threshold=0.5)
        assert answer.threshold == 0.5
    assert identify(faces[0], gallery, best_faces=2)[0].status == "ranked"


def test_projected_patches_are_kept_and_their_threshold_holds_for_them_alone(
    gallery, faces, make_evidence, make_patch_model, origin, monkeypatch
) -> None:
    model = make_patch_model(8)
    monkeypatch.setattr(covers, "load", lambda *_: model)
    found = conclude(make_evidence(clean=1.6, mask=1.6), 0.1, origin)
    setting = Setting(0.3, "uncovered", 4, "projected", 0.5)
    remember(gallery, replace(found, setting=setting))
    (answer,) = identify(faces[0], gallery)
    options = MatchOptions(0.3, "uncovered", 4, patches="projected", visible_share=0.5, model=model)
    assert answer == identify(faces[0], gallery, options)[0]
    assert answer.threshold == found.threshold
    for other in (
        gallery.options(patches="raw"),
        gallery.options(visible_share=0.0),
        MatchOptions(0.3, "apc", 4),
    ):
        (answer,) = identify(faces[0], gallery, other)
        assert (answer.status, answer.threshold) == ("ranked", None), other
    # Where the model is not known the scores are others, and so is the threshold.
    monkeypatch.setattr(covers, "load", lambda *_: None)
    assert identify(faces[0], gallery)[0].status == "ranked"


def test_a_calibration_that_does_not_speak_of_patches_had_raw_ones(
    gallery, faces, make_patch_model, monkeypatch
) -> None:
    model = make_patch_model(8)
    monkeypatch.setattr(covers, "load", lambda *_: model)
    gallery.update_settings({"match": {"alpha": 0.3, "weighting": "apc", "k": 4, "threshold": 0.2}})
    (answer,) = identify(faces[0], gallery)
    assert answer == identify(faces[0], gallery, MatchOptions(0.3, "apc", 4))[0]
    assert answer.threshold == 0.2
    assert identify(faces[0], gallery, gallery.options(visible_share=0.5))[0].threshold is None


def test_another_networks_calibration_is_refused(gallery, make_evidence, origin) -> None:
    result = conclude(make_evidence(), None, replace(origin, digest="11"))
    with pytest.raises(GalleryMismatchError, match="calibration is for example"):
        remember(gallery, result)
    assert recall(gallery) is None


def test_former_names_in_old_galleries_are_read(
    gallery, faces, make_evidence, make_patch_model, origin, monkeypatch
) -> None:
    model = make_patch_model(8)
    monkeypatch.setattr(covers, "load", lambda *_: model)
    setting = Setting(0.3, "uncovered", 4, "projected", 0.5)
    result = replace(conclude(make_evidence(clean=1.6, mask=1.6), 0.1, origin), setting=setting)
    remember(gallery, result)
    new, answer = recall(gallery), identify(faces[0], gallery)
    former = json.dumps(gallery.settings).replace("visible_share", "visible")
    gallery.update_settings(json.loads(former.replace('"uncovered"', '"visible"')))
    assert gallery.settings["match"]["weighting"] == "visible"
    assert recall(gallery) == new
    assert identify(faces[0], gallery) == answer
    assert answer[0].threshold == result.threshold


@pytest.mark.parametrize("damaged", [[1], {"alpha": "much"}, {"k": 0}, {"weighting": "magic"}])
def test_a_calibration_that_cannot_be_read_is_told(gallery, faces, damaged) -> None:
    gallery.update_settings({"match": damaged})
    with pytest.raises(GalleryError, match=r"calibration in people\.faceflow cannot be read.*drop"):
        identify(faces[0], gallery)
    assert forget(gallery)
    assert identify(faces[0], gallery)[0].status == "ranked"


def test_a_threshold_holds_for_the_patch_model_it_was_measured_with(
    make_patch_model: Callable[..., PatchModel],
) -> None:
    """Scores change with the covers, so a threshold from before they were learned says nothing."""
    shipped, learned = make_patch_model(3), replace(make_patch_model(4), learned=True)
    options = MatchOptions(0.2, "uncovered", 50, patches="projected", visible_share=0.3)
    kept = Calibration(0.2, "uncovered", 50, "projected", 0.3, threshold=0.4)
    assert kept.holds_for(replace(options, model=shipped)), "kept before there was another"
    assert not kept.holds_for(replace(options, model=learned))
    named = replace(kept, patch_model=learned.digest)
    assert named.holds_for(replace(options, model=learned))
    assert not named.holds_for(replace(options, model=shipped))
    raw = Calibration(0.2, "uniform", 50, threshold=0.4)
    assert raw.holds_for(MatchOptions(0.2, "uniform", 50, model=learned))
