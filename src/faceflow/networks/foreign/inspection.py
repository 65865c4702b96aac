"""Look inside an ONNX face network: its input, its embedding, and where its patches may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper

from faceflow.arrays import Float32
from faceflow.errors import InputError, WeightsError
from faceflow.networks.foreign.batch import free_batch, unset
from faceflow.networks.foreign.findings import Inspection, Layout, Patches
from faceflow.networks.foreign.graph import (
    Array,
    OnnxGraph,
    is_float,
    reads,
    run_graph,
    shape_of,
)

_LOOK_BACK = 120  # nodes before the embedding among which patches are looked for
_OFFERED = 5
_LARGEST_SIDE = 32
_LEAST_SIDE, _MOST_SIDE = 8, 1024  # of a face crop, in pixels
_MOST_AT_A_TIME = 64
_LISTED = 8
_FREE_SIDE = 112  # of an input whose size is free: what most face networks take
# Operators whose output has the axes of their input, in the same order.
_SAME_AXES = {
    "Add", "BatchNormalization", "Cast", "Clip", "Div", "Dropout", "Elu", "Identity",
    "HardSwish", "LeakyRelu", "Mul", "PRelu", "Relu", "Sigmoid", "Sub", "Tanh",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Entry:
    """The one picture a graph takes."""

    name: str
    channels: int
    size: tuple[int, int]
    layout: Layout
    fixed: bool
    batch: int | None


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was found, and the graph to go on with, its batch made free where it could be."""

    found: Inspection
    graph: OnnxGraph


def inspect_graph(
    graph: OnnxGraph, *, embedding: str | None = None, size: tuple[int, int] | None = None
) -> Inspected:
    """Look at a network; it is run on noise.

    Args:
        graph: the network.
        embedding: the output to take for the embedding; None takes the likeliest.
        size: (H, W) for a network that leaves it free.

    Raises:
        InputError: it takes pictures of a size or a number that no face network has.
        WeightsError: it takes anything but one picture, runs in no ONNX Runtime, or has no
            output that may be an embedding.
    """
    entry = _entry(graph)
    size = entry.size if entry.fixed or size is None else size
    batch, original = entry.batch, graph
    if batch is not None and batch < 1:
        graph, batch = unset(graph), None
    elif batch is not None and batch > 1:
        freed = free_batch(graph, noise(entry.channels, size, entry.layout, batch + 1))
        graph, batch = freed.graph, freed.batch
    images = noise(entry.channels, size, entry.layout, batch or 1)
    outputs = [value.name for value in graph.model.graph.output]
    found = dict(zip(outputs, graph.run(images, outputs), strict=True))
    embeddings = _embeddings(found, batch or 1)
    if embedding is not None:
        known = [one for one in embeddings if one[0] == embedding]
        if not known:
            raise WeightsError(
                f"{graph.name} has no output {embedding!r} of one row of numbers per face",
                why=f"it has {_shapes(found)}",
            )
        embeddings = known + [one for one in embeddings if one[0] != embedding]
    if not embeddings:
        raise WeightsError(
            f"{graph.name} has no embedding",
            why="no output holds one row of 8 or more numbers per face: " + _shapes(found),
            todo="give a network that answers with one vector per face",
        )
    inspection = Inspection(
        name=graph.name,
        sha256=graph.sha256,
        inputs=tuple((value.name, shape_of(value)) for value in original.inputs),
        outputs=tuple((value.name, shape_of(value)) for value in original.model.graph.output),
        input_size=size,
        input_channels=entry.channels,
        input_layout=entry.layout,
        fixed_size=entry.fixed,
        batch=batch,
        freed=(entry.batch or 0) > 1 and batch is None,
        scales_itself=_scales_itself(graph, entry.name),
        embeddings=tuple(embeddings),
        patches=_patches(graph, images, embeddings[0][0]),
    )
    return Inspected(inspection, graph)


def _shapes(found: dict[str, Array]) -> str:
    listed = [f"{name} {value.shape}" for name, value in found.items()]
    return ", ".join(listed[:_LISTED]) + (", ..." if len(listed) > _LISTED else "")


def _entry(graph: OnnxGraph) -> _Entry:
    pictures = [value for value in graph.inputs if is_float(value) and len(shape_of(value)) == 4]
    if len(graph.inputs) != 1 or len(pictures) != 1:
        listed = [f"{v.name} {shape_of(v)}" for v in graph.inputs[:_LISTED]]
        raise WeightsError(
            f"{graph.name} does not take one picture",
            why=f"its inputs are: {', '.join(listed) or 'none'}; one float32 input (N, C, H, W) "
            "is needed",
        )
    n, *axes = shape_of(pictures[0])
    layout: Layout = "nhwc" if axes[2] in (1, 3) and axes[0] not in (1, 3) else "nchw"
    channels, height, width = (axes[2], axes[0], axes[1]) if layout == "nhwc" else axes
    if channels not in (1, 3):
        raise WeightsError(
            f"{graph.name} takes pictures of {channels} channels", why="1 or 3 are possible"
        )
    sides = [side for side in (height, width) if isinstance(side, int)]
    if any(not _LEAST_SIDE <= side <= _MOST_SIDE for side in sides):
        raise InputError(
            f"{graph.name} takes pictures of {height}x{width} pixels",
            why=f"a side has from {_LEAST_SIDE} to {_MOST_SIDE} pixels",
            todo="export the network for the size of its face crops, or with free sides",
        )
    if isinstance(n, int) and n > _MOST_AT_A_TIME:
        raise InputError(
            f"{graph.name} takes {n:,} pictures at a time, no more and no less",
            why=f"up to {_MOST_AT_A_TIME} are possible",
            todo="export it for one picture, or for any number",
        )
    return _Entry(
        name=pictures[0].name,
        channels=int(channels),
        size=(
            height if isinstance(height, int) else _FREE_SIDE,
            width if isinstance(width, int) else _FREE_SIDE,
        ),
        layout=layout,
        fixed=len(sides) == 2,
        batch=n if isinstance(n, int) else None,
    )


