"""Erasing people from cases: what goes, what stays, and whom a legal hold protects."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from faceflow.server.audit import verify
from faceflow.server.deletions import Deletions
from faceflow.server.roles import Role
from faceflow.server.service import Service

Ask = Any
G = "/v1/galleries/a"
SECRET = "a-scar-through-the-left-brow"


@pytest.fixture
def examiner(people: Ask, asker: Callable[..., Ask]) -> Ask:
    return asker(Role.EXAMINER)


def opened(examiner: Ask, who: int, title: str = "Till robbery") -> tuple[dict[str, Any], str]:
    """A case of a search for somebody, and the best candidate's id."""
    search = examiner.search((who, 9))
    made = examiner(
        "POST",
        "/v1/cases",
        status=201,
        json={"gallery": "a", "search": search["id"], "title": title},
    )
    return made, search["candidates"][0]["person"]["id"]


def decide(ask: Ask, case: str, conclusion: str, person: str | None, note: str = SECRET) -> Any:
    decided = {"conclusion": conclusion, "person": person, "note": note, "features": ["ear"]}
    return ask("POST", f"/v1/cases/{case}/decisions", status=201, json=decided)


def everything(service: Service) -> bytes:
    """All bytes of the state file and its log."""
    path = service.state.path
    files = (path, path.with_name(f"{path.name}-wal"))
    return b"".join(one.read_bytes() for one in files if one.exists())


def pieces(picture: bytes) -> list[bytes]:
    """Short pieces of a picture; the file keeps a long one on several of its own pages."""
    found = [picture[start : start + 48] for start in range(0, len(picture) - 48, 48)]
    return [one for one in found if len(set(one)) > 8]


def test_of_an_erased_person_a_case_keeps_ids_and_hashes(
    people: Ask, examiner: Ask, service: Service
) -> None:
    made, person = opened(examiner, 1)
    before = decide(examiner, made["id"], "same-strong", person)
    search = before["search"]
    face = search["candidates"][0]["face_id"]
    crop = people("GET", f"/v1/cases/{made['id']}/pictures/query-aligned.png")
    there = everything(service)
    assert sum(one in there for one in pieces(crop)) > len(pieces(crop)) / 2 > 1
    assert SECRET.encode() in everything(service)

    certificate = people("DELETE", f"{G}/people/{person}")
    assert certificate["cases"] == 1
    assert "hashes" in certificate["remains"]

    after = people("GET", f"/v1/cases/{made['id']}")
    assert person not in {one["person"]["id"] for one in after["search"]["candidates"]}
    assert len(after["search"]["candidates"]) == len(search["candidates"]) - 1
    (erasure,) = after["erasures"]
    assert (erasure["people"], erasure["faces"], erasure["query"]) == ([person], [face], True)
    assert erasure["certificate"] == certificate["id"]
    # Somebody decided that the query shows them, so it goes too, with the features.
    gone = {f"face-{face}.jpg", "query-aligned.png", "query-original.jpg"}
    assert gone.isdisjoint(after["pictures"])
    assert set(erasure["hashes"]) == gone | {"decision 1"}
    (decision,) = after["decisions"]
    assert (decision["note"], decision["features"], decision["salt"]) == ("", [], "")
    assert (decision["person"], decision["erased"]) == (person, True)
    assert decision["sha256"] == before["decisions"][0]["sha256"]
    for path in (
        f"/v1/cases/{made['id']}/pictures/face-{face}.jpg",
        f"{G}/searches/{search['id']}",
    ):
        people("GET", path, status=404)
    left = everything(service)
    assert not any(one in left for one in pieces(crop))
    assert SECRET.encode() not in left
    assert search["candidates"][0]["person"]["name"].encode() not in left
    # What the log noted when the case was opened still names the pictures that went.
    noted = {
        name: value
        for entry in service.audit.entries()
        if entry.action == "open case"
        for name, value in entry.details["pictures"].items()
    }
    assert {name: noted[name] for name in gone} == {name: erasure["hashes"][name] for name in gone}
    verify(service.state)
    assert not after["may_decide"]
    problem = people(
        "POST",
        f"/v1/cases/{made['id']}/decisions",
        status=409,
        json={"conclusion": "inconclusive"},
    )
    assert problem["type"].endswith("erased")


def test_the_case_file_tells_what_was_erased(people: Ask, examiner: Ask) -> None:
    made, person = opened(examiner, 1)
    decide(examiner, made["id"], "same-strong", person)
    people("DELETE", f"{G}/people/{person}")
    with zipfile.ZipFile(io.BytesIO(examiner("GET", f"/v1/cases/{made['id']}/file"))) as archive:
        files = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    case = json.loads(files["case.json"])
    assert case["erasures"][0]["people"] == [person]
    assert "Erased since" in files["index.html"].decode()
    assert not any("query" in name or "flow" in name for name in files)


def test_somebody_who_was_only_shown_takes_their_part_alone(people: Ask, examiner: Ask) -> None:
    made, person = opened(examiner, 1)
    decided = decide(examiner, made["id"], "same-strong", person)
    other = decided["search"]["candidates"][1]["person"]["id"]
    assert people("DELETE", f"{G}/people/{other}")["cases"] == 1
    after = examiner("GET", f"/v1/cases/{made['id']}")
    assert "query-aligned.png" in after["pictures"]
    assert after["decisions"][0]["note"] == SECRET
    assert after["erasures"][0]["query"] is False
    # Whoever reviews now decides among those who are left, and the reasons work on.
    left = [one["face_id"] for one in after["search"]["candidates"]]
    path = f"{G}/searches/{after['search']['id']}"
    assert len(left) == 3
    assert [one["face_id"] for one in people("GET", path)["candidates"]] == left
    people("POST", f"{path}/what-if", json={"hidden": [0]})
    people("GET", f"{path}/explanation?face_id={left[0]}")


