"""Small ONNX face networks of several kinds, made by hand; 112 x 112 in, 7 x 7 patches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceflow.system import child
from faceflow.system.child import Answer

C, D = 16, 32
Build = Callable[..., Path]


class Net:
    """Collects nodes and constants; ``save`` writes the file."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: Any) -> str:
        array = np.asarray(values)
        kind = np.float32 if array.dtype.kind == "f" else np.int64
        self.constants.append(numpy_helper.from_array(array.astype(kind), name))
        return name

    def noise(self, name: str, *shape: int) -> str:
        return self.constant(name, self.rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])))

    def add(self, op: str, *inputs: str, out: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [out], **attributes))
        return out

    def stem(self, value: str, channels: int = 3) -> str:
        """(N, channels, 112, 112) -> "maps" (N, C, 7, 7)."""
        x = self.add(
            "Conv",
            value,
            self.noise("stem.w", 8, channels, 8, 8),
            out="stem",
            kernel_shape=[8, 8],
            strides=[8, 8],
        )
        x = self.add("PRelu", x, self.constant("slope", np.full((8, 1, 1), 0.25)), out="stem.act")
        x = self.add(
            "Conv",
            x,
            self.noise("body.w", C, 8, 2, 2),
            out="body",
            kernel_shape=[2, 2],
            strides=[2, 2],
        )
        return self.add("Relu", x, out="maps")

    def norm(self, value: str, size: int, out: str) -> str:
        parts = [
            self.constant(f"{out}.scale", self.rng.uniform(0.5, 2, size)),
            self.constant(f"{out}.shift", self.rng.standard_normal(size)),
            self.constant(f"{out}.mean", self.rng.standard_normal(size)),
            self.constant(f"{out}.var", self.rng.uniform(0.5, 2, size)),
        ]
        return self.add("BatchNormalization", value, *parts, out=out)

    def save(self, path: Path, inputs: dict[str, list[Any]], outputs: dict[str, list[Any]]) -> Path:
        def described(values: dict[str, list[Any]]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in values.items()
            ]

        graph = helper.make_graph(
            self.nodes, "net", described(inputs), described(outputs), self.constants
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())
        return path


def flatten_gemm(path: Path, *, batch: Any = "N", seed: int = 0) -> Path:
    """As InsightFace's ResNets end: BatchNorm, flatten, one linear layer, BatchNorm."""
    net = Net(seed)
    x = net.norm(net.stem("input.1"), C, "bn2")
    x = net.add("Flatten", x, out="flat")
    x = net.add("Gemm", x, net.noise("fc.w", D, C * 49), net.noise("fc.b", D), out="fc", transB=1)
    net.norm(x, D, "features")
    return net.save(path, {"input.1": [batch, 3, 112, 112]}, {"features": [batch, D]})


def mobile(path: Path, *, batch: Any = "N", flat: bool = True) -> Path:
    """As MobileFaceNet ends: a depthwise convolution over the whole grid, then 1 x 1."""
    net = Net(1)
    x = net.add("Conv", net.stem("data"), net.noise("gdc.w", C, 1, 7, 7), out="gdc", group=C)
    x = net.add("Conv", x, net.noise("linear.w", D, C, 1, 1), out="linear")
    outputs = {"linear": [batch, D, 1, 1]}
    if flat:
        net.add("Reshape", x, net.constant("shape", [0, D]), out="embedding")
        outputs = {"embedding": [batch, D]}
    return net.save(path, {"data": [batch, 3, 112, 112]}, outputs)


def nhwc(path: Path) -> Path:
    """As converters from TensorFlow write it: pictures and maps with channels last."""
    net = Net(2)
    x = net.add("Transpose", "image", out="first", perm=[0, 3, 1, 2])
    x = net.add("Transpose", net.stem(x), out="last", perm=[0, 2, 3, 1])
    x = net.add("Mul", x, net.constant("gain", np.full(C, 1.5)), out="patches")
    x = net.add("Reshape", x, net.constant("shape", [-1, 49 * C]), out="flat")
    x = net.add("MatMul", x, net.noise("fc.w", 49 * C, D), out="fc")
    net.add("Add", x, net.noise("fc.b", D), out="embedding")
    return net.save(path, {"image": ["N", 112, 112, 3]}, {"embedding": ["N", D]})


def one_at_a_time(path: Path, *, batch: Any, shape: tuple[int, int] = (1, C * 49)) -> Path:
    """Flattened by a constant shape that holds the batch: only that will do."""
    net = Net(3)
    x = net.add("Reshape", net.stem("x"), net.constant("shape", list(shape)), out="flat")
    net.add("Gemm", x, net.noise("fc.w", D, C * 49), out="y", transB=1)
    return net.save(path, {"x": [batch, 3, 112, 112]}, {"y": [batch, D]})


