"""Photos on disk into a gallery: what is found, what is skipped, what is remembered."""

from __future__ import annotations

import csv
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_people import write_people
from faceflow.analyzer import FaceAnalyzer
from faceflow.errors import GalleryError, GalleryMismatchError, ImageError, InputError
from faceflow.gallery import Gallery
from faceflow.gallery.enrolment import Photo, PhotoOutcome, enroll_photos, list_photos
from faceflow.gallery.outcome_files import outcome_file
from faceflow.weights.session import physical_cores


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


def test_faces_lie_in_the_order_of_the_photos_and_hold_what_each_alone_gives(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer
) -> None:
    for n in range(3):
        shutil.copytree(photos / "Ada", photos / f"Person {n}")
    listing = list_photos([photos])
    enroll_photos(listing, gallery, analyzer)
    records = gallery.faces()
    assert [record.source for record in records] == [str(photo.path) for photo in listing.photos]
    stored = gallery.features([record.face_id for record in records])
    for n, photo in enumerate(listing.photos):
        (face,) = analyzer.analyze(photo.path, select="largest")
        np.testing.assert_array_equal(stored[n].embedding, face.features.embedding)
        np.testing.assert_array_equal(records[n].box, face.box)


def test_a_photo_like_one_that_failed_fails_likewise(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer
) -> None:
    """It was counted as already there when it came while the first was still being looked at."""
    for n in range(4):
        Image.new("RGB", (99, 99)).save(photos / "Ada" / f"black {n}.png")
    report = enroll_photos(list_photos([photos]), gallery, analyzer)
    assert (report.added, report.duplicates, len(report.skipped)) == (4, 0, 4)
    for skip in report.skipped:
        assert str(skip.path) in str(skip.error)


def looking() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "faceflow" in thread.name]


