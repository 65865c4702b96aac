"""A gallery in a PostgreSQL server, served: all that a file's can do but be removed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import squares
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from conftest import Asker
from faceflow.cli.app import app as commands
from faceflow.errors import InputError
from faceflow.gallery import Gallery, GalleryLocation
from faceflow.server.app import create_app
from faceflow.server.decoding import Decoders
from faceflow.server.roles import Role
from faceflow.server.settings import Limits, ServerSettings
from local_postgres import CannotStart, LocalPostgres

Ask = Any
G = "/v1/galleries/served"


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    pytest.importorskip("psycopg", reason="psycopg is not installed (faceflow[postgres])")
    try:
        server = LocalPostgres(settings=["fsync = off"])
    except CannotStart as error:
        pytest.skip(str(error))
    yield server
    server.remove()


@pytest.fixture(scope="module")
def ask(
    postgres: LocalPostgres, decoders: Decoders, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asker]:
    """An administrator of a service of one schema, with four people, two photos each."""
    url = postgres.url("served", over_network=True)
    spec = squares.Blocks().spec
    with Gallery.create(
        url,
        network_name="blocks",
        digest=squares.DIGEST,
        embedding_size=spec.embedding_size,
        grid=spec.grid,
        channels=spec.channels,
        detector="squares",
    ) as gallery:
        gallery.enroll(squares.enrolments(people=4, photos=2))
    state = tmp_path_factory.mktemp("state") / "x.state"
    limits = Limits(per_minute=100_000)
    settings = ServerSettings(GalleryLocation(url), state=state, limits=limits)
    application = create_app(settings, squares.analyzer)
    service = application.state.service
    service.engine.decoders = decoders
    with TestClient(
        application, base_url="http://127.0.0.1:8765", raise_server_exceptions=False
    ) as http:
        yield Asker(http, service.keys.create("x", Role.ADMINISTRATOR)[1])


def test_people_faces_searches_and_jobs(ask: Asker) -> None:
    (shown,) = ask("GET", "/v1/galleries")["items"]
    assert (shown["name"], shown["people"], shown["faces"]) == ("served", 4, 8)
    found = ask.search((2, 9), gallery="served", threshold="0.5")
    assert (found["status"], found["candidates"][0]["person"]["name"]) == ("identified", "Person 2")
    best = found["candidates"][0]
    path = f"{G}/searches/{found['id']}/explanation?face_id={best['face_id']}"
    why = ask("GET", path)
    assert why["score"] == pytest.approx(best["score"], abs=2e-6)
    mark = ask("POST", f"{G}/marks", status=201, json={"search": found["id"], "person": "p3"})
    assert ask.search((2, 9), gallery="served")["rejected"][0]["mark_id"] == mark["id"]
    ask.add(7, gallery="served")
    (seven,) = ask("GET", f"{G}/people?q=7")["items"]
    ask("PATCH", f"{G}/people/{seven['id']}", json={"name": "Seven"})
    merge = ask("POST", f"{G}/people/{seven['id']}/merge", status=201, json={"into": "p1"})
    assert len(ask("GET", f"{G}/faces?person=p1")["items"]) == 3
    assert ask("POST", f"{G}/merges/{merge['id']}/split")["split"]["name"] == "Seven"
    files = [("images", (f"J{n}/x.png", squares.photo((20 + n, 0)))) for n in range(3)]
    job = ask("POST", f"{G}/jobs", status=202, files=files)["id"]
    for _ in range(400):
        done = ask("GET", f"{G}/jobs/{job}")
        if done["finished"]:
            break
        time.sleep(0.05)
    assert (done["status"], done["added"]) == ("done", 3)
    ask("PATCH", G, json={"min_quality": "fair"})
    assert ask("GET", G)["min_quality"] == "fair"
    ask("PATCH", G, json={"min_quality": "poor"})


def test_a_deletion_says_how_it_is_done_there(ask: Asker, postgres: LocalPostgres) -> None:
    marker = "Xyzzy99173"
    files = {"image": (f"{marker}.png", squares.photo((9, 0)))}
    face = ask("POST", f"{G}/faces", status=201, files=files, data={"person": marker})["face"]
    told = ask("DELETE", f"{G}/people/{face['person']['id']}")
    assert told["erased"] is True
    assert "VACUUM FULL" in told["method"]
    assert "write-ahead log" in told["remains"]
    assert not any(marker.encode() in path.read_bytes() for path in postgres.files())
    refused = ask("DELETE", G, status=409)
    assert "kept in a database" in refused["detail"]
    ask("POST", "/v1/galleries", status=409, json={"name": "more"})
    ask("GET", "/v1/galleries/other", status=404)


def test_the_database_goes_away_and_comes_back(ask: Asker, postgres: LocalPostgres) -> None:
    """A client is told to come back, and not where the database is."""
    before = ask("GET", G)
    postgres.kill()
    try:
        for _ in range(2):
            problem = ask("GET", G, status=503)
            assert problem["type"].endswith(":unavailable")
            search = ask.search((1, 0), gallery="served", status=503)
            text = f"{problem} {search}"
            for secret in (postgres.password, str(postgres.port), "127.0.0.1", "postgresql://"):
                assert secret not in text.replace(problem["request_id"], "").replace(
                    search["request_id"], ""
                )
        ask("GET", "/readyz")
    finally:
        postgres.start()
    assert ask("GET", G) == before
    assert ask.search((1, 0), gallery="served")["candidates"][0]["person"]["name"] == "Person 1"


def test_what_is_needed_to_serve_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed (faceflow[postgres])")
    monkeypatch.chdir(tmp_path)
    url = "postgresql://ada:secret-word@127.0.0.1:9/people"
    with pytest.raises(InputError, match="--state"):
        ServerSettings(GalleryLocation(url))
    ran = CliRunner().invoke(commands, ["serve", "--gallery", url, "--state", "x.state"])
    assert ran.exit_code == 5
    assert "secret-word" not in ran.stdout + ran.stderr
    assert "127.0.0.1:9" in ran.stderr  # whoever starts it may know
    assert not list(tmp_path.iterdir())
