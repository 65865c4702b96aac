"""Download a published file: resumed where it stopped, never taken for whole when it is not.

The part fetched so far lies in ``cache_dir()/downloads`` with a note of what the server said
about the file. The next call asks for the rest only, and only of the same version of the file
(``Range`` with ``If-Range``); a server that answers with the whole file, or has another version
by now, is followed from the start.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote, urlsplit

from faceflow.errors import WeightsError
from faceflow.weights.cache import atomic_write, cache_dir
from faceflow.weights.fetch import Progress

MIRROR = "FACEFLOW_MIRROR"
STALL_SECONDS = 30.0
_BLOCK = 1 << 18
_STEPS = 10  # progress lines of one download
_SCHEMES = ("http", "https")


def address(url: str, file_name: str) -> str:
    """Where to fetch a file: below ``$FACEFLOW_MIRROR`` when set, otherwise its own address.

    Raises:
        WeightsError: the mirror is no HTTP address.
    """
    mirror = os.environ.get(MIRROR, "").strip()
    if not mirror:
        return url
    parts = urlsplit(mirror)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise WeightsError(
            f"{MIRROR} is {mirror!r}, which is no address",
            todo="set it to http://... or https://..., or unset it",
        )
    if "@" in parts.netloc:  # not shown: it may hold a password
        raise WeightsError(
            f"{MIRROR} holds a user name, and names and passwords are not supported there",
            todo="fetch the file yourself and hand it over with `models import`",
        )
    return f"{mirror.rstrip('/')}/{quote(file_name)}"


def download(
    url: str, file_name: str, *, progress: Progress | None = None, stall: float | None = None
) -> Path:
    """Fetch ``url``; the proxies of the environment apply, as to everything of urllib.

    Args:
        url: http or https.
        file_name: what to call it in the cache.
        progress: told what happens.
        stall: seconds without a byte after which the server counts as stalled; None: 30.

    Returns:
        The whole file in ``cache_dir()/downloads``, as long as the server said it is. Whoever
        is done with it removes it with :func:`discard`.

    Raises:
        WeightsError: no connection, an error of the server, a stall, a body that ended early,
            a redirection to an unsafe address, another process at the same download, or a
            full disk. What arrived is kept, and the next call goes on from there.
    """
    part = cache_dir() / "downloads" / f"{file_name}.part"
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            _lock(file, file_name)
            _Transfer(url, file_name, part, file, progress, stall or STALL_SECONDS).run()
    except OSError as error:
        raise WeightsError(
            f"{file_name} cannot be written to {part.parent}",
            why=error.strerror or str(error),
            todo="make room, or set FACEFLOW_CACHE to a folder that can be written",
        ) from error
    return part


def discard(file_name: str) -> None:
    """Forget a download, whole or in part."""
    part = cache_dir() / "downloads" / f"{file_name}.part"
    _note(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        part.parent.rmdir()  # when it is empty


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _lock(file: BinaryIO, file_name: str) -> None:
    """One process at a time adds to a part; the lock goes with the process that holds it."""
    if os.name != "posix":  # two processes there may spoil the part, which its sum shows
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WeightsError(
            f"another process is fetching {file_name}", todo="wait for it, then try again"
        ) from None


class _Response(Protocol):
    """What is used of urllib's response."""

    status: int
    headers: Mapping[str, str]

    def read1(self, size: int) -> bytes: ...
    def geturl(self) -> str: ...


