"""Open what a command works with: networks (fetched at first use) and galleries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from faceflow.cli.output import say
from faceflow.errors import GalleryError

if TYPE_CHECKING:
    from faceflow.analyzer import FaceAnalyzer
    from faceflow.cli.options import Here, Machine, Place, Spread
    from faceflow.gallery import Gallery, GalleryLocation
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


@contextmanager
def open_identifier(
    gallery: Place | None, here: Here, *, spread: Spread | None = None, **more: Any
) -> Iterator[Identifier]:
    """The everyday object on a gallery, on one that is spread over a cluster, or on none."""
    from faceflow.identifier import Identifier

    with ExitStack() as stack:
        source: Place | Gallery | None = gallery
        if spread is not None and spread.cluster is not None and gallery is not None:
            source = stack.enter_context(
                open_spread(gallery, spread, readonly=more.get("readonly", False))
            )
        yield stack.enter_context(
            Identifier(
                source,
                threads=here.threads,
                device=chosen_device(here),
                offline=here.offline,
                tell=say,
                **more,
            )
        )


@contextmanager
def open_spread(gallery: Place, spread: Spread, *, readonly: bool) -> Iterator[Gallery]:
    """A gallery in front of its shards on a cluster.

    Raises:
        GalleryError: it is not there, or not on that cluster.
        FaceflowError: the cluster cannot be joined.
    """
    from faceflow.cluster.deployment import open_sharded
    from faceflow.cluster.joining import joined

    assert spread.cluster is not None
    require_gallery(gallery)
    with (
        joined(spread.cluster),
        open_sharded(
            as_location(gallery),
            readonly=readonly,
            allow_partial=spread.allow_partial,
            allow_stale=spread.allow_stale,
        ) as opened,
    ):
        yield opened


def as_location(gallery: Place) -> GalleryLocation:
    """A place as the library takes it."""
    from faceflow.gallery import GalleryLocation

    return gallery if isinstance(gallery, GalleryLocation) else GalleryLocation(gallery)


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
