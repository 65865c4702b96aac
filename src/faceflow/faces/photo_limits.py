"""What a photo costs to decode, told from its first bytes: the limits of reading images.

A few bytes can ask for gigabytes and minutes. Two things are looked at before any pixel is
decoded: the structure around the pixels (how many segments, chunks, scans, list entries), which
readers gather in memory or walk through again and again, and the memory that the decoder of
this format needs for so many pixels.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from PIL import Image

FILE_LIMIT = 256 * 2**20
"""Most bytes of a photo's file."""
MAX_SIDE = 20_000
"""Longest side, in pixels, that is decoded."""
MAX_PIXELS = 65_000_000
"""Most pixels that are decoded: a camera of 64 megapixels."""
MEMORY_LIMIT = 480_000_000
"""Most bytes that reading a photo takes: its file, what the decoder holds, and the result."""

_RESULT = 3  # bytes per pixel: RGB, 8 bits

# Bytes per pixel that Pillow keeps in each mode; colours take four bytes, used or not.
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_COLOUR = 4

# Bytes per pixel that a format's decoder holds beside that until it is done, at worst: frame
# buffers and planes (WebP, AVIF), 32 bits a sample (JPEG 2000). Measured by
# tests/faces/test_photo_limits.py. JPEG and TIFF depend on the file: see _decoder_bytes.
_DECODER = {"WEBP": 16, "AVIF": 20, "HEIF": 20, "JPEG2000": 28}

_COEFFICIENTS = 8.0  # of a JPEG, two bytes for each of at most four colours

# Pillow decodes these in Python, pixel by pixel: no more than a few seconds' worth.
_SLOW = ("bmp_rle", "ppm_plain")
_SLOW_PIXELS = 5_000_000

_MAX_SEGMENTS = 5_000
_MAX_CHUNKS = 100_000
_MAX_ENTRIES = 2_000_000
_TILE_SIDES = (322, 323)
_MAX_TILE = 2**24  # pixels; a tile is decoded whole, however little of it the picture shows
_MAX_EXTENSION = 4 * 2**20
_MAX_SCANNED = 4_000_000_000
"""Pixels times scans of a JPEG: 60 scans of 65 megapixels. Cameras write at most a dozen."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


def too_costly(image: Image.Image, data: bytes = b"") -> str:
    """Why a picture is not decoded; "" when it may be.

    Args:
        image: opened, not decoded yet unless without ``data``.
        data: its file.
    """
    if refused := too_many_pixels(*image.size):
        return refused
    pixels = image.width * image.height
    decoder = _decoder_bytes(image, data) if data else 0.0
    each = _STORED.get(image.mode, _COLOUR) + max(_RESULT, decoder)
    needed = len(data) + pixels * each
    if needed > MEMORY_LIMIT:
        return (
            f"as {image.format or image.mode} that takes {needed / 1e6:.0f} MB of memory and at "
            f"most {MEMORY_LIMIT // 10**6} MB are used"
        )
    if pixels > _SLOW_PIXELS and any(tile[0] in _SLOW for tile in getattr(image, "tile", ())):
        return f"packed like this, at most {_SLOW_PIXELS // 10**6} million pixels are read"
    return ""


def too_many_pixels(width: int, height: int) -> str:
    """Why pixels are not taken, whatever holds them; "" when they are."""
    if max(width, height) <= MAX_SIDE and width * height <= MAX_PIXELS:
        return ""
    return f"at most {MAX_SIDE} pixels a side and {MAX_PIXELS // 10**6} million in all are read"


def _decoder_bytes(image: Image.Image, data: bytes) -> float:
    if image.format in ("JPEG", "MPO"):
        try:
            return _coefficient_bytes(data)
        except (IndexError, OverflowError, struct.error):  # cut short; the decoder will say so
            return _COEFFICIENTS
    if image.format == "TIFF":  # one strip may be the whole picture
        bits = image.tag_v2.get(258, (8,))  # type: ignore[attr-defined]
        return float(sum(bits)) / 8 if isinstance(bits, tuple) else 8.0
    return _DECODER.get(image.format or "", 0)


def _coefficient_bytes(data: bytes) -> float:
    """Bytes per pixel that a JPEG's coefficients take; none are kept where one scan has all."""
    needed, place = 0.0, 2
    parts = 0
    while (found := _MARKER.search(data, place)) is not None:
        marker, place = data[found.start() + 1], found.end()
        if marker in _FRAMES:
            parts = data[place + 7]
            shares = [data[place + 9 + 3 * n] for n in range(parts)]
            areas = [max(1, share >> 4) * max(1, share & 15) for share in shares]
            needed = 2.0 * sum(areas) / max(areas)
            if marker not in (0xC0, 0xC1):
                return needed
        elif marker == _START_OF_SCAN:
            return 0.0 if data[place + 2] == parts else needed
        place += struct.unpack_from(">H", data, place)[0]
    return needed


