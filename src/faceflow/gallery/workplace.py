"""Hidden folders in which galleries and exports are built, and the sweeping of abandoned ones.

What is built holds faces and names. A process that is killed cannot clean up, so that whoever next
opens, imports or exports a gallery in the same folder does it. A folder in use is told from an
abandoned one by a lock on a file in it, which the system drops with the process; where locks say
nothing (another computer on a network drive), only what nobody has touched for a day is swept.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import stat
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"\.faceflow-[0-9a-f]{32}")
# What faceflow 0.1 left before there were such folders.
_FORMER_NAME = re.compile(r"\..+\.[0-9a-f]{32}\.(new|old|import)(-wal|-shm)?", re.DOTALL)
_LOCK = "lock"
_PUT_ASIDE = "former"
# Behind the content: Windows forbids others to read what is locked.
_LOCKED_BYTE = 2**20
_OLD = 24 * 3600.0


class Workplace:
    """One hidden folder, empty but for the lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, name: str) -> Path:
        """A path in the folder."""
        return self.folder / name

    def put_aside(self, path: Path) -> Path:
        """Move a folder here that is being replaced; it comes back if nothing takes its place."""
        former = self.file(_PUT_ASIDE)
        path.rename(former)
        return former


@contextlib.contextmanager
def workplace(target: Path) -> Iterator[Workplace]:
    """A hidden folder beside ``target``, for building it; removed with all its content at the end.

    Raises:
        OSError: it cannot be made.
    """
    sweep(target.parent)
    folder = target.parent / f".faceflow-{uuid.uuid4().hex}"
    folder.mkdir(mode=0o700)
    descriptor = None
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        about = {"host": socket.gethostname(), "target": target.name}
        # Locked before it says whose it is: an empty file is not swept, however old its lock.
        _lock(descriptor)
        os.write(descriptor, json.dumps(about).encode())
        yield Workplace(folder)
    finally:
        _restore(folder, target)
        try:
            _clear(folder)
        finally:
            if descriptor is not None:
                os.close(descriptor)
        _clear(folder)  # Windows keeps what is open


def sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder; never raises, never waits."""
    try:
        names = [found.name for found in folder.iterdir() if found.name.startswith(".")]
    except OSError:
        return
    for name in names:
        found = folder / name
        with contextlib.suppress(OSError, ValueError, RecursionError):
            if _NAME.fullmatch(name):
                _sweep_workplace(found)
            elif _FORMER_NAME.fullmatch(name) and _untouched(found):
                if found.is_dir() and not found.is_symlink():
                    shutil.rmtree(found, ignore_errors=True)
                else:
                    found.unlink()


def _sweep_workplace(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        return
    lock = folder / _LOCK
    try:
        flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(lock, os.O_RDWR | flags)
    except FileNotFoundError:
        # Made in this moment, or killed in that moment.
        if _untouched(folder):
            _clear(folder)
        return
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not _lock(descriptor):
            return
        about = json.loads(os.read(descriptor, 4096) or b"{}")
        about = about if isinstance(about, dict) else {}
        if about.get("host") != socket.gethostname() and not _untouched(folder):
            return
        target = about.get("target")
        if isinstance(target, str) and Path(target).name == target:
            _restore(folder, folder.parent / target)
        _clear(folder)
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    """Remove a folder, the lock last: whoever is killed here leaves it to be swept at once."""
    with contextlib.suppress(OSError):
        for found in folder.iterdir():
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found, ignore_errors=True)
            elif found.name != _LOCK:
                found.unlink()
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()


def _restore(folder: Path, target: Path) -> None:
    """Give back its name to what was put aside, unless something else has it by now."""
    former = folder / _PUT_ASIDE
    with contextlib.suppress(OSError):
        if former.is_dir() and not os.path.lexists(target):
            former.rename(target)


def _untouched(path: Path) -> bool:
    """Whether nothing in a folder, or a file, was changed for a day."""
    within = path.iterdir() if path.is_dir() and not path.is_symlink() else ()
    newest: float = max(found.lstat().st_mtime for found in (path, *within))
    return time.time() - newest > _OLD


def _lock(descriptor: int) -> bool:
    """Take the lock of a file, if nobody has it and the system knows locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
