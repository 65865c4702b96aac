"""Every model that can be pulled, networks and detectors alike, by name.

Python twin of ``faceflow models``: thin wrappers around :mod:`faceflow.weights`.
"""

from __future__ import annotations

from pathlib import Path

from faceflow import detection, networks, weights
from faceflow.errors import InputError
from faceflow.weights import ModelFile, ModelState, Progress


def available() -> tuple[ModelFile, ...]:
    """All models, the default network and the default detector first of their kind."""
    return (*networks.models(), *detection.MODELS)


def find(name: str) -> ModelFile:
    """The model called ``name``.

    Raises:
        InputError: there is none; the error lists those there are.
    """
    known = {model.name: model for model in available()}
    if name not in known:
        raise InputError(f"there is no model {name!r}", todo=f"choose one of {', '.join(known)}")
    return known[name]


def pull(
    name: str,
    *,
    from_file: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Fetch, check, build and cache one model; see :func:`faceflow.weights.pull`."""
    return weights.pull(find(name), from_file=from_file, force=force, progress=progress)


def path(name: str) -> Path:
    """The model's folder in the cache, whether it exists or not."""
    return weights.path(find(name))


def verify(name: str) -> ModelState:
    """Read the model's graphs in the cache and compare every byte."""
    return weights.verify(find(name))


def states() -> list[ModelState]:
    """What the cache holds of every model; reads all graphs, some 50 ms."""
    return [weights.verify(model) for model in available()]
