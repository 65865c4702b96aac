"""Two-stage identification, 1:N: cosine over the whole gallery, then transport over the top k."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np

from faceflow.arrays import Float64, Int64
from faceflow.errors import InputError
from faceflow.features import FaceFeatures, answers_for
from faceflow.matching.options import Calibration, MatchOptions
from faceflow.matching.score import Reranked
from faceflow.matching.shortlist import Coverage, Shortlist
from faceflow.matching.transport import Plan, Sinkhorn

SHOWN = 20
"""People whom an answer names where a device has ranked: the CPU scores them again."""
_ON_CPU = ("native", "numpy")

Status = Literal["identified", "unknown", "ranked", "unsure", "empty"]


@dataclass(frozen=True, slots=True)
class Match:
    """One gallery face that stage 2 looked at.

    Attributes:
        person: the name it is enrolled under.
        face_id: the gallery's number for it.
        score: the final score, paper equation 9.
        cosine: cosine of the two embeddings (stage 1).
        emd: EMD similarity of the patches, or None when alpha is 0.
        visible_cosine: cosine of what both faces show, or None where it does not count.
        stage1_rank: rank by cosine among all faces, from 1.
        rank: rank by score among the re-ranked faces, from 1.
        plan: the transport with its flow, when an explanation was asked for.
    """

    person: str
    face_id: int
    score: float
    cosine: float
    emd: float | None
    stage1_rank: int
    rank: int
    plan: Plan | None = None
    visible_cosine: float | None = None


@dataclass(frozen=True, slots=True)
class PersonMatch:
    """A person, scored by their best face or the mean of their best n faces.

    ``score``, ``cosine``, ``emd`` and ``visible_cosine`` are means over the ``faces`` that were
    counted (one for the default); ``face_id`` is the best of them. ``stage1_rank`` is the person's
    rank when people are ordered by cosine the same way.
    """

    person: str
    score: float
    cosine: float
    emd: float | None
    stage1_rank: int
    rank: int
    face_id: int
    faces: int
    visible_cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Matches:
    """The answer for one query face.

    Attributes:
        status: "identified" when the best person's score reaches the threshold, "unknown"
            when it does not, "ranked" when no threshold was given and nothing was decided,
            "unsure" when the query gives too little to go by, see
            :func:`faceflow.matching.abstaining.abstain`, "empty" when the gallery holds no face.
        threshold: the threshold that decided, if any.
        faces: the re-ranked faces, best first, at most k.
        people: the people among them, best first.
        ranked_by: what solved the transports that ranked them: "native", "numpy", "torch",
            "triton", or another solver's name; None where none was solved. Where a device ranked
            ("torch", "triton"), the CPU scored the best again: ``faces`` and ``people`` are then
            the beginning, :data:`SHOWN` people long, of what the CPU alone would answer.
        coverage: what was searched, where the gallery is spread over shards; else None.
    """

    status: Status
    threshold: float | None
    faces: tuple[Match, ...]
    people: tuple[PersonMatch, ...]
    ranked_by: str | None = field(default=None, compare=False)
    coverage: Coverage | None = None

    @property
    def person(self) -> str | None:
        """The best person's name, or None when unknown, unsure or the gallery is empty."""
        named = self.people and self.status in ("identified", "ranked")
        return self.people[0].person if named else None


class GalleryView(Protocol):
    """One state of a gallery; all answers of a call come from it."""

    def shortlist(self, query: FaceFeatures, k: int) -> Shortlist:
        """Stage 1: ids and cosine (N, k) of the k best faces for each of N queries."""

    def score(
        self, query: FaceFeatures, face_ids: Int64, options: MatchOptions, *, flow: bool = False
    ) -> Reranked:
        """Stage 2: one query face against these faces, in their order."""

    def person_of(self, face_ids: Int64) -> Sequence[str]:
        """Whose faces these are, in their order."""


class SearchableGallery(Protocol):
    """What identification needs of a gallery: one file does it, shards on many machines can."""

    @property
    def calibration(self) -> Calibration | None:
        """Options and threshold chosen for it, if any."""

    def options(self) -> MatchOptions:
        """How it compares unless told otherwise."""

    def snapshot(self) -> AbstractContextManager[GalleryView]:
        """One state to read, whatever others write meanwhile."""


