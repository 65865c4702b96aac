"""Embeddings that another program computed, into a gallery of the network they come from.

Numbers do not say which network made them, and those of different networks cannot be compared. So
whoever imports them gives their word: the network, which must be known here, because queries are
embedded by it, and the detector that aligned the faces. What can be checked is: how many numbers
an embedding has, and the shape of the patches.

Without patches stage 1 works alone: people are ranked by the cosine of embeddings, and nothing
is re-ranked, weighted or explained.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from faceflow import networks
from faceflow.arrays import Float32, Floats, require_finite, unit
from faceflow.errors import InputError
from faceflow.faces.detectors import check_detector
from faceflow.features import FaceFeatures
from faceflow.gallery.codec import Int8Codec, NoCodec, codec
from faceflow.gallery.identity import GalleryHeader, make_header
from faceflow.gallery.preparing import checked_record
from faceflow.gallery.records import Box, ImportReport
from faceflow.gallery.stores.opening import Location, new_store
from faceflow.gallery.stores.store import StoredFace
from faceflow.networks import NetworkSpec

_BATCH = 256


@dataclass(frozen=True, slots=True, eq=False)
class ForeignFace:
    """One face with what another program knows of it.

    Attributes:
        person: who it is.
        source: where the photo came from, a label.
        content_hash: sha256 of the photo, or None where the photo is not at hand.
        embedding: (D,), of any length but 0.
        maps: (C, h, w) the network's raw feature map, or None.
        box: of the face in the photo, or None.
    """

    person: str
    source: str
    content_hash: str | None
    embedding: Floats
    maps: Floats | None = None
    box: Box | None = None


def word_for(network: str, detector: str, *, patches: bool) -> tuple[NetworkSpec, GalleryHeader]:
    """The header of a gallery of embeddings that come from this network and detector.

    Raises:
        InputError: an unknown network or detector.
        WeightsError: the network was not imported here, so that it has no digest.
    """
    spec = networks.spec(network)
    if spec.teacher:
        raise InputError(
            f"{spec.name} is a student, and galleries hold what its teacher makes of photos",
            todo="name the network that looked at the enrolled photos",
        )
    check_detector(detector)
    header = make_header(
        network_name=spec.name,
        digest=spec.digest,
        embedding_size=spec.embedding_size,
        grid=spec.grid,
        channels=spec.channels,
        codec=Int8Codec.name if patches else NoCodec.name,
        thumbnails=False,
        detector=detector,
    )
    return spec, header


def require_sizes(
    spec: NetworkSpec, embedding: tuple[int, ...], maps: tuple[int, ...] | None = None
) -> None:
    """Refuse arrays of other sizes than the network gives.

    Args:
        spec: the network they are said to come from.
        embedding: shape of an embedding.
        maps: shape of a feature map.
    """
    if embedding != (spec.embedding_size,):
        raise InputError(
            f"an embedding has the shape {embedding}, and {spec.name} gives {spec.embedding_size} "
            "numbers",
            why="they come from another network",
            todo="name the network that made them",
        )
    wanted = (spec.channels, *spec.grid)
    if maps is not None and maps != wanted:
        raise InputError(
            f"the patches of a face have the shape {maps}, and {spec.name} gives {wanted}",
            why="channels, height and width of the feature map are needed",
            todo="leave the patches out, or save the network's own feature map",
        )


def narrow(values: Floats) -> Float32:
    """The numbers in float32; those beyond become infinite, which is refused later."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32)


def import_faces(
    faces: Iterable[ForeignFace], header: GalleryHeader, location: Location
) -> ImportReport:
    """Make a gallery of faces of one network; it is there whole at the end, or not at all.

    Raises:
        InputError: a value that no gallery keeps; the error names the face.
        GalleryError: the location is taken or cannot be written.
    """
    added = duplicates = 0
    waiting = iter(faces)
    with new_store(location, header) as store:
        while block := list(itertools.islice(waiting, _BATCH)):
            results = store.add(_stored(block, header))
            new = sum(result.face_id is not None for result in results)
            added, duplicates = added + new, duplicates + len(results) - new
        if not added:
            raise InputError("there are no faces to import")
    return ImportReport(added, duplicates)


def _stored(faces: list[ForeignFace], header: GalleryHeader) -> list[StoredFace]:
    for face in faces:
        try:
            require_finite("its embedding", face.embedding)
            if not face.embedding.any():
                raise InputError("its embedding is all zeros")
        except InputError as error:
            raise InputError(f"{face.source} cannot be imported", why=error.what) from error
    vectors: Float32 = unit(np.stack([face.embedding for face in faces]))
    payloads = [b""] * len(faces)
    if header.codec != NoCodec.name:
        maps = np.stack([face.maps for face in faces])  # type: ignore[misc]
        features = FaceFeatures.from_maps(vectors, maps)
        payloads = codec(header.codec, header.grid, header.channels).encode(features)
    now = datetime.now(UTC)
    return [
        StoredFace(
            checked_record(
                face_id=0,
                person=face.person,
                source=face.source,
                content_hash=face.content_hash or hashlib.sha256(vector.tobytes()).hexdigest(),
                box=face.box,
                score=1.0,
                created=now,
                cells=header.grid[0] * header.grid[1],
            ),
            vector,
            payload,
            None,
        )
        for face, vector, payload in zip(faces, vectors, payloads, strict=True)
    ]
