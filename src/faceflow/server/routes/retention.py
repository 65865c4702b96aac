"""Retention: people whose time is over, and certificates of what was deleted."""

from __future__ import annotations

from fastapi import APIRouter

from faceflow.server import schemas
from faceflow.server.routes.common import (
    Certifier,
    Cursor,
    GalleryName,
    Limit,
    Manager,
    Served,
    SomeId,
    last_number,
    problems,
)

router = APIRouter(prefix="/v1/galleries/{gallery}", tags=["retention"])


@router.post("/retention/sweep", responses=problems())
def sweep(served: Served, key: Manager, gallery: GalleryName) -> schemas.Sweep:
    """Delete now those whose time is over; the service does it by itself every hour."""
    served.gallery(gallery)
    return served.sweep(gallery, key.id)


@router.get("/certificates", responses=problems())
def list_certificates(
    served: Served, key: Certifier, gallery: GalleryName, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Certificates:
    """Certificates of deletions, the oldest first; those of a gallery outlive it."""
    listing = f"certificates {gallery}"
    after = last_number(served.cursors.read(listing, cursor)) or 0
    found, last = served.deletions.page(gallery, after, limit)
    return schemas.Certificates(
        items=found, next=None if last is None else served.cursors.make(listing, last)
    )


@router.get("/certificates/{certificate}", responses=problems())
def get_certificate(
    served: Served, key: Certifier, gallery: GalleryName, certificate: SomeId
) -> schemas.Certificate:
    """One certificate."""
    return served.deletions.certificate(gallery, certificate)
