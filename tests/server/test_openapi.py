"""The interface is what it was, holds what it says, and its page shows it without foreign help."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SNAPSHOT = Path(__file__).parent / "openapi.json"
Ask = Any


def described(ask: Ask) -> Any:
    """The description as it is, without the version and what the pages add."""
    found = ask.http.get("/v1/openapi.json").json()
    found["info"].pop("version")
    return found


def test_the_interface_is_pinned(people: Ask) -> None:
    """A change of the interface is a change of this file: see what a reviewer would see.

    To take the new state: ``python3 tests/server/openapi_snapshot.py``.
    """
    kept = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    now = described(people)
    for path, methods in kept["paths"].items():
        assert now["paths"].get(path) == methods, path
    for name, schema in kept["components"]["schemas"].items():
        assert now["components"]["schemas"].get(name) == schema, name


def test_every_reference_leads_somewhere(people: Ask) -> None:
    text = json.dumps(found := described(people))
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert name in found["components"]["schemas"]
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            assert operation["security"] == ([] if path in ("/livez", "/readyz") else [{"key": []}])
            assert operation.get("summary"), (path, method)


def test_no_field_takes_an_address_or_a_path(people: Ask) -> None:
    text = json.dumps(described(people)["paths"]).lower()
    for word in ('"url"', '"uri"', '"image_path"', '"file_path"', '"callback"', '"webhook"'):
        assert word not in text


def test_the_page_needs_nobody_else(people: Ask) -> None:
    for name in ("/docs", "/docs/viewer.js", "/docs/viewer.css"):
        answer = people.http.get(name)
        assert answer.status_code == 200
        assert not re.search(r"(?:src|href|from|url)\W{1,3}(?:https?:)?//", answer.text)
    assert "<script>" not in people.http.get("/docs").text
    assert " style=" not in people.http.get("/docs").text
    people("GET", "/docs/../app.py", status=404)
    people("GET", "/docs/secrets", status=404)


def values(schema: Any) -> st.SearchStrategy[str]:
    """Texts for a parameter: some that fit, some that do not."""
    del schema
    return st.one_of(
        st.sampled_from(["a", "p1", "p2", "1", "2", "0", "-1", "s_x", "9" * 30, "true", ""]),
        st.text(string.printable, max_size=20),
        st.text(max_size=20).filter(lambda text: text.isprintable()),
    )


FIELDS = ["name", "into", "faces", "hidden", "consent", "search", "person", "note", "role"]
FIELDS += ["galleries", "expires", "expiry", "legal_hold", "date", "network", "x"]
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=10),
        st.sampled_from(["p1", "p2", "a", "administrator", "2026-01-01T00:00:00Z"]),
    ),
    lambda inside: st.one_of(
        st.lists(inside, max_size=3),
        st.dictionaries(
            st.sampled_from(FIELDS),
            inside,
            max_size=4,
        ),
    ),
    max_leaves=6,
)


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_whatever_is_asked_is_answered_as_described(people: Ask, data: st.DataObject) -> None:
    """Any request gives a status that the description names, and never a failure of ours."""
    document = people.http.app.openapi()
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if not path.endswith("/events") and not path.startswith("/v1/keys/")
    ]
    path, method, operation = data.draw(st.sampled_from(operations))
    query, headers = {}, dict(people.headers)
    for parameter in operation.get("parameters", []):
        text = data.draw(values(parameter["schema"]))
        if parameter["in"] == "path":
            text = "a" if parameter["name"] == "gallery" and data.draw(st.booleans()) else text
            path = path.replace(f"{{{parameter['name']}}}", quoted(text) or "x")
        elif parameter["in"] == "query" and (parameter["required"] or data.draw(st.booleans())):
            query[parameter["name"]] = text
        elif parameter["in"] == "header" and data.draw(st.booleans()):
            headers[parameter["name"]] = quoted(text)
    body = data.draw(st.one_of(st.none(), JSON)) if method in ("post", "patch") else None
    answer = people.http.request(
        method.upper(), path, params=query, headers=headers, **({"json": body} if body else {})
    )
    assert answer.status_code < 500, answer.text
    assert str(answer.status_code) in operation["responses"], (path, answer.status_code)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) >= {"type", "title", "status", "detail", "request_id"}


def quoted(text: str) -> str:
    """Text that a path or header can hold as one part."""
    from urllib.parse import quote

    made = quote(text, safe="")
    return made if made.strip(".") else "x"


@pytest.mark.parametrize(
    "path", ["/v1/galleries/..%2f..%2fetc", "/v1/galleries/%00", "/etc//passwd", "/v1"]
)
def test_odd_paths(path: str, people: Ask) -> None:
    people("GET", path, status=404)
