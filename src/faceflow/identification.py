"""Two-stage identification, 1:N: cosine over the whole gallery, then transport over the top k."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from faceflow import patch_model
from faceflow.arrays import Float64, Int64
from faceflow.errors import InputError
from faceflow.features import FaceFeatures, Grid
from faceflow.gallery import Gallery
from faceflow.matching import MatchOptions, Patches
from faceflow.networks import current_names, defaults_for
from faceflow.similarity import emd_similarity, takes_codes
from faceflow.transport import Plan, Sinkhorn, Solver

Status = Literal["identified", "unknown", "ranked", "empty"]


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
            "empty" when the gallery holds no face.
        threshold: the threshold that decided, if any.
        faces: the re-ranked faces, best first, at most k.
        people: the people among them, best first.
    """

    status: Status
    threshold: float | None
    faces: tuple[Match, ...]
    people: tuple[PersonMatch, ...]

    @property
    def person(self) -> str | None:
        """The best person's name, or None when unknown or the gallery is empty."""
        return self.people[0].person if self.people and self.status != "unknown" else None


def identify(
    query: FaceFeatures,
    gallery: Gallery,
    *,
    k: int | None = None,
    alpha: float | None = None,
    weighting: str | None = None,
    grid: Grid | None = None,
    threshold: float | None = None,
    best_faces: int = 1,
    solver: Solver | None = None,
    patches: Patches | None = None,
    visible_share: float | None = None,
    options: MatchOptions | None = None,
    explain: bool = False,
) -> list[Matches]:
    """Find the people a gallery knows behind N query faces.

    Stage 1 ranks every face by cosine of embeddings; stage 2 scores the top k as
    :class:`faceflow.matching.MatchOptions` says: ``alpha * EMD similarity + (1 - alpha) *
    cosine`` (paper equation 9), where part of the cosine may be that of the visible faces. A
    query's answer
    does not depend on the other queries, nor a face's score on the other faces.

    Args:
        query: features of N faces, from the gallery's own network.
        gallery: the enrolled people.
        k: faces to re-rank. This, the next two, ``patches`` and ``visible_share`` default to the
            gallery's calibration if it has one, else to what measured best for its network.
        alpha: share of the EMD similarity, 0 to 1; with 0, and ``visible_share`` left open, stage
            1's ranking stands.
        weighting: a name from :data:`faceflow.weighting.WEIGHTINGS`.
        grid: pool patches to this grid before transport, e.g. (4, 4).
        threshold: the least score that counts as identified. None takes the gallery's
            calibrated one, which holds for the calibrated options and single best faces
            alone; otherwise nothing is decided.
        best_faces: score a person by the mean of this many of their best faces.
        solver: transport solver; default :class:`faceflow.transport.Sinkhorn`.
        patches: transport the "raw" feature map or its "projected" contributions.
        visible_share: share of the visible faces' cosine in the cosine term.
        options: all of ``k`` to ``solver``, ``patches`` and ``visible_share`` at once, in place of
            them and of every default; :class:`MatchOptions` as constructed is the paper's way.
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
    calibrated = current_names(gallery.settings.get("match", {}))
    header = gallery.header
    if options is None:
        options = MatchOptions.resolve(
            defaults_for(header.network_name),
            calibrated,
            alpha=alpha,
            weighting=weighting,
            k=k,
            grid=grid,
            solver=solver,
            patches=patches,
            visible_share=visible_share,
            model=patch_model.load(header.network_name, header.digest),
        )
    if threshold is None and best_faces == 1 and _as_calibrated(options, calibrated):
        threshold = calibrated.get("threshold")
    shortlist = gallery.search(query, options.k)
    prepared = options.prepare(query)
    return [
        _matches(
            _rerank(
                prepared[i], gallery, shortlist.face_ids[i], shortlist.cosine[i], options, explain
            ),
            threshold,
            best_faces,
        )
        for i in range(len(query))
    ]


def _as_calibrated(options: MatchOptions, calibrated: Mapping[str, Any]) -> bool:
    """Whether scores come out as they did when the calibrated threshold was set."""
    # As MatchOptions.resolve: a calibration that does not speak of patches had raw ones.
    known = {"patches": "raw", "visible_share": 0.0, **calibrated}
    return (
        all(
            known[name] == getattr(options, name)
            for name in ("alpha", "weighting", "k", "patches", "visible_share")
            if name in known
        )
        and options.grid is None
        and isinstance(options.solver, Sinkhorn)
        and replace(options.solver, threads=None) == Sinkhorn()  # threads change no score
    )


def _rerank(
    query: FaceFeatures,
    gallery: Gallery,
    face_ids: Int64,
    cosine: Float64,
    options: MatchOptions,
    explain: bool,
) -> list[Match]:
    """Score one query's shortlist; faces come back best first, ties in stage 1's order."""
    known = face_ids >= 0
    face_ids, cosine = face_ids[known], cosine[known]
    if not len(face_ids):
        return []
    people = gallery.person_of(face_ids)
    plan: Plan | None = None
    visible_cosine: Float64 | None = None
    score = cosine
    if options.alpha > 0 or options.visible_share > 0 or explain:
        plan, visible_cosine = _compare(query, gallery, face_ids, options, explain)
        score = options.score(plan.similarity, cosine, visible_cosine)
    order = np.argsort(-score, kind="stable")
    return [
        Match(
            person=people[n],
            face_id=int(face_ids[n]),
            score=float(score[n]),
            cosine=float(cosine[n]),
            emd=None if plan is None else float(plan.similarity[n]),
            stage1_rank=int(n) + 1,
            rank=rank,
            plan=plan.pair(int(n)) if plan is not None and explain else None,
            visible_cosine=None if visible_cosine is None else float(visible_cosine[n]),
        )
        for rank, n in enumerate(order, start=1)
    ]


def _compare(
    query: FaceFeatures, gallery: Gallery, face_ids: Int64, options: MatchOptions, flow: bool
) -> tuple[Plan, Float64 | None]:
    """Transport to each face, and the cosine of what both show where that counts."""
    solver = options.solver
    plain = options.grid is None and options.patches == "raw" and options.visible_share == 0
    if plain and isinstance(solver, Sinkhorn) and takes_codes(query, options.weighting, solver):
        codes, pooled = gallery.codes(face_ids)
        plan = solver.weighted(
            query.patches[0],
            codes,
            options.weighting,
            pooled_query=query.pooled[0],
            pooled_gallery=pooled,
            flow=flow,
        )
        return plan, None
    faces = options.prepare(gallery.features(face_ids, landmarks=options.needs_landmarks))
    plan = emd_similarity(query, faces, weighting=options.weighting, solver=solver, flow=flow)
    return plan, options.visible_cosine(query, faces)


def _matches(faces: list[Match], threshold: float | None, best_faces: int) -> Matches:
    if not faces:
        return Matches("empty", threshold, (), ())
    people = _people(faces, best_faces)
    status: Status = "ranked"
    if threshold is not None:
        status = "identified" if people[0].score >= threshold else "unknown"
    return Matches(status, threshold, tuple(faces), people)


def _people(faces: Sequence[Match], best_faces: int) -> tuple[PersonMatch, ...]:
    """Group faces by person and rank the people by score, and by cosine for stage 1's rank."""
    by_person: dict[str, list[Match]] = defaultdict(list)
    for face in faces:
        by_person[face.person].append(face)

    def mean_of_best(found: list[Match], value: Callable[[Match], float]) -> float:
        return _mean(sorted(map(value, found), reverse=True)[:best_faces])

    stage1 = {
        person: rank
        for rank, (person, _) in enumerate(
            sorted(
                by_person.items(),
                key=lambda item: (
                    -mean_of_best(item[1], lambda face: face.cosine),
                    min(face.stage1_rank for face in item[1]),
                ),
            ),
            start=1,
        )
    }
    ranked = sorted(
        by_person.items(),
        key=lambda item: (-mean_of_best(item[1], lambda face: face.score), stage1[item[0]]),
    )
    return tuple(
        _person(person, found[:best_faces], stage1[person], rank)
        for rank, (person, found) in enumerate(ranked, start=1)
    )


def _person(person: str, counted: list[Match], stage1_rank: int, rank: int) -> PersonMatch:
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
    # One value is the rule, and NumPy takes some 10 µs to average it, hundreds of times a query.
    return values[0] if len(values) == 1 else float(np.mean(values))
