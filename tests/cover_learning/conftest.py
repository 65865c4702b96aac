"""A small network in a cache of its own, and photos whose faces are where a detector says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from faceflow import networks
from faceflow.analyzer import FaceAnalyzer
from faceflow.arrays import Float64, UInt8
from faceflow.faces.detectors import Detection
from faceflow.networks import UNCALIBRATED, NetworkSpec, described
from faceflow.weights import Licence, OnnxFile

SIDE, GRID, CHANNELS, SIZE = 128, (7, 7), 8, 32
LANDMARKS = np.array([(46.0, 54.0), (82.0, 54.0), (64.0, 75.0), (49.0, 92.0), (79.0, 92.0)])


class Here:
    """A detector that knows where the face is, and finds none on a black photo."""

    name = "mtcnn"

    def detect(self, image: UInt8) -> list[Detection]:
        if not image.any():
            return []
        box: Float64 = np.array([24.0, 18.0, 104.0, 118.0])
        return [Detection(box=box, landmarks=LANDMARKS.copy(), score=0.99)]


def graph(*, linear: bool) -> bytes:
    """Mean colours of 7 x 7 cells, mixed, and a last layer (through a tanh unless linear)."""
    rng = np.random.default_rng(0)
    mix, weight = (
        rng.standard_normal((CHANNELS, 3, 1, 1)),
        rng.standard_normal((SIZE, CHANNELS * 49)),
    )
    names = ("fc.weight", "fc.bias") if linear else ("w", "b")
    constants = {"mix": mix, names[0]: weight, names[1]: np.zeros(SIZE)}
    nodes = [
        helper.make_node(
            "AveragePool", ["image"], ["cells"], kernel_shape=[16, 16], strides=[16, 16]
        ),
        helper.make_node("Conv", ["cells", "mix"], ["patches"]),
        helper.make_node("Tanh", ["patches"], ["bent"]),
        helper.make_node("Flatten", ["patches" if linear else "bent"], ["flat"]),
        helper.make_node("Gemm", ["flat", *names], ["embedding"], transB=1),
    ]
    made = helper.make_graph(
        [node for node in nodes if not linear or node.op_type != "Tanh"],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", SIZE]),
            helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["N", CHANNELS, *GRID]),
        ],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def make_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., NetworkSpec]:
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path / "cache"))

    def make(*, linear: bool = True, name: str = "tiny") -> NetworkSpec:
        spec = NetworkSpec(
            name=name,
            title="A small one",
            source=OnnxFile(
                file_name="tiny.onnx", sha256=("a" if linear else "b") * 64, size=1, upstream="-"
            ),
            licence=Licence("MIT", "ours", "nothing", "made for a test"),
            input_size=(112, 112),
            colour="rgb",
            mean=(127.5,) * 3,
            std=(127.5,) * 3,
            template="arcface-112",
            embedding_size=SIZE,
            grid=GRID,
            channels=CHANNELS,
            defaults=UNCALIBRATED,
        )
        described.save(spec, graph(linear=linear))
        return spec

    return make


@pytest.fixture
def spec(make_network: Callable[..., NetworkSpec]) -> NetworkSpec:
    return make_network()


@pytest.fixture
def looker(spec: NetworkSpec) -> FaceAnalyzer:
    return FaceAnalyzer(networks.load_network(spec.name, threads=1), Here())


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 people of two photos each: coloured patchworks, the second a little noisier."""
    root = tmp_path_factory.mktemp("patchworks")
    rng = np.random.default_rng(1)
    for person in range(60):
        folder = root / f"person-{person:02}"
        folder.mkdir()
        cells = rng.integers(60, 200, (8, 8, 3))
        for number in range(2):
            noisy = cells + rng.normal(0, 12, cells.shape)
            photo = np.kron(noisy, np.ones((16, 16, 1))).clip(0, 255).astype(np.uint8)
            Image.fromarray(photo).save(folder / f"{number}.png")
    return root
