"""Figures of the paper's appendix, on photos the user has.

    S1  where each weighting looks: weights of a clean, a masked and a sunglasses query
    S2  retrieval: a query, its best faces by cosine, and its best faces after the EMD
    S3  the alpha sweep as a chart
    S4  flow of queries that the EMD put right, to their person's face
    S5  flow of queries that the EMD put wrong, to the face it preferred

The paper's own choice of photos for S2, S4 and S5 is not known; here the seed chooses, and won
and lost queries are shown alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from faceflow.arrays import Int64, UInt8
from faceflow.errors import FaceflowError, InputError
from faceflow.evaluation.cells import Bench
from faceflow.evaluation.data import Photo
from faceflow.evaluation.experiment import Experiment
from faceflow.evaluation.extraction import CLEAN
from faceflow.evaluation.identification_run import Prepared, prepare
from faceflow.evaluation.laboratory import Laboratory
from faceflow.evaluation.ranking import Rankings, rank
from faceflow.evaluation.report.plots import Series, chart
from faceflow.explain import Caption, explain_pair, flow_picture, weight_heatmap
from faceflow.matching.weighting import weigh
from faceflow.occlusion import contact_sheet

FIGURES = ("S1", "S2", "S3", "S4", "S5")
"""What :func:`figure` draws; S3 is a chart, the others are pictures."""

_S1_COVERS = (CLEAN, "mask", "sunglasses")
_S1_WEIGHTINGS = ("sc", "apc", "lmk")
_TOP = 5


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture and what it shows."""

    image: Image.Image
    caption: str


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """An experiment's rankings with what pictures need besides."""

    lab: Laboratory
    experiment: Experiment
    ready: Prepared
    ranking: Rankings

    def query_crop(self, n: int) -> UInt8:
        return self.lab.extractor(self.experiment, self.ready.cover).crop(
            self.ready.queries.photos[n]
        )

    def gallery_crop(self, row: int) -> UInt8:
        return self.lab.extractor(self.experiment, CLEAN).crop(self.ready.gallery.photos[row])


