"""CenterFace: the published network's numbers and faces, closer looks, and odd photos."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from drawn_people import identity, portrait
from faceflow import weights
from faceflow.errors import InputError, WeightsError
from faceflow.faces.detectors import CenterFaceDetector, Detection, Detector
from faceflow.faces.detectors.canvas import fit
from faceflow.faces.detectors.centerface import OUTPUTS, decode
from faceflow.faces.detectors.centerface_graph import MEMBER, build_centerface
from faceflow.faces.detectors.models import CENTERFACE
from faceflow.faces.images import load_image
from faceflow.weights import WheelFile, load_graphs


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return portrait(identity(1), size=256).image


def same(a: list[Detection], b: list[Detection], *, atol: float = 1e-3) -> None:
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=atol)
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=atol)
        assert one.score == pytest.approx(other.score, abs=1e-4)


def test_outputs_equal_the_published_ones(
    centerface: CenterFaceDetector, reference: dict[str, Any]
) -> None:
    """Mean, deviation and two values of each picture's output, in a batch of two 32 x 64."""
    image = np.random.Generator(np.random.PCG64(0)).uniform(0, 255, (2, 3, 32, 64))
    outputs = centerface._graphs.run("centerface", OUTPUTS, image.astype(np.float32))
    for name, values in zip(OUTPUTS, outputs, strict=True):
        found = [[v.mean(), v.std(), v.ravel()[5], v.ravel()[-1]] for v in values]
        expected = reference["centerface"]["outputs"][name]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=name)


def test_faces_equal_the_published_detectors(
    centerface: CenterFaceDetector, reference: dict[str, Any], shared_dir: Path
) -> None:
    """One look at the photo's own size. (The published one moves landmarks of cut-off boxes.)"""
    for name, expected in reference["centerface"]["faces"].items():
        image = load_image(shared_dir / "data" / name)
        boxes, landmarks, scores = centerface._look(fit(image, 192), 0.3)
        assert len(boxes) == len(expected), name
        for n, theirs in enumerate(expected):
            inside = np.clip(boxes[n], 0, 192)
            np.testing.assert_allclose(inside, theirs["box"], atol=0.05, err_msg=name)
            if (boxes[n] == inside).all():
                np.testing.assert_allclose(landmarks[n], theirs["landmarks"], atol=0.05)
            assert scores[n] == pytest.approx(theirs["score"], abs=1e-4)


def naive(heat: Any, size: Any, offset: Any, marks: Any, threshold: float) -> list[Any]:
    """Cell by cell, with plain numbers."""
    found = []
    for i in range(heat.shape[1]):
        for j in range(heat.shape[2]):
            if heat[0, i, j] > threshold:
                height, width = (4 * np.exp(float(size[k, i, j])) for k in (0, 1))
                x0 = 4 * (j + float(offset[1, i, j]) + 0.5) - width / 2
                y0 = 4 * (i + float(offset[0, i, j]) + 0.5) - height / 2
                points = [
                    (x0 + width * marks[2 * k + 1, i, j], y0 + height * marks[2 * k, i, j])
                    for k in range(5)
                ]
                found.append(((x0, y0, x0 + width, y0 + height), points, heat[0, i, j]))
    return found


def test_decoding_equals_a_reading_cell_by_cell() -> None:
    rng = np.random.default_rng(3)
    heat, size, offset, marks = (
        rng.uniform(0, 1, (count, 6, 9)).astype(np.float32) for count in (1, 2, 2, 10)
    )
    boxes, landmarks, scores = decode(heat, size, offset, marks, threshold=0.6)
    expected = naive(heat, size, offset, marks, 0.6)
    assert len(boxes) == len(expected) > 5
    for n, (box, points, score) in enumerate(expected):
        np.testing.assert_allclose(boxes[n], box, atol=1e-4)
        np.testing.assert_allclose(landmarks[n], points, atol=1e-4)
        assert scores[n] == score


def test_a_drawn_face_is_found_where_it_was_drawn(centerface: CenterFaceDetector) -> None:
    for seed in range(4):
        drawn = portrait(identity(seed), size=256)
        (found,) = centerface.detect(drawn.image)
        eyes = np.linalg.norm(drawn.landmarks[1] - drawn.landmarks[0])
        assert np.linalg.norm(found.landmarks - drawn.landmarks, axis=1).mean() < 0.2 * eyes
        assert (found.box[:2] < drawn.landmarks.min(axis=0)).all()
        assert (found.box[2:] > drawn.landmarks.max(axis=0)).all()


def test_landmarks_of_a_mirrored_photo_are_the_mirrored_ones(
    centerface: CenterFaceDetector, face: np.ndarray
) -> None:
    (straight,) = centerface.detect(face)
    (mirrored,) = centerface.detect(np.ascontiguousarray(face[:, ::-1]))
    back = mirrored.landmarks[[1, 0, 2, 4, 3]] * [-1, 1] + [256, 0]
    eyes = np.linalg.norm(straight.landmarks[1] - straight.landmarks[0])
    assert np.abs(back - straight.landmarks).max() < 0.05 * eyes