@dataclass
class _Transfer:
    """One call's work."""

    url: str
    file_name: str
    part: Path
    file: BinaryIO
    progress: Progress | None
    stall: float

    def run(self) -> None:
        have = self.file.tell()
        known = self._known() if have else {}
        if have and not known.get("validator"):
            have = self._restart()  # nothing proves that the rest would be of the same file
        elif have and known.get("total") == have:
            return  # whole already: only the import after it had failed
        self._say(f"fetching {self.url}" + (f" from byte {have:,} on" if have else ""))
        headers = {"User-Agent": "faceflow", "Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": known["validator"]}
        with self._open(urllib.request.Request(self.url, headers=headers), have) as response:
            if response is None:
                return
            self._receive(response, have)

    def _receive(self, response: _Response, have: int) -> None:
        total: int | None
        if response.status == 206:
            begin, total = _content_range(response.headers.get("Content-Range", ""))
            if begin != have:
                self._restart()
                raise self._failed("the server sent another part of the file than was asked for")
            if _validator(response.headers) not in ("", self._known().get("validator")):
                self._restart()
                raise self._failed("the server sent a part of another version of the file")
        else:
            if have:
                self._say("the server sends the whole file again")
                have = self._restart()
            total = _number(response.headers.get("Content-Length"))
        validator = _validator(response.headers) or (self._known()["validator"] if have else "")
        _write_note(self.part, validator, total)
        have = self._copy(response, have, total)
        if total is not None and have > total:
            self._restart()
            raise self._failed(f"the server sent more than the {total:,} bytes it announced")
        if total is not None and have != total:
            raise self._failed(f"the connection ended after {have:,} of {total:,} bytes")
        self.file.flush()
        os.fsync(self.file.fileno())
        _write_note(self.part, validator, have)

    def _copy(self, response: _Response, have: int, total: int | None) -> int:
        told = _STEPS * have // total if total else 0
        while True:
            try:
                block = response.read1(_BLOCK)  # what is there: a stall loses nothing
            except TimeoutError as error:
                raise self._failed(
                    f"not a byte in {self.stall:g} seconds, after {have:,}"
                ) from error
            except (OSError, http.client.HTTPException) as error:
                raise self._failed(
                    f"the connection broke after {have:,} bytes ({error})"
                ) from error
            if not block:
                return have
            self.file.write(block)
            have += len(block)
            if total and _STEPS * have // total > told:
                told = _STEPS * have // total
                self._say(f"{have:,} of {total:,} bytes")

    @contextlib.contextmanager
    def _open(self, request: urllib.request.Request, have: int) -> Iterator[_Response | None]:
        """The server's answer, or None when it says that there is nothing to add."""
        try:
            # A new opener each time: urlopen keeps the proxies of its first call.
            opener = urllib.request.build_opener()
            response: Any = opener.open(request, timeout=self.stall)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and have:
                    _, total = _content_range(error.headers.get("Content-Range", ""))
                    if total == have:
                        yield None
                        return
                    self._restart()
                    why = "the server's file is shorter than what was fetched of it"
                    raise self._failed(why) from error
                raise self._failed(f"the server says {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            late = isinstance(reason, TimeoutError)
            why = f"no answer in {self.stall:g} seconds" if late else str(reason)
            raise self._failed(why) from error
        with response:
            came_from = urlsplit(response.geturl()).scheme
            if came_from not in _SCHEMES or came_from < urlsplit(self.url).scheme:  # http < https
                raise self._failed(f"the server sent us on to an unsafe {came_from} address")
            yield response

    def _known(self) -> dict[str, Any]:
        try:
            known = json.loads(_note(self.part).read_bytes())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def _restart(self) -> int:
        self.file.seek(0)
        self.file.truncate()
        return 0

    def _say(self, line: str) -> None:
        if self.progress:
            self.progress(line)

    def _failed(self, why: str) -> WeightsError:
        return WeightsError(
            f"{self.file_name} could not be fetched from {self.url}",
            why=why,
            todo="run the same command again: it goes on where this one stopped. Behind a proxy "
            f"set HTTPS_PROXY; for a mirror set {MIRROR}",
        )


def _write_note(part: Path, validator: str, total: int | None) -> None:
    with atomic_write(_note(part)) as file:
        file.write(json.dumps({"validator": validator, "total": total}).encode())


def _validator(headers: Mapping[str, str]) -> str:
    """What proves that a later answer is of the same file: a strong ETag, else the date."""
    tag = headers.get("ETag") or ""
    return tag if tag.startswith('"') else headers.get("Last-Modified") or ""


def _content_range(value: str) -> tuple[int | None, int | None]:
    """``bytes 5-9/10`` -> (5, 10); ``bytes */10`` -> (None, 10); else (None, None)."""
    found = re.fullmatch(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18}|\*)", value.strip())
    if not found:
        return None, None
    return _number(found[1]), _number(found[2])


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text) else None
