"""Build ONNX graphs from tensors: checked shapes in, the same bytes out every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from faceflow.errors import WeightsError
from faceflow.weights.checkpoint import Tensors

# Old enough for every ONNX Runtime from 1.18 on, new enough for all operators used here.
OPSET = 17
IR_VERSION = 8

Shape = Sequence[int | str]
"""Sizes; a name stands for an axis of any length."""


def require_shapes(
    tensors: Tensors, expected: Mapping[str, tuple[int, ...]], *, model: str
) -> None:
    """Check that ``tensors`` has exactly the expected entries and shapes.

    Raises:
        WeightsError: some are missing, unexpected or of another shape; the first three of
            each are named.
    """
    missing = [f"{key} {expected[key]}" for key in expected if key not in tensors]
    extra = [f"{key} {tensors[key].shape}" for key in tensors if key not in expected]
    wrong = [
        f"{key} {tensors[key].shape} instead of {shape}"
        for key, shape in expected.items()
        if key in tensors and tensors[key].shape != shape
    ]
    kinds = {"missing": missing, "unexpected": extra, "of another shape": wrong}
    trouble = [
        f"{len(names)} {kind}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for kind, names in kinds.items()
        if names
    ]
    if trouble:
        raise WeightsError(
            f"these tensors are not those of {model}",
            why="; ".join(trouble),
            todo="use the checkpoint this model was published with",
        )


def serialise(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    tensors: Tensors,
) -> bytes:
    """Put a float32 graph together, check it, and return its bytes.

    Args:
        name: the graph's name.
        nodes: its nodes in topological order.
        inputs, outputs: float32 values by name; an axis of any length is given by a name.
        tensors: constants by name; floats become float32, integers int64.

    Returns:
        The ONNX model. Equal arguments give equal bytes with one version of ``onnx``.
    """
    graph = helper.make_graph(
        list(nodes),
        name,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in outputs.items()],
        [numpy_helper.from_array(_constant(t), n) for n, t in tensors.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="faceflow",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    content = bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(content)  # of the bytes: it would serialise the model once more
    return content


def _constant(tensor: np.ndarray) -> np.ndarray:
    kind = np.float32 if np.issubdtype(tensor.dtype, np.floating) else np.int64
    return np.ascontiguousarray(tensor, dtype=kind)
