"""Every route times every role times own and other gallery: a table, and what the service does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import squares

from faceflow.server.roles import PERMISSIONS, Permission, Role
from faceflow.server.service import Service

Ask = Any
P = Permission
G = "/v1/galleries/{g}"

# Who may ask: None for any key, "open" without one. A request that passes may still be refused
# for what it says: then with 404, 409, 415 or 422.
TABLE: dict[tuple[str, str], tuple[Permission, ...] | str | None] = {
    ("GET", "/livez"): "open",
    ("GET", "/readyz"): "open",
    ("GET", "/metrics"): (P.READ_AUDIT,),
    ("GET", "/v1/settings"): (P.ADMINISTER,),
    ("PATCH", "/v1/settings"): (P.ADMINISTER,),
    ("GET", "/v1/galleries"): None,
    ("POST", "/v1/galleries"): (P.ADMINISTER,),
    ("GET", G): None,
    ("PATCH", G): (P.ADMINISTER,),
    ("DELETE", G): (P.ADMINISTER,),
    ("GET", f"{G}/people"): (P.READ_PEOPLE,),
    ("GET", f"{G}/people/p99"): (P.READ_PEOPLE,),
    ("PATCH", f"{G}/people/p99"): (P.MANAGE_PEOPLE,),
    ("DELETE", f"{G}/people/p99"): (P.MANAGE_PEOPLE,),
    ("POST", f"{G}/people/p99/merge"): (P.MANAGE_PEOPLE,),
    ("POST", f"{G}/people/p99/split"): (P.MANAGE_PEOPLE,),
    ("GET", f"{G}/merges"): (P.READ_PEOPLE,),
    ("POST", f"{G}/merges/g_x/split"): (P.MANAGE_PEOPLE,),
    ("GET", f"{G}/faces"): (P.READ_PEOPLE,),
    ("POST", f"{G}/faces"): (P.ENROLL,),
    ("GET", f"{G}/faces/99"): (P.READ_PEOPLE,),
    ("DELETE", f"{G}/faces/99"): (P.MANAGE_PEOPLE,),
    ("GET", f"{G}/faces/99/thumbnail"): (P.SEARCH, P.READ_PEOPLE),
    ("POST", f"{G}/searches"): (P.SEARCH,),
    ("GET", f"{G}/searches/s_x"): (P.SEARCH,),
    ("DELETE", f"{G}/searches/s_x"): (P.SEARCH,),
    ("GET", f"{G}/searches/s_x/pictures/aligned"): (P.SEARCH,),
    ("GET", f"{G}/searches/s_x/explanation?face_id=1"): (P.SEARCH,),
    ("GET", f"{G}/searches/s_x/comparison?a=1&b=2"): (P.SEARCH,),
    ("POST", f"{G}/searches/s_x/what-if"): (P.SEARCH,),
    ("POST", f"{G}/verify"): (P.SEARCH,),
    ("GET", f"{G}/marks"): (P.MARK,),
    ("POST", f"{G}/marks"): (P.MARK,),
    ("DELETE", f"{G}/marks/m_x"): (P.MARK,),
    ("POST", f"{G}/retention/sweep"): (P.MANAGE_PEOPLE,),
    ("GET", f"{G}/certificates"): (P.MANAGE_PEOPLE, P.READ_AUDIT),
    ("GET", f"{G}/certificates/d_x"): (P.MANAGE_PEOPLE, P.READ_AUDIT),
    ("GET", f"{G}/jobs"): (P.ENROLL,),
    ("POST", f"{G}/jobs"): (P.ENROLL,),
    ("GET", f"{G}/jobs/j_x"): (P.ENROLL,),
    ("DELETE", f"{G}/jobs/j_x"): (P.ENROLL,),
    ("GET", f"{G}/jobs/j_x/photos"): (P.ENROLL,),
    ("GET", f"{G}/jobs/j_x/events"): (P.ENROLL,),
    ("GET", "/v1/keys"): (P.ADMINISTER,),
    ("POST", "/v1/keys"): (P.ADMINISTER,),
    ("DELETE", "/v1/keys/nobody"): (P.ADMINISTER,),
    ("GET", "/v1/audit"): (P.READ_AUDIT,),
    ("GET", "/v1/audit/verify"): (P.READ_AUDIT,),
}
ELSEWHERE = ("/v1/whoami", "/v1/cases", "/v1/conclusions", "/v1/galleries/{gallery}/cases")
"""Begin the paths that other tests have a table for."""
PASSED = {200, 201, 202, 204, 404, 409, 415, 422}


def template(path: str) -> str:
    """The table's path as OpenAPI writes it."""
    parts = path.partition("?")[0].split("/")
    names = {"people": "person", "merges": "merge", "faces": "face", "searches": "search"}
    names |= {"pictures": "picture", "marks": "mark", "certificates": "certificate"}
    names |= {"jobs": "job", "keys": "key_id", "galleries": "gallery"}
    found = parts[:1]
    for before, part in itertools.pairwise(parts):
        known = before in names and part not in ("sweep",)
        found.append(f"{{{names[before]}}}" if known else part)
    return "/".join(found)


