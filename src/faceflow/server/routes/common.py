"""What the routes share: dependencies, and what OpenAPI is told of errors."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request
from starlette.concurrency import run_in_threadpool

from faceflow.server.access import need
from faceflow.server.keys import Key
from faceflow.server.photos import Form, receive
from faceflow.server.roles import Permission
from faceflow.server.service import Service, service_of

Served = Annotated[Service, Depends(service_of)]
AnyKey = Annotated[Key, Depends(need())]
Searcher = Annotated[Key, Depends(need(Permission.SEARCH))]
Reader = Annotated[Key, Depends(need(Permission.READ_PEOPLE))]
Viewer = Annotated[Key, Depends(need(Permission.SEARCH, Permission.READ_PEOPLE))]
Enroller = Annotated[Key, Depends(need(Permission.ENROLL))]
Manager = Annotated[Key, Depends(need(Permission.MANAGE_PEOPLE))]
Marker = Annotated[Key, Depends(need(Permission.MARK))]
Auditor = Annotated[Key, Depends(need(Permission.READ_AUDIT))]
Certifier = Annotated[Key, Depends(need(Permission.MANAGE_PEOPLE, Permission.READ_AUDIT))]
Administrator = Annotated[Key, Depends(need(Permission.ADMINISTER))]

GalleryName = Annotated[str, Path(description="The gallery's name.", max_length=64)]
PersonId = Annotated[str, Path(description="The person's id, e.g. p1.", max_length=20)]
FaceId = Annotated[int, Path(ge=1, lt=2**63, description="The face's id.")]
SomeId = Annotated[str, Path(max_length=40)]
Limit = Annotated[int, Query(ge=1, le=500, description="At most so many.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next` of the page before.")]
Repetition = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]*$",
        description="The same key with the same request again gives the same thing, for 24 hours.",
    ),
]

Answers = dict[int | str, dict[str, Any]]
"""What OpenAPI is told of answers by status."""

_SCHEMA = {"$ref": "#/components/schemas/ProblemDocument"}


def problems(*statuses: int) -> Answers:
    """What OpenAPI is told of a route's errors, beside those that every route has."""
    told = {
        "description": "A problem, by RFC 9457.",
        "content": {"application/problem+json": {"schema": _SCHEMA}},
    }
    every = {400, 401, 403, 404, 422, 429, 503, *statuses}
    return dict.fromkeys(sorted(every), told)


async def uploaded(request: Request, served: Service, gallery: str) -> Form:
    """The form of a request about a gallery, which is looked for before any photo is taken.

    Raises:
        Problem: 404, there is no such gallery; and as :func:`faceflow.server.photos.receive`.
    """
    # In a thread: it may have to be opened, or be in a database that does not answer.
    await run_in_threadpool(served.gallery, gallery)
    return await receive(request, served.limits())


def request_digest(*parts: str) -> str:
    """Digest of all that a request asks, for idempotency."""
    seen = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        seen.update(len(raw).to_bytes(8, "big") + raw)
    return seen.hexdigest()


def last_number(value: int | str | None) -> int | None:
    """A cursor's key where keys are numbers."""
    return value if isinstance(value, int) else None
