"""The service itself: alive, ready, counts, limits."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus

from fastapi import APIRouter, Response

import faceflow
from faceflow.server import schemas
from faceflow.server.access import require_unbound
from faceflow.server.limits import ADJUSTABLE
from faceflow.server.metrics import MEDIA_TYPE
from faceflow.server.problems import Problem
from faceflow.server.roles import PERMISSIONS
from faceflow.server.routes.common import Administrator, Answers, Auditor, Served, problems
from faceflow.server.service import Service

router = APIRouter(tags=["service"])


@router.get("/livez")
async def livez() -> schemas.Status:
    """The process answers."""
    return schemas.Status(status="ok")


@router.get("/readyz", responses=problems())
async def readyz(served: Served) -> schemas.Status:
    """Networks are loaded, and the service is not stopping."""
    if not served.ready:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "not-ready",
            "The service is starting or stopping",
            headers={"Retry-After": "1"},
        )
    return schemas.Status(status="ready")


_TEXT: Answers = {200: {"description": "Counts and times.", "content": {"text/plain": {}}}}


@router.get("/metrics", response_class=Response, responses=problems() | _TEXT)
def metrics(served: Served, key: Auditor) -> Response:
    """Counts and times of all workers in the text format of Prometheus, without names."""
    return Response(served.counts().text(), media_type=MEDIA_TYPE)


@router.get("/v1/settings", responses=problems())
def get_settings(served: Served, key: Administrator) -> schemas.Settings:
    """The limits that hold, and what each role may do."""
    return _settings(served)


@router.patch("/v1/settings", responses=problems())
def change_settings(
    served: Served, key: Administrator, change: schemas.SettingsChange
) -> schemas.Settings:
    """Change limits for all processes of the service, also after a restart; null undoes it."""
    require_unbound(key)
    with served.state.writing() as connection:
        served.limits.change(connection, change.limits)
        served.audit.append(
            key.id, "change the settings", connection=connection, limits=dict(change.limits)
        )
    return _settings(served)


def _settings(served: Service) -> schemas.Settings:
    return schemas.Settings(
        version=faceflow.__version__,
        limits=asdict(served.limits()),
        adjustable={name: list(bounds) for name, bounds in ADJUSTABLE.items()},
        roles={
            role.value: sorted(one.value for one in allowed)
            for role, allowed in PERMISSIONS.items()
        },
    )
