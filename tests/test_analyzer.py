"""From photos to faces: choosing among several, whole images, batches, bad photos between good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawn_people import identity, portrait
from faceflow.analyzer import Face, FaceAnalyzer, fit
from faceflow.arrays import UInt8
from faceflow.errors import FaceflowError, ImageError, InputError, NoFaceError
from faceflow.evaluation.metrics.pairs import fold_accuracy
from faceflow.faces.alignment import TEMPLATES, align
from faceflow.faces.detectors import Detection
from faceflow.features import FaceFeatures
from faceflow.networks import FaceNetwork


class Planted:
    """A detector that finds what was painted: squares of pure red, scored by their blue."""

    name = "planted"

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, image: UInt8) -> list[Detection]:
        self.calls += 1
        found = []
        for blue in np.unique(image[..., 2][image[..., 0] == 255]):
            rows, columns = np.nonzero((image[..., 0] == 255) & (image[..., 2] == blue))
            box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)
            points = TEMPLATES["lightcnn-128"].points / 128
            landmarks = box[:2] + points * (box[2:] - box[:2])
            found.append(Detection(box, landmarks, float(blue) / 255))
        return sorted(found, key=lambda f: -f.score)


class Counting:
    """A network that answers with the crops' mean colour, and remembers its batches."""

    def __init__(self, network: FaceNetwork) -> None:
        self.spec = network.spec
        self.digest = network.digest
        self.batches: list[int] = []

    def embed(self, crops: UInt8) -> FaceFeatures:
        self.batches.append(len(crops))
        means = crops.mean(axis=(1, 2)) + 1.0
        return FaceFeatures.from_maps(
            means, np.ones((len(crops), 2, 8, 8)) * means[:, :1, None, None]
        )


def paint(*squares: tuple[int, int, int, int], size: tuple[int, int] = (200, 300)) -> UInt8:
    """Grey, with red squares of (x, y, side, blue)."""
    image = np.full((*size, 3), 80, np.uint8)
    for x, y, side, blue in squares:
        image[y : y + side, x : x + side] = (255, 0, blue)
    return image


@pytest.fixture
def counting(default_network: FaceNetwork) -> Counting:
    return Counting(default_network)


@pytest.fixture
def planted(counting: Counting) -> FaceAnalyzer:
    return FaceAnalyzer(counting, Planted())  # type: ignore[arg-type]


def test_all_faces_best_first(planted: FaceAnalyzer) -> None:
    faces = planted.analyze(paint((10, 10, 60, 100), (100, 50, 40, 250), (200, 20, 30, 180)))
    assert [round(f.score * 255) for f in faces] == [250, 180, 100]
    np.testing.assert_array_equal(faces[0].box, [100, 50, 140, 90])
    assert all(f.source == "detected" and len(f.features) == 1 for f in faces)


def test_the_largest(planted: FaceAnalyzer) -> None:
    image = paint((10, 10, 60, 100), (100, 50, 40, 250), (200, 20, 30, 180))
    (face,) = planted.analyze(image, select="largest")
    np.testing.assert_array_equal(face.box, [10, 10, 70, 70])


@pytest.mark.parametrize(
    ("squares", "expected"),
    [
        # The middle one, not the largest at the edge.
        ([(0, 0, 90, 200), (120, 70, 60, 100)], 1),
        # A large face a little off beats a small one behind it nearer the middle.
        ([(95, 30, 90, 200), (190, 90, 16, 250)], 0),
        ([(0, 0, 90, 200)], 0),
    ],
)
def test_the_one_in_the_centre(
    planted: FaceAnalyzer, squares: list[tuple[int, int, int, int]], expected: int
) -> None:
    (face,) = planted.analyze(paint(*squares), select="centre")
    x, y, side, _ = squares[expected]
    np.testing.assert_array_equal(face.box, [x, y, x + side, y + side])


def test_crop_and_landmarks_belong_together(planted: FaceAnalyzer) -> None:
    image = paint((40, 40, 100, 200))
    (face,) = planted.analyze(image)
    assert face.landmarks is not None
    expected = align(image, face.landmarks, TEMPLATES["lightcnn-128"])
    np.testing.assert_array_equal(face.crop, expected)
    assert face.crop.shape == (128, 128, 3)


def test_no_face_says_so(planted: FaceAnalyzer, tmp_path: Path) -> None:
    with pytest.raises(NoFaceError, match=r"No face was found in The array"):
        planted.analyze(paint())
    path = tmp_path / "café wall.png"
    Image.fromarray(paint()).save(path)
    with pytest.raises(NoFaceError, match="café wall") as caught:
        planted.analyze(path)
    assert "whole image" in caught.value.todo


