"""Trust on first use: the sha256 of a download nobody published a sum of, kept and compared.

``cache_dir()/pins/FILE.sha256`` holds one line as ``sha256sum`` writes and checks it.
"""

from __future__ import annotations

import re
from pathlib import Path

from faceflow.errors import WeightsError
from faceflow.system.caches import cache_dir
from faceflow.system.files import atomic_write


def pin_path(file_name: str) -> Path:
    """Where the sum of that file is kept."""
    return cache_dir() / "pins" / f"{file_name}.sha256"


def pinned(file_name: str) -> str | None:
    """The sum that file had when it was first used; None before.

    Raises:
        WeightsError: the note is there and cannot be read.
    """
    path = pin_path(file_name)
    try:
        words = path.read_text().split()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read", why=str(error)) from error
    if not words or not re.fullmatch(r"[0-9a-f]{64}", words[0]):
        raise WeightsError(
            f"{path} holds no sha256",
            todo="remove it, and the next download is trusted anew",
        )
    return words[0]


def require_pinned(file_name: str, sha256: str) -> None:
    """Refuse a file that is not the one first used; a file never used before passes.

    Raises:
        WeightsError: the sums differ; the error shows both.
    """
    expected = pinned(file_name)
    if expected is not None and sha256 != expected:
        raise WeightsError(
            f"{file_name} is not the file that was used here before",
            why=f"its sha256 is {sha256} instead of {expected}",
            todo="do not use it unless you know why it changed; if you do, remove "
            f"{pin_path(file_name)} and pull again",
        )


def pin(file_name: str, sha256: str) -> None:
    """Remember the sum of a file that was used; a sum that is there stays.

    Raises:
        WeightsError: the cache cannot be written.
    """
    path = pin_path(file_name)
    if path.exists():
        return
    try:
        with atomic_write(path, shared=True) as file:
            file.write(f"{sha256}  {file_name}\n".encode())
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be written",
            why=error.strerror or str(error),
            todo="make room, or set FACEFLOW_CACHE to a folder that can be written",
        ) from error
