"""Fixtures shared by all tests: reference data, pulled weights, random features."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceflow.errors import WeightsError
from faceflow.features import FaceFeatures

# A user's own settings must not steer the tests, nor what they start, nor modules that look at the
# processor while tests are collected. Kept are where the tests' weights and reference data lie.
for _name in [name for name in os.environ if name.startswith("FACEFLOW_")]:
    if _name not in ("FACEFLOW_CACHE", "FACEFLOW_SHARED"):
        del os.environ[_name]

if TYPE_CHECKING:
    from faceflow.analyzer import FaceAnalyzer
    from faceflow.faces.detectors import Detector
    from faceflow.networks import FaceNetwork


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The research data beside the checkout (or $FACEFLOW_SHARED); absent for most users."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("FACEFLOW_SHARED", default))
    if not (folder / "golden").is_dir():
        pytest.skip(f"no reference data at {folder} (set FACEFLOW_SHARED to its folder)")
    return folder


@pytest.fixture(scope="session")
def golden(shared_dir: Path) -> Path:
    return shared_dir / "golden"


@pytest.fixture(scope="session")
def default_network() -> FaceNetwork:
    from faceflow.networks import load_network

    try:
        return load_network()
    except WeightsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def detector() -> Detector:
    from faceflow.faces.detectors import load_detector

    try:
        return load_detector()
    except WeightsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def analyzer(default_network: FaceNetwork, detector: Detector) -> FaceAnalyzer:
    from faceflow.analyzer import FaceAnalyzer

    return FaceAnalyzer(default_network, detector)


@pytest.fixture
def random_features() -> Callable[..., FaceFeatures]:
    """Make features of N faces with the default network's shapes from a seed."""

    def make(
        n: int,
        *,
        seed: int = 0,
        grid: tuple[int, int] = (8, 8),
        channels: int = 128,
        size: int = 256,
        landmarks: bool = False,
        digest: str | None = None,
    ) -> FaceFeatures:
        rng = np.random.default_rng(seed)
        common = rng.standard_normal((1, channels, *grid))
        maps = common + rng.standard_normal((n, channels, *grid))
        features = FaceFeatures.from_maps(rng.standard_normal((n, size)), maps, digest=digest)
        if not landmarks:
            return features
        counts = rng.multinomial(68, np.full(grid[0] * grid[1], 1 / (grid[0] * grid[1])), size=n)
        return features.with_landmarks((counts / 68).astype(np.float32))

    return make


@pytest.fixture(autouse=True)
def _leave_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own faceflow settings must not steer the tests."""
    monkeypatch.delenv("FACEFLOW_GALLERY", raising=False)
    return


# Small graphs with the layout of detectors that nobody may pass on, from random numbers.

STRIDES = (8, 16, 32)


def _graph(
    heads: Sequence[tuple[str, int, int, bool]],
    *,
    size: tuple[int | str, int | str] = (64, 96),
    entry: str = "input",
    batched: bool = True,
    seed: int = 0,
) -> bytes:
    """A graph of one mean pooling and one 1x1 convolution for each head.

    Args:
        heads: (name, stride, numbers for each row, whether a sigmoid follows); where the numbers
            are 2 x n, the rows are two anchors of n for each cell.
        size: (H, W) of the input, names where free.
        entry: the input's name.
        batched: outputs are (1, rows, n) instead of (rows, n).
        seed: of the weights.
    """
    rng = np.random.default_rng(seed)
    nodes, tensors, outputs = [], [], []
    for name, stride, count, sigmoid in heads:
        anchors, numbers = (2, count // 2) if not batched else (1, count)
        weight = rng.normal(0, 0.003, (anchors * numbers, 3, 1, 1)).astype(np.float32)
        bias = rng.normal(0, 0.5, anchors * numbers).astype(np.float32)
        shape = np.array([1, -1, numbers] if batched else [-1, numbers], np.int64)
        for part, value in (("w", weight), ("b", bias), ("shape", shape)):
            tensors.append(numpy_helper.from_array(value, f"{name}-{part}"))
        out = name + "-rows" if sigmoid else name
        nodes += [
            helper.make_node(
                "AveragePool",
                [entry],
                [f"{name}-mean"],
                kernel_shape=[stride, stride],
                strides=[stride, stride],
            ),
            helper.make_node(
                "Conv",
                [f"{name}-mean", f"{name}-w", f"{name}-b"],
                [f"{name}-map"],
                kernel_shape=[1, 1],
            ),
            helper.make_node("Transpose", [f"{name}-map"], [f"{name}-last"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", [f"{name}-last", f"{name}-shape"], [out]),
        ]
        if sigmoid:
            nodes.append(helper.make_node("Sigmoid", [out], [name]))
        outputs.append(
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT, [1, None, numbers] if batched else [None, numbers]
            )
        )
    inputs = [helper.make_tensor_value_info(entry, TensorProto.FLOAT, [1, 3, *size])]
    made = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _yunet(size: tuple[int | str, int | str] = (64, 96)) -> bytes:
    """The layout of face_detection_yunet_2023mar.onnx."""
    kinds = (("cls", 1, True), ("obj", 1, True), ("bbox", 4, False), ("kps", 10, False))
    return _graph([(f"{k}_{s}", s, n, sig) for k, n, sig in kinds for s in STRIDES], size=size)


def _scrfd(size: tuple[int | str, int | str] = ("?", "?"), *, names: int = 448) -> bytes:
    """The layout of det_10g.onnx: two anchors a cell, names that say nothing."""
    kinds = ((1, True), (4, False), (10, False))
    heads = [
        (str(names + 10 * k + n), s, 2 * c, sig)
        for k, (c, sig) in enumerate(kinds)
        for n, s in enumerate(STRIDES)
    ]
    return _graph(heads, size=size, entry="input.1", batched=False)


@pytest.fixture(scope="session")
def yunet_file() -> Callable[..., bytes]:
    """(size) -> a file of YuNet's layout."""
    return _yunet


@pytest.fixture(scope="session")
def scrfd_file() -> Callable[..., bytes]:
    """(size, names=448) -> a file of SCRFD's layout; its outputs are called from that number on."""
    return _scrfd
