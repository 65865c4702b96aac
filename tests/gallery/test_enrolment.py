"""Photos on disk into a gallery: what is found, what is skipped, what is remembered."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_people import write_people
from faceflow.analyzer import FaceAnalyzer
from faceflow.errors import GalleryMismatchError, ImageError, InputError
from faceflow.gallery import Gallery
from faceflow.gallery.enrolment import Photo, enroll_photos, list_photos


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    write_people(folder, people=2, photos_each=2)
    return folder


@pytest.fixture
def photos(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "photos"))


@pytest.fixture
def gallery(analyzer: FaceAnalyzer, tmp_path: Path):
    with Gallery.open_or_create(tmp_path / "people.faceflow", analyzer.network) as opened:
        yield opened


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


# Listing; no weights needed.


def test_the_first_folder_names_the_person(tmp_path: Path) -> None:
    touch(tmp_path / "Ada" / "1.jpg", tmp_path / "Ada" / "2020" / "party" / "2.JPG")
    touch(tmp_path / "Grace H" / "1.png", tmp_path / "Ada" / "notes.txt", tmp_path / "loose.jpg")
    listing = list_photos([tmp_path])
    assert [(p.person, p.path.name) for p in listing.photos] == [
        ("Ada", "1.jpg"),
        ("Ada", "2.JPG"),
        ("Grace H", "1.png"),
    ]
    (skip,) = listing.skipped
    assert (skip.path.name, skip.person, skip.reason) == ("loose.jpg", None, "no person")


def test_one_person_for_all(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "deep" / "b.jpg")
    listing = list_photos([tmp_path, tmp_path / "a.jpg"], person="  Ada ")
    assert {photo.person for photo in listing.photos} == {"Ada"}
    assert len(listing.photos) == 3


def test_two_spellings_of_a_name_are_one_person(tmp_path: Path) -> None:
    for number, form in enumerate(("NFC", "NFD")):
        touch(tmp_path / unicodedata.normalize(form, "Zoë") / f"{number}.jpg")
    assert {photo.person for photo in list_photos([tmp_path]).photos} == {"Zoë"}


def test_a_folder_with_an_impossible_name_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "evil\x1b[2J" / "1.jpg", tmp_path / "Ada" / "1.jpg")
    listing = list_photos([tmp_path])
    assert [photo.person for photo in listing.photos] == ["Ada"]
    assert "U+001B" in str(listing.skipped[0].error)
    shutil.rmtree(tmp_path / "Ada")
    assert len(list_photos([tmp_path]).skipped) == 1


def test_csv(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text('\ufeffpath,person,notes\na/1.jpg,Ada,x\n"b,2.jpg", Grace ,y\n', "utf-8")
    assert list_photos([table]).photos == (
        Photo(tmp_path / "a" / "1.jpg", "Ada"),
        Photo(tmp_path / "b,2.jpg", "Grace"),
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no columns path and person"),
        (b"path,name\na,b\n", "no columns path and person"),
        (b"path,person\n", "lists no photos"),
        (b"path,person\na.jpg,Ada\nb.jpg,\n", "line 3, lacks"),
        (b"path,person\na.jpg\n", "line 2, lacks"),
        (b"path,person\na.jpg,\x1b[2J\n", "line 2: .*U\\+001B"),
        (b"path,person\na.jpg,\xff\n", "CSV file .* not UTF-8"),
        (b'path,person\n"a.jpg,Ada\n', "cannot be read as CSV"),
    ],
)
def test_csv_that_is_none(tmp_path: Path, content: bytes, words: str) -> None:
    table = tmp_path / "list.csv"
    table.write_bytes(content)
    with pytest.raises(InputError, match=words):
        list_photos([table])


def test_nothing_to_enroll(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no photos"):
        list_photos([tmp_path])
    touch(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="no person's folder"):
        list_photos([tmp_path])
    with pytest.raises(InputError, match="not said who"):
        list_photos([tmp_path / "a.jpg"])
    with pytest.raises(InputError, match="does not exist"):
        list_photos([tmp_path / "nowhere"])


# Enrolling.


def test_report_accounts_for_every_photo(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer
) -> None:
    halves = [np.asarray(Image.open(photos / n / f"{n}_0001.png")) for n in ("Ada", "Alba")]
    small = Image.fromarray(halves[0]).resize((160, 160))
    both = np.full((256, 500, 3), 200, np.uint8)
    both[:, :256] = halves[1]
    both[48:208, 300:460] = np.asarray(small)
    Image.fromarray(both).save(photos / "Ada" / "zz.png")
    Image.new("RGB", (99, 99)).save(photos / "Ada" / "black.png")
    (photos / "Alba" / "cut.png").write_bytes((photos / "Ada" / "zz.png").read_bytes()[:999])
    shutil.copy(photos / "Ada" / "Ada_0001.png", photos / "Ada" / "again.png")
    (photos / "loose.png").write_bytes(b"x")

    steps: list[tuple[int, int]] = []
    report = enroll_photos(
        list_photos([photos]), gallery, analyzer, progress=lambda *step: steps.append(step)
    )
    assert (report.photos, report.added, report.duplicates) == (9, 5, 1)
    assert report.photos == report.added + report.duplicates + len(report.skipped)
    assert {(skip.path.name, skip.reason) for skip in report.skipped} == {
        ("black.png", "no face"),
        ("cut.png", "unreadable"),
        ("loose.png", "no person"),
    }
    (crowd,) = report.crowds
    assert (crowd.path.name, crowd.person, crowd.faces, crowd.taken) == (
        "zz.png",
        "Ada",
        2,
        "largest",
    )
    assert steps[-1] == (9, 9)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    (record,) = [record for record in gallery.faces() if record.source.endswith("zz.png")]
    assert record.box is not None
    assert record.box[2] < 256, "the larger face stands on the left"
    assert len(gallery) == 5


def test_known_photos_are_not_even_looked_at(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = list_photos([photos])
    assert enroll_photos(listing, gallery, analyzer).added == 4
    monkeypatch.setattr(
        type(analyzer.detector), "detect", lambda *_: pytest.fail("the detector was asked")
    )
    again = enroll_photos(listing, gallery, analyzer)
    assert (again.added, again.duplicates, again.skipped) == (0, 4, ())


def test_the_same_photo_for_two_people_is_told(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer
) -> None:
    photo = photos / "Ada" / "Ada_0001.png"
    enroll_photos(list_photos([photo], person="Ada"), gallery, analyzer)
    report = enroll_photos(list_photos([photo], person="Eve"), gallery, analyzer)
    assert report.added == 1
    assert [(one.person, one.others) for one in report.shared] == [("Eve", ("Ada",))]


def test_whole_images_are_taken_only_when_allowed(
    tmp_path: Path, gallery: Gallery, analyzer: FaceAnalyzer
) -> None:
    path = tmp_path / "crop.png"
    Image.new("RGB", (64, 64), (120, 90, 80)).save(path)
    listing = list_photos([path], person="Ada")
    assert enroll_photos(listing, gallery, analyzer).added == 0
    report = enroll_photos(listing, gallery, analyzer, whole_image="fallback")
    assert report.added == 1
    assert gallery.faces()[0].box is None


def test_photos_that_vanish_are_skipped(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer
) -> None:
    listing = list_photos([photos])
    (photos / "Ada" / "Ada_0001.png").unlink()
    report = enroll_photos(listing, gallery, analyzer)
    assert (report.added, len(report.skipped)) == (3, 1)
    assert isinstance(report.skipped[0].error, ImageError)


def test_an_interruption_keeps_whole_batches(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enroll_photos(list_photos([photos]), gallery, analyzer, progress=stop)
    gallery.check()
    report = enroll_photos(list_photos([photos]), gallery, analyzer)
    assert report.added + report.duplicates == 4
    assert len(gallery) == 4


def test_another_networks_gallery_is_refused(
    photos: Path, analyzer: FaceAnalyzer, tmp_path: Path
) -> None:
    sizes = {"embedding_size": 256, "grid": (8, 8), "channels": 128}
    with (
        Gallery.create(
            tmp_path / "x.faceflow", network_name="x", digest="f" * 64, **sizes
        ) as other,
        pytest.raises(GalleryMismatchError),
    ):
        enroll_photos(list_photos([photos]), other, analyzer)


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_pipe_named_like_a_photo_is_reported_and_the_rest_enrolled(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer
) -> None:
    """Opening it used to wait for ever."""
    folder = next(path for path in photos.iterdir() if path.is_dir())
    os.mkfifo(folder / "x.jpg")
    (folder / "y.jpg").symlink_to("/dev/zero")
    (folder / "circle").symlink_to(photos)
    report = enroll_photos(list_photos([photos]), gallery, analyzer)
    assert (report.added, len(report.skipped)) == (4, 2)
    assert [str(skip.error).split("it is ")[1][:8] for skip in report.skipped] == [
        "a pipe. ",
        "a device",
    ]
    assert {skip.reason for skip in report.skipped} == {"unreadable"}


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_list_that_is_a_pipe_or_endless_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    os.mkfifo(table)
    with pytest.raises(InputError, match="it is a pipe"):
        list_photos([table])
    table.unlink()
    with table.open("wb") as file:
        file.truncate(2**36)
    with pytest.raises(InputError, match="too large"):
        list_photos([table])


def test_folders_a_thousand_deep_are_walked(tmp_path: Path) -> None:
    """Deeper than Python's recursion goes; still within the longest path Linux takes."""
    if os.name != "posix":
        pytest.skip("paths this long need a setting on Windows")
    deep = tmp_path / "Ada"
    deep.mkdir()
    for _ in range(1100):
        deep = deep / "d"
        deep.mkdir()
    touch(deep / "1.jpg")
    assert [photo.person for photo in list_photos([tmp_path]).photos] == ["Ada"]
    while deep != tmp_path:  # pytest's own cleaning up recurses
        for path in deep.glob("*.jpg"):
            path.unlink()
        deep.rmdir()
        deep = deep.parent
