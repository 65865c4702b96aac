"""Open what a command works with: networks (fetched at first use) and galleries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faceflow.cli.output import say
from faceflow.errors import GalleryError

if TYPE_CHECKING:
    from faceflow.analyzer import FaceAnalyzer
    from faceflow.cli.options import Here, Machine, Place
    from faceflow.gallery import Gallery
    from faceflow.identifier import Identifier


def ensure_models(*names: str, offline: bool) -> None:
    """Fetch those of the models that are not ready, saying what comes from where.

    Raises:
        WeightsError: offline, or the fetch failed.
    """
    from faceflow import models

    models.ensure(*names, offline=offline, tell=say)


def load_analyzer(
    network: str | None = None, here: Here | None = None, *, detector: str | None = None
) -> FaceAnalyzer:
    """The analyzer for a network (default: the default one), its weights fetched if need be."""
    from faceflow import models

    offline, threads = (False, None) if here is None else (here.offline, here.threads)
    return models.open_analyzer(
        network,
        detector,
        tell=say,
        threads=threads,
        device=None if here is None else chosen_device(here),
        offline=offline,
    )


def open_identifier(gallery: Place | None, here: Here, **more: Any) -> Identifier:
    """The everyday object on a gallery, or on none."""
    from faceflow.identifier import Identifier

    return Identifier(
        gallery,
        threads=here.threads,
        device=chosen_device(here),
        offline=here.offline,
        tell=say,
        **more,
    )


def chosen_device(machine: Machine) -> str:
    """The device to compute on; where that was left to us, it is said with the reason.

    Raises:
        InputError: no device has that name.
        DeviceError: it is not there.
    """
    from faceflow.weights import devices

    device, why = devices.choose(machine.device)
    if why:
        say(why)
    return device


def open_gallery(path: Place, *, readonly: bool = True) -> Gallery:
    """Open a gallery that must exist.

    Raises:
        GalleryError: missing (the message says how to make one), damaged, ...
    """
    from faceflow.gallery import Gallery

    require_gallery(path)
    return Gallery.open(path, readonly=readonly)


def require_gallery(path: Place) -> None:
    """Raise GalleryError unless there is something at the gallery's place."""
    if not path.exists():
        raise GalleryError(
            f"There is no gallery at {path}",
            todo=f"make one with `faceflow enroll PHOTOS/ --gallery {path}`, or name another "
            "with --gallery or FACEFLOW_GALLERY",
        )
