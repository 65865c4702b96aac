"""Does a learned cover model help to find people? Asked of people whom it was not fitted on.

People fall into two halves. The model of one half sees the faces of the other, and the options
that one half would choose are judged on the other, so that no number comes from a person on
whom anything was fitted or chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Bools, Float32, Float64, Int64
from faceflow.cover_learning.drawn_faces import CLEAN, KINDS, OTHER, DrawnFaces
from faceflow.evaluation.metrics.significance import PairedTest, compare, compare_people
from faceflow.matching.covers import CoverModel, PatchModel
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import combine, prepare, rerank
from faceflow.networks import MatchDefaults

LEAST_PEOPLE = 40
"""People with two photos from which on they are searched for; with fewer, photos are."""
SIGNIFICANCE = 0.05
_CLEAN_LOSS = 0.005  # of the clean searches, net, that may be lost
_K = 100
_ALPHAS = (0.2, 0.3, 0.1, 0.5)
_SHARES = (0.3, 0.5, 0.7, 0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """Searches with one kind of cover.

    Attributes:
        kind: "clean", "mask", "sunglasses", "other", or "all".
        searches: how many.
        without, with_: share that named the right one first (P@1), as faces are compared without
            what was learned and with it.
        test: search by search; for "all" over people.
    """

    kind: str
    searches: int
    without: float
    with_: float
    test: PairedTest


@dataclass(frozen=True, slots=True)
class Check:
    """What the check found.

    Attributes:
        by_people: whether other photos of people were searched for; else, for want of names or
            people, the same photos under another cover.
        gallery: faces searched among.
        people: people (or photos) searched for.
        base: the options without what was learned.
        chosen: the best options with it.
        adopted: whether they are better beyond chance on all kinds together, and clean faces
            lose nothing to speak of.
        rows: a row for each kind, and one for all.
    """

    by_people: bool
    gallery: int
    people: int
    base: MatchDefaults
    chosen: MatchDefaults
    adopted: bool
    rows: tuple[Row, ...]


def candidates(*, linear: bool, by_people: bool) -> tuple[MatchDefaults, ...]:
    """What can be chosen, first what is taken of equals.

    That is what measured best on the default network. Where photos are searched for by
    themselves there is no choice: a photo is its own best answer at any share, so shares cannot
    be told from it.
    """
    if linear:
        every = [
            MatchDefaults(alpha, "uncovered", _K, "projected", share)
            for share in _SHARES
            for alpha in _ALPHAS
        ]
    else:
        every = [MatchDefaults(alpha, "uncovered", _K) for alpha in _ALPHAS]
    return tuple(every if by_people else every[:1])


def check(
    faces: DrawnFaces,
    projection: Float32,
    halves: tuple[CoverModel, CoverModel],
    *,
    base: MatchDefaults,
    base_model: PatchModel | None,
) -> Check:
    """Search for faces with and without a cover model.

    Args:
        faces: from :func:`faceflow.cover_learning.drawn_faces.draw_faces`.
        projection: (R, C, D) see :class:`faceflow.matching.covers.PatchModel`.
        halves: the models fitted on the faces of half 0 and half 1, see :func:`half_of`.
        base: the options without what was learned, and
        base_model: the patch model they need, if any.
    """
    by_people, searched, queries = _who(faces)
    target = faces.person if by_people else faces.photo // 2
    models = [PatchModel(faces.features.grid, projection, cover) for cover in halves]
    listed = candidates(linear=models[0].linear, by_people=by_people)
    before, after = _hits(faces, searched, queries, target, listed, models, base, base_model)
    half, kind, who = half_of(faces)[queries], faces.kind[queries], target[queries]
    chosen = np.empty(len(queries), np.bool_)
    for side in (0, 1):
        apart = half != side
        best = best_of(after[:, apart], kind[apart])
        chosen[half == side] = after[best, half == side]
    rows = [
        _row(KINDS[n], before[kind == n], chosen[kind == n], compare)
        for n in sorted(set(kind.tolist()))
    ]
    overall = _row("all", before, chosen, lambda a, b: compare_people(a, b, who))
    return Check(
        by_people,
        len(searched),
        len(np.unique(who)),
        base,
        listed[best_of(after, kind)],
        helps(rows, overall),
        (*rows, overall),
    )


def helps(rows: Sequence[Row], overall: Row) -> bool:
    """Whether all searches together are better beyond chance, and clean ones no worse.

    Of the clean searches half a percent may be lost, net: one in two hundred is chance.
    """
    test = overall.test
    clean = [row for row in rows if row.kind == CLEAN]
    return (
        test.wins > test.losses
        and test.p_value < SIGNIFICANCE
        and all(one.test.losses - one.test.wins <= _CLEAN_LOSS * one.searches for one in clean)
    )


def half_of(faces: DrawnFaces) -> Int64:
    """(N,) 0 or 1: which half a face's person (or photo) falls into."""
    return faces.photo // 2 % 2


