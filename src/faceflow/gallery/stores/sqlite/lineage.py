"""Whether a gallery's file and the log beside it are two parts of one state.

SQLite replays a log into whatever file lies beside it. When a backup is copied over a gallery
whose last writer was killed, the pages of one state are mixed into another, and nobody can undo
it. So every transaction leaves a link in the file: a random token for the state it makes, and the
token of the state it started from. A log holds a chain of such links. It belongs to a file whose
own token (as it lies on the disk, the log aside) is one of the chain, or the state that the chain
starts from. The page with the link is one that SQLite never moves or splits, and both file and log
can be read without asking SQLite (https://www.sqlite.org/fileformat2.html, "The Write-Ahead Log").
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from faceflow.errors import GalleryError
from faceflow.gallery.stores.sqlite.held_file import HeldFile

TABLE = "CREATE TABLE lineage(id INTEGER PRIMARY KEY CHECK(id = 1), link BLOB NOT NULL)"
"""One row: the token of the state before the last transaction, then that of the state after."""

_TOKEN = 16
# A row of that table as it lies in its page: length, row id, length of its head, null, 32 bytes.
_ROW = bytes((3 + 2 * _TOKEN, 1, 3, 0, 12 + 2 * 2 * _TOKEN))
_LOG_HEAD, _FRAME_HEAD = 32, 24
_ATTEMPTS = 6
_PAUSE = 0.02


class _Log(NamedTuple):
    """The links in a log: which log it is, the token it starts from, and those that follow."""

    salt: bytes
    start: bytes | None
    tokens: frozenset[bytes]


def begin(connection: sqlite3.Connection) -> None:
    """Make the table and its first link, inside a transaction."""
    connection.execute(TABLE)
    link = bytes(_TOKEN) + os.urandom(_TOKEN)
    connection.execute("INSERT INTO lineage VALUES(1, ?)", (link,))


def advance(connection: sqlite3.Connection) -> None:
    """Add a link for the state that this transaction makes."""
    link = _current(connection) + os.urandom(_TOKEN)
    connection.execute("UPDATE lineage SET link = ?", (link,))


def root_page(connection: sqlite3.Connection) -> int | None:
    """The page of the table, or None in a gallery from before there was one."""
    row = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'lineage'").fetchone()
    return row and int(row[0])


def require_own_log(path: Path, log: Path, file: HeldFile, page_size: int) -> None:
    """Refuse a file and a log that do not belong together, before SQLite mixes them.

    Others may be writing meanwhile: a log that is begun anew while we look is looked at again.

    Raises:
        GalleryError: the log belongs to another state of the file, or to another gallery.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE)
        if not _size(log):
            return
        root = _root_page_without_log(path)
        if root is None:
            return
        before = _salt(log)
        token = _token(file.read((root - 1) * page_size, page_size))
        chain = _read_log(log, root, page_size)
        if chain is None or token is None or chain.start is None:
            return
        if token == chain.start or token in chain.tokens:
            return
        if before != chain.salt:
            continue
    raise GalleryError(
        f"{path.name} and its log {log.name} do not belong together",
        why="the log is of another state of the file: a copy was put in its place, or the "
        "gallery was replaced while it was open",
        todo=f"put the former file back to keep what is in the log; to go on with this file "
        f"without it, delete {log.name} and {path.name}-shm",
    )


class Watch:
    """Notices, before each change is acknowledged, that the file was replaced or overwritten."""

    def __init__(self, path: Path, log: Path, file: HeldFile, page_size: int) -> None:
        self._path = path
        self._log = log
        self._file = file
        self._page_size = page_size
        self._known: bytes | None = None
        self._root: int | None = None

    def require_same_content(self, connection: sqlite3.Connection) -> None:
        """Inside a transaction, so that nobody else writes: what is on the disk is our state.

        Raises:
            GalleryError: another program wrote over the file.
        """
        self._root = self._root or root_page(connection)
        if self._root is None:
            return
        token = _token(self._file.read((self._root - 1) * self._page_size, self._page_size))
        if token is None or token != self._known:
            chain = _read_log(self._log, self._root, self._page_size)
            known = {_current(connection)}
            if chain is not None:
                known |= chain.tokens | {chain.start or b""}
            if token not in known:
                raise GalleryError(
                    f"{self._path} was overwritten by another program while it was open",
                    why="nothing more can be written to what it was",
                    todo="close everything that uses the gallery, open it again and repeat the "
                    "last step",
                )
            self._known = token


def token(connection: sqlite3.Connection) -> bytes:
    """The token of the state that a connection sees."""
    return _current(connection)


def _current(connection: sqlite3.Connection) -> bytes:
    row = connection.execute("SELECT link FROM lineage").fetchone()
    link = row and row[0]
    if not isinstance(link, bytes) or len(link) != 2 * _TOKEN:
        raise sqlite3.DatabaseError("the lineage is not what was written")
    return link[_TOKEN:]


def _token(page: bytes) -> bytes | None:
    link = _link(page)
    return link and link[_TOKEN:]


def _link(page: bytes) -> bytes | None:
    """The one row of a leaf page (type 13)."""
    if len(page) < 64 or page[0] != 13 or page[3:5] != b"\0\1":
        return None
    at = int.from_bytes(page[8:10], "big")
    row = page[at : at + len(_ROW) + 2 * _TOKEN]
    if not row.startswith(_ROW) or len(row) != len(_ROW) + 2 * _TOKEN:
        return None
    return row[len(_ROW) :]


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def _salt(log: Path) -> bytes:
    try:
        with log.open("rb") as file:
            return file.read(_LOG_HEAD)[16:24]
    except FileNotFoundError:
        return b""


def _read_log(log: Path, root: int, page_size: int) -> _Log | None:
    """The links in a log, or None without a valid log."""
    try:
        content = np.fromfile(log, np.uint8)
    except FileNotFoundError:
        return None
    if len(content) < _LOG_HEAD:
        return None
    head = content[:_LOG_HEAD].tobytes()
    if int.from_bytes(head[8:12], "big") not in (page_size, page_size % 65536):
        return None
    count = (len(content) - _LOG_HEAD) // (_FRAME_HEAD + page_size)
    frames = content[_LOG_HEAD : _LOG_HEAD + count * (_FRAME_HEAD + page_size)]
    frames = frames.reshape(count, _FRAME_HEAD + page_size)
    salt = np.frombuffer(head[16:24], np.uint8)
    # Frames behind the first one with another salt are left of an older log.
    other = np.flatnonzero((frames[:, 8:16] != salt).any(axis=1))
    frames = frames[: other[0] if len(other) else count]
    wanted = np.frombuffer(root.to_bytes(4, "big"), np.uint8)
    links = [
        link
        for frame in frames[(frames[:, :4] == wanted).all(axis=1)]
        if (link := _link(frame[_FRAME_HEAD:].tobytes())) is not None
    ]
    start = links[0][:_TOKEN] if links else None
    return _Log(head[16:24], start, frozenset(link[_TOKEN:] for link in links))


def _root_page_without_log(path: Path) -> int | None:
    """Where the file itself, its log aside, has the table; None if it cannot be read."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        return root_page(connection)
    except sqlite3.Error:
        # Half of a checkpoint, which the log completes; or damage that will be found later.
        return None
    finally:
        connection.close()
