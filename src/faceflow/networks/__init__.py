"""Face networks: what there is, what each wants, and loading one."""

from __future__ import annotations

from functools import partial

from faceflow.errors import InputError
from faceflow.networks import lightcnn, trained
from faceflow.networks.network import FaceNetwork
from faceflow.networks.spec import MatchDefaults, NetworkSpec
from faceflow.weights import Licence, ModelFile, load_graphs

DEFAULT = "lightcnn-v4"
MODELS: tuple[ModelFile, ...] = (lightcnn.MODEL,)
"""The published networks as the model registry sees them."""

_SPECS: dict[str, NetworkSpec] = {lightcnn.SPEC.name: lightcnn.SPEC}
_MODELS = {model.name: model for model in MODELS}
# Little trust in the patches, every patch alike: the start for a network nobody calibrated.
_UNCALIBRATED = MatchDefaults(alpha=0.1, weighting="uniform", k=100)


def available() -> tuple[NetworkSpec, ...]:
    """All known networks, the default one first, those trained on this machine last."""
    return tuple(_known().values())


def models() -> tuple[ModelFile, ...]:
    """The networks of :func:`available` as the model registry sees them."""
    own = [trained.model(spec) for name, spec in _known().items() if name not in _SPECS]
    return (*MODELS, *own)


def _known() -> dict[str, NetworkSpec]:
    """A published network's name is never shadowed by one trained here."""
    return _SPECS | {n: spec for n, spec in trained.specs().items() if n not in _SPECS}


def spec(name: str) -> NetworkSpec:
    """The network called ``name``.

    Raises:
        InputError: there is none; the error lists those there are.
    """
    if name in _SPECS:
        return _SPECS[name]
    known = _known()
    if name not in known:
        raise InputError(f"there is no network {name!r}", todo=f"choose one of {', '.join(known)}")
    return known[name]


def defaults_for(name: str) -> MatchDefaults:
    """Matching options that measured best for the network called ``name``.

    A name not known here, as of a network of your own whose features a gallery holds, gets
    cautious ones (alpha 0.1, uniform, k 100); calibrate them.
    """
    known = _SPECS if name in _SPECS else _known()
    return known[name].defaults if name in known else _UNCALIBRATED


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
    """The network's graph; of one trained here, of exactly the weights its spec names.

    So a network that is opened again, in another process say, does not find what was trained
    under its name meanwhile.
    """
    model = _MODELS.get(chosen.name) or trained.model(chosen)
    return load_graphs(model)[chosen.name]


__all__ = [
    "DEFAULT",
    "MODELS",
    "FaceNetwork",
    "Licence",
    "MatchDefaults",
    "NetworkSpec",
    "available",
    "defaults_for",
    "graph",
    "load_network",
    "models",
    "spec",
]
