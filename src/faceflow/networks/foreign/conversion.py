"""Make a foreign graph one that faceflow runs, and prove that it answers as before."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Float32
from faceflow.errors import InputError, WeightsError
from faceflow.features import FaceFeatures
from faceflow.networks.foreign.batch import agree, run_padded
from faceflow.networks.foreign.exposing import expose
from faceflow.networks.foreign.findings import Inspection, Layout
from faceflow.networks.foreign.graph import OnnxGraph, run_graph
from faceflow.networks.foreign.inspection import inspect_graph, layout_of, noise
from faceflow.networks.foreign.last_layer import last_layer


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a description says of a graph.

    Attributes:
        embedding, patches: which of its values are which.
        input_size: (H, W) of its crops.
        colour: "gray" or another.
    """

    embedding: str
    patches: str
    input_size: tuple[int, int]
    colour: str


@dataclass(frozen=True, slots=True)
class Converted:
    """A graph as faceflow runs it.

    Attributes:
        graph: ONNX bytes.
        sha256: over the file and over which of its values are what. Not of ``graph``, whose
            bytes may change with the version of ``onnx``.
        embedding_size: D.
        channels: C.
        grid: (h, w).
    """

    graph: bytes
    sha256: str
    embedding_size: int
    channels: int
    grid: tuple[int, int]


def convert(graph: OnnxGraph, wanted: Wanted) -> Converted:
    """Expose a network's patches; run it on noise before and after and compare.

    Raises:
        InputError: the description does not fit the network.
        WeightsError: the network cannot be used; see :func:`inspect_graph` too.
    """
    inspected = inspect_graph(graph, embedding=wanted.embedding, size=wanted.input_size)
    found, graph = inspected.found, inspected.graph
    _check_input(found, wanted)
    layout = _patch_layout(graph, found, wanted)
    made, channels, grid = _try(graph, found, wanted, layout)
    return Converted(
        graph=made,
        sha256=_digest(graph, found, wanted, layout),
        embedding_size=found.embeddings[0][1],
        channels=channels,
        grid=grid,
    )


def _check_input(found: Inspection, wanted: Wanted) -> None:
    if found.input_size != wanted.input_size:
        raise InputError(
            f"the field input_size is {list(wanted.input_size)}",
            why=f"{found.name} takes {list(found.input_size)}",
        )
    if (found.input_channels == 1) != (wanted.colour == "gray"):
        raise InputError(
            f"the field colour is {wanted.colour!r}",
            why=f"{found.name} takes {found.input_channels} channel"
            + ("" if found.input_channels == 1 else "s"),
        )


def _patch_layout(graph: OnnxGraph, found: Inspection, wanted: Wanted) -> Layout:
    """The order of the patches' axes."""
    offered = {one.tensor for one in found.patches}
    listed = ", ".join(f"{p.tensor} {p.grid[0]}x{p.grid[1]}x{p.channels}" for p in found.patches)
    if wanted.patches not in graph.maker or wanted.patches in graph.constants:
        raise InputError(
            f"the field patches is {wanted.patches!r}",
            why=f"{found.name} makes no such value",
            todo=f"likely ones: {listed or 'none was found'}",
        )
    value = run_padded(graph, _noise(found, 1), [wanted.patches], found.batch)[0]
    if value.ndim != 4 or value.dtype != np.float32 or value.shape[0] != 1:
        raise InputError(
            f"the field patches is {wanted.patches!r}",
            why=f"that value is {value.dtype} of shape {value.shape}; (1, C, h, w) or "
            "(1, h, w, C) in float32 is needed",
            todo=f"likely ones: {listed or 'none was found'}",
        )
    if wanted.patches in offered:
        (layout,) = (p.layout for p in found.patches if p.tensor == wanted.patches)
        return layout
    return layout_of(graph, wanted.patches, value.shape)


def _try(
    graph: OnnxGraph, found: Inspection, wanted: Wanted, layout: Layout
) -> tuple[bytes, int, tuple[int, int]]:
    """The graph as it will be run, C and grid; tried alone and, where it may, in a batch."""
    crops = _noise(found, 3)
    plain = crops if found.input_layout == "nchw" else crops.transpose(0, 3, 1, 2)
    plain = np.ascontiguousarray(plain)
    values = [wanted.embedding, wanted.patches]
    alone = [run_padded(graph, crops[n : n + 1], values, found.batch) for n in range(len(crops))]
    expected = [
        np.concatenate([one[0].reshape(1, -1) for one in alone]),
        np.concatenate([_channels_first(one[1], layout) for one in alone]),
    ]
    _, c, h, w = expected[1].shape
    if not all(np.isfinite(one).all() for one in expected):
        raise WeightsError(
            f"{found.name} answers noise with NaN or infinity",
            todo="check that the file is whole, and the fields mean and std",
        )
    size = int(expected[0].shape[1])
    tensors = _last_layer(graph, values, layout, expected)
    for batch in (None, 1) if found.batch is None else (found.batch,):
        made = expose(
            graph,
            found,
            values,
            layout,
            batch=batch,
            embedding_size=size,
            maps=(c, h, w),
            tensors=tensors,
        )
        try:
            given = _in_batches(made, plain, batch, found.name)
        except WeightsError:
            if batch is None:  # exported with a free axis that it cannot take more than 1 on
                continue
            raise
        if all(agree(a, b) for a, b in zip(given, expected, strict=True)):
            # Also what faceflow itself will make of it.
            FaceFeatures.from_maps(given[0], given[1])
            return made, int(c), (int(h), int(w))
    raise WeightsError(
        f"{found.name} answers differently when its patches are read as well",
        why="its outputs changed by more than rounding",
        todo="report this with the network, please",
    )


def _in_batches(graph: bytes, images: Float32, batch: int | None, name: str) -> list[Float32]:
    """Both outputs, of ``batch`` pictures at a time, the last repeated; None: of all at once."""
    step = batch or len(images)
    filled = np.concatenate([images, np.repeat(images[-1:], -len(images) % step, axis=0)])
    parts = [
        run_graph(graph, {"image": filled[n : n + step]}, name) for n in range(0, len(filled), step)
    ]
    return [np.concatenate([part[k] for part in parts])[: len(images)] for k in (0, 1)]


def _last_layer(
    graph: OnnxGraph, values: list[str], layout: Layout, expected: list[Float32]
) -> dict[str, Float32]:
    """What :attr:`FaceNetwork.last_layer` reads; nothing where there is no such layer."""
    embedding, maps = expected
    found = last_layer(graph, values[1], layout, values[0], maps.shape[1:])
    if found is None:
        return {}
    weight, bias = found
    computed = maps.reshape(len(maps), -1).astype(np.float64) @ weight.T + bias
    if not agree(computed.astype(np.float32), embedding):
        return {}
    return {"fc.weight": weight.astype(np.float32), "fc.bias": bias.astype(np.float32)}


def _channels_first(values: Float32, layout: Layout) -> Float32:
    return values if layout == "nchw" else values.transpose(0, 3, 1, 2)


def _noise(found: Inspection, n: int) -> Float32:
    return noise(found.input_channels, found.input_size, found.input_layout, n)


def _digest(graph: OnnxGraph, found: Inspection, wanted: Wanted, layout: Layout) -> str:
    decisive = [
        graph.sha256,
        wanted.embedding,
        wanted.patches,
        layout,
        found.input_layout,
    ]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()
