"""A service of its own for every test, with people made of squares."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason='the service needs: pip install "faceflow[server]"')

from fastapi.testclient import TestClient

from faceflow.server.app import create_app
from faceflow.server.decoding import Decoders
from faceflow.server.roles import Role
from faceflow.server.service import Service
from faceflow.server.settings import Limits, ServerSettings
from faceflow.server.state import State

sys.path.insert(0, str(Path(__file__).parent))

import squares
from processes import Process


@dataclass
class Asker:
    """Asks a service as one key."""

    http: TestClient
    key: str
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {"Authorization": f"Bearer {self.key}"}

    def __call__(
        self,
        method: str,
        path: str,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        **sent: Any,
    ) -> Any:
        """The answer's JSON (or bytes), of that status; every error must be a problem document."""
        answer = self.http.request(method, path, headers=self.headers | (headers or {}), **sent)
        assert answer.status_code == status, (answer.status_code, answer.text[:500])
        kind = answer.headers.get("content-type", "")
        if status >= 400:
            assert kind == "application/problem+json"
            problem = answer.json()
            assert problem["type"].startswith("urn:faceflow:problem:")
            assert problem["status"] == status
            assert problem["request_id"] == answer.headers["x-request-id"]
            return problem
        if status != 204 and kind.startswith("application/json"):
            return answer.json()
        return answer.content

    def add(self, person: int, photo: int = 0, *, gallery: str = "a", status: int = 201) -> Any:
        """Enroll a photo of a person, who is called "Person N"."""
        return self(
            "POST",
            f"/v1/galleries/{gallery}/faces",
            status=status,
            files={"image": (f"{person}-{photo}.png", squares.photo((person, photo)))},
            data={"person": f"Person {person}"},
        )

    def search(
        self,
        *faces: tuple[int, int],
        gallery: str = "a",
        status: int = 201,
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> Any:
        """Search for somebody in a photo."""
        return self(
            "POST",
            f"/v1/galleries/{gallery}/searches",
            status=status,
            headers=headers,
            files={"image": ("query.png", squares.photo(*faces))},
            data=fields,
        )


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    (tmp_path / "galleries").mkdir()
    limits = Limits(per_minute=100_000)
    return ServerSettings(galleries=tmp_path / "galleries", limits=limits)


@pytest.fixture
def state(settings: ServerSettings) -> Iterator[State]:
    state = State(settings.state_path)
    yield state
    state.close()


class _Lasting(Decoders):
    """Processes that outlive the services of single tests: starting one takes a quarter second."""

    def close(self) -> None:
        self.deaths = 0


@pytest.fixture(scope="session")
def decoders() -> Iterator[Decoders]:
    made = _Lasting(2, 30, 2**28)
    yield made
    Decoders.close(made)


@pytest.fixture
def http(settings: ServerSettings, decoders: Decoders) -> Iterator[TestClient]:
    """A service that knows the network "blocks", with nobody in it."""
    app = create_app(settings, squares.analyzer)
    app.state.service.engine.decoders = decoders
    with TestClient(app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def service(http: TestClient) -> Service:
    found = http.app.state.service  # type: ignore[attr-defined]
    assert isinstance(found, Service)
    return found


@pytest.fixture
def asker(http: TestClient, service: Service) -> Callable[..., Asker]:
    """Make a key of a role, bound to galleries or not, and ask with it."""

    def make(role: Role = Role.ADMINISTRATOR, galleries: list[str] | None = None) -> Asker:
        return Asker(http, service.keys.create(f"a {role}", role, galleries)[1])

    return make


@pytest.fixture
def admin(asker: Callable[..., Asker], service: Service) -> Asker:
    """An administrator of a service with an empty gallery "a"."""
    service.engine.create("a", "blocks", None)
    return asker()


@pytest.fixture
def people(admin: Asker, service: Service) -> Asker:
    """An administrator of a service with four people, two photos each."""
    service.gallery("a").enroll(squares.enrolments(people=4, photos=2))
    return admin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "galleries").mkdir()
    return tmp_path / "galleries"


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def make(slow: float = 0.0, **settings: Any) -> Process:
        started.append(Process(folder, slow, **settings))
        return started[-1]

    yield make
    for one in started:
        one.kill()
