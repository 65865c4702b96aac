"""What a foreign graph may not have, whoever made it.

A network that was imported runs in the user's own process on every photo. So its time and memory
must be what they were when it was tried at import, whatever a photo shows: no loops, no sizes
computed from pixels, nothing read from other files, no operators from elsewhere. All of this is
read off the graph before anything in it runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

from faceflow.errors import WeightsError

_ONNX_RUNTIME = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
_LONGEST_NAME = 1000
_MOST_NODES = 100_000  # of a graph whose functions are written out; face networks have hundreds
_DEEPEST = 50  # functions that call functions
# Inputs that say how large an output is, by position.
_SIZES: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "DFT": (1,),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Tile": (1, 2),
    "Upsample": (1,),
}


def refuse(model: onnx.ModelProto, name: str) -> None:
    """Raise :class:`WeightsError` for a graph that is not to be run.

    Args:
        model: the graph, its local functions inlined.
        name: the file's name, for messages.
    """
    nodes = list(_every_node(model.graph.node))
    if not all(map(_readable, _names(model, nodes))):
        raise WeightsError(
            f"{name} has names in it that nobody could read",
            why=f"they are over {_LONGEST_NAME} characters long, hold control codes or are no text",
            todo="export the network again",
        )
    if any(t.data_location == TensorProto.EXTERNAL or t.external_data for t in _tensors(model)):
        raise WeightsError(
            f"{name} keeps its weights in another file",
            todo="save it as one file (onnx.save_model with save_as_external_data=False)",
        )
    strange = sorted({node.domain for node in nodes} - _ONNX_RUNTIME)
    if strange:
        raise WeightsError(
            f"{name} uses operators of {', '.join(strange)[:200]}",
            why="ONNX Runtime has only the standard ones",
            todo="export the network with standard operators",
        )
    for node in nodes:
        if node.op_type != "If" and any(True for _ in _inner(node)):
            raise WeightsError(
                f"{name} repeats a part of itself ({node.op_type})",
                why="nobody could say how long it takes on the next photo",
                todo="export the network without loops",
            )
    _refuse_sizes_of_pixels(model, nodes, name)


def refuse_endless_functions(model: onnx.ModelProto, name: str) -> None:
    """Raise :class:`WeightsError` where writing out the local functions would not come to an end.

    Forty functions that each call the next one twice make 2^40 nodes.
    """
    bodies = {(one.domain, one.name): list(_every_node(one.node)) for one in model.functions}
    known: dict[tuple[str, str], int] = {}

    def size(nodes: list[onnx.NodeProto], depth: int) -> int:
        if depth > _DEEPEST:
            return _MOST_NODES + 1
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in bodies and key not in known:
                known[key] = size(bodies[key], depth + 1)
            total += 1 + known.get(key, 0)
        return total

    if size(list(_every_node(model.graph.node)), 0) > _MOST_NODES:
        raise WeightsError(
            f"{name} is not a graph that ends",
            why=f"its functions call each other more than {_DEEPEST} deep, or come to more than "
            f"{_MOST_NODES:,} operators",
            todo="export the network without functions of its own",
        )


def _refuse_sizes_of_pixels(model: onnx.ModelProto, nodes: list[onnx.NodeProto], name: str) -> None:
    """Sizes may follow from shapes and constants, never from what a picture shows."""
    given = {tensor.name for tensor in model.graph.initializer}
    pixels = {value.name for value in model.graph.input if value.name not in given}
    before = -1
    while before != len(pixels):  # ONNX Runtime sorts the nodes itself, so their order says little
        before = len(pixels)
        for node in nodes:
            if node.op_type in ("Shape", "Size"):
                continue
            inside = (one for graph in _inner(node) for one in graph.output)
            if pixels.intersection(node.input) or any(one.name in pixels for one in inside):
                pixels.update(output for output in node.output if output)
    for node in nodes:
        sizes = [node.input[n] for n in _SIZES.get(node.op_type, ()) if n < len(node.input)]
        if pixels.intersection(sizes):
            raise WeightsError(
                f"{name} computes a size from the picture's pixels ({node.op_type})",
                why="nobody could say how much memory it takes on the next photo",
                todo="export the network with sizes that do not depend on the picture",
            )


def _readable(name: str | bytes) -> bool:
    """protobuf gives bytes where a text is not UTF-8."""
    return isinstance(name, str) and len(name) <= _LONGEST_NAME and name.isprintable()


def _names(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> Iterator[str | bytes]:
    """Every name that may come to be shown."""
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        yield value.name
    for value in (*model.graph.input, *model.graph.output):
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for node in nodes:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)


def _inner(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _every_node(nodes: Iterator[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes and those of the graphs inside them, innermost first; protobuf bounds the depth."""
    for node in nodes:
        for graph in _inner(node):
            yield from _every_node(graph.node)
        yield node


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every constant, wherever a graph may hold one."""
    yield from _tensors_of(model.graph)
    for training in model.training_info:
        yield from _tensors_of(training.initialization)
        yield from _tensors_of(training.algorithm)


def _tensors_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
        for inner in _inner(node):
            yield from _tensors_of(inner)
