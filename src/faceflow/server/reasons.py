"""Why a candidate has its score, why one and not another, and what if: from a search that is kept.

Nothing is scored here: :mod:`faceflow.explain` and identification give every number.
"""

from __future__ import annotations

import numpy as np

from faceflow.arrays import Float32
from faceflow.errors import GalleryError
from faceflow.explain import explain_pair
from faceflow.explain.explanation import Explanation
from faceflow.gallery import Gallery, ReadableGallery
from faceflow.matching.identification import identify
from faceflow.matching.options import MatchOptions
from faceflow.server import schemas
from faceflow.server.problems import not_found
from faceflow.server.searches import Kept, person_parts

_TINY = 1e-9
"""Mass below which a flow's entry is left out, with what it contributes: nothing to see."""


def explanation(
    kept: Kept, gallery: Gallery, options: MatchOptions, face_id: int
) -> schemas.Explanation:
    """Why a face of the search's candidates has its score.

    Raises:
        Problem: 404, the search has no such face, or it was deleted since.
    """
    with gallery.snapshot() as view:
        found = _explain(kept, view, options, face_id)
    person, recorded = _recorded(kept, face_id)
    terms = {term.key: term.part for term in found.terms}
    moved = found.alpha * found.flow * found.cosines
    seen = options.model
    return schemas.Explanation(
        person=person,
        face_id=face_id,
        grid=found.grid,
        score=found.score,
        recorded_score=recorded,
        contributions=(found.alpha * found.query_contributions).tolist(),
        gallery_contributions=(found.alpha * found.gallery_contributions).tolist(),
        flow=[
            schemas.FlowCell(
                i=int(i),
                j=int(j),
                mass=float(found.flow[i, j]),
                similarity=float(found.cosines[i, j]),
                contribution=float(moved[i, j]),
            )
            for i, j in np.argwhere(found.flow > _TINY)
        ],
        weights={"u": found.u.tolist(), "v": found.v.tolist()},
        visibility={
            "query": None if seen is None else _visibility(seen.see(kept.features).visibility),
            "gallery": None
            if seen is None
            else _visibility(seen.see(gallery.features([face_id])).visibility),
        },
        terms=terms,
        shares={term.key: term.share for term in found.terms},
        similarities={term.key: term.value for term in found.terms},
        weighting=found.weighting,
        patches=found.patches,
        solver=dict(found.solver),
        status=found.status.name.lower(),
        iterations=found.iterations,
    )


def comparison(
    kept: Kept, gallery: Gallery, options: MatchOptions, a: int, b: int
) -> schemas.Comparison:
    """Why face ``a`` scores other than face ``b``, cell by cell of the query.

    Raises:
        Problem: 404, the search has no such face, or it was deleted since.
    """
    with gallery.snapshot() as view:
        one, other = (_explain(kept, view, options, face_id) for face_id in (a, b))
    parts, others = ({term.key: term.part for term in found.terms} for found in (one, other))
    cells = one.alpha * (one.query_contributions - other.query_contributions)
    return schemas.Comparison(
        a=_recorded(kept, a)[0],
        b=_recorded(kept, b)[0],
        a_face_id=a,
        b_face_id=b,
        grid=one.grid,
        score_a=one.score,
        score_b=other.score,
        difference=one.score - other.score,
        cells=cells.tolist(),
        terms={key: parts[key] - others[key] for key in parts},
    )


def what_if(
    kept: Kept, gallery: Gallery, options: MatchOptions, hidden: list[int]
) -> schemas.WhatIf:
    """The search's candidates as they would score if cells of the query had shown nothing.

    Raises:
        InputError: a cell that the grid has not.
    """
    with gallery.snapshot() as view:
        (matches,) = identify(kept.features.hidden(hidden), view, options)
        by_name = {match.person: match for match in matches.people}
    found = []
    for candidate in kept.search.candidates:
        match = by_name.get(candidate.person.name or "")
        if match is not None:
            found.append(
                schemas.WhatIfCandidate(
                    person=candidate.person,
                    face_id=match.face_id,
                    score=match.score,
                    recorded_score=candidate.score,
                    parts=person_parts(match, options),
                    rank=match.rank,
                    recorded_rank=candidate.rank,
                )
            )
    found.sort(key=lambda one: one.rank)
    return schemas.WhatIf(search=kept.search.id, hidden=sorted(set(hidden)), candidates=found)


def _explain(kept: Kept, view: ReadableGallery, options: MatchOptions, face_id: int) -> Explanation:
    if face_id not in kept.face_ids():
        raise not_found(f"face {face_id} in the search {kept.search.id}")
    try:
        face = view.features([face_id], landmarks=options.needs_landmarks)
    except GalleryError:
        raise not_found(f"face {face_id} any more", why="it was deleted") from None
    return explain_pair(kept.features, face, options)


def _recorded(kept: Kept, face_id: int) -> tuple[schemas.PersonRef, float]:
    for candidate in kept.search.candidates:
        for face in candidate.faces:
            if face.face_id == face_id:
                return candidate.person, face.score
    raise not_found(f"face {face_id} in the search {kept.search.id}")


def _visibility(values: Float32 | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values[0]]
