"""Cases: keep a search, decide it, read it, take it along."""

from __future__ import annotations

import io
import json
import sqlite3
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Response
from PIL import Image
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from faceflow.arrays import UInt8
from faceflow.errors import GalleryError
from faceflow.explain import Caption, explain_pair, flow_picture, to_json
from faceflow.gallery import ReadableGallery
from faceflow.server import conclusions as scales
from faceflow.server.access import need, require_unbound
from faceflow.server.audit import Entry
from faceflow.server.case_file import Reason, decision_json, write_case_file
from faceflow.server.cases import (
    LONGEST_NOTE,
    LONGEST_TITLE,
    MOST_FEATURES,
    Case,
    CaseStatus,
)
from faceflow.server.conclusions import Conclusion, Direction
from faceflow.server.idempotency import status
from faceflow.server.keys import Key
from faceflow.server.problems import conflict, not_found
from faceflow.server.roles import Permission
from faceflow.server.routes.common import (
    Administrator,
    Cursor,
    Limit,
    Repetition,
    Served,
    SomeId,
    problems,
    request_digest,
)
from faceflow.server.schemas import Model, Page, Search
from faceflow.server.searches import Kept, options_of
from faceflow.server.service import Service

router = APIRouter(prefix="/v1", tags=["cases"])

CaseReader = Annotated[Key, Depends(need(Permission.READ_CASES))]
CaseOpener = Annotated[Key, Depends(need(Permission.OPEN_CASE))]
CaseDecider = Annotated[Key, Depends(need(Permission.OPEN_CASE, Permission.REVIEW_CASE))]

EXPLAINED = 2
"""Candidates whose reasons are in a case file, beside those that were decided about."""


class Step(Model):
    """A step of the scale of conclusions."""

    key: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    text: str = Field(min_length=1, max_length=200)
    direction: Direction


class Scale(Model):
    """The scale, from the same person to different people."""

    conclusions: list[Step] = Field(min_length=3, max_length=scales.MOST)


class CaseCreate(Model):
    """A search to keep as a case."""

    gallery: str = Field(max_length=64)
    search: str = Field(max_length=40)
    title: str = Field(min_length=1, max_length=LONGEST_TITLE)


class DecisionCreate(Model):
    """What somebody concludes."""

    conclusion: str = Field(max_length=40)
    person: str | None = Field(default=None, max_length=20)
    face_id: int | None = Field(default=None, ge=1, lt=2**63)
    note: str = Field(default="", max_length=LONGEST_NOTE)
    features: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[], max_length=MOST_FEATURES
    )
    names_shown: bool = False


class ShownDecision(Model):
    """A decision that this key may see."""

    number: int
    round: int
    key: str
    name: str
    time: str
    conclusion: Step
    person: str | None
    face_id: int | None
    note: str
    features: list[str]
    names_shown: bool
    salt: str
    sha256: str = Field(description="As the audit log notes it.")
    erased: bool = Field(
        default=False,
        description="Note, features and salt were erased with the person they were about.",
    )


class ShownErasure(Model):
    """What a case lost when people were erased from its gallery."""

    people: list[str]
    faces: list[int]
    query: bool = Field(description="Whether the query went too: it was said to show them.")
    hashes: dict[str, str] = Field(description="sha256 of what went, by name.")
    certificate: str
    time: str


class ShownOutcome(Model):
    """What a settled case came to."""

    direction: Direction
    person: str | None
    agreed: list[int] = Field(description="Numbers of the decisions that agree; none: all differ.")


class CaseSummary(Model):
    """A case in a list."""

    id: str
    gallery: str
    title: str
    key: str
    name: str
    created: str
    status: CaseStatus
    may_decide: bool


class ShownCase(CaseSummary):
    """A case as this key may see it: others' decisions come with the last one."""

    search: Search
    pictures: list[str]
    decisions: list[ShownDecision]
    hidden: bool = Field(description="Whether there are decisions that this key may not see yet.")
    outcome: ShownOutcome | None
    erasures: list[ShownErasure]


class CaseList(Page):
    """Cases, the newest first."""

    items: list[CaseSummary]


def _summary(case: Case) -> dict[str, Any]:
    return {name: getattr(case, name) for name in CaseSummary.model_fields}


