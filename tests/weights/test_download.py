"""Downloads from a server that stalls, truncates, lies or has no end."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from faceflow import weights
from faceflow.errors import WeightsError
from faceflow.weights import CheckpointFile, ModelFile, download, pins

SHAPES = {"conv.weight": (256, 300), "fc.bias": (7,)}
NAME = "net work.pt"


class Server(ThreadingHTTPServer):
    """Serves ``content``; a test changes how."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = b""
        self.length: Callable[[int], int] = lambda n: n  # what it claims of a body
        self.send: Callable[[bytes], bytes] = lambda body: body  # what it sends of it
        self.stalls = False
        self.chunked = False
        self.redirect = ""
        self.status = 0
        self.seen: list[str] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.seen.append(self.path)
        self.close_connection = True
        if server.status or server.redirect:
            self.send_response(server.status or 302)
            self.send_header("Location", server.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = server.content
        self.send_response(200)
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(server.length(len(body))))
        self.end_headers()
        sent = server.send(body)
        if server.chunked:
            self.wfile.write(f"{len(body):x}\r\n".encode() + sent)
            if len(sent) == len(body):
                self.wfile.write(b"\r\n0\r\n\r\n")
        else:
            self.wfile.write(sent)
        self.wfile.flush()
        if server.stalls:
            server.released.wait(10)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.lower().endswith("_proxy") or name == "FACEFLOW_MIRROR":
            monkeypatch.delenv(name)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 1.0)


