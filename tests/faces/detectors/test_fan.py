"""The FAN adapter, around a stand-in with the interface of ``face_alignment.FaceAlignment``.

The package's own weights come from a web site that tests must not touch, so what FAN finds is
not tested; what happens to its answers, and to its failures, is.
"""

from __future__ import annotations

import builtins
import sys
import types
import warnings
from enum import IntEnum
from typing import Any

import numpy as np
import pytest

from faceflow.analyzer import FaceAnalyzer
from faceflow.arrays import UInt8
from faceflow.errors import InputError, MissingExtraError, WeightsError
from faceflow.faces.alignment import TEMPLATES, align
from faceflow.faces.detectors import ALIGNMENTS, FanDetector, alignment_of, load_detector
from faceflow.faces.landmarks import five_from_68

IMAGE = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)


def face(x: float, y: float, side: float) -> np.ndarray:
    """68 points: eyes, nose and inner mouth corners as the template has them, chin around."""
    five = TEMPLATES["lightcnn-128"].points
    points = np.tile([64.0, 100.0], (68, 1))
    angle = np.linspace(0, np.pi, 17)
    points[:17] = np.stack([64 - 50 * np.cos(angle), 64 + 55 * np.sin(angle)], axis=1)
    ring = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    for start, eye in ((36, five[0]), (42, five[1])):
        points[start : start + 6] = eye + 4 * np.stack([np.cos(ring), np.sin(ring)], axis=1)
    points[30], points[60], points[64] = five[2], five[3], five[4]
    return np.array([x, y]) + points * side / 128


class StandIn:
    """Answers as ``face_alignment`` 1.5 does: float32, warnings, None for nothing."""

    def __init__(self, faces: list[tuple[np.ndarray, list[float]]]) -> None:
        self.faces = faces

    def get_landmarks_from_image(self, image: UInt8, *, return_bboxes: bool) -> Any:
        assert return_bboxes
        assert image.dtype == np.uint8
        if not self.faces:
            warnings.warn("No faces were detected.", stacklevel=2)
            return None, None, None
        points, boxes = zip(*self.faces, strict=True)
        return [p.astype(np.float32) for p in points], None, [np.float32(b) for b in boxes]


def test_faces_come_best_first_and_clipped() -> None:
    engine = StandIn(
        [(face(10, 10, 100), [10, 10, 110, 110, 0.7]), (face(180, 90, 128), [180, 90, 308, 218, 1])]
    )
    best, other = FanDetector(engine=engine).detect(IMAGE)
    np.testing.assert_allclose(best.box, [180, 90, 300, 200])
    assert (best.score, other.score) == (1.0, pytest.approx(0.7))
    assert best.points is not None
    np.testing.assert_allclose(best.points, face(180, 90, 128), atol=1e-3)
    np.testing.assert_allclose(best.landmarks, five_from_68(best.points))
    expected = np.array([180, 90]) + TEMPLATES["lightcnn-128"].points
    np.testing.assert_allclose(best.landmarks, expected, atol=1e-3)


def test_3d_answers_lose_their_depth_and_truncation_has_a_name() -> None:
    deep = np.concatenate([face(20.6, 30.6, 100), np.ones((68, 1))], axis=1)
    engine = StandIn([(deep, [20, 30, 120, 130, 0.9])])
    (found,) = FanDetector("3d", truncate=True, engine=engine).detect(IMAGE)
    assert found.points is not None
    assert found.points.shape == (68, 2)
    np.testing.assert_array_equal(found.landmarks, np.trunc(five_from_68(found.points)))
    detectors = [FanDetector("2d", engine=engine), FanDetector("3d", engine=engine)]
    assert [alignment_of(d) for d in detectors] == list(ALIGNMENTS[1:])
    assert alignment_of(FanDetector("3d", truncate=True, engine=engine)) == "fan-3d-truncated"


def test_nothing_found_is_an_empty_list_without_a_warning() -> None:
    assert FanDetector(engine=StandIn([])).detect(IMAGE) == []
    outside = [
        (face(0, 0, 50), [400, 10, 500, 60, 0.9]),
        (np.full((68, 2), np.nan), [0, 0, 9, 9, 1]),
    ]
    assert FanDetector(engine=StandIn(outside)).detect(IMAGE) == []


def test_another_interface_is_named() -> None:
    wrong = StandIn([(np.zeros((98, 2)), [0, 0, 9, 9, 1])])
    with pytest.raises(InputError, match=r"\(98, 2\) landmarks"):
        FanDetector(engine=wrong).detect(IMAGE)
    with pytest.raises(InputError, match="landmark mode"):
        FanDetector("4d")  # type: ignore[arg-type]


def test_the_analyzer_aligns_with_it_and_counts_68(default_network) -> None:
    engine = StandIn([(face(40, 40, 128), [40, 40, 168, 168, 1])])
    analyzer = FaceAnalyzer(default_network, FanDetector(engine=engine))
    assert analyzer.alignment == "fan-2d"
    (found,) = analyzer.analyze(IMAGE)
    assert found.landmarks is not None
    np.testing.assert_array_equal(
        found.crop, align(IMAGE, found.landmarks, TEMPLATES["lightcnn-128"])
    )
    share = found.features.landmark_share
    assert share is not None
    assert np.unique(np.rint(share * 68)).size > 3  # counts, not the five equal fifths
    np.testing.assert_allclose(share * 68, np.rint(share * 68), atol=1e-4)


def test_alignment_and_detector_must_agree() -> None:
    detector = FanDetector(engine=StandIn([]))
    with pytest.raises(InputError, match="aligns as fan-2d, not as mtcnn"):
        FaceAnalyzer(None, detector, alignment="mtcnn")
    with pytest.raises(InputError, match="choose one of mtcnn, fan-2d, fan-3d"):
        FaceAnalyzer(alignment="fan")
    with pytest.raises(InputError, match="choose one of"):
        load_detector("yuface")
    assert FaceAnalyzer().alignment == "mtcnn"


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "face_alignment":
            raise ModuleNotFoundError("No module named 'face_alignment'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError, match=r"pip install 'faceflow\[fan\]'"):
        load_detector("fan-2d")


@pytest.mark.parametrize(("mode", "kind"), [("fan-2d", "TWO_D"), ("fan-3d", "TWO_HALF_D")])
def test_the_package_is_asked_for_the_right_network(
    mode: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kinds(IntEnum):
        TWO_D = 1
        TWO_HALF_D = 2
        THREE_D = 3

    asked = []

    def build(landmarks_type: Kinds, **options: object) -> StandIn:
        asked.append((landmarks_type.name, options))
        return StandIn([])

    package = types.SimpleNamespace(LandmarksType=Kinds, FaceAlignment=build)
    monkeypatch.setitem(sys.modules, "face_alignment", package)  # type: ignore[arg-type]
    assert load_detector(mode).name == mode
    assert asked == [(kind, {"device": "cpu", "compile": False})]


def test_weights_that_cannot_be_fetched_say_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("<urlopen error [Errno -2] Name or service not known>")

    kinds = types.SimpleNamespace(TWO_D=1)
    package = types.SimpleNamespace(LandmarksType=kinds, FaceAlignment=unreachable)
    monkeypatch.setitem(sys.modules, "face_alignment", package)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=r"not known.*2DFAN4-11f355bf06.*TORCH_HOME"):
        load_detector("fan-2d")
    with pytest.raises(MissingExtraError, match="too old"):
        load_detector("fan-3d")
