"""Make an ONNX file and its description a network of faceflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from faceflow import models
from faceflow.arrays import Float32
from faceflow.errors import InputError, WeightsError
from faceflow.features import FaceFeatures
from faceflow.networks import NetworkSpec, described
from faceflow.networks.description import Description
from faceflow.onnx_networks.exposing import expose
from faceflow.onnx_networks.graph import OnnxGraph, read_graph, run_graph
from faceflow.onnx_networks.inspection import Inspection, Layout, inspect_graph, layout_of
from faceflow.onnx_networks.last_layer import last_layer
from faceflow.onnx_networks.spec_file import OnnxDescription
from faceflow.weights import OnnxFile

Progress = Callable[[str], None]
_AGREE = 1e-3  # largest difference between two ways to run a network, of its largest output


def import_network(
    name: str,
    file: str | Path,
    description: OnnxDescription,
    *,
    progress: Progress | None = None,
) -> NetworkSpec:
    """Check a network, expose its patches as an output, and put it into the cache.

    It is run on noise first: its outputs must have the described shapes, be finite, and not
    depend on the other faces of a batch. Networks that take one crop at a time are run so.

    Args:
        name: what it will be called: lower-case letters, digits, ``.``, ``_`` and ``-``. A
            network imported under this name before is replaced.
        file: the ``.onnx`` file.
        description: from :func:`faceflow.onnx_networks.read_file`.
        progress: told what happens.

    Returns:
        Its specification; ``load_network(name)`` loads it from now on. The digest covers the
        file, the values that were chosen, and the preprocessing.

    Raises:
        InputError: the name is taken or not possible, or the description does not fit.
        WeightsError: the file is no network that can be used, or the cache cannot be written.
    """
    models.require_new_name(name)
    if progress:
        progress(f"reading {file}")
    graph = read_graph(Path(file))
    found = inspect_graph(graph, embedding=description.embedding, size=description.input_size)
    _check_input(found, description)
    layout, shape = _patch_layout(graph, found, description)
    if progress:
        progress(f"trying {name} on noise")
    made, channels, grid = _try(graph, found, description, layout, shape)
    spec = NetworkSpec(
        **{field: getattr(description, field) for field in Description.__slots__},
        name=name,
        source=OnnxFile(
            file_name=Path(file).name,
            sha256=_digest(graph, found, description, layout),
            size=Path(file).stat().st_size,
            upstream=description.upstream,
        ),
        embedding_size=found.embeddings[0][1],
        grid=grid,
        channels=channels,
    )
    described.save(spec, made)
    return spec


def _check_input(found: Inspection, description: OnnxDescription) -> None:
    if found.input_size != description.input_size:
        raise InputError(
            f"the field input_size is {list(description.input_size)}",
            why=f"{found.name} takes {list(found.input_size)}",
        )
    if (found.input_channels == 1) != (description.colour == "gray"):
        raise InputError(
            f"the field colour is {description.colour!r}",
            why=f"{found.name} takes {found.input_channels} channel"
            + ("" if found.input_channels == 1 else "s"),
        )


def _patch_layout(
    graph: OnnxGraph, found: Inspection, description: OnnxDescription
) -> tuple[Layout, tuple[int, ...]]:
    """The order of the patches' axes, and their shape for one face."""
    offered = {one.tensor for one in found.patches}
    listed = ", ".join(f"{p.tensor} {p.grid[0]}x{p.grid[1]}x{p.channels}" for p in found.patches)
    if description.patches not in graph.maker or description.patches in graph.constants:
        raise InputError(
            f"the field patches is {description.patches!r}",
            why=f"{found.name} makes no such value",
            todo=f"likely ones: {listed or 'none was found'}",
        )
    value = graph.run(_noise(found, 1), [description.patches])[0]
    if value.ndim != 4 or value.dtype != np.float32 or value.shape[0] != 1:
        raise InputError(
            f"the field patches is {description.patches!r}",
            why=f"that value is {value.dtype} of shape {value.shape}; (1, C, h, w) or "
            "(1, h, w, C) in float32 is needed",
            todo=f"likely ones: {listed or 'none was found'}",
        )
    if description.patches in offered:
        (layout,) = (p.layout for p in found.patches if p.tensor == description.patches)
        return layout, value.shape
    return layout_of(graph, description.patches, value.shape), value.shape


def _try(
    graph: OnnxGraph,
    found: Inspection,
    description: OnnxDescription,
    layout: Layout,
    shape: tuple[int, ...],
) -> tuple[bytes, int, tuple[int, int]]:
    """The graph as it will be run, C and grid; tried alone and, where it may, in a batch."""
    crops = _noise(found, 3)
    plain = crops if found.input_layout == "nchw" else crops.transpose(0, 3, 1, 2)
    plain = np.ascontiguousarray(plain)
    wanted = [description.embedding, description.patches]
    alone = [graph.run(crops[n : n + 1], wanted) for n in range(len(crops))]
    expected = [
        np.concatenate([one[0].reshape(1, -1) for one in alone]),
        np.concatenate([_channels_first(one[1], layout) for one in alone]),
    ]
    _, c, h, w = expected[1].shape
    if not all(np.isfinite(values).all() for values in expected):
        raise WeightsError(
            f"{found.name} answers noise with NaN or infinity",
            todo="check that the file is whole, and the fields mean and std",
        )
    size = int(expected[0].shape[1])
    tensors = _last_layer(graph, wanted, layout, expected)
    for batch in (None, 1) if found.batch is None else (1,):
        made = expose(
            graph,
            found,
            wanted,
            layout,
            batch=batch,
            embedding_size=size,
            maps=(c, h, w),
            tensors=tensors,
        )
        try:
            steps = [plain] if batch is None else [plain[n : n + 1] for n in range(len(plain))]
            parts = [run_graph(made, {"image": step}, found.name) for step in steps]
        except WeightsError:
            if batch is None:  # exported with a free axis that it cannot take more than 1 on
                continue
            raise
        given = [np.concatenate([part[k] for part in parts]) for k in (0, 1)]
        if all(_agree(a, b) for a, b in zip(given, expected, strict=True)):
            # Also what faceflow itself will make of it.
            FaceFeatures.from_maps(given[0], given[1])
            return made, int(c), (int(h), int(w))
    raise WeightsError(
        f"{found.name} answers differently when its patches are read as well",
        why="its outputs changed by more than rounding",
        todo="report this with the network, please",
    )


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
    if not _agree(computed.astype(np.float32), embedding):
        return {}
    return {"fc.weight": weight.astype(np.float32), "fc.bias": bias.astype(np.float32)}


def _channels_first(values: Float32, layout: Layout) -> Float32:
    return values if layout == "nchw" else values.transpose(0, 3, 1, 2)


def _agree(a: Float32, b: Float32) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max() <= _AGREE * max(np.abs(b).max(), 1e-6))


def _noise(found: Inspection, n: int) -> Float32:
    axes = (found.input_channels, *found.input_size)
    if found.input_layout == "nhwc":
        axes = (*found.input_size, found.input_channels)
    return np.random.default_rng(2).uniform(-1, 1, (n, *axes)).astype(np.float32)


def _digest(
    graph: OnnxGraph, found: Inspection, description: OnnxDescription, layout: Layout
) -> str:
    """Not of the rewritten graph, whose bytes may change with the version of ``onnx``."""
    decisive = [
        graph.sha256,
        description.embedding,
        description.patches,
        layout,
        found.input_layout,
    ]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()
