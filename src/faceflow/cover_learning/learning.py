"""Learn a network's covers from photos, see whether it helps, and keep it with the network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from faceflow import __version__
from faceflow.analyzer import FaceAnalyzer
from faceflow.cover_learning.check import Check, check, half_of
from faceflow.cover_learning.cover_fit import HeldOut, fit_cover, judge
from faceflow.cover_learning.drawn_faces import choose_photos, draw_faces, find_photos
from faceflow.errors import FaceflowError, InputError
from faceflow.gallery.enrolment import SelectOne
from faceflow.matching import covers
from faceflow.matching.covers import PatchModel
from faceflow.matching.projections import projection_of
from faceflow.networks import learned
from faceflow.networks.learned import LearnedCovers

PHOTOS = 400
LEAST_PHOTOS = 50
Progress = Callable[[int, int, str], None]
"""Called with (done, in all, of what)."""


@dataclass(frozen=True, slots=True, eq=False)
class Learning:
    """What was learned and how well it does.

    Attributes:
        model: the patch model, fitted on all faces.
        photos, people: photos that were covered, and people they show (0 where nobody says).
        faces: faces fitted on, clean and covered.
        left_out: photos without a use, and why.
        held_out: how well covers are told on photos apart from the fit.
        check: whether people are found better with it, apart from fit and choice.
        kept: where it was written; None where it was not to be kept.
    """

    model: PatchModel
    photos: int
    people: int
    faces: int
    left_out: tuple[tuple[Path, FaceflowError], ...]
    held_out: HeldOut
    check: Check
    kept: Path | None

    def record(self) -> dict[str, Any]:
        """Everything but the model itself as JSON values."""
        held = dataclasses.asdict(self.held_out)
        auc = self.held_out.auc.reshape(self.model.grid)
        held["auc"] = [[_finite(value) for value in row] for row in auc.tolist()]
        return {
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": __version__,
            "patch_model": self.model.digest,
            "linear": self.model.linear,
            "photos": self.photos,
            "people": self.people,
            "faces": self.faces,
            "left_out": len(self.left_out),
            "held_out": {name: _finite(value) for name, value in held.items()},
            "check": dataclasses.asdict(self.check),
        }


def learn(
    photos: str | Path,
    analyzer: FaceAnalyzer,
    *,
    limit: int = PHOTOS,
    select: SelectOne = "largest",
    seed: int = 0,
    save: bool = True,
    progress: Progress | None = None,
) -> Learning:
    """Learn which patches of the analyzer's network are covered, and whether it helps.

    Covers are drawn on the photos, so which cells they hide is known. With folders that name
    people, two photos a person, the check searches for people it was not fitted on. See
    docs/any-network.md.

    Args:
        photos: a folder of photos, or of folders that are named after people, or a CSV file
            with the columns path and person.
        analyzer: of the network to learn about.
        limit: photos to cover, at most.
        select: which face of a photo with several.
        seed: of the covers.
        save: keep it with the network, where every comparison finds it.
        progress: told how far the work is.

    Raises:
        InputError: too few photos show a face.
        WeightsError: the cache cannot be written.
    """
    spec = analyzer.network.spec

    def told(what: str) -> Callable[[int, int], None]:
        return lambda done, total: None if progress is None else progress(done, total, what)

    chosen = choose_photos(find_photos(photos), limit)
    faces = draw_faces(chosen, analyzer, select=select, seed=seed, progress=told("photos"))
    used = len(np.unique(faces.photo // 2))
    if used < LEAST_PHOTOS:
        raise InputError(
            f"{used} photos show a face to learn from",
            why=f"at least {LEAST_PHOTOS} are needed, and a few hundred are better",
            todo="give more photos, of as many different people as you have",
        )
    half, hidden = half_of(faces), faces.hidden
    first = fit_cover(faces.features, hidden, half == 0, progress=told("first half"))
    second = fit_cover(faces.features, hidden, half == 1, progress=told("second half"))
    seen = np.where(
        (half == 0)[:, None], second.covered(faces.features), first.covered(faces.features)
    )
    projection = projection_of(spec)
    found = check(
        faces,
        projection,
        (first, second),
        base=spec.defaults,
        base_model=covers.shipped(spec),
    )
    everything = np.ones(len(faces), dtype=np.bool_)
    whole = fit_cover(faces.features, hidden, everything, progress=told("all photos"))
    result = Learning(
        PatchModel(spec.grid, projection, whole, learned=True),
        used,
        len(np.unique(faces.person[faces.person >= 0])),
        len(faces),
        faces.left_out,
        judge(seen, hidden),
        found,
        None,
    )
    if not save:
        return result
    defaults = found.chosen if found.adopted else None
    known = LearnedCovers(whole.weight, whole.bias, whole.mean, defaults, result.record())
    return dataclasses.replace(result, kept=learned.keep(spec, known))


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
