"""The cache folder, and files that appear in it whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import platformdirs


def cache_dir() -> Path:
    """Folder of everything faceflow can fetch or build again; not created here.

    ``$FACEFLOW_CACHE`` when set, otherwise the platform's cache folder for ``faceflow``.
    """
    chosen = os.environ.get("FACEFLOW_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("faceflow", appauthor=False)


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Give a binary file that becomes ``path`` when the block ends well.

    The bytes go to a temporary file in the same folder (created when missing), reach the
    disk, and are renamed over ``path``: a reader sees the old file or the new one, never a
    part, and so does the next start after a power cut. On any failure ``path`` is as it was
    and nothing is left behind.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes it private; a cache may be shared
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # only POSIX lets a folder be opened and synced
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
