"""Not this person: make, list, take back."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from faceflow.server import schemas
from faceflow.server.ids import person_id, person_number
from faceflow.server.marks import MarkRow
from faceflow.server.problems import not_found
from faceflow.server.routes.common import (
    Cursor,
    GalleryName,
    Limit,
    Marker,
    Repetition,
    Served,
    SomeId,
    last_number,
    problems,
    request_digest,
)
from faceflow.server.searches import names_of
from faceflow.server.service import Service

router = APIRouter(prefix="/v1/galleries/{gallery}/marks", tags=["marks"])


def _shown(service: Service, gallery: str, rows: list[MarkRow]) -> list[schemas.Mark]:
    names = names_of(service.gallery(gallery), {row.person for row in rows})
    return [
        schemas.Mark(
            id=row.id,
            person=schemas.PersonRef(id=person_id(row.person), name=names.get(row.person)),
            search=row.search,
            photo=row.photo,
            note=row.note,
            made=row.made,
            made_by=row.actor,
        )
        for row in rows
    ]


@router.get("", responses=problems())
def list_marks(
    served: Served, key: Marker, gallery: GalleryName, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Marks:
    """Marks, the newest first."""
    served.gallery(gallery)
    listing = f"marks {gallery}"
    before = last_number(served.cursors.read(listing, cursor))
    rows = served.marks.page(gallery, before, limit)
    served.audit.append(key.id, "list marks", gallery=gallery)
    return schemas.Marks(
        items=_shown(served, gallery, rows),
        next=served.cursors.make(listing, rows[-1].number) if len(rows) == limit else None,
    )


@router.post("", status_code=HTTPStatus.CREATED, responses=problems(409))
async def make_mark(
    served: Served,
    key: Marker,
    gallery: GalleryName,
    wanted: schemas.MarkRequest,
    repetition: Repetition = None,
) -> schemas.Mark:
    """Say that a candidate of a search is not the person; later searches honour it."""

    def make() -> str:
        kept = served.searches.get(gallery, served.gallery(gallery), wanted.search)
        if wanted.person not in {one.person.id for one in kept.search.candidates}:
            raise not_found(f"person {wanted.person!r} in this search")
        served.person(gallery, wanted.person)
        with served.state.writing() as connection:
            identity = served.marks.add(
                connection,
                gallery,
                person_number(wanted.person),
                wanted.search,
                kept.key(),
                note=wanted.note,
                actor=key.id,
            )
            served.audit.append(
                key.id,
                "mark as not this person",
                gallery=gallery,
                subjects=(identity, wanted.person, wanted.search),
                connection=connection,
            )
        return identity

    async def once() -> str:
        return await run_in_threadpool(make)

    digest = request_digest("mark", gallery, wanted.model_dump_json())
    identity, _ = await served.repetitions.once(key.id, repetition, digest, once)
    row = await run_in_threadpool(served.marks.get, gallery, identity)
    (shown,) = await run_in_threadpool(_shown, served, gallery, [row])
    return shown


@router.delete("/{mark}", status_code=HTTPStatus.NO_CONTENT, responses=problems())
def delete_mark(served: Served, key: Marker, gallery: GalleryName, mark: SomeId) -> None:
    """Take a mark back."""
    served.gallery(gallery)
    with served.state.writing() as connection:
        served.marks.remove(connection, gallery, mark)
        served.audit.append(
            key.id, "take a mark back", gallery=gallery, subjects=(mark,), connection=connection
        )
