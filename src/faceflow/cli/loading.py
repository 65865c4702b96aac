"""Open what a command works with: networks (fetched at first use) and galleries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from faceflow.cli.output import say
from faceflow.errors import GalleryError

if TYPE_CHECKING:
    from faceflow.analyzer import FaceAnalyzer
    from faceflow.gallery import Gallery


def ensure_models(*names: str, offline: bool) -> None:
    """Fetch those of the models that are not ready, saying what comes from where.

    Raises:
        WeightsError: offline, or the fetch failed.
    """
    from faceflow import models

    models.ensure(*names, offline=offline, tell=say)


def load_analyzer(
    network: str | None = None,
    *,
    alignment: str | None = None,
    offline: bool = False,
    threads: int | None = None,
) -> FaceAnalyzer:
    """The analyzer for a network (default: the default one), its weights fetched if need be.

    FAN's weights are not faceflow's to fetch; the package that brings FAN does that.
    """
    from faceflow import networks
    from faceflow.analyzer import FaceAnalyzer
    from faceflow.faces import detectors

    spec = networks.spec(network or networks.DEFAULT)
    aligned_by = alignment or detectors.DEFAULT
    detectors.check_alignment(aligned_by)
    own = {model.name for model in detectors.MODELS}
    ensure_models(spec.model_name, *({aligned_by} & own), offline=offline)
    return FaceAnalyzer(
        networks.load_network(spec.name, threads=threads),
        detectors.load_detector(name=aligned_by, threads=threads),
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
