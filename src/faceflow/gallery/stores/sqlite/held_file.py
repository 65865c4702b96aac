"""The gallery's file seen beside SQLite: one descriptor per file and process, never closed early.

POSIX drops all locks that a process holds on a file as soon as the process closes *any*
descriptor of it (https://www.sqlite.org/howtocorrupt.html, 2.2). Opening a gallery's file just to
look at its first bytes would so take away SQLite's lock from every connection of this process;
another process that closes the gallery then takes itself for the last, removes the log that is
still in use, and what is written afterwards is acknowledged and lost. So all looking goes through
one descriptor per file, which stays open as long as this process has a connection to it.
"""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path

from faceflow.errors import GalleryError

Identity = tuple[int, int]
"""Device and inode."""

_lock = threading.Lock()
_held: dict[Identity, HeldFile] = {}


@dataclass(eq=False)
class HeldFile:
    """An open file; made by :func:`hold`, and let go as often as it was held."""

    identity: Identity
    _descriptors: list[int]
    _users: int = 0
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def read(self, start: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``start`` on."""
        with self._reading:
            os.lseek(self._descriptors[0], start, os.SEEK_SET)
            return os.read(self._descriptors[0], size)

    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._descriptors[0]).st_size

    def names(self) -> int:
        """How many names the file has (hard links)."""
        return os.fstat(self._descriptors[0]).st_nlink

    def release(self) -> None:
        """Give up one :func:`hold`; call it after the connection is closed."""
        with _lock:
            self._users -= 1
            if self._users == 0:
                del _held[self.identity]
                for descriptor in self._descriptors:
                    os.close(descriptor)


def hold(path: Path) -> HeldFile:
    """Open a regular file without waiting for anything, or join those who have it open.

    Raises:
        GalleryError: it is no regular file (a folder, pipe, socket or device).
        OSError: missing or not readable.
    """
    with _lock:
        held = _held.get(identity(path))
        if held is None:
            # Opening a pipe or a terminal could wait, or take hold of it.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
            descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                os.close(descriptor)
                raise _not_a_file(path, found.st_mode)
            held = _held.get((found.st_dev, found.st_ino))
            if held is None:
                held = HeldFile((found.st_dev, found.st_ino), [descriptor])
                _held[held.identity] = held
            else:
                # It took the place of another file in this moment; closing would drop locks.
                held._descriptors.append(descriptor)
        held._users += 1
        return held


def identity(path: Path) -> Identity:
    """Which file a path leads to.

    Raises:
        GalleryError: it is no regular file.
        OSError: there is none.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise _not_a_file(path, found.st_mode)
    return found.st_dev, found.st_ino


def _not_a_file(path: Path, mode: int) -> GalleryError:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return GalleryError(
        f"{path} is {kinds.get(stat.S_IFMT(mode), 'no regular file')}, not a gallery file"
    )