def test_the_whole_image_only_when_asked(planted: FaceAnalyzer) -> None:
    empty, full = paint(size=(60, 40)), paint((40, 40, 100, 200))
    (face,) = planted.analyze(empty, whole_image="fallback")
    assert (face.source, face.landmarks, face.score) == ("whole-image", None, 0.0)
    np.testing.assert_array_equal(face.box, [0, 0, 40, 60])
    assert face.crop.shape == (128, 128, 3)
    (face,) = planted.analyze(full, whole_image="fallback")
    assert face.source == "detected"
    detector: Any = planted.detector
    calls = detector.calls
    (face,) = planted.analyze(full, whole_image="always")
    assert face.source == "whole-image"
    assert detector.calls == calls, "always does not look for a face"


@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (50, 50), (1, 1), (3, 1000), (500, 400)])
def test_fitting_keeps_the_shape_of_things(shape: tuple[int, int]) -> None:
    """A disc stays round, whatever the photo's sides; the border is continued."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    disc = np.hypot(x - shape[1] / 2 + 0.5, y - shape[0] / 2 + 0.5) < min(shape) / 3
    image = np.where(disc[..., None], np.uint8(255), np.uint8(10)).repeat(3, axis=2)
    crop = fit(image, (128, 128))
    assert crop.shape == (128, 128, 3)
    if min(shape) >= 40:
        rows, columns = np.nonzero(crop[..., 0] > 128)
        assert abs(int(np.ptp(rows)) - int(np.ptp(columns))) <= 2
        assert abs(rows.mean() - 63.5) < 1
        assert abs(columns.mean() - 63.5) < 1
        assert crop[0, 0].tolist() == [10, 10, 10]


@pytest.mark.parametrize("options", [{"select": "best"}, {"whole_image": "yes"}])
def test_unknown_options(planted: FaceAnalyzer, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="choose one of"):
        planted.analyze(paint(), **options)
    with pytest.raises(InputError, match="choose one of"):
        next(planted.analyze_many([paint()], **options))


def test_batch_size_must_be_positive(planted: FaceAnalyzer) -> None:
    with pytest.raises(InputError, match="batch_size"):
        next(planted.analyze_many([paint()], batch_size=0))


def photos(tmp_path: Path) -> list[Any]:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    one, two = paint((40, 40, 100, 200)), paint((10, 10, 60, 100), (100, 50, 40, 250))
    return [one, broken, two, paint(), tmp_path / "missing.png", one, np.zeros(3), two, one]


def test_many_photos_in_order_and_errors_in_their_place(
    planted: FaceAnalyzer, tmp_path: Path
) -> None:
    given = photos(tmp_path)
    for batch_size in (1, 2, 3, 100):
        answers = list(planted.analyze_many(given, batch_size=batch_size))
        assert all(a is b for (a, _), b in zip(answers, given, strict=True))
        kinds = [type(r).__name__ if isinstance(r, FaceflowError) else len(r) for _, r in answers]
        assert kinds == [1, "ImageError", 2, "NoFaceError", "ImageError", 1, "InputError", 2, 1]


def test_many_photos_give_what_each_alone_gives(planted: FaceAnalyzer, tmp_path: Path) -> None:
    for source, answer in planted.analyze_many(photos(tmp_path), batch_size=3):
        if isinstance(answer, FaceflowError):
            with pytest.raises(type(answer)):
                planted.analyze(source)
            continue
        for one, other in zip(answer, planted.analyze(source), strict=True):
            np.testing.assert_array_equal(one.box, other.box)
            np.testing.assert_array_equal(one.crop, other.crop)
            np.testing.assert_allclose(one.features.embedding, other.features.embedding)


def test_faces_are_embedded_together_and_photos_taken_one_by_one(
    planted: FaceAnalyzer, counting: Counting
) -> None:
    taken = 0

    def source() -> Iterator[UInt8]:
        nonlocal taken
        for _ in range(40):
            taken += 1
            yield paint((40, 40, 100, 200))

    ahead = []
    for done, _ in enumerate(planted.analyze_many(source(), batch_size=4)):
        ahead.append(taken - done)
    assert counting.batches == [4] * 10
    assert max(ahead) <= 4, "memory would grow with the number of photos"


def test_a_long_row_of_bad_photos_does_not_pile_up(planted: FaceAnalyzer) -> None:
    taken = 0

    def source() -> Iterator[UInt8]:
        nonlocal taken
        for _ in range(50):
            taken += 1
            yield paint()

    answers = planted.analyze_many(source(), batch_size=4)
    assert isinstance(next(answers)[1], NoFaceError)
    assert taken <= 4


def test_nothing_in_nothing_out(planted: FaceAnalyzer) -> None:
    assert list(planted.analyze_many([])) == []


def test_nothing_is_loaded_before_it_is_needed() -> None:
    FaceAnalyzer()


def test_the_same_person_is_closer_than_another(analyzer: FaceAnalyzer) -> None:
    """The real network and detector on drawn faces."""
    drawn = [portrait(identity(seed), n, size=256).image for seed in (1, 2) for n in (0, 1)]
    faces = [answer for _, answer in analyzer.analyze_many(drawn, select="largest")]
    found = [f for answer in faces if isinstance(answer, list) for f in answer]
    assert len(found) == 4
    assert all(isinstance(f, Face) and f.landmarks is not None for f in found)
    similar = np.concatenate([f.features.embedding for f in found])
    similar = similar @ similar.T
    assert similar[0, 1] > similar[0, 2:].max()
    assert similar[2, 3] > similar[2, :2].max()


def test_a_batch_equals_its_photos_one_by_one(analyzer: FaceAnalyzer) -> None:
    drawn = [portrait(identity(seed), size=256).image for seed in range(5)]
    for image, answer in analyzer.analyze_many(drawn, batch_size=3):
        assert isinstance(answer, list)
        for one, alone in zip(answer, analyzer.analyze(image), strict=True):
            np.testing.assert_array_equal(one.crop, alone.crop)
            np.testing.assert_allclose(one.features.embedding, alone.features.embedding, atol=1e-5)


def test_a_real_photo_that_is_no_image(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 cut")
    with pytest.raises(ImageError):
        analyzer.analyze(path)


def test_lfw_verification(analyzer: FaceAnalyzer, shared_dir: Path) -> None:
    """200 of LFW's 6,000 pairs; benchmarks/accuracy/lfw_verification.py runs them all."""
    lines = (shared_dir / "data/lfw_protocol/pairs.txt").read_text().splitlines()[1:]
    pairs, same = [], []
    for start in range(0, 6000, 600):  # ten of each kind from each fold
        for line in [*lines[start : start + 10], *lines[start + 300 : start + 310]]:
            a, *rest = line.split("\t")
            other = [a, rest[1]] if len(rest) == 2 else rest[1:]
            pairs.append([f"{a}_{int(rest[0]):04}", f"{other[0]}_{int(other[1]):04}"])
            same.append(len(rest) == 2)
    root = shared_dir / "data/lfw"
    paths = {n: root / n[:-5] / f"{n}.jpg" for pair in pairs for n in pair}
    found: dict[str, FaceFeatures] = {}
    for path, answer in analyzer.analyze_many(list(paths.values()), select="centre"):
        assert isinstance(answer, list), f"{path}: {answer}"
        found[path.stem] = answer[0].features
    scores = np.array([float(found[a].embedding[0] @ found[b].embedding[0]) for a, b in pairs])
    result = fold_accuracy(scores, np.array(same), np.repeat(np.arange(10), 20))
    assert result.mean >= 0.98


