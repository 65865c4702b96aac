"""People: list, get, rename, consent, merge, split, delete."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from faceflow.errors import GalleryError
from faceflow.gallery import PersonInfo, person_name
from faceflow.server import schemas
from faceflow.server.ids import person_id
from faceflow.server.people import MergeRow
from faceflow.server.problems import conflict, not_found
from faceflow.server.routes.common import (
    Cursor,
    GalleryName,
    Limit,
    Manager,
    PersonId,
    Reader,
    Repetition,
    Served,
    SomeId,
    last_number,
    problems,
    request_digest,
)
from faceflow.server.searches import names_of
from faceflow.server.service import Service

router = APIRouter(prefix="/v1/galleries/{gallery}", tags=["people"])

_LOOKED_AT = 1000


def shown(service: Service, gallery: str, person: PersonInfo) -> schemas.Person:
    """A person as they are sent."""
    consent = service.consents.of(gallery, [person.person_id]).get(person.person_id)
    return schemas.Person(
        id=person_id(person.person_id), name=person.name, faces=person.faces, consent=consent
    )


def _merge_shown(service: Service, gallery: str, row: MergeRow) -> schemas.Merge:
    numbers = {row.target} | ({row.split} if row.split is not None else set())
    names = names_of(service.gallery(gallery), numbers)
    split = None
    if row.split is not None:
        split = schemas.PersonRef(id=person_id(row.split), name=names.get(row.split))
    return schemas.Merge(
        id=row.id,
        source=schemas.PersonRef(id=person_id(row.source), name=row.source_name),
        target=schemas.PersonRef(id=person_id(row.target), name=names.get(row.target)),
        faces=list(row.faces),
        dropped=row.dropped,
        made=row.made,
        split=split,
    )


@router.get("/people", responses=problems())
def list_people(
    served: Served,
    key: Reader,
    gallery: GalleryName,
    q: Annotated[str, Query(max_length=200, description="Only names that hold this.")] = "",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schemas.People:
    """People by name without regard to case."""
    listing = f"people {gallery} {q}"
    after = served.cursors.read(listing, cursor)
    wanted = q.casefold()
    found: list[PersonInfo] = []
    place = None if after is None else str(after)
    with served.gallery(gallery).snapshot() as view:
        revision = view.revision
        while len(found) <= limit:
            block = view.people(after=place, limit=_LOOKED_AT if q else limit + 1)
            if not block:
                break
            found += [person for person in block if wanted in person.name.casefold()]
            place = block[-1].name
    page, more = found[:limit], len(found) > limit
    consents = served.consents.of(gallery, [person.person_id for person in page])
    served.audit.append(
        key.id,
        "list people",
        gallery=gallery,
        subjects=tuple(person_id(person.person_id) for person in page),
        revision=revision,
    )
    return schemas.People(
        items=[
            schemas.Person(
                id=person_id(person.person_id),
                name=person.name,
                faces=person.faces,
                consent=consents.get(person.person_id),
            )
            for person in page
        ],
        next=served.cursors.make(listing, page[-1].name) if more else None,
    )


@router.get("/people/{person}", responses=problems())
def get_person(
    served: Served, key: Reader, gallery: GalleryName, person: PersonId
) -> schemas.Person:
    """One person."""
    found = served.person(gallery, person)
    served.audit.append(key.id, "read a person", gallery=gallery, subjects=(person,))
    return shown(served, gallery, found)


@router.patch("/people/{person}", responses=problems(409))
def change_person(
    served: Served,
    key: Manager,
    gallery: GalleryName,
    person: PersonId,
    change: schemas.PersonChange,
) -> schemas.Person:
    """Rename a person, or say on what ground they are enrolled."""
    opened, found = served.gallery(gallery), served.person(gallery, person)
    given = change.model_fields_set
    if "name" in given and change.name is not None and change.name != found.name:
        opened.rename(found.person_id, person_name(change.name))
        served.audit.append(
            key.id, "rename a person", gallery=gallery, subjects=(person,), revision=opened.revision
        )
    if "consent" in given:
        with served.state.writing() as connection:
            served.consents.set(connection, gallery, found.person_id, change.consent)
            served.audit.append(
                key.id,
                "change a consent",
                gallery=gallery,
                subjects=(person,),
                connection=connection,
                legal_hold=change.consent is not None and change.consent.legal_hold,
            )
    return shown(served, gallery, served.person(gallery, person))


@router.delete("/people/{person}", responses=problems(409))
def delete_person(
    served: Served, key: Manager, gallery: GalleryName, person: PersonId
) -> schemas.Certificate:
    """Delete a person with all faces; the answer certifies it."""
    found = served.person(gallery, person)
    identity = served.deletions.person(gallery, found.person_id, actor=key.id)
    return served.deletions.certificate(gallery, identity)


@router.post("/people/{person}/merge", status_code=HTTPStatus.CREATED, responses=problems(409))
async def merge_people(
    served: Served,
    key: Manager,
    gallery: GalleryName,
    person: PersonId,
    wanted: schemas.MergeRequest,
    repetition: Repetition = None,
) -> schemas.Merge:
    """Give all faces of a person to another one; it can be split back."""

    def make() -> str:
        opened = served.gallery(gallery)
        source, target = served.person(gallery, person), served.person(gallery, wanted.into)
        if source.person_id == target.person_id:
            raise conflict("same-person", "A person cannot be merged with itself")
        faces = {face.face_id for face in opened.faces(source.name)}
        change = opened.merge(source.person_id, target.person_id)
        moved = faces & {face.face_id for face in opened.faces(target.name)}
        with served.state.writing() as connection:
            consent = served.consents.of(gallery, [source.person_id]).get(source.person_id)
            served.consents.set(connection, gallery, source.person_id, None)
            identity = served.merges.add(
                connection,
                gallery,
                source=(source.person_id, source.name),
                target=target.person_id,
                faces=moved,
                dropped=change.dropped,
                consent=consent,
            )
            served.audit.append(
                key.id,
                "merge people",
                gallery=gallery,
                subjects=(person, wanted.into),
                connection=connection,
                merge=identity,
                faces=change.faces,
                dropped=change.dropped,
            )
        return identity

    async def once() -> str:
        return await run_in_threadpool(make)

    digest = request_digest("merge", gallery, person, wanted.into)
    identity, _ = await served.repetitions.once(key.id, repetition, digest, once)
    row = await run_in_threadpool(served.merges.get, gallery, identity)
    return await run_in_threadpool(_merge_shown, served, gallery, row)


@router.get("/merges", responses=problems())
def list_merges(
    served: Served, key: Reader, gallery: GalleryName, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Merges:
    """Merges, the newest first."""
    served.gallery(gallery)
    listing = f"merges {gallery}"
    before = last_number(served.cursors.read(listing, cursor))
    rows = served.merges.page(gallery, before, limit)
    return schemas.Merges(
        items=[_merge_shown(served, gallery, row) for row in rows],
        next=served.cursors.make(listing, rows[-1].number) if len(rows) == limit else None,
    )


@router.post("/merges/{merge}/split", responses=problems(409))
def split_merge(served: Served, key: Manager, gallery: GalleryName, merge: SomeId) -> schemas.Merge:
    """Undo a merge: the faces that it moved and that are still there get their person back.

    The person has the former name, unless somebody else has it now, and the former consent; the
    id is new.
    """
    opened, row = served.gallery(gallery), served.merges.get(gallery, merge)
    if row.split is not None:
        raise conflict("split-already", "This merge was split back already")
    try:
        target = opened.person(row.target)
    except GalleryError:
        raise not_found(f"person {person_id(row.target)!r} any more") from None
    there = {face.face_id for face in opened.faces(target.name)}
    faces = [face for face in row.faces if face in there]
    if not faces:
        raise conflict("nothing-left", "None of the faces that were merged is there any more")
    opened.move_faces(faces, _free_name(served, gallery, row.source_name))
    number = opened.person(opened.record(faces[0]).person).person_id
    with served.state.writing() as connection:
        served.merges.split(connection, merge, number)
        served.consents.set(connection, gallery, number, row.consent)
        served.audit.append(
            key.id,
            "split a merge",
            gallery=gallery,
            subjects=(person_id(number), person_id(row.target)),
            connection=connection,
            merge=merge,
            faces=len(faces),
        )
    return _merge_shown(served, gallery, served.merges.get(gallery, merge))


@router.post("/people/{person}/split", responses=problems(409))
def split_person(
    served: Served,
    key: Manager,
    gallery: GalleryName,
    person: PersonId,
    wanted: schemas.SplitRequest,
) -> schemas.Person:
    """Give some faces of a person to another one, who is made if needed."""
    opened, found = served.gallery(gallery), served.person(gallery, person)
    name = person_name(wanted.name)
    theirs = {face.face_id for face in opened.faces(found.name)}
    wrong = [face for face in wanted.faces if face not in theirs]
    if wrong:
        raise not_found(f"face {wrong[0]} of the person {person!r}")
    if name == found.name:
        raise conflict("same-person", "These faces are this person's already")
    change = opened.move_faces(wanted.faces, name)
    other = opened.person(name)
    served.audit.append(
        key.id,
        "split a person",
        gallery=gallery,
        subjects=(person, person_id(other.person_id)),
        faces=change.faces,
        dropped=change.dropped,
        revision=opened.revision,
    )
    return shown(served, gallery, other)


def _free_name(service: Service, gallery: str, name: str) -> str:
    """The name, or with a number behind it where somebody has it now."""
    opened = service.gallery(gallery)
    for number in range(1, 1000):
        tried = name if number == 1 else f"{name[:190]} ({number})"
        try:
            opened.person(tried)
        except GalleryError:
            return tried
    raise conflict("name-taken", f"Nobody else can be called {name!r}")
