"""A photo of a few bytes cannot take gigabytes or minutes; what is accepted keeps its budget."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceflow.errors import ImageError
from faceflow.faces.images import load_image
from faceflow.faces.photo_limits import (
    FILE_LIMIT,
    MAX_PIXELS,
    MEMORY_LIMIT,
    odd_structure,
    too_costly,
)

SIDE = 2000
SLACK = 10_000_000
"""Bytes of libraries and buffers that are loaded with the first photo of a format."""

_MEASURE = """
import sys
from pathlib import Path
from PIL import Image
from faceflow.faces.images import load_image
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
Image.init()
before = peak()
load_image(sys.argv[1])
print(peak() - before)
"""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, extra: bytes = b"") -> bytes:
    """A black PNG; colour 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""
    row = bytes(1 + width * {0: 1, 2: 3, 4: 2, 6: 4}[colour] * depth // 8)
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )


def saved(mode: str, form: str, side: int = SIDE, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 60).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


WORST = {
    "png-16-bit-grey": lambda: png(SIDE, SIDE, 16, 0),
    "png-16-bit-grey-alpha": lambda: png(SIDE, SIDE, 16, 4),
    "png-16-bit-rgb": lambda: png(SIDE, SIDE, 16, 2),
    "png-16-bit-rgba": lambda: png(SIDE, SIDE, 16, 6),
    "png-palette-alpha": lambda: saved("P", "PNG", transparency=3),
    "jpeg": lambda: saved("RGB", "JPEG"),
    "jpeg-turned": lambda: saved("RGB", "JPEG", exif=turned(6)),
    "jpeg-cmyk": lambda: saved("CMYK", "JPEG"),
    "jpeg-progressive": lambda: saved("RGB", "JPEG", progressive=True, subsampling=0),
    "jpeg-progressive-420": lambda: saved("RGB", "JPEG", progressive=True, subsampling=2),
    "jpeg-progressive-cmyk": lambda: saved("CMYK", "JPEG", progressive=True),
    "gif": lambda: saved("P", "GIF", side=2000),
    "bmp": lambda: saved("RGB", "BMP"),
    "ppm": lambda: saved("RGB", "PPM"),
    "tiff-one-strip": lambda: saved(
        "RGBA", "TIFF", compression="tiff_adobe_deflate", strip_size=2**31 - 1
    ),
    "tiff-lzw": lambda: saved("RGB", "TIFF", compression="tiff_lzw", exif=turned(5)),
    "webp": lambda: saved("RGB", "WEBP", quality=50, method=0),
    "webp-lossless-alpha": lambda: saved("RGBA", "WEBP", lossless=True, quality=0, method=0),
    "jpeg-2000": lambda: saved("RGBA", "JPEG2000", side=1200),
    "avif": lambda: saved("RGBA", "AVIF", speed=10, subsampling="4:4:4"),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory from /proc")
@pytest.mark.parametrize("name", WORST)
def test_the_memory_a_photo_takes_is_no_more_than_was_reckoned(name: str, tmp_path: Path) -> None:
    """So a photo that passes the reckoning keeps the budget, whatever its format."""
    try:
        data = WORST[name]()
    except (KeyError, OSError) as missing:
        pytest.skip(f"this Pillow does not write it: {missing}")
    path = tmp_path / "photo"
    path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    with Image.open(path) as image:
        reckoned = _reckoned(image, data)
    assert int(done.stdout) <= reckoned + SLACK, f"{int(done.stdout):,} for {reckoned:,}"


def _reckoned(image: Image.Image, data: bytes) -> int:
    """What the reckoning says, found by the limit at which it refuses."""
    low, high = 0, 2**32
    while low < high:
        middle = (low + high) // 2
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("faceflow.faces.photo_limits.MEMORY_LIMIT", middle)
            low, high = (middle + 1, high) if too_costly(image, data) else (low, middle)
    return low


def test_the_photo_of_157_kilobytes_that_took_1500_megabytes_is_refused() -> None:
    data = png(9000, 9000, 16, 0)
    begin = time.process_time()
    with pytest.raises(ImageError, match=r"too large: 9000 x 9000 pixels.*65 million"):
        load_image(data)
    assert time.process_time() - begin < 1


def test_a_camera_of_64_megapixels_is_read_and_progressive_ones_have_a_limit() -> None:
    class Photo:
        format, mode, size, width, height = "JPEG", "RGB", (9248, 6936), 9248, 6936

    baseline, progressive = saved("RGB", "JPEG", 64), saved("RGB", "JPEG", 64, progressive=True)
    assert too_costly(Photo(), baseline) == ""  # type: ignore[arg-type]
    assert too_costly(Photo(), progressive + bytes(40_000_000))  # type: ignore[arg-type]
    Photo.mode = "CMYK"
    cmyk = saved("CMYK", "JPEG", 64, progressive=True)
    assert "770 MB" in too_costly(Photo(), cmyk)  # type: ignore[arg-type]


def segment(marker: int, content: bytes = b"") -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def many_scans() -> bytes:
    data = saved("L", "JPEG", 3000, progressive=True, quality=5)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan[:10] * 2000 + data[-2:]


def long_comment() -> bytes:
    data = saved("P", "GIF", 64)
    place = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:place] + b"!\xfe" + (b"\xff" + b"c" * 255) * 40_000 + b"\0" + data[place:]


