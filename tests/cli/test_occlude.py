"""The occlude command: covered copies and contact sheets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawn_people import identity, portrait, write_people
from faceflow.errors import InputError
from faceflow.faces.detectors import Detection
from faceflow.faces.images import load_image
from faceflow.occlusion import corrupt, occlude
from faceflow.occlusion.photos import SHEET_COVERS, cover_photos, save_picture


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two people's photo each, one of them as WebP, and a picture without a face."""
    root = tmp_path / "photos"
    write_people(root, people=2, photos_each=1, size=128)
    with Image.open(root / "Alba" / "Alba_0001.png") as picture:
        picture.save(root / "Alba" / "Alba_0002.webp")
    (root / "synthetic.json").unlink()
    return root


class Known:
    """Finds the drawn face whose landmarks it was told; nothing in pictures of one colour."""

    name = "known"

    def detect(self, image: np.ndarray) -> list[Detection]:
        if image.std(axis=(0, 1)).max() < 1:
            return []
        shot = portrait(identity(0), 0, size=128)
        low, high = shot.landmarks.min(axis=0), shot.landmarks.max(axis=0)
        return [Detection(np.array([*low, *high]), shot.landmarks, 0.9)]


def test_a_folder_keeps_its_shape(photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (128, 128), (90, 140, 220)).save(photos / "sky.png")
    (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    results = list(
        cover_photos(photos, tmp_path / "out", ["mask", "jpeg-3"], detector=Known(), seed=2)
    )
    files = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")
    )
    assert files == [
        "Ada/Ada_0001_jpeg-3.png",
        "Ada/Ada_0001_mask.png",
        "Alba/Alba_0001_jpeg-3.png",
        "Alba/Alba_0001_mask.png",
        "Alba/Alba_0002_jpeg-3.webp",
        "Alba/Alba_0002_mask.webp",
        "sky_jpeg-3.png",
    ]
    failed = {(r.source.name, r.cover): str(r.error) for r in results if hasattr(r, "error")}
    assert set(failed) == {("sky.png", "mask"), ("torn.jpg", "mask")}
    assert "No face" in failed["sky.png", "mask"]
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == before

    ada = load_image(photos / "Ada" / "Ada_0001.png")
    landmarks = Known().detect(ada)[0].landmarks
    written = load_image(tmp_path / "out" / "Ada" / "Ada_0001_mask.png")
    np.testing.assert_array_equal(written, occlude("mask", ada, landmarks, 2).image)
    written = load_image(tmp_path / "out" / "Ada" / "Ada_0001_jpeg-3.png")
    np.testing.assert_array_equal(written, corrupt("jpeg", ada, 3, 2))


def test_nothing_of_the_photos_metadata_goes_along(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    Image.new("RGB", (64, 64), (200, 10, 10)).save(tmp_path / "a.jpg", exif=exif)
    (done,) = cover_photos(tmp_path / "a.jpg", tmp_path / "b.jpg", ["blur-1"])
    assert done.path == tmp_path / "b.jpg"
    assert b"home" not in done.path.read_bytes()
    with Image.open(done.path) as picture:
        assert not picture.getexif()


def test_photos_are_never_replaced(photos: Path, tmp_path: Path) -> None:
    photo = photos / "Ada" / "Ada_0001.png"
    before = photo.read_bytes()
    with pytest.raises(InputError, match="folder of the photos"):
        cover_photos(photos, photos / ".", ["blur-1"])
    (failed,) = cover_photos(photo, photo, ["blur-1"])
    assert "the photo itself" in str(failed.error)
    assert photo.read_bytes() == before
    with pytest.raises(InputError, match="is a file"):
        cover_photos(photos, photo, ["blur-1"])
    with pytest.raises(InputError, match="give a detector"):
        cover_photos(photos, tmp_path / "out", ["hat"])
    with pytest.raises(InputError, match="name at least one"):
        cover_photos(photos, tmp_path / "out", [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no photos"):
        cover_photos(tmp_path / "empty", tmp_path / "out", ["blur-1"])
    with pytest.raises(InputError, match="no ending"):
        save_picture(np.zeros((2, 2, 3), np.uint8), tmp_path / "x.gif")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("loaded")
def test_the_command(run, drawn: Path, tmp_path: Path) -> None:
    photo = drawn / "people" / "Ada" / "Ada_0001.png"
    ran = run("occlude", photo, tmp_path / "out", "-c", "mask", "-c", "hat", "--json").json
    assert [one["cover"] for one in ran["written"]] == ["mask", "hat"]
    first = (tmp_path / "out" / "Ada_0001_mask.png").read_bytes()
    run("occlude", photo, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == first
    run("occlude", photo, tmp_path / "other.png", "--seed", "1")
    assert (tmp_path / "other.png").read_bytes() != first
    run("occlude", photo, "--sheet", tmp_path / "sheet.png")
    assert load_image(tmp_path / "sheet.png").shape == (182, (len(SHEET_COVERS) + 1) * 164 + 4, 3)


def test_what_needs_no_face_needs_no_weights(run, photos: Path, tmp_path: Path) -> None:
    out = run("occlude", photos, tmp_path / "out", "-c", "blur-2", "-c", "crop", "--offline").out
    assert "6 pictures" in out
    shutil.rmtree(tmp_path / "out")


def test_covers_are_listed(run) -> None:
    assert "sunglasses" in run("occlude", "--list").out
    names = [one["cover"] for one in run("occlude", "--list", "--json").json]
    assert {"mask", "crop", "motion-blur-5"} < set(names)


def test_wrong_use_is_told(run, tmp_path: Path, no_face: Path) -> None:
    assert "IN OUT" in run("occlude", tmp_path, code=2).err
    assert "on the sheet" in run("occlude", "--sheet", tmp_path / "x.png", code=2).err
    assert "no cover called 'beard'" in run("occlude", "a", "b", "-c", "beard", code=2).err
    missing = run("occlude", tmp_path / "none.jpg", tmp_path / "x.jpg", "-c", "blur-1", code=3).err
    assert "none.jpg" in missing


@pytest.mark.skipif(os.name != "posix", reason="the longest name of POSIX file systems")
def test_a_name_that_becomes_too_long_concerns_that_photo_alone(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    photos = tmp_path / "in"
    photos.mkdir()
    for name in ("a", "b" * 250):
        Image.new("RGB", (40, 30), "red").save(photos / f"{name}.png")
    ran = run("occlude", photos, tmp_path / "out", "-c", "blur-1", code=2)
    assert "too long for the file system. Rename the photo" in ran.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_blur-1.png"]