def identify(
    query: FaceFeatures,
    gallery: SearchableGallery,
    options: MatchOptions | None = None,
    *,
    threshold: float | None = None,
    best_faces: int = 1,
    explain: bool = False,
) -> list[Matches]:
    """Find the people a gallery knows behind N query faces.

    Stage 1 ranks every face by cosine of embeddings; stage 2 scores the top k as
    :class:`faceflow.matching.options.MatchOptions` says: ``alpha * EMD similarity + (1 - alpha) *
    cosine`` (paper equation 9), where part of the cosine may be that of the visible faces. A
    query's answer does not depend on the other queries, nor a face's score on the other faces.

    Args:
        query: features of N faces, from the gallery's own network.
        gallery: the enrolled people.
        options: how faces are compared. None takes ``gallery.options()``: the gallery's
            calibration if it has one, else what measured best for its network;
            ``gallery.options(k=20)`` is the same with a change, and :class:`MatchOptions` as
            constructed is the paper's way. With alpha and visible_share 0 stage 1's ranking stands.
        threshold: the least score that counts as identified. None takes the gallery's
            calibrated one, which holds for the calibrated options, single best faces and
            queries of its own network alone; otherwise nothing is decided.
        best_faces: score a person by the mean of this many of their best faces.
        explain: keep each face's transport plan.

    Returns:
        One :class:`Matches` per query face, in order.

    Raises:
        InputError: an option is out of range.
        WeightsError: the gallery's network is known here, but not in the cache.
        GalleryMismatchError: the query comes from another network.
    """
    if best_faces < 1:
        raise InputError(f"best_faces is {best_faces}", why="a person needs at least one face")
    if threshold is not None and not np.isfinite(threshold):
        raise InputError(f"the threshold is {threshold}", why="it must be a finite number")
    calibration = gallery.calibration
    chosen = gallery.options() if options is None else options
    # It was measured with queries of the gallery's own network, and a student's score otherwise.
    its_own = best_faces == 1 and answers_for(query.digest) is None
    if threshold is None and its_own and calibration and calibration.holds_for(chosen):
        threshold = calibration.threshold
    if not len(query):
        return []
    answers = []
    with gallery.snapshot() as view:
        shortlist = view.shortlist(query, chosen.k)
        for one, face_ids, cosine in zip(query, shortlist.face_ids, shortlist.cosine, strict=True):
            known = face_ids >= 0
            shortlisted = face_ids[known], cosine[known]
            answer = _answer(one, view, shortlisted, chosen, threshold, best_faces, explain)
            answers.append(replace(answer, coverage=shortlist.coverage))
    return answers


def _answer(
    query: FaceFeatures,
    view: GalleryView,
    shortlisted: tuple[Int64, Float64],
    options: MatchOptions,
    threshold: float | None,
    best_faces: int,
    explain: bool,
) -> Matches:
    """The answer for one query, from its shortlist."""
    face_ids, cosine = shortlisted
    if not len(face_ids):
        return Matches("empty", threshold, (), ())
    names = view.person_of(face_ids)
    if options.stage1_alone and not explain:  # the score is what stage 1 has computed
        found = Reranked(cosine, cosine)
    elif options.on_cpu is options:
        found = view.score(query, face_ids, options, flow=explain)
    else:
        found = view.score(query, face_ids, options)
        if found.emd is not None and found.solved_by not in _ON_CPU:
            return _shown(
                query, view, face_ids, found, names, options, threshold, best_faces, explain
            )
        if explain:
            found = view.score(query, face_ids, options.on_cpu, flow=True)
    faces = _ranked(found, face_ids, names)
    people = _people(faces, best_faces, _stage1_ranks(names, cosine, best_faces))
    return _decided(faces, people, threshold, found.solved_by)


def _shown(
    query: FaceFeatures,
    view: GalleryView,
    face_ids: Int64,
    rough: Reranked,
    names: Sequence[str],
    options: MatchOptions,
    threshold: float | None,
    best_faces: int,
    explain: bool,
) -> Matches:
    """The beginning of the CPU's answer, where a device has ranked: the best are scored again.

    A device's scores are off by less than half of ``margin``: solves that stop an iteration apart
    differ by mass of the tolerance at most, rounding by much less.
    """
    solver = options.solver
    assert isinstance(solver, Sinkhorn)
    margin = options.alpha * max(4 * solver.tolerance, 1e-4)
    first, least = _first_people(rough.score, names, best_faces, margin)
    rows = np.flatnonzero(rough.score >= least - margin)
    found = view.score(query, face_ids[rows], options.on_cpu, flow=explain)
    kept = [names[row] for row in rows.tolist()]
    faces = _ranked(found, face_ids[rows], kept, stage1_ranks=rows + 1)
    stage1 = _stage1_ranks(names, rough.cosine, best_faces)
    people = _people([face for face in faces if face.person in first], best_faces, stage1)
    # Whatever scores so much with the CPU is among the rows.
    known = [face for face in faces if face.score >= least - margin / 2]
    return _decided(known, people[:SHOWN], threshold, rough.solved_by)


