"""Download a published file with pooch: whole and within its limit, or an error.

pooch brings proxies, certificates and redirects (it calls ``requests``). What it leaves open is
here: no more bytes than a limit, no way from https to http, progress and errors as faceflow's are.
An interrupted download begins anew: the largest file published so has 112 MB.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from faceflow.errors import WeightsError
from faceflow.system.files import size_text
from faceflow.weights.fetch import Progress

MIRROR = "FACEFLOW_MIRROR"
STALL_SECONDS = 30.0
_BLOCK = 1 << 16
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


def download(url: str, place: Path, *, limit: int, progress: Progress | None = None) -> str:
    """Fetch ``url`` into the file ``place``; the proxies of the environment apply.

    Args:
        url: http or https.
        place: where it goes; what is there is replaced.
        limit: most bytes it may have.
        progress: told what happens.

    Returns:
        Hex sha256 of the file, which is as long as the server said.

    Raises:
        WeightsError: no connection, an error of the server, no byte for ``STALL_SECONDS``, a body
            that ended early or has no end, or a redirection to an unsafe address.
        OSError: ``place`` cannot be written.
    """
    import pooch
    import requests

    say = progress or (lambda _: None)
    say(f"fetching {url}")
    with place.open("wb") as file:
        body = _Body(file, limit, say)
        fetch = pooch.HTTPDownloader(
            progressbar=body,
            chunk_size=_BLOCK,
            timeout=STALL_SECONDS,
            headers={"User-Agent": "faceflow", "Accept-Encoding": "identity"},
            hooks={"response": _require_safe},
        )
        try:
            fetch(url, body, None)
        except (requests.RequestException, _Refused) as error:
            raise WeightsError(
                f"{place.name} could not be fetched from {url}",
                why=_why(error, body.count),
                todo="run the same command again. Behind a proxy set HTTPS_PROXY; for a mirror "
                f"set {MIRROR}",
            ) from error
    return body.digest.hexdigest()


class _Refused(Exception):
    """What a server did that pooch would put up with."""


class _Body:
    """Where pooch writes to, and the progress bar that it keeps: both count bytes."""

    def __init__(self, file: BinaryIO, limit: int, say: Progress) -> None:
        self.file, self.limit, self.say = file, limit, say
        self.total = 0  # set by pooch: what the server says, 0 where it does not
        self.count = self.told = 0
        self.digest = hashlib.sha256()

    def write(self, block: bytes) -> None:
        if max(self.total, self.count + len(block)) > self.limit:
            raise _Refused(f"the server sends more than {size_text(self.limit)}")
        self.file.write(block)
        self.digest.update(block)
        self.count += len(block)
        if self.total and _STEPS * self.count // self.total > self.told:
            self.told = _STEPS * self.count // self.total
            self.say(f"{self.count:,} of {self.total:,} bytes")

    def flush(self) -> None:
        """Left to the end: pooch asks for it after each block."""

    def update(self, _: int) -> None:
        """Of the progress bar; :meth:`write` knows better."""

    def reset(self) -> None:
        """Of the progress bar."""

    def close(self) -> None:
        """Of the progress bar."""


def _require_safe(response: Any, *_: Any, **__: Any) -> None:
    """Called for every answer, redirections too: none may lead from https to http."""
    if response.is_redirect and response.url.startswith("https:"):
        target = urlsplit(response.headers["location"]).scheme
        if target not in ("", "https"):
            raise _Refused(f"the server sent us on to an unsafe {target} address")


def _why(error: Exception, count: int) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server says {error.response.status_code} {error.response.reason}"
    if "timed out" in str(error).lower():
        return f"not a byte in {STALL_SECONDS:g} seconds, after {count:,}"
    if count:
        return f"the connection broke after {count:,} bytes ({str(error)[:300]})"
    return str(error)[:300]
