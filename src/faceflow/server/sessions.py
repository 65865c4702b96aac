"""Sessions: a browser signs in with a key and from then on shows a cookie in its place.

The cookie is HttpOnly (no script reads it) and SameSite=Strict (no other site sends it). What it
holds is random; the state file keeps its hash and which key it stands for, so a stolen state file
opens nothing, and a key that is revoked or expires ends its sessions at once.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from faceflow.server.keys import Key, Keys
from faceflow.server.settings import ServerSettings, is_loopback
from faceflow.server.state import PARTS, State

LONGEST = timedelta(hours=12)
"""A session ends so long after signing in."""
IDLE = timedelta(hours=1)
"""Or so long after its last request."""
_NOTED = timedelta(minutes=1)  # how finely the last request is kept: a write costs an fsync
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing, so that another site gains nothing by sending them."""

SCHEMA = (
    "CREATE TABLE session(hash BLOB PRIMARY KEY, key TEXT NOT NULL REFERENCES key(id),"
    " created TEXT NOT NULL, used TEXT NOT NULL)",
)
PARTS.append(SCHEMA)


class Sessions:
    """The sessions of a service."""

    def __init__(self, state: State, keys: Keys) -> None:
        self._state, self._keys = state, keys

    def begin(self, key: Key) -> str:
        """Start a session of a key; returns the text of its cookie."""
        text = secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        with self._state.writing() as connection:
            connection.execute(
                "DELETE FROM session WHERE created <= ? OR used <= ?",
                ((now - LONGEST).isoformat(), (now - IDLE).isoformat()),
            )
            connection.execute(
                "INSERT INTO session VALUES(?, ?, ?, ?)",
                (_hash(text), key.id, now.isoformat(), now.isoformat()),
            )
        return text

    def key(self, text: str) -> Key | None:
        """The key a cookie stands for, or None when the session or the key has ended."""
        now = datetime.now(UTC)
        with self._state.reading() as connection:
            row = connection.execute(
                "SELECT key, created, used FROM session WHERE hash = ?", (_hash(text),)
            ).fetchone()
        if row is None:
            return None
        created, used = (datetime.fromisoformat(row[name]) for name in ("created", "used"))
        if now - created >= LONGEST or now - used >= IDLE:
            return None
        key = self._keys.find(row["key"])
        if key is None or not key.valid(now):
            return None
        if now - used >= _NOTED:
            with self._state.writing() as connection:
                connection.execute(
                    "UPDATE session SET used = ? WHERE hash = ?", (now.isoformat(), _hash(text))
                )
        return key

    def end(self, text: str) -> None:
        """Sign out; a session that is not there is no error."""
        with self._state.writing() as connection:
            connection.execute("DELETE FROM session WHERE hash = ?", (_hash(text),))


def is_encrypted(settings: ServerSettings) -> bool:
    """Whether browsers reach the service over TLS: its own, or that of a proxy in front."""
    return settings.certificate is not None or settings.public


def cookie_name(settings: ServerSettings) -> str:
    """The cookie's name; with TLS one that browsers take from this host and path alone."""
    return "__Host-faceflow" if is_encrypted(settings) else "faceflow"


def origins(settings: ServerSettings, port: int) -> frozenset[str]:
    """The addresses a browser may show for the pages; ``port`` is the one listened at."""
    if settings.origins:
        return frozenset(origin.rstrip("/") for origin in settings.origins)
    scheme = "https" if is_encrypted(settings) else "http"
    names = {settings.host}
    if is_loopback(settings.host):
        names |= {"127.0.0.1", "localhost", "[::1]"}
    return frozenset(f"{scheme}://{name}:{port}" for name in names)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
