"""The cache folder, and results kept in folders under keys that cannot go stale.

A kept result is found again by a key, a digest of everything that it depends on: the format it is
kept in, the inputs, and **the source of the code that made it**. So neither another release nor a
change while developing ever reads what other code has made; what is old is just not found.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Generic, TypeVar

import platformdirs

from faceflow.system.files import atomic_write

_log = logging.getLogger(__name__)
_CODE = (".py", ".so", ".pyd")  # the compiled kernel too
T = TypeVar("T")


def cache_dir() -> Path:
    """Folder of everything faceflow can fetch or build again; not created here.

    ``$FACEFLOW_CACHE`` when set, otherwise the platform's cache folder for ``faceflow``.
    """
    chosen = os.environ.get("FACEFLOW_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("faceflow", appauthor=False)


def new_key(kind: str, *code: ModuleType) -> Any:
    """A sha256 to go on with; its ``hexdigest()`` names a result.

    Args:
        kind: what is kept and in which format, e.g. "ranking block 3"; raise the number when
            the format changes.
        code: modules and packages whose results are kept; all of faceflow when none is named.
            Name some where a result is dear and depends on little.
    """
    import faceflow

    sources = [source_digest(module) for module in code or (faceflow,)]
    return hashlib.sha256("\0".join([kind, *sources, ""]).encode())


@cache
def source_digest(module: ModuleType) -> str:
    """Hex sha256 of a module's file, or of all files of a package, with their names."""
    file = Path(str(module.__file__))
    root = file.parent
    files = [file] if file.name != "__init__.py" else sorted(root.rglob("*"))
    digest = hashlib.sha256()
    for path in files:
        if path.suffix in _CODE:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(root).as_posix()}\0{content}\0".encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class KeyedFolder(Generic[T]):
    """Results in a folder, a file each.

    Several processes may use it at once: a file appears whole or not at all, and two that make
    the same result write the same.

    Attributes:
        folder: made when the first result is kept.
        suffix: of the files, e.g. ".npz".
        read: a file's result; raises what it likes when the file is damaged.
        write: puts a result into a file.
        shared: whether others may read the files, as the process's file mode mask lets them; what
            is kept about people is for the owner alone.
    """

    folder: Path
    suffix: str
    read: Callable[[BinaryIO], T]
    write: Callable[[BinaryIO, T], None]
    shared: bool = False

    def load(self, key: str) -> T | None:
        """The result of that key; None without one. A damaged one is reported and counts as none.

        Args:
            key: from :func:`new_key`.
        """
        path = self._path(key)
        with contextlib.suppress(FileNotFoundError):
            try:
                with path.open("rb") as file:
                    return self.read(file)
            except FileNotFoundError:
                raise
            except Exception as error:  # whatever damage makes of the format's own reader
                _log.warning("%s is damaged and is made again: %s", path, error)
        return None

    def save(self, key: str, value: T) -> None:
        """Keep a result."""
        with atomic_write(self._path(key), shared=self.shared) as file:
            self.write(file, value)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{self.suffix}"
