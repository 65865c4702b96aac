"""Face networks: what there is, what each wants, and loading one."""

from __future__ import annotations

from functools import partial

from faceflow.arrays import Float32
from faceflow.errors import InputError
from faceflow.networks import lightcnn
from faceflow.networks.network import FaceNetwork, last_layer_of
from faceflow.networks.spec import MatchDefaults, NetworkSpec
from faceflow.weights import Licence, ModelFile, load_graphs

DEFAULT = "lightcnn-v4"
MODELS: tuple[ModelFile, ...] = (lightcnn.MODEL,)
"""The networks as the model registry sees them."""

_SPECS: dict[str, NetworkSpec] = {lightcnn.SPEC.name: lightcnn.SPEC}
_MODELS = {model.name: model for model in MODELS}
# Little trust in the patches, every patch alike: the start for a network nobody calibrated.
_UNCALIBRATED = MatchDefaults(alpha=0.1, weighting="uniform", k=100)


def available() -> tuple[NetworkSpec, ...]:
    """All known networks, the default one first."""
    return tuple(_SPECS.values())


def spec(name: str) -> NetworkSpec:
    """The network called ``name``.

    Raises:
        InputError: there is none; the error lists those there are.
    """
    if name not in _SPECS:
        raise InputError(f"there is no network {name!r}", todo=f"choose one of {', '.join(_SPECS)}")
    return _SPECS[name]


def defaults_for(name: str) -> MatchDefaults:
    """Matching options that measured best for the network called ``name``.

    A name not known here, as of a network of your own whose features a gallery holds, gets
    cautious ones (alpha 0.1, uniform, k 100); calibrate them.
    """
    return _SPECS[name].defaults if name in _SPECS else _UNCALIBRATED


def last_layer(name: str) -> tuple[Float32, Float32]:
    """The last layer of the network called ``name``, without loading the network to run it.

    Returns:
        weight (D, R, C) and bias (D,); see :attr:`FaceNetwork.last_layer`.

    Raises:
        InputError: unknown name.
        WeightsError: not pulled yet or damaged, or the network has no such layer.
    """
    return last_layer_of(spec(name), _graph(name))


def load_network(name: str = DEFAULT, *, threads: int | None = None) -> FaceNetwork:
    """Load a network from the cache.

    Args:
        name: one of :func:`available`.
        threads: CPU threads for one call; None: one per physical core.

    Raises:
        InputError: unknown name, or ``threads`` below 1.
        WeightsError: not pulled yet or damaged; the error holds the command to run.
    """
    return FaceNetwork(spec(name), partial(_graph, name), threads)


def _graph(name: str) -> bytes:
    return load_graphs(_MODELS[name])[name]


__all__ = [
    "DEFAULT",
    "MODELS",
    "FaceNetwork",
    "Licence",
    "MatchDefaults",
    "NetworkSpec",
    "available",
    "defaults_for",
    "last_layer",
    "load_network",
    "spec",
]