def test_closer_looks_steady_the_landmarks(shared_dir: Path) -> None:
    """Of real masked faces at five sizes: the spread falls by a quarter."""
    graphs = _graphs()
    once, closer = CenterFaceDetector(graphs, windows=()), CenterFaceDetector(graphs)
    photos = sorted((shared_dir / "data" / "rof" / "masked").glob("*/*.jpg"))[:60:5]
    spread = {}
    for detector in (once, closer):
        spread[detector] = 0.0
        for path in photos:
            image, seen = load_image(path), []
            for side in (150, 190, 230, 270, 310):
                ratio = side / max(image.shape)
                small = cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
                found = detector.detect(np.asarray(small, np.uint8))
                if found:
                    seen.append(found[0].landmarks / side)
            spread[detector] += float(np.std(seen, axis=0).mean()) if len(seen) > 1 else 0.0
    assert spread[closer] < 0.85 * spread[once]


def test_small_faces_in_a_large_photo(centerface: CenterFaceDetector, face: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(90, 160, (1100, 1500, 3)).astype(np.uint8)
    places = [(100, 150), (700, 200), (1300, 900), (300, 800)]
    for (x, y), side in zip(places, (48, 64, 96, 200), strict=True):
        small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
        image[y : y + side, x : x + side] = small
    found = centerface.detect(image)
    for (x, y), side in zip(places, (48, 64, 96, 200), strict=True):
        middle = np.array([x, y]) + side / 2
        assert any(
            np.linalg.norm((one.box[:2] + one.box[2:]) / 2 - middle) < side / 3 for one in found
        ), side
    assert len(found) == len(places)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (300, 1), (31, 33), (13, 700), (6000, 14), (4, 30_000)]
)
def test_tiny_and_stretched_images_hold_no_face(
    centerface: CenterFaceDetector, shape: tuple[int, int]
) -> None:
    for value in (0, 255):
        assert centerface.detect(np.full((*shape, 3), value, np.uint8)) == []
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for found in centerface.detect(noise):
        assert found.size > 0


def test_covered_faces_are_found(centerface: CenterFaceDetector, shared_dir: Path) -> None:
    """Real masks: of all 265 it finds 264; MTCNN with its own second look finds 249."""
    photos = sorted((shared_dir / "data" / "rof" / "masked").glob("*/*.jpg"))[:40]
    missed = [path for path in photos if not centerface.detect(load_image(path))]
    assert len(missed) <= 1


def test_what_no_closer_look_confirms_must_be_sure(
    face: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = _graphs()
    (first,) = CenterFaceDetector(graphs, windows=()).detect(face)
    monkeypatch.setattr(CenterFaceDetector, "_look_closer", lambda *_: None)
    (found,) = CenterFaceDetector(graphs, sure=first.score - 0.01).detect(face)
    np.testing.assert_array_equal(found.landmarks, first.landmarks)
    assert CenterFaceDetector(graphs, sure=first.score + 0.01).detect(face) == []


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0},
        {"threshold": 1.0},
        {"low_threshold": 0.9},
        {"overlap": 1.5},
        {"sure": -0.1},
        {"coarse": 8},
        {"fine": 100},
        {"fine": 100_000},
        {"windows": (0.5,)},
        {"windows": (float("nan"),)},
        {"threads": 0},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        CenterFaceDetector({"centerface": b""}, **options)


def test_what_is_no_image_is_refused(centerface: CenterFaceDetector) -> None:
    for bad in (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)):
        with pytest.raises(InputError, match="image has shape"):
            centerface.detect(bad)  # type: ignore[arg-type]


def test_threads_a_pickled_copy_and_a_frozen_photo(
    centerface: CenterFaceDetector, face: np.ndarray
) -> None:
    frozen = face.copy()
    frozen.flags.writeable = False
    alone = centerface.detect(frozen)
    np.testing.assert_array_equal(frozen, face)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(centerface.detect, [face] * 3):
            same(found, alone)
    same(pickle.loads(pickle.dumps(centerface)).detect(face), alone)
    detector: Detector = centerface
    assert detector.name == "centerface"


def test_another_graph_is_refused(yunet_file: Callable[..., bytes]) -> None:
    with pytest.raises(WeightsError, match="not the published network"):
        build_centerface({MEMBER: yunet_file()})


def _graphs() -> dict[str, bytes]:
    try:
        return load_graphs(CENTERFACE)
    except WeightsError as error:
        pytest.skip(str(error))


def test_the_default_detector_has_one_name() -> None:
    """It is said twice, because what features hold must not load detectors."""
    from faceflow.faces import detectors
    from faceflow.features import DEFAULT_DETECTOR

    assert DEFAULT_DETECTOR == detectors.DEFAULT == detectors.MODELS[0].name


def test_a_published_graph_is_pulled_without_reading_tensors(
    yunet_file: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path / "cache"))
    content = yunet_file()
    (source,) = CENTERFACE.sources
    assert isinstance(source, WheelFile)
    pinned = replace(source, size=len(content), member_sha256=hashlib.sha256(content).hexdigest())
    model = replace(CENTERFACE, sources=(pinned,))
    file = tmp_path / "centerface.onnx"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="not the published network"):
        weights.pull(model, from_file=file)
    assert weights.verify(model).status is weights.Status.MISSING
    kept = replace(model, rewrite=lambda files: {"centerface": files[MEMBER]}, graph_sha256={})
    weights.pull(kept, from_file=file)
    assert load_graphs(kept) == {"centerface": content}
    file.write_bytes(content[:-1] + b"x")
    with pytest.raises(WeightsError, match="sha256"):
        weights.pull(kept, from_file=file, force=True)
