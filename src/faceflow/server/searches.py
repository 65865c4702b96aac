"""Searches: asked once, kept for a while, so that their reasons can be asked for.

What is kept of the photo is the aligned crop, a small picture of its surroundings and the features;
of the answer, ids and numbers. Names are looked up when they are shown, so that a person who was
renamed or deleted since is not named here any more.
"""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import cv2
import numpy as np
import safetensors.numpy
from PIL import Image

from faceflow.analyzer import Face, WholeImage
from faceflow.arrays import UInt8
from faceflow.errors import GalleryError, InputError
from faceflow.features import FaceFeatures
from faceflow.gallery import Gallery, ReadableGallery
from faceflow.matching.abstaining import abstain
from faceflow.matching.abstaining import quality_of as measured
from faceflow.matching.identification import (
    Match,
    Matches,
    PersonMatch,
    Status,
    identify,
)
from faceflow.matching.options import Changes, MatchOptions
from faceflow.matching.terms import terms
from faceflow.matching.transport import Sinkhorn
from faceflow.quality import BANDS, Band
from faceflow.server import schemas
from faceflow.server.engine import Engine
from faceflow.server.ids import new_id, person_id, person_number
from faceflow.server.marks import Marks, QueryFaceKey
from faceflow.server.photos import Upload
from faceflow.server.problems import not_found
from faceflow.server.quality import quality_of
from faceflow.server.settings import Limits
from faceflow.server.state import PARTS, State

PARTS.append(
    (
        "CREATE TABLE search(id TEXT PRIMARY KEY, gallery TEXT NOT NULL, expires TEXT,"
        " actor TEXT NOT NULL, content TEXT NOT NULL, features BLOB NOT NULL, crop BLOB NOT NULL,"
        " context BLOB NOT NULL)",
        "CREATE INDEX search_by_expiry ON search(expires)",
    )
)

Choice = Literal["largest", "centre"] | int

_AROUND = 0.5  # of the box's side, on each side of it
_CONTEXT_SIDE = 384
_MANY = 50


@dataclass(frozen=True, slots=True)
class Question:
    """What a search asks.

    Attributes:
        photo: the photo.
        face: which of its faces: "largest", "centre", or a number as the answer lists them.
        top: people to answer with.
        threshold: the least score that counts as identified.
        changes: to the gallery's options.
        epsilon: of the solver.
        whole_image: as in :meth:`faceflow.analyzer.FaceAnalyzer.analyze`.
        min_quality: the worst face that is answered; None: as the gallery says.
    """

    photo: Upload
    face: Choice = "largest"
    top: int = 20
    threshold: float | None = None
    changes: Changes | None = None
    epsilon: float | None = None
    whole_image: WholeImage = "never"
    min_quality: Band | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A search with what its reasons are made of.

    Attributes:
        search: the answer; names as of now.
        features: of the chosen face.
        crop: PNG, the face as the network saw it.
        context: JPEG, the face with its surroundings.
    """

    search: schemas.Search
    features: FaceFeatures
    crop: bytes
    context: bytes

    def face_ids(self) -> set[int]:
        """Faces that may be asked about: the candidates' and their others."""
        return {one.face_id for person in self.search.candidates for one in person.faces}

    def key(self) -> QueryFaceKey:
        """What marks know the chosen face by."""
        query = self.search.query
        return QueryFaceKey(
            query.photo,
            query.faces[query.chosen].box,
            self.features.digest or "",
            self.features.embedding[0],
        )


