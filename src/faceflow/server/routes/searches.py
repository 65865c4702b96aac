"""Searches and their reasons, and the comparison of two photos."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from faceflow.matching.options import Changes
from faceflow.matching.verification import verify
from faceflow.quality import BANDS
from faceflow.server import reasons, schemas
from faceflow.server.idempotency import status
from faceflow.server.photos import Form, form_body
from faceflow.server.problems import invalid
from faceflow.server.routes.common import (
    Answers,
    GalleryName,
    Repetition,
    Searcher,
    Served,
    SomeId,
    problems,
    request_digest,
    uploaded,
)
from faceflow.server.searches import (
    Choice,
    Kept,
    Question,
    options_of,
    options_shown,
    parts_of,
    query_face,
)
from faceflow.server.service import Service

router = APIRouter(prefix="/v1/galleries/{gallery}", tags=["searches"])

_NUMBER: dict[str, Any] = {"type": "number"}
_OPTIONS: dict[str, dict[str, Any]] = {
    "threshold": _NUMBER,
    "k": {"type": "integer", "minimum": 1},
    "alpha": {"type": "number", "minimum": 0, "maximum": 1},
    "weighting": {"type": "string"},
    "patches": {"enum": ["raw", "projected"]},
    "visible_share": {"type": "number", "minimum": 0, "maximum": 1},
    "epsilon": {"type": "number", "minimum": 0.001},
}
_FORM = form_body(
    ["image"],
    {
        "face": {
            "type": "string",
            "default": "largest",
            "description": "`largest`, `centre`, or a number as the answer lists the faces.",
        },
        "top": {"type": "integer", "minimum": 1, "default": 20, "description": "People."},
        "whole_image": {"enum": ["never", "fallback", "always"], "default": "never"},
        "min_quality": {
            "enum": list(BANDS),
            "description": "Name nobody where the face is worse (default: as the gallery says).",
        },
        **_OPTIONS,
    },
)

FaceQuery = Annotated[int, Query(ge=1, lt=2**63)]


def _question(form: Form) -> Question:
    texts = form.texts
    face: Choice = "largest"
    text = texts.get("face", "largest")
    if text in ("largest", "centre"):
        face = cast(Literal["largest", "centre"], text)
    else:
        face = _whole("face", text)
    whole = texts.get("whole_image", "never")
    if whole not in ("never", "fallback", "always"):
        raise invalid(f"whole_image is {whole[:40]!r}", todo="choose never, fallback or always")
    least = texts.get("min_quality")
    if least is not None and least not in BANDS:
        raise invalid(f"min_quality is {least[:40]!r}", todo=f"choose {', '.join(BANDS)}")
    top = _whole("top", texts["top"]) if "top" in texts else 20
    if not 1 <= top <= 1000:
        raise invalid(f"top is {top}", why="it must lie between 1 and 1000")
    return Question(
        photo=form.photo(),
        face=face,
        top=top,
        threshold=_number(texts, "threshold"),
        changes=_changes(texts),
        epsilon=_number(texts, "epsilon"),
        whole_image=cast(Literal["never", "fallback", "always"], whole),
        min_quality=least,
    )


def _changes(texts: Any) -> Changes:
    return {
        "alpha": _number(texts, "alpha"),
        "weighting": texts.get("weighting"),
        "k": _whole("k", texts["k"]) if "k" in texts else None,
        "patches": texts.get("patches"),
        "visible_share": _number(texts, "visible_share"),
    }


def _number(texts: Any, name: str) -> float | None:
    if name not in texts:
        return None
    try:
        return float(texts[name])
    except ValueError:
        raise invalid(f"{name} is {texts[name][:40]!r}", why="it must be a number") from None


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise invalid(f"{name} is {text[:40]!r}", why="it must be a whole number")
    return int(text)


@router.post(
    "/searches",
    status_code=HTTPStatus.CREATED,
    response_model=schemas.Search,
    responses=problems(408, 409, 413, 415),
    openapi_extra=_FORM,
)
async def search(
    served: Served,
    key: Searcher,
    gallery: GalleryName,
    request: Request,
    repetition: Repetition = None,
) -> Response:
    """Find out who is in a photo; the answer can be asked about for a while."""
    form = await uploaded(request, served, gallery)
    question = _question(form)
    answers: list[schemas.Search] = []

    async def once() -> str:
        kept = await served.compute(_ask, served, gallery, question, key.id)
        answers.append(kept.search)
        return kept.search.id

    digest = request_digest("search", gallery, form.digest)
    identity, repeated = await served.repetitions.once(key.id, repetition, digest, once)
    found = answers[0] if answers else await run_in_threadpool(_again, served, gallery, identity)
    # As it is: the framework would read and check every number once more.
    return Response(
        found.model_dump_json(),
        status(repeated),
        {"Location": f"/v1/galleries/{gallery}/searches/{identity}"},
        "application/json",
    )


def _ask(service: Service, gallery: str, question: Question, actor: str) -> Kept:
    kept = service.searches.ask(service.engine, service.marks, gallery, question)
    with service.state.writing() as connection:
        service.searches.keep(connection, kept, actor)
        service.audit.append(
            actor,
            "search",
            gallery=gallery,
            subjects=(kept.search.id, *(one.person.id for one in kept.search.candidates)),
            connection=connection,
            photo=kept.search.query.photo,
            revision=kept.search.revision,
            digest=kept.search.digest,
        )
    return kept


def _kept(service: Service, gallery: str, identity: str) -> Kept:
    return service.searches.get(gallery, service.gallery(gallery), identity)


def _again(service: Service, gallery: str, identity: str) -> schemas.Search:
    return _kept(service, gallery, identity).search


def _noted(service: Service, gallery: str, identity: str, actor: str, action: str) -> Kept:
    kept = _kept(service, gallery, identity)
    service.audit.append(actor, action, gallery=gallery, subjects=(identity,))
    return kept


@router.get("/searches/{search}", responses=problems())
def get_search(
    served: Served, key: Searcher, gallery: GalleryName, search: SomeId
) -> schemas.Search:
    """A search as it was answered, with the names of now."""
    return _noted(served, gallery, search, key.id, "read a search").search


@router.delete("/searches/{search}", status_code=HTTPStatus.NO_CONTENT, responses=problems())
def delete_search(served: Served, key: Searcher, gallery: GalleryName, search: SomeId) -> None:
    """Forget a search before its time."""
    with served.state.writing() as connection:
        served.searches.remove(connection, gallery, search)
        served.audit.append(
            key.id, "delete a search", gallery=gallery, subjects=(search,), connection=connection
        )
    served.state.erase()


_PICTURE: Answers = {
    200: {
        "description": "A PNG or JPEG, never cached.",
        "content": {"image/png": {}, "image/jpeg": {}},
    }
}


@router.get(
    "/searches/{search}/pictures/{picture}",
    response_class=Response,
    responses=problems() | _PICTURE,
)
def get_picture(
    served: Served,
    key: Searcher,
    gallery: GalleryName,
    search: SomeId,
    picture: Literal["aligned", "original"],
) -> Response:
    """The searched face as the network saw it (PNG), or with its surroundings (JPEG)."""
    kept = _noted(served, gallery, search, key.id, "see a search")
    if picture == "aligned":
        return Response(kept.crop, media_type="image/png")
    return Response(kept.context, media_type="image/jpeg")


@router.get("/searches/{search}/explanation", responses=problems(409))
async def explain(
    served: Served, key: Searcher, gallery: GalleryName, search: SomeId, face_id: FaceQuery
) -> schemas.Explanation:
    """Why a candidate's face has its score."""

    def work() -> schemas.Explanation:
        kept = _noted(served, gallery, search, key.id, "explain a search")
        opened = served.gallery(gallery)
        options = options_of(served.engine, opened, kept.search)
        return reasons.explanation(kept, opened, options, face_id)

    return await served.compute(work)


