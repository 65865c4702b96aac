"""Signing in on the pages: the cookie, its end, and who may use it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from faceflow.server import sessions
from faceflow.server.app import create_app
from faceflow.server.roles import Role
from faceflow.server.settings import ServerSettings

HERE = "http://127.0.0.1:8765"


@pytest.fixture
def client(settings: ServerSettings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url=HERE) as made:
        yield made


def key_of(client: TestClient, role: Role = Role.EXAMINER) -> tuple[str, str]:
    key, text = client.app.state.keys.create("Maria", role)  # type: ignore[attr-defined]
    return key.id, text


def sign_in(client: TestClient, text: str, origin: str | None = HERE) -> int:
    headers = {} if origin is None else {"Origin": origin}
    return client.post("/session", json={"key": text}, headers=headers).status_code


def test_a_key_starts_a_session_and_the_session_ends(client: TestClient) -> None:
    identity, text = key_of(client)
    assert client.get("/v1/whoami").status_code == 401
    answer = client.post("/session", json={"key": f" {text}\n"}, headers={"Origin": HERE})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert text not in cookie
    who = client.get("/v1/whoami").json()
    assert (who["key"], who["name"], who["role"]) == (identity, "Maria", "examiner")
    assert "open case" in who["permissions"]
    kept = dict(client.cookies)
    assert client.delete("/session", headers={"Origin": HERE}).status_code == 204
    assert client.get("/v1/whoami").status_code == 401
    # The cookie itself opens nothing any more, should anybody have kept it.
    client.cookies.update(kept)
    assert client.get("/v1/whoami").status_code == 401
    actions = [entry.action for entry in client.app.state.audit.entries()]  # type: ignore[attr-defined]
    assert actions == ["sign in", "sign out"]


@pytest.mark.parametrize("origin", [None, "null", "https://elsewhere.example", f"{HERE}.example"])
def test_another_site_cannot_act_with_the_cookie(client: TestClient, origin: str | None) -> None:
    _, text = key_of(client)
    assert sign_in(client, text, origin) == 403
    assert sign_in(client, text) == 200
    headers = {} if origin is None else {"Origin": origin}
    assert client.delete("/session", headers=headers).status_code == 403
    assert client.get("/v1/whoami").status_code == 200


def test_a_wrong_header_is_not_saved_by_a_cookie(client: TestClient) -> None:
    _, text = key_of(client)
    assert sign_in(client, text) == 200
    wrong = {"Authorization": "Bearer ffk_wrong"}
    assert client.get("/v1/whoami", headers=wrong).status_code == 401


def test_a_wrong_key_is_told_what_to_do(client: TestClient) -> None:
    answer = client.post("/session", json={"key": "ffk_no"}, headers={"Origin": HERE})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "copy the whole key" in answer.json()["todo"]


def test_a_revoked_key_ends_its_sessions(client: TestClient) -> None:
    identity, text = key_of(client)
    assert sign_in(client, text) == 200
    client.app.state.keys.revoke(identity)  # type: ignore[attr-defined]
    assert client.get("/v1/whoami").status_code == 401


@pytest.mark.parametrize(("passed", "busy"), [(sessions.IDLE, False), (sessions.LONGEST, True)])
def test_sessions_end_by_themselves(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, passed: timedelta, busy: bool
) -> None:
    _, text = key_of(client)
    assert sign_in(client, text) == 200
    begun = datetime.now(UTC)

    class Later(datetime):
        ahead = timedelta(0)

        @classmethod
        def now(cls, tz=None):  # type: ignore[no-untyped-def]
            return begun + cls.ahead

    monkeypatch.setattr(sessions, "datetime", Later)
    step = timedelta(minutes=50)
    while busy and Later.ahead + step < passed:
        Later.ahead += step  # a request every 50 minutes keeps it from being idle
        assert client.get("/v1/whoami").status_code == 200
    Later.ahead = passed + timedelta(seconds=1)
    assert client.get("/v1/whoami").status_code == 401


def test_with_tls_the_cookie_is_for_tls_alone(settings: ServerSettings) -> None:
    behind = replace(settings, public=True, origins=("https://faces.example/",))
    with TestClient(create_app(behind), base_url="https://faces.example") as client:
        _, text = key_of(client)
        answer = client.post(
            "/session", json={"key": text}, headers={"Origin": "https://faces.example"}
        )
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-faceflow=")
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert client.get("/v1/whoami").status_code == 200