class Searches:
    """The searches of a service."""

    def __init__(self, state: State, limits: Callable[[], Limits]) -> None:
        self._state, self._limits = state, limits

    def ask(self, engine: Engine, marks: Marks, name: str, question: Question) -> Kept:
        """Search a gallery; takes the processor, so call it from a thread of ``computing``.

        Raises:
            Problem: there is no such gallery.
            ImageError, NoFaceError, InputError, WeightsError: as identification does.
        """
        gallery = engine.gallery(name)
        pixels, faces = engine.analyze(
            gallery, question.photo.data, whole_image=question.whole_image, asked=True
        )
        chosen = _choose(faces, question.face, pixels)
        features = faces[chosen].features
        options = engine.options(gallery, question.changes or {}, question.epsilon)
        key = QueryFaceKey(
            question.photo.sha256,
            [float(value) for value in faces[chosen].box],
            features.digest or "",
            features.embedding[0],
        )
        marked = marks.of(name, key)
        with gallery.snapshot() as view:
            least = question.min_quality or view.min_quality
            (matches,) = identify(features, view, options, threshold=question.threshold)
            if least != BANDS[-1]:  # with the worst every face is answered
                matches = abstain(matches, measured(faces[chosen], options.model), least)
            numbers = {
                match.person: view.person(match.person).person_id
                for match in matches.people[: question.top + len(marked)]
            }
            revision = view.revision
        created = datetime.now(UTC)
        candidates = _candidates(matches, numbers, options, marked, question.top)
        search = schemas.Search(
            id=new_id("s"),
            gallery=name,
            revision=revision,
            network=gallery.header.network_name,
            digest=gallery.header.features_digest,
            query_network=engine.student(gallery),
            query_digest=features.digest,
            options=options_shown(options),
            query=schemas.Query(
                photo=question.photo.sha256,
                width=pixels.shape[1],
                height=pixels.shape[0],
                grid=features.grid,
                faces=[query_face(face, options) for face in faces],
                chosen=chosen,
            ),
            status=_status(matches, candidates),
            ranked_by=matches.ranked_by,
            threshold=matches.threshold,
            min_quality=least,
            candidates=candidates,
            rejected=[
                schemas.Rejected(person=one.person, mark_id=marked[person_number(one.person.id)])
                for one in candidates
                if one.marked_not_this_person
            ],
            created=created,
            expires=created + timedelta(hours=self._limits().search_hours),
        )
        crop, context = _png(faces[chosen].crop), _context(pixels, faces[chosen])
        return Kept(search, features, crop, context)

    def keep(self, connection: sqlite3.Connection, kept: Kept, actor: str) -> None:
        """Keep a search until it expires."""
        search = kept.search
        content = search.model_dump(mode="json")
        for one in (*content["candidates"], *content["rejected"]):
            one["person"]["name"] = None
        connection.execute(
            "INSERT INTO search VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
            (
                search.id,
                search.gallery,
                None if search.expires is None else search.expires.isoformat(),
                actor,
                json.dumps(content),
                _pack(kept.features),
                kept.crop,
                kept.context,
            ),
        )

    def get(self, gallery_name: str, gallery: ReadableGallery, identity: str) -> Kept:
        """A search that is kept, with the names of now. Raises a problem, 404."""
        with self._state.reading() as connection:
            row = connection.execute(
                "SELECT * FROM search WHERE id = ? AND gallery = ?"
                " AND (expires IS NULL OR expires > ?)",
                (identity, gallery_name, datetime.now(UTC).isoformat()),
            ).fetchone()
        if row is None:
            raise not_found(f"search {identity[:40]!r}")
        search = schemas.Search.model_validate_json(row["content"])
        search.expires = None if row["expires"] is None else search.expires
        numbers = {person_number(ref.id) for ref in _people(search)}
        with gallery.snapshot() as view:
            names = names_of(view, numbers)
        for ref in _people(search):
            ref.name = names.get(person_number(ref.id))
        features = _unpack(row["features"], search.query.grid, search.query_digest or search.digest)
        return Kept(search, features, bytes(row["crop"]), bytes(row["context"]))

    def pin(self, connection: sqlite3.Connection, gallery: str, identity: str) -> None:
        """Keep a search for good, as a case does. Raises a problem, 404."""
        done = connection.execute(
            "UPDATE search SET expires = NULL WHERE id = ? AND gallery = ?", (identity, gallery)
        )
        if not done.rowcount:
            raise not_found(f"search {identity[:40]!r}")

    def remove(self, connection: sqlite3.Connection, gallery: str, identity: str) -> None:
        """Forget a search, unless a case keeps it. Raises a problem, 404."""
        done = connection.execute(
            "DELETE FROM search WHERE id = ? AND gallery = ? AND expires IS NOT NULL",
            (identity, gallery),
        )
        if not done.rowcount:
            raise not_found(f"search {identity[:40]!r}", why="or a case keeps it")

    @staticmethod
    def sweep(connection: sqlite3.Connection) -> int:
        """Forget what has expired; how many."""
        now = datetime.now(UTC).isoformat()
        return connection.execute("DELETE FROM search WHERE expires <= ?", (now,)).rowcount

    @staticmethod
    def forget(connection: sqlite3.Connection, gallery: str) -> None:
        """Forget all searches of a gallery that is gone."""
        connection.execute("DELETE FROM search WHERE gallery = ?", (gallery,))


def names_of(view: ReadableGallery, numbers: Iterable[int]) -> dict[int, str]:
    """Names of the people with these ids who are still there."""
    wanted = set(numbers)
    if len(wanted) > _MANY:
        return {p.person_id: p.name for p in view.people() if p.person_id in wanted}
    found = {}
    for number in wanted:
        try:
            found[number] = view.person(number).name
        except GalleryError:
            continue
    return found


def options_of(engine: Engine, gallery: Gallery, search: schemas.Search) -> MatchOptions:
    """The options a search was made with."""
    kept = search.options
    changes: Changes = {
        "alpha": kept.alpha,
        "weighting": kept.weighting,
        "k": kept.k,
        "patches": kept.patches,  # type: ignore[typeddict-item]  # checked by MatchOptions
        "visible_share": kept.visible_share,
    }
    return engine.options(gallery, changes, kept.epsilon)


def options_shown(options: MatchOptions) -> schemas.Options:
    """Options as they are sent."""
    solver = options.solver
    return schemas.Options(
        alpha=options.alpha,
        weighting=options.weighting,
        k=options.k,
        patches=options.patches,
        visible_share=options.visible_share,
        epsilon=solver.epsilon if isinstance(solver, Sinkhorn) else None,
        patch_model=options.model_digest,
    )