@router.get("/searches/{search}/comparison", responses=problems(409))
async def compare(
    served: Served,
    key: Searcher,
    gallery: GalleryName,
    search: SomeId,
    a: FaceQuery,
    b: FaceQuery,
) -> schemas.Comparison:
    """Why face ``a`` of the candidates and not face ``b``."""

    def work() -> schemas.Comparison:
        kept = _noted(served, gallery, search, key.id, "compare candidates")
        opened = served.gallery(gallery)
        options = options_of(served.engine, opened, kept.search)
        return reasons.comparison(kept, opened, options, a, b)

    return await served.compute(work)


@router.post("/searches/{search}/what-if", responses=problems(409))
async def what_if(
    served: Served,
    key: Searcher,
    gallery: GalleryName,
    search: SomeId,
    wanted: schemas.WhatIfRequest,
) -> schemas.WhatIf:
    """Score the candidates anew without some cells of the query; nothing of it is kept."""

    def work() -> schemas.WhatIf:
        kept = _noted(served, gallery, search, key.id, "ask what if")
        opened = served.gallery(gallery)
        options = options_of(served.engine, opened, kept.search)
        return reasons.what_if(kept, opened, options, wanted.hidden)

    return await served.compute(work)


@router.post(
    "/verify",
    responses=problems(408, 409, 413, 415),
    openapi_extra=form_body(["a", "b"], _OPTIONS),
)
async def verify_photos(
    served: Served, key: Searcher, gallery: GalleryName, request: Request
) -> schemas.Verification:
    """Compare the largest faces of two photos, as this gallery compares; nothing is kept."""
    form = await uploaded(request, served, gallery)
    return await served.compute(_verify, served, gallery, form, key.id)


def _verify(service: Service, gallery: str, form: Form, actor: str) -> schemas.Verification:
    opened = service.gallery(gallery)
    options = service.engine.options(opened, _changes(form.texts), _number(form.texts, "epsilon"))
    threshold = _number(form.texts, "threshold")
    photos = [form.photo(name) for name in ("a", "b")]
    first, second = (
        service.engine.analyze(opened, photo.data, select="largest", asked=number == 0)[1][0]
        for number, photo in enumerate(photos)
    )
    found = verify(first.features, second.features, options, threshold=threshold)
    service.audit.append(
        actor,
        "verify",
        gallery=gallery,
        photos=[photo.sha256 for photo in photos],
        digest=opened.features_digest,
    )
    return schemas.Verification(
        score=found.score,
        parts=parts_of(options, found.cosine, found.emd, found.visible_cosine),
        same=found.same,
        threshold=found.threshold,
        network=opened.header.network_name,
        query_network=service.engine.student(opened),
        options=options_shown(options),
        a=query_face(first, options),
        b=query_face(second, options),
    )
