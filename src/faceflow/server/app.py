"""The application: the service's parts behind their routes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

import faceflow
from faceflow.server import openapi, pages, problems
from faceflow.server.engine import Analyzers
from faceflow.server.frame import Frame
from faceflow.server.routes import (
    audit,
    cases,
    faces,
    galleries,
    jobs,
    keys,
    marks,
    people,
    retention,
    searches,
    session,
    system,
    viewer,
)
from faceflow.server.service import Service
from faceflow.server.settings import ServerSettings

ROUTERS = (
    system.router,
    galleries.router,
    people.router,
    faces.router,
    searches.router,
    marks.router,
    retention.router,
    cases.router,
    session.router,
    pages.router,
    jobs.router,
    keys.router,
    audit.router,
    viewer.router,
)


def create_app(settings: ServerSettings, analyzers: Analyzers | None = None) -> FastAPI:
    """The service as an ASGI application.

    Args:
        settings: what it is told.
        analyzers: where networks come from, see :class:`faceflow.server.engine.Engine`.

    Raises:
        GalleryError: the state file cannot be used.
    """
    service = Service(settings, analyzers)

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="faceflow",
        version=faceflow.__version__,
        docs_url=None,  # its page would load scripts from a foreign host
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=life,
    )
    app.state.service = service
    app.state.settings = settings
    app.state.state = service.state
    app.state.keys = service.keys
    app.state.sessions = service.sessions
    app.state.audit = service.audit
    app.state.problem_page = pages.problem_page
    problems.install(app, service.engine.places.without_place)
    for router in ROUTERS:
        app.include_router(router)
    openapi.install(app)
    app.add_middleware(Frame, limits=service.limits, metrics=service.metrics)
    return app
