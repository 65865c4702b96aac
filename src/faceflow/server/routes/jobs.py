"""Jobs: enroll many photos, watch, cancel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from faceflow.server import schemas
from faceflow.server.jobs import REFUSED
from faceflow.server.photos import Form, Upload, form_body
from faceflow.server.problems import invalid
from faceflow.server.routes.common import (
    Answers,
    Cursor,
    Enroller,
    GalleryName,
    Limit,
    Repetition,
    Served,
    SomeId,
    last_number,
    problems,
    request_digest,
    uploaded,
)
from faceflow.server.service import Service

router = APIRouter(prefix="/v1/galleries/{gallery}/jobs", tags=["jobs"])

_LOOK = 0.2
"""Seconds between looks for what was done, by whatever process."""
_ALIVE = 15.0
"""Seconds after which a silent stream says that it is there."""

_FORM = form_body(
    ["images"],
    {
        "person": {
            "type": "string",
            "description": "Whose all photos are that do not say it by a file name PERSON/photo.",
        },
        "accept": {
            "type": "string",
            "description": f"What to enroll all the same, comma-separated: {', '.join(REFUSED)}.",
        },
    },
    many=True,
)


def _photos(form: Form) -> list[tuple[str, Upload]]:
    """Each photo with the name of its person, or "" where nobody says it."""
    found = []
    for field, photo in form.photos:
        if field != "images":
            raise invalid(f"There is no field {field[:40]!r} for photos", todo="call it images")
        folder, slash, name = photo.name.replace("\\", "/").partition("/")
        if slash and "person" not in form.texts:
            found.append((folder, Upload(name, photo.data)))
        else:
            found.append((form.texts.get("person", ""), photo))
    if not found:
        raise invalid("The form holds no photo", todo="send some in the field images")
    return found


def _accepted(form: Form) -> list[str]:
    accept = [one.strip() for one in form.texts.get("accept", "").split(",") if one.strip()]
    unknown = [one for one in accept if one not in REFUSED]
    if unknown:
        raise invalid(f"{unknown[0][:40]!r} cannot be accepted", todo=", ".join(REFUSED))
    return accept


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    responses=problems(408, 409, 413, 415),
    openapi_extra=_FORM,
)
async def create_job(
    served: Served,
    key: Enroller,
    gallery: GalleryName,
    request: Request,
    response: Response,
    repetition: Repetition = None,
) -> schemas.Job:
    """Take photos to enroll; they are worked on after the answer, and across restarts."""
    form = await uploaded(request, served, gallery)
    photos, accept = _photos(form), _accepted(form)

    def make() -> str:
        with served.state.writing() as connection:
            identity = served.jobs.add(connection, gallery, photos, accept=accept, actor=key.id)
            served.audit.append(
                key.id,
                "start a job",
                gallery=gallery,
                subjects=(identity,),
                connection=connection,
                photos=len(photos),
            )
        served.runner.wake()
        return identity

    async def once() -> str:
        return await run_in_threadpool(make)

    digest = request_digest("job", gallery, form.digest)
    identity, _ = await served.repetitions.once(key.id, repetition, digest, once)
    response.headers["Location"] = f"/v1/galleries/{gallery}/jobs/{identity}"
    return await run_in_threadpool(served.jobs.get, gallery, identity)


@router.get("", responses=problems())
def list_jobs(
    served: Served, key: Enroller, gallery: GalleryName, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Jobs:
    """Jobs, the newest first."""
    served.gallery(gallery)
    listing = f"jobs {gallery}"
    before = last_number(served.cursors.read(listing, cursor))
    found, last = served.jobs.page(gallery, before, limit)
    return schemas.Jobs(
        items=found, next=None if last is None else served.cursors.make(listing, last)
    )


@router.get("/{job}", responses=problems())
def get_job(served: Served, key: Enroller, gallery: GalleryName, job: SomeId) -> schemas.Job:
    """One job."""
    return served.jobs.get(gallery, job)


@router.get("/{job}/photos", responses=problems())
def list_photos(
    served: Served,
    key: Enroller,
    gallery: GalleryName,
    job: SomeId,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schemas.JobPhotos:
    """What became of each photo, in the order in which they were sent."""
    served.jobs.get(gallery, job)
    listing = f"photos {job}"
    after = last_number(served.cursors.read(listing, cursor))
    found = served.jobs.photos(job, -1 if after is None else after, limit)
    more = len(found) == limit
    return schemas.JobPhotos(
        items=found, next=served.cursors.make(listing, found[-1].number) if more else None
    )


@router.delete("/{job}", responses=problems())
def cancel_job(served: Served, key: Enroller, gallery: GalleryName, job: SomeId) -> schemas.Job:
    """Do no more of a job; what was enrolled stays. One that is over stays as it is."""
    served.jobs.get(gallery, job)
    with served.state.writing() as connection:
        served.jobs.cancel(connection, job)
        served.audit.append(
            key.id, "cancel a job", gallery=gallery, subjects=(job,), connection=connection
        )
    served.state.erase()
    return served.jobs.get(gallery, job)


_EVENTS: Answers = {
    200: {
        "description": "Server-sent events: `photo` with a JobPhoto for each, then `end` with the "
        "Job. Their ids count up; a client that was cut off sends the last as Last-Event-ID.",
        "content": {"text/event-stream": {}},
    }
}


@router.get("/{job}/events", response_class=StreamingResponse, responses=problems() | _EVENTS)
async def watch_job(
    served: Served,
    key: Enroller,
    gallery: GalleryName,
    job: SomeId,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> StreamingResponse:
    """What becomes of each photo, as it happens."""
    await run_in_threadpool(served.jobs.get, gallery, job)
    text = last_event_id or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise invalid(f"Last-Event-ID is {text!r}", why="it must be a number")
    events = _events(served, gallery, job, int(text))
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


async def _events(served: Service, gallery: str, job: str, turn: int) -> AsyncIterator[str]:
    told = time.monotonic()
    yield ": faceflow\n\n"
    while not served.stopping.is_set():
        # The state first: photos that are done by then are told before the end is.
        now = await run_in_threadpool(served.jobs.get, gallery, job)
        new = await run_in_threadpool(served.jobs.done_since, job, turn)
        for turn, photo in new:
            yield f"id: {turn}\nevent: photo\ndata: {photo.model_dump_json()}\n\n"
        if new:
            told = time.monotonic()
            continue
        if now.finished is not None:
            yield f"id: {turn}\nevent: end\ndata: {now.model_dump_json()}\n\n"
            return
        if time.monotonic() - told > _ALIVE:
            told = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(_LOOK)
