"""Downloads from a server that stalls, truncates, lies, changes its mind, or knows no ranges."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
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
        self.etag = '"one"'
        self.ranges = True
        self.honest_range = True  # whether If-Range is looked at
        self.length: Callable[[int], int] = lambda n: n  # what it claims of a body
        self.send: Callable[[bytes], bytes] = lambda body: body  # what it sends of it
        self.stalls = False
        self.chunked = False
        self.redirect = ""
        self.status = 0
        self.seen: list[tuple[str, str | None]] = []
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
        server, wanted = self.server, self.headers["Range"]
        server.seen.append((self.path, wanted))
        self.close_connection = True
        if server.status or server.redirect:
            self.send_response(server.status or 302)
            self.send_header("Location", server.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, begin = server.content, 0
        if self.headers["If-Range"] != server.etag and server.honest_range:
            wanted = None
        if wanted and server.ranges:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        body = body[begin:]
        if server.etag:
            self.send_header("ETag", server.etag)
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


def part(cache: Path) -> Path:
    return cache / "downloads" / f"{NAME}.part"


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
    assert not (cache / "downloads").exists(), "nothing is kept twice"
    weights.pull(model)
    assert len(server.seen) == 1, "ready is left alone"


def test_a_stall_ends_and_the_next_call_goes_on(
    model: ModelFile, server: Server, cache: Path, impatient: None
) -> None:
    server.send, server.stalls = lambda body: body[:100_000], True
    fails(model, r"not a byte in 1 seconds, after 100,000.*run the same command again")
    assert part(cache).read_bytes() == server.content[:100_000]
    server.released.set()
    server.send, server.stalls = lambda body: body, False
    weights.pull(model)
    assert server.seen[1][1] == "bytes=100000-"
    assert graph(model) == expected(server.content)


def test_no_answer_at_all(model: ModelFile, impatient: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        source = replace(model.sources[0], url=url)
        fails(replace(model, sources=(source,)), r"no answer in 1 seconds")


def test_nobody_there(model: ModelFile) -> None:
    source = replace(model.sources[0], url="http://127.0.0.1:9/none")
    fails(replace(model, sources=(source,)), "could not be fetched.*refused")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_truncated_body_is_noticed_and_resumed(
    model: ModelFile, server: Server, cache: Path, chunked: bool
) -> None:
    server.send, server.chunked = lambda body: body[: len(body) // 2], chunked
    fails(model, "the connection (ended|broke) after")
    fails(model, "the connection (ended|broke) after")
    assert part(cache).stat().st_size > len(server.content) * 0.7, "both calls got somewhere"
    server.send = lambda body: body
    weights.pull(model)
    assert graph(model) == expected(server.content)


def test_a_length_that_is_too_long(model: ModelFile, server: Server) -> None:
    server.length = lambda n: n + 50
    fails(model, "the connection ended after")
    weights.pull(model)  # the server says itself that there is no more
    assert server.seen[1][1] == f"bytes={len(server.content)}-"
    assert graph(model) == expected(server.content)


def test_a_length_that_is_too_short(model: ModelFile, server: Server, cache: Path) -> None:
    server.length = lambda n: n - 50
    fails(model, "is damaged")
    assert not part(cache).exists(), "going on with it could not help"
    assert pins.pinned(NAME) is None, "what did not work is not trusted"
    server.length = lambda n: n
    weights.pull(model)
    assert graph(model) == expected(server.content)


def test_a_server_without_ranges(model: ModelFile, server: Server) -> None:
    server.send = lambda body: body[:90_000]
    fails(model, "ended after 90,000")
    server.ranges, server.send = False, lambda body: body
    weights.pull(model)
    assert graph(model) == expected(server.content)


def test_content_that_changed_between_two_calls(
    model: ModelFile, server: Server, checkpoint: Callable[[int], bytes]
) -> None:
    server.send = lambda body: body[:90_000]
    fails(model, "ended after")
    server.content, server.etag, server.send = checkpoint(1), '"two"', lambda body: body
    weights.pull(model)
    assert graph(model) == expected(checkpoint(1))


@pytest.mark.parametrize("etag", ['"two"', ""])
def test_a_server_that_joins_two_versions(
    model: ModelFile, server: Server, checkpoint: Callable[[int], bytes], etag: str
) -> None:
    server.send = lambda body: body[:90_000]
    fails(model, "ended after")
    server.content, server.etag, server.honest_range = checkpoint(1), etag, False
    server.send = lambda body: body
    # Without a name for the version, only the checksums in the checkpoint's archive show it.
    fails(model, "another version" if etag else "is damaged")
    weights.pull(model)
    assert graph(model) == expected(checkpoint(1))


def test_without_a_validator_it_starts_afresh(model: ModelFile, server: Server) -> None:
    server.etag, server.send = "", lambda body: body[:90_000]
    fails(model, "ended after 90,000")
    server.send = lambda body: body
    weights.pull(model)
    assert [wanted for _, wanted in server.seen] == [None, None]
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
    assert not part(cache).exists()
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
    assert not part(cache).exists()


def test_mirror(model: ModelFile, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEFLOW_MIRROR", f"{server.url}/mirror/")
    nowhere = replace(model.sources[0], url="https://127.0.0.1:9/none")
    weights.pull(replace(model, sources=(nowhere,)))
    assert server.seen == [("/mirror/net%20work.pt", None)]
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
    assert server.seen == [("http://weights.invalid/own.pt", None)]


def test_one_process_at_a_time(model: ModelFile, server: Server, cache: Path) -> None:
    if os.name != "posix":
        pytest.skip("file locks are POSIX here")
    part(cache).parent.mkdir(parents=True)
    hold = (
        "import fcntl, sys; file = open(sys.argv[1], 'ab'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, part(cache)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        fails(model, "another process is fetching")
        holder.communicate()
    weights.pull(model)


def test_a_download_that_was_whole_is_not_repeated(
    model: ModelFile, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process was killed between the download and the import."""
    download.download(model.sources[0].url, NAME)
    weights.pull(model)
    assert len(server.seen) == 1
    assert graph(model) == expected(server.content)


def test_a_folder_that_cannot_be_written(model: ModelFile, cache: Path) -> None:
    cache.mkdir()
    (cache / "downloads").write_bytes(b"in the way")
    fails(model, "cannot be written")
