"""Face networks: what there is, what each wants, and loading one."""

from __future__ import annotations

from functools import partial

from faceflow.errors import InputError
from faceflow.networks import imported, lightcnn
from faceflow.networks.network import FaceNetwork
from faceflow.networks.spec import UNCALIBRATED, MatchDefaults, NetworkSpec
from faceflow.weights import Licence, ModelFile, load_graphs

DEFAULT = "lightcnn-v4"
MODELS: tuple[ModelFile, ...] = (lightcnn.MODEL,)
"""The networks as the model registry sees them."""

_SPECS: dict[str, NetworkSpec] = {lightcnn.SPEC.name: lightcnn.SPEC}
_MODELS = {model.name: model for model in MODELS}


def available() -> tuple[NetworkSpec, ...]:
    """All known networks, the default one first and those that the user imported last."""
    return (*_SPECS.values(), *(one for one in imported.specs() if one.name not in _SPECS))


def models() -> tuple[ModelFile, ...]:
    """The networks as the model registry sees them, imported ones last."""
    own = {model.name for model in MODELS}
    return (*MODELS, *(imported.model(one) for one in imported.specs() if one.name not in own))


def spec(name: str) -> NetworkSpec:
    """The network called ``name``.

    Raises:
        InputError: there is none; the error lists those there are.
    """
    known = {one.name: one for one in available()}
    if name not in known:
        raise InputError(f"there is no network {name!r}", todo=f"choose one of {', '.join(known)}")
    return known[name]


def defaults_for(name: str) -> MatchDefaults:
    """Matching options that measured best for the network called ``name``.

    An imported network has those of its description. A name not known here, as of a network
    whose features a gallery holds, gets cautious ones (alpha 0.1, uniform, k 100); calibrate them.
    """
    return {one.name: one.defaults for one in available()}.get(name, UNCALIBRATED)


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


def _graph(chosen: NetworkSpec) -> bytes:
    """The network's graph; of an imported one, of exactly the file the specification names."""
    model = _MODELS.get(chosen.name) or imported.model(chosen)
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
    "load_network",
    "models",
    "spec",
]
