"""MTCNN's three networks as ONNX graphs, from the tensors of facenet-pytorch.

Layers and names follow facenet-pytorch 2.6.0, models/mtcnn.py. Three things are folded into the
weights, none of which changes a result beyond rounding: the scaling (x - 127.5) / 128, the order
in which feature maps are flattened (width, height, channel there; channel, height, width here),
and the softmax over two classes, which is the sigmoid of their difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper

from faceflow.weights import Tensors
from faceflow.weights.graphs import require_shapes, serialise

_FOLDER = "facenet_pytorch/data"

Layout = tuple[tuple[str, int, int, int], ...]
"""Convolutions as (name, inputs, outputs, kernel side)."""


def build_mtcnn(files: Mapping[str, Tensors]) -> dict[str, bytes]:
    """State dicts by member path -> ONNX bytes by graph name.

    Every graph takes ``image`` (N, H, W, 3) float32 RGB in 0..255 and gives ``score`` and
    ``box`` (four offsets as fractions of the box's sides):

    - ``pnet``: any H, W >= 12; score (N, h, w), box (N, 4, h, w), one cell per 2 pixels.
    - ``rnet``: 24 x 24; score (N,), box (N, 4).
    - ``onet``: 48 x 48; score (N,), box (N, 4), landmarks (N, 10): five x, then five y, as
      fractions of the box's sides.

    Raises:
        WeightsError: a tensor is missing or has another shape.
    """
    return {
        "pnet": _pnet(files[f"{_FOLDER}/pnet.pt"]),
        "rnet": _rnet(files[f"{_FOLDER}/rnet.pt"]),
        "onet": _onet(files[f"{_FOLDER}/onet.pt"]),
    }


class _Graph:
    """Nodes and constants of one network while it grows."""

    def __init__(self, name: str, tensors: Tensors, expected: Mapping[str, tuple[int, ...]]):
        require_shapes(tensors, expected, model=name)
        self.name = name
        self.source = tensors
        self.tensors: Tensors = {}
        self.nodes: list[onnx.NodeProto] = []
        self.last = "image"
        self.add("Transpose", [], "nchw", perm=[0, 3, 1, 2])

    def add(self, op: str, constants: list[str], output: str, **attributes: Any) -> None:
        """Append one node that reads the last value."""
        self.nodes.append(helper.make_node(op, [self.last, *constants], [output], **attributes))
        self.last = output

    def conv(self, name: str, activation: str = "") -> None:
        weight, bias = self.source[f"{name}.weight"], self.source[f"{name}.bias"]
        if not self.tensors:  # the first layer also scales the pixels; it has no padding
            weight = weight.astype(np.float64) / 128.0
            bias = bias - 127.5 * weight.sum(axis=(1, 2, 3))
        self.tensors |= {f"{name}.weight": weight, f"{name}.bias": bias}
        self.add("Conv", [f"{name}.weight", f"{name}.bias"], name)
        if activation:
            self.prelu(activation, (-1, 1, 1))

    def prelu(self, name: str, shape: tuple[int, ...]) -> None:
        self.tensors[name] = self.source[f"{name}.weight"].reshape(shape)
        self.add("PRelu", [name], f"{name}.out")

    def pool(self, name: str, size: int) -> None:
        self.add("MaxPool", [], name, kernel_shape=[size, size], strides=[2, 2], ceil_mode=1)

    def dense(self, name: str, activation: str, channels: int) -> None:
        """Flatten the last maps of that many channels and multiply."""
        weight = self.source[f"{name}.weight"]
        side = int(np.sqrt(weight.shape[1] // channels))
        ordered = weight.reshape(-1, side, side, channels).transpose(0, 3, 2, 1)
        self.tensors[f"{name}.weight"] = ordered.reshape(weight.shape)
        self.tensors[f"{name}.bias"] = self.source[f"{name}.bias"]
        self.add("Flatten", [], "flat")
        self.add("Gemm", [f"{name}.weight", f"{name}.bias"], name, transB=1)
        self.prelu(activation, (-1,))

    def score(self, name: str, op: str, **attributes: Any) -> None:
        """Probability of the second of two classes."""
        weight, bias = self.source[f"{name}.weight"], self.source[f"{name}.bias"]
        self.tensors |= {
            f"{name}.weight": weight[1:] - weight[:1],
            f"{name}.bias": bias[1:] - bias[:1],
            "class_axis": np.array([1]),
        }
        trunk = self.last
        self.add(op, [f"{name}.weight", f"{name}.bias"], name, **attributes)
        self.add("Sigmoid", [], f"{name}.sigmoid")
        self.add("Squeeze", ["class_axis"], "score")
        self.last = trunk

    def branch(self, name: str, output: str, op: str, **attributes: Any) -> None:
        """A linear layer beside others that read the same value."""
        trunk = self.last
        for part in ("weight", "bias"):
            self.tensors[f"{name}.{part}"] = self.source[f"{name}.{part}"]
        self.add(op, [f"{name}.weight", f"{name}.bias"], output, **attributes)
        self.last = trunk

    def finish(
        self, sides: tuple[int | str, int | str], outputs: Mapping[str, list[int | str]]
    ) -> bytes:
        shapes = {name: ["N", *shape] for name, shape in outputs.items()}
        return serialise(
            self.name,
            self.nodes,
            inputs={"image": ["N", *sides, 3]},
            outputs=shapes,
            tensors=self.tensors,
        )


def _expected(
    convs: Layout, dense: tuple[tuple[str, int, int], ...], prelus: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inputs, outputs, kernel in convs:
        shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
        shapes[f"{name}.bias"] = (outputs,)
    for name, inputs, outputs in dense:
        shapes[f"{name}.weight"] = (outputs, inputs)
        shapes[f"{name}.bias"] = (outputs,)
    return shapes | {f"prelu{i}.weight": (size,) for i, size in enumerate(prelus, 1)}


def _pnet(tensors: Tensors) -> bytes:
    convs = (
        ("conv1", 3, 10, 3),
        ("conv2", 10, 16, 3),
        ("conv3", 16, 32, 3),
        ("conv4_1", 32, 2, 1),
        ("conv4_2", 32, 4, 1),
    )
    graph = _Graph("mtcnn-pnet", tensors, _expected(convs, (), (10, 16, 32)))
    graph.conv("conv1", "prelu1")
    graph.pool("pool1", 2)
    graph.conv("conv2", "prelu2")
    graph.conv("conv3", "prelu3")
    graph.score("conv4_1", "Conv")
    graph.branch("conv4_2", "box", "Conv")
    return graph.finish(("H", "W"), {"score": ["h", "w"], "box": [4, "h", "w"]})


def _rnet(tensors: Tensors) -> bytes:
    convs = (("conv1", 3, 28, 3), ("conv2", 28, 48, 3), ("conv3", 48, 64, 2))
    dense = (("dense4", 576, 128), ("dense5_1", 128, 2), ("dense5_2", 128, 4))
    graph = _Graph("mtcnn-rnet", tensors, _expected(convs, dense, (28, 48, 64, 128)))
    graph.conv("conv1", "prelu1")
    graph.pool("pool1", 3)
    graph.conv("conv2", "prelu2")
    graph.pool("pool2", 3)
    graph.conv("conv3", "prelu3")
    graph.dense("dense4", "prelu4", 64)
    graph.score("dense5_1", "Gemm", transB=1)
    graph.branch("dense5_2", "box", "Gemm", transB=1)
    return graph.finish((24, 24), {"score": [], "box": [4]})


def _onet(tensors: Tensors) -> bytes:
    convs = (
        ("conv1", 3, 32, 3),
        ("conv2", 32, 64, 3),
        ("conv3", 64, 64, 3),
        ("conv4", 64, 128, 2),
    )
    dense = (
        ("dense5", 1152, 256),
        ("dense6_1", 256, 2),
        ("dense6_2", 256, 4),
        ("dense6_3", 256, 10),
    )
    graph = _Graph("mtcnn-onet", tensors, _expected(convs, dense, (32, 64, 64, 128, 256)))
    graph.conv("conv1", "prelu1")
    graph.pool("pool1", 3)
    graph.conv("conv2", "prelu2")
    graph.pool("pool2", 3)
    graph.conv("conv3", "prelu3")
    graph.pool("pool3", 2)
    graph.conv("conv4", "prelu4")
    graph.dense("dense5", "prelu5", 128)
    graph.score("dense6_1", "Gemm", transB=1)
    graph.branch("dense6_2", "box", "Gemm", transB=1)
    graph.branch("dense6_3", "landmarks", "Gemm", transB=1)
    return graph.finish((48, 48), {"score": [], "box": [4], "landmarks": [10]})
