"""From trained numbers to a network in the model registry."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from faceflow import networks
from faceflow.arrays import Float32, Floats
from faceflow.errors import InputError, WeightsError
from faceflow.networks import NetworkSpec, described
from faceflow.networks.architecture import Architecture
from faceflow.networks.spec import UNCALIBRATED
from faceflow.networks.students import make_spec, replace_constants, with_layer
from faceflow.weights import Tensors, TrainedHere
from faceflow.weights.initialisers import read_initialisers

_WEIGHT, _BIAS = "fc.weight", "fc.bias"


def require_free(name: str, *, replace: bool = False) -> None:
    """Check that a network can be saved as ``name``, before hours are spent on it.

    Raises:
        InputError: it cannot be a name, belongs to a published model, or is taken and must
            not be replaced.
    """
    networks.require_new_name(name)
    if not replace and networks.find(name) is not None:
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
    found, used = read_initialisers(graph, (_WEIGHT, _BIAS)), _computes_with(graph, _WEIGHT)
    size = spec.channels * spec.grid[0] * spec.grid[1]
    weight, bias = found.get(_WEIGHT), found.get(_BIAS)
    if weight is None or bias is None or weight.shape != (spec.embedding_size, size) or not used:
        raise WeightsError(
            f"{name} has no last layer that can be trained alone",
            why="its embedding is not one linear layer on its flattened patches",
            todo="train the whole network with `faceflow train network`",
        )
    return weight.copy(), bias.copy()


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
    graph = replace_constants(networks.graph(base), {_WEIGHT: weight, _BIAS: bias})
    return keep(name, networks.spec(base), graph, trained_on=trained_on, same_patches=True)


def root_of(spec: NetworkSpec) -> str:
    """The published network that a network is or descends from."""
    return spec.source.upstream if isinstance(spec.source, TrainedHere) else spec.name


def read_tensors(name: str) -> Tensors:
    """The state dict of a network in the cache, read back from its graph.

    Raises:
        WeightsError: it is not in the cache, or its graph keeps its tensors in another form.
    """
    layers = _layers(networks.spec(name))
    return layers.read(networks.graph(name))


def save_network(name: str, base: str, tensors: Tensors, *, trained_on: str) -> NetworkSpec:
    """Keep the network ``base`` with other weights as ``name``; PyTorch is not needed.

    Raises:
        WeightsError: the tensors do not fit, or the cache cannot be written.
    """
    require_free(name, replace=True)
    spec = networks.spec(base)
    return keep(name, spec, _layers(spec).build(tensors), trained_on=trained_on)


def can_be_divided(spec: NetworkSpec) -> bool:
    """Whether more than a network's last layer can be trained."""
    root = root_of(spec)
    return root in networks.OWN_NAMES and networks.architecture(root).restore is not None


def require_divisible(spec: NetworkSpec) -> None:
    """Raise :class:`WeightsError`, saying why and what to do, unless :func:`can_be_divided`."""
    if not can_be_divided(spec):
        raise WeightsError(
            f"only the last layer of {spec.name} can be trained",
            why="its graph does not hold the tensors of its PyTorch definition under their names",
            todo="leave --first out, or say --first fc",
        )


def _layers(spec: NetworkSpec) -> Architecture:
    """The layers of a network that can be trained as a whole."""
    root = root_of(spec)
    layers = networks.architecture(root) if root in networks.OWN_NAMES else None
    if layers is None or layers.restore is None:
        raise WeightsError(
            f"{spec.name} cannot be trained as a whole",
            why="its graph does not hold the tensors of its PyTorch definition under their names",
            todo="train its last layer with `faceflow train head`",
        )
    return layers


def save_student(
    name: str, teacher: str, tensors: Tensors, *, trained_on: str, layer: bool
) -> NetworkSpec:
    """Keep a student of ``teacher`` as ``name``; PyTorch is not needed.

    Args:
        name: what users will type.
        teacher: the network it learned from.
        tensors: what it learned: the whole state dict, or with ``layer`` weight and bias of its
            last layer.
        trained_on: the photos, for people to read.
        layer: whether its last layer alone was trained.

    Raises:
        InputError, WeightsError: as :func:`save_network`.
    """
    require_free(name, replace=True)
    base = networks.spec(teacher)
    if layer:
        graph = with_layer(networks.graph(teacher), tensors[_WEIGHT], tensors[_BIAS])
    else:
        graph = _layers(base).build(tensors)
    spec = make_spec(name, base, graph, layer=layer, trained_on=trained_on)
    described.save(spec, graph)
    return spec


def keep(
    name: str,
    base: NetworkSpec,
    graph: bytes,
    *,
    trained_on: str,
    same_patches: bool = False,
) -> NetworkSpec:
    """Put a fine-tuned network into the cache, replacing one of the same name.

    Args:
        name: what users will type.
        base: the network it was trained from; its preprocessing and sizes are taken over, and
            its matching defaults (measured on ``base``, not on this network) unless they need a
            patch model.
        graph: its ONNX bytes.
        trained_on: the photos, for people to read.
        same_patches: whether only the last layer was trained, so that raw patches are the
            base's to the last bit and what is known of them holds.

    Returns:
        The new network's spec; its digest differs from the base's.

    Raises:
        InputError: the name cannot be used.
        WeightsError: the cache cannot be written.
    """
    trained = base.source if isinstance(base.source, TrainedHere) else None
    patches = (base.digest if trained is None else trained.patches) if same_patches else ""
    plain = base.defaults.patches == "raw" and base.defaults.visible_share == 0
    plain = plain and base.defaults.weighting != "uncovered"
    root = root_of(base)
    spec = replace(
        base,
        name=name,
        model="",  # its graph is its own also where the base runs another model's
        # Without the base's patches nobody knows what covers look like to the network.
        defaults=base.defaults if plain or patches else UNCALIBRATED,
        title=f"{root}, fine-tuned on this machine",
        source=TrainedHere(hashlib.sha256(graph).hexdigest(), len(graph), root, patches),
        licence=replace(
            base.licence,
            training_data=f"{base.licence.training_data}; then, on this machine, {trained_on}",
        ),
    )
    described.save(spec, graph)
    return spec


def _computes_with(graph: bytes, tensor: str) -> bool:
    """Whether a node reads the tensor; an imported network's is there for readers alone."""
    import onnx

    return any(tensor in node.input for node in onnx.load_from_string(graph).graph.node)
