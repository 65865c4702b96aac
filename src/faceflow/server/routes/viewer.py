"""The description of this interface: as OpenAPI, and as a page that shows it."""

from __future__ import annotations

from functools import cache
from importlib import resources

from fastapi import APIRouter, Response

from faceflow.server.problems import not_found

router = APIRouter(include_in_schema=False)

_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_FILES = ("viewer.html", "viewer.js", "viewer.css")


@cache
def _read(name: str) -> str:
    return (resources.files("faceflow.server") / "viewer" / name).read_text(encoding="utf-8")


@router.get("/docs")
def page() -> Response:
    """The page."""
    return Response(_read("viewer.html"), media_type="text/html; charset=utf-8")


@router.get("/docs/{name}")
def part(name: str) -> Response:
    """What the page is made of."""
    if name not in _FILES:
        raise not_found(f"page {name[:40]!r}")
    kind = _KINDS[name[name.rindex(".") :]]
    return Response(_read(name), media_type=f"{kind}; charset=utf-8")