def _first_people(
    score: Float64, names: Sequence[str], best_faces: int, margin: float
) -> tuple[set[str], float]:
    """Who may be among the first people, and the least score of a face that counts for them."""
    by_person: dict[str, list[float]] = defaultdict(list)
    for value, name in sorted(zip(score.tolist(), names, strict=True), reverse=True):
        by_person[name].append(value)
    counted = {name: values[:best_faces] for name, values in by_person.items()}
    ranked = sorted(map(_mean, counted.values()), reverse=True)
    last = ranked[min(SHOWN, len(ranked)) - 1] - margin
    first = {name for name, values in counted.items() if _mean(values) >= last}
    return first, min(counted[name][-1] for name in first)


def _ranked(
    found: Reranked,
    face_ids: Int64,
    names: Sequence[str],
    stage1_ranks: Int64 | None = None,
) -> list[Match]:
    """Faces best first, ties in stage 1's order.

    Args:
        found: their scores, in stage 1's order.
        face_ids, names: who they are.
        stage1_ranks: their ranks; default 1, 2, ...
    """
    emd, shown, plan = found.emd, found.visible_cosine, found.plan
    order = np.argsort(-found.score, kind="stable").tolist()
    # As plain numbers, all at once: one by one they cost more than the rest.
    ids, scores, cosines = face_ids.tolist(), found.score.tolist(), found.cosine.tolist()
    none = [None] * len(ids)
    emds: Sequence[float | None] = none if emd is None else emd.tolist()
    shares: Sequence[float | None] = none if shown is None else shown.tolist()
    ranks = range(1, len(ids) + 1) if stage1_ranks is None else stage1_ranks.tolist()
    return [
        Match(
            person=names[n],
            face_id=ids[n],
            score=scores[n],
            cosine=cosines[n],
            emd=emds[n],
            stage1_rank=ranks[n],
            rank=rank,
            plan=plan.pair(n) if plan is not None and plan.flow is not None else None,
            visible_cosine=shares[n],
        )
        for rank, n in enumerate(order, start=1)
    ]


def _decided(
    faces: list[Match],
    people: tuple[PersonMatch, ...],
    threshold: float | None,
    ranked_by: str | None,
) -> Matches:
    status: Status = "ranked"
    if threshold is not None:
        status = "identified" if people[0].score >= threshold else "unknown"
    return Matches(status, threshold, tuple(faces), people, ranked_by)


def _people(
    faces: Sequence[Match], best_faces: int, stage1: Mapping[str, int]
) -> tuple[PersonMatch, ...]:
    """Group faces, given best first, by person, and rank the people by score.

    Ties are in the order of people's ranks at stage 1.
    """
    by_person: dict[str, list[Match]] = defaultdict(list)
    for face in faces:
        by_person[face.person].append(face)

    def mean_of_best(found: list[Match]) -> float:
        return _mean([face.score for face in found[:best_faces]])

    ranked = sorted(by_person.items(), key=lambda item: (-mean_of_best(item[1]), stage1[item[0]]))
    return tuple(
        _person(person, found[:best_faces], stage1[person], rank)
        for rank, (person, found) in enumerate(ranked, start=1)
    )


def _stage1_ranks(names: Sequence[str], cosine: Float64, best_faces: int) -> dict[str, int]:
    """The ranks of the people of a shortlist by cosine, ties in the order of their first faces."""
    by_person: dict[str, list[float]] = defaultdict(list)
    for name, value in zip(names, cosine.tolist(), strict=True):
        by_person[name].append(value)
    ranked = sorted(by_person, key=lambda name: -_mean(by_person[name][:best_faces]))
    return {name: rank for rank, name in enumerate(ranked, start=1)}


def _person(person: str, counted: list[Match], stage1_rank: int, rank: int) -> PersonMatch:
    if len(counted) == 1:  # the rule, hundreds of times a query
        best = counted[0]
        return PersonMatch(
            person=person,
            score=best.score,
            cosine=best.cosine,
            emd=best.emd,
            stage1_rank=stage1_rank,
            rank=rank,
            face_id=best.face_id,
            faces=1,
            visible_cosine=best.visible_cosine,
        )
    emds = [face.emd for face in counted if face.emd is not None]
    shown = [face.visible_cosine for face in counted if face.visible_cosine is not None]
    return PersonMatch(
        person=person,
        score=_mean([face.score for face in counted]),
        cosine=_mean([face.cosine for face in counted]),
        emd=_mean(emds) if emds else None,
        stage1_rank=stage1_rank,
        rank=rank,
        face_id=counted[0].face_id,
        faces=len(counted),
        visible_cosine=_mean(shown) if shown else None,
    )


def _mean(values: Sequence[float]) -> float:
    return values[0] if len(values) == 1 else float(np.mean(values))