def rows_of_two(path: Path) -> Path:
    """The batch is multiplied into a reshaping in the middle, so nothing but 2 will do."""
    net = Net(9)
    x = net.add("Transpose", net.stem("x"), out="last", perm=[0, 2, 3, 1])
    x = net.add("Reshape", x, net.constant("places", [2 * 49, C]), out="rows")
    x = net.add("MatMul", x, net.noise("mix", C, C), out="mixed")
    x = net.add("Reshape", x, net.constant("shape", [2, C * 49]), out="flat")
    net.add("Gemm", x, net.noise("fc.w", D, C * 49), out="y", transB=1)
    return net.save(path, {"x": [2, 3, 112, 112]}, {"y": [2, D]})


def mixing(path: Path) -> Path:
    """Each picture's answer depends on the others."""
    net = Net(10)
    x = net.add("Flatten", net.stem("x"), out="flat")
    x = net.add("Gemm", x, net.noise("fc.w", D, C * 49), out="fc", transB=1)
    net.add("Softmax", x, out="y", axis=0)
    return net.save(path, {"x": [2, 3, 112, 112]}, {"y": [2, D]})


def mxnet(path: Path) -> Path:
    """As old converters write it: initialisers listed as inputs, shapes as Constant nodes."""
    net = Net(6)
    x = net.add("Conv", net.stem("data"), net.noise("gdc.w", C, 1, 7, 7), out="gdc", group=C)
    shape = numpy_helper.from_array(np.array([-1, C], np.int64))
    net.add("Constant", out="shape", value=shape)
    x = net.add("Reshape", x, "shape", out="flat")
    net.norm(x, C, "fc1")
    net.save(path, {"data": [1, 3, 112, 112]}, {"fc1": [1, C]})
    model = onnx.load(str(path))
    model.ir_version = 3
    model.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
        for t in model.graph.initializer
    )
    path.write_bytes(model.SerializeToString())
    return path


def constants(path: Path) -> Path:
    """Constants are taken off, multiplied and added before and after the matrix."""
    net = Net(7)
    positive = net.rng.uniform(0.5, 2, (C, 1, 1))
    x = net.add("Sub", net.stem("x"), net.noise("a", C, 1, 1), out="p.a")
    x = net.add("Div", x, net.constant("b", positive), out="p.b")
    x = net.add("Dropout", x, out="p.c")
    x = net.add("Flatten", x, out="p.d", axis=1)
    x = net.add("MatMul", x, net.noise("m", C * 49, D), out="p.e")
    x = net.add("Mul", net.constant("c", np.array(1.5)), x, out="p.f")
    x = net.add("Add", net.noise("d", D), x, out="p.g")
    net.add("Gemm", x, net.noise("e", D, D), net.noise("f", D), out="y", alpha=0.5, beta=2.0)
    return net.save(path, {"x": ["N", 3, 112, 112]}, {"y": ["N", D]})


def average(path: Path) -> Path:
    """A mean over the grid, as FaceNet has, then 1 x 1 and a change of shape."""
    net = Net(8)
    x = net.add("GlobalAveragePool", net.stem("x"), out="pooled")
    x = net.add("Conv", x, net.noise("w", D, C, 1, 1), net.noise("b", D), out="mixed")
    net.add("Flatten", x, out="y")
    return net.save(path, {"x": ["N", 3, 112, 112]}, {"y": ["N", D]})


def unit_output(path: Path) -> Path:
    """Scales its own input, answers with unit vectors and with maps, takes grey."""
    net = Net(4)
    x = net.add("Sub", "x", net.constant("mean", np.array(127.5)), out="centred")
    x = net.add("Mul", x, net.constant("scale", np.array(1 / 128)), out="scaled")
    x = net.add("GlobalAveragePool", net.stem(x, 1), out="pooled")
    x = net.add("Flatten", x, out="flat")
    net.add("LpNormalization", x, out="unit", axis=1, p=2)
    net.add("ReduceMean", "maps", out="brightness", axes=[1, 2, 3], keepdims=0)
    return net.save(path, {"x": ["N", 1, 128, 128]}, {"brightness": ["N"], "unit": ["N", C]})


_KINDS: dict[str, Build] = {
    "flatten_gemm": flatten_gemm,
    "mobile": mobile,
    "nhwc": nhwc,
    "one_at_a_time": one_at_a_time,
    "unit_output": unit_output,
    "rows_of_two": rows_of_two,
    "mixing": mixing,
    "mxnet": mxnet,
    "constants": constants,
    "average": average,
}


@pytest.fixture
def make(tmp_path: Path) -> Build:
    """Write a network of that kind and give its path."""
    return lambda kind, **options: _KINDS[kind](tmp_path / f"{kind}.onnx", **options)


@pytest.fixture
def apart() -> None:
    """Asked for by tests that want the child process itself."""


@pytest.fixture(autouse=True)
def in_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs in a child process runs here: half a second less for each call."""
    if "apart" in request.fixturenames:
        return

    def run(
        function: Callable[..., Answer], data: BinaryIO, arguments: dict[str, Any], **_: Any
    ) -> Answer:
        answer = function(data, **json.loads(json.dumps(arguments)))
        return Answer(json.loads(json.dumps(answer.value)), answer.arrays)

    monkeypatch.setattr(child, "run", run)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FACEFLOW_CACHE", str(folder))
    return folder