def test_words_that_name_somebody_go_with_them(people: Ask, examiner: Ask) -> None:
    made, person = opened(examiner, 1, "Person 2 at the till")
    decided = decide(examiner, made["id"], "different-strong", person, "Rather person 2.")
    names = {one["person"]["name"]: one["person"]["id"] for one in decided["search"]["candidates"]}
    assert people("DELETE", f"{G}/people/{names['Person 2']}")["cases"] == 1
    after = examiner("GET", f"/v1/cases/{made['id']}")
    assert after["title"] == "(erased)"
    assert after["decisions"][0]["note"] == ""
    assert set(after["erasures"][0]["hashes"]) >= {"title", "decision 1"}
    # Whoever still has to review is not told that the first decision was about them.
    blind = people("GET", f"/v1/cases/{made['id']}")
    assert (blind["hidden"], blind["decisions"]) == (True, [])
    assert "decision 1" not in blind["erasures"][0]["hashes"]


def test_a_legal_hold_keeps_the_person_and_the_words_about_them(
    people: Ask, examiner: Ask, asker: Callable[..., Ask]
) -> None:
    made, person = opened(examiner, 1)
    decided = decide(examiner, made["id"], "same-strong", person)
    other = decided["search"]["candidates"][1]["person"]["id"]
    decide(asker(Role.REVIEWER), made["id"], "same-limited", other, "seen at another place")
    people("PATCH", f"{G}/people/{person}", json={"consent": {"legal_hold": True}})
    people("DELETE", f"{G}/people/{person}", status=409)
    # The other one is erased, and the query, which was said to show them, stays for the held.
    people("DELETE", f"{G}/people/{other}")
    after = people("GET", f"/v1/cases/{made['id']}")
    assert after["erasures"][0]["people"] == [other]
    assert after["erasures"][0]["query"] is False
    assert "query-aligned.png" in after["pictures"]
    notes = {one["person"]: one["note"] for one in service_decisions(asker, made["id"])}
    assert notes == {person: SECRET, other: ""}


def service_decisions(asker: Callable[..., Ask], case: str) -> list[dict[str, Any]]:
    """All decisions, as somebody who takes no part may read them."""
    found = asker(Role.AUDITOR)("GET", f"/v1/cases/{case}")["decisions"]
    assert isinstance(found, list)
    return found


def test_who_was_merged_is_erased_with_the_person_they_became(people: Ask, examiner: Ask) -> None:
    made, person = opened(examiner, 1)
    decide(examiner, made["id"], "same-strong", person)
    into = "p4" if person != "p4" else "p3"
    people("POST", f"{G}/people/{person}/merge", status=201, json={"into": into})
    people("DELETE", f"{G}/people/{into}")
    (erasure,) = people("GET", f"/v1/cases/{made['id']}")["erasures"]
    assert set(erasure["people"]) == {person, into}


def test_a_face_takes_its_picture_and_the_last_one_its_person(people: Ask, examiner: Ask) -> None:
    made, person = opened(examiner, 1)
    face = made["search"]["candidates"][0]["face_id"]
    faces = [one["id"] for one in people("GET", f"{G}/faces?person={person}")["items"]]
    assert face in faces
    assert people("DELETE", f"{G}/faces/{face}")["cases"] == 1
    after = people("GET", f"/v1/cases/{made['id']}")
    assert after["search"]["candidates"][0]["person"]["id"] == person
    assert f"face-{face}.jpg" not in after["pictures"]
    (last,) = [one for one in faces if one != face]
    assert people("DELETE", f"{G}/faces/{last}")["cases"] == 1
    after = people("GET", f"/v1/cases/{made['id']}")
    assert person not in {one["person"]["id"] for one in after["search"]["candidates"]}


def test_with_a_gallery_go_the_pictures_and_names_of_its_cases(
    people: Ask, examiner: Ask, service: Service
) -> None:
    made, _ = opened(examiner, 1)
    assert people("DELETE", G)["cases"] == 1
    after = people("GET", f"/v1/cases/{made['id']}")
    assert (after["search"]["candidates"], after["pictures"]) == ([], [])
    assert b"Person 1" not in everything(service)


def test_what_a_kill_cut_short_is_certified_with_its_cases(
    people: Ask, examiner: Ask, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, person = opened(examiner, 1)

    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Deletions, "_remove", killed)
        with pytest.raises(KeyboardInterrupt):
            service.deletions.person("a", int(person[1:]), actor="x")
    # As at the next start, by somebody else than who began it.
    again = Deletions(service.state, service.audit, service.engine, service.consents)
    assert again.resume() == 1
    (certificate,) = people("GET", f"{G}/certificates")["items"]
    assert certificate["cases"] == 1
    assert people("GET", f"/v1/cases/{made['id']}")["erasures"][0]["people"] == [person]


def test_a_case_that_is_opened_meanwhile_loses_them_too(
    people: Ask, examiner: Ask, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, person = opened(examiner, 1)
    late: list[str] = []
    remove = Deletions._remove

    def slowly(self: Deletions, begun: Any) -> bool:
        late.append(opened(examiner, 1, "Later")[0]["id"])
        return remove(self, begun)

    monkeypatch.setattr(Deletions, "_remove", slowly)
    assert people("DELETE", f"{G}/people/{person}")["cases"] == 2
    after = people("GET", f"/v1/cases/{late[0]}")
    assert person not in {one["person"]["id"] for one in after["search"]["candidates"]}
    assert after["erasures"][0]["people"] == [person]
