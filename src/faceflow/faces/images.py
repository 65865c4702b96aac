"""Photos from anywhere to one form: (H, W, 3) uint8 RGB, upright, or a clear error."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from faceflow.arrays import UInt8
from faceflow.errors import FaceflowError, ImageError, InputError
from faceflow.faces.photo_limits import (
    FILE_LIMIT,
    MAX_SIDE,
    odd_structure,
    too_costly,
    too_many_pixels,
)
from faceflow.system.files import files_below, read_regular

ImageSource = str | Path | bytes | Image.Image | UInt8
"""A file's path, a file's bytes, a Pillow image or an array; see :func:`load_image`."""

# fmt: off
SUFFIXES = frozenset((
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg",
    ".mpo", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
))
# fmt: on
"""File endings :func:`iter_images` takes for photos. HEIC is listed although Pillow alone does
not read it: such a photo must show up as an error, not vanish."""

# Named one by one because Pillow's other readers start programs (EPS) or are rarely tested.
_FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")

_EXIF_ORIENTATION = 0x0112
# Orientation in EXIF -> a view of the upright picture in the order in which the file holds it.
_AS_STORED: dict[int, Callable[[UInt8], UInt8]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
_STRIP = 2**17  # pixels that are converted at a time


def load_image(source: ImageSource) -> UInt8:
    """Read a photo into (H, W, 3) uint8 RGB, C-contiguous.

    The EXIF orientation of files and Pillow images is applied. Grey becomes three equal
    channels, transparency is laid over white, CMYK and palettes are converted, 16-bit grey is
    scaled to 8 bits by its full range, and of an animation the first frame is taken. Colour
    profiles are not applied.

    Args:
        source: a path, the bytes of an image file, a Pillow image, or a uint8 array of shape
            (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA. An RGB array is not copied.

    Raises:
        ImageError: the file is missing, no regular file, empty, truncated, not an image, or
            costlier than :mod:`faceflow.faces.photo_limits` allows: a photo of a few bytes can ask
            for gigabytes.
        InputError: an array of another type or shape, or an object of another type.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decode(source, source_name(source))
    data = read_photo(source)
    name = source_name(source)
    if not data:
        raise ImageError(f"{name} is empty", why="it holds zero bytes")
    if odd := odd_structure(data):
        raise _too_large(name, odd)
    try:
        image = Image.open(io.BytesIO(data), formats=_readable_formats())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, too_many_pixels(MAX_SIDE, MAX_SIDE)) from error
    except Exception as error:  # Pillow's readers raise whatever hostile bytes lead them to.
        raise _not_an_image(name, data) from error
    with image:
        return _decode(image, name, data)


def content_hash(source: ImageSource) -> str:
    """SHA-256 (hex) of what a photo holds: the file's bytes, or an array's shape and pixels.

    Two files with the same pixels but other bytes differ; a Pillow image counts as the array
    :func:`load_image` makes of it.

    Raises:
        ImageError: the file cannot be read.
    """
    if isinstance(source, (np.ndarray, Image.Image)):
        pixels = load_image(source)
        digest = hashlib.sha256(f"rgb8 {pixels.shape[0]}x{pixels.shape[1]}:".encode())
        digest.update(pixels.data)
        return digest.hexdigest()
    return hashlib.sha256(read_photo(source)).hexdigest()


def iter_images(folder: str | Path) -> list[Path]:
    """Paths of the photos in a folder and its subfolders, sorted; told by their endings.

    Hidden files and folders are left out, links to folders are not followed. What is called
    like a photo and is none, a pipe for instance, is listed: reading it is an error that names
    it. A folder without photos gives an empty list.

    Raises:
        ImageError: the folder is missing or cannot be listed.
    """
    found = files_below(folder, error=ImageError)
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES)


def source_name(source: object) -> str:
    """How messages call a source: its path, or what kind of object it is."""
    if isinstance(source, (str, Path)):
        return str(source)
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "The Pillow image")
    return "The array" if isinstance(source, np.ndarray) else "The image given as bytes"


@cache
def _readable_formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def read_photo(source: str | Path | bytes) -> bytes:
    """The bytes of a photo's file, undecoded.

    Raises:
        ImageError: the file is missing, no regular file, or above ``FILE_LIMIT``.
        InputError: neither a path nor bytes.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if not isinstance(source, (str, Path)):
        raise InputError(
            f"An image cannot be a {type(source).__name__}",
            todo="give a path, the bytes of a file, a Pillow image or a uint8 array",
        )
    return read_regular(source, limit=FILE_LIMIT, kind="image", error=ImageError)


def _decode(image: Image.Image, name: str, data: bytes = b"") -> UInt8:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels", why=f"it is {width} x {height}")
    if refused := too_costly(image, data):
        raise _too_large(name, refused, f"{width} x {height} pixels")
    try:
        image.load()
        pixels = _upright_pixels(image, name)
    except FaceflowError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever hostile bytes lead them to.
        raise ImageError(
            f"{name} is damaged or truncated",
            why=str(error) or type(error).__name__,
            todo="copy or download the file again",
        ) from error
    return pixels


def _upright_pixels(image: Image.Image, name: str) -> UInt8:
    """(H, W, 3) RGB of a loaded image, turned upright.

    Strip by strip, straight into its place: whole pictures in between would take several
    times the memory of the result.
    """
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    width, height = image.size
    across = orientation in (5, 6, 7, 8)
    upright = np.empty((width, height, 3) if across else (height, width, 3), np.uint8)
    turned = _AS_STORED.get(orientation)
    stored = upright if turned is None else turned(upright)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = image.crop((0, top, width, bottom)) if bottom - top < height else image
        stored[top:bottom] = np.asarray(_eight_bit(strip, name))
    return upright


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    """RGB, 8 bits a channel, from any mode; transparency over white."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int32)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ImageError(f"{name} holds integers beyond 16 bits", todo="save it with 8 bits")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError(f"{name} holds floating-point pixels", todo="save it with 8 bits")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_array(pixels: UInt8) -> UInt8:
    shape = pixels.shape
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or shape[2:] not in ((), (3,), (4,)):
        raise InputError(
            f"An image array has shape {shape} and type {pixels.dtype}",
            why="(H, W), (H, W, 3) RGB or (H, W, 4) RGBA of uint8 is needed",
            todo="scale floats in [0, 1] by 255 and convert them with .astype(numpy.uint8)",
        )
    if 0 in shape:
        raise InputError(f"An image array has no pixels: its shape is {shape}")
    if refused := too_many_pixels(shape[1], shape[0]):
        raise _too_large("The array", refused, f"{shape[1]} x {shape[0]} pixels")
    if shape[2:] == (3,):
        return np.ascontiguousarray(pixels)
    return _upright_pixels(Image.fromarray(pixels), "The array")


def _too_large(name: str, why: str, size: str = "") -> ImageError:
    return ImageError(
        f"{name} is too large" + (f": {size}" if size else ""),
        why=why,
        todo="scale it down, or save it as a plain JPEG or PNG",
    )


def _not_an_image(name: str, data: bytes) -> ImageError:
    if data[4:8] == b"ftyp" and data[8:11] in (b"hei", b"hev", b"mif"):
        return ImageError(
            f"{name} is a HEIC photo, which Pillow alone does not read",
            todo="convert it to JPEG, or install pillow-heif and register it before",
        )
    return ImageError(
        f"{name} is not an image, or its header is damaged",
        todo="JPEG, PNG, WebP, GIF, BMP and TIFF are among the formats read",
    )
