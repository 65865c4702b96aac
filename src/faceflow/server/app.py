"""The application: its parts put together, with what every request and answer gets."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import FastAPI, Request, Response

import faceflow
from faceflow.server import pages, problems
from faceflow.server.audit import Audit
from faceflow.server.keys import Keys
from faceflow.server.routes import session
from faceflow.server.sessions import Sessions
from faceflow.server.settings import ServerSettings
from faceflow.server.state import State

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
"""On every answer. Answers may show faces, so nothing is cached unless a route says otherwise."""


def create_app(settings: ServerSettings) -> FastAPI:
    """The service as an ASGI application.

    Raises:
        GalleryError: the state file cannot be used.
    """
    state = State(settings.state_path)

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        state.close()

    app = FastAPI(
        title="faceflow",
        version=faceflow.__version__,
        docs_url=None,  # its page would load scripts from a foreign host
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=life,
    )
    app.state.settings = settings
    app.state.state = state
    app.state.keys = Keys(state)
    app.state.sessions = Sessions(state, app.state.keys)
    app.state.audit = Audit(state)
    problems.install(app)
    app.include_router(session.router)
    app.include_router(pages.router)

    @app.middleware("http")
    async def _frame(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        request.state.request_id = secrets.token_hex(8)
        request.state.started = time.monotonic()
        answer = await call_next(request)
        answer.headers["X-Request-Id"] = request.state.request_id
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    @app.get("/livez", tags=["service"])
    async def livez() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    return app