def test_a_gallery_that_cannot_be_written_stops_everything(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(60):
        shutil.copy(photos / "Ada" / "Ada_0001.png", photos / "Ada" / f"copy {n}.png")
        with (photos / "Ada" / f"copy {n}.png").open("ab") as file:
            file.write(bytes([n]))  # behind the picture's end: other content, same pixels
    looked_at: list[int] = []
    detect = type(analyzer.detector).detect
    monkeypatch.setattr(
        type(analyzer.detector), "detect", lambda *a: looked_at.append(1) or detect(*a)
    )

    def full(*_: object) -> None:
        raise GalleryError("the disk is full")

    enroll = gallery.enroll
    monkeypatch.setattr(gallery, "enroll", lambda items, **more: enroll(items, batch=4, **more))
    monkeypatch.setattr(gallery._store, "add", full)
    with pytest.raises(GalleryError, match="disk is full"):
        enroll_photos(list_photos([photos]), gallery, analyzer)
    assert looking() == []
    assert len(looked_at) <= 4 + 16 * physical_cores() + 1
    assert len(gallery) == 0


INTERRUPTED = """
import os, signal, sys, threading
from pathlib import Path
from faceflow import Gallery
from faceflow.analyzer import FaceAnalyzer
from faceflow.faces.detectors import load_detector
from faceflow.gallery.enrolment import enroll_photos, list_photos
from faceflow.networks import load_network

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where a shell runs us behind
analyzer = FaceAnalyzer(load_network(), load_detector("mtcnn"))
with Gallery.open_or_create(
    Path(sys.argv[2]), analyzer.network, detector=analyzer.detector_name
) as gallery:
    enroll = gallery.enroll
    # Small batches, so that something is kept.
    gallery.enroll = lambda items, **_: enroll(items, batch=4, on_commit=lambda _: told())

    def told():
        print(len(gallery), flush=True)
        if len(gallery) == 8:
            os.kill(os.getpid(), signal.SIGINT)

    try:
        enroll_photos(list_photos([sys.argv[1]]), gallery, analyzer)
    except KeyboardInterrupt:
        left = [t.name for t in threading.enumerate() if "faceflow" in t.name]
        sys.exit(130 if not left else 1)
sys.exit(2)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_it_at_once_and_keeps_what_was_acknowledged(
    photos: Path, tmp_path: Path, analyzer: FaceAnalyzer
) -> None:
    for n in range(10):
        shutil.copytree(photos / "Ada", photos / f"Person {n}")
    file = tmp_path / "people.faceflow"
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(photos), str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert done.stdout.split() == ["4", "8"]
    with Gallery.open(file) as gallery:
        gallery.check()
        assert len(gallery) == 8


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


# What became of each photo


def told(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer, **more: object
) -> list[PhotoOutcome]:
    outcomes: list[PhotoOutcome] = []
    enroll_photos(list_photos([photos], **more), gallery, analyzer, tell=outcomes.append)
    return outcomes


def test_what_became_of_each_photo_is_told_in_their_order(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer
) -> None:
    (photos / "Ada" / "Ada_0003.png").write_bytes(b"none")
    Image.new("RGB", (99, 99)).save(photos / "Ada" / "Ada_0004.png")
    shutil.copy(photos / "Ada" / "Ada_0001.png", photos / "Ada" / "Ada_0005.png")
    shutil.copy(photos / "Ada" / "Ada_0001.png", photos / "loose.png")
    outcomes = told(photos, gallery, analyzer)
    names = [Path(one.photo).name for one in outcomes]
    assert names == ["loose.png", *(f"Ada_000{n}.png" for n in range(1, 6)), *names[6:]]
    assert [(one.outcome, one.reason) for one in outcomes] == [
        ("skipped", "no person"),
        ("added", None),
        ("added", None),
        ("skipped", "unreadable"),
        ("skipped", "no face"),
        ("duplicate", "duplicate"),
        ("added", None),
        ("added", None),
    ]
    assert [one.face_id for one in outcomes] == [None, 1, 2, None, None, None, 3, 4]
    by_id = {record.face_id: record for record in gallery.faces()}
    for one in outcomes:
        if one.face_id is not None:
            assert by_id[one.face_id].source == one.photo
            assert by_id[one.face_id].content_hash == one.content_hash
            assert one.faces == 1
    assert outcomes[4].detail
    assert outcomes[4].content_hash
    again = told(photos, gallery, analyzer)
    assert [one.outcome for one in again if one.outcome == "added"] == []


def test_a_face_that_another_process_wrote_meanwhile_is_no_addition(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    enroll = gallery.enroll

    def late(items, **more):  # type: ignore[no-untyped-def]
        kept = list(items)
        enroll(kept[1:2])
        return enroll(kept, **more)

    monkeypatch.setattr(gallery, "enroll", late)
    outcomes = told(photos, gallery, analyzer)
    assert [(one.outcome, one.face_id) for one in outcomes] == [
        ("added", 2),
        ("duplicate", None),
        ("added", 3),
        ("added", 4),
    ]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_outcomes_in_a_file(tmp_path: Path, ending: str) -> None:
    place = tmp_path / f"report.{ending}"
    rows = [
        PhotoOutcome("a\udcff,\n.jpg", "Zoë", "added", content_hash="ab", face_id=7, faces=2),
        PhotoOutcome("b.jpg", None, "skipped", "no person", "It is in no folder."),
    ]
    with outcome_file(place) as tell:
        for row in rows:
            tell(row)
        assert not place.exists()
    if ending == "csv":
        with place.open(newline="", encoding="utf-8") as file:
            found = list(csv.DictReader(file))
        assert (found[0]["face_id"], found[1]["face_id"]) == ("7", "")
    else:
        found = pytest.importorskip("pyarrow.parquet").read_table(place).to_pylist()
        assert (found[0]["face_id"], found[1]["face_id"]) == (7, None)
    assert found[0]["photo"] == "a\\udcff,\n.jpg"
    assert found[0]["person"] == "Zoë"
    assert found[1]["reason"] == "no person"
    with pytest.raises(InputError, match=r"\.csv or \.parquet"), outcome_file(tmp_path / "x"):
        pass
    with pytest.raises(ZeroDivisionError), outcome_file(tmp_path / f"no.{ending}"):
        raise ZeroDivisionError
    assert [file.name for file in tmp_path.iterdir()] == [place.name]


# Tar files


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as shard:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            shard.addfile(entry, io.BytesIO(content))
    return path


def test_people_in_a_tar_file(tmp_path: Path) -> None:
    shard = packed(
        tmp_path / "000.tar",
        {
            "./Ada/1.jpg": b"one",
            "Bo/deep/2.PNG": b"two",
            "0001.jpg": b"three",
            "0001.json": b'{"person": "Cy", "age": 3}',
            "0002.cls": b" Dee \n",
            "0002.jpg": b"four",
            "0003.jpg": b"five",
            "0003.json": b"[",
            "Eve/.hidden.jpg": b"x",
            "Eve/notes.txt": b"x",
            "evil\x1b[2J/1.jpg": b"x",
        },
    )
    listing = list_photos([shard], tar=True)
    assert [(photo.person, photo.read()) for photo in listing.photos] == [
        ("Ada", b"one"),
        ("Bo", b"two"),
        ("Cy", b"three"),
        ("Dee", b"four"),
    ]
    assert listing.photos[1].place == shard / "Bo" / "deep" / "2.PNG"
    assert [(skip.path.name, skip.reason) for skip in listing.skipped] == [
        ("0003.jpg", "no person"),
        ("1.jpg", "no person"),
    ]
    assert {photo.person for photo in list_photos([shard], person="Flo", tar=True).photos} == {
        "Flo"
    }
    with pytest.raises(InputError, match="not said who"):
        list_photos([shard])


def test_a_tar_file_that_is_none(tmp_path: Path) -> None:
    place = tmp_path / "a.tar"
    whole = packed(tmp_path / "whole.tar", {"Ada/1.jpg": b"x" * 5000}).read_bytes()
    for content, words in (
        (b"", "cannot be read as a tar file"),
        (b"not a tar file" * 100, "cannot be read as a tar file"),
        (gzip.compress(whole), "not compressed"),
        (packed(tmp_path / "none.tar", {"notes.txt": b"x"}).read_bytes(), "no photos"),
    ):
        place.write_bytes(content)
        with pytest.raises(InputError, match=words):
            list_photos([place], tar=True)
    place.write_bytes(whole)
    (photo,) = list_photos([place], tar=True).photos
    place.write_bytes(whole[:3000])
    with pytest.raises(ImageError, match="cut or changed"):
        photo.read()


def test_a_tar_file_gives_what_its_folder_gives(
    photos: Path, gallery: Gallery, analyzer: FaceAnalyzer, tmp_path: Path
) -> None:
    enroll_photos(list_photos([photos]), gallery, analyzer)
    shard = packed(
        tmp_path / "shard.tar",
        {
            str(path.relative_to(photos)): path.read_bytes()
            for path in sorted(photos.rglob("*.png"))
        },
    )
    with Gallery.open_or_create(tmp_path / "b.faceflow", analyzer.network) as other:
        outcomes = told(shard, other, analyzer, tar=True)
        assert [one.outcome for one in outcomes] == ["added"] * 4
        mine, theirs = gallery.faces(), other.faces()
        assert [one.content_hash for one in mine] == [one.content_hash for one in theirs]
        assert theirs[0].source == str(shard / "Ada" / "Ada_0001.png")
        assert (gallery.embeddings([1, 2, 3, 4]) == other.embeddings([1, 2, 3, 4])).all()


def test_starting_takes_no_memory_for_what_is_enrolled(
    gallery: Gallery, analyzer: FaceAnalyzer, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records of a large gallery are not read to enroll one photo more."""
    enroll_photos(list_photos([photos]), gallery, analyzer)

    def everything(*_: object, **__: object) -> None:
        raise AssertionError("all records were asked for")

    monkeypatch.setattr(gallery, "faces", everything)
    report = enroll_photos(list_photos([photos]), gallery, analyzer)
    assert (report.added, report.duplicates) == (0, 4)
