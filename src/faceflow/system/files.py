"""Files from strangers, regular and up to a stated size; files of ours, whole or not at all.

A path may lead anywhere. Opening a named pipe waits for somebody to write into it, for ever; a
device may have no end; a file may hold more than the memory does. Whatever faceflow is told to
read is opened here.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from faceflow.errors import FaceflowError, InputError

PathLike = str | os.PathLike[str]

LIST_LIMIT = 64 * 2**20
"""Most bytes of a list, table or description that are read: about a million rows."""

# Where the system has them: without waiting (a pipe would), not for programs started later, not
# as this process's terminal, and on Windows the bytes as they are.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
)

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

_TODO = {
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "check the name",
    errno.ENAMETOOLONG: "check the name",
    errno.ELOOP: "its links lead in a circle; give the file itself",
    errno.EACCES: "check who may read it",
    errno.EPERM: "check who may read it",
}


def open_regular(
    path: PathLike,
    *,
    limit: int | None,
    kind: str = "file",
    error: type[FaceflowError] = InputError,
) -> BinaryIO:
    """Open a regular file for reading; links are followed, everything else is refused.

    Never waits. What the path leads to is looked at before it is opened, because opening a
    device can do something, and again on the open file, because the path may lead elsewhere by
    then. A file that grows after it was opened may give more than ``limit`` bytes: read no more
    than was asked for, or use :func:`read_regular`.

    Args:
        path: where the file should be.
        limit: most bytes it may hold; None where any size is read piece by piece.
        kind: what messages call the file: "photo", "CSV file", "checkpoint".
        error: the class to raise.

    Raises:
        FaceflowError: of the class ``error``: the file is missing, unreadable, too large or not
            a regular file.

    Example:
        >>> import os
        >>> open_regular(os.devnull, limit=100)
        Traceback (most recent call last):
        ...
        faceflow.errors.InputError: The file /dev/null cannot be read. it is a device. give a \
regular file.
    """
    with _explained(path, kind, error):
        _require_regular(Path(path).stat(), path, limit, kind, error)
        handle = os.open(path, _FLAGS)
        try:
            _require_regular(os.fstat(handle), path, limit, kind, error)
            if hasattr(os, "O_NONBLOCK"):
                os.set_blocking(handle, True)
            return os.fdopen(handle, "rb")
        except BaseException:
            os.close(handle)
            raise


def read_regular(
    path: PathLike,
    *,
    limit: int,
    kind: str = "file",
    error: type[FaceflowError] = InputError,
) -> bytes:
    """The bytes of a regular file; arguments and errors as for :func:`open_regular`.

    Also a file that grows while it is read, or one of ``/proc`` that claims to be empty, gives
    at most ``limit`` bytes or an error.
    """
    with (
        open_regular(path, limit=limit, kind=kind, error=error) as file,
        _explained(path, kind, error),
    ):
        # One byte more than the file says: read(limit + 1) would take that much memory first.
        content = file.read(os.fstat(file.fileno()).st_size + 1)
        pieces = [content]
        total = len(content)
        while content and total <= limit:
            content = file.read(min(2**20, limit + 1 - total))
            pieces.append(content)
            total += len(content)
    if total > limit:
        raise _too_large(path, limit, kind, error)
    return pieces[0] if len(pieces) <= 2 else b"".join(pieces)


def read_text(
    path: PathLike,
    *,
    limit: int = LIST_LIMIT,
    kind: str = "file",
    error: type[FaceflowError] = InputError,
) -> str:
    """The text of a regular UTF-8 file, a byte order mark left out.

    Raises:
        FaceflowError: of the class ``error``: as for :func:`open_regular`, or not UTF-8.
    """
    content = read_regular(path, limit=limit, kind=kind, error=error)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(
            f"The {kind} {os.fspath(path)} cannot be read",
            why=f"it is not UTF-8 text: {problem}",
            todo="save it as UTF-8",
        ) from problem


def read_table(
    path: PathLike, columns: Sequence[str], optional: Sequence[str] = (), *, todo: str = ""
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The rows of a CSV file as (line, values of ``columns`` and ``optional``).

    A value that a row lacks is "". ``todo`` says how the file should look.

    Raises:
        InputError: as for :func:`read_text`; a column is missing; the text is no CSV.
    """
    place = os.fspath(path)
    text = read_text(path, kind="CSV file")
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        if not set(columns) <= set(reader.fieldnames or ()):
            raise InputError(f"{place} has no columns {' and '.join(columns)}", todo=todo)
        for row in reader:
            yield (
                reader.line_num,
                tuple(row.get(column) or "" for column in (*columns, *optional)),
            )
    except csv.Error as problem:
        raise InputError(f"{place} cannot be read as CSV", why=str(problem), todo=todo) from problem


