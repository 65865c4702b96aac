"""Photos that arrive: multipart forms, read as they stream in, never put on a disk.

Photos come as bytes in the request and in no other way: there is no field for a URL or a path.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from faceflow.server.problems import Problem, invalid
from faceflow.server.settings import Limits

_FIELD_BYTES = 64 * 2**10
_FIELDS = 100
_HEADER_BYTES = 16 * 2**10


@dataclass(frozen=True)
class Upload:
    """One photo as it came.

    Attributes:
        name: the file name that the client gave, a label and never a path; "" without one.
        data: the file's bytes.
    """

    name: str
    data: bytes = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the bytes; the gallery knows photos by it."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Form:
    """A form: texts by name, and photos in their order with the name of their field."""

    texts: Mapping[str, str]
    photos: Sequence[tuple[str, Upload]]

    def photo(self, name: str = "image") -> Upload:
        """The one photo of that field. Raises a problem, 422, unless there is exactly one."""
        found = [photo for field_name, photo in self.photos if field_name == name]
        if len(found) != 1 or not found[0].data:
            raise invalid(
                f"The form needs one photo in the field {name!r}, not {len(found)}"
                if len(found) != 1
                else f"The photo in the field {name!r} has no bytes",
                todo=f"send it as multipart/form-data: curl -F {name}=@face.jpg",
            )
        return found[0]

    @cached_property
    def digest(self) -> str:
        """Hex digest of everything in it, for idempotency."""
        seen = hashlib.sha256()
        for name, text in sorted(self.texts.items()):
            seen.update(f"{len(name)} {name} {len(text)} {text} ".encode())
        for name, photo in self.photos:
            seen.update(f"{len(name)} {name} {len(photo.name)} {photo.name} ".encode())
            seen.update(photo.sha256.encode())
        return seen.hexdigest()


async def receive(request: Request, limits: Limits) -> Form:
    """Read the request's form.

    Raises:
        Problem: 415 for another content type, 400 for a damaged or cut form, 408 when it comes
            too slowly, 413 for a photo, or the whole, that is too large, 422 for too many parts.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "not-a-form",
            "Photos are taken as multipart/form-data only",
            todo="send them like curl -F image=@face.jpg does",
        )
    reader = _Reader(options[b"boundary"], limits)
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for chunk in request.stream():
                reader.feed(chunk)
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            "too-slow",
            "The request did not arrive in time",
            why=f"{limits.upload_seconds:g} seconds are given to it",
            headers={"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise _damaged("the connection ended") from None
    return reader.form()


class _Reader:
    """Takes a form apart while it arrives."""

    def __init__(self, boundary: bytes, limits: Limits) -> None:
        self._limits = limits
        self._texts: dict[str, str] = {}
        self._photos: list[tuple[str, Upload]] = []
        self._headers: dict[str, bytes] = {}
        self._name, self._value = bytearray(), bytearray()
        self._field = ""
        self._file: str | None = None
        self._data = bytearray()
        self._most = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_part_data": self._part,
                    "on_part_end": self._end,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_end,
                    "on_end": self._finish,
                },
            )
        except FormParserError as error:
            raise _damaged(str(error)) from error

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _damaged(str(error)) from error

    def form(self) -> Form:
        if not self._ended:
            raise _damaged("it ends in the middle")
        return Form(self._texts, tuple(self._photos))

    def _begin(self) -> None:
        self._headers = {}
        self._data = bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._check_header()

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_header()

    def _check_header(self) -> None:
        if len(self._name) + len(self._value) > _HEADER_BYTES or len(self._headers) > 16:
            raise _damaged("a part has headers beyond all measure")

    def _header_end(self) -> None:
        self._headers[bytes(self._name).decode("latin-1").lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _headers_end(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise _damaged("a part has no name")
        self._field = _text(options[b"name"])
        name = options.get(b"filename")
        self._file = None if name is None else _text(name)
        if self._file is not None and len(self._photos) >= self._limits.photos:
            raise invalid(
                "The form holds too many photos", why=f"{self._limits.photos} are taken at once"
            )
        if self._file is None and len(self._texts) >= _FIELDS:
            raise invalid("The form holds too many fields", why=f"{_FIELDS} are taken")
        self._most = _FIELD_BYTES if self._file is None else self._limits.photo_bytes

    def _part(self, data: bytes, start: int, end: int) -> None:
        if len(self._data) + end - start > self._most:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too-large",
                "A photo is too large" if self._file is not None else "A field is too long",
                why=f"at most {self._most:,} bytes are taken",
                todo="scale it down" if self._file is not None else "",
            )
        self._data += data[start:end]

    def _end(self) -> None:
        if self._file is not None:
            self._photos.append((self._field, Upload(self._file[:1000], bytes(self._data))))
        elif self._field in self._texts:
            raise invalid(f"The field {self._field[:40]!r} comes twice")
        else:
            self._texts[self._field] = _text(bytes(self._data))
        self._data = bytearray()

    def _finish(self) -> None:
        self._ended = True


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _damaged("a name or field is not UTF-8") from None


def _damaged(why: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, "damaged-form", "The form cannot be read", why=why)


def form_body(
    required: Sequence[str], texts: Mapping[str, Mapping[str, Any]], *, many: bool = False
) -> dict[str, Any]:
    """What OpenAPI is told of a form that :func:`receive` reads.

    Args:
        required: names of the fields with one photo each.
        texts: the other fields' JSON schemas by name.
        many: the first field takes several photos.
    """
    photo: dict[str, Any] = {"type": "string", "format": "binary"}
    fields: dict[str, Any] = dict.fromkeys(required, photo)
    if many:
        fields[required[0]] = {"type": "array", "items": photo, "minItems": 1}
    schema = {"type": "object", "required": list(required), "properties": fields | dict(texts)}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }
