"""The linear layer between patches and embedding, multiplied out of the operators in between."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import numpy_helper

from faceflow.arrays import Float64
from faceflow.networks.foreign.findings import Layout
from faceflow.networks.foreign.graph import OnnxGraph, attributes, reads

Layer = tuple[Float64, Float64]
_NOTHING = ("Identity", "Dropout")
_AXES: dict[tuple[Layout, tuple[int, ...]], Layout] = {
    ("nchw", (0, 2, 3, 1)): "nhwc",
    ("nhwc", (0, 3, 1, 2)): "nchw",
}


def last_layer(
    graph: OnnxGraph, patches: str, layout: Layout, embedding: str, maps: tuple[int, int, int]
) -> Layer | None:
    """weight (D, C * h * w) and bias (D,) of the embedding as a linear layer of the patches.

    Known are the ends that face networks have: BatchNorm, flattening, linear layers,
    convolutions over the whole grid and 1 x 1, averages. The caller must compare the answer with
    what the graph computes: shapes of reshapings and paddings are not looked at here.

    Args:
        graph: the network.
        patches, layout, maps: the patches' name, order of axes, and (C, h, w).
        embedding: the embedding's name.

    Returns:
        The layer, or None when an operator in between is not one of these.
    """
    chain = _Chain(graph, layout, maps)
    value = patches
    for node in graph.after(patches, embedding):
        others = [name for name in reads(node) if name != value]
        if value not in reads(node) or not all(name in graph.constants for name in others):
            return None
        try:
            known = chain.apply(node, value)
        except (ValueError, IndexError, KeyError):  # sizes that do not fit, or unknown constants
            return None
        if not known:
            return None
        value = node.output[0]
    return chain.layer() if value == embedding else None


class _Chain:
    """The part done so far: first a scale and shift of each number, then a matrix on them."""

    def __init__(self, graph: OnnxGraph, layout: Layout, maps: tuple[int, int, int]) -> None:
        self._graph = graph
        self._layout = layout
        self._c, self._h, self._w = maps
        self._r = self._h * self._w
        self._scale = np.ones((self._c, self._r))
        self._shift = np.zeros((self._c, self._r))
        self._flat = False
        self._weight: Float64 | None = None  # (D, C, R)
        self._bias = np.zeros(0)
        self._known = {tensor.name: tensor for tensor in graph.model.graph.initializer}

    def layer(self) -> Layer | None:
        """(D, C * R) and (D,); None while no matrix was met."""
        if self._weight is None:
            return None
        return self._weight.reshape(len(self._bias), -1), self._bias

    def apply(self, node: onnx.NodeProto, value: str) -> bool:
        """Take one operator in; False when it is not known."""
        if node.op_type in _NOTHING:
            return True
        step: Callable[[onnx.NodeProto, str], bool] | None = getattr(
            self, f"_{node.op_type.lower()}", None
        )
        return step is not None and step(node, value)

    def _transpose(self, node: onnx.NodeProto, _: str) -> bool:
        key = (self._layout, tuple(attributes(node).get("perm", ())))
        if self._flat or self._weight is not None or key not in _AXES:
            return False
        self._layout = _AXES[key]
        return True

    def _flatten(self, node: onnx.NodeProto, _: str) -> bool:
        self._flat = True
        return bool(attributes(node).get("axis", 1) == 1)

    def _reshape(self, node: onnx.NodeProto, _: str) -> bool:
        self._flat = True
        return True

    def _squeeze(self, node: onnx.NodeProto, _: str) -> bool:
        return self._weight is not None

    def _batchnormalization(self, node: onnx.NodeProto, _: str) -> bool:
        scale, shift, mean, var = (self._constant(name) for name in node.input[1:5])
        factor = scale / np.sqrt(var + attributes(node).get("epsilon", 1e-5))
        return self._affine(factor, shift - mean * factor, per_channel=True)

    def _add(self, node: onnx.NodeProto, value: str) -> bool:
        return self._affine(np.ones(1), self._other(node, value))

    def _mul(self, node: onnx.NodeProto, value: str) -> bool:
        return self._affine(self._other(node, value), np.zeros(1))

    def _sub(self, node: onnx.NodeProto, value: str) -> bool:
        return node.input[0] == value and self._affine(np.ones(1), -self._other(node, value))

    def _div(self, node: onnx.NodeProto, value: str) -> bool:
        return node.input[0] == value and self._affine(1 / self._other(node, value), np.zeros(1))

    def _gemm(self, node: onnx.NodeProto, value: str) -> bool:
        found = attributes(node)
        if node.input[0] != value or found.get("transA", 0):
            return False
        matrix = self._constant(node.input[1]) * found.get("alpha", 1.0)
        matrix = matrix if found.get("transB", 0) else matrix.T
        bias = np.zeros(len(matrix))
        if len(node.input) > 2 and node.input[2]:
            bias = bias + self._constant(node.input[2]).reshape(-1) * found.get("beta", 1.0)
        return self._matrix(matrix, bias)

    def _matmul(self, node: onnx.NodeProto, value: str) -> bool:
        if node.input[0] != value:
            return False
        matrix = self._constant(node.input[1]).T
        return matrix.ndim == 2 and self._matrix(matrix, np.zeros(len(matrix)))

    def _conv(self, node: onnx.NodeProto, _: str) -> bool:
        kernel = self._constant(node.input[1])
        bias = self._constant(node.input[2]) if len(node.input) > 2 else np.zeros(len(kernel))
        group = attributes(node).get("group", 1)
        if self._weight is not None:
            return (
                kernel.shape[2:] == (1, 1) and group == 1 and self._matrix(kernel[:, :, 0, 0], bias)
            )
        if self._flat or self._layout != "nchw" or kernel.shape[2:] != (self._h, self._w):
            return False
        flat = kernel.reshape(len(kernel), -1, self._r)
        if group == 1:
            return self._start(flat, bias)
        if group != self._c or len(kernel) != self._c:
            return False
        return self._start(_each_alone(flat[:, 0]), bias)

    def _globalaveragepool(self, node: onnx.NodeProto, _: str) -> bool:
        if self._flat or self._layout != "nchw":
            return False
        if self._weight is not None:
            return True
        return self._start(_each_alone(np.full((self._c, self._r), 1 / self._r)), np.zeros(self._c))

    def _affine(self, factor: Float64, shift: Float64, *, per_channel: bool = False) -> bool:
        factor, shift = (self._spread(one, per_channel) for one in (factor, shift))
        if self._weight is None:
            self._scale, self._shift = self._scale * factor, self._shift * factor + shift
        else:
            self._weight = self._weight * factor[:, None, None]
            self._bias = self._bias * factor + shift
        return True

    def _spread(self, values: Float64, per_channel: bool) -> Float64:
        """One number, or one per output, or (before the matrix) per channel or per number."""
        if self._weight is not None:
            return np.broadcast_to(values.reshape(-1), self._bias.shape)
        if values.size == 1:
            return np.broadcast_to(values.reshape(1, 1), self._scale.shape)
        if self._flat:
            one: Float64 = self._by_channel(values.reshape(1, -1))[0]
            return one
        # Axes count from the right: (C, 1, 1) channels first, (C,) channels last.
        first = per_channel or values.shape[-3:] == (self._c, 1, 1)
        if values.size != self._c or first != (self._layout == "nchw"):
            raise ValueError("constants that are not one per channel")
        return np.broadcast_to(values.reshape(-1, 1), self._scale.shape)

    def _by_channel(self, rows: Float64) -> Float64:
        """(D, C * R) in the order of the flattened map -> (D, C, R)."""
        if self._layout == "nchw":
            return rows.reshape(len(rows), self._c, self._r)
        return rows.reshape(len(rows), self._r, self._c).transpose(0, 2, 1)

    def _matrix(self, matrix: Float64, bias: Float64) -> bool:
        if self._weight is not None:
            self._weight = np.tensordot(matrix, self._weight, axes=1)
            self._bias = matrix @ self._bias + bias
            return True
        return self._flat and self._start(self._by_channel(matrix), bias)

    def _start(self, weight: Float64, bias: Float64) -> bool:
        self._bias = bias + np.einsum("dcr,cr->d", weight, self._shift)
        self._weight = weight * self._scale
        return True

    def _other(self, node: onnx.NodeProto, value: str) -> Float64:
        (name,) = [one for one in node.input if one != value]
        return self._constant(name)

    def _constant(self, name: str) -> Float64:
        if name in self._known:
            tensor = self._known[name]
        else:
            node = self._graph.maker[name]
            tensor = attributes(node)["value"] if node.op_type == "Constant" else None
        if tensor is None:
            raise ValueError("a constant that is computed")
        return np.asarray(numpy_helper.to_array(tensor), dtype=np.float64)


def _each_alone(rows: Float64) -> Float64:
    """(C, R) -> (C, C, R): output c reads channel c alone."""
    full = np.zeros((len(rows), *rows.shape))
    at = np.arange(len(rows))
    full[at, at] = rows
    return full
