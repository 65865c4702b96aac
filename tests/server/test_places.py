"""A folder of galleries, one file, one schema: what each is called, and who else may be there."""

from __future__ import annotations

from pathlib import Path

import pytest
import squares
from fastapi.testclient import TestClient

from conftest import Asker
from faceflow.gallery import Gallery, GalleryLocation
from faceflow.server.app import create_app
from faceflow.server.decoding import Decoders
from faceflow.server.places import Folder, OneFile, OneSchema, places_of
from faceflow.server.roles import Role
from faceflow.server.settings import Limits, ServerSettings


def make(path: Path) -> None:
    spec = squares.Blocks().spec
    Gallery.create(
        path,
        network_name="blocks",
        digest=squares.DIGEST,
        embedding_size=spec.embedding_size,
        grid=spec.grid,
        channels=spec.channels,
        detector="squares",
    ).close()


def test_a_folder(tmp_path: Path) -> None:
    make(tmp_path / "b.faceflow")
    (tmp_path / "a.faceflow").touch()
    (tmp_path / "no name.faceflow").touch()
    (tmp_path / "c.faceflow").mkdir()
    found = places_of(tmp_path)
    assert isinstance(found, Folder)
    assert found.names() == ["a", "b"]
    before = found.mark("b")
    assert before is not None
    for other in ("c.faceflow", "../b", "", "no name", "d"):
        assert found.mark(other) is None
    found.remove("b")
    assert found.mark("b") is None
    assert found.without_place(f"{tmp_path}/b.faceflow is in use") == "b.faceflow is in use"


def test_a_schema_and_nothing_of_its_address() -> None:
    url = "postgresql://ada:secret@db.example:5/people?schema=_staff_1"
    found = places_of(GalleryLocation(url))
    assert isinstance(found, OneSchema)
    assert found.names() == ["staff_1"]
    assert found.mark("staff_1") is not None
    assert found.mark("people") is None
    shown = str(GalleryLocation(url))
    assert found.without_place(f"{shown} is in use, {url}") == "the gallery is in use, " + (
        found.without_place(url)
    )
    assert "secret" not in found.without_place(url)


def test_one_file_served(tmp_path: Path, decoders: Decoders) -> None:
    """It makes no others; deleting it leaves a service with nothing, and the certificate."""
    make(tmp_path / "people.faceflow")
    make(tmp_path / "others.faceflow")
    settings = ServerSettings(tmp_path / "people.faceflow", limits=Limits(per_minute=10**5))
    assert isinstance(places_of(settings.galleries), OneFile)
    assert settings.state_path == tmp_path / "people.faceflow.state"
    app = create_app(settings, squares.analyzer)
    app.state.service.engine.decoders = decoders
    with TestClient(app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False) as http:
        ask = Asker(http, app.state.service.keys.create("x", Role.ADMINISTRATOR)[1])
        assert [one["name"] for one in ask("GET", "/v1/galleries")["items"]] == ["people"]
        ask("GET", "/v1/galleries/others", status=404)
        ask.add(1, gallery="people")
        assert ask.search((1, 5), gallery="people")["candidates"][0]["person"]["id"] == "p1"
        ask("POST", "/v1/galleries", status=409, json={"name": "more"})
        told = ask("DELETE", "/v1/galleries/people")
        assert (told["what"], told["faces"], told["erased"]) == ("gallery", 1, False)
        assert ask("GET", "/v1/galleries")["items"] == []
        ask("GET", "/v1/galleries/people", status=404)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "others.faceflow",
        "people.faceflow.state",
    ]


def test_messages_do_not_say_where_things_lie(
    people: Asker, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(str(settings.galleries)) / "a.faceflow"
    place.write_bytes(b"damaged" * 1000)
    problem = people("GET", "/v1/galleries/a/people", status=409)
    assert str(settings.galleries) not in str(problem)