def odd_structure(data: bytes) -> str:
    """What is beyond all measure in the structure of a file; "" for nothing.

    Damage is not looked for: whatever cannot be followed is left to the decoder.
    """
    for start, check in _CHECKS.items():
        if data.startswith(start):
            try:
                return check(data)
            except (IndexError, OverflowError, struct.error):
                return ""
    return ""


def _jpeg(data: bytes) -> str:
    place, segments, scans, pixels = 2, 0, 0, 0
    while segments <= _MAX_SEGMENTS:
        found = _MARKER.search(data, place)
        if found is None or data[found.start() + 1] == _END_OF_IMAGE:
            return ""
        marker, place = data[found.start() + 1], found.end()
        segments += 1
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 3)
            pixels = max(pixels, width * height)
        elif marker == _START_OF_SCAN:
            scans += 1
            if scans * pixels > _MAX_SCANNED:
                return f"it draws {pixels / 1e6:.0f} million pixels more than {scans - 1} times"
        place += struct.unpack_from(">H", data, place)[0]
    return f"it has more than {_MAX_SEGMENTS:,} segments"


def _png(data: bytes) -> str:
    place = 8
    for _ in range(_MAX_CHUNKS):
        if place + 12 > len(data):
            return ""
        place += 12 + int(struct.unpack_from(">I", data, place)[0])
    return f"it has more than {_MAX_CHUNKS:,} chunks"


def _gif(data: bytes) -> str:
    place = 13 + _gif_colours(data[10])
    first = place
    while data[place] == 0x21:  # extensions before the first picture
        place += 2
        while data[place]:
            place += 1 + data[place]
            if place - first > _MAX_EXTENSION:
                return f"it has more than {_MAX_EXTENSION // 2**20} MB before its first picture"
        place += 1
    return ""


def _gif_colours(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _tiff(data: bytes) -> str:
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (tags,) = struct.unpack_from(order + ("Q" if big else "H"), data, place)
    place += 8 if big else 2
    listed, tile = 0, [0, 0]
    for _ in range(min(tags, 2**16)):
        tag, kind, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, place)
        if tag in _TILE_SIDES:
            side = struct.unpack_from(
                order + ("H" if kind == 3 else "I"), data, place + (12 if big else 8)
            )
            tile[tag - _TILE_SIDES[0]] = side[0]
        # Types 1, 2 and 7 stay bytes; of the others every entry becomes an object.
        listed += 0 if kind in (1, 2, 7) else count
        place += 20 if big else 12
    if tile[0] * tile[1] > _MAX_TILE:
        return f"its tiles are {tile[0]} x {tile[1]} pixels"
    return f"its lists have {listed:,} entries" if listed > _MAX_ENTRIES else ""


_CHECKS: dict[bytes, Callable[[bytes], str]] = {
    b"\xff\xd8": _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"GIF8": _gif,
    b"II": _tiff,
    b"MM": _tiff,
}
