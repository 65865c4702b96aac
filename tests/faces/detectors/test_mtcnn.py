"""MTCNN: the published networks' numbers, the published detector's faces, and odd photos."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn_people import identity, portrait
from faceflow.errors import InputError, WeightsError
from faceflow.faces.detectors import Detection, Detector, MtcnnDetector
from faceflow.faces.detectors.models import MTCNN
from faceflow.faces.detectors.mtcnn_graphs import build_mtcnn
from faceflow.faces.images import load_image
from faceflow.weights import load_graphs


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return portrait(identity(1), size=256).image


def same(a: list[Detection], b: list[Detection], *, atol: float = 1e-3) -> None:
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=atol)
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=atol)
        assert one.score == pytest.approx(other.score, abs=1e-4)


def test_networks_equal_the_published_ones(mtcnn: MtcnnDetector, reference: dict[str, Any]) -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    for name, side in (("pnet", 16), ("rnet", 24), ("onet", 48)):
        image = rng.uniform(0, 255, (2, side, side, 3)).astype(np.float32)
        expected = reference["networks"][name]
        outputs = mtcnn._graphs.run(name, list(expected), image)
        for key, values in zip(expected, outputs, strict=True):
            np.testing.assert_allclose(values, expected[key], rtol=1e-4, atol=1e-6)


def test_faces_equal_the_published_detectors(
    mtcnn: MtcnnDetector, reference: dict[str, Any], shared_dir: Path
) -> None:
    """On faces well inside the photo; at its border we differ on purpose."""
    for name, expected in reference["mtcnn"].items():
        found = mtcnn.detect(load_image(shared_dir / "data" / name))
        assert len(found) == len(expected), name
        for ours, theirs in zip(found, expected, strict=True):
            # The published boxes count pixels from 1.
            box = np.array(theirs["box"]) - [1, 1, 0, 0]
            np.testing.assert_allclose(ours.box, box, atol=0.01, err_msg=name)
            np.testing.assert_allclose(ours.landmarks, theirs["landmarks"], atol=0.01)
            assert ours.score == pytest.approx(theirs["score"], abs=1e-4)


def test_a_drawn_face_is_found_where_it_was_drawn(mtcnn: MtcnnDetector) -> None:
    for seed in range(4):
        drawn = portrait(identity(seed), size=256)
        (found,) = mtcnn.detect(drawn.image)
        eyes = np.linalg.norm(drawn.landmarks[1] - drawn.landmarks[0])
        assert np.linalg.norm(found.landmarks - drawn.landmarks, axis=1).mean() < 0.2 * eyes
        assert (found.box[:2] < drawn.landmarks.min(axis=0)).all()
        assert (found.box[2:] > drawn.landmarks.max(axis=0)).all()


def test_several_faces_best_first(mtcnn: MtcnnDetector, face: np.ndarray) -> None:
    faces = [portrait(identity(seed), size=size).image for seed, size in ((1, 256), (2, 128))]
    image = np.zeros((256, 400, 3), np.uint8)
    image[:, :256], image[64:192, 264:392] = faces
    found = mtcnn.detect(image)
    assert len(found) == 2
    assert found[0].score >= found[1].score
    assert sorted(f.box[0] > 256 for f in found) == [False, True]


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (300, 1), (11, 11), (12, 12), (13, 700), (6000, 14), (4, 30_000)]
)
def test_tiny_and_stretched_images_hold_no_face(
    mtcnn: MtcnnDetector, shape: tuple[int, int]
) -> None:
    for value in (0, 255):
        assert mtcnn.detect(np.full((*shape, 3), value, np.uint8)) == []
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for found in mtcnn.detect(noise):
        assert found.size > 0


def test_a_photo_cut_close_to_the_face_keeps_its_landmarks(mtcnn: MtcnnDetector) -> None:
    """The published way of cropping misplaces them by 0.3 of the eyes' distance here."""
    errors = []
    for seed in range(6):
        drawn = portrait(identity(seed), size=256)
        (whole,) = mtcnn.detect(drawn.image)
        x0, y0, x1, y1 = whole.box.astype(int)
        shift = np.array([x0 + 4, y0 + 8])
        cut = np.ascontiguousarray(drawn.image[y0 + 8 : y1 - 5, x0 + 4 : x1 - 6])
        found = mtcnn.detect(cut)
        assert found
        for one in found:
            assert (one.box >= 0).all()
            assert (one.box[2:] <= cut.shape[1::-1]).all()
        eyes = np.linalg.norm(drawn.landmarks[1] - drawn.landmarks[0])
        off = np.linalg.norm(found[0].landmarks + shift - drawn.landmarks, axis=1)
        errors.append(off.mean() / eyes)
    assert np.mean(errors) < 0.12


