"""The service itself: alive, ready, counts, limits."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus

from fastapi import APIRouter, Response

import faceflow
from faceflow.server import schemas
from faceflow.server.metrics import MEDIA_TYPE
from faceflow.server.problems import Problem
from faceflow.server.roles import PERMISSIONS
from faceflow.server.routes.common import Administrator, Answers, Auditor, Served, problems

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
    """Counts and times in the text format of Prometheus, without names."""
    return Response(served.metrics.text(served.gauges()), media_type=MEDIA_TYPE)


@router.get("/v1/settings", responses=problems())
def get_settings(served: Served, key: Administrator) -> schemas.Settings:
    """The limits that hold, and what each role may do."""
    return schemas.Settings(
        version=faceflow.__version__,
        limits=asdict(served.settings.limits),
        roles={
            role.value: sorted(one.value for one in allowed)
            for role, allowed in PERMISSIONS.items()
        },
    )
