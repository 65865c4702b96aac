"""Where a gallery is kept: a file's path, or the URL of a PostgreSQL server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from faceflow.errors import InputError

SCHEMES = ("postgresql", "postgres")
_PASSWORDS = {"password", "sslpassword", "passfile", "sslkey"}
_NAME = re.compile("[a-z_][a-z0-9_]{0,62}")
DEFAULT_SCHEMA = "faceflow"


def is_url(location: str | Path) -> bool:
    """Whether a location is a PostgreSQL server's URL and not a path."""
    return isinstance(location, str) and location.partition("://")[0].lower() in SCHEMES


class ServerLocation(NamedTuple):
    """A gallery in a PostgreSQL server.

    Attributes:
        conninfo: what the client library takes; may hold a password, and is never shown.
        schema: the schema that holds the gallery's tables.
        shown: the URL without anything secret.
    """

    conninfo: str
    schema: str
    shown: str


def server_location(url: str) -> ServerLocation:
    """Take a URL apart: ``postgresql://[user[:password]@][host][:port]/database[?option=...]``.

    Options are those of libpq, and ``schema``: which schema holds the gallery, so that one
    database can hold several. Default: ``faceflow``.

    Raises:
        InputError: no URL, no database, or a schema's name that would need quoting. The message
            never holds the URL.
    """
    todo = "write it as postgresql://user@host:5432/database?schema=faceflow"
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True)
    except ValueError as error:
        raise InputError("the gallery's URL cannot be read", todo=todo) from error
    if not is_url(url) or not parts.path.strip("/"):
        raise InputError("the gallery's URL names no database", todo=todo)
    schema = dict(options).get("schema", DEFAULT_SCHEMA)
    if not _NAME.fullmatch(schema) or schema.startswith("pg_"):
        raise InputError(
            f"{schema[:80]!r} cannot be the schema of a gallery",
            why="it takes small letters, digits and _, and pg_ is PostgreSQL's own",
        )
    kept = [(name, value) for name, value in options if name != "schema"]
    # Left as it is: libpq takes several hosts with ports, and brackets.
    place = parts.netloc.rpartition("@")[2]
    user = quote(unquote(parts.username), safe="") if parts.username else ""
    secret = f":{quote(unquote(parts.password), safe='')}" if parts.password else ""
    at = "@" if user or secret else ""
    query = f"?{urlencode(kept, quote_via=quote)}" if kept else ""
    harmless = [(name, value) for name, value in options if name.lower() not in _PASSWORDS]
    shown = f"?{urlencode(harmless, quote_via=quote, safe='/')}" if harmless else ""
    return ServerLocation(
        f"postgresql://{user}{secret}{at}{place}{parts.path}{query}",
        schema,
        f"postgresql://{user}{'@' if user else ''}{place}{parts.path}{shown}",
    )


def shown_location(location: str | Path) -> str:
    """A location as it may be shown and logged."""
    return server_location(str(location)).shown if is_url(location) else str(location)