def figure(lab: Laboratory, name: str, experiment: Experiment, *, count: int = 4) -> list[Drawn]:
    """Draw one figure.

    Args:
        lab: data, networks and features.
        name: one of :data:`FIGURES` but S3, which is :func:`sweep_chart`.
        experiment: data, query, network and scoring. S1 takes its own covers and weightings.
        count: how many queries to show at most.

    Raises:
        NotHereError, WeightsError: something is missing here.
        InputError: no such figure, or no query to show in it.
    """
    if name == "S1":
        return [_weights(lab, experiment, count)]
    if name not in FIGURES or name == "S3":
        raise InputError(
            f"there is no picture {name!r}", todo=f"choose one of {', '.join(FIGURES)}"
        )
    if experiment.options.alpha <= 0:
        raise InputError("with alpha 0 no EMD is computed, so there is nothing to show")
    ready = prepare(lab, experiment)
    ranking = rank(
        ready.queries,
        ready.gallery,
        ready.protocol,
        lab.options(experiment),
        cache=lab.folder / "rankings",
        progress=lab.step("ranking"),
    )
    ranked = _Ranked(lab, experiment, ready, ranking)
    won, lost = _changed(ranked)
    if name == "S2":
        half = max(1, count // 2)
        shown = [*won[:half], *lost[: count - min(half, len(won))]]
        unchanged = [n for n in _mated(ranked) if n not in {*won, *lost}]
        return [_retrieval(ranked, (shown + unchanged)[:count])]
    chosen = won if name == "S4" else lost
    if not chosen:
        verb = "right" if name == "S4" else "wrong"
        raise InputError(
            f"the EMD put none of {len(ranking):,} queries {verb}",
            todo="take more people, another cover or another alpha",
        )
    return [_flow(ranked, n, own=name == "S4") for n in chosen[:count]]


def check_figure(name: str, path: Path) -> None:
    """Raise InputError unless there is such a figure and it is written to such a file."""
    if name not in FIGURES:
        raise InputError(f"there is no figure {name!r}", todo=f"choose one of {', '.join(FIGURES)}")
    wanted = ".svg" if name == "S3" else ".png"
    if path.suffix.lower() != wanted:
        raise InputError(f"figure {name} is written as {wanted}", todo=f"name a {wanted} file")


def sweep_chart(bench: Bench, experiments: Sequence[Experiment]) -> str:
    """Figure S3 as SVG: P@1 at each alpha, a line per experiment.

    Raises:
        FaceflowError: none of the experiments could be made; the first reason.
    """
    series: list[Series] = []
    failures: list[FaceflowError] = []
    for n, one in enumerate(experiments):
        made = bench.identify(one)
        if isinstance(made, FaceflowError):
            failures.append(made)
            continue
        result = made[1]
        name = f"{one.dataset}, {one.query}, {one.network}, {one.options.weighting}"
        shares = [100 * point.p_at_1 for point in result.sweep]
        series.append(Series(name, [p.alpha for p in result.sweep], shares, n, n // 8, True))
    if not series:
        raise failures[0]
    style = (
        "<style>.grid{stroke:#ddd}.line{fill:none;stroke-width:2}"
        "text{font:11.5px sans-serif;fill:#333}</style>"
    )
    svg = chart(series, "alpha", "P@1, %")
    head, rest = svg.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'


def _weights(lab: Laboratory, experiment: Experiment, count: int) -> Drawn:
    """Fig. S1: a row per person and cover, a column per weighting."""
    images: list[UInt8] = []
    labels: list[str] = []
    for photo, other in _two_photos(lab, experiment, count):
        against = lab.features([other], experiment)
        if not len(against):
            continue
        for cover in _S1_COVERS:
            found = lab.features([photo], experiment, cover)
            if not len(found):
                continue
            crop = lab.extractor(experiment, cover).crop(photo)
            row = np.array([0])
            query, gallery = found[row], against[row]
            images.append(crop)
            labels.append(cover)
            for name in _S1_WEIGHTINGS:
                u, _ = weigh(name, query, gallery)
                images.append(np.asarray(weight_heatmap(crop, u[0], query.grid)))
                labels.append(name.upper())
    if not images:
        raise InputError("no person has two photos with a face")
    sheet = contact_sheet(images, 1 + len(_S1_WEIGHTINGS), labels)
    return Drawn(Image.fromarray(sheet), "Weights of the query's patches")


def _two_photos(lab: Laboratory, experiment: Experiment, count: int) -> list[tuple[Photo, Photo]]:
    people: dict[str, list[Photo]] = {}
    for photo in lab.dataset(experiment.dataset).photos:
        people.setdefault(photo.person, []).append(photo)
    able = sorted(name for name, photos in people.items() if len(photos) > 1)
    order = np.random.default_rng(experiment.seed).permutation(len(able))[:count]
    return [(people[able[int(n)]][0], people[able[int(n)]][1]) for n in order]


def _mated(ranked: _Ranked) -> list[int]:
    return [int(n) for n in np.flatnonzero(ranked.ready.protocol.mated)]


def _changed(ranked: _Ranked) -> tuple[list[int], list[int]]:
    """Queries whose first face stage 2 put right, and those it put wrong."""
    first = ranked.ranking.mate[:, 0]
    best = ranked.ranking.order(ranked.experiment.options.alpha)[:, 0]
    second = ranked.ranking.mate[np.arange(len(best)), best]
    won = np.flatnonzero(second & ~first)
    lost = np.flatnonzero(first & ~second)
    return won.tolist(), lost.tolist()


def _retrieval(ranked: _Ranked, chosen: Sequence[int]) -> Drawn:
    """Fig. S2: two lines a query, the best by cosine above the best after the EMD."""
    images: list[UInt8] = []
    labels: list[str] = []
    score = ranked.ranking.scores(ranked.experiment.options.alpha)
    for n in chosen:
        crop = ranked.query_crop(n)
        order = ranked.ranking.order(ranked.experiment.options.alpha)[n]
        stages: tuple[tuple[str, Int64], ...] = (
            ("stage 1", np.arange(len(order))),
            ("stage 2", order),
        )
        for name, places in stages:
            images.append(crop)
            labels.append(f"{name}: {ranked.ready.queries.photos[n].person}")
            for place in places[:_TOP]:
                row = int(ranked.ranking.faces[n, place])
                if row < 0:
                    images.append(np.full_like(crop, 250))
                    labels.append("")
                    continue
                value = ranked.ranking.cosine if name == "stage 1" else score
                mark = "+" if ranked.ranking.mate[n, place] else "-"
                images.append(ranked.gallery_crop(row))
                person = ranked.ready.gallery.photos[row].person
                labels.append(f"{mark} {value[n, place]:.2f} {person}")
    width = 1 + min(_TOP, ranked.ranking.faces.shape[1])
    return Drawn(
        Image.fromarray(contact_sheet(images, width, labels)),
        "Query, then the best faces: + the same person, - another",
    )


def _flow(ranked: _Ranked, n: int, *, own: bool) -> Drawn:
    """Fig. S4 and S5: the flow to the best face after the EMD."""
    experiment = ranked.experiment
    options = ranked.lab.options(experiment)
    order = ranked.ranking.order(experiment.options.alpha)[n]
    place = int(order[0])
    row = int(ranked.ranking.faces[n, place])
    query, gallery = ranked.ready.queries[np.array([n])], ranked.ready.gallery[np.array([row])]
    explanation = explain_pair(query, gallery, options)
    person = ranked.ready.gallery.photos[row].person
    asked = ranked.ready.queries.photos[n].person
    caption = Caption(person, "the right person" if own else f"wrong: it is {asked}", place + 1, 1)
    picture = flow_picture(
        ranked.query_crop(n), ranked.gallery_crop(row), explanation, caption=caption
    )
    return Drawn(picture, f"{asked}, matched with {person}")


def retrieval_examples(
    lab: Laboratory, experiments: Sequence[Experiment], *, count: int = 4
) -> list[Drawn]:
    """Figure S2 for each experiment: what ``--pictures`` adds to a page."""
    return [
        replace(
            drawn, caption=f"{one.dataset}, {one.query}, {one.options.weighting}: {drawn.caption}"
        )
        for one in experiments
        for drawn in figure(lab, "S2", one, count=count)
    ]
