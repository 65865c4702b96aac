"""Bad files, folders, galleries and names: each a plain sentence and the promised exit code."""

from __future__ import annotations

import errno
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceflow.gallery import Gallery


def _zero_bytes(path: Path, photo: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path, photo: Path) -> None:
    path.write_text("not an image")


def _truncated(path: Path, photo: Path) -> None:
    path.write_bytes(photo.read_bytes()[:2000])


def _huge(path: Path, photo: Path) -> None:
    Image.new("1", (20_001, 10)).save(path)


def _missing(path: Path, photo: Path) -> None:
    return


BAD_PHOTOS: dict[str, Callable[[Path, Path], None]] = {
    "zero-bytes": _zero_bytes,
    "text": _text,
    "truncated": _truncated,
    "huge": _huge,
    "missing": _missing,
}


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("kind", BAD_PHOTOS)
def test_bad_photos(run, drawn: Path, gallery: Path, tmp_path: Path, kind: str) -> None:
    good = drawn / "people" / "Ada" / "Ada_0001.png"
    bad = tmp_path / f"{kind}.png"
    BAD_PHOTOS[kind](bad, good)
    (answer,) = run("identify", bad, "-g", gallery, "--json", code=3).lines
    assert (answer["status"], answer["matches"]) == ("error", [])
    assert str(bad) in answer["error"]
    assert str(bad) in run("verify", bad, good, code=3).err
    assert str(bad) in run("explain", good, bad, "-o", tmp_path / "x.png", code=3).err
    assert not (tmp_path / "x.png").exists()
    assert str(bad) in run("enroll", bad, "-p", "Bad", "-g", gallery, code=3).err


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16"])
def test_unusual_photos_give_the_right_person(
    run, drawn: Path, gallery: Path, tmp_path: Path, mode: str
) -> None:
    photo = Image.open(drawn / "people" / "Ada" / "Ada_0002.png").convert("RGB")
    path = tmp_path / f"photo.{'tif' if mode in ('CMYK', 'I;16') else 'png'}"
    if mode == "I;16":
        grey = np.asarray(photo.convert("L")).astype(np.uint16) * 257
        Image.fromarray(grey).save(path)
    else:
        photo.convert(mode).save(path)
    (answer,) = run("identify", path, "-g", gallery, "--json").lines
    assert answer["matches"][0]["person"] == "Ada"


@pytest.mark.usefixtures("loaded")
def test_one_pixel(run, gallery: Path, tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1)).save(path)
    assert run("identify", path, "-g", gallery, "--json", code=4).lines[0]["status"] == "no_face"


def test_folders_without_photos(run, bare_gallery: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "Ada").mkdir(parents=True)
    (empty / "Ada" / "notes.txt").write_text("hello")
    for words in (["enroll", empty], ["identify", empty]):
        assert "no photos" in run(*words, "-g", bare_gallery, code=2).err
    assert "no photos" in run("demo", empty, "-o", tmp_path / "out", "--offline", code=2).err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("loaded")
