"""Who is asking, and whether they may: the dependencies of every route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import Request

from faceflow.server import sessions
from faceflow.server.keys import Key
from faceflow.server.problems import Problem, not_found
from faceflow.server.roles import Permission


def key_of(request: Request) -> Key:
    """Whose request this is: by the key in its Authorization header, else by its session.

    A header that is there counts, right or wrong. A session's cookie travels by itself, so every
    request with one that changes something must say that one of our own pages sent it.

    Raises:
        Problem: 401 without a valid key or session, 403 for a session from another origin.
    """
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, text = header.partition(" ")
        key = request.app.state.keys.check(text.strip()) if scheme.lower() == "bearer" else None
    else:
        text = request.cookies.get(sessions.cookie_name(request.app.state.settings), "")
        key = request.app.state.sessions.key(text) if text else None
        if key is not None:
            require_origin(request)
    if key is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "no-key",
            "This needs a valid key",
            todo="send the header 'Authorization: Bearer ffk_...', or sign in on the pages",
            headers={"WWW-Authenticate": "Bearer"},
        )
    assert isinstance(key, Key)
    return key


def require_origin(request: Request) -> None:
    """Refuse a request that changes something and was not sent by one of our own pages.

    Raises:
        Problem: 403, unless the method is safe or the Origin header names an address of ours.
    """
    if request.method in sessions.SAFE:
        return
    port = (request.scope.get("server") or ("", 0))[1] or 0
    allowed = sessions.origins(request.app.state.settings, port)
    if request.headers.get("origin") not in allowed:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "foreign-origin",
            "This request did not come from one of the service's own pages",
            why="a session's cookie alone does not show who sent it",
            todo="open the pages at their own address (--origin names more), or send a key",
        )


def need(*permissions: Permission) -> Callable[[Request], Awaitable[Key]]:
    """A dependency: the request's key, which must hold one of the permissions.

    Without any, every valid key will do. With a ``gallery`` in the path the key must be bound to
    it; a gallery that is not there and one that the key may not know of are answered alike. What
    belongs to the service and to no gallery takes a key that is bound to none.

    Raises:
        Problem: 401 without a key, 403 where the role lacks the permission, 404 for the gallery,
            429 for a key that asks too often.
    """

    async def check(request: Request) -> Key:
        key = key_of(request)
        request.state.key_id = key.id
        request.app.state.service.rates.take(key.id)
        gallery = request.path_params.get("gallery")
        if gallery is not None and key.galleries is not None and gallery not in key.galleries:
            raise not_found(f"gallery {gallery!r}")
        if permissions and not any(key.may(one) for one in permissions):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "forbidden",
                f"A key with the role {key.role} may not do this",
                why=f"it needs the permission to {' or '.join(permissions)}",
            )
        return key

    return check


def require_unbound(key: Key) -> None:
    """Refuse a key that is bound to galleries: 403, for what concerns the whole service."""
    if key.galleries is not None:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "bound-key",
            "A key that is bound to galleries may not do this",
            why="it concerns the whole service",
        )