def require_regular(
    path: PathLike,
    *,
    limit: int | None,
    kind: str = "file",
    error: type[FaceflowError] = InputError,
) -> None:
    """Refuse what :func:`open_regular` refuses, for a library that opens a path by itself.

    Between this look and that opening the path may come to lead elsewhere; where a library
    takes an open file or bytes, give it those instead.
    """
    with _explained(path, kind, error):
        _require_regular(Path(path).stat(), path, limit, kind, error)


def is_regular(path: PathLike) -> bool:
    """Whether a path leads to a regular file; False too for what cannot be looked at."""
    with contextlib.suppress(OSError, ValueError):
        return stat.S_ISREG(Path(path).stat().st_mode)
    return False


def files_below(folder: PathLike, *, error: type[FaceflowError] = InputError) -> Iterator[Path]:
    """Everything in a folder and its subfolders that is not a folder, in no order.

    Hidden files and folders are left out; links to folders are not followed, so that no circle
    of links has no end. Pipes and devices are among the paths: opening one refuses it.

    Raises:
        FaceflowError: of the class ``error``: a folder is missing or cannot be listed.
    """
    waiting = [Path(folder)]  # no recursion: a stranger's folders may be a thousand deep
    while waiting:
        place = waiting.pop()
        with _explained(place, "folder", error):
            for entry in sorted(place.iterdir()):
                if entry.name.startswith("."):
                    continue
                if not entry.is_dir():
                    yield entry
                elif not entry.is_symlink():
                    waiting.append(entry)


def size_text(count: float) -> str:
    """Bytes in the unit people use for them: "512 bytes", "1.5 MB"."""
    value = float(count)
    for unit in ("bytes", "KB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def _require_regular(
    status: os.stat_result,
    path: PathLike,
    limit: int | None,
    kind: str,
    error: type[FaceflowError],
) -> None:
    if not stat.S_ISREG(status.st_mode):
        found = next((name for test, name in _KINDS if test(status.st_mode)), "no regular file")
        raise error(
            f"The {kind} {os.fspath(path)} cannot be read",
            why=f"it is {found}",
            todo="give a regular file",
        )
    if limit is not None and status.st_size > limit:
        raise _too_large(path, limit, kind, error, status.st_size)


def _too_large(
    path: PathLike, limit: int, kind: str, error: type[FaceflowError], found: int | None = None
) -> FaceflowError:
    holds = "more" if found is None else size_text(found)
    return error(
        f"The {kind} {os.fspath(path)} is too large",
        why=f"it holds {holds}, and at most {size_text(limit)} are read",
        todo="give a smaller file",
    )


@contextlib.contextmanager
def _explained(path: PathLike, kind: str, error: type[FaceflowError]) -> Iterator[None]:
    """Errors of the system become one of the class that the caller wants."""
    try:
        yield
    except FaceflowError:  # InputError is a ValueError too
        raise
    except (OSError, ValueError) as problem:  # ValueError: a zero byte in the path
        number = problem.errno if isinstance(problem, OSError) else None
        raise error(
            f"The {kind} {os.fspath(path)} cannot be read",
            why=getattr(problem, "strerror", None) or str(problem),
            todo=_TODO.get(number or 0, ""),
        ) from problem


@contextlib.contextmanager
def atomic_write(path: Path, *, shared: bool = False) -> Iterator[BinaryIO]:
    """Give a binary file that becomes ``path`` when the block ends well.

    The bytes go to a temporary file in the same folder (created when missing), reach the
    disk, and are renamed over ``path``: a reader sees the old file or the new one, never a
    part, and so does the next start after a power cut. On any failure ``path`` is as it was
    and nothing is left behind.

    Only its owner can read the file, because most of what is written is about people; whoever
    wants to share it says so with ``chmod``. With ``shared`` it is as readable as the process's
    file mode mask lets any new file be.

    Raises:
        InputError: ``path`` is a device, a pipe or the like, which a file would replace.
        OSError: the folder cannot be written or the disk is full.
    """
    if path.exists() and not is_regular(path) and not path.is_dir():
        raise InputError(
            f"{path} is not a regular file", why="a file would take its place", todo="name a file"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # A part of the name only: the longest name that the system takes has no room for more.
    begin = path.name[:40]
    handle, name = tempfile.mkstemp(prefix=f".{begin}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if shared:  # mkstemp makes it private
            temporary.chmod(0o666 & ~_mask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _mask() -> int:
    """The file mode mask; it can be read only by setting it, to the strictest for a moment."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # only POSIX lets a folder be opened and synced
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
