"""What every request and answer gets, whatever route it takes.

A request id, security headers, a limit on bytes cut while they stream in and one on requests at
once, a line in the log made of a fixed list of fields, and a count. Errors that nobody foresaw
become a problem document here, so that their texts reach neither clients nor logs.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceflow.server import problems
from faceflow.server.metrics import Metrics
from faceflow.server.problems import Problem
from faceflow.server.settings import Limits

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
    # Answers may show faces.
    "Cache-Control": "no-store",
}
"""On every answer, unless a route says otherwise."""

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

log = logging.getLogger("faceflow.server.access")


class Frame:
    """The middleware around the whole application."""

    def __init__(self, app: ASGIApp, limits: Callable[[], Limits], metrics: Metrics) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        request.state.request_id = secrets.token_hex(8)
        started, status = time.monotonic(), 0

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request.state.request_id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        self._in_flight += 1
        try:
            await self._answer(request, scope, receive, framed)
        except Exception as error:
            if status:  # too late for another answer; the client sees a cut one
                problems.bug(error, request.state.request_id)
                raise ConnectionError("the answer was cut") from None
            problem = problems.bug(error, request.state.request_id)
            await problems.response(request, problem)(scope, receive, framed)
        finally:
            self._in_flight -= 1
            self._note(scope, request, status, time.monotonic() - started)

    async def _answer(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        limits = self._limits()
        most = limits.request_bytes
        refused: Problem | None = None
        length = request.headers.get("content-length", "0")
        if self._in_flight > limits.requests:
            refused = Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "overloaded",
                "Too many requests at once",
                todo="wait as Retry-After says, and try again",
                headers={"Retry-After": "2"},
            )
        elif length.isdecimal() and int(length) > most:
            refused = too_large(most)
        if refused is not None:
            await problems.response(request, refused)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise too_large(most)
            return message

        await self._app(scope, counted, send)

    def _note(self, scope: Scope, request: Request, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "") or "none"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.answered(method, route, status, seconds)
        # Never the path, the query or a header: they may name people.
        log.info(
            "%s %s %d %.0f ms request %s key %s",
            method,
            route,
            status,
            seconds * 1000,
            request.state.request_id,
            getattr(request.state, "key_id", "-"),
        )


def too_large(most: int) -> Problem:
    """413, with the limit."""
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too-large",
        "The request is too large",
        why=f"at most {most:,} bytes are taken",
        todo="send fewer or smaller photos",
    )
