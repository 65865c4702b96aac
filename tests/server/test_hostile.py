"""What strangers may send: bombs, cut forms, wrong kinds, photos that end their reader."""

from __future__ import annotations

import asyncio
import io
import logging
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import squares
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from faceflow.errors import ImageError
from faceflow.server import decoding
from faceflow.server.app import create_app
from faceflow.server.decoding import Decoders
from faceflow.server.engine import Engine
from faceflow.server.roles import Role
from faceflow.server.service import Service
from faceflow.server.settings import Limits, ServerSettings

Ask = Any
SEARCHES = "/v1/galleries/a/searches"


def bomb(side: int = 60_000) -> bytes:
    """A PNG of some kilobytes that says it has billions of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def send(ask: Ask, data: bytes, status: int = 422) -> Any:
    return ask("POST", SEARCHES, status=status, files={"image": ("x", data)})


HOSTILE = {
    "bomb": bomb(),
    "nothing": b"",
    "text": b"not a photo at all " * 100,
    "cut": squares.photo((1, 0))[:200],
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n" * 10,
    "url": b"http://127.0.0.1:1/x.png",
    "path": b"/etc/passwd",
    "zip": b"PK\x03\x04" + bytes(1000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_photo_is_refused(name: str, people: Ask, service: Service) -> None:
    problem = send(people, HOSTILE[name])
    assert "Traceback" not in repr(problem)
    assert "/etc/passwd" not in repr(problem)
    people.search((1, 0))  # and the service goes on
    assert service.engine.decoders.deaths == 0


@pytest.fixture
def fatal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Decoders]:
    """Decoders whose processes meet a decoder that does something fatal at the photo b"fatal"."""

    def make(does: str, seconds: float = 30.0) -> Decoders:
        boot = "import os, signal, time\n" + decoding._BOOT.replace(
            "decoding.serve", "serve"
        ).replace(
            "from faceflow.server import decoding",
            "from faceflow.server import decoding\n"
            "real = decoding.load_image\n"
            "def load(data):\n"
            f"    if data == b'fatal': {does}\n"
            "    return real(data)\n"
            "decoding.load_image = load\n"
            "serve = decoding.serve",
        )
        monkeypatch.setattr(decoding, "_BOOT", boot)
        return Decoders(1, seconds, 2**28)

    return make


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os._exit(3)", "failed"),
        ("os.write(1, b'\\\\xff' * 64)", "sense"),
        ("bytearray(2**34)", "memory"),
    ],
)
def test_a_photo_that_ends_its_reader_is_refused_and_the_next_is_read(
    does: str, why: str, fatal: Callable[..., Decoders]
) -> None:
    decoders = fatal(does)
    try:
        with pytest.raises(ImageError, match=why):
            decoders.decode(b"fatal")
        assert decoders.decode(squares.photo((1, 0))).shape == (136, 136, 3)
        assert decoders.deaths == (0 if why == "memory" else 1)
    finally:
        decoders.close()


@pytest.mark.parametrize(
    ("does", "why"),
    [("time.sleep(600)", "too long"), ("[None for _ in iter(int, 1)]", "processor|too long")],
)
def test_a_photo_that_holds_its_reader_up_is_given_up(
    does: str, why: str, fatal: Callable[..., Decoders], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoders = fatal(does, seconds=1.0)
    try:
        decoders.decode(squares.photo((1, 0)))  # imports are over
        with pytest.raises(ImageError, match=why):
            decoders.decode(b"fatal")
        assert decoders.decode(squares.photo((1, 0))).shape == (136, 136, 3)
    finally:
        decoders.close()


def test_decoding_is_load_image_and_leaves_nothing(tmp_path: Path) -> None:
    decoders = Decoders(2, 30, 2**28)
    try:
        for kind in ("PNG", "BMP", "TIFF"):
            data = squares.photo((1, 0), kind=kind)
            np.testing.assert_array_equal(
                decoders.decode(data), np.asarray(Image.open(io.BytesIO(data)))
            )
        with pytest.raises(ImageError, match="empty"):
            decoders.decode(b"")
    finally:
        decoders.close()
    small = Decoders(1, 30, 1000)
    try:
        with pytest.raises(ImageError, match="too large"):
            small.decode(squares.photo((1, 0)))
    finally:
        small.close()


# Forms


def test_limits_on_bytes_photos_and_fields(settings: ServerSettings) -> None:
    limits = Limits(photo_bytes=3000, request_bytes=10_000, photos=2, per_minute=10**6)
    app = create_app(replace(settings, limits=limits), squares.analyzer)
    key = app.state.service.keys.create("x", Role.ADMINISTRATOR)[1]
    headers = {"Authorization": f"Bearer {key}"}
    with TestClient(app, raise_server_exceptions=False) as http:
        http.post("/v1/galleries", headers=headers, json={"name": "a", "network": "blocks"})

        def post(path: str, files: list[Any], data: dict[str, str] | None = None) -> int:
            answer = http.post(f"/v1/galleries/a/{path}", headers=headers, files=files, data=data)
            assert answer.headers["content-type"] == "application/problem+json"
            return answer.status_code

        assert post("searches", [("image", ("x", bytes(3001)))]) == 413
        assert post("searches", [("image", ("x", bytes(20_000)))]) == 413
        assert post("searches", [("image", ("x", b"a")), ("image", ("y", b"b"))]) == 422
        assert post("jobs", [("images", ("x", b"a"))] * 3) == 422
        fields = {f"f{n}": "x" for n in range(101)}
        assert post("searches", [("image", ("x", b"a"))], fields) == 422
        # Without a length, cut while it streams.
        body, kind = squares.multipart([("image", "x", bytes(9_000))])
        sent = 0

        def chunks() -> Any:
            nonlocal sent
            for start in range(0, len(body), 500):
                sent += 1
                yield body[start : start + 500]

        answer = http.post("/v1/galleries/a/searches", headers=headers | kind, content=chunks())
        assert answer.status_code == 413
        long = http.post("/v1/galleries", headers=headers, content=b"{" + b" " * 20_000)
        assert long.status_code == 413


FORM = squares.multipart([("image", "x.png", squares.photo((1, 0)))], {"k": "3"})


@pytest.mark.parametrize(
    "kind", ["", "application/json", "multipart/form-data", "text/plain; boundary=x"]
)
def test_other_kinds_are_refused(kind: str, people: Ask) -> None:
    headers = {"Content-Type": kind}
    people("POST", SEARCHES, status=415, content=FORM[0], headers=headers)


@pytest.mark.parametrize("keep", [0, 1, 20, 100, 300, -4, -10])
def test_cut_forms_are_refused(keep: int, people: Ask) -> None:
    people("POST", SEARCHES, status=400, content=FORM[0][:keep], headers=FORM[1])


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_spoilt_forms_are_answered_with_problems(people: Ask, data: st.DataObject) -> None:
    """No bytes of a form make the service fail."""
    body = bytearray(FORM[0])
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, min(len(body) - 1, 400)))
        body[place : place + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    answer = people.http.post(SEARCHES, content=bytes(body), headers=people.headers | FORM[1])
    assert answer.status_code in (201, 400, 413, 422)


def test_a_form_that_never_ends(people: Ask, service: Service) -> None:
    """A body that stops coming, as a pipe nobody writes into, is given up in time."""
    app: FastAPI = people.http.app
    limits = replace(service.settings.limits, upload_seconds=0.2)
    service.limits = lambda: limits
    sent: list[Any] = []

    async def receive() -> Any:
        if not sent:
            sent.append(1)
            return {"type": "http.request", "body": FORM[0][:200], "more_body": True}
        await asyncio.sleep(30)

    answers: list[Any] = []

    async def take(message: Any) -> None:
        answers.append(message)

    headers = people.headers | FORM[1]
    scope = {
        "type": "http",
        "method": "POST",
        "path": SEARCHES,
        "raw_path": SEARCHES.encode(),
        "query_string": b"",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 1),
        "client": ("127.0.0.1", 2),
    }
    asyncio.run(app(scope, receive, take))
    assert answers[0]["status"] == 408


# Overload


def test_too_many_are_told_when_to_come_back(settings: ServerSettings) -> None:
    limits = Limits(searches=1, queue=1, per_minute=10**6)
    app = create_app(replace(settings, limits=limits), squares.analyzer)
    computing = app.state.service.engine.computing

    async def crowd() -> list[Any]:
        import threading

        release = threading.Event()
        running = [asyncio.create_task(computing.run(release.wait, 10)) for _ in range(5)]
        await asyncio.sleep(0.05)
        release.set()
        return await asyncio.gather(*running, return_exceptions=True)

    with TestClient(app):
        found = asyncio.run(crowd())
        assert found[:2] == [True, True]
        for refused in found[2:]:
            assert refused.status == 429
            assert int(refused.headers["Retry-After"]) >= 1
        assert computing.refused == 3
        assert asyncio.run(computing.run(int, "7")) == 7


def test_a_key_that_asks_too_often(settings: ServerSettings) -> None:
    app = create_app(replace(settings, limits=Limits(per_minute=5)), squares.analyzer)
    with TestClient(app, raise_server_exceptions=False) as http:
        keys = [app.state.service.keys.create("x", Role.SEARCHER)[1] for _ in range(2)]
        first, second = ({"Authorization": f"Bearer {key}"} for key in keys)
        codes = [http.get("/v1/galleries", headers=first).status_code for _ in range(7)]
        assert codes == [200] * 5 + [429] * 2
        answer = http.get("/v1/galleries", headers=first)
        assert 1 <= int(answer.headers["retry-after"]) <= 12
        assert http.get("/v1/galleries", headers=second).status_code == 200


# Logs and answers


def test_nothing_that_was_sent_is_logged(
    people: Ask, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    marker = "Xyzzy7531"
    people("PATCH", "/v1/galleries/a/people/p1", json={"name": marker})
    people("GET", f"/v1/galleries/a/people?q={marker}")
    people("GET", f"/v1/{marker}", status=404)
    people("GET", f"/v1/galleries/{marker}", status=404)
    people("PATCH", "/v1/galleries/a/people/p1", status=422, json={marker: marker})
    files = {"image": (f"{marker}.png", marker.encode() * 10)}
    for path in ("searches", "faces"):
        people("POST", f"/v1/galleries/a/{path}", status=422, files=files, data={"person": marker})
    headers = {"Idempotency-Key": marker, "User-Agent": marker, "Referer": marker}
    people.search((1, 0), headers=headers)
    out, err = capfd.readouterr()
    ours = [r.getMessage() for r in caplog.records if r.name.startswith(("faceflow", "uvicorn"))]
    assert any("/v1/galleries/{gallery}/people" in line for line in ours)
    assert marker not in "\n".join(ours) + out + err
    assert people.key.rsplit("_", 1)[1] not in "\n".join(ours)


def test_a_bug_tells_nobody_anything(people: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Xyzzy secret")

    monkeypatch.setattr(Engine, "analyze", fails)
    problem = people.search((1, 0), status=500)
    assert problem["type"].endswith("bug")
    assert "Xyzzy" not in repr(problem)


def test_every_answer_has_the_headers(people: Ask) -> None:
    for path in ("/livez", "/v1/galleries", "/nothing", "/docs", "/v1/openapi.json"):
        answer = people.http.get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert len(answer.headers["x-request-id"]) == 16


def test_metrics_name_nobody(people: Ask) -> None:
    people("PATCH", "/v1/galleries/a/people/p1", json={"name": "Xyzzy"})
    people("GET", "/v1/galleries/a/people?q=Xyzzy")
    text = people("GET", "/metrics").decode()
    assert 'route="/v1/galleries/{gallery}/people",status="200"' in text
    for secret in ("Xyzzy", "p1", '"a"', "galleries/a"):
        assert secret not in text
    for line in text.splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2


def test_no_pictures_of_nobody_are_left_in_the_state(people: Ask, service: Service) -> None:
    """A search that was deleted is nowhere in the file."""
    found = people.search((1, 7))
    with service.state.reading() as connection:
        row = connection.execute("SELECT crop, features FROM search").fetchone()
    marks = [bytes(row["crop"])[60:120], bytes(row["features"])[-200:-100]]
    assert all(mark in _everything(service) for mark in marks)
    people("DELETE", f"{SEARCHES}/{found['id']}", status=204)
    assert not any(mark in _everything(service) for mark in marks)


def _everything(service: Service) -> bytes:
    path = service.state.path
    files = [path, Path(f"{path}-wal")]
    return b"".join(file.read_bytes() for file in files if file.exists())
