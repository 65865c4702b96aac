"""``identify``, ``verify`` and ``enroll`` with ``--server`` say what they say here."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import squares
from processes import Process
from typer.testing import CliRunner

from faceflow import models
from faceflow.cli.app import app
from faceflow.gallery import Gallery
from faceflow.server.client import Client, ServiceError
from faceflow.server.roles import Role


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """With one gallery "a" of four people, two photos each."""
    folder = tmp_path_factory.mktemp("remote") / "galleries"
    folder.mkdir()
    started = Process(folder)
    try:
        with started.client() as client:
            client.create_gallery("a", network="blocks")
        with Gallery.open(folder / "a.faceflow") as gallery:
            gallery.enroll(squares.enrolments(people=4, photos=2))
        yield started
    finally:
        started.kill()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "one.png").write_bytes(squares.photo((2, 7)))
    (folder / "two.png").write_bytes(squares.photo((1, 5), (3, 4)))
    return folder


Run = Callable[..., Any]


@pytest.fixture
def run(service: Process, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command here, with squares for networks and the key in the environment."""
    monkeypatch.setattr(models, "open_analyzer", lambda *_, **__: squares.analyzer())
    monkeypatch.setenv("FACEFLOW_KEY", service.key)

    def call(*words: object, code: int = 0) -> Any:
        ran = CliRunner().invoke(app, [str(word) for word in words])
        assert ran.exit_code == code, (ran.stdout, ran.stderr)
        assert "Traceback" not in ran.stdout + ran.stderr
        assert service.key not in ran.stdout + ran.stderr
        return ran

    return call


def lines(ran: Any) -> list[Any]:
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.parametrize(
    "more",
    [[], ["--face", "all"], ["-t", "0.5", "--top", "2"], ["--alpha", "0.2", "-k", "3"]],
    ids=" ".join,
)
def test_identify_says_what_it_says_here(
    more: list[str], run: Run, service: Process, photos: Path
) -> None:
    local = lines(run("identify", photos, "-g", service.folder / "a.faceflow", "--json", *more))
    ran = run("identify", photos, "--server", service.url, "-g", "a", "--json", *more)
    remote = lines(ran)
    assert len(remote) == len(local) == (3 if "all" in more else 2)
    for one in remote:
        assert one.pop("search").startswith("s_")
    assert remote == local
    assert local[0]["matches"][0]["person"] == "Person 2"


def test_the_table_is_the_same_too(run: Run, service: Process, photos: Path) -> None:
    words = ("identify", photos, "-t", "0.5")
    here = run(*words, "-g", service.folder / "a.faceflow")
    there = run(*words, "--server", service.url, "-g", "a.faceflow")
    assert there.stdout == here.stdout
    assert there.stderr == here.stderr


def test_verify_and_enroll(run: Run, service: Process, photos: Path, tmp_path: Path) -> None:
    pair = (photos / "one.png", photos / "two.png")
    here = json.loads(run("verify", *pair, "--json", "-t", "0.9").stdout)
    ran = run("verify", *pair, "--server", service.url, "-g", "a", "--json", "-t", "0.9")
    there = json.loads(ran.stdout)
    assert there.keys() == here.keys()
    assert there["same"] is False
    assert there["cosine"] == pytest.approx(here["cosine"])
    with service.client() as client:
        client.create_gallery("new", network="blocks")
    for number, person in enumerate(["Ada", "Bo", "Cy", 'Jo "X"']):
        (tmp_path / "people" / person).mkdir(parents=True)
        for shot in range(2):
            path = tmp_path / "people" / person / f"{shot}.png"
            path.write_bytes(squares.photo((number, shot)))
    (tmp_path / "people" / "Ada" / "broken.png").write_bytes(b"not a picture")
    (tmp_path / "people" / "Bo" / "crowd.png").write_bytes(squares.photo((1, 9), (2, 9)))
    (tmp_path / "people" / "Cy" / "empty.png").write_bytes(squares.photo())
    words = ("enroll", tmp_path / "people", "--server", service.url, "-g", "new", "--json")
    told = json.loads(run(*words).stdout)
    assert (told["photos"], told["added"], told["duplicates"]) == (11, 7, 0)
    reasons = {Path(one["photo"]).name: one["reason"] for one in told["skipped"]}
    assert reasons == {"broken.png": "unreadable", "empty.png": "no face", "0.png": "failed"} | {
        "1.png": "failed"
    }
    assert [one["taken"] for one in told["several_faces"]] == ["largest"]
    again = json.loads(run(*words).stdout)
    assert (again["added"], again["duplicates"]) == (0, 7)
    with service.client() as client:
        assert [one.name for one in client.people("new")] == ["Ada", "Bo", "Cy"]
        assert {one.source for one in client.faces("new")} >= {"0.png", "1.png", "crowd.png"}


