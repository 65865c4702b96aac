"""Graphs that were exported for exactly n pictures: made free of n where that can be proved.

Converters write the batch of the export, often 2, into the input's shape and into the constants of
reshapings. Those are rewritten here, and the new graph is believed only when it gives, for one
picture, n, and n + 1, what the original gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from faceflow.arrays import Float32
from faceflow.errors import WeightsError
from faceflow.networks.foreign.graph import Array, OnnxGraph, attributes

AGREE = 1e-3
"""Largest difference between two ways to run a network, in shares of its largest output."""
_RESHAPING = ("Reshape", "Expand")  # their second input gives sizes


@dataclass(frozen=True, slots=True)
class Freed:
    """A graph to go on with.

    Attributes:
        graph: the rewritten one, or the one given.
        batch: how many pictures it takes at a time; None for any number.
    """

    graph: OnnxGraph
    batch: int | None


def free_batch(graph: OnnxGraph, noise: Float32) -> Freed:
    """The graph for any number of pictures, or as it is where that cannot be proved.

    Args:
        graph: takes exactly n pictures, n > 1.
        noise: n + 1 different pictures.

    Raises:
        WeightsError: the graph cannot be run, or its answer to one picture depends on the
            others, so that it is of no use for faces one by one.
    """
    batch = len(noise) - 1
    outputs = [value.name for value in graph.model.graph.output]
    expected = _one_by_one(graph, noise, outputs, batch)
    try:
        freed = OnnxGraph(_rewritten(graph, batch), graph.name, graph.sha256)
        if all(
            agree(np.concatenate([part[n] for part in parts]), expected[n])
            for parts in (
                [freed.run(noise[:1], outputs), freed.run(noise[1:], outputs)],
                [freed.run(noise, outputs)],
            )
            for n in range(len(outputs))
        ):
            return Freed(freed, None)
    except (WeightsError, ValueError):  # it needs its n in a way that is not known here
        pass
    return Freed(graph, batch)


def unset(graph: OnnxGraph) -> OnnxGraph:
    """The same graph where its file says 0 or -1 pictures and means any number."""
    return OnnxGraph(_of_any_number(graph), graph.name, graph.sha256)


def run_padded(
    graph: OnnxGraph, images: Float32, values: list[str], batch: int | None
) -> list[Array]:
    """Values of any number of pictures from a graph that takes ``batch`` at a time.

    The last pictures are repeated to fill a batch; what comes of the repetitions is dropped.
    """
    step = batch or 1
    parts = []
    for start in range(0, len(images), step):
        given = images[start : start + step]
        filled = np.concatenate([given, np.repeat(given[-1:], step - len(given), axis=0)])
        parts.append([value[: len(given)] for value in graph.run(filled, values)])
    return [np.concatenate([part[n] for part in parts]) for n in range(len(values))]


def agree(a: Array, b: Array) -> bool:
    """Whether two ways to compute one thing differ by rounding alone."""
    if a.shape != b.shape:
        return False
    if not a.size:
        return True
    return bool(np.abs(a - b).max() <= AGREE * max(float(np.abs(b).max()), 1e-6))


def _one_by_one(graph: OnnxGraph, noise: Float32, outputs: list[str], batch: int) -> list[Array]:
    """What the original says to each picture, whichever others are beside it."""
    alone = [run_padded(graph, noise[n : n + 1], outputs, batch) for n in range(len(noise))]
    expected = [np.concatenate([one[n] for one in alone]) for n in range(len(outputs))]
    together = graph.run(noise[:batch], outputs)
    if any(value.shape[:1] != (batch,) for value in together) or not all(
        agree(value, one[:batch]) for value, one in zip(together, expected, strict=True)
    ):
        raise WeightsError(
            f"{graph.name} takes {batch} pictures at a time and mixes them",
            why="its answer to one picture depends on the others",
            todo="export it for one picture, or for any number",
        )
    return expected


def _of_any_number(graph: OnnxGraph) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and value.name not in graph.constants:
            dims[0].Clear()
            dims[0].dim_param = "N"
    return model


def _rewritten(graph: OnnxGraph, batch: int) -> onnx.ModelProto:
    """The model with the batch taken out of shapes and of constants that give shapes."""
    model = _of_any_number(graph)
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    for number, node in enumerate(model.graph.node):
        if node.op_type not in _RESHAPING or len(node.input) < 2:
            continue
        if node.input[0] in graph.constants:
            continue
        tensor = known.get(node.input[1])
        maker = graph.maker.get(node.input[1])
        if tensor is None and maker is not None and maker.op_type == "Constant":
            tensor = attributes(maker).get("value")
        if tensor is None:
            continue
        sizes = numpy_helper.to_array(tensor)
        if sizes.ndim != 1 or not sizes.size or sizes[0] != batch:
            continue
        free = _free_sizes(node, sizes.copy())
        # A constant of its own: another node may read this one for something else.
        name = f"faceflow/free-batch/{number}"
        model.graph.initializer.append(numpy_helper.from_array(free, name))
        node.input[1] = name
    return model


def _free_sizes(node: onnx.NodeProto, sizes: Array) -> Array:
    """Sizes of a Reshape or Expand that leave the first axis as it comes."""
    if node.op_type == "Expand":
        sizes[0] = 1
    elif -1 not in sizes[1:]:
        sizes[0] = -1
    elif not attributes(node).get("allowzero", 0):
        sizes[0] = 0
    return sizes
