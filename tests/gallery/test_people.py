"""Whose faces are whose: moving faces, pages of people and faces, and what tells of a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from faceflow.errors import GalleryError, InputError
from faceflow.gallery import Change, Enrolment, Gallery, PersonInfo

Make = Callable[..., list[Enrolment]]


def test_a_wrong_merge_is_undone_by_moving(gallery: Gallery, enrolments: Make) -> None:
    gallery.enroll(enrolments(6, people=3))
    gallery.merge("Person 0", "Person 1")
    assert gallery.move_faces([1, 4, 4], " Person 0 ") == Change(2)
    assert gallery.people() == [
        PersonInfo("Person 0", 2, 4),
        PersonInfo("Person 1", 2, 2),
        PersonInfo("Person 2", 2, 3),
    ]
    assert gallery.person_of([1, 2, 3, 4, 5, 6]) == [f"Person {i % 3}" for i in range(6)]
    assert gallery.move_faces([1, 4], "Person 0") == Change(0)
    gallery.check()


def test_moving_the_last_face_forgets_its_person(gallery: Gallery, enrolments: Make) -> None:
    items = enrolments(6, people=3)
    gallery.enroll(items)
    assert gallery.move_faces([1, 4, 2], "Person 2") == Change(3)
    assert [(p.name, p.faces) for p in gallery.people()] == [("Person 1", 1), ("Person 2", 5)]
    found = gallery.search(items[0].features, k=6)
    assert found.face_ids[0, 0] == 1
    assert gallery.enroll([replace(items[0], person="Person 2")]).duplicates == 1
    with pytest.raises(GalleryError, match="no person 'Person 0'"):
        gallery.faces("Person 0")
    gallery.check()


def test_of_a_photo_that_somebody_would_have_twice_the_first_is_kept(
    gallery: Gallery, enrolments: Make
) -> None:
    items = enrolments(3, people=3)
    shared = [replace(items[0], person=name) for name in ("A", "B", "C")]
    gallery.enroll([*items, *shared])
    # Person 0 has the photo already; of A's and B's alike none is left.
    assert gallery.move_faces([4, 5], "Person 0") == Change(0, dropped=2)
    # Nobody called D has it: the face of smallest id stays.
    assert gallery.move_faces([6, 1], "D") == Change(1, dropped=1)
    assert [(p.name, p.faces) for p in gallery.people()] == [
        ("D", 1),
        ("Person 1", 1),
        ("Person 2", 1),
    ]
    assert [record.face_id for record in gallery.faces()] == [1, 2, 3]
    gallery.check()


def test_faces_that_cannot_be_moved(gallery: Gallery, enrolments: Make) -> None:
    gallery.enroll(enrolments(3))
    before = gallery.faces()
    for wrong in ([1, 9], [0], [-1], [2**70]):
        with pytest.raises(GalleryError, match="no face"):
            gallery.move_faces(wrong, "X")
    with pytest.raises(InputError, match="empty"):
        gallery.move_faces([1], " ")
    with pytest.raises(InputError, match="flat list"):
        gallery.move_faces([[1]], "X")  # type: ignore[list-item]
    assert gallery.faces() == before


def test_a_move_is_refused_where_the_index_of_photos_was_damaged(
    tmp_path: Path, create: Callable[..., Gallery], enrolments: Make
) -> None:
    import sqlite3

    path = tmp_path / "people.faceflow"
    with create(path) as gallery:
        gallery.enroll(enrolments(3))
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM photo WHERE face_id = 2")
    connection.close()
    with Gallery.open(path) as gallery:
        with pytest.raises(GalleryError, match="damaged"):
            gallery.move_faces([2], "X")
        assert gallery.person_of([2]) == ["Person 1"]


def test_pages_of_people_are_the_whole_list(gallery: Gallery, enrolments: Make) -> None:
    names = ["b", "A", "a", "B", "ä", "Ärger", "ss", "ß", "c", "1"]
    gallery.enroll([replace(i, person=n) for i, n in zip(enrolments(10), names, strict=True)])
    everyone = gallery.people()
    assert [p.name for p in everyone] == sorted(names, key=lambda n: (n.casefold(), n))
    for limit in (1, 2, 3, 10, 11):
        pages: list[PersonInfo] = []
        while page := gallery.people(after=pages[-1].name if pages else None, limit=limit):
            assert len(page) <= limit
            pages += page
        assert pages == everyone
    # After a name that nobody has (any more).
    assert [p.name for p in gallery.people(after="Bz", limit=1)] == ["c"]
    for wrong in (0, -1, 2**63):
        with pytest.raises(InputError, match="limit"):
            gallery.people(limit=wrong)


def test_pages_of_faces_are_the_whole_list(gallery: Gallery, enrolments: Make) -> None:
    gallery.enroll(enrolments(11, people=2))
    gallery.remove_face(4)
    for person in (None, "Person 0"):
        everything = gallery.faces(person)
        after, pages = 0, []
        while page := gallery.faces(person, after=after, limit=3):
            pages += page
            after = page[-1].face_id
        assert pages == everything
    assert gallery.faces(after=2**80) == []
    assert [r.face_id for r in gallery.faces(after=-5, limit=1)] == [1]
    with pytest.raises(InputError, match="limit"):
        gallery.faces(limit=0)


def test_a_person_is_found_by_name_and_by_id(gallery: Gallery, enrolments: Make) -> None:
    gallery.enroll(enrolments(7, people=3))
    assert gallery.person("Person 1") == gallery.person(2) == PersonInfo("Person 1", 2, 2)
    gallery.rename("Person 1", "Ada")
    assert gallery.person(2).name == "Ada"
    gallery.merge("Person 0", "Ada")
    assert gallery.person("Ada") == PersonInfo("Ada", 5, 2)
    for unknown in (1, 0, -1, 99, 2**70):
        with pytest.raises(GalleryError, match="no person with the id"):
            gallery.person(unknown)
    with pytest.raises(GalleryError, match="no person 'Person 0'"):
        gallery.person("Person 0")
    # An id is never given again.
    gallery.enroll(enrolments(1, seed=1))
    assert gallery.person("Person 0").person_id == 4


def test_every_change_gives_another_revision(gallery: Gallery, enrolments: Make) -> None:
    seen = [gallery.revision]
    for change in (
        lambda: gallery.enroll(enrolments(8)),
        lambda: gallery.rename("Person 0", "Ada"),
        lambda: gallery.rename("Ada", "Person 0"),
        lambda: gallery.merge("Person 0", "Person 1"),
        lambda: gallery.move_faces([1], "Person 0"),
        lambda: gallery.remove_face(2),
        lambda: gallery.update_settings({"a": 1}),
        lambda: gallery.update_settings({"a": None}),
    ):
        change()
        seen.append(gallery.revision)
        gallery.people(), gallery.faces(), gallery.settings, gallery.check()
        assert gallery.revision == seen[-1]
    assert len(set(seen)) == len(seen)


def test_a_view_keeps_its_revision_and_other_processes_see_ours(
    gallery: Gallery, enrolments: Make
) -> None:
    with Gallery.open(gallery.path, readonly=True) as other, gallery.snapshot() as view:
        before = other.revision
        assert view.revision == before
        gallery.enroll(enrolments(2))
        assert view.revision == before
        assert other.revision == gallery.revision != before
