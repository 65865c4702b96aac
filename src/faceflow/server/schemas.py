"""The JSON that goes over the wire, as typed models.

Times are ISO 8601 in UTC, boxes [x0, y0, x1, y1] in pixels of the photo, scores plain numbers. The
query comes before the gallery on every axis: a flow goes from query cell i to gallery cell j.
"""

from __future__ import annotations

from datetime import date as Day
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from faceflow.server.roles import Role

Band = Literal["good", "fair", "poor"]


class Model(BaseModel):
    """What an answer is made of."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")


class Status(Model):
    """Whether the service lives, or is ready."""

    status: str


class ProblemDocument(BaseModel):
    """An error, by RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    why: str | None = None
    todo: str | None = None


class Page(Model):
    """A part of a list."""

    next: str | None = Field(
        default=None, description="Give it back as ``cursor`` for what follows; null at the end."
    )


# Galleries


class GalleryCreate(Model):
    """A gallery to make."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    network: str | None = Field(default=None, max_length=200)
    detector: str | None = Field(default=None, max_length=200)
    digest: str | None = Field(
        default=None, max_length=200, description="Refuse to make it for any other network digest."
    )


class Gallery(Model):
    """A gallery."""

    name: str
    network: str
    detector: str
    digest: str = Field(description="Of the network's weights and preprocessing; never changes.")
    grid: tuple[int, int]
    embedding_size: int
    created: datetime
    revision: str
    people: int
    faces: int
    bytes: int
    threshold: float | None = Field(description="The calibrated one, if any.")
    min_quality: Band = Field(
        description="The worst quality of a searched face that is answered; of others nobody is "
        "named."
    )


class GalleryChange(Model):
    """What to change of a gallery; what is left out stays."""

    min_quality: Band | None = None


class Galleries(Page):
    """Galleries that the key may know of."""

    items: list[Gallery]


# People and faces


class Consent(Model):
    """On what ground a person is enrolled, and until when."""

    purpose: str = Field(default="", max_length=1000)
    legal_basis: str = Field(default="", max_length=1000)
    reference: str = Field(default="", max_length=1000, description="Where the paper lies.")
    date: Day | None = None
    expiry: datetime | None = Field(
        default=None, description="The person is deleted after it, unless on legal hold."
    )
    legal_hold: bool = False


class PersonRef(Model):
    """A person as other things name it; the name is null once the person is gone."""

    id: str
    name: str | None


class Person(Model):
    """An enrolled person."""

    id: str
    name: str
    faces: int
    consent: Consent | None


class People(Page):
    """People by name."""

    items: list[Person]


class PersonChange(Model):
    """What to change; what is left out stays. ``consent`` null removes it."""

    name: str | None = Field(default=None, max_length=1000)
    consent: Consent | None = None


class MergeRequest(Model):
    """Whom to merge into."""

    into: str = Field(pattern=r"^p[0-9]{1,18}$")


class SplitRequest(Model):
    """Faces that are another person's."""

    faces: list[int] = Field(min_length=1, max_length=10_000)
    name: str = Field(max_length=1000, description="Whose they are, a new person or a known one.")


class Merge(Model):
    """A merge that was made, and can be split back."""

    id: str
    source: PersonRef = Field(description="Who was merged, gone since; the former name.")
    target: PersonRef
    faces: list[int] = Field(description="The faces that were moved.")
    dropped: int = Field(description="Faces given up because both had the same photo.")
    made: datetime
    split: PersonRef | None = Field(description="Who came of splitting it back, if it was.")


class Merges(Page):
    """Merges, the newest first."""

    items: list[Merge]


class Face(Model):
    """An enrolled face."""

    id: int
    person: PersonRef
    source: str
    content_hash: str
    box: tuple[float, float, float, float] | None
    detection_score: float
    created: datetime


class Faces(Page):
    """Faces by id."""

    items: list[Face]


class AddedFace(Model):
    """What became of a photo that was added."""

    face: Face
    duplicate: bool = Field(description="The person had this photo already; nothing was added.")
    quality: Quality | None
    also_enrolled_for: list[str] = Field(description="Who else has the same photo.")


class Quality(Model):
    """How good a face is for a search."""

    visible_share: float | None = Field(description="Mean visibility; null where nobody can tell.")
    cells: list[float] | None = Field(description="Visibility of each cell of the grid, 0 to 1.")
    width: float = Field(description="Of the face's box, in pixels.")
    sharpness: float | None
    pose: dict[str, float] | None
    embedding_length: float | None
    band: Band = Field(description="The worst of all measures.")
    flaws: list[str] = Field(description="What is not good, in words.")
    warnings: list[str] = Field(description="What makes photos be refused in a job.")