def test_landmark_shares_are_those_of_the_crop(planted: FaceAnalyzer) -> None:
    """Planted landmarks lie where the template has them, so the template tells the cells."""
    (face,) = planted.analyze(paint((40, 40, 100, 200)))
    share = face.features.landmark_share
    assert share is not None
    expected = np.zeros((8, 8))
    for x, y in TEMPLATES["lightcnn-128"].points:
        expected[int(y // 16), int(x // 16)] += 0.2
    np.testing.assert_allclose(share[0].reshape(8, 8), expected, atol=1e-6)
    (whole,) = planted.analyze(paint(), whole_image="always")
    assert whole.features.landmark_share is not None
    assert not whole.features.landmark_share.any()


def test_all_68_landmarks_count_where_a_detector_finds_them(counting: Counting) -> None:
    points = np.stack([np.linspace(50, 150, 68), np.full(68, 70.0)], axis=1)

    class Dense(Planted):
        def detect(self, image: UInt8) -> list[Detection]:
            return [replace(found, points=points) for found in super().detect(image)]

    (face,) = FaceAnalyzer(counting, Dense()).analyze(paint((40, 40, 128, 200)))  # type: ignore[arg-type]
    share = face.features.landmark_share
    assert share is not None
    # The box is 128 wide: crop x = photo x - 40, row (70 - 40) // 16 = 1.
    expected = np.bincount((1 * 8 + (points[:, 0] - 40) // 16).astype(int), minlength=64) / 68
    np.testing.assert_allclose(share[0], expected, atol=1e-6)
