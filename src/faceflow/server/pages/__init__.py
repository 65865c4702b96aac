"""The examiner's pages: templates that hold no data, and modules that fetch it from ``/v1``.

A page shows what the session's key may see, because it asks as that key; nothing is rendered on
the server but the frame. Everything comes from this service: no other host, no inline script, no
inline style, so the content security policy can forbid all of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib import resources
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from faceflow.explain.drawing.colour import contribution_colours, weight_colours
from faceflow.pages import template
from faceflow.server import sessions
from faceflow.server.problems import Problem, not_found
from faceflow.server.roles import Permission

PACKAGE = "faceflow.server.pages"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FILE = re.compile(r"[a-z][a-z-]*\.(?:css|js|svg)")
_SCALES = "scales.js"

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the menu.

    Attributes:
        path: its address.
        label: what the menu calls it.
        title, lead: its heading and the line below.
        module: the JavaScript module that fills it.
        needs: permissions of which any is enough to list it.
        layout: a class of the main element.
    """

    path: str
    label: str
    title: str
    lead: str
    module: str
    needs: tuple[Permission, ...] = ()
    layout: str = ""


_P = Permission
MENU = (
    Page("/", "Examine", "Examine a photo", "", "examine", (_P.SEARCH,)),
    Page(
        "/cases",
        "Cases",
        "Cases",
        "Searches that were kept, and what people concluded from them, each on their own.",
        "cases",
        (_P.READ_CASES,),
        "narrow",
    ),
    Page(
        "/people",
        "People",
        "People",
        "Who is enrolled. Merging can be split back; retiring erases.",
        "people",
        (_P.READ_PEOPLE,),
    ),
    Page(
        "/enroll",
        "Enroll",
        "Enroll people",
        "A folder of photos with one folder per person inside. Every photo says what became of it.",
        "enroll",
        (_P.ENROLL,),
        "narrow",
    ),
    Page(
        "/settings",
        "Settings",
        "Settings",
        "Galleries, keys, the scale of conclusions, and the limits of this service.",
        "settings",
        (_P.ADMINISTER,),
        "narrow",
    ),
    Page(
        "/audit",
        "Audit",
        "Audit log",
        "Who did what to which ids. Every entry holds the hash of the one before.",
        "audit",
        (_P.READ_AUDIT,),
        "narrow",
    ),
)


@cache
def static() -> dict[str, bytes]:
    """The files that pages load, by name; only these can be asked for."""
    folder = resources.files(PACKAGE) / "static"
    found = {one.name: one.read_bytes() for one in folder.iterdir() if _FILE.fullmatch(one.name)}
    found[_SCALES] = scales().encode()
    return found


@cache
def version() -> str:
    """Changes with any of the files, and is part of their address, so they may be cached."""
    every = hashlib.sha256()
    for name, content in sorted(static().items()):
        every.update(name.encode() + hashlib.sha256(content).digest())
    return every.hexdigest()[:16]


def scales() -> str:
    """The two colour scales of the pictures as a JavaScript module: 256 steps each."""
    steps = np.linspace(0, 1, 256)
    tables = {"weight": weight_colours(steps), "contribution": contribution_colours(2 * steps - 1)}
    return "".join(
        f"export const {name} = {json.dumps([f'#{bytes(c).hex()}' for c in table])};\n"
        for name, table in tables.items()
    )


@router.get("/static/{digest}/{name}")
def static_file(digest: str, name: str) -> Response:
    """A file of the pages."""
    content = static().get(name)
    if content is None or digest != version():
        raise not_found(f"file {name[:60]!r}")
    return Response(
        content,
        media_type=_TYPES[name[name.rindex(".") :]],
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )


def _signed_in(request: Request) -> bool:
    text = request.cookies.get(sessions.cookie_name(request.app.state.settings), "")
    return bool(text) and request.app.state.sessions.key(text) is not None


def _show(request: Request, page: Page, here: str) -> Response:
    if not _signed_in(request):
        to = f"/sign-in?next={quote(request.url.path, safe='/')}"
        return RedirectResponse(to, HTTPStatus.SEE_OTHER)
    return _render("templates/base.html.j2", page, here, signed_in=True)


def problem_page(request: Request, problem: Problem) -> Response | None:
    """A problem for somebody who opened an address in a browser; None for programs and the API."""
    path = request.url.path
    asks = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if not asks or path.startswith(("/v1", "/static")):
        return None
    what = "There is nothing here" if problem.what == "Not Found" else problem.what
    page = Page(path, "", what, "", "")
    texts = [f"{text[0].upper()}{text[1:]}." for text in (problem.why, problem.todo) if text]
    return _render(
        "templates/problem.html.j2",
        page,
        "",
        signed_in=False,
        status=problem.status,
        headers=problem.headers,
        texts=texts,
        request_id=getattr(request.state, "request_id", ""),
    )


def _render(
    name: str,
    page: Page,
    here: str,
    *,
    signed_in: bool,
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    **more: object,
) -> HTMLResponse:
    return HTMLResponse(
        status_code=status,
        headers=None if headers is None else dict(headers),
        content=template(PACKAGE, name).render(
            title=page.title,
            lead=page.lead,
            module=page.module,
            layout=page.layout,
            static=f"/static/{version()}",
            pages=[
                (one.path, one.label, ",".join(need.value for need in one.needs)) for one in MENU
            ],
            here=here,
            signed_in=signed_in,
            status=int(status),
            **more,
        ),
    )


@router.get("/sign-in")
def sign_in(request: Request) -> Response:
    """The door; who is inside already goes on."""
    if _signed_in(request):
        return RedirectResponse("/", HTTPStatus.SEE_OTHER)
    page = Page("/sign-in", "", "Sign in", "", "sign-in")
    return _render("templates/sign-in.html.j2", page, "", signed_in=False)


@router.get("/cases/{case}")
def case(request: Request, case: str) -> Response:
    """One case; its module reads which from the address."""
    return _show(request, Page(f"/cases/{case}", "", "Case", "", "case"), "/cases")


def _add(page: Page) -> None:
    def show(request: Request) -> Response:
        return _show(request, page, page.path)

    router.add_api_route(page.path, show, name=page.module, include_in_schema=False)


for _page in MENU:
    _add(_page)

__all__ = ["MENU", "problem_page", "router", "static", "version"]
