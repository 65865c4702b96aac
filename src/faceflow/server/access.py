"""Who is asking, and whether they may: the dependencies of every route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import Request

from faceflow.server.keys import Key
from faceflow.server.problems import Problem, not_found
from faceflow.server.roles import Permission


def key_of(request: Request) -> Key:
    """The key a request carries in its Authorization header.

    Raises:
        Problem: 401 without a valid key.
    """
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    key = request.app.state.keys.check(text.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "no-key",
            "This needs a valid key",
            todo="send the header 'Authorization: Bearer ffk_...'",
            headers={"WWW-Authenticate": "Bearer"},
        )
    assert isinstance(key, Key)
    return key


def need(permission: Permission) -> Callable[[Request], Awaitable[Key]]:
    """A dependency: the request's key, which must hold the permission.

    With a ``gallery`` in the path the key must be bound to it. A gallery that is not there and
    one that the key may not know of are answered alike.

    Raises:
        Problem: 401 without a key, 403 where the role lacks the permission, 404 for the gallery.
    """

    async def check(request: Request) -> Key:
        key = key_of(request)
        gallery = request.path_params.get("gallery")
        if gallery is not None and key.galleries is not None and gallery not in key.galleries:
            raise not_found(f"gallery {gallery!r}")
        if not key.may(permission):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "forbidden",
                f"A key with the role {key.role} may not do this",
                why=f"it needs the permission to {permission.value}",
            )
        return key

    return check
