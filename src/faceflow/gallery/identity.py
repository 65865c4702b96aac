"""Which network a gallery belongs to, and the refusal of every other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from faceflow.errors import GalleryMismatchError, InputError
from faceflow.features import (
    DEFAULT_ALIGNMENT,
    FaceFeatures,
    Grid,
    features_digest,
    require_same_digest,
)
from faceflow.gallery.codec import codec as find_codec

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
        alignment: whose landmarks aligned the faces, see
            :data:`faceflow.faces.detectors.ALIGNMENTS`. Galleries from before there was a choice
            are of "mtcnn".
    """

    network_name: str
    digest: str
    embedding_size: int
    grid: Grid
    channels: int
    codec: str
    thumbnails: bool
    created: datetime
    alignment: str = DEFAULT_ALIGNMENT

    @property
    def features_digest(self) -> str:
        """What made the features, see :attr:`faceflow.features.FaceFeatures.digest`."""
        return features_digest(self.digest, self.alignment)

    def describe(self) -> str:
        """One line naming network, sizes and digest, for messages."""
        return (
            f"{self.network_name} ({self.embedding_size} numbers, "
            f"{self.grid[0]}x{self.grid[1]}x{self.channels} patches, digest {self.digest[:12]}"
            + ("" if self.alignment == DEFAULT_ALIGNMENT else f", aligned by {self.alignment}")
            + ")"
        )

    def as_json(self) -> dict[str, Any]:
        """All fields as JSON holds them; the alignment only where it is not the default one.

        So a gallery with the default alignment is what older versions of faceflow write and
        read, and one with another is refused by them.
        """
        content = asdict(self) | {"created": self.created.isoformat()}
        if self.alignment == DEFAULT_ALIGNMENT:
            del content["alignment"]
        return content


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
    alignment: str = DEFAULT_ALIGNMENT,
) -> GalleryHeader:
    """A header for a gallery made now.

    Raises:
        InputError: a size below 1, an empty name or digest, an unknown codec.
    """
    texts: tuple[object, ...] = (network_name, digest, codec, alignment)
    if not all(isinstance(text, str) and len(text) <= _LONGEST_TEXT for text in texts):
        raise InputError("a gallery's network, digest, codec and alignment are short texts")
    header = GalleryHeader(
        network_name=network_name,
        digest=digest,
        embedding_size=int(embedding_size),
        grid=(int(grid[0]), int(grid[1])),
        channels=int(channels),
        codec=codec,
        thumbnails=bool(thumbnails),
        created=datetime.now(UTC),
        alignment=alignment,
    )
    if not network_name or not digest or not alignment:
        raise InputError("a gallery needs its network's name and digest, and its alignment")
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
    if network.digest != header.digest:
        raise GalleryMismatchError(
            f"{name} holds features of {header.describe()}, not of {network.spec.name}"
            f" (digest {network.digest[:12]})",
            why="features of different networks cannot be compared",
            todo=f"use {header.network_name} as it was then, or enroll the photos again into a"
            " new gallery",
        )


def require_alignment(name: str, header: GalleryHeader, alignment: str) -> None:
    """Raise GalleryMismatchError, naming both, unless the gallery's faces are aligned alike."""
    if alignment != header.alignment:
        raise GalleryMismatchError(
            f"{name} holds faces aligned by {header.alignment}, not by {alignment}",
            why="features of faces that were aligned in two ways should not be compared",
            todo=f"use --alignment {header.alignment}, or enroll the photos again into a new "
            "gallery",
        )


def require_features(name: str, header: GalleryHeader, features: FaceFeatures) -> None:
    """Raise GalleryMismatchError, naming both, unless the gallery was made for such features.

    What made them must be the gallery's network and alignment, and their sizes those it keeps.
    """
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
    require_same_digest(features.digest, header.features_digest, ("the features", name))