def test_photos_that_fail_stop_nothing(run: Run, service: Process, photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG and no more")
    (photos / "nobody.png").write_bytes(squares.photo())
    ran = run("identify", photos, "--server", service.url, "-g", "a", "--json", code=1)
    assert [one["status"] for one in lines(ran)] == ["error", "no_face", "ranked", "ranked"]
    missing = photos / "none.png"
    ran = run("identify", missing, "--server", service.url, "-g", "a", "--json", code=3)
    assert lines(ran)[0]["status"] == "error"


def test_an_unsure_face_by_the_gallerys_setting(run: Run, service: Process, tmp_path: Path) -> None:
    """Twenty pixels are a poor face; here and there nobody is named."""
    small = tmp_path / "small.png"
    small.write_bytes(squares.photo((1, 0), side=16))
    place = service.folder / "a.faceflow"
    there = ("--server", service.url, "-g", "a")
    with service.client() as client:
        client.change_gallery("a", min_quality="fair")
        try:
            for words in (("-g", place), there):
                (told,) = lines(run("identify", small, *words, "-t", "-1", "--json"))
                assert (told["status"], told["person"]) == ("unsure", None)
                words = (*words, "-t", "-1", "--json", "--min-quality", "poor")
                (told,) = lines(run("identify", small, *words))
                assert told["status"] == "identified"
        finally:
            client.change_gallery("a", min_quality="poor")
        (told,) = lines(run("identify", small, *there, "-t", "-1", "--json"))
        assert told["status"] == "identified"


def test_the_key_from_a_file_and_none(
    run: Run, service: Process, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACEFLOW_KEY")
    words = ("identify", photos / "one.png", "--server", service.url, "-g", "a", "--json")
    assert "wants a key" in run(*words, code=2).stderr
    (tmp_path / "key").write_text(f"{service.key}\n")
    assert lines(run(*words, "--key-file", tmp_path / "key"))[0]["status"] == "ranked"
    monkeypatch.setenv("FACEFLOW_KEY", "ffk_wrong")
    assert "valid key" in run(*words, code=1).stderr
    monkeypatch.setenv("FACEFLOW_KEY", "two words")
    run(*words, code=2)


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["-g", "nobodys"], 1, "no gallery"),
        (["-g", "/etc/people.faceflow"], 2, "no name of a service's gallery"),
        (["-g", "a", "--explain", "out"], 2, "not offered"),
        (["-g", "a", "--grid", "2x2"], 2, "not offered"),
        (["-g", "a", "--best-faces", "2"], 2, "not offered"),
        (["-g", "a", "--alpha", "7"], 1, "alpha"),
        (["-g", "a", "--server", "ftp://x"], 2, "no address"),
        (["-g", "a", "--server", "http://127.0.0.1:1"], 1, "cannot be asked"),
        (["-g", "a", "--server", "http://:::"], 2, "no address"),
        (["-g", "a", "--authority", "nothing.pem"], 2, "no certificate"),
    ],
)
def test_what_cannot_be_asked(
    more: list[str], code: int, said: str, run: Run, service: Process, photos: Path
) -> None:
    words = ["identify", photos / "one.png", "--server", service.url, *more, "--json"]
    assert said in run(*words, code=code).stderr


def test_a_key_that_may_not(
    run: Run, service: Process, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faceflow.server.keys import Keys
    from faceflow.server.state import State

    state = State(service.folder / "faceflow-server.state")
    try:
        monkeypatch.setenv("FACEFLOW_KEY", Keys(state).create("x", Role.AUDITOR)[1])
    finally:
        state.close()
    words = ("--server", service.url, "-g", "a")
    assert "may not do this" in run("identify", photos, *words, code=1).stderr


class _Stub(BaseHTTPRequestHandler):
    """Is busy twice, then answers; over TLS with a certificate of nobody."""

    asked: list[float]

    def do_GET(self) -> None:
        self.asked.append(0)
        busy = len(self.asked) < 3
        body = b"" if busy else b'{"items": [], "next": null}'
        self.send_response(429 if busy else 200)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def stub() -> Iterator[HTTPServer]:
    _Stub.asked = []
    server = HTTPServer(("127.0.0.1", 0), _Stub)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """For localhost, from nobody; and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    made = folder / "cert.pem", folder / "key.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    subprocess.run(
        [
            *("openssl", *words.split(), "-addext", "subjectAltName=DNS:localhost"),
            *("-out", str(made[0]), "-keyout", str(made[1])),
        ],
        check=True,
        capture_output=True,
    )
    return made


def test_the_client_waits_for_a_busy_service(
    stub: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("faceflow.server.client.time.sleep", waited.append)
    url = f"http://127.0.0.1:{stub.server_port}"
    with Client(url, "ffk_x", patience=1.5) as client, pytest.raises(ServiceError) as told:
        list(client.galleries())
    assert (told.value.status, told.value.retry_after, waited) == (429, 1.0, [1.0])
    with Client(url, "ffk_x", patience=10) as client:
        assert list(client.galleries()) == []


def test_a_certificate_of_nobody_is_refused(
    stub: HTTPServer, certificate: tuple[Path, Path]
) -> None:
    """And taken where its authority is named; a name that it is not for is not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    stub.socket = context.wrap_socket(stub.socket, server_side=True)
    _Stub.asked = [0, 0, 0]
    for host, authority in (("localhost", None), ("127.0.0.1", certificate[0])):
        url = f"https://{host}:{stub.server_port}"
        with (
            Client(url, "ffk_x", certificate=authority) as client,
            pytest.raises(ServiceError, match="certificate that can be trusted") as told,
        ):
            list(client.galleries())
        assert told.value.status == 0
    assert _Stub.asked == [0, 0, 0]  # nothing was sent, the key neither
    url = f"https://localhost:{stub.server_port}"
    with Client(url, "ffk_x", certificate=certificate[0]) as client:
        assert list(client.galleries()) == []