def test_the_table_has_every_route(service: Service, http: Any) -> None:
    described = http.app.openapi()
    real = {
        (method.upper(), path)
        for path, methods in described["paths"].items()
        for method in methods
        if not path.startswith(ELSEWHERE)
    }
    assert {(method, template(path)) for method, path in TABLE} == real


def ask(http: Any, key: str | None, method: str, path: str) -> Any:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    json = {} if method in ("POST", "PATCH") else None
    return http.request(method, path, headers=headers, json=json)


@pytest.mark.parametrize("role", list(Role))
def test_the_table_holds(
    role: Role, people: Ask, service: Service, http: Any, asker: Callable[..., Ask]
) -> None:
    """With the own gallery, one that is another's, and one that there is not."""
    people("POST", "/v1/galleries", status=201, json={"name": "b", "network": "blocks"})
    key = service.keys.create("bound", role, ["a"])[1]
    allowed = PERMISSIONS[role]
    wrong = []
    for (method, path), needed in TABLE.items():
        if (method, path) == ("DELETE", G):
            continue
        may = needed in ("open", None) or bool(allowed & set(needed or ()))
        for gallery in ("a", "b", "none") if "{g}" in path else ("",):
            status = ask(http, key, method, path.format(g=gallery)).status_code
            if gallery in ("b", "none"):
                right = status == 404
            elif not may:
                right = status == 403
            else:
                # A bound administrator makes no galleries and changes no limits of all.
                right = status in PASSED or (status, path) in (
                    (403, "/v1/galleries"),
                    (403, "/v1/settings"),
                )
            if not right:
                wrong.append((method, path, gallery, status))
    assert not wrong


def test_without_a_key_nothing_is_told(people: Ask, http: Any) -> None:
    for (method, path), needed in TABLE.items():
        for key in (None, "ffk_aaaaaaaaaaaa_" + "A" * 43):
            answer = ask(http, key, method, path.format(g="a"))
            assert answer.status_code == (200 if needed == "open" else 401), path


def test_another_gallery_and_none_are_told_alike(people: Ask, service: Service, http: Any) -> None:
    people("POST", "/v1/galleries", status=201, json={"name": "b", "network": "blocks"})
    key = service.keys.create("bound", Role.ADMINISTRATOR, ["a"])[1]
    for method, path in TABLE:
        if "{g}" not in path:
            continue
        told = []
        for name in ("b", "c"):
            answer = ask(http, key, method, path.format(g=name))
            body = answer.json() | {"request_id": ""}
            told.append(
                (answer.status_code, {k: str(v).replace(f"'{name}'", "") for k, v in body.items()})
            )
        assert told[0] == told[1], path


def test_one_gallerys_people_are_in_no_answer_for_another(
    people: Ask, service: Service, asker: Callable[..., Ask]
) -> None:
    people("POST", "/v1/galleries", status=201, json={"name": "b", "network": "blocks"})
    files = {"image": ("x.png", squares.photo((1, 0)))}
    secret = {"person": "Marker Xyzzy"}
    people("POST", "/v1/galleries/b/faces", status=201, files=files, data=secret)
    bound = asker(Role.ADMINISTRATOR, ["a"])
    said = [
        bound("GET", "/v1/galleries"),
        bound("GET", "/v1/galleries/a/people?q=Marker"),
        bound("GET", "/v1/audit?limit=500"),
        bound.search((1, 0)),
        bound("POST", "/v1/galleries/a/faces", status=201, files=files, data={"person": "Zoe"}),
    ]
    text = repr(said)
    assert "Xyzzy" not in text
    assert "'b'" not in text
    search = people.search((1, 0), gallery="b")
    bound("GET", f"/v1/galleries/a/searches/{search['id']}", status=404)
    bound("GET", "/v1/galleries/b/people/p1", status=404)


def test_bound_administrators_stay_in_their_galleries(
    people: Ask, asker: Callable[..., Ask]
) -> None:
    bound = asker(Role.ADMINISTRATOR, ["a"])
    bound("POST", "/v1/galleries", status=403, json={"name": "c"})
    for galleries in (None, ["b"], ["a", "b"]):
        json = {"name": "x", "role": "auditor", "galleries": galleries}
        bound("POST", "/v1/keys", status=403, json=json)
    made = bound(
        "POST", "/v1/keys", status=201, json={"name": "x", "role": "auditor", "galleries": ["a"]}
    )
    assert made["text"].startswith(f"ffk_{made['key']['id']}_")
    mine = {one["id"] for one in bound("GET", "/v1/keys")["items"]}
    everybody = {one["id"] for one in people("GET", "/v1/keys")["items"]}
    assert mine < everybody
    other = min(everybody - mine)
    bound("DELETE", f"/v1/keys/{other}", status=404)
    revoked = bound("DELETE", f"/v1/keys/{made['key']['id']}")
    assert revoked["revoked"] is not None


def test_a_key_is_checked_on_every_request(people: Ask, service: Service, http: Any) -> None:
    key, text = service.keys.create("x", Role.EXAMINER)
    assert ask(http, text, "GET", "/v1/galleries").status_code == 200
    service.keys.revoke(key.id)
    assert ask(http, text, "GET", "/v1/galleries").status_code == 401
