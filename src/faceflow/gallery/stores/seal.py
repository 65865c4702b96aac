"""A checksum on every stored blob, because SQLite has none.

A flipped byte on disk would otherwise become a slightly different face, name or threshold.
"""

from __future__ import annotations

import functools
import struct
import zlib

from faceflow.errors import GalleryError

SEAL_BYTES = 4


@functools.cache
def _numbers(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}q")


def checksum(kind: str, owner: tuple[int, ...], content: bytes | memoryview) -> int:
    """CRC-32 over what the content is, whose it is, and the content itself."""
    prefix = kind.encode(errors="surrogatepass") + _numbers(len(owner)).pack(*owner)
    return zlib.crc32(content, zlib.crc32(prefix))


def seal(kind: str, owner: tuple[int, ...], content: bytes) -> bytes:
    """The content with its checksum behind it; ``owner`` holds the ids it belongs to."""
    return content + checksum(kind, owner, content).to_bytes(SEAL_BYTES, "little")


def unseal(kind: str, owner: tuple[int, ...], sealed: object) -> bytes:
    """The content, if it is what was sealed for this owner.

    Raises:
        GalleryError: it is not.
    """
    if isinstance(sealed, bytes) and len(sealed) >= SEAL_BYTES:
        content = sealed[:-SEAL_BYTES]
        try:
            found = checksum(kind, owner, content)
        except struct.error as error:  # an owner that is no whole number
            raise damaged(kind, owner) from error
        if found == int.from_bytes(sealed[-SEAL_BYTES:], "little"):
            return content
    raise damaged(kind, owner)


def damaged(kind: str, owner: tuple[int, ...]) -> GalleryError:
    """The error for content that is not what was written."""
    of = f" of face {owner[0]}" if kind in {"record", "embedding", "patches", "thumbnail"} else ""
    return GalleryError(
        f"the gallery is damaged: its {kind}{of} is not what was written",
        todo="restore a copy or import a former export"
        + (f", or remove face {owner[0]} to go on without it" if of else ""),
    )
