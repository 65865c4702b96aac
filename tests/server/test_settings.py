"""A service refuses to start where faces would be exposed."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from faceflow.errors import GalleryError, InputError
from faceflow.server.limits import CurrentLimits
from faceflow.server.service import Service
from faceflow.server.settings import Limits, ServerSettings, is_loopback
from faceflow.server.state import State

Ask = Any


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "faces.example"])
def test_a_public_address_needs_a_certificate_or_a_word(host: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="other machines"):
        ServerSettings(tmp_path, host=host)
    ServerSettings(tmp_path, host=host, public=True)
    ServerSettings(tmp_path, host=host, certificate=tmp_path / "c", key=tmp_path / "k")


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "localhost.example", "")))


def test_limits_are_positive(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        Limits(photos=0)
    with pytest.raises(InputError):
        ServerSettings(tmp_path, certificate=tmp_path / "c")


def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"not a database, and long enough to look like one" * 100)
    with pytest.raises(GalleryError):
        State(other)


def test_limits_are_changed_while_the_service_runs(people: Ask, service: Service) -> None:
    given = people("GET", "/v1/settings")
    assert set(given["adjustable"]) < set(given["limits"])
    for name, (least, most) in given["adjustable"].items():
        assert least <= given["limits"][name] <= most
    now = people("PATCH", "/v1/settings", json={"limits": {"candidates": 3, "search_hours": 0.5}})
    assert (now["limits"]["candidates"], now["limits"]["search_hours"]) == (3, 0.5)
    people.search((1, 9), k="4", status=422)
    found = people.search((1, 9), k="3")
    kept = datetime.fromisoformat(found["expires"]) - datetime.fromisoformat(found["created"])
    assert kept == timedelta(hours=0.5)
    # Another process sees it, and so does the next start.
    other = CurrentLimits(service.state, service.settings.limits)
    assert other().candidates == 3
    now = people("PATCH", "/v1/settings", json={"limits": {"candidates": None}})
    assert now["limits"]["candidates"] == given["limits"]["candidates"]
    assert now["limits"]["search_hours"] == 0.5
    (entry,) = [e for e in service.audit.entries(limit=500) if "candidates" in str(e.details)][-1:]
    assert entry.details == {"limits": {"candidates": None}}


def test_what_another_process_changed_holds_soon(service: Service) -> None:
    clock = [0.0]
    limits = CurrentLimits(service.state, service.settings.limits, lambda: clock[0])
    assert limits().photos == 100
    with service.state.writing() as connection:
        service.limits.change(connection, {"photos": 7})
    clock[0] = 0.9
    assert limits().photos == 100
    clock[0] = 1.1
    assert limits().photos == 7


@pytest.mark.parametrize(
    "limits",
    [
        {"searches": 4},
        {"nothing": 4},
        {"candidates": 0},
        {"photos": 2.5},
        {"per_minute": 1},
        {"queue": 1e12},
        {"photos": "many"},
    ],
    ids=str,
)
def test_limits_that_cannot_be(limits: dict[str, object], people: Ask) -> None:
    before = people("GET", "/v1/settings")
    people("PATCH", "/v1/settings", json={"limits": limits}, status=422)
    assert people("GET", "/v1/settings") == before


def test_fewer_requests_a_minute_hold_at_once(people: Ask) -> None:
    people("PATCH", "/v1/settings", json={"limits": {"per_minute": 30}})
    codes = [
        people.http.get("/v1/galleries", headers=people.headers).status_code for _ in range(40)
    ]
    assert codes[0] == 200
    assert codes[-1] == 429