def _shown(case: Case) -> ShownCase:
    outcome = case.outcome
    return ShownCase.model_validate(
        {
            **_summary(case),
            "search": case.search,
            "pictures": list(case.pictures),
            "decisions": [decision_json(one) for one in case.decisions],
            "hidden": case.hidden,
            "outcome": None
            if outcome is None
            else {
                "direction": outcome.direction,
                "person": outcome.person,
                "agreed": outcome.agreed,
            },
            "erasures": [asdict(one) for one in case.erasures],
        }
    )


@router.get("/conclusions", responses=problems())
def get_conclusions(served: Served, key: Annotated[Key, Depends(need())]) -> Scale:
    """The scale that decisions are made on."""
    steps = scales.scale(served.state)
    return Scale(conclusions=[Step.model_validate(one, from_attributes=True) for one in steps])


@router.put("/conclusions", responses=problems())
def put_conclusions(served: Served, key: Administrator, wanted: Scale) -> Scale:
    """Put another scale in place; decisions keep the words they were made in."""
    require_unbound(key)
    steps = [Conclusion(one.key, one.text, one.direction) for one in wanted.conclusions]
    scales.set_scale(served.state, steps)
    served.audit.append(key.id, "set conclusions", steps=[one.key for one in steps])
    return wanted


@router.get("/cases", responses=problems())
def list_cases(
    served: Served, key: CaseReader, limit: Limit = 50, cursor: Cursor = None
) -> CaseList:
    """Cases in the key's galleries, the newest first."""
    place = served.cursors.read("cases", cursor)
    after = None if place is None else tuple(str(place).split(" ", 1))
    found = served.cases.page(key, after=after, limit=limit + 1)  # type: ignore[arg-type]
    page = found[:limit]
    served.audit.append(key.id, "list cases", subjects=tuple(one.id for one in page))
    more = len(found) > limit
    return CaseList(
        items=[CaseSummary.model_validate(_summary(one)) for one in page],
        next=served.cursors.make("cases", f"{page[-1].created} {page[-1].id}") if more else None,
    )


@router.post("/cases", status_code=HTTPStatus.CREATED, responses=problems(409))
async def open_case(
    served: Served,
    key: CaseOpener,
    wanted: CaseCreate,
    response: Response,
    repetition: Repetition = None,
) -> ShownCase:
    """Keep a search for good, with its pictures."""

    def make() -> str:
        if key.galleries is not None and wanted.gallery not in key.galleries:
            raise not_found(f"gallery {wanted.gallery!r}")
        gallery = served.gallery(wanted.gallery)
        kept = served.searches.get(wanted.gallery, gallery, wanted.search)
        return served.cases.open(
            key,
            wanted.gallery,
            wanted.title,
            kept.search.model_dump(mode="json") | {"expires": None},
            _pictures(kept, gallery),
            also=lambda connection: served.searches.pin(connection, wanted.gallery, wanted.search),
        )

    async def once() -> str:
        return await run_in_threadpool(make)

    digest = request_digest("case", wanted.model_dump_json())
    identity, repeated = await served.repetitions.once(key.id, repetition, digest, once)
    response.status_code = status(repeated)
    response.headers["Location"] = f"/v1/cases/{identity}"
    return _shown(await run_in_threadpool(served.cases.get, key, identity))


def _pictures(kept: Kept, gallery: ReadableGallery) -> dict[str, bytes]:
    found = {"query-aligned.png": kept.crop, "query-original.jpg": kept.context}
    with gallery.snapshot() as view:
        for one in kept.search.candidates:
            try:
                picture = view.thumbnail(one.face_id)
            except GalleryError:  # deleted since
                continue
            if picture is not None:
                found[f"face-{one.face_id}.jpg"] = picture
    return found


@router.get("/cases/{case}", responses=problems())
def get_case(served: Served, key: CaseReader, case: SomeId) -> ShownCase:
    """A case as this key may see it."""
    found = served.cases.get(key, case)
    served.audit.append(key.id, "see a case", gallery=found.gallery, subjects=(case,))
    return _shown(found)


@router.delete("/cases/{case}", status_code=HTTPStatus.NO_CONTENT, responses=problems())
def delete_case(served: Served, key: Administrator, case: SomeId) -> None:
    """Erase a case with its pictures and decisions, and the search it kept."""

    def forget(connection: sqlite3.Connection, found: Case) -> None:
        connection.execute("DELETE FROM search WHERE id = ?", (found.search["id"],))

    served.cases.remove(key, case, forget)


