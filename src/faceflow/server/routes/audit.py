"""The audit log: read, verify."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from fastapi import APIRouter

from faceflow.server import audit, schemas
from faceflow.server.routes.common import Auditor, Cursor, Limit, Served, last_number, problems

router = APIRouter(prefix="/v1/audit", tags=["audit"])


@router.get("", responses=problems())
def list_entries(
    served: Served,
    key: Auditor,
    limit: Limit = 100,
    cursor: Cursor = None,
    order: Literal["oldest", "newest"] = "oldest",
) -> schemas.AuditPage:
    """Entries, oldest or newest first; of the galleries that the key is bound to, if it is."""
    listing = "audit" if order == "oldest" else "audit, newest first"
    place = last_number(served.cursors.read(listing, cursor))
    bound = None if key.galleries is None else sorted(key.galleries)
    if order == "oldest":
        found = served.audit.entries(place or 0, limit, galleries=bound)
    else:
        found = served.audit.newest(place, limit, galleries=bound)
    return schemas.AuditPage(
        items=[schemas.AuditEntry.model_validate(asdict(entry)) for entry in found],
        next=served.cursors.make(listing, found[-1].number) if len(found) == limit else None,
    )


@router.get("/verify", responses=problems(409))
def verify(served: Served, key: Auditor) -> schemas.AuditHead:
    """Read the whole log and check every link; where it ends."""
    number, value = audit.verify(served.state)
    return schemas.AuditHead(number=number, hash=value)