def tiff(*entries: tuple[int, int, int, int]) -> bytes:
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + rows + bytes(4)


BOMBS = {
    "segments of a JPEG": lambda: (lambda d: d[:2] + segment(0xEF) * 200_000 + d[2:])(
        saved("RGB", "JPEG", 64)
    ),
    "scans of a JPEG": many_scans,
    "chunks of a PNG": lambda: png(8, 8, 8, 2, chunk(b"abCd", b"") * 200_000),
    "a comment of a GIF": long_comment,
    "lists of a TIFF": lambda: (
        tiff((256, 4, 1, 64), (257, 4, 1, 64), (273, 6, 5_000_000, 50)) + bytes(5_000_000)
    ),
    "tiles of a TIFF": lambda: tiff(
        (256, 4, 1, 64), (257, 4, 1, 64), (322, 4, 1, 20_000), (323, 4, 1, 20_000)
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_structure_beyond_all_measure_is_refused_at_once(name: str) -> None:
    data = BOMBS[name]()
    begin = time.process_time()
    with pytest.raises(ImageError, match=r"too large\. (it|its) "):
        load_image(data)
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("form", ["BMP", "PPM"])
def test_what_pillow_decodes_in_python_stays_small(form: str) -> None:
    if form == "PPM":
        data = b"P3 3000 3000 255\n" + b"0 " * 1000
    else:
        rows = (b"\xff\0" * 12 + b"\0\0") * 3000 + b"\0\1"
        head = struct.pack("<IiiHHIIiiII", 40, 3000, 3000, 1, 8, 1, len(rows), 0, 0, 256, 0)
        data = b"BM" + struct.pack("<IHHI", 1078 + len(rows), 0, 0, 1078) + head + bytes(1024)
        data += rows
    with pytest.raises(ImageError, match="packed like this, at most 5 million"):
        load_image(data)


def test_ordinary_photos_have_ordinary_structure() -> None:
    noise = Image.effect_noise((300, 200), 50).convert("RGB")
    for form, options in (
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"comment": b"c" * 60_000, "exif": turned(3)}),
        ("PNG", {}),
        ("GIF", {"comment": b"c" * 200_000}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"big_tiff": True}),
        ("WEBP", {}),
    ):
        buffer = io.BytesIO()
        noise.save(buffer, form, **options)
        assert odd_structure(buffer.getvalue()) == ""
        assert load_image(buffer.getvalue()).shape == (200, 300, 3)
        for end in (3, 9, 12, 20, 40):
            assert odd_structure(buffer.getvalue()[:end]) == ""


def test_a_jpeg_whose_scans_lie_apart_is_reckoned_like_a_progressive_one() -> None:
    """Baseline, a scan for each colour: its coefficients are all kept as well."""
    data = bytearray(saved("RGB", "JPEG", 64))
    with Image.open(io.BytesIO(data)) as image:
        together = _reckoned(image, bytes(data))
        data[data.index(b"\xff\xda") + 4] = 1
        assert _reckoned(image, bytes(data)) >= together


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    with path.open("wb") as file:
        file.truncate(FILE_LIMIT + 1)
    with pytest.raises(ImageError, match="too large"):
        load_image(path)


def test_strips_join_without_a_seam() -> None:
    """A photo of several strips, turned: against Pillow's own way."""
    from PIL import ImageOps

    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (1500, 1100, 3), dtype=np.uint8)
    for orientation in range(1, 9):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", exif=turned(orientation), compress_level=1)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
        np.testing.assert_array_equal(load_image(buffer.getvalue()), expected)


def test_limits_agree_with_each_other() -> None:
    assert MAX_PIXELS * 7 < MEMORY_LIMIT
