"""Rewrite a graph into the shape that :class:`faceflow.networks.FaceNetwork` runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto, helper, numpy_helper

from faceflow.arrays import Float32
from faceflow.networks.foreign.findings import Inspection, Layout
from faceflow.networks.foreign.graph import OnnxGraph

_PREFIX = "net/"


def expose(
    graph: OnnxGraph,
    found: Inspection,
    values: Sequence[str],
    layout: Layout,
    *,
    batch: int | None,
    embedding_size: int,
    maps: tuple[int, int, int],
    tensors: Mapping[str, Float32] | None = None,
) -> bytes:
    """A graph from ``image`` (N, channels, H, W) to ``embedding`` (N, D) and ``patches``.

    Nodes that neither needs are left out; axes in another order are transposed, so that
    nothing above knows of them.

    Args:
        graph: the network.
        found: what was seen in it.
        values: the names of embedding and patches.
        layout: the order of the patches' axes.
        batch: N; None for any.
        embedding_size: D.
        maps: (C, h, w).
        tensors: further constants by name, for those who read the file.

    Returns:
        ONNX bytes, deterministic.
    """
    (entry,) = graph.inputs
    nodes = graph.before(values)
    free: list[int | str] = [batch if batch is not None else "N"]
    channels, (height, width) = found.input_channels, found.input_size
    axes = [channels, height, width] if found.input_layout == "nchw" else [height, width, channels]
    inner = helper.make_tensor_value_info(entry.name, TensorProto.FLOAT, [*free, *axes])
    outputs = [helper.make_empty_tensor_value_info(name) for name in values]
    piece = onnx.ModelProto()
    piece.ParseFromString(graph.piece(nodes, [inner], outputs))
    # A network may itself call a value "image" or "patches"; no name of ours has a slash.
    piece = onnx.compose.add_prefix(piece, _PREFIX)
    embedding, patches = (_PREFIX + name for name in values)
    into = (
        helper.make_node("Identity", ["image"], [_PREFIX + entry.name], name="image")
        if found.input_layout == "nchw"
        else helper.make_node(
            "Transpose", ["image"], [_PREFIX + entry.name], name="image", perm=[0, 2, 3, 1]
        )
    )
    out = (
        helper.make_node("Identity", [patches], ["patches"], name="patches")
        if layout == "nchw"
        else helper.make_node(
            "Transpose", [patches], ["patches"], name="patches", perm=[0, 3, 1, 2]
        )
    )
    flat = helper.make_node("Flatten", [embedding], ["embedding"], name="embedding", axis=1)
    made = helper.make_graph(
        [into, *piece.graph.node, flat, out],
        "network",
        [
            helper.make_tensor_value_info(
                "image", TensorProto.FLOAT, [*free, channels, height, width]
            )
        ],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [*free, embedding_size]),
            helper.make_tensor_value_info("patches", TensorProto.FLOAT, [*free, *maps]),
        ],
        [
            *piece.graph.initializer,
            *(numpy_helper.from_array(t, name) for name, t in (tensors or {}).items()),
        ],
    )
    model = helper.make_model(
        made,
        producer_name="faceflow",
        opset_imports=list(piece.opset_import),
        ir_version=piece.ir_version,
    )
    return bytes(model.SerializeToString(deterministic=True))
