"""Photos from anywhere: every form of file, every way to be broken."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from faceflow.errors import FaceflowError, ImageError, InputError
from faceflow.faces import images
from faceflow.faces.images import content_hash, iter_images, load_image


@pytest.fixture
def photo() -> np.ndarray:
    """Smooth, so that JPEG changes little; no two corners alike."""
    y, x = np.mgrid[:40, :60]
    return np.stack([4 * x, 6 * y, 255 - 4 * x], axis=2).astype(np.uint8)


def encode(pixels: np.ndarray | Image.Image, form: str, **options: object) -> bytes:
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def difference(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_files_come_back_exactly(form: str, photo: np.ndarray) -> None:
    loaded = load_image(encode(photo, form))
    np.testing.assert_array_equal(loaded, photo)
    assert loaded.dtype == np.uint8
    assert loaded.flags.c_contiguous


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_lossy_files_come_back_nearly(form: str, photo: np.ndarray) -> None:
    assert difference(load_image(encode(photo, form, quality=95)), photo) < 25


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path, photo: np.ndarray) -> None:
    data = encode(photo, "PNG")
    path = tmp_path / "Zoë & Ångström.png"
    path.write_bytes(data)
    for source in (path, str(path), data, Image.fromarray(photo), photo):
        np.testing.assert_array_equal(load_image(source), photo)


def test_an_rgb_array_is_not_copied(photo: np.ndarray) -> None:
    assert np.shares_memory(load_image(photo), photo)
    assert load_image(photo[:, ::2]).flags.c_contiguous


def test_grey_becomes_three_equal_channels(photo: np.ndarray) -> None:
    grey = photo[..., 0]
    for source in (encode(grey, "PNG"), encode(grey, "JPEG", quality=100), grey):
        loaded = load_image(source)
        assert loaded.shape == (*grey.shape, 3)
        assert (loaded == loaded[..., :1]).all()
        assert difference(loaded[..., 0], grey) <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(mode: str) -> None:
    black = np.zeros((8, 9, 4), np.uint8)
    black[:, :3, 3] = 255
    black[:, 3:6, 3] = 102
    loaded = load_image(encode(Image.fromarray(black).convert(mode), "PNG"))
    np.testing.assert_array_equal(loaded[0, :, 0], [0] * 3 + [153] * 3 + [255] * 3)
    if mode == "RGBA":
        np.testing.assert_array_equal(load_image(black), loaded)


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    assert (load_image(encode(image, "PNG")) == [200, 100, 50]).all()
    assert (load_image(encode(image, "PNG", transparency=1)) == 255).all()


def test_cmyk(photo: np.ndarray) -> None:
    data = encode(Image.fromarray(photo).convert("CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    assert difference(load_image(data), photo) < 25


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_range(form: str) -> None:
    deep = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    np.testing.assert_array_equal(
        load_image(encode(deep, form))[..., 0], np.arange(256).reshape(16, 16)
    )


def test_one_bit_and_float_images() -> None:
    assert (load_image(encode(Image.new("1", (5, 5), 1), "PNG")) == 255).all()
    with pytest.raises(ImageError, match="floating-point"):
        load_image(encode(Image.new("F", (5, 5)), "TIFF"))
    with pytest.raises(ImageError, match="beyond 16 bits"):
        load_image(Image.new("I", (5, 5), 1 << 20))


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "lime", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert (load_image(data) == [255, 0, 0]).all()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, form: str) -> None:
    """Store a known picture as a camera held that way would; it must come out upright."""
    upright = np.full((24, 40, 3), 255, np.uint8)
    upright[:12, :20] = (255, 0, 0)
    upright[:12, 20:] = (0, 255, 0)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(np.ascontiguousarray(stored), form, exif=exif)
    options = [data, Image.open(io.BytesIO(data))]
    for source in options:
        loaded = load_image(source)
        assert loaded.shape == upright.shape
        for y, x in ((4, 6), (4, 34), (20, 6), (20, 34)):
            assert difference(loaded[y, x], upright[y, x]) < 40


def test_a_photo_of_one_pixel() -> None:
    dot = np.full((1, 1, 3), 7, np.uint8)
    np.testing.assert_array_equal(load_image(encode(dot, "PNG")), dot)
    np.testing.assert_array_equal(load_image(dot), dot)


def test_twenty_thousand_pixels_wide_works_and_more_does_not() -> None:
    wide = np.zeros((3, images.MAX_SIDE, 3), np.uint8)
    assert load_image(encode(wide, "PNG")).shape == wide.shape
    wider = np.zeros((2, images.MAX_SIDE + 1, 3), np.uint8)
    for source in (encode(wider, "PNG"), wider, Image.fromarray(wider)):
        with pytest.raises(ImageError, match="20001 x 2 pixels"):
            load_image(source)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(ImageError, match="too large"):
        load_image(encode(Image.new("1", (19_000, 5_000)), "PNG"))
    with pytest.raises(ImageError, match="too large"):
        load_image(encode(Image.new("1", (19_000, 15_000)), "PNG"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "zero bytes"),
        (b"hello, I am a text", "is not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image"),
        (b"\xff\xd8\xff", "is not an image"),
        (b"\x89PNG\r\n\x1a\n", "is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
    ],
)
def test_what_is_no_image_is_said_to_be_none(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=message):
        load_image(path)
    with pytest.raises(ImageError, match="given as bytes"):
        load_image(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF"])
def test_a_truncated_file_is_an_error_never_grey(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(noise, form)
    whole = load_image(data)
    for part in (0.1, 0.3, 0.5, 0.7, 0.9, 0.98):
        with pytest.raises(ImageError):
            load_image(data[: int(part * len(data))])
    # Of the last bytes some forms need none (an end marker): then nothing may be missing.
    for missing in range(1, 12):
        try:
            loaded = load_image(data[:-missing])
        except ImageError:
            continue
        np.testing.assert_array_equal(loaded, whole)


def test_a_progressive_jpeg_cut_short_is_an_error(photo: np.ndarray) -> None:
    data = encode(photo, "JPEG", progressive=True)
    with pytest.raises(ImageError, match="truncated"):
        load_image(data[: len(data) * 3 // 4])


@settings(max_examples=150, deadline=None)
@given(form=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"]), data=st.data())
def test_damage_gives_an_image_or_a_faceflow_error(form: str, data: st.DataObject) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    broken = bytearray(encode(pixels, form))
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        loaded = load_image(bytes(broken))
    except FaceflowError:
        return
    assert loaded.ndim == 3
    assert loaded.dtype == np.uint8


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.jpg", tmp_path, tmp_path / "a\0b.jpg"):
        with pytest.raises(ImageError, match="cannot be read"):
            load_image(path)
        with pytest.raises(ImageError, match="cannot be read"):
            content_hash(path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 3), bool),
        np.zeros((3, 8, 9), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros(12, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0), np.uint8),
    ],
    ids=lambda a: f"{a.shape}-{a.dtype}",
)
def test_arrays_of_another_kind_are_refused(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="image array"):
        load_image(array)


def test_objects_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be a list"):
        load_image([1, 2, 3])  # type: ignore[arg-type]


def test_content_hash(tmp_path: Path, photo: np.ndarray) -> None:
    data = encode(photo, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert content_hash(path) == content_hash(str(path)) == content_hash(data)
    assert content_hash(photo) == content_hash(Image.fromarray(photo))
    assert content_hash(photo) != content_hash(data)
    assert content_hash(photo) != content_hash(photo.reshape(60, 40, 3))
    assert content_hash(data) != content_hash(data + b"\0")
    assert len(content_hash(data)) == 64


def test_iter_images(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/z.png", "a/b/ü.heic", "notes.txt", ".hidden.jpg", ".git/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [p.relative_to(tmp_path).as_posix() for p in iter_images(tmp_path)]
    assert found == ["a/b/ü.heic", "a/z.png", "b.JPG"]


def test_a_folder_without_photos_or_no_folder(tmp_path: Path) -> None:
    assert iter_images(tmp_path) == []
    for path in (tmp_path / "missing", Path(__file__)):
        with pytest.raises(ImageError, match="cannot be read"):
            iter_images(path)
