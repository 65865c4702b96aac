"""YuNet and SCRFD from files of users, on graphs of their layout made here; what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from faceflow import models, weights
from faceflow.errors import InputError, WeightsError
from faceflow.faces.detectors import (
    DETECTORS,
    Detection,
    Detector,
    ScrfdDetector,
    YuNetDetector,
    load_detector,
)
from faceflow.faces.detectors.onnx_file import read, rewrite
from faceflow.faces.detectors.scrfd_graph import build_scrfd
from faceflow.faces.detectors.yunet_graph import build_yunet


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blocks of 8 x 8 pixels of random colours, so that no two cells score alike."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3))
    return blocks.astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)


def scrfd_detector(content: bytes, **options: float) -> ScrfdDetector:
    graphs = build_scrfd({"f": content}, "scrfd-10g")
    return ScrfdDetector(graphs, "scrfd-10g", **options)  # type: ignore[arg-type]


def test_yunet_equals_opencvs_own_reading(yunet_file: Callable[..., bytes], tmp_path: Path) -> None:
    content = yunet_file((64, 96))
    file = tmp_path / "yunet.onnx"
    file.write_bytes(content)
    theirs = cv2.FaceDetectorYN.create(str(file), "", (96, 64), 0.5, 1.0, 5000)
    # All overlaps allowed: OpenCV rounds boxes to whole pixels before it suppresses.
    ours = YuNetDetector(build_yunet({"f": content}), threshold=0.5, overlap=1.0)
    for seed in range(4):
        image = photo(64, 96, seed)
        _, rows = theirs.detect(np.ascontiguousarray(image[..., ::-1]))
        found = ours.detect(image)
        limit = [96, 64, 96, 64]
        expected = []
        for row in rows:
            x, y, w, h = row[:4]
            box = np.clip([x, y, x + w, y + h], 0, limit)
            if box[0] < box[2] and box[1] < box[3]:
                expected.append((box, row[4:14].reshape(5, 2), row[14]))
        expected.sort(key=lambda one: -one[2])
        assert len(found) == len(expected) > 0
        for one, (box, points, score) in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.box, box, atol=0.01)
            np.testing.assert_allclose(one.landmarks, points, atol=0.01)
            assert one.score == pytest.approx(float(score), abs=1e-5)


def naive_scrfd(content: bytes, image: np.ndarray, threshold: float) -> Iterator[tuple]:
    """Read anchor by anchor, as InsightFace's documentation has it, without suppression."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    pixels = ((image.astype(np.float32) - 127.5) / 128).transpose(2, 0, 1)[None]
    values = session.run(None, {"input.1": pixels})
    height, width = image.shape[:2]
    for level, stride in enumerate((8, 16, 32)):
        scores, boxes, points = values[level], values[level + 3], values[level + 6]
        n = 0
        for i in range(height // stride):
            for j in range(width // stride):
                for _ in range(2):
                    if scores[n, 0] >= threshold:
                        x, y = j * stride, i * stride
                        left, top, right, bottom = boxes[n] * stride
                        corners = (x - left, y - top, x + right, y + bottom)
                        marks = [
                            (x + points[n, 2 * p] * stride, y + points[n, 2 * p + 1] * stride)
                            for p in range(5)
                        ]
                        yield float(scores[n, 0]), np.array(corners), np.array(marks)
                    n += 1


def test_scrfd_equals_a_reading_anchor_by_anchor(scrfd_file: Callable[..., bytes]) -> None:
    content, image = scrfd_file(), photo(64, 96)
    expected = sorted(naive_scrfd(content, image, 0.6), key=lambda one: -one[0])
    # All overlaps allowed, and at the photo's own size, so that nothing but reading is compared.
    found = scrfd_detector(content, threshold=0.6, overlap=1.0, longest=96).detect(image)
    expected = [
        (score, box, marks)
        for score, corners, marks in expected
        if (box := np.clip(corners, 0, [96, 64, 96, 64]))[0] < box[2] and box[1] < box[3]
    ]
    assert len(found) == len(expected) > 5
    for one, (score, box, marks) in zip(found, expected, strict=True):
        assert one.score == pytest.approx(score, abs=1e-5)
        np.testing.assert_allclose(one.box, box, atol=1e-3)
        np.testing.assert_allclose(one.landmarks, marks, atol=1e-3)


def test_a_photo_of_another_size_is_answered_in_its_own_pixels(
    yunet_file: Callable[..., bytes], scrfd_file: Callable[..., bytes]
) -> None:
    small, large = photo(32, 48), photo(32, 48).repeat(4, axis=0).repeat(4, axis=1)
    for detector in (
        scrfd_detector(scrfd_file(), longest=96, threshold=0.6),
        scrfd_detector(scrfd_file((64, 96)), threshold=0.6),
        YuNetDetector(build_yunet({"f": yunet_file((64, 96))}), threshold=0.6),
    ):
        one, four = detector.detect(small), detector.detect(large)
        assert one
        assert four
        for found, (height, width) in ((one, (32, 48)), (four, (128, 192))):
            for face in found:
                assert (face.box >= 0).all()
                assert (face.box[2:] <= [width, height]).all()
        assert max(f.box[2] for f in four) > 48


def test_they_are_detectors_from_a_file_of_the_users(
    yunet_file: Callable[..., bytes],
    scrfd_file: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError, match=r"models import yunet FILE"):
        load_detector("yunet")
    with pytest.raises(WeightsError, match="only at OpenCV's model zoo"):
        models.pull("yunet")
    for name, content in (
        ("yunet", yunet_file()),
        ("scrfd-10g", scrfd_file()),
        ("scrfd-500m", scrfd_file(names=300)),
    ):
        file = tmp_path / f"{name}.onnx"
        file.write_bytes(content)
        models.import_checkpoint(name, file)
        assert models.verify(name).status is weights.Status.READY
        detector: Detector = load_detector(name)
        assert detector.name == name
        assert all(isinstance(one, Detection) for one in detector.detect(photo(64, 96)))
    with pytest.raises(WeightsError, match="cannot be read"):
        models.import_checkpoint("yunet", tmp_path / "no.onnx")
    with pytest.raises(InputError, match="models pull centerface"):
        models.import_checkpoint("centerface", tmp_path / "yunet.onnx")


def test_an_unknown_detector_is_answered_with_the_known() -> None:
    with pytest.raises(InputError, match=", ".join(DETECTORS)):
        load_detector("retina")


def changed(content: bytes, change: str) -> bytes:
    """A YuNet file with one thing wrong."""
    model = onnx.ModelProto()
    model.ParseFromString(content)
    graph = model.graph
    if change == "external":
        graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    elif change == "constant outside":
        tensor = numpy_helper.from_array(np.zeros(1, np.float32), "t")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    elif change == "operator":
        graph.node[0].op_type = "RandomNormalLike"
    elif change == "domain":
        graph.node[0].domain = "my.own"
    elif change == "loop":
        branch = helper.make_graph([], "b", [], [])
        graph.node.append(helper.make_node("Identity", ["input"], ["x"], body=branch))
    elif change == "two inputs":
        graph.input.append(helper.make_tensor_value_info("other", 1, [1]))
    elif change == "grey":
        graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    elif change == "outputs":
        del graph.output[3:]
    elif change == "empty":
        del graph.node[:]
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("external", "another file"),
        ("constant outside", "another file"),
        ("operator", "RandomNormalLike"),
        ("domain", "AveragePool"),
        ("loop", "graphs inside"),
        ("two inputs", "2 inputs"),
        ("grey", "no \\(N, 3, H, W\\)"),
        ("outputs", "its outputs are"),
        ("empty", "empty"),
    ],
)
def test_other_files_are_refused(yunet_file: Callable[..., bytes], change: str, why: str) -> None:
    with pytest.raises(WeightsError, match=why):
        build_yunet({"f": changed(yunet_file(), change)})


@pytest.mark.parametrize("content", [b"", b"no graph", bytes(range(256)), b"PK\x03\x04"])
def test_what_is_no_graph_is_refused(yunet_file: Callable[..., bytes], content: bytes) -> None:
    with pytest.raises(WeightsError, match="no face detector"):
        build_yunet({"f": content})
    with pytest.raises(WeightsError, match="no face detector"):
        build_scrfd({"f": content}, "scrfd-10g")
    with pytest.raises(WeightsError, match="9: scores"):
        build_scrfd({"f": yunet_file()}, "scrfd-10g")


def test_a_name_of_ours_may_not_mean_something_else(yunet_file: Callable[..., bytes]) -> None:
    model = read(yunet_file(), "f")
    with pytest.raises(WeightsError, match="name of ours"):
        rewrite(model, ["cls_8"], ["cls_8-map"], free=False)


@pytest.mark.parametrize("options", [{"threshold": 0.0}, {"overlap": 2.0}, {"longest": 8}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        YuNetDetector({}, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        ScrfdDetector({}, "scrfd-10g", **options)  # type: ignore[arg-type]
