"""The interface is what it was, holds what it says, and its page shows it without foreign help."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.parametrize(
    "path", ["/v1/galleries/..%2f..%2fetc", "/v1/galleries/%00", "/etc//passwd", "/v1"]
)
def test_odd_paths(path: str, people: Ask) -> None:
    people("GET", path, status=404)