@pytest.fixture
def checkpoint(torch_files: SimpleNamespace) -> Callable[[int], bytes]:
    def make(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        arrays = {name: rng.standard_normal(s).astype(np.float32) for name, s in SHAPES.items()}
        return torch_files.zip({k: torch_files.tensor(v, k) for k, v in arrays.items()})

    return make


@pytest.fixture
def model(server: Server, checkpoint: Callable[[int], bytes], cache: Path) -> ModelFile:
    server.content = checkpoint(0)
    source = CheckpointFile(
        NAME,
        0,
        "made for tests",
        where="here",
        url=f"{server.url}/files/{NAME.replace(' ', '%20')}",
    )
    return ModelFile(
        name="own",
        title="network own",
        kind="network",
        sources=(source,),
        licence=weights.Licence("MIT", "MIT", "nothing", "made for tests"),
        graphs=("own",),
        builder=1,
        build=lambda files: {"own": b"".join(t.tobytes() for t in files[NAME].values())},
        shapes=lambda: SHAPES,
    )


def graph(model: ModelFile) -> bytes:
    return weights.load_graphs(weights.resolved(model))["own"]


def expected(content: bytes) -> bytes:
    return b"".join(t.tobytes() for t in weights.read_checkpoint(content).values())


def fails(model: ModelFile, match: str) -> None:
    with pytest.raises(WeightsError, match=match):
        weights.pull(model)
    assert not weights.path(model).exists()


def test_a_download_becomes_a_model(model: ModelFile, server: Server, cache: Path) -> None:
    told: list[str] = []
    weights.pull(model, progress=told.append)
    assert graph(model) == expected(server.content)
    sha256 = hashlib.sha256(server.content).hexdigest()
    assert any(sha256 in line and "first seen" in line for line in told)
    assert pins.pin_path(NAME).read_text() == f"{sha256}  {NAME}\n"
    assert any("bytes" in line and "of" in line for line in told), "progress is told"
    assert {place.name for place in cache.iterdir()} == {"models", "pins"}, "nothing is kept twice"
    weights.pull(model)
    assert len(server.seen) == 1, "ready is left alone"


def test_a_stall_ends(model: ModelFile, server: Server, impatient: None) -> None:
    server.send, server.stalls = lambda body: body[:131_072], True
    fails(model, r"not a byte in 1 seconds, after 131,072.*run the same command again")
    server.released.set()
    server.send, server.stalls = lambda body: body, False
    weights.pull(model)
    assert graph(model) == expected(server.content)


def test_no_answer_at_all(model: ModelFile, impatient: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        source = replace(model.sources[0], url=url)
        fails(replace(model, sources=(source,)), r"not a byte in 1 seconds, after 0")


def test_nobody_there(model: ModelFile) -> None:
    source = replace(model.sources[0], url="http://127.0.0.1:9/none")
    fails(replace(model, sources=(source,)), "could not be fetched.*refused")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_truncated_body_is_noticed(model: ModelFile, server: Server, chunked: bool) -> None:
    server.send, server.chunked = lambda body: body[: len(body) // 2], chunked
    fails(model, "the connection broke after")
    server.send = lambda body: body
    weights.pull(model)
    assert graph(model) == expected(server.content)


def test_a_length_that_is_too_long(model: ModelFile, server: Server) -> None:
    server.length = lambda n: n + 50
    fails(model, "the connection broke after")


@pytest.mark.parametrize("says", [True, False], ids=["announced", "silent"])
def test_a_body_without_end(
    model: ModelFile, server: Server, monkeypatch: pytest.MonkeyPatch, says: bool
) -> None:
    monkeypatch.setattr("faceflow.weights.pulling.MAX_BYTES", 200_000)
    server.chunked = not says
    fails(model, r"the server sends more than 200\.0 KB")
    known = replace(model.sources[0], size=80_000)
    fails(replace(model, sources=(known,)), r"more than 160\.0 KB")


def test_a_length_that_is_too_short(model: ModelFile, server: Server, cache: Path) -> None:
    server.length = lambda n: n - 50
    fails(model, "is damaged")
    assert pins.pinned(NAME) is None, "what did not work is not trusted"
    server.length = lambda n: n
    weights.pull(model)
    assert graph(model) == expected(server.content)


def test_a_changed_file_is_refused_with_both_sums(
    model: ModelFile, server: Server, checkpoint: Callable[[int], bytes], cache: Path
) -> None:
    weights.pull(model)
    first, before = hashlib.sha256(server.content).hexdigest(), graph(model)
    server.content = checkpoint(1)
    with pytest.raises(WeightsError) as caught:
        weights.pull(model, force=True)
    assert first in str(caught.value)
    assert hashlib.sha256(server.content).hexdigest() in str(caught.value)
    assert str(pins.pin_path(NAME)) in caught.value.todo
    assert graph(model) == before
    pins.pin_path(NAME).unlink()
    weights.pull(model, force=True)
    assert graph(model) == expected(server.content)


def test_a_pin_that_cannot_be_read(model: ModelFile, server: Server) -> None:
    pins.pin_path(NAME).parent.mkdir(parents=True)
    for content in (b"", b"abc", b"\xff\xfe"):
        pins.pin_path(NAME).write_bytes(content)
        fails(model, "holds no sha256|cannot be read")
    assert server.seen == [], "nothing is fetched that could not be compared"


@pytest.mark.parametrize("status", [404, 500, 403])
def test_an_error_of_the_server(model: ModelFile, server: Server, status: int) -> None:
    server.status = status
    fails(model, f"the server says {status}")


def test_redirects_are_followed_but_not_to_files(model: ModelFile, server: Server) -> None:
    with Server() as other:
        other.content = server.content
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.redirect = f"{other.url}/elsewhere"
        weights.pull(model)
        other.shutdown()
        thread.join()
    assert graph(model) == expected(server.content)
    server.redirect = "file:///etc/hostname"
    with pytest.raises(WeightsError, match="could not be fetched"):
        weights.pull(model, force=True)


def test_a_page_instead_of_the_file(model: ModelFile, server: Server, cache: Path) -> None:
    server.content = b"<html>please sign in</html>"
    fails(model, "not a PyTorch checkpoint")


def test_mirror(model: ModelFile, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEFLOW_MIRROR", f"{server.url}/mirror/")
    nowhere = replace(model.sources[0], url="https://127.0.0.1:9/none")
    weights.pull(replace(model, sources=(nowhere,)))
    assert server.seen == ["/mirror/net%20work.pt"]
    for wrong in ("ftp://here", "somewhere", "http://"):
        monkeypatch.setenv("FACEFLOW_MIRROR", wrong)
        with pytest.raises(WeightsError, match="which is no address"):
            weights.pull(model, force=True)
    monkeypatch.setenv("FACEFLOW_MIRROR", "http://me:secret@here")
    with pytest.raises(WeightsError, match="user name") as caught:
        weights.pull(model, force=True)
    assert "secret" not in str(caught.value)


def test_proxy(model: ModelFile, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    far = replace(model.sources[0], url="http://weights.invalid/own.pt")
    weights.pull(replace(model, sources=(far,)))
    assert server.seen == ["http://weights.invalid/own.pt"]


def test_https_never_becomes_http() -> None:
    answer = SimpleNamespace(is_redirect=True, url="https://a/x", headers={"location": "http://b"})
    with pytest.raises(download._Refused, match="unsafe http address"):
        download._require_safe(answer)
    for url, target in (
        ("https://a/x", "https://b"),
        ("https://a/x", "/y"),
        ("http://a", "http://b"),
    ):
        answer = SimpleNamespace(is_redirect=True, url=url, headers={"location": target})
        download._require_safe(answer)


def test_nothing_is_left_of_a_failure(
    model: ModelFile, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    fails(model, "cannot be written to")  # there is no such folder
    (tmp_path / "temporary").mkdir()
    server.send = lambda body: body[:90_000]
    fails(model, "broke")
    weights_of = model.sources[0]
    assert pins.pinned(weights_of.file_name) is None
    assert not list((tmp_path / "temporary").iterdir())
