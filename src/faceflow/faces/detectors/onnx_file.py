"""A detector's ONNX file, checked before anything runs it, and rewritten to one convention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import TensorProto

from faceflow.errors import WeightsError

INPUT = "image"
"""What the input of a checked graph is called: (N, 3, H, W) float32."""

# Plain arithmetic on tensors: no control flow, no text, no randomness, no file, no other domain.
# fmt: off
_OPERATORS = frozenset(
    {
        "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant",
        "ConstantOfShape", "Conv", "ConvTranspose", "Div", "Exp", "Expand", "Flatten", "Floor",
        "Gather", "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
        "MaxPool", "Mul", "Pad", "PRelu", "Relu", "Reshape", "Resize", "Shape", "Sigmoid",
        "Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Upsample",
    }
)
# fmt: on


def read(content: bytes, name: str) -> Any:
    """Parse a detector's file; nothing in it is executed.

    Args:
        content: the file.
        name: what errors call it.

    Returns:
        The ``onnx.ModelProto``, with exactly one input besides its weights.

    Raises:
        WeightsError: it is not ONNX, has no nodes, keeps weights in another file, uses operators
            other than plain arithmetic on tensors, or takes anything but one (N, 3, H, W) float32.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's own type differs between its versions
        raise _refused(name, "it is another kind of file, or damaged") from error
    graph = model.graph
    if not graph.node or not model.opset_import:
        raise _refused(name, "it is another kind of file, or empty")
    tensors = [*graph.initializer, *_constants(graph)]
    if graph.sparse_initializer or any(
        tensor.data_location == TensorProto.EXTERNAL for tensor in tensors
    ):
        raise _refused(name, "it keeps weights in another file, or sparse ones")
    strange = sorted(
        {
            node.op_type
            for node in graph.node
            if node.domain not in ("", "ai.onnx") or node.op_type not in _OPERATORS
        }
    )
    inner = any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute)
    if strange or inner or model.functions:
        what = f"the operators {', '.join(strange)}" if strange else "graphs inside its graph"
        raise _refused(name, f"it uses {what}, which no face detector needs")
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise _refused(name, f"it takes {len(inputs)} inputs instead of one picture")
    kind = inputs[0].type.tensor_type
    dims = kind.shape.dim
    if kind.elem_type != TensorProto.FLOAT or len(dims) != 4 or dims[1].dim_value != 3:
        raise _refused(name, "its input is no (N, 3, H, W) of float32")
    del graph.input[:]
    graph.input.extend(inputs)
    return model


def outputs_of(model: Any) -> list[str]:
    """The names of the graph's outputs, in the file's order."""
    return [value.name for value in model.graph.output]


def rewrite(model: Any, outputs: Sequence[str], names: Sequence[str], *, free: bool) -> bytes:
    """The same graph from ``image`` to outputs of names of our own.

    Args:
        model: from :func:`read`; it is changed.
        outputs: which of its outputs to keep, in which order.
        names: what to call them.
        free: whether batch, height and width become free. Otherwise only the input's name
            changes, and the sizes stay as they are.

    Returns:
        ONNX bytes, deterministic.

    Raises:
        WeightsError: a name of ours means something else in the graph.
    """
    graph = model.graph
    (entry,) = graph.input
    new = {entry.name: INPUT, **dict(zip(outputs, names, strict=True))}
    taken = {name for node in graph.node for name in (*node.input, *node.output)} - new.keys()
    if taken & set(new.values()):
        raise _refused(graph.name or "the graph", "it uses a name of ours for something else")
    kept = [next(value for value in graph.output if value.name == name) for name in outputs]
    del graph.output[:]
    graph.output.extend(kept)
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    for value in (entry, *graph.output):
        value.name = new[value.name]
    # Shapes noted for inner values are those of the size it was exported at.
    del graph.value_info[:]
    if free:
        dims = entry.type.tensor_type.shape.dim
        for place, axis in ((0, "N"), (2, "H"), (3, "W")):
            dims[place].Clear()
            dims[place].dim_param = axis
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")
    return bytes(model.SerializeToString(deterministic=True))


def _constants(graph: Any) -> list[Any]:
    return [
        tensor
        for node in graph.node
        for attribute in node.attribute
        for tensor in (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
    ]


def _refused(name: str, why: str) -> WeightsError:
    return WeightsError(
        f"{name} is no face detector that can be used",
        why=why,
        todo="give the .onnx file as it was published",
    )
