"""People and faces: add, rename, merge and split back, consent, delete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import squares

from faceflow.server.audit import verify
from faceflow.server.service import Service

Ask = Any
G = "/v1/galleries/a"


def names(ask: Ask) -> dict[str, str]:
    return {one["name"]: one["id"] for one in ask("GET", f"{G}/people")["items"]}


def test_a_face_is_added_once(admin: Ask) -> None:
    first = admin.add(1)
    assert first["duplicate"] is False
    assert first["face"]["person"] == {"id": "p1", "name": "Person 1"}
    again = admin.add(1, status=200)
    assert again["duplicate"] is True
    assert again["face"] == first["face"]
    files = {"image": ("x.png", squares.photo((1, 0)))}
    other = admin("POST", f"{G}/faces", status=201, files=files, data={"person": "Zoe"})
    assert other["also_enrolled_for"] == ["Person 1"]
    by_id = admin(
        "POST",
        f"{G}/faces",
        status=201,
        files={"image": ("y.png", squares.photo((1, 5)))},
        data={"person_id": "p1"},
    )
    assert by_id["face"]["person"]["id"] == "p1"


def test_photos_that_are_not_added(admin: Ask) -> None:
    two = {"image": ("x.png", squares.photo((1, 0), (2, 0)))}
    problem = admin("POST", f"{G}/faces", status=422, files=two, data={"person": "Zoe"})
    assert problem["type"].endswith("several-faces")
    admin("POST", f"{G}/faces", status=201, files=two, data={"person": "Zoe", "select": "largest"})
    admin("POST", f"{G}/faces", status=422, files=two)
    admin("POST", f"{G}/faces", status=422, files=two, data={"person": "A", "person_id": "p1"})
    admin("POST", f"{G}/faces", status=422, files=two, data={"person": "\u202e"})
    none = {"image": ("x.png", squares.photo())}
    problem = admin("POST", f"{G}/faces", status=422, files=none, data={"person": "Zoe"})
    assert problem["type"].endswith("no-face")


def test_people_page_by_page(people: Ask) -> None:
    people("PATCH", f"{G}/people/p2", json={"name": "anna"})
    seen, cursor = [], None
    while True:
        query = "?limit=1" + (f"&cursor={cursor}" if cursor else "")
        page = people("GET", f"{G}/people{query}")
        seen += [one["name"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ["anna", "Person 0", "Person 2", "Person 3"]
    assert [p["name"] for p in people("GET", f"{G}/people?q=ON 3")["items"]] == ["Person 3"]
    faces = people("GET", f"{G}/faces?person=p3&limit=1")
    rest = people("GET", f"{G}/faces?person=p3&limit=1&cursor={faces['next']}")
    assert [one["id"] for one in faces["items"] + rest["items"]] == [5, 6]
    assert rest["next"] is None


def test_cursors_are_signed_and_for_one_list(people: Ask) -> None:
    cursor = people("GET", f"{G}/people?limit=1")["next"]
    wrong = [cursor[:-2] + "AA", "x", "\u00e9", cursor + "A", ""]
    for one in wrong:
        people("GET", f"{G}/people", status=422, params={"cursor": one})
    people("GET", f"{G}/faces", status=422, params={"cursor": cursor})
    people("GET", f"{G}/people", status=422, params={"cursor": cursor, "q": "a"})


def test_an_id_survives_a_new_name(people: Ask) -> None:
    assert people("PATCH", f"{G}/people/p1", json={"name": " Ada "})["name"] == "Ada"
    assert people("GET", f"{G}/people/p1")["name"] == "Ada"
    people("PATCH", f"{G}/people/p1", status=409, json={"name": "Person 2"})
    people("PATCH", f"{G}/people/p1", status=422, json={"name": ""})
    people("PATCH", f"{G}/people/p1", status=422, json={"nom": "x"})
    for wrong in ("p9", "p0", "1", "Ada", "p99999999999999999"):
        people("GET", f"{G}/people/{wrong}", status=404)


def test_a_merge_is_split_back(people: Ask) -> None:
    consent = {"purpose": "door", "reference": "file 7"}
    people("PATCH", f"{G}/people/p1", json={"consent": consent})
    before = people("GET", f"{G}/faces?person=p1")["items"]
    merge = people("POST", f"{G}/people/p1/merge", status=201, json={"into": "p2"})
    assert people("GET", f"{G}/people/p2")["faces"] == 4
    people("GET", f"{G}/people/p1", status=404)
    assert people("GET", f"{G}/merges")["items"] == [merge]
    split = people("POST", f"{G}/merges/{merge['id']}/split")
    back = people("GET", f"{G}/people/{split['split']['id']}")
    assert (back["name"], back["faces"]) == ("Person 0", 2)
    assert back["consent"]["reference"] == "file 7"
    after = people("GET", f"{G}/faces?person={back['id']}")["items"]
    assert [one["id"] for one in after] == [one["id"] for one in before]
    assert people("GET", f"{G}/people/p2")["faces"] == 2
    people("POST", f"{G}/merges/{merge['id']}/split", status=409)


def test_a_split_finds_another_name_when_the_old_one_is_taken(people: Ask) -> None:
    merge = people("POST", f"{G}/people/p1/merge", status=201, json={"into": "p2"})
    people("PATCH", f"{G}/people/p3", json={"name": "Person 0"})
    split = people("POST", f"{G}/merges/{merge['id']}/split")
    assert split["split"]["name"] == "Person 0 (2)"


def test_merging_what_cannot_be(people: Ask) -> None:
    people("POST", f"{G}/people/p1/merge", status=409, json={"into": "p1"})
    people("POST", f"{G}/people/p1/merge", status=404, json={"into": "p77"})
    people("POST", f"{G}/people/p1/merge", status=422, json={"into": "Ada"})


def test_faces_are_given_to_others(people: Ask) -> None:
    new = people("POST", f"{G}/people/p1/split", json={"faces": [1], "name": "Nobody yet"})
    assert (new["name"], new["faces"]) == ("Nobody yet", 1)
    people("POST", f"{G}/people/p1/split", status=404, json={"faces": [3], "name": "X"})
    people("POST", f"{G}/people/p1/split", status=409, json={"faces": [2], "name": "Person 0"})


def test_a_deletion_is_certified(people: Ask, service: Service) -> None:
    certificate = people("DELETE", f"{G}/people/p1")
    assert (certificate["what"], certificate["subject"]) == ("person", "p1")
    assert (certificate["faces"], certificate["erased"]) == (2, True)
    assert "backup" in certificate["remains"]
    assert verify(service.state) >= (certificate["audit"]["number"], "")
    assert people("GET", f"{G}/certificates/{certificate['id']}") == certificate
    people("DELETE", f"{G}/people/p1", status=404)
    face = people("DELETE", f"{G}/faces/3")
    assert (face["what"], face["subject"]) == ("face", "3")
    people("GET", f"{G}/faces/3", status=404)
    assert people("GET", f"{G}/certificates")["items"] == [certificate, face]


def test_legal_hold_holds(people: Ask, service: Service) -> None:
    over = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    for person, hold in (("p1", True), ("p2", False)):
        consent = {"expiry": over, "legal_hold": hold, "date": "2026-01-31"}
        people("PATCH", f"{G}/people/{person}", json={"consent": consent})
    people("DELETE", f"{G}/people/p1", status=409)
    people("DELETE", f"{G}/faces/1", status=409)
    people("DELETE", G, status=409)
    swept = people("POST", f"{G}/retention/sweep")
    assert [one["subject"] for one in swept["certificates"]] == ["p2"]
    assert [one["id"] for one in swept["held"]] == ["p1"]
    assert set(names(people)) == {"Person 0", "Person 2", "Person 3"}
    people("PATCH", f"{G}/people/p1", json={"consent": None})
    people("DELETE", f"{G}/people/p1")


def test_the_same_request_twice_is_done_once(people: Ask) -> None:
    header = {"Idempotency-Key": "abc"}
    first = people.search((1, 1), headers=header)
    assert people.search((1, 1), headers=header, status=200) == first
    people.search((1, 2), headers=header, status=422)
    merged = people(
        "POST",
        f"{G}/people/p1/merge",
        status=201,
        json={"into": "p2"},
        headers={"Idempotency-Key": "m"},
    )
    again = people(
        "POST",
        f"{G}/people/p1/merge",
        status=201,
        json={"into": "p2"},
        headers={"Idempotency-Key": "m"},
    )
    assert again == merged
    # What failed may be tried again with the same name.
    wrong = {"Idempotency-Key": "w"}
    people.search((1, 1), headers=wrong, k="0", status=422)
    people.search((1, 1), headers=wrong, status=201)


def test_thumbnails(people: Ask) -> None:
    picture = people("GET", f"{G}/faces/1/thumbnail")
    assert picture.startswith(b"\xff\xd8")
    people("GET", f"{G}/faces/99/thumbnail", status=404)