def _who(faces: DrawnFaces) -> tuple[bool, Int64, Int64]:
    """Whether people are searched for, the rows searched among, and those searched with."""
    first = faces.photo % 2 == 1
    named = np.isin(faces.person, faces.person[first]) & (faces.person >= 0)
    if len(np.unique(faces.person[first])) >= LEAST_PEOPLE:
        strangers = ~named & faces.of_kind(CLEAN)
        return True, np.flatnonzero(first | strangers), np.flatnonzero(named & ~first)
    other = faces.of_kind(OTHER)
    seen = np.isin(faces.photo, faces.photo[other])
    return False, np.flatnonzero(other), np.flatnonzero(seen & ~other & ~first)


def _hits(
    faces: DrawnFaces,
    searched: Int64,
    queries: Int64,
    target: Int64,
    listed: Sequence[MatchDefaults],
    models: Sequence[PatchModel],
    base: MatchDefaults,
    base_model: PatchModel | None,
) -> tuple[Bools, Bools]:
    """(Q,) whether the base names the right one first, and (candidates, Q) the same of each."""
    gallery = faces.features[searched]
    plain = MatchOptions.resolve(base, model=base_model)
    # Any share above 0 has every term computed; they are mixed below.
    share = max(one.visible_share for one in listed)
    with_model = [
        MatchOptions(
            1.0, "uncovered", _K, patches=listed[0].patches, visible_share=share, model=model
        )
        for model in models
    ]
    prepared = [prepare(gallery, options) for options in (plain, *with_model)]
    half, answers = half_of(faces), target[searched]
    before = np.empty(len(queries), np.bool_)
    after = np.empty((len(listed), len(queries)), np.bool_)
    for n, row in enumerate(queries):
        one = faces.features[int(row)]
        near = np.argsort(-(gallery.embedding @ one.embedding[0]), kind="stable")[:_K]
        right = answers[near] == target[row]
        before[n] = right[rerank(one, prepared[0][near], plain).score.argmax()]
        side = 1 - int(half[row])  # the model that was fitted on the other half
        found = rerank(one, prepared[1 + side][near], with_model[side])
        for place, option in enumerate(listed):
            score: Float64 = combine(
                found.cosine,
                found.emd,
                found.visible_cosine,
                alpha=option.alpha,
                visible_share=option.visible_share,
            )
            after[place, n] = right[score.argmax()]
    return before, after


def best_of(hits: Bools, kind: Int64) -> int:
    """The first of the best candidates, every kind of cover counting the same.

    Args:
        hits: (candidates, Q) whether each names the right one first.
        kind: (Q,) the kind of cover.
    """
    kinds, of_kind, count = np.unique(kind, return_inverse=True, return_counts=True)
    return int(np.round(hits @ (1 / (len(kinds) * count[of_kind])), 9).argmax())


def _row(kind: str, before: Bools, after: Bools, test: object) -> Row:
    assert callable(test)
    return Row(kind, len(before), float(before.mean()), float(after.mean()), test(before, after))
