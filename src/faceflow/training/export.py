"""From trained numbers to a network in the model registry."""

from __future__ import annotations

import numpy as np

from faceflow import detection, networks
from faceflow.arrays import Float32, Floats
from faceflow.errors import InputError, WeightsError
from faceflow.networks import NetworkSpec, trained
from faceflow.weights import Tensors

_WEIGHT, _BIAS = "fc.weight", "fc.bias"


def require_free(name: str, *, replace: bool = False) -> None:
    """Check that a network can be saved as ``name``, before hours are spent on it.

    Raises:
        InputError: it cannot be a name, belongs to a published model, or is taken and must
            not be replaced.
    """
    trained.check_name(name)
    published = {model.name for model in (*networks.MODELS, *detection.MODELS)}
    if name in published:
        raise InputError(
            f"{name} is the name of a published model",
            todo=f"choose another name, e.g. {name}-masked",
        )
    if not replace and name in {spec.name for spec in networks.available()}:
        raise InputError(
            f"there is a network {name} already",
            why="a gallery made with it would no longer open",
            todo="choose another name, or replace it with --force",
        )


def last_layer(name: str) -> tuple[Float32, Float32]:
    """The last layer of a network's graph, as it is stored.

    Returns:
        weight (D, C * h * w), channels first, and bias (D,).

    Raises:
        WeightsError: the graph is not in the cache, or its last layer is not one linear layer
            on the flattened patch map.
    """
    spec = networks.spec(name)
    found = _initialisers(networks.graph(name))
    size = spec.channels * spec.grid[0] * spec.grid[1]
    weight, bias = found.get(_WEIGHT), found.get(_BIAS)
    if weight is None or bias is None or weight.shape != (spec.embedding_size, size):
        raise WeightsError(
            f"{name} has no last layer that can be trained alone",
            why="its embedding is not one linear layer on its flattened patches",
            todo="train the whole network with `faceflow train network`",
        )
    return weight.astype(np.float32), bias.astype(np.float32)


def save_head(
    name: str, base: str, weight: Floats, bias: Floats, *, trained_on: str
) -> NetworkSpec:
    """Keep the network ``base`` with another last layer as ``name``.

    Raises:
        InputError, WeightsError: as :func:`require_free`, and the cache cannot be written.
    """
    require_free(name, replace=True)
    old = last_layer(base)
    if weight.shape != old[0].shape or bias.shape != old[1].shape:
        raise InputError(
            f"the layer has shapes {weight.shape} and {bias.shape}",
            why=f"{base} needs {old[0].shape} and {old[1].shape}",
        )
    graph = _replaced(networks.graph(base), {_WEIGHT: weight, _BIAS: bias})
    return trained.save(name, networks.spec(base), graph, trained_on=trained_on)


def _initialisers(graph: bytes) -> Tensors:
    import onnx

    model = onnx.load_from_string(graph)
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name in (_WEIGHT, _BIAS)
    }


def _replaced(graph: bytes, tensors: dict[str, Floats]) -> bytes:
    """The graph with some of its initialisers exchanged."""
    import onnx

    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        if tensor.name in tensors:
            new = np.ascontiguousarray(tensors[tensor.name], np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(new, tensor.name))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
