"""Aligned crops are found once, and covered where the face is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_people import write_people
from faceflow.analyzer import FaceAnalyzer
from faceflow.faces.alignment import template
from faceflow.gallery.enrolment import Photo, list_photos
from faceflow.training.aligned_crops import collect_crops


class NoDetector:
    name = "mtcnn"

    def detect(self, image: np.ndarray) -> list:
        raise AssertionError("everything is in the cache")


def test_crops(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    write_people(tmp_path / "people", people=2, photos_each=1)
    photos = list_photos([tmp_path / "people"]).photos
    Image.new("RGB", (90, 80)).save(tmp_path / "dark.png")
    listed = [*photos, photos[0], Photo(tmp_path / "dark.png", "Ada")]
    spec = analyzer.network.spec
    crops, left_out = collect_crops(listed, spec, analyzer.detector, tmp_path / "cache")
    assert [(one.path.name, one.cover) for one in left_out] == [("dark.png", "clean")]
    assert len(crops) == 2
    assert [crops.names[person] for person in crops.person] == [photo.person for photo in photos]
    face = analyzer.analyze(photos[1].path, select="largest")[0]
    np.testing.assert_array_equal(crops.crop(1), face.crop)
    # Eyes and mouth lie where the template wants them: midpoints at y 40 and 88, x 64.
    landmarks = crops.arrays[crops.row[1]]["landmarks"]
    assert landmarks[:2].mean(axis=0) == pytest.approx([64, 40], abs=0.5)
    assert landmarks[3:].mean(axis=0) == pytest.approx([64, 88], abs=0.5)
    assert spec.template in template(spec.template).name
    masked = crops.crop(1, "mask", 3)
    np.testing.assert_array_equal(masked, crops.crop(1, "mask", 3))
    changed = (masked != face.crop).any(axis=2)
    assert changed[70:110, 40:90].mean() > 0.8
    assert changed[:40].mean() < 0.1
    scaled = crops.scaled(1, "mask", 3)
    np.testing.assert_allclose(scaled, masked.transpose(2, 0, 1) / 255, atol=1e-6)
    again, left_out = collect_crops(listed, spec, NoDetector(), tmp_path / "cache")
    assert len(left_out) == 1
    np.testing.assert_array_equal(again.crop(0), crops.crop(0))
