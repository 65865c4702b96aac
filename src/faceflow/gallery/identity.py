"""Which network and detector a gallery belongs to, and the refusal of every other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from faceflow.errors import GalleryMismatchError, InputError
from faceflow.features import (
    DEFAULT_DETECTOR,
    FaceFeatures,
    Grid,
    answers_for,
    features_digest,
    require_comparable,
    require_same_digest,
)
from faceflow.gallery.codec import codec as find_codec

_OLD_DETECTOR = "mtcnn"  # of galleries from before they remembered it
LARGEST_PAYLOAD = 32 * 2**20
"""Bytes of a face's patches that a gallery takes; no known network comes near."""
_LARGEST_SIZE = 2**20
_LONGEST_TEXT = 1000


@dataclass(frozen=True, slots=True)
class GalleryHeader:
    """What a gallery was made for; written once, never changed.

    Attributes:
        network_name: the network whose features it holds, e.g. ``lightcnn-v4``.
        digest: that network's digest over weights and preprocessing (hex).
        embedding_size: D.
        grid: (h, w) of the patches, R = h * w.
        channels: C, numbers per patch.
        codec: how patches are kept, a name from :data:`faceflow.gallery.codec.CODECS`.
        thumbnails: whether a small picture of each face is kept.
        created: UTC.
        detector: whose landmarks aligned the faces, see :data:`faceflow.faces.detectors.DETECTORS`.
    """

    network_name: str
    digest: str
    embedding_size: int
    grid: Grid
    channels: int
    codec: str
    thumbnails: bool
    created: datetime
    detector: str

    @property
    def features_digest(self) -> str:
        """What made the features, see :attr:`faceflow.features.FaceFeatures.digest`."""
        return features_digest(self.digest, self.detector)

    def describe(self) -> str:
        """One line naming network, sizes and digest, for messages."""
        return (
            f"{self.network_name} ({self.embedding_size} numbers, "
            f"{self.grid[0]}x{self.grid[1]}x{self.channels} patches, digest {self.digest[:12]}, "
            f"found by {self.detector})"
        )

    def as_json(self) -> dict[str, Any]:
        """All fields as JSON holds them."""
        return asdict(self) | {"created": self.created.isoformat()}

    @staticmethod
    def of_any_version(content: dict[str, Any]) -> dict[str, Any]:
        """The fields in JSON that this or an older version wrote.

        Galleries once remembered a detector as their alignment, and only where it was not MTCNN.
        """
        values = dict(content)
        detector = values.pop("alignment", _OLD_DETECTOR)
        return {"detector": detector} | values


class NetworkSpecLike(Protocol):
    """The part of a network's specification that a gallery records."""

    @property
    def name(self) -> str:
        """The name, e.g. ``lightcnn-v4``."""

    @property
    def embedding_size(self) -> int:
        """D."""

    @property
    def grid(self) -> Grid:
        """(h, w) of the patches."""

    @property
    def channels(self) -> int:
        """C."""

    @property
    def teacher(self) -> str:
        """Of a student: digest of its teacher; else empty."""


class NetworkLike(Protocol):
    """What a gallery needs to know of a network; every FaceNetwork does."""

    @property
    def spec(self) -> NetworkSpecLike:
        """Name and sizes."""

    @property
    def digest(self) -> str:
        """Digest over weights and preprocessing (hex)."""


def make_header(
    *,
    network_name: str,
    digest: str,
    embedding_size: int,
    grid: Grid,
    channels: int,
    codec: str,
    thumbnails: bool,
    detector: str = DEFAULT_DETECTOR,
) -> GalleryHeader:
    """A header for a gallery made now.

    Raises:
        InputError: a size below 1, an empty name or digest, an unknown codec.
    """
    texts: tuple[object, ...] = (network_name, digest, codec, detector)
    if not all(isinstance(text, str) and len(text) <= _LONGEST_TEXT for text in texts):
        raise InputError("a gallery's network, digest, codec and detector are short texts")
    header = GalleryHeader(
        network_name=network_name,
        digest=digest,
        embedding_size=int(embedding_size),
        grid=(int(grid[0]), int(grid[1])),
        channels=int(channels),
        codec=codec,
        thumbnails=bool(thumbnails),
        created=datetime.now(UTC),
        detector=detector,
    )
    if not network_name or not digest or not detector:
        raise InputError("a gallery needs its network's name and digest, and its detector")
    if min(header.embedding_size, *header.grid, header.channels) < 1:
        raise InputError(f"a gallery cannot be made for {header.describe()}")
    if max(header.embedding_size, *header.grid, header.channels) > _LARGEST_SIZE or (
        find_codec(codec, header.grid, header.channels).payload_size > LARGEST_PAYLOAD
    ):
        raise InputError(
            f"a gallery cannot be made for {header.describe()}",
            why=f"a face's patches may take {LARGEST_PAYLOAD // 2**20} MB at most",
        )
    return header


