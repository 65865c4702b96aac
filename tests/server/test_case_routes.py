"""Cases over HTTP: who may what, what is told to whom, and the case file."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from faceflow.server.roles import Permission, Role, allows
from faceflow.server.service import Service

P = Permission
Ask = Any
SECRET = "a-scar-through-the-left-brow"
NOTE = f"{SECRET}\nNothing speaks against it."
FEATURE = "the-shape-of-the-helix"

TABLE: dict[tuple[str, str], tuple[Permission, ...] | None] = {
    ("GET", "/v1/whoami"): None,
    ("GET", "/v1/conclusions"): None,
    ("PUT", "/v1/conclusions"): (P.ADMINISTER,),
    ("GET", "/v1/cases"): (P.READ_CASES,),
    ("POST", "/v1/cases"): (P.OPEN_CASE,),
    ("GET", "/v1/cases/c_x"): (P.READ_CASES,),
    ("DELETE", "/v1/cases/c_x"): (P.ADMINISTER,),
    ("GET", "/v1/cases/c_x/pictures/query-aligned.png"): (P.READ_CASES,),
    ("POST", "/v1/cases/c_x/decisions"): (P.OPEN_CASE, P.REVIEW_CASE),
    ("GET", "/v1/cases/c_x/file"): (P.READ_CASES,),
}


def body(method: str, path: str, search: str = "s_x") -> dict[str, Any]:
    if path == "/v1/cases" and method == "POST":
        return {"json": {"gallery": "a", "search": search, "title": "Till robbery"}}
    if path.endswith("/decisions"):
        return {"json": {"conclusion": "inconclusive"}}
    return {"json": {"conclusions": []}} if method == "PUT" else {}


@pytest.fixture
def case(people: Ask, asker: Callable[..., Ask]) -> tuple[str, dict[str, Any], Ask]:
    """A case with the first decision, its search, and who decided."""
    examiner = asker(Role.EXAMINER)
    search = examiner.search((1, 9))
    made = examiner("POST", "/v1/cases", status=201, **body("POST", "/v1/cases", search["id"]))
    decided = examiner(
        "POST",
        f"/v1/cases/{made['id']}/decisions",
        status=201,
        json={
            "conclusion": "same-strong",
            "person": search["candidates"][0]["person"]["id"],
            "face_id": search["candidates"][0]["face_id"],
            "note": NOTE,
            "features": [FEATURE],
        },
    )
    assert decided["decisions"][0]["note"] == NOTE
    return made["id"], search, examiner


def test_the_table_has_every_route(http: Any) -> None:
    described = http.app.openapi()["paths"]
    ours = {
        (method.upper(), path)
        for path, methods in described.items()
        for method in methods
        if path.startswith(("/v1/whoami", "/v1/cases", "/v1/conclusions"))
    }
    named = {
        (method, path.replace("c_x", "{case}").replace("query-aligned.png", "{picture}"))
        for method, path in TABLE
    }
    assert named == ours


@pytest.mark.parametrize("role", list(Role))
def test_the_table_holds(people: Ask, asker: Callable[..., Ask], role: Role) -> None:
    ask = asker(role)
    for (method, path), needed in TABLE.items():
        answer = ask.http.request(method, path, headers=ask.headers, **body(method, path))
        may = needed is None or any(allows(role, one) for one in needed)
        assert (answer.status_code != 403) == may, (method, path, answer.status_code)
        assert ask.http.request(method, path, **body(method, path)).status_code == 401


def test_another_gallerys_case_is_not_there(
    case: tuple[str, dict[str, Any], Ask], asker: Callable[..., Ask]
) -> None:
    identity, search, _ = case
    other = asker(Role.ADMINISTRATOR, ["b"])
    assert other("GET", "/v1/cases")["items"] == []
    for method, path in TABLE:
        if "c_x" not in path:
            continue
        real = other(method, path.replace("c_x", identity), status=404, **body(method, path))
        unknown = other(method, path, status=404, **body(method, path))
        assert real["detail"].replace(identity, "c_x") == unknown["detail"]
    told = other("POST", "/v1/cases", status=404, **body("POST", "/v1/cases", search["id"]))
    assert told["detail"] == "There is no gallery 'a'"


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.ADMINISTRATOR])
def test_no_route_tells_a_reviewer_what_the_first_one_decided(
    case: tuple[str, dict[str, Any], Ask], asker: Callable[..., Ask], http: Any, role: Role
) -> None:
    identity, search, _ = case
    reviewer = asker(role)
    face = search["candidates"][0]["face_id"]
    values = {
        "gallery": "a",
        "case": identity,
        "search": search["id"],
        "person": search["candidates"][0]["person"]["id"],
        "face": str(face),
        "picture": "aligned",
        "key_id": "nobody",
        "mark": "m_x",
        "job": "j_x",
        "merge": "g_x",
        "certificate": "d_x",
        "name": "x",
    }
    asked = 0
    for path, methods in http.app.openapi()["paths"].items():
        if "get" not in methods or path.endswith("/events"):
            continue
        there = path.format_map(values) + f"?face_id={face}&a={face}&b={face}"
        answer = http.get(there, headers=reviewer.headers)
        asked += answer.status_code == 200
        told = answer.content.decode("utf-8", "replace") + str(answer.headers)
        assert SECRET not in told, path
        assert FEATURE not in told, path
        # The scale itself names every conclusion; nothing else may name this one.
        assert path == "/v1/conclusions" or "same-strong" not in told, path
    assert asked > 8
    seen = reviewer("GET", f"/v1/cases/{identity}")
    assert (seen["decisions"], seen["hidden"], seen["may_decide"]) == ([], True, True)
    refused = reviewer("GET", f"/v1/cases/{identity}/file", status=409)
    assert refused["type"] == "urn:faceflow:problem:under-review"
    settled = reviewer(
        "POST",
        f"/v1/cases/{identity}/decisions",
        status=201,
        json={"conclusion": "same-limited", "person": values["person"]},
    )
    assert settled["status"] == "settled"
    assert [one["note"] for one in settled["decisions"]] == [NOTE, ""]


def test_a_repeated_decision_is_made_once(case: tuple[str, dict[str, Any], Ask]) -> None:
    identity, _, examiner = case
    again = {"Idempotency-Key": "one"}
    for status in (201, 200):
        seen = examiner(
            "POST",
            f"/v1/cases/{identity}/decisions",
            status=status,
            headers=again,
            json={"conclusion": "inconclusive"},
        )
    assert len(seen["decisions"]) == 2


def test_the_case_file_is_whole_and_can_be_checked(
    case: tuple[str, dict[str, Any], Ask], service: Service
) -> None:
    identity, search, examiner = case
    content = examiner("GET", f"/v1/cases/{identity}/file")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {
            name.removeprefix(f"{identity}/"): archive.read(name) for name in archive.namelist()
        }
    sums = dict(line.split("  ")[::-1] for line in files.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    kept = json.loads(files["case.json"])
    assert kept["search"]["candidates"] == search["candidates"]
    assert kept["origin"]["photo_sha256"] == search["query"]["photo"]
    assert kept["origin"]["digest"] == search["digest"]
    actions = [entry["action"] for entry in kept["audit"]["entries"]]
    assert actions[0] == "search"
    assert {"open case", "decide", "export case"} <= set(actions)
    assert kept["audit"]["head"]["number"] == service.audit.head()[0]
    noted = next(e for e in kept["audit"]["entries"] if e["action"] == "decide")
    # The log's salted hash can be made again from what the file says of the decision.
    decision = dict(kept["decisions"][0])
    assert decision.pop("sha256") == noted["details"]["sha256"]
    text = json.dumps(decision, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == noted["details"]["sha256"]
    for one in search["candidates"][:2]:  # the best two, and whoever was decided about
        face = one["face_id"]
        why = json.loads(files[f"explanations/face-{face}.json"])
        assert why["score"] == pytest.approx(one["score"], abs=2e-6)
        assert files[f"pictures/flow-{face}.png"].startswith(b"\x89PNG")
    page = files["index.html"].decode()
    assert "\ufffd" not in page
    assert NOTE.replace("\n", "<br>") in page
    assert "Not settled" in page


def test_a_case_outlives_its_search_and_goes_with_it(
    case: tuple[str, dict[str, Any], Ask], people: Ask
) -> None:
    identity, search, examiner = case
    people("DELETE", f"/v1/galleries/a/searches/{search['id']}", status=404)  # the case keeps it
    kept = examiner("GET", f"/v1/cases/{identity}")
    assert kept["search"]["candidates"] == search["candidates"]
    # An administrator erases the whole case, with the search it kept.
    people("DELETE", f"/v1/cases/{identity}", status=204)
    people("GET", f"/v1/cases/{identity}", status=404)
    people("GET", f"/v1/galleries/a/searches/{search['id']}", status=404)