# Searches


class QueryFace(Model):
    """One face of the searched photo."""

    box: tuple[float, float, float, float]
    detection_score: float
    source: Literal["detected", "whole-image"] = "detected"
    landmarks: list[tuple[float, float]] | None
    quality: Quality


class Query(Model):
    """The searched photo; ``chosen`` is the face that was searched for."""

    photo: str = Field(description="sha256 of the photo's bytes.")
    width: int
    height: int
    grid: tuple[int, int]
    faces: list[QueryFace]
    chosen: int


class Options(Model):
    """How faces were compared."""

    alpha: float
    weighting: str
    k: int
    patches: str
    visible_share: float
    epsilon: float | None
    patch_model: str | None = Field(
        default=None, description="Digest of what is known of the network's patches, if it counts."
    )


class Parts(Model):
    """What a score is made of; ``terms`` are signed and add up to it."""

    emd: float | None
    cosine: float
    visible_cosine: float | None
    terms: dict[str, float]


class FaceScore(Model):
    """Another face of a candidate."""

    face_id: int
    score: float


class Candidate(Model):
    """A person who may be the one in the photo."""

    person: PersonRef
    face_id: int
    score: float
    parts: Parts
    stage1_rank: int
    rank: int
    margin: float | None = Field(description="Score minus the next person's; null for the last.")
    faces: list[FaceScore]
    marked_not_this_person: bool


class Rejected(Model):
    """A candidate whom somebody marked as not the person in this photo."""

    person: PersonRef
    mark_id: str


class Search(Model):
    """The answer to a search."""

    id: str
    gallery: str
    revision: str
    network: str
    digest: str
    query_network: str | None = Field(
        default=None, description="The student that looked at the query, if any."
    )
    query_digest: str | None = Field(default=None, description="Of the query's features.")
    options: Options
    query: Query
    status: Literal["identified", "unknown", "ranked", "unsure", "empty"] = Field(
        description="Of the best candidate that is not marked as somebody else."
    )
    ranked_by: str | None = Field(
        default=None, description="What solved the transports: native, numpy, torch or other."
    )
    threshold: float | None
    min_quality: Band = Field(
        default="poor", description="Of a face worse than it nobody is named: it is unsure."
    )
    candidates: list[Candidate]
    rejected: list[Rejected]
    created: datetime
    expires: datetime | None


class FlowCell(Model):
    """Mass that moved from a cell of the query to one of the gallery face."""

    i: int
    j: int
    mass: float
    similarity: float
    contribution: float


class Explanation(Model):
    """Why a candidate has its score."""

    person: PersonRef
    face_id: int
    grid: tuple[int, int]
    score: float
    recorded_score: float = Field(
        description="The search's own number; it may differ in the sixth digit, because the "
        "search solves in float32 and the explanation in float64."
    )
    contributions: list[float] = Field(
        description="What each query cell adds to the score; they add up to terms.emd."
    )
    gallery_contributions: list[float]
    flow: list[FlowCell]
    weights: dict[Literal["u", "v"], list[float]]
    visibility: dict[Literal["query", "gallery"], list[float] | None]
    terms: dict[str, float] = Field(description="They add up to the score.")
    shares: dict[str, float] = Field(description="What each similarity is multiplied with.")
    similarities: dict[str, float]
    weighting: str
    patches: str
    solver: dict[str, Any]
    status: str
    iterations: int


class Comparison(Model):
    """Why A and not B: what adds up to score(A) - score(B)."""

    a: PersonRef
    b: PersonRef
    a_face_id: int
    b_face_id: int
    grid: tuple[int, int]
    score_a: float
    score_b: float
    difference: float
    cells: list[float] = Field(
        description="What each query cell adds to the difference; they add up to terms.emd."
    )
    terms: dict[str, float] = Field(description="They add up to the difference.")


class WhatIfRequest(Model):
    """Cells of the query to leave out."""

    hidden: list[int] = Field(max_length=4096)


class WhatIfCandidate(Model):
    """A candidate scored anew."""

    person: PersonRef
    face_id: int
    score: float
    recorded_score: float
    parts: Parts
    rank: int
    recorded_rank: int


