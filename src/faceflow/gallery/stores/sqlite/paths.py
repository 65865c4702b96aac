"""The files of a gallery: the one that is named, and what SQLite keeps beside it.

SQLite looks for the log beside the name it was given. Behind a symbolic link that is the wrong
folder, so every path is followed to its end first.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from faceflow.errors import GalleryError
from faceflow.gallery.stores.sqlite.errors import os_error, translated

# SQLite refuses longer paths; "-journal" is the longest of the endings it adds.
_LONGEST_PATH = 511 - len("-journal")
_LONGEST_NAME = 255 - len("-journal")


def real_path(path: Path) -> Path:
    """Where a path leads to, whether or not something is there.

    Raises:
        GalleryError: the links on the way lead in circles, or it is too long.
    """
    try:
        real = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise GalleryError(
            f"{path} cannot be found", why=str(error), todo="check where the links on the way lead"
        ) from error
    if len(os.fsencode(real)) > _LONGEST_PATH:
        raise GalleryError(
            f"the path of {path.name} is too long for SQLite",
            why=f"with all folders it has more than {_LONGEST_PATH} bytes",
            todo="use a gallery in a folder nearer to the root",
        )
    return real


def new_path(path: Path) -> Path:
    """Where a gallery is to be made; refuses what is taken, or cannot be a gallery's name.

    Raises:
        GalleryError: taken, also by a link that leads nowhere; no folder; a name too long.
    """
    with translated(path):
        if os.path.lexists(path):
            raise already_taken(path)
        if len(os.fsencode(path.name)) > _LONGEST_NAME:
            raise GalleryError(
                f"a gallery cannot be called {path.name[:40]}...",
                why=f"the name has more than {_LONGEST_NAME} bytes",
                todo="choose a shorter name",
            )
        real = real_path(path)
        if not real.parent.is_dir():
            raise GalleryError(
                f"cannot create {path}: there is no folder {path.parent}", todo="create the folder"
            )
        for beside in beside_of(real):
            # SQLite would replay the old gallery's log into the new file.
            if os.path.lexists(beside):
                raise GalleryError(
                    f"cannot create {path}: {beside.name} is left of another gallery of that name",
                    todo="move that file back beside its gallery, or delete it if the gallery is "
                    "gone",
                )
    return real


def already_taken(path: Path) -> GalleryError:
    """The error for a name that is in use."""
    return GalleryError(
        f"cannot create {path}: it exists already", todo="open it, or choose another name"
    )


def log_of(path: Path) -> Path:
    """SQLite's log."""
    return path.with_name(path.name + "-wal")


def shared_memory_of(path: Path) -> Path:
    """What processes that use the gallery share."""
    return path.with_name(path.name + "-shm")


def journal_of(path: Path) -> Path:
    """A log of another kind, which a gallery never has."""
    return path.with_name(path.name + "-journal")


def beside_of(path: Path) -> tuple[Path, ...]:
    """Every file that SQLite may look for beside a gallery."""
    return log_of(path), shared_memory_of(path), journal_of(path)


def require_safe_neighbours(path: Path) -> None:
    """Refuse what SQLite would follow, wait for, or undo into the gallery.

    Raises:
        GalleryError: a log that is a link, pipe or device; a journal of another database.
    """
    for beside in beside_of(path):
        try:
            found = beside.lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise os_error(beside, error) from error
        if not stat.S_ISREG(found.st_mode) or (beside == journal_of(path) and found.st_size):
            raise GalleryError(
                f"{path} cannot be opened because of {beside.name} beside it",
                why="no gallery leaves such a file",
                todo="move it away if you do not know what it is",
            )
