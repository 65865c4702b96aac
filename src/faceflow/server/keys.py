"""Keys: ``ffk_<id>_<secret>``, shown once, kept as a hash, with one role and some galleries."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from faceflow.errors import InputError
from faceflow.server.problems import not_found
from faceflow.server.roles import Permission, Role, allows
from faceflow.server.state import State

_KEY = re.compile(r"ffk_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
# Compared with when there is no such key, so that an unknown id takes as long as a wrong secret.
_NOBODY = hashlib.sha256(b"").digest()


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the service knows it; the secret itself is kept nowhere.

    Attributes:
        id: names the key in lists, audit and logs.
        name: whose it is, for people.
        role: what it may do.
        galleries: names of the galleries it may do it in; None: all.
        created, expires, revoked: UTC.
    """

    id: str
    name: str
    role: Role
    galleries: frozenset[str] | None
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    def valid(self, now: datetime) -> bool:
        """Whether the key opens anything now."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def may(self, permission: Permission, gallery: str | None = None) -> bool:
        """Whether it allows something, in a gallery or, without one, in general."""
        if not allows(self.role, permission):
            return False
        return gallery is None or self.galleries is None or gallery in self.galleries


class Keys:
    """The keys of a service."""

    def __init__(self, state: State) -> None:
        self._state = state

    def create(
        self,
        name: str,
        role: Role,
        galleries: Sequence[str] | None = None,
        expires: datetime | None = None,
    ) -> tuple[Key, str]:
        """Make a key.

        Returns:
            The key, and its text, which cannot be had again.

        Raises:
            InputError: no name, or an end in the past.
        """
        now = datetime.now(UTC)
        if not name.strip() or len(name) > 200:
            raise InputError("a key needs a name of at most 200 characters")
        if expires is not None and expires <= now:
            raise InputError("the key would have expired already")
        identity = "".join(secrets.choice(_ALPHABET) for _ in range(12))
        secret = secrets.token_urlsafe(32)
        bound = None if galleries is None else frozenset(galleries)
        key = Key(identity, name.strip(), role, bound, now, expires)
        with self._state.writing() as connection:
            connection.execute(
                "INSERT INTO key VALUES(?, ?, ?, ?, ?, ?, ?, NULL)",
                (
                    key.id,
                    key.name,
                    key.role.value,
                    None if bound is None else json.dumps(sorted(bound)),
                    _hash(secret),
                    now.isoformat(),
                    None if expires is None else expires.isoformat(),
                ),
            )
        return key, f"ffk_{identity}_{secret}"

    def check(self, text: str) -> Key | None:
        """The key that a text is, or None; takes the same time whichever part is wrong."""
        match = _KEY.fullmatch(text)
        identity, secret = match.groups() if match else ("", "")
        with self._state.reading() as connection:
            row = connection.execute("SELECT * FROM key WHERE id = ?", (identity,)).fetchone()
        kept = _NOBODY if row is None else bytes(row["hash"])
        right = hmac.compare_digest(kept, _hash(secret))
        if row is None or not right or match is None:
            return None
        key = _key(row)
        return key if key.valid(datetime.now(UTC)) else None

    def find(self, identity: str) -> Key | None:
        """The key with this id, whether or not it still opens anything."""
        with self._state.reading() as connection:
            row = connection.execute("SELECT * FROM key WHERE id = ?", (identity,)).fetchone()
        return None if row is None else _key(row)

    def all(self) -> list[Key]:
        """Every key, by age."""
        with self._state.reading() as connection:
            rows = connection.execute("SELECT * FROM key ORDER BY created, id").fetchall()
        return [_key(row) for row in rows]

    def revoke(self, identity: str) -> Key:
        """Close a key for good. No such key: a problem."""
        now = datetime.now(UTC).isoformat()
        with self._state.writing() as connection:
            connection.execute(
                "UPDATE key SET revoked = coalesce(revoked, ?) WHERE id = ?", (now, identity)
            )
            row = connection.execute("SELECT * FROM key WHERE id = ?", (identity,)).fetchone()
        if row is None:
            raise not_found(f"key {identity!r}")
        return _key(row)


def _hash(secret: str) -> bytes:
    # The secret is 256 random bits: nothing to guess, so nothing that a slow hash would add.
    return hashlib.sha256(secret.encode()).digest()


def _key(row: sqlite3.Row) -> Key:
    get = row.__getitem__
    return Key(
        id=get("id"),
        name=get("name"),
        role=Role(get("role")),
        galleries=None if get("galleries") is None else frozenset(json.loads(get("galleries"))),
        created=datetime.fromisoformat(get("created")),
        expires=None if get("expires") is None else datetime.fromisoformat(get("expires")),
        revoked=None if get("revoked") is None else datetime.fromisoformat(get("revoked")),
    )