class WhatIf(Model):
    """The search's candidates, scored as if cells of the query had shown nothing.

    The cosine of the whole faces stays, because the network saw the whole photo.
    """

    search: str
    recorded: Literal[False] = False
    hidden: list[int]
    candidates: list[WhatIfCandidate]


class Verification(Model):
    """Two photos compared."""

    score: float
    parts: Parts
    same: bool | None = Field(description="Null without a threshold: nothing is decided.")
    threshold: float | None
    network: str
    query_network: str | None = Field(
        default=None, description="The student that looked at the first photo, if any."
    )
    options: Options
    a: QueryFace
    b: QueryFace


# Marks


class MarkRequest(Model):
    """Who is not the person in the photo of a search."""

    search: str = Field(max_length=40)
    person: str = Field(pattern=r"^p[0-9]{1,18}$")
    note: str = Field(default="", max_length=1000)


class Mark(Model):
    """A person whom a query's face is not."""

    id: str
    person: PersonRef
    search: str
    photo: str
    note: str
    made: datetime
    made_by: str


class Marks(Page):
    """Marks, the newest first."""

    items: list[Mark]


# Jobs


JobStatus = Literal["queued", "running", "done", "cancelled", "failed"]
PhotoOutcome = Literal["waiting", "added", "duplicate", "skipped", "cancelled"]


class JobPhoto(Model):
    """What became of one photo of a job."""

    number: int
    name: str
    person: str
    outcome: PhotoOutcome
    reason: str | None = Field(
        description="no face, several faces, too small, blurred, extreme pose, mostly covered, "
        "duplicate, unreadable, no person or failed."
    )
    detail: str | None
    face_id: int | None
    warnings: list[str]


class Job(Model):
    """An enrolment of many photos."""

    id: str
    gallery: str
    status: JobStatus
    photos: int
    done: int
    added: int
    duplicates: int
    skipped: int
    created: datetime
    finished: datetime | None
    detail: str | None


class Jobs(Page):
    """Jobs, the newest first."""

    items: list[Job]


class JobPhotos(Page):
    """The photos of a job, by number."""

    items: list[JobPhoto]


# Keys, audit, retention, settings


class KeyCreate(Model):
    """A key to make."""

    name: str = Field(min_length=1, max_length=200)
    role: Role
    galleries: list[str] | None = Field(
        default=None, max_length=1000, description="Null: all, those to come too."
    )
    expires: datetime | None = None


class Key(Model):
    """A key, without its secret."""

    id: str
    name: str
    role: Role
    galleries: list[str] | None
    created: datetime
    expires: datetime | None
    revoked: datetime | None


class NewKey(Model):
    """A key that was made; its text is shown this once and kept nowhere."""

    key: Key
    text: str


class Keys(Page):
    """Keys, by age."""

    items: list[Key]


class AuditEntry(Model):
    """Who did what to which ids."""

    number: int
    time: datetime
    actor: str
    action: str
    gallery: str
    subjects: list[str]
    details: dict[str, Any]
    hash: str


class AuditPage(Page):
    """Entries, the oldest first unless asked otherwise."""

    items: list[AuditEntry]


class AuditHead(Model):
    """Where the log ends; note it elsewhere to find out later whether its end was cut off."""

    number: int
    hash: str


class Certificate(Model):
    """What was deleted, when, how, and what may remain."""

    id: str
    gallery: str
    what: Literal["person", "face", "gallery"]
    subject: str
    faces: int
    cases: int = Field(
        default=0, description="Cases from which it was erased too; ids and hashes are left there."
    )
    reason: str
    requested: datetime
    finished: datetime
    erased: bool = Field(
        description="Overwritten in the gallery's file and its log. False: gone from the gallery, "
        "overwritten once readers in other processes let go."
    )
    method: str
    remains: str
    audit: AuditHead


class Certificates(Page):
    """Certificates, the oldest first."""

    items: list[Certificate]


class Sweep(Model):
    """What a sweep deleted."""

    certificates: list[Certificate]
    held: list[PersonRef] = Field(description="Expired, but on legal hold.")


class SettingsChange(Model):
    """Limits to change; null takes the one that the service was started with."""

    limits: dict[str, float | None] = Field(max_length=20)


class Settings(Model):
    """What the service runs with."""

    version: str
    limits: dict[str, float]
    adjustable: dict[str, list[float]] = Field(
        description="Limits that can be changed over HTTP, with the least and the most."
    )
    roles: dict[str, list[str]]


AddedFace.model_rebuild()
