"""Galleries: make, list, get, delete."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from faceflow.errors import GalleryError
from faceflow.gallery.reading import MIN_QUALITY
from faceflow.server import schemas
from faceflow.server.access import require_unbound
from faceflow.server.problems import Problem, conflict
from faceflow.server.routes.common import (
    Administrator,
    AnyKey,
    Cursor,
    GalleryName,
    Limit,
    Repetition,
    Served,
    problems,
    request_digest,
)
from faceflow.server.service import Service

router = APIRouter(prefix="/v1/galleries", tags=["galleries"])


def shown(service: Service, name: str) -> schemas.Gallery:
    """A gallery as it is sent. Raises a problem, 404."""
    gallery = service.gallery(name)
    stats, header = gallery.stats(), gallery.header
    calibration = gallery.calibration
    return schemas.Gallery(
        name=name,
        network=header.network_name,
        detector=header.detector,
        digest=header.features_digest,
        grid=header.grid,
        embedding_size=header.embedding_size,
        created=header.created,
        revision=gallery.revision,
        people=stats.people,
        faces=stats.faces,
        bytes=stats.file_bytes,
        threshold=None if calibration is None else calibration.threshold,
        min_quality=gallery.min_quality,
    )


@router.get("", responses=problems())
def list_galleries(
    served: Served, key: AnyKey, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Galleries:
    """Galleries that the key may know of, by name."""
    after = served.cursors.read("galleries", cursor)
    names = [
        name
        for name in served.engine.names()
        if (key.galleries is None or name in key.galleries) and (after is None or name > str(after))
    ]
    found = []
    for name in names[:limit]:
        try:
            found.append(shown(served, name))
        except (Problem, GalleryError):  # deleted meanwhile, or damaged: asking for it says so
            continue
    more = len(names) > limit
    return schemas.Galleries(
        items=found, next=served.cursors.make("galleries", names[limit - 1]) if more else None
    )


@router.post("", status_code=HTTPStatus.CREATED, responses=problems(409))
async def create_gallery(
    served: Served,
    key: Administrator,
    wanted: schemas.GalleryCreate,
    repetition: Repetition = None,
) -> schemas.Gallery:
    """Make an empty gallery, for one network and detector for good."""
    require_unbound(key)

    def make() -> str:
        gallery = served.engine.create(wanted.name, wanted.network, wanted.detector)
        if wanted.digest not in (None, gallery.features_digest):
            found = gallery.features_digest
            served.engine.delete(wanted.name)
            raise conflict(
                "gallery-mismatch",
                "The network here is not the one that was asked for",
                why=f"its digest is {found}",
            )
        served.audit.append(
            key.id,
            "make a gallery",
            gallery=wanted.name,
            subjects=(wanted.name,),
            digest=gallery.features_digest,
        )
        return wanted.name

    async def once() -> str:
        return await served.compute(make)

    name, _ = await served.repetitions.once(
        key.id, repetition, request_digest("galleries", wanted.model_dump_json()), once
    )
    return await run_in_threadpool(shown, served, name)


@router.get("/{gallery}", responses=problems())
def get_gallery(served: Served, key: AnyKey, gallery: GalleryName) -> schemas.Gallery:
    """One gallery."""
    return shown(served, gallery)


@router.patch("/{gallery}", responses=problems(409))
def change_gallery(
    served: Served, key: Administrator, gallery: GalleryName, change: schemas.GalleryChange
) -> schemas.Gallery:
    """Change what a gallery answers; it is kept in the gallery, and holds wherever it is used."""
    opened = served.gallery(gallery)
    if change.min_quality is not None:
        opened.update_settings({MIN_QUALITY: change.min_quality})
        served.audit.append(
            key.id,
            "change a gallery",
            gallery=gallery,
            subjects=(gallery,),
            min_quality=change.min_quality,
            revision=opened.revision,
        )
    return shown(served, gallery)


@router.delete("/{gallery}", responses=problems(409))
def delete_gallery(served: Served, key: Administrator, gallery: GalleryName) -> schemas.Certificate:
    """Delete a gallery with everyone in it; the answer certifies it."""
    identity = served.deletions.gallery(gallery, actor=key.id)
    return served.deletions.certificate(gallery, identity)