def test_a_subfolder_that_cannot_be_listed_is_told_and_the_rest_goes_on(
    run, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = Path(shutil.copytree(drawn / "people", tmp_path / "people"))
    real, closed = Path.iterdir, people / "Ada"  # root may list any folder

    def listed(self: Path) -> Iterator[Path]:
        if self == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(Path, "iterdir", listed)
    gallery = tmp_path / "g.faceflow"
    told = run("enroll", people, "-g", gallery, "--json").json
    assert told["added"] == 6
    (skip,) = told["skipped"]
    assert (skip["photo"], skip["reason"]) == (str(closed), "unreadable")
    assert "Permission denied" in skip["error"]
    ran = run("identify", people, "-g", gallery, "--json", code=3)
    assert [answer["status"] for answer in ran.lines] == ["error", *["ranked"] * 6]
    assert str(closed) in ran.err
    ran = run("occlude", people, tmp_path / "out", "-c", "blur-1", code=3)
    assert "6 pictures written" in ran.out
    assert str(closed) in ran.err
    # A person's folder alone is what was asked for: an error and nothing else.
    run("enroll", closed, "-p", "Ada", "-g", gallery, code=3)


def test_it_must_be_said_whose_photos_they_are(run, drawn: Path, bare_gallery: Path) -> None:
    ada = drawn / "people" / "Ada"
    loose = run("enroll", ada, "-g", bare_gallery, code=2).err
    assert "no person's folder" in loose
    assert "--person" in run("enroll", ada / "Ada_0001.png", "-g", bare_gallery, code=2).err


GALLERY_COMMANDS = [
    ["people"],
    ["faces"],
    ["remove", "Ada", "-y"],
    ["rename", "Ada", "Eve"],
    ["merge", "Ada", "Alba"],
    ["export", "out"],
    ["identify", "photo.png"],
]


@pytest.mark.parametrize("words", GALLERY_COMMANDS, ids=" ".join)
def test_missing_gallery(
    run, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(b"not looked at")
    err = run(*words, code=5).err
    assert "no gallery at people.faceflow" in err
    assert "faceflow enroll" in err
    assert not Path("people.faceflow").exists(), "asking must not make a gallery"


@pytest.mark.parametrize("words", [*GALLERY_COMMANDS, ["enroll", "photos"]], ids=" ".join)
@pytest.mark.parametrize("kind", ["text", "empty", "cut", "overwritten"])
def test_corrupted_gallery(
    run,
    words: list[str],
    kind: str,
    bare_gallery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos/Ada").mkdir(parents=True)
    for name in ("photo.png", "photos/Ada/1.png"):
        Path(name).write_bytes(b"not looked at")
    whole = bare_gallery.read_bytes()
    content = {
        "text": b"dear diary " * 1000,
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "overwritten": whole[:100] + b"\xaa" * (len(whole) - 100),
    }[kind]
    Path("people.faceflow").write_bytes(content)
    err = run(*words, code=5).err
    assert "people.faceflow" in err
    assert Path("people.faceflow").read_bytes() == content, "nothing may be changed"


def test_read_only_gallery(
    run, gallery: Path, drawn: Path, loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so what the system says about rights is replaced."""
    import os

    monkeypatch.setattr(os, "access", lambda path, mode, **_: not mode & os.W_OK)
    before = gallery.read_bytes()
    assert "Ada" in run("people", "-g", gallery).out
    query = drawn / "queries" / "Ada-mask.png"
    (answer,) = run("identify", query, "-g", gallery, "--json").lines
    assert answer["matches"][0]["person"] == "Ada"
    for words in (["remove", "Ada", "-y"], ["rename", "Ada", "Eve"], ["enroll", drawn / "people"]):
        assert "read-only" in run(*words, "-g", gallery, code=5).err
    assert gallery.read_bytes() == before


@pytest.fixture
def other_network(tmp_path: Path) -> Path:
    """A gallery of a network by the default one's name that gives other features."""
    from faceflow import networks

    spec = networks.spec(networks.DEFAULT)
    path = tmp_path / "other.faceflow"
    Gallery.create(
        path,
        network_name=spec.name,
        digest="0" * 64,
        embedding_size=spec.embedding_size,
        grid=spec.grid,
        channels=spec.channels,
    ).close()
    return path


def test_gallery_of_another_network(run, drawn: Path, other_network: Path, loaded) -> None:
    for words in (["identify", drawn / "queries"], ["enroll", drawn / "people"]):
        err = run(*words, "-g", other_network, code=5).err
        assert "Features of different networks cannot be compared" in err


def test_gallery_of_an_unknown_network(run, drawn: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.faceflow"
    sizes = {"embedding_size": 8, "grid": (2, 2), "channels": 4}
    Gallery.create(path, network_name="my-own", digest="1" * 64, **sizes).close()
    assert "my-own" in run("identify", drawn / "queries", "-g", path, code=2).err


@pytest.mark.usefixtures("loaded")
def test_names_with_spaces_unicode_and_tricks(run, drawn: Path, tmp_path: Path) -> None:
    """A person's name is a name: it never becomes a path, a markup or an escape sequence."""
    photos = tmp_path / "photos of\tmany"
    names = ["Zoë Kravitz 李小龍", "[bold]Eve[red]", "-rf", "a'; DROP TABLE face; --"]
    for name in names:
        folder = photos / name
        folder.mkdir(parents=True)
        shutil.copy(drawn / "people" / "Ada" / "Ada_0001.png", folder / "photo 1.png")
    evil = photos / "\x1b[31mred\nline"
    evil.mkdir()
    shutil.copy(drawn / "people" / "Alba" / "Alba_0001.png", evil)
    gallery = tmp_path / "a gallery ü.faceflow"
    ran = run("enroll", photos, "-g", gallery)
    assert "\x1b" not in ran.out + ran.err
    assert "4 faces added" in ran.out
    assert "1 photo left out" in ran.out
    listed = run("people", "-g", gallery)
    for name in names:
        assert name in listed.out
    run("rename", "--gallery", gallery, "--", "-rf", "../../etc/passwd")
    assert "../../etc/passwd" in run("people", "-g", gallery).out
    run("remove", "../../etc/passwd", "-y", "-g", gallery)
    assert "U+001B" in run("rename", "[bold]Eve[red]", "\x1b[2J", "-g", gallery, code=2).err


@pytest.mark.usefixtures("loaded")
def test_csv(run, drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn / "people", tmp_path / "photos")
    table = tmp_path / "list.csv"
    table.write_text("person,path\nAda,photos/Ada/Ada_0001.png\nNo One,photos/none.png\n")
    gallery = tmp_path / "csv.faceflow"
    told = run("enroll", table, "-g", gallery, "--json").json
    assert told["added"] == 1
    assert [skip["reason"] for skip in told["skipped"]] == ["unreadable"]
    table.write_text("name,photo\nAda,x.png\n")
    assert "path,person" in run("enroll", table, "-g", gallery, code=2).err


def test_detectors(run, no_face: Path, tmp_path: Path, bare_gallery: Path) -> None:
    assert "fan-2d, fan-3d" in run("verify", no_face, no_face, "--detector", "x", code=2).err
    err = run("enroll", no_face, "-p", "A", "-g", bare_gallery, "--detector", "fan-2d", code=5).err
    assert "aligned by centerface, not by fan-2d" in err
    if importlib.util.find_spec("face_alignment") is None:
        err = run("explain", no_face, no_face, "--detector", "fan-3d", code=7).err
        assert "faceflow[fan]" in err
