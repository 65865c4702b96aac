"""The way to a PostgreSQL server: encrypted, and through a connection pooler."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faceflow.errors import GalleryError
from faceflow.gallery import Enrolment, Gallery
from local_postgres import LocalPostgres

Make = Callable[..., list[Enrolment]]
Create = Callable[..., Gallery]
_ASKS_FOR_TLS = (8).to_bytes(4) + (80877103).to_bytes(4)


class TlsServer:
    """A server that takes encrypted connections, in front of one that does not.

    What it says is PostgreSQL's own way to begin TLS; behind that bytes go both ways untouched.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.certificate = folder / "server.crt"
        key = folder / "server.key"
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        subprocess.run(
            [
                "openssl",
                *words.split(),
                *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
                *("-keyout", str(key), "-out", str(self.certificate)),
            ],
            check=True,
            capture_output=True,
        )
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.certificate, key)
        self._behind = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if client.recv(8, socket.MSG_WAITALL) != _ASKS_FOR_TLS:
                return
            client.sendall(b"S")
            with (
                self._tls.wrap_socket(client, server_side=True) as outer,
                socket.create_connection(("127.0.0.1", self._behind)) as inner,
                selectors.DefaultSelector() as ready,
            ):
                ready.register(outer, selectors.EVENT_READ, inner)
                ready.register(inner, selectors.EVENT_READ, outer)
                while True:
                    for key, _ in ready.select():
                        source: socket.socket = key.fileobj  # type: ignore[assignment]
                        content = source.recv(65536)
                        while isinstance(source, ssl.SSLSocket) and source.pending():
                            content += source.recv(source.pending())
                        if not content:
                            return
                        key.data.sendall(content)


@pytest.fixture
def tls(postgres: LocalPostgres, tmp_path: Path) -> Iterator[TlsServer]:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    server = TlsServer(tmp_path, postgres.port)
    yield server
    server.close()


def through(postgres: LocalPostgres, port: int, host: str, options: str) -> str:
    url = postgres.new_url(over_network=True)
    return url.replace(f"127.0.0.1:{postgres.port}", f"{host}:{port}") + options


def test_an_encrypted_way_to_the_right_server(
    postgres: LocalPostgres, tls: TlsServer, create: Create, enrolments: Make
) -> None:
    url = through(
        postgres,
        tls.port,
        "localhost",
        f"&hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={tls.certificate}",
    )
    with create(url) as gallery:
        gallery.enroll(enrolments(5))
        assert "sslmode=verify-full" in gallery.location
        assert postgres.password not in gallery.location
    with Gallery.open(url, readonly=True) as gallery:
        assert len(gallery) == 5


@pytest.mark.parametrize(
    ("host", "options", "words"),
    [
        ("localhost", "&sslmode=verify-full&sslrootcert=/nowhere/root.crt", "root.crt"),
        ("localhost", "&sslmode=verify-full&sslrootcert={other}", "certificate"),
        ("127.0.0.1", "&sslmode=verify-full&sslrootcert={own}", "does not match"),
    ],
)
def test_another_server_is_refused(
    postgres: LocalPostgres,
    tls: TlsServer,
    tmp_path: Path,
    create: Create,
    host: str,
    options: str,
    words: str,
) -> None:
    (tmp_path / "other").mkdir()
    other = TlsServer(tmp_path / "other", 1)
    other.close()
    told = options.format(own=tls.certificate, other=other.certificate)
    url = through(postgres, tls.port, host, f"&hostaddr=127.0.0.1{told}")
    with pytest.raises(GalleryError, match="who it should be") as raised:
        create(url)
    assert words in str(raised.value)
    assert "sslrootcert" in raised.value.todo
    assert postgres.password not in str(raised.value)


def test_a_server_without_tls_is_refused_where_tls_is_asked_for(
    postgres: LocalPostgres, create: Create
) -> None:
    url = postgres.new_url(over_network=True) + "&sslmode=require"
    with pytest.raises(GalleryError, match=r"who it should be.*SSL"):
        create(url)


@pytest.fixture
def pooler(postgres: LocalPostgres) -> Iterator[int]:
    """PgBouncer in session mode; its port."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("PgBouncer is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = postgres.folder / "pgbouncer.ini"
    users = postgres.folder / "users.txt"
    users.write_text(f'"postgres" "{postgres.password}"\n')
    settings.write_text(
        "[databases]\n"
        f"* = host={postgres.folder} port={postgres.port}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = plain\nauth_file = {users}\npool_mode = session\n"
        f"default_pool_size = 8\nlogfile = {postgres.folder}/pgbouncer.log\n"
    )
    surroundings = postgres.surroundings()
    for path in (settings, users):
        if "user" in surroundings:
            os.chown(path, surroundings["user"], surroundings["group"])
    process = subprocess.Popen(
        [program, "-q", str(settings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **surroundings,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, (postgres.folder / "pgbouncer.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def test_a_pooler_that_gives_each_connection_one_of_its_own(
    postgres: LocalPostgres, pooler: int, create: Create, enrolments: Make
) -> None:
    url = through(postgres, pooler, "127.0.0.1", "")
    items = enrolments(12)
    with create(url) as gallery:
        gallery.enroll(items)
        with gallery.snapshot() as view:  # beside the writer's connection, and of another state
            gallery.remove_person(items[0].person)
            assert len(view) == 12
    with Gallery.open(url) as gallery:
        # Erased at the opening at the latest, which VACUUM on a connection of its own does.
        assert gallery.remove_person(items[1].person).erased
        found = gallery.search(items[2].features, 3)
        assert gallery.person_of(found.face_ids[0])[0] == items[2].person
        gallery.check()