@router.get(
    "/cases/{case}/pictures/{picture}",
    response_class=Response,
    responses=problems() | {200: {"content": {"image/jpeg": {}, "image/png": {}}}},
)
def get_case_picture(served: Served, key: CaseReader, case: SomeId, picture: SomeId) -> Response:
    """A picture that was kept with the case."""
    content = served.cases.picture(key, case, picture)
    kind = "image/png" if picture.endswith(".png") else "image/jpeg"
    return Response(content, media_type=kind)


@router.post("/cases/{case}/decisions", status_code=HTTPStatus.CREATED, responses=problems(409))
async def decide(
    served: Served,
    key: CaseDecider,
    case: SomeId,
    wanted: DecisionCreate,
    response: Response,
    repetition: Repetition = None,
) -> ShownCase:
    """Append a decision; what others decided is seen once the case is settled."""

    def make() -> str:
        served.cases.decide(
            key,
            case,
            wanted.conclusion,
            person=wanted.person,
            face_id=wanted.face_id,
            note=wanted.note,
            features=wanted.features,
            names_shown=wanted.names_shown,
        )
        return case

    async def once() -> str:
        return await run_in_threadpool(make)

    digest = request_digest("decide", case, wanted.model_dump_json())
    _, repeated = await served.repetitions.once(key.id, repetition, digest, once)
    response.status_code = status(repeated)
    return _shown(await run_in_threadpool(served.cases.get, key, case))


@router.get(
    "/cases/{case}/file",
    response_class=Response,
    responses=problems(409) | {200: {"content": {"application/zip": {}}}},
)
async def get_case_file(served: Served, key: CaseReader, case: SomeId) -> Response:
    """The case file: a zip with a page, JSON, pictures, explanations, hashes and the log."""
    content = await served.compute(_case_file, served, key, case)
    return Response(
        content,
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{case}.zip"'},
    )


def _case_file(served: Service, key: Key, identity: str) -> bytes:
    case = served.cases.get(key, identity)
    if case.hidden:
        raise conflict(
            "under-review",
            "This case is under review",
            why="its file would show decisions that you are not to see yet",
        )
    served.audit.append(key.id, "export case", gallery=case.gallery, subjects=(identity,))
    pictures = {name: served.cases.picture(key, identity, name) for name in case.pictures}
    return write_case_file(
        case,
        pictures,
        _reasons(served, case, pictures),
        _about(served, {identity, case.search["id"]}),
        served.audit.head(),
    )


def _reasons(served: Service, case: Case, pictures: dict[str, bytes]) -> list[Reason]:
    """Why the best candidates, and those decided about, scored what they did."""
    if case.query_erased:
        return []
    decided = {one.person for one in case.decisions}
    wanted = [
        one
        for place, one in enumerate(case.search["candidates"])
        if place < EXPLAINED or one["person"]["id"] in decided
    ]
    gallery = served.gallery(case.gallery)
    kept = served.searches.get(case.gallery, gallery, case.search["id"])
    options = options_of(served.engine, gallery, kept.search)
    query = _pixels(kept.crop)
    found = []
    for one in wanted:
        face = one["face_id"]
        try:
            features = gallery.features([face], landmarks=options.needs_landmarks)
        except GalleryError:  # deleted since; the case keeps its picture and numbers
            continue
        explanation = explain_pair(kept.features, features, options)
        picture = pictures.get(f"face-{face}.jpg")
        out = io.BytesIO()
        flow_picture(
            query,
            None if picture is None else _pixels(picture),
            explanation,
            caption=Caption(
                person=one["person"]["name"] or one["person"]["id"],
                rank=one["rank"],
                stage1_rank=one["stage1_rank"],
            ),
            scale=1.25,  # enough for print, and a third of the time
        ).save(out, "PNG")
        found.append(Reason(face, one["person"]["id"], to_json(explanation), out.getvalue()))
    return found


def _pixels(picture: bytes) -> UInt8:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), dtype=np.uint8)


def _about(served: Service, identities: set[str]) -> list[Entry]:
    """Entries of the log about any of these ids."""
    found: list[Entry] = []
    with served.state.reading() as connection:
        # The ids are random words that JSON leaves as they are: the database sorts out the rest.
        numbers = [
            row["number"]
            for identity in identities
            for row in connection.execute(
                "SELECT number FROM audit WHERE instr(content, ?) ORDER BY number",
                (json.dumps(identity),),
            )
        ]
    for number in sorted(set(numbers)):
        found += [
            entry
            for entry in served.audit.entries(number - 1, 1)
            if identities & set(entry.subjects)
        ]
    return found