def test_a_second_look_finds_a_covered_face(mtcnn: MtcnnDetector, shared_dir: Path) -> None:
    """Real masked faces that one look misses; measured on all 265: 71 missed, then 16."""
    photos = sorted((shared_dir / "data" / "rof" / "masked").glob("*/*.jpg"))[:40]
    once = MtcnnDetector(load_graphs(MTCNN), retry=False)
    missed = [p for p in photos if not once.detect(load_image(p))]
    still = [p for p in missed if not mtcnn.detect(load_image(p))]
    assert len(missed) >= 5
    assert len(still) <= len(missed) // 2


def test_a_large_photo_is_searched_small_and_answered_large(
    mtcnn: MtcnnDetector, face: np.ndarray
) -> None:
    large = np.repeat(np.repeat(face, 8, axis=0), 8, axis=1)
    found, small = mtcnn.detect(large)[0], mtcnn.detect(face)[0]
    assert large.shape[0] * large.shape[1] > mtcnn.max_pixels
    np.testing.assert_allclose(found.landmarks / 8, small.landmarks, atol=0.06 * small.size)
    np.testing.assert_allclose(found.box / 8, small.box, atol=0.15 * small.size)


def test_min_face_leaves_out_smaller_ones(face: np.ndarray) -> None:
    try:
        graphs = load_graphs(MTCNN)
    except WeightsError as error:
        pytest.skip(str(error))
    assert MtcnnDetector(graphs, min_face=60).detect(face)
    assert MtcnnDetector(graphs, min_face=300, retry=False).detect(face) == []


@pytest.mark.parametrize(
    "options",
    [
        {"min_face": 0},
        {"min_face": float("nan")},
        {"thresholds": (0.6, 0.7, 1.0)},
        {"thresholds": (0.0, 0.7, 0.7)},
        {"factor": 1.0},
        {"max_pixels": 100},
        {"max_pixels": 10**8},
        {"threads": 0},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        MtcnnDetector({"pnet": b""}, **options)


def test_what_is_no_image_is_refused(mtcnn: MtcnnDetector) -> None:
    for bad in (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)):
        with pytest.raises(InputError, match="image has shape"):
            mtcnn.detect(bad)  # type: ignore[arg-type]


def test_the_photo_is_not_changed(mtcnn: MtcnnDetector, face: np.ndarray) -> None:
    frozen = face.copy()
    frozen.flags.writeable = False
    mtcnn.detect(frozen)
    np.testing.assert_array_equal(frozen, face)


def test_several_threads_and_a_pickled_copy_agree(mtcnn: MtcnnDetector, face: np.ndarray) -> None:
    alone = mtcnn.detect(face)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(mtcnn.detect, [face] * 8):
            same(found, alone, atol=0.05)
    same(pickle.loads(pickle.dumps(mtcnn)).detect(face), alone)


def test_another_process_can_use_it(mtcnn: MtcnnDetector, face: np.ndarray) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        same(pool.submit(mtcnn.detect, face).result(timeout=60), mtcnn.detect(face))


def test_it_is_a_detector(mtcnn: MtcnnDetector) -> None:
    detector: Detector = mtcnn
    assert detector.name == "mtcnn"


def test_other_tensors_are_refused() -> None:
    with pytest.raises(WeightsError, match="mtcnn-pnet"):
        build_mtcnn({f"facenet_pytorch/data/{n}.pt": {} for n in ("pnet", "rnet", "onet")})
    assert replace(MTCNN, builder=2).graphs == ("pnet", "rnet", "onet")
