"""What is computed of a photo, and that a picture is looked at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceflow.analyzer import FaceAnalyzer
from faceflow.arrays import UInt8
from faceflow.errors import FaceflowError, NoFaceError
from faceflow.evaluation.data import Photo
from faceflow.evaluation.experiment import Experiment
from faceflow.evaluation.extraction import ALIGNED_CROP, Extractor
from faceflow.evaluation.kept_detector import KeptDetector
from faceflow.evaluation.laboratory import DataSource, Laboratory
from faceflow.faces.alignment import template
from faceflow.faces.detectors import Detection, Detector
from faceflow.faces.images import load_image
from faceflow.faces.landmarks import landmark_share
from faceflow.matching.options import MatchOptions
from faceflow.occlusion import random_crop


class Counting:
    """Another detector's faces, shaken and with 68 points, and how often it was asked."""

    def __init__(self, inner: Detector, name: str = "counting") -> None:
        self.inner, self.name, self.looks = inner, name, 0

    def detect(self, image: UInt8) -> list[Detection]:
        self.looks += 1
        rng = np.random.default_rng(self.looks)
        return [
            Detection(f.box + rng.random(4) / 7, f.landmarks, 0.9, rng.random((68, 2)) * 90)
            for f in self.inner.detect(image)
        ]


def photo_of(root: Path, n: int) -> Photo:
    path = sorted(root.rglob("*.jpg"))[n]
    return Photo(path, path.parent.name, path.stem)


def same(a: list[Detection], b: list[Detection]) -> None:
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        assert one.score == other.score
        for name in ("box", "landmarks", "points"):
            x, y = getattr(one, name), getattr(other, name)
            assert (x is None) == (y is None)
            if x is not None:
                np.testing.assert_array_equal(x, y)


def test_a_picture_is_looked_at_once_even_by_another_run(
    photos: Path, tmp_path: Path, fake: FaceAnalyzer
) -> None:
    inner = Counting(fake.detector)
    images = [load_image(photo_of(photos, n).image) for n in (0, 1, -1)]
    first = [KeptDetector(inner, tmp_path).detect(image) for image in images]
    assert inner.looks == 3
    assert [len(found) for found in first] == [1, 1, 0]
    again = KeptDetector(inner, tmp_path)
    for image, found in zip(images, first, strict=True):
        same(again.detect(image), found)
    assert inner.looks == 3
    again.detect(images[0][:, ::-1])
    assert inner.looks == 4


def test_detectors_do_not_meet_and_none_outlives_its_code(
    photos: Path, tmp_path: Path, fake: FaceAnalyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, other = Counting(fake.detector), Counting(fake.detector, "another")
    image = load_image(photo_of(photos, 0).image)
    KeptDetector(inner, tmp_path).detect(image)
    KeptDetector(other, tmp_path).detect(image)
    assert (inner.looks, other.looks) == (1, 1)
    monkeypatch.setattr("faceflow.system.caches.source_digest", lambda module: f"new {module}")
    KeptDetector(inner, tmp_path).detect(image)
    assert inner.looks == 2


def test_damaged_detections_say_what_to_do(
    photos: Path, tmp_path: Path, fake: FaceAnalyzer
) -> None:
    kept = KeptDetector(fake.detector, tmp_path)
    kept.path.write_bytes(b"no database" * 100)
    with pytest.raises(FaceflowError, match="delete the file"):
        kept.detect(load_image(photo_of(photos, 0).image))


def test_networks_share_what_the_detector_found(
    photos: Path, tmp_path: Path, fake: FaceAnalyzer
) -> None:
    """Two laboratories, as of two commands with two networks, and one look at each picture."""
    inner = Counting(fake.detector)
    asked = Experiment("lfw", "clean", "lightcnn-v4", MatchOptions(0.5, "uniform"))
    for digest in ("1" * 64, "2" * 64):
        network: Any = type(fake.network)()
        network.digest = digest
        made = FaceAnalyzer(network, inner)
        lab = Laboratory({"lfw": DataSource(photos)}, tmp_path, analyzer=lambda *_, made=made: made)
        pictures = lab.dataset("lfw").photos
        assert len(lab.features(pictures, asked)) == len(pictures) - 1
        assert network.crops == len(pictures) - 1
    assert inner.looks == len(pictures)


def test_the_published_crop_is_cut_from_the_aligned_face(photos: Path, fake: FaceAnalyzer) -> None:
    photo = photo_of(photos, 2)
    extract = Extractor(fake, cover=ALIGNED_CROP, seed=3)
    face = fake.analyze(photo.image, select="centre")[0]
    cut = random_crop(face.crop, seed=3)
    np.testing.assert_array_equal(extract.crop(photo), cut.image)
    features, direct = extract(photo), fake.embed(cut.image[None])
    np.testing.assert_array_equal(features.embedding, direct.embedding)
    np.testing.assert_array_equal(features.patches, direct.patches)
    # The landmarks go with the window, and some leave it.
    layout = template(fake.network.spec.template)
    assert face.landmarks is not None
    matrix = layout.transform(face.landmarks)
    points = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
    x, y = points[:, 0], points[:, 1]
    moved = np.stack([x, y, np.ones(5)], axis=1) @ cut.transform.T
    np.testing.assert_array_equal(
        features.landmark_share, landmark_share(moved, (128, 128), (8, 8))[None]
    )
    assert features.digest == fake.digest


def test_a_crop_of_no_face_is_none_unless_the_whole_image_may_be(
    photos: Path, fake: FaceAnalyzer
) -> None:
    sky = photo_of(photos, -1)
    with pytest.raises(NoFaceError):
        Extractor(fake, cover=ALIGNED_CROP)(sky)
    features = Extractor(fake, cover=ALIGNED_CROP, whole_image="fallback")(sky)
    assert features.landmark_share is not None
    assert not features.landmark_share.any()


def test_threads_may_all_be_the_first(tmp_path: Path) -> None:
    class Nothing:
        name = "nothing"

        def detect(self, image: UInt8) -> list[Detection]:
            return []

    images = [np.full((2, 2, 3), n, dtype=np.uint8) for n in range(8)]
    for n in range(10):
        kept = KeptDetector(Nothing(), tmp_path / str(n))
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(kept.detect, images)) == [[]] * 8
