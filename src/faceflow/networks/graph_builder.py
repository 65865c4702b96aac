"""Grow an ONNX graph layer by layer from a checkpoint's tensors.

A network is described once, as a function that calls these methods in order. Run without
tensors it tells which entries a checkpoint must hold; run with them it makes the graph. Batch
normalisations behind a convolution or a linear layer are folded into it, their factors and shifts
computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import WeightsError
from faceflow.weights import Tensors

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
Entry = Callable[[], Array]
"""Computes an array of the state dict's entries, when the graph is made and not before."""


class Node(NamedTuple):
    """One operator with one output, as ONNX will have it."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]


class GraphBuilder:
    """Nodes and constants of a network while it grows.

    Every method takes the name of a value and gives the name of the next.

    Args:
        tensors: the state dict, or None to learn only which entries it must hold.

    Attributes:
        shapes: the entries asked for so far, with their shapes.
        nodes: the nodes so far.
    """

    def __init__(self, tensors: Tensors | None) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.nodes: list[Node] = []
        self._tensors = tensors
        # Computed at the end, so that a builder without tensors computes nothing.
        self._constants: dict[str, Entry] = {}

    def constants(self, title: str) -> Tensors:
        """The graph's constants, float32.

        Raises:
            WeightsError: one is NaN or infinite, or too large for float32.
        """
        made = {}
        for name, compute in self._constants.items():
            with np.errstate(all="ignore"):
                made[name] = np.asarray(compute(), dtype=np.float32)
            if not np.isfinite(made[name]).all():
                raise WeightsError(
                    f"these tensors are not those of {title}",
                    why=f"{name} holds NaN, infinity, or a negative variance",
                    todo="use another checkpoint; this one was damaged or its training failed",
                )
        return made

    def onnx_nodes(self) -> list[onnx.NodeProto]:
        """The nodes so far, for a graph."""
        from onnx import helper  # a quarter of a second to import; asking for shapes needs none

        return [
            helper.make_node(node.op, node.inputs, [node.output], **node.attributes)
            for node in self.nodes
        ]

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Any ONNX operator with one output."""
        output = output or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(Node(op, inputs, output, attributes))
        return output

    def constant(self, name: str, compute: Entry) -> str:
        """A constant of the graph, computed of entries when the graph is made."""
        self._constants[name] = compute
        return name

    def convolve(
        self,
        value: str,
        name: str,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int] = 3,
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
        bias: bool = False,
        norm: str = "",
        epsilon: float = 1e-5,
        scale: float = 1.0,
    ) -> str:
        """2-D convolution, batch normalisation ``norm`` folded in, result times ``scale``."""
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        rows, columns = (padding, padding) if isinstance(padding, int) else padding
        weight = self.entry(f"{name}.weight", outputs, inputs, height, width)
        shift = self.entry(f"{name}.bias", outputs) if bias else None
        folded = self._norm(norm, outputs, epsilon) if norm else None
        self._constants[f"{name}.weight"] = lambda: np.float32(scale) * _times(weight(), folded)
        constants = [f"{name}.weight"]
        if shift or folded:
            self._constants[f"{name}.bias"] = lambda: scale * _shift(outputs, shift, folded)
            constants.append(f"{name}.bias")
        return self.add(
            "Conv",
            value,
            *constants,
            kernel_shape=[height, width],
            strides=[stride, stride],
            pads=[rows, columns, rows, columns],
        )

    def shortcut(self, value: str, name: str, inputs: int, outputs: int, stride: int) -> str:
        """What a residual block adds its layers to: the value itself, or 1 x 1 with a stride."""
        if stride == 1:
            return value
        return self.convolve(
            value, f"{name}.0", inputs, outputs, 1, stride=stride, norm=f"{name}.1"
        )

    def normalise(
        self, value: str, name: str, channels: int, *, output: str = "", epsilon: float = 1e-5
    ) -> str:
        """Batch normalisation on its own: before a padded convolution it cannot be folded."""
        self._norm(name, channels, epsilon)
        entries = [f"{name}.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")]
        for entry in entries:
            self._constants[entry] = self.entry(entry, channels)
        return self.add("BatchNormalization", value, *entries, output=output, epsilon=epsilon)

    def prelu(self, value: str, name: str, slopes: int) -> str:
        """PReLU with one slope, or one for each channel."""
        entry = self.entry(f"{name}.weight", slopes)
        # The graph's name differs: one PReLU may serve twice, with one constant.
        self._constants[f"{name}.slope"] = lambda: entry().reshape(slopes, 1, 1)
        return self.add("PRelu", value, f"{name}.slope")

    def linear(
        self,
        value: str,
        name: str,
        inputs: int,
        outputs: int,
        *,
        bias: bool = True,
        norm: str = "",
        epsilon: float = 1e-5,
    ) -> str:
        """The last layer, with ``norm`` folded in: (N, inputs) to ``embedding`` (N, outputs).

        Its initialisers are ``fc.weight`` and ``fc.bias``, where ``FaceNetwork.last_layer``
        looks for them.
        """
        weight = self.entry(f"{name}.weight", outputs, inputs)
        shift = self.entry(f"{name}.bias", outputs) if bias else None
        folded = self._norm(norm, outputs, epsilon) if norm else None
        self._constants["fc.weight"] = lambda: _times(weight(), folded)
        self._constants["fc.bias"] = lambda: _shift(outputs, shift, folded)
        return self.add("Gemm", value, "fc.weight", "fc.bias", output="embedding", transB=1)

    def concatenate(self, values: Sequence[str]) -> str:
        """Channels of several maps, one after the other."""
        return self.add("Concat", *values, axis=1)

    def max_pool(self, value: str, kernel: int, stride: int) -> str:
        """Maximum of each window; no padding."""
        return self.add("MaxPool", value, kernel_shape=[kernel, kernel], strides=[stride, stride])

    def entry(self, name: str, *shape: int) -> Entry:
        """Ask for an entry of the state dict; it is read when the constants are computed."""
        self.shapes[name] = shape

        def read() -> Array:
            assert self._tensors is not None  # constants() is for builders that have tensors
            return np.asarray(self._tensors[name], dtype=np.float32)

        return read

    def _norm(self, name: str, channels: int, epsilon: float) -> _Affine:
        gamma, beta, mean, variance = (
            self.entry(f"{name}.{leaf}", channels)
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )

        def affine() -> tuple[Array, Array]:
            factor = gamma() / np.sqrt(variance().astype(np.float64) + epsilon)
            return factor, beta() - factor * mean()

        return affine


_Affine = Callable[[], tuple[Array, Array]]  # factor and shift of each channel


def _times(weight: Array, folded: _Affine | None) -> Array:
    if folded is None:
        return weight
    factor, _ = folded()
    # In float32: a network's weights in float64 would double the memory of an import.
    return weight * factor.astype(np.float32).reshape(-1, *[1] * (weight.ndim - 1))


def _shift(outputs: int, bias: Entry | None, folded: _Affine | None) -> Array:
    shift = np.zeros(outputs) if bias is None else bias()
    if folded is None:
        return shift
    factor, added = folded()
    return factor * shift + added
