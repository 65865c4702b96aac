"""From trained numbers to a network in the model registry."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from faceflow import detection, networks
from faceflow.arrays import Float32, Floats
from faceflow.errors import InputError, WeightsError
from faceflow.networks import NetworkSpec, lightcnn, trained
from faceflow.weights import Tensors, TrainedHere

_WEIGHT, _BIAS = "fc.weight", "fc.bias"


def require_free(name: str, *, replace: bool = False) -> None:
    """Check that a network can be saved as ``name``, before hours are spent on it.

    Raises:
        InputError: it cannot be a name, belongs to a published model, or is taken and must
            not be replaced.
    """
    trained.check_name(name)
    if name in networks.OWN_NAMES | {model.name for model in detection.MODELS}:
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
    graph = networks.graph(name)
    found, used = _initialisers(graph, (_WEIGHT, _BIAS)), _computes_with(graph, _WEIGHT)
    size = spec.channels * spec.grid[0] * spec.grid[1]
    weight, bias = found.get(_WEIGHT), found.get(_BIAS)
    if weight is None or bias is None or weight.shape != (spec.embedding_size, size) or not used:
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
    return trained.save(name, networks.spec(base), graph, trained_on=trained_on, same_patches=True)


def root_of(spec: NetworkSpec) -> str:
    """The published network that a network is or descends from."""
    return spec.source.upstream if isinstance(spec.source, TrainedHere) else spec.name


def read_tensors(name: str, shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    """The state dict of a network in the cache, read back from its graph.

    Args:
        name: the network.
        shapes: the entries wanted, as its PyTorch definition has them.

    Raises:
        WeightsError: it is not in the cache, or its graph keeps its tensors in another form.
    """
    graph = networks.graph(name)
    if root_of(networks.spec(name)) == lightcnn.SPEC.name:
        from faceflow.networks.lightcnn_graph import read_lightcnn_v4

        return read_lightcnn_v4(graph)
    stored = _initialisers(graph, tuple(shapes))
    if {key: value.shape for key, value in stored.items()} != dict(shapes):
        raise _not_by_name(name)
    return stored


def save_network(name: str, base: str, tensors: Tensors, *, trained_on: str) -> NetworkSpec:
    """Keep the network ``base`` with other weights as ``name``; PyTorch is not needed.

    Raises:
        WeightsError: the tensors do not fit, or the cache cannot be written.
    """
    require_free(name, replace=True)
    spec = networks.spec(base)
    if root_of(spec) == lightcnn.SPEC.name:
        from faceflow.networks.lightcnn_graph import build_lightcnn_v4

        graph = build_lightcnn_v4(tensors)
    else:
        graph = networks.graph(base)
        stored = _initialisers(graph, tuple(tensors))
        if {k: v.shape for k, v in stored.items()} != {k: v.shape for k, v in tensors.items()}:
            raise _not_by_name(base)
        graph = _replaced(graph, tensors)
    return trained.save(name, spec, graph, trained_on=trained_on)


def _not_by_name(name: str) -> WeightsError:
    return WeightsError(
        f"{name} cannot be trained as a whole",
        why="its graph does not hold the tensors of its PyTorch definition under their names",
        todo="train its last layer with `faceflow train head`",
    )


def _initialisers(graph: bytes, names: tuple[str, ...]) -> Tensors:
    import onnx

    model = onnx.load_from_string(graph)
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name in names
    }


def _computes_with(graph: bytes, tensor: str) -> bool:
    """Whether a node reads the tensor; an imported network's is there for readers alone."""
    import onnx

    return any(tensor in node.input for node in onnx.load_from_string(graph).graph.node)


def _replaced(graph: bytes, tensors: Mapping[str, Floats]) -> bytes:
    """The graph with some of its initialisers exchanged."""
    import onnx

    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        if tensor.name in tensors:
            new = np.ascontiguousarray(tensors[tensor.name], np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(new, tensor.name))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
