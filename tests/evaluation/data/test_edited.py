"""Edited pictures find their source photos by name or table."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drawn_people import identity, portrait, write_people
from faceflow.errors import InputError
from faceflow.evaluation.data import Photo, pair_by_name, pair_by_table, read
from faceflow.evaluation.data.edited import AMBIGUOUS, EDITED, NO_SOURCE, _beginnings, sources_of
from faceflow.evaluation.data.near_duplicates import confirm
from faceflow.evaluation.data.protocols import no_leak
from faceflow.occlusion import mask, random_crop
from faceflow.occlusion.photos import cover_photos


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def photos(root: Path, *names: str) -> list[Photo]:
    touch(root, *names)
    return [
        Photo(root / name, Path(name).parent.name, f"set/{name.partition('.')[0]}", age=30)
        for name in names
    ]


def test_names_as_programs_write_them(tmp_path: Path) -> None:
    """MaskTheFace's endings, one file name in two folders, a longer name that fits better."""
    sources = photos(
        tmp_path / "photos", "Ada/Ada_0001.jpg", "Ada/Ada_0001_b.jpg", "Ada/1.jpg", "Bo/1.jpg"
    )
    touch(
        tmp_path / "masked",
        "Ada/Ada_0001_surgical_green.jpg",
        "Ada/Ada_0001_b_N95.png",
        "Ada/Ada_0001.jpg",
        "Bo/1-cloth.jpg",
        "elsewhere/1_cloth.jpg",
        "Ada/Ida_0001_cloth.jpg",
        "Ada/Ada_00012.jpg",
        "notes.txt",
    )
    found = pair_by_name(tmp_path / "masked", sources)
    paired = {
        photo.path.relative_to(tmp_path / "masked").as_posix(): (photo.source_id, photo.condition)
        for photo in found.photos
    }
    assert paired == {
        "Ada/Ada_0001_surgical_green.jpg": ("set/Ada/Ada_0001", "surgical_green"),
        "Ada/Ada_0001_b_N95.png": ("set/Ada/Ada_0001_b", "N95"),
        "Ada/Ada_0001.jpg": ("set/Ada/Ada_0001", EDITED),
        "Bo/1-cloth.jpg": ("set/Bo/1", "cloth"),
    }
    assert {photo.person for photo in found.photos} == {"Ada", "Bo"}
    assert {photo.age for photo in found.photos} == {30}
    why = {item.path.name: item.why for item in found.left_out}
    assert why == {
        "1_cloth.jpg": AMBIGUOUS,
        "Ida_0001_cloth.jpg": NO_SOURCE,
        "Ada_00012.jpg": NO_SOURCE,
        "notes.txt": "not a photo",
    }


@given(name=st.text("ab_-", max_size=12))
@settings(max_examples=50)
def test_beginnings_grow_shorter_and_end_at_a_mark(name: str) -> None:
    found = list(_beginnings(name))
    assert found[0] == name
    assert sorted(found, key=len, reverse=True) == found
    assert len(set(found)) == len(found)
    for part in found[1:]:
        assert part
        assert name.startswith(part)
        assert name[len(part)] in "_-"
    assert len(found) == 1 + sum(c in "_-" for c in name[1:])


def test_a_table_says_it(tmp_path: Path) -> None:
    sources = photos(tmp_path / "photos", "Ada/1.jpg", "Bo/2.jpg")
    touch(tmp_path, "out/x.jpg", "out/y.jpg")
    table = tmp_path / "pairs.csv"
    table.write_text(
        "edited,source,condition\n"
        "out/x.jpg,photos/Bo/2.jpg,mask\n"
        "out/y.jpg,photos/Cy/3.jpg,mask\n"
        "out/z.jpg,photos/Ada/1.jpg,\n"
    )
    found = pair_by_table(table, sources)
    (photo,) = found.photos
    assert (photo.person, photo.source_id, photo.condition) == ("Bo", "set/Bo/2", "mask")
    assert [item.path.name for item in found.left_out] == ["y.jpg", "z.jpg"]
    assert list(sources_of(found.photos, sources)) == [(photo, sources[1])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", "no columns"),
        ("edited,source\nx.jpg\n", "line 2"),
        ('edited,source\n"x', "cannot be read"),
        ("edited,source\nx\0.jpg,y.jpg\n", "line 2|cannot be read"),
        ("", "no columns"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=message):
        pair_by_table(table, [])


def test_nothing_paired_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(InputError, match="no photo was found"):
        pair_by_name(tmp_path, [])
    with pytest.raises(InputError, match="no folder"):
        pair_by_name(tmp_path / "none", [])
    with pytest.raises(InputError, match="no file"):
        pair_by_table(tmp_path / "none.csv", [])


def test_pictures_are_held_against_their_sources(tmp_path: Path) -> None:
    """Masked copies are confirmed; a mask on another photo of the person, or a crop, is not."""
    write_people(tmp_path / "photos", people=2, photos_each=2, size=128)
    sources = read("folder", tmp_path / "photos").photos
    shots = {
        f"{p.person}_{n + 1:04d}": portrait(identity(i), n, size=128)
        for i, p in enumerate((sources[0], sources[2]))
        for n in range(2)
    }
    names = list(shots)
    (tmp_path / "edits").mkdir()
    for name, shot in shots.items():
        wrong = shots[names[1]] if name == names[0] else shot
        done = mask(wrong.image, wrong.landmarks, seed=1).image
        if name == names[3]:
            done = random_crop(shot.image, 0.6, seed=1).image
        Image.fromarray(done).save(tmp_path / "edits" / f"{name}_cover.png")
    edited = pair_by_name(tmp_path / "edits", sources).photos
    checked = confirm(list(sources_of(edited, sources)))
    assert [pair is not None for pair in checked] == [False, True, True, False]
    # And the protocol keeps each apart from the photo it is paired with.
    protocol = no_leak(sources, edited)
    assert protocol.same_photo == 4
    assert protocol.mates.tolist() == [1, 1, 1, 1]
    with pytest.raises(InputError, match="no pair"):
        confirm([])
    torn = Photo(tmp_path / "none.jpg", "x", "y")
    assert confirm([(torn, sources[0]), (sources[0], sources[0])])[0] is None


def test_our_own_covers_are_paired_by_name(tmp_path: Path) -> None:
    write_people(tmp_path / "photos", people=2, photos_each=1, size=64)
    list(cover_photos(tmp_path / "photos", tmp_path / "out", ["blur-2", "crop"]))
    sources = read("folder", tmp_path / "photos").photos
    found = pair_by_name(tmp_path / "out", sources)
    assert {photo.condition for photo in found.photos} == {"blur-2", "crop"}
    assert not found.left_out


def test_folders_that_cannot_be_people_are_left_out(tmp_path: Path) -> None:
    """As when enrolling: the same rule decides what a name is."""
    touch(tmp_path, "Ada/1.jpg", "\u202eadA/2.jpg")
    found = read("folder", tmp_path)
    assert [photo.person for photo in found.photos] == ["Ada"]
    assert [item.why for item in found.left_out] == ["its folder's name cannot be a person's"]
