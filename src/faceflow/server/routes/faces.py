"""Faces: add, list, get, thumbnail, delete."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from faceflow.analyzer import Face
from faceflow.errors import GalleryError
from faceflow.gallery import Gallery, person_name
from faceflow.gallery.records import FaceRecord
from faceflow.server import schemas
from faceflow.server.enrolling import enroll, enrolled
from faceflow.server.idempotency import status
from faceflow.server.ids import person_id
from faceflow.server.photos import Form, form_body
from faceflow.server.problems import Problem, invalid, not_found
from faceflow.server.quality import quality_of
from faceflow.server.routes.common import (
    Answers,
    Cursor,
    Enroller,
    FaceId,
    GalleryName,
    Limit,
    Manager,
    Reader,
    Repetition,
    Served,
    Viewer,
    last_number,
    problems,
    request_digest,
    uploaded,
)
from faceflow.server.service import Service

router = APIRouter(prefix="/v1/galleries/{gallery}", tags=["faces"])

_FORM = form_body(
    ["image"],
    {
        "person": {"type": "string", "description": "The person's name; made if needed."},
        "person_id": {"type": "string", "description": "In place of `person`."},
        "select": {"enum": ["one", "largest", "centre"], "default": "one"},
    },
)


def shown(gallery: Gallery, record: FaceRecord, ids: dict[str, int]) -> schemas.Face:
    """A face as it is sent; ``ids`` remembers people's numbers by name."""
    if record.person not in ids:
        ids[record.person] = gallery.person(record.person).person_id
    return schemas.Face(
        id=record.face_id,
        person=schemas.PersonRef(id=person_id(ids[record.person]), name=record.person),
        source=record.source,
        content_hash=record.content_hash,
        box=record.box,
        detection_score=record.score,
        created=record.created,
    )


def _record(gallery: Gallery, face: int) -> FaceRecord:
    try:
        return gallery.record(face)
    except GalleryError:
        raise not_found(f"face {face}") from None


