"""The description of the interface, with what the framework cannot know: problems and keys."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from faceflow.server.schemas import ProblemDocument

_OPEN = ("/livez", "/readyz")
"""Paths that need no key."""

_ABOUT = (
    "Who is this covered face, how sure are we, and which parts of the face say so. Photos are "
    "sent as multipart/form-data; there is no field for a URL or a path. Errors are problem "
    "documents by RFC 9457. Every list is {items, next}: give next back as cursor."
)


def install(app: FastAPI) -> None:
    """Make ``app.openapi()`` give it, computed once."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def describe(app: FastAPI) -> dict[str, Any]:
    """The description of an application."""
    found: dict[str, Any] = get_openapi(
        title=app.title, version=app.version, description=_ABOUT, routes=app.routes
    )
    parts = found.setdefault("components", {})
    schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    parts.setdefault("schemas", {})["ProblemDocument"] = schema
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, methods in found["paths"].items():
        for operation in methods.values():
            operation["security"] = [] if path in _OPEN else [{"key": []}]
    return found
