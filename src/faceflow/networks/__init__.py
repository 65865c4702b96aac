"""Face networks: what there is, what each wants, and loading one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from faceflow.arrays import Float32
from faceflow.errors import InputError
from faceflow.networks import arcface, cosface, facenet, imported, iresnet, lightcnn, trained
from faceflow.networks.network import FaceNetwork, last_layer_of
from faceflow.networks.spec import UNCALIBRATED, MatchDefaults, NetworkSpec, current_names
from faceflow.weights import Licence, ModelFile, TrainedHere, load_graphs, resolved

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
OWN_NAMES = frozenset({spec.name for spec in _SPECS} | {model.name for model in MODELS})
"""Names of faceflow's own networks and their models, which no network of a user can take."""


def models() -> tuple[ModelFile, ...]:
    """The networks' models, with what is known of the checkpoints that were imported.

    Networks that the user imported from other files or trained come last.
    """
    return (*map(resolved, MODELS), *map(_users_model, _users()))


def available() -> tuple[NetworkSpec, ...]:
    """All known networks, the default one first and those imported or trained here last.

    The source of one whose checkpoint was imported holds the sum of its tensors; reading it
    takes one small file each.
    """
    found = {model.name: resolved(model) for model in MODELS}
    return (*(_with_source(spec, found[spec.model_name]) for spec in _SPECS), *_users())


def _users() -> list[NetworkSpec]:
    """Networks that the user imported or trained; none can stand in for one of ours."""
    found = (*imported.specs(), *trained.specs().values())
    return [spec for spec in found if spec.name not in OWN_NAMES]


def _users_model(spec: NetworkSpec) -> ModelFile:
    source = spec.source
    return trained.model(spec) if isinstance(source, TrainedHere) else imported.model(spec)


def _with_source(spec: NetworkSpec, model: ModelFile) -> NetworkSpec:
    (source,) = model.sources
    return spec if spec.source == source else replace(spec, source=source)


def spec(name: str) -> NetworkSpec:
    """The network called ``name``.

    Raises:
        InputError: there is none; the error lists those there are.
    """
    known = {spec.name: spec for spec in available()}
    if name not in known:
        raise InputError(f"there is no network {name!r}", todo=f"choose one of {', '.join(known)}")
    return known[name]


def defaults_for(name: str) -> MatchDefaults:
    """Matching options to start from with the network called ``name``.

    An imported network has those of its description, one trained here those of its base where
    they hold without a patch model. A name not known here, as of a network
    whose features a gallery holds, gets cautious ones (alpha 0.1, uniform, k 100); calibrate them.
    """
    known = {spec.name: spec.defaults for spec in available()}
    return known.get(name, UNCALIBRATED)


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


def load_network(name: str = DEFAULT, *, threads: int | None = None) -> FaceNetwork:
    """Load a network from the cache.

    Args:
        name: one of :func:`available`.
        threads: CPU threads for one call; None: one per physical core.

    Raises:
        InputError: unknown name, or ``threads`` below 1.
        WeightsError: not pulled yet or damaged; the error holds the command to run.
    """
    chosen = spec(name)
    return FaceNetwork(chosen, partial(_graph, chosen), threads)


def graph(name: str) -> bytes:
    """The ONNX bytes of the network called ``name``, from the cache.

    Raises:
        InputError: there is no such network.
        WeightsError: not pulled yet or damaged; the error holds the command to run.
    """
    return _graph(spec(name))


def _graph(chosen: NetworkSpec) -> bytes:
    """The graph of a network, of exactly the source that its specification names.

    A network that is opened again, in another process say, must not find the weights of a
    checkpoint that was imported, or trained, meanwhile under the digest of the old one.
    """
    known = {model.name: model for model in MODELS}
    model = known.get(chosen.model_name) or _users_model(chosen)
    return load_graphs(replace(model, sources=(chosen.source,)))[chosen.model_name]


__all__ = [
    "DEFAULT",
    "MODELS",
    "UNCALIBRATED",
    "FaceNetwork",
    "Licence",
    "MatchDefaults",
    "NetworkSpec",
    "available",
    "current_names",
    "defaults_for",
    "graph",
    "last_layer",
    "load_network",
    "models",
    "spec",
]