@router.get("/faces", responses=problems())
def list_faces(
    served: Served,
    key: Reader,
    gallery: GalleryName,
    person: Annotated[str | None, Query(max_length=20, description="Only of this one.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schemas.Faces:
    """Faces by id, of one person or of all."""
    listing = f"faces {gallery} {person}"
    after = last_number(served.cursors.read(listing, cursor)) or 0
    opened = served.gallery(gallery)
    name = None if person is None else served.person(gallery, person).name
    with opened.snapshot() as view:
        records = view.faces(name, after=after, limit=limit + 1)
        revision = view.revision
    page, ids = records[:limit], dict[str, int]()
    items = [shown(opened, record, ids) for record in page]
    served.audit.append(
        key.id,
        "list faces",
        gallery=gallery,
        subjects=tuple(str(record.face_id) for record in page),
        revision=revision,
    )
    more = len(records) > limit
    return schemas.Faces(
        items=items, next=served.cursors.make(listing, page[-1].face_id) if more else None
    )


@router.post(
    "/faces",
    status_code=HTTPStatus.CREATED,
    responses=problems(408, 409, 413, 415),
    openapi_extra=_FORM,
)
async def add_face(
    served: Served,
    key: Enroller,
    gallery: GalleryName,
    request: Request,
    response: Response,
    repetition: Repetition = None,
) -> schemas.AddedFace:
    """Enroll the face of one photo."""
    form = await uploaded(request, served, gallery)
    made: dict[str, Any] = {}

    async def once() -> str:
        return await served.compute(_add, served, gallery, form, key.id, made)

    digest = request_digest("face", gallery, form.digest)
    identity, repeated = await served.repetitions.once(key.id, repetition, digest, once)
    response.status_code = status(repeated or made.get("duplicate", False))
    return await run_in_threadpool(_added, served.gallery(gallery), int(identity), made)


def _added(gallery: Gallery, face: int, made: dict[str, Any]) -> schemas.AddedFace:
    record = _record(gallery, face)
    others = gallery.people_with(record.content_hash)
    return schemas.AddedFace(
        face=shown(gallery, record, {}),
        duplicate=made.get("duplicate", False),
        quality=made.get("quality"),
        also_enrolled_for=[name for name in others if name != record.person],
    )


def _add(service: Service, gallery: str, form: Form, actor: str, made: dict[str, Any]) -> str:
    """Enroll; the face's id. In a thread for work."""
    photo = form.photo()
    opened = service.gallery(gallery)
    name = _wanted(service, gallery, form)
    select = form.texts.get("select", "one")
    if select not in ("one", "largest", "centre"):
        raise invalid(f"select is {select[:40]!r}", todo="choose one, largest or centre")
    if name in opened.people_with(photo.sha256):
        made["duplicate"] = True
        return str(_having(opened, name, photo.sha256))
    face = _one_face(service, opened, photo.data, select)
    made["quality"] = quality_of(face, opened.options().model)
    identity = enroll(opened, name, face, source=photo.name or "upload", content_hash=photo.sha256)
    if identity is None:  # another request was first
        made["duplicate"] = True
        return str(_having(opened, name, photo.sha256))
    service.audit.append(
        actor,
        "enroll a face",
        gallery=gallery,
        subjects=(str(identity),),
        person=person_id(opened.person(name).person_id),
        digest=opened.features_digest,
        revision=opened.revision,
    )
    return str(identity)


def _wanted(service: Service, gallery: str, form: Form) -> str:
    """The name of the person that a form means."""
    name, identity = form.texts.get("person"), form.texts.get("person_id")
    if (name is None) == (identity is None):
        raise invalid(
            "It is not said who the photo shows",
            todo="give the field person (a name) or person_id, not both",
        )
    if identity is not None:
        return service.person(gallery, identity).name
    return person_name(name or "")


def _one_face(service: Service, gallery: Gallery, photo: bytes, select: str) -> Face:
    if select != "one":
        choice = cast(Literal["largest", "centre"], select)
        return service.engine.analyze(gallery, photo, select=choice)[1][0]
    _, faces = service.engine.analyze(gallery, photo)
    if len(faces) > 1:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "several-faces",
            f"The photo shows {len(faces)} faces",
            todo="send one that shows the person alone, or say select=largest or centre",
        )
    return faces[0]


def _having(gallery: Gallery, name: str, content_hash: str) -> int:
    found = enrolled(gallery, name, content_hash)
    if found is None:
        raise not_found("face of that photo any more")
    return found.face_id


@router.get("/faces/{face}", responses=problems())
def get_face(served: Served, key: Reader, gallery: GalleryName, face: FaceId) -> schemas.Face:
    """One face."""
    opened = served.gallery(gallery)
    record = _record(opened, face)
    served.audit.append(key.id, "read a face", gallery=gallery, subjects=(str(face),))
    return shown(opened, record, {})


@router.delete("/faces/{face}", responses=problems(409))
def delete_face(
    served: Served, key: Manager, gallery: GalleryName, face: FaceId
) -> schemas.Certificate:
    """Delete a face, and its person with the last one; the answer certifies it."""
    identity = served.deletions.face(gallery, face, actor=key.id)
    return served.deletions.certificate(gallery, identity)


_JPEG: Answers = {200: {"description": "A JPEG, never cached.", "content": {"image/jpeg": {}}}}


@router.get("/faces/{face}/thumbnail", response_class=Response, responses=problems() | _JPEG)
def get_thumbnail(served: Served, key: Viewer, gallery: GalleryName, face: FaceId) -> Response:
    """The small picture of a face."""
    opened = served.gallery(gallery)
    try:
        picture = opened.thumbnail(face)
    except GalleryError:
        raise not_found(f"face {face}") from None
    if picture is None or not picture.startswith(b"\xff\xd8"):
        raise not_found(f"picture of face {face}")
    served.audit.append(key.id, "see a face", gallery=gallery, subjects=(str(face),))
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "no-store"})
