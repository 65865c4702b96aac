"""Sign in to the pages, sign out, and who am I."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, StringConstraints

from faceflow.server import access, sessions
from faceflow.server.keys import Key
from faceflow.server.problems import Problem
from faceflow.server.roles import PERMISSIONS
from faceflow.server.routes.common import problems

router = APIRouter()


class SignIn(BaseModel):
    """What the sign-in page sends."""

    key: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class Who(BaseModel):
    """Whose key or session a request carries.

    Attributes:
        key: the key's id.
        name: whose key it is.
        role: its role.
        permissions: what the role allows.
        galleries: names of the galleries it is bound to; null: all.
    """

    key: str
    name: str
    role: str
    permissions: list[str]
    galleries: list[str] | None


def _who(key: Key) -> Who:
    return Who(
        key=key.id,
        name=key.name,
        role=key.role.value,
        permissions=sorted(permission.value for permission in PERMISSIONS[key.role]),
        galleries=None if key.galleries is None else sorted(key.galleries),
    )


@router.get("/v1/whoami", tags=["service"], responses=problems())
def whoami(request: Request) -> Who:
    """Whose key this is and what it may do."""
    return _who(access.key_of(request))


@router.post("/session", include_in_schema=False)
def sign_in(request: Request, response: Response, body: SignIn) -> Who:
    """Start a session of a key; the answer sets its cookie."""
    access.require_origin(request)
    key = request.app.state.keys.check(body.key)
    if key is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "no-key",
            "This key opens nothing",
            why="it is mistyped, expired or revoked",
            todo="copy the whole key, from ffk_ to its last character, or ask an administrator",
        )
    settings = request.app.state.settings
    response.set_cookie(
        sessions.cookie_name(settings),
        request.app.state.sessions.begin(key),
        max_age=int(sessions.LONGEST.total_seconds()),
        secure=sessions.is_encrypted(settings),
        httponly=True,
        samesite="strict",
        path="/",
    )
    request.app.state.audit.append(key.id, "sign in")
    return _who(key)


@router.delete("/session", include_in_schema=False, status_code=HTTPStatus.NO_CONTENT)
def sign_out(request: Request) -> Response:
    """End the session; again does nothing."""
    access.require_origin(request)
    settings = request.app.state.settings
    name = sessions.cookie_name(settings)
    text = request.cookies.get(name, "")
    key = request.app.state.sessions.key(text) if text else None
    if key is not None:
        request.app.state.sessions.end(text)
        request.app.state.audit.append(key.id, "sign out")
    response = Response(status_code=HTTPStatus.NO_CONTENT)
    response.delete_cookie(
        name,
        path="/",
        secure=sessions.is_encrypted(settings),
        httponly=True,
        samesite="strict",
    )
    return response
