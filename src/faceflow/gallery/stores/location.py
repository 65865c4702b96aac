"""Where a gallery is kept: a file's path, or the URL of a PostgreSQL server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from faceflow.errors import InputError

SCHEMES = ("postgresql", "postgres")
_PASSWORDS = {"password", "sslpassword", "passfile", "sslkey"}
_NAME = re.compile("[a-z_][a-z0-9_]{0,49}")
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
        secrets: passwords in it, as written and as meant.
    """

    conninfo: str
    schema: str
    shown: str
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Without anything secret: objects end up in logs and tracebacks."""
        return f"ServerLocation({self.shown!r})"

    @property
    def url(self) -> str:
        """What :func:`server_location` takes; may hold a password."""
        mark = "&" if "?" in self.conninfo else "?"
        return f"{self.conninfo}{mark}schema={self.schema}"

    def with_schema(self, schema: str) -> ServerLocation:
        """The same server, another schema."""
        return server_location(self._replace(schema=schema).url)

    def without_secrets(self, text: str) -> str:
        """A text of others, with what is secret in the URL struck out."""
        for secret in (self.conninfo, *self.secrets):
            text = text.replace(secret, "***")
        return text


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
    hidden = [value for name, value in options if name.lower() in _PASSWORDS]
    if parts.password:
        hidden += [parts.password, unquote(parts.password)]
    return ServerLocation(
        f"postgresql://{user}{secret}{at}{place}{parts.path}{query}",
        schema,
        f"postgresql://{user}{'@' if user else ''}{place}{parts.path}{shown}",
        tuple(value for value in hidden if value),
    )


def shown_location(location: str | Path) -> str:
    """A location as it may be shown and logged."""
    return server_location(str(location)).shown if is_url(location) else str(location)
