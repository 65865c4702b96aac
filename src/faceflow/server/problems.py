"""Errors as RFC 9457 problem details: what went wrong, why, what to do, in which request."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from faceflow.errors import (
    FaceflowError,
    GalleryError,
    GalleryMismatchError,
    ImageError,
    InputError,
    NoFaceError,
    WeightsError,
)

log = logging.getLogger("faceflow.server")

MEDIA_TYPE = "application/problem+json"

STATUS: tuple[tuple[type[FaceflowError], int], ...] = (
    (GalleryMismatchError, HTTPStatus.CONFLICT),
    (ImageError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NoFaceError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (WeightsError, HTTPStatus.SERVICE_UNAVAILABLE),
    (GalleryError, HTTPStatus.CONFLICT),
)
"""The status of each kind of error, the most special first."""


class Problem(HTTPException):
    """An answer that is an error; an HTTPException, so that no framework hides it in another.

    Args:
        status: the HTTP status.
        code: a short fixed word for programs, e.g. ``not-found``.
        what, why, todo: as in :class:`faceflow.errors.FaceflowError`.
        headers: e.g. Retry-After.
    """

    def __init__(
        self,
        status: int,
        code: str,
        what: str,
        *,
        why: str = "",
        todo: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(int(status), what, headers or {})
        self.status, self.code, self.what, self.why, self.todo = status, code, what, why, todo


def not_found(what: str, *, why: str = "") -> Problem:
    """Something that is not there, or that this key may not know of: the two look alike."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", f"There is no {what}", why=why)


def problem_of(error: FaceflowError) -> Problem:
    """The answer to one of the library's errors."""
    status = next(
        (status for kind, status in STATUS if isinstance(error, kind)),
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )
    if _is_outage(error):
        # What the database says names hosts and ports, which is for who runs the service.
        log.error("a database cannot be used now: %s", type(error.__context__).__name__)
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "unavailable",
            "What the service keeps cannot be reached now",
            todo="wait as Retry-After says, and try again",
            headers={"Retry-After": "2"},
        )
    name = type(error).__name__.removesuffix("Error")
    code = "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
    return Problem(status, code, error.what, why=error.why, todo=error.todo)


def _is_outage(error: FaceflowError) -> bool:
    """Whether a database could not be reached or was busy: nothing that the client did."""
    cause = error.__cause__ or error.__context__
    return any(kind.__name__ == "OperationalError" for kind in type(cause).__mro__)


def response(request: Request, problem: Problem) -> Response:
    """A problem as JSON, or a page where one was asked for; no traceback, never what was sent."""
    page: Callable[[Request, Problem], Response | None] = request.app.state.problem_page
    shown = page(request, problem)
    if shown is not None:
        return shown
    body: dict[str, Any] = {
        "type": f"urn:faceflow:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": int(problem.status),
        "detail": problem.what,
        "request_id": getattr(request.state, "request_id", ""),
    }
    if problem.why:
        body["why"] = problem.why
    if problem.todo:
        body["todo"] = problem.todo
    return JSONResponse(
        body, status_code=int(problem.status), headers=problem.headers, media_type=MEDIA_TYPE
    )


def install(app: FastAPI, without_place: Callable[[str], str]) -> None:
    """Make every error of the application a problem document.

    Args:
        app: the application.
        without_place: strikes out of a message where galleries lie.
    """

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> Response:
        return response(request, error)

    @app.exception_handler(FaceflowError)
    async def _ours(request: Request, error: FaceflowError) -> Response:
        problem = problem_of(error)
        problem.what, problem.why = without_place(problem.what), without_place(problem.why)
        problem.todo = without_place(problem.todo)
        return response(request, problem)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        phrase = HTTPStatus(error.status_code).phrase
        code = phrase.lower().replace(" ", "-")
        problem = Problem(error.status_code, code, phrase, headers=dict(error.headers or {}))
        return response(request, problem)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        # Where and what kind only: the values sent may be anything, faces included.
        places = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5]
        )
        problem = Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            "The request is not valid",
            why=places,
        )
        return response(request, problem)


def bug(error: Exception, request_id: str) -> Problem:
    """The answer to an error that nobody foresaw; its text may hold anything and is not told."""
    log.error("bug %s in request %s", type(error).__name__, request_id)
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "bug",
        "This is a bug in faceflow",
        todo="report it with the request id",
    )


def too_many(what: str, seconds: float, *, why: str = "") -> Problem:
    """429, with the time after which it is worth trying again."""
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too-many-requests",
        what,
        why=why,
        todo="wait as Retry-After says, and try again",
        headers={"Retry-After": str(max(1, math.ceil(seconds)))},
    )


def invalid(what: str, *, why: str = "", todo: str = "") -> Problem:
    """422: what was sent cannot be meant."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", what, why=why, todo=todo)


def conflict(code: str, what: str, *, why: str = "", todo: str = "") -> Problem:
    """409: it contradicts what is there."""
    return Problem(HTTPStatus.CONFLICT, code, what, why=why, todo=todo)