def parts_of(
    options: MatchOptions, cosine: float, emd: float | None, visible_cosine: float | None
) -> schemas.Parts:
    """A score's parts as they are sent."""
    return schemas.Parts(
        emd=emd,
        cosine=cosine,
        visible_cosine=visible_cosine,
        terms=terms(options, cosine, emd, visible_cosine),
    )


def query_face(face: Face, options: MatchOptions) -> schemas.QueryFace:
    """A face of a photo as it is sent."""
    x0, y0, x1, y1 = (float(value) for value in face.box)
    return schemas.QueryFace(
        box=(x0, y0, x1, y1),
        detection_score=float(face.score),
        source=face.source,
        landmarks=None
        if face.landmarks is None
        else [(float(x), float(y)) for x, y in face.landmarks],
        quality=quality_of(face, options.model),
    )


def person_parts(match: PersonMatch | Match, options: MatchOptions) -> schemas.Parts:
    """The parts of a match's score."""
    return parts_of(options, match.cosine, match.emd, match.visible_cosine)


def _candidates(
    matches: Matches,
    numbers: dict[str, int],
    options: MatchOptions,
    marked: dict[int, str],
    top: int,
) -> list[schemas.Candidate]:
    """The best ``top`` people, and those among the looked at who are marked as somebody else."""
    faces: dict[str, list[schemas.FaceScore]] = {}
    for face in matches.faces:
        one = schemas.FaceScore(face_id=face.face_id, score=face.score)
        faces.setdefault(face.person, []).append(one)
    people = [match for match in matches.people if match.person in numbers]
    unmarked = [match for match in people if numbers[match.person] not in marked]
    shown = {match.person for match in unmarked[:top]}
    # The next one of whom nobody said that it is not them.
    behind = dict(zip((m.person for m in unmarked), unmarked[1:], strict=False))
    found = []
    for match in people:
        number = numbers[match.person]
        if match.person not in shown and number not in marked:
            continue
        after = behind.get(match.person)
        found.append(
            schemas.Candidate(
                person=schemas.PersonRef(id=person_id(number), name=match.person),
                face_id=match.face_id,
                score=match.score,
                parts=person_parts(match, options),
                stage1_rank=match.stage1_rank,
                rank=match.rank,
                margin=None if after is None else match.score - after.score,
                faces=faces[match.person],
                marked_not_this_person=number in marked,
            )
        )
    return found


def _status(matches: Matches, candidates: list[schemas.Candidate]) -> Status:
    """As identification says it, but of the best candidate who is not marked."""
    left = [one for one in candidates if not one.marked_not_this_person]
    if matches.threshold is None or not candidates or matches.status == "unsure":
        return matches.status
    return "identified" if left and left[0].score >= matches.threshold else "unknown"


def _choose(faces: list[Face], choice: Choice, pixels: UInt8) -> int:
    if isinstance(choice, int):
        if not 0 <= choice < len(faces):
            raise InputError(
                f"there is no face {choice} in the photo", why=f"it shows {len(faces)}, from 0"
            )
        return choice
    boxes = np.stack([face.box for face in faces])
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    if choice == "largest":
        return int(sides.argmax())
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    centre = np.array([pixels.shape[1], pixels.shape[0]]) / 2
    return int((np.linalg.norm(middle - centre, axis=1) / sides).argmin())


def _people(search: schemas.Search) -> list[schemas.PersonRef]:
    found = [one.person for one in search.candidates]
    return found + [one.person for one in search.rejected]


def _png(crop: UInt8) -> bytes:
    # Not packed: it is small, kept for a day, and packing it took a fiftieth of a search.
    bgr = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1])


def _context(pixels: UInt8, face: Face) -> bytes:
    """The face with its surroundings, at most 384 pixels a side."""
    x0, y0, x1, y1 = (float(value) for value in face.box)
    more = _AROUND * max(x1 - x0, y1 - y0)
    left, top = max(0, int(x0 - more)), max(0, int(y0 - more))
    right = min(pixels.shape[1], int(x1 + more) + 1)
    bottom = min(pixels.shape[0], int(y1 + more) + 1)
    part = pixels[top:bottom, left:right]
    scale = min(1.0, _CONTEXT_SIDE / max(part.shape[:2]))
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA) if scale < 1 else part
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(small)).save(out, "JPEG", quality=85)
    return out.getvalue()


def _pack(features: FaceFeatures) -> bytes:
    arrays: dict[str, Any] = {
        "embedding": features.embedding,
        "patches": features.patches,
        "norms": features.norms,
        "pooled": features.pooled,
    }
    if features.landmark_share is not None:
        arrays["landmark_share"] = features.landmark_share
    packed: bytes = safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    )
    return packed


def _unpack(data: bytes, grid: tuple[int, int], digest: str) -> FaceFeatures:
    arrays = safetensors.numpy.load(bytes(data))
    return FaceFeatures(
        arrays["embedding"],
        arrays["patches"],
        arrays["norms"],
        arrays["pooled"],
        grid,
        landmark_share=arrays.get("landmark_share"),
        digest=digest,
    )
