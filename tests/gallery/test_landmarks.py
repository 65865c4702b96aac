"""Landmark shares: kept beside a face, optional, and asked for by LMK weighting alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceflow.errors import GalleryError, InputError
from faceflow.features import FaceFeatures
from faceflow.gallery import Enrolment, Gallery
from faceflow.gallery.stores.sqlite.rows import seal_record, unseal_record

Make = Callable[..., FaceFeatures]
SHARE = np.array([[0, 0.25, 0, 0.75] + [0] * 12], np.float32)


def item(features: FaceFeatures, n: int = 0) -> Enrolment:
    return Enrolment("Ada", f"{n}.jpg", hashlib.sha256(str(n).encode()).hexdigest(), features)


def test_shares_come_back_and_survive_export(
    gallery: Gallery, make_features: Make, tmp_path: Path
) -> None:
    faces = make_features(2)
    whole = np.zeros((1, 16), np.float32)
    gallery.enroll([item(faces[0].with_landmarks(SHARE)), item(faces[1].with_landmarks(whole), 1)])
    folder = gallery.export(tmp_path / "export")
    for opened in (gallery, Gallery.import_from(folder, tmp_path / "again.faceflow")):
        found = opened.features([2, 1], landmarks=True)
        np.testing.assert_array_equal(found.landmark_share, np.concatenate([whole, SHARE]))
        assert opened.features([1]).landmark_share is None
        assert opened.record(1).landmarks == ((1, 0.25), (3, 0.75))
        assert opened.record(2).landmarks == ()
        opened.check()
        opened.close()


def test_faces_without_them_say_enroll_again(gallery: Gallery, make_features: Make) -> None:
    gallery.enroll([item(make_features(1))])
    assert gallery.record(1).landmarks is None
    with pytest.raises(GalleryError, match=r"no landmarks of face 1 \(Ada\).*enroll .* again"):
        gallery.features([1], landmarks=True)


def test_records_without_them_are_those_of_older_galleries(
    gallery: Gallery, make_features: Make, tmp_path: Path
) -> None:
    """Byte for byte: nothing is added for a face whose landmarks are unknown."""
    gallery.enroll([item(make_features(1))])
    record = gallery.record(1)
    sealed = seal_record(record, 1, 1)
    assert json.loads(sealed[:-4]).keys() == {"source", "content_hash", "box", "score", "created"}
    kept = replace(record, landmarks=((2, 1.0),))
    from faceflow.gallery.stores.sqlite.rows import seal_name

    again = unseal_record(1, 1, seal_record(kept, 1, 1), "Ada", seal_name(1, "Ada"))
    assert again == kept
    folder = gallery.export(tmp_path / "export")
    assert "landmarks" not in (folder / "faces-00000.json").read_text()


@pytest.mark.parametrize(
    "share",
    [
        [0.5] + [0.0] * 15,  # does not add up
        [-0.5, 1.5] + [0.0] * 14,
    ],
)
def test_shares_that_are_none_are_refused(
    gallery: Gallery, make_features: Make, share: list[float]
) -> None:
    bad = make_features(1).with_landmarks(np.array([share], np.float32))
    with pytest.raises(InputError, match="landmarks are"):
        gallery.enroll([item(bad)])
    assert len(gallery) == 0