def require_network(name: str, header: GalleryHeader, network: NetworkLike) -> None:
    """Raise GalleryMismatchError, naming both, unless the gallery was made for ``network``."""
    require_own_space(name, network)
    if network.digest != header.digest:
        raise GalleryMismatchError(
            f"{name} holds features of {header.describe()}, not of {network.spec.name}"
            f" (digest {network.digest[:12]})",
            why="features of different networks cannot be compared",
            todo=f"use {header.network_name} as it was then, or enroll the photos again into a"
            " new gallery",
        )


def require_query_network(network: NetworkLike, name: str, digest: str) -> None:
    """Raise GalleryMismatchError unless queries of one network are taken by faces of another.

    Args:
        network: looks at the queries: the other network itself, or a student of it.
        name, digest: of the network that looked at the faces.
    """
    if digest in (network.digest, network.spec.teacher):
        return
    teacher = network.spec.teacher[:12]
    raise GalleryMismatchError(
        f"{network.spec.name} is "
        + (f"a student of another network ({teacher}) than " if teacher else "no student of ")
        + f"{name} (digest {digest[:12]})",
        why="a query is compared with faces of the same network, or of the teacher it learned from",
        todo=f"leave the query's network out, or train one: faceflow train covers --network {name} "
        "PHOTOS/ --name STUDENT",
    )


def require_detector(name: str, header: GalleryHeader, detector: str) -> None:
    """Raise GalleryMismatchError, naming both, unless the gallery's faces were found alike."""
    if detector != header.detector:
        raise GalleryMismatchError(
            f"{name} holds faces found and aligned by {header.detector}, not by {detector}",
            why="faces that were aligned in two ways are compared worse, and nothing shows it",
            todo=f"use the detector {header.detector}, or enroll the photos again into a new "
            "gallery",
        )


def require_features(name: str, header: GalleryHeader, features: FaceFeatures) -> None:
    """Raise GalleryMismatchError, naming both, unless the gallery can keep such features.

    What made them must be the gallery's network and detector, and their sizes those it keeps.
    """
    _require_sizes(name, header, features)
    if answers_for(features.digest) is not None:
        raise _no_student(name, "a student's features cannot be enrolled")
    require_same_digest(features.digest, header.features_digest, ("the features", name))


def require_query(name: str, header: GalleryHeader, features: FaceFeatures) -> None:
    """Raise GalleryMismatchError, naming both, unless the gallery can be asked for such features.

    As :func:`require_features`, but a student of the gallery's network may ask too.
    """
    _require_sizes(name, header, features)
    require_comparable(features.digest, header.features_digest, ("the features", name))


def require_own_space(name: str, network: NetworkLike) -> None:
    """Raise GalleryMismatchError if a gallery were made for a student."""
    if network.spec.teacher:
        raise _no_student(name, f"{network.spec.name} is a student and makes no galleries")


def _no_student(name: str, what: str) -> GalleryMismatchError:
    return GalleryMismatchError(
        f"{name}: {what}",
        why="a student learned to put covered queries where its teacher puts clean photos, and "
        "galleries hold what the teacher makes of them",
        todo="enroll with the teacher, and ask with the student: faceflow identify "
        "--query-network STUDENT, or Identifier(gallery, query_network=STUDENT)",
    )


def _require_sizes(name: str, header: GalleryHeader, features: FaceFeatures) -> None:
    if not isinstance(features, FaceFeatures):
        raise InputError(f"features must be FaceFeatures, got {type(features).__name__}")
    size, channels = features.embedding.shape[1], features.patches.shape[2]
    if (size, features.grid, channels) != (header.embedding_size, header.grid, header.channels):
        h, w = features.grid
        raise GalleryMismatchError(
            f"{name} holds features of {header.describe()}, not those of a network with"
            f" {size} numbers and {h}x{w}x{channels} patches",
            why="they come from another network, or were pooled to another grid",
            todo=f"use {header.network_name} and its own grid",
        )