def noise(channels: int, size: tuple[int, int], layout: Layout, batch: int) -> Float32:
    """Pictures that show nothing, the same every time."""
    rng = np.random.default_rng(0)
    axes = (channels, *size) if layout == "nchw" else (*size, channels)
    return rng.uniform(-1, 1, (batch, *axes)).astype(np.float32)


def _embeddings(found: dict[str, Array], batch: int) -> list[tuple[str, int]]:
    """Outputs of one row per face, the first 128 to 1024 numbers long before all others."""
    rows = [
        (name, int(np.prod(value.shape[1:])))
        for name, value in found.items()
        if value.dtype == np.float32
        and value.shape[:1] == (batch,)
        and (value.ndim == 2 or (value.ndim == 4 and value.shape[2:] == (1, 1)))
        and np.prod(value.shape[1:]) >= 8
    ]
    return sorted(rows, key=lambda row: not 128 <= row[1] <= 1024)


def _scales_itself(graph: OnnxGraph, value: str) -> bool:
    """Whether constants are subtracted from, or multiplied with, the input at once."""
    for node in graph.nodes:
        if value in reads(node):
            if node.op_type in ("Cast", "Identity", "Transpose"):
                value = node.output[0]
                continue
            others = [name for name in reads(node) if name != value]
            scaling = ("Sub", "Mul", "Div", "Add", "BatchNormalization")
            return node.op_type in scaling and all(name in graph.constants for name in others)
    return False


def _patches(graph: OnnxGraph, images: Float32, embedding: str) -> tuple[Patches, ...]:
    chain = [node for node in graph.before([embedding]) if node.output[0] not in graph.constants]
    names = [node.output[0] for node in chain[-_LOOK_BACK:]]
    values = graph.run(images, names) if names else []
    offered: list[Patches] = []
    for name, value in zip(reversed(names), reversed(values), strict=True):
        if value.ndim != 4 or value.dtype != np.float32 or value.shape[0] != len(images):
            continue
        layout = layout_of(graph, name, value.shape)
        c, h, w = value.shape[1:] if layout == "nchw" else np.roll(value.shape[1:], 1)
        seen = {(one.grid, one.channels) for one in offered}
        if min(h, w) < 2 or max(h, w) > _LARGEST_SIDE or c < 2 or ((h, w), c) in seen:
            continue
        after = graph.after(name, embedding)
        offered.append(
            Patches(
                tensor=name,
                made_by=graph.maker[name].op_type,
                channels=int(c),
                grid=(int(h), int(w)),
                layout=layout,
                between=tuple(node.op_type for node in after),
                linear=_is_linear(graph, name, value.shape, embedding),
            )
        )
        if len(offered) == _OFFERED:
            break
    return tuple(offered)


def layout_of(graph: OnnxGraph, name: str, shape: tuple[int, ...]) -> Layout:
    """Channels first as every ONNX convolution has them, unless a transposition moved them."""
    seen = name
    for _ in range(_LOOK_BACK):
        node = graph.maker.get(seen)
        if node is None:
            break
        if node.op_type == "Transpose":
            perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
            return "nhwc" if perm == [0, 2, 3, 1] else "nchw"
        if node.op_type not in _SAME_AXES:
            return "nchw"
        carried = [n for n in reads(node) if n not in graph.constants]
        if not carried:
            break
        seen = carried[0]
    return "nhwc" if shape[3] > max(shape[1], shape[2]) else "nchw"


def _is_linear(graph: OnnxGraph, name: str, shape: tuple[int, ...], embedding: str) -> bool | None:
    """By trial: f(x + y) - f(x) = f(y) - f(0) for noise x, y. None: not a function of it alone."""
    nodes = graph.after(name, embedding)
    made = {output for node in nodes for output in node.output}
    outside = {n for node in nodes for n in reads(node)} - made - graph.constants - {name}
    if outside:
        return None
    fixed = graph.before([n for node in nodes for n in reads(node) if n in graph.constants])
    fixed = [node for node in fixed if node.output[0] in graph.constants]
    entry = helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
    model = graph.piece([*fixed, *nodes], [entry], [helper.make_empty_tensor_value_info(embedding)])
    rng = np.random.default_rng(1)
    x, y = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    values = [
        run_graph(model, {name: at}, graph.name)[0].astype(np.float64)
        for at in (np.zeros_like(x), x, y, x + y)
    ]
    zero, fx, fy, both = values
    error = np.abs(both - fx - fy + zero).max()
    return bool(error <= 1e-3 * max(np.abs(both - zero).max(), 1e-12))
