"""Face networks: what there is, what each wants, and loading one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from faceflow.arrays import Float32
from faceflow.errors import InputError
from faceflow.networks import arcface, cosface, described, facenet, iresnet, learned, lightcnn
from faceflow.networks.architecture import Architecture
from faceflow.networks.described import check_name
from faceflow.networks.runtime import FaceNetwork, last_layer_of
from faceflow.networks.spec import UNCALIBRATED, MatchDefaults, NetworkSpec, current_names
from faceflow.weights import Licence, ModelFile, load_graphs, resolved
from faceflow.weights.devices import resolve
from faceflow.weights.registry import graph_sums

DEFAULT = "lightcnn-v4"
MODELS: tuple[ModelFile, ...] = (
    lightcnn.MODEL,
    arcface.MODEL,
    cosface.MODEL,
    facenet.MODEL,
    *iresnet.MODELS,
)
"""The networks as the model registry sees them; a model may serve several networks."""

_SPECS: tuple[NetworkSpec, ...] = (
    lightcnn.SPEC,
    arcface.SPEC,
    arcface.LAYER3,
    cosface.SPEC,
    facenet.SPEC,
    facenet.PAPER,
    *iresnet.SPECS,
)
_OWN = {spec.name: spec for spec in _SPECS}
_OWN_MODELS = {model.name: model for model in MODELS}
_ARCHITECTURES = {
    "lightcnn-v4": lightcnn.ARCHITECTURE,
    "arcface": arcface.ARCHITECTURE,
    "cosface": cosface.ARCHITECTURE,
    "facenet": facenet.ARCHITECTURE,
    **iresnet.ARCHITECTURES,
}
OWN_NAMES = frozenset(_OWN.keys() | _OWN_MODELS.keys())
"""Names of faceflow's own networks and their models, which no network of a user can take."""


def models() -> tuple[ModelFile, ...]:
    """The networks' models, with what is known of the checkpoints that were imported.

    Networks that the user imported from other files or trained come last.
    """
    return (*map(resolved, MODELS), *map(described.model, _users()))


def available() -> tuple[NetworkSpec, ...]:
    """All known networks, the default one first and those imported or trained here last.

    The source of one whose checkpoint was imported holds the sum of its tensors. Reads a small
    file for each network; who wants one asks for it with :func:`spec` or :func:`find`.
    """
    return (*map(_with_source, _SPECS), *_users())


def _users() -> list[NetworkSpec]:
    """Networks that the user imported or trained; none can stand in for one of ours."""
    return [spec for spec in described.every() if spec.name not in OWN_NAMES]


def _with_source(spec: NetworkSpec) -> NetworkSpec:
    (source,) = resolved(_OWN_MODELS[spec.model_name]).sources
    return spec if spec.source == source else replace(spec, source=source)


def find(name: str) -> NetworkSpec | None:
    """The network called ``name``, or None; reads one small file at most."""
    if name in OWN_NAMES:
        return _with_source(_OWN[name])
    return described.find(name)


def spec(name: str) -> NetworkSpec:
    """The network called ``name``.

    Raises:
        InputError: there is none; the error lists those there are.
    """
    found = find(name)
    if found is None:
        known = ", ".join(spec.name for spec in available())
        raise InputError(f"there is no network {name!r}", todo=f"choose one of {known}")
    return found


def model(spec: NetworkSpec) -> ModelFile:
    """The model whose graph a network runs, of exactly the source that its spec names."""
    own = _OWN_MODELS.get(spec.model_name)
    return described.model(spec) if own is None else replace(own, sources=(spec.source,))


def architecture(name: str) -> Architecture:
    """The layers of the published network called ``name``.

    Raises:
        InputError: it is none of faceflow's own, so its layers are in its graph alone.
    """
    own = _OWN.get(name)
    if own is None:
        raise InputError(f"{name} is not built from layers that faceflow knows")
    return _ARCHITECTURES[own.model_name]


def require_new_name(name: str) -> None:
    """Check that a network of the user's can be called ``name``.

    Raises:
        InputError: it cannot be a name, or belongs to a model of faceflow's own.
    """
    from faceflow.faces import detectors

    check_name(name)
    if name in OWN_NAMES | {model.name for model in detectors.MODELS}:
        raise InputError(
            f"{name} is the name of a model of faceflow's own",
            todo=f"choose another name, e.g. {name}-masked",
        )


def defaults_for(name: str) -> MatchDefaults:
    """Matching options to start from with the network called ``name``.

    Those that measured better with covers learned from the user's photos come first. Else an
    imported network has those of its description, one trained here those of its base where
    they hold without a patch model. A name not known here, as of a network
    whose features a gallery holds, gets cautious ones (alpha 0.1, uniform, k 100); calibrate them.

    Raises:
        WeightsError: what was learned of it is damaged.
    """
    own = _OWN.get(name) or described.find(name)
    if own is None:
        return UNCALIBRATED
    if not learned.anything(own):  # mostly, and then no other file need be opened
        return own.defaults
    known = learned.recall(spec(name))
    return own.defaults if known is None or known.defaults is None else known.defaults


def last_layer(name: str) -> tuple[Float32, Float32]:
    """The last layer of the network called ``name``, without loading the network to run it.

    Returns:
        weight (D, R, C) and bias (D,); see :attr:`FaceNetwork.last_layer`.

    Raises:
        InputError: unknown name.
        WeightsError: not pulled yet or damaged, or the network has no such layer.
    """
    chosen = spec(name)
    return last_layer_of(chosen, _graph(chosen))


def load_network(
    name: str = DEFAULT, *, threads: int | None = None, device: str | None = None
) -> FaceNetwork:
    """Load a network from the cache.

    Args:
        name: one of :func:`available`.
        threads: CPU threads for one call; None: one per physical core.
        device: "cpu", "cuda" or "auto", see :func:`faceflow.weights.devices.resolve`.

    Raises:
        InputError: unknown name or device, or ``threads`` below 1.
        WeightsError: not pulled yet or damaged; the error holds the command to run.
        DeviceError: the device is not there.
    """
    chosen = spec(name)
    return FaceNetwork(chosen, partial(_graph, chosen), threads, resolve(device))


def graph(name: str) -> bytes:
    """The ONNX bytes of the network called ``name``, from the cache.

    Raises:
        InputError: there is no such network.
        WeightsError: not pulled yet or damaged; the error holds the command to run.
    """
    return _graph(spec(name))


def graph_sha256(chosen: NetworkSpec) -> str:
    """Hex sha256 of the graph of a network, as the cache's manifest has it; no graph is read.

    Raises:
        WeightsError: not pulled yet or outdated; the error holds the command to run.
    """
    return graph_sums(model(chosen))[chosen.model_name]


def _graph(chosen: NetworkSpec) -> bytes:
    """The graph of a network, of exactly the source that its specification names.

    A network that is opened again, in another process say, must not find the weights of a
    checkpoint that was imported, or trained, meanwhile under the digest of the old one.
    """
    return load_graphs(model(chosen))[chosen.model_name]


__all__ = [
    "DEFAULT",
    "MODELS",
    "UNCALIBRATED",
    "FaceNetwork",
    "Licence",
    "MatchDefaults",
    "NetworkSpec",
    "architecture",
    "available",
    "check_name",
    "current_names",
    "defaults_for",
    "find",
    "graph",
    "graph_sha256",
    "last_layer",
    "load_network",
    "model",
    "models",
    "require_new_name",
    "spec",
]
