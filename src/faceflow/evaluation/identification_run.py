"""One identification experiment, from photos to numbers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from faceflow.arrays import Bools, Float64, Int64
from faceflow.errors import InputError
from faceflow.evaluation.data import Photo
from faceflow.evaluation.data.protocols import PROTOCOLS, Protocol
from faceflow.evaluation.exhaustive import rank_by_emd
from faceflow.evaluation.experiment import (
    ALPHAS,
    FPIRS,
    Curve,
    Experiment,
    IdentificationResult,
    Metrics,
    OpenSet,
    Sample,
    SweepPoint,
)
from faceflow.evaluation.feature_store import PhotoFeatures
from faceflow.evaluation.laboratory import Laboratory
from faceflow.evaluation.material import Material, material, sample, several_only, subset
from faceflow.evaluation.metrics import open_set
from faceflow.evaluation.metrics.mates import MateRanks
from faceflow.evaluation.metrics.open_set import IdentificationPoint, Searches
from faceflow.evaluation.metrics.retrieval import (
    ceiling,
    cmc,
    map_at_r,
    precision_at_1,
    r_precision,
    recall_at,
)
from faceflow.evaluation.metrics.significance import (
    Interval,
    bootstrap,
    bootstrap_of,
    compare,
    compare_people,
)
from faceflow.evaluation.ranking import Rankings, rank

CMC_DEPTH = 50
_CURVE_POINTS = 200
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Photos, features and who is compared with whom; ``cover`` is how queries are drawn."""

    real: bool
    cover: str
    sample: Sample
    protocol: Protocol
    gallery: PhotoFeatures
    queries: PhotoFeatures
    seconds: float


def identification(lab: Laboratory, experiment: Experiment) -> IdentificationResult:
    """Make one identification experiment.

    Raises:
        NotHereError, WeightsError: something is missing here; the message says how to get it.
        InputError: an option is unknown or out of range, or nobody is left to search for.
    """
    options = lab.options(experiment)
    # Where EMD ranks the whole gallery, the shortlist's is not asked for.
    listed = replace(options, alpha=0.0) if experiment.emd_first else options
    ready = prepare(lab, experiment)
    protocol, mated = ready.protocol, ready.protocol.mated
    if not mated.any():
        raise InputError(
            "no query is left with anybody to find",
            why=f"{ready.sample.mated:,} were, and {ready.sample.lost:,} had no face detected or "
            "lost their mates",
        )
    folder = lab.folder / "rankings"
    ranking, seconds = timed_ranking(
        folder,
        lambda progress: rank(
            ready.queries, ready.gallery, protocol, listed, cache=folder, progress=progress
        ),
        lab.step("ranking"),
    )
    first = ranking.stage1.select(mated)
    people = protocol.query_people[mated]
    pairs, unconverged = int(np.isfinite(ranking.emd).sum()), ranking.unconverged
    if experiment.emd_first:
        whole, seconds = timed_ranking(
            folder,
            lambda progress: rank_by_emd(
                ready.queries, ready.gallery, protocol, options, cache=folder, progress=progress
            ),
            lab.step("EMD over the gallery"),
        )
        second, pairs, unconverged = whole.ranks.select(mated), whole.pairs, whole.unconverged
    else:
        second = ranking.stage2(options.alpha).select(mated)
    hits, better = precision_at_1(first), precision_at_1(second)
    searches: tuple[Searches, ...] = ()
    if experiment.protocol == "open-set":
        searches = (
            replace(ranking, visible_share=0.0).searches(protocol.mated, 0.0),
            ranking.searches(protocol.mated, options.alpha),
        )
    return IdentificationResult(
        experiment=experiment,
        real=ready.real,
        sample=ready.sample,
        stage1=_metrics(first, people, ready.sample.mated),
        stage2=_metrics(second, people, ready.sample.mated),
        queries=compare(hits, better),
        people=compare_people(hits, better, people),
        recall_at_k=bootstrap(recall_at(first, options.k), people),
        ceiling=float(ceiling(first).mean()),
        sweep=() if experiment.emd_first else _sweep(ranking, mated),
        cmc1=_cmc(first),
        cmc2=_cmc(second),
        open_set=_open_set(searches[0], searches[1], protocol.query_people) if searches else (),
        det1=_det(searches[0]) if searches else None,
        det2=_det(searches[1]) if searches else None,
        unconverged=unconverged,
        pairs=pairs,
        network_digest=lab.analyzer(experiment.network, experiment.alignment).network.digest,
        feature_seconds=ready.seconds,
        ranking_seconds=seconds,
    )


def choose_material(lab: Laboratory, experiment: Experiment) -> Material:
    """The photos an experiment would use, before anything is computed."""
    dataset = lab.dataset(experiment.dataset)
    # TALFW's photos are attacks on LFW's: it is LFW that is enrolled.
    gallery = lab.dataset("lfw") if experiment.dataset == "talfw" else None
    chosen = material(dataset, experiment.query, gallery=gallery)
    if experiment.several:
        chosen = several_only(chosen)
    some = subset(
        chosen,
        experiment.protocol,
        people=experiment.people,
        faces=experiment.faces,
        seed=experiment.seed,
    )
    return sample(some, experiment.queries, experiment.seed)


def prepare(lab: Laboratory, experiment: Experiment) -> Prepared:
    """Everything an experiment needs before it ranks; raises as :func:`identification`."""
    if experiment.protocol not in PROTOCOLS:
        raise InputError(
            f"there is no protocol {experiment.protocol!r}",
            todo=f"choose one of {', '.join(PROTOCOLS)}",
        )
    # The network first: a missing one should not cost the search for near-duplicates.
    lab.analyzer(experiment.network, experiment.alignment)
    chosen = choose_material(lab, experiment)
    duplicates = lab.duplicates([*chosen.gallery, *chosen.queries])
    whole = _protocol(chosen, experiment, duplicates.links)
    enrolled = [chosen.gallery[n] for n in whole.gallery]
    searched = [chosen.queries[n] for n in whole.queries]
    start = time.perf_counter()
    gallery = lab.features(enrolled, experiment)
    queries = lab.features(searched, experiment, chosen.cover)
    seconds = time.perf_counter() - start
    if not len(gallery) or not len(queries):
        side = "gallery" if not len(gallery) else "query"
        raise InputError(
            f"no {side} photo shows a face",
            why=f"{len(enrolled):,} photos to enroll, {len(searched):,} to search with",
            todo="for photos cut to the face already, say --whole-image fallback",
        )
    protocol = compact(whole, gallery.found, queries.found, enrolled, searched)
    mated = int(whole.mated.sum())
    photos = Sample(
        gallery_photos=len(enrolled),
        query_photos=len(searched),
        gallery_missed=len(enrolled) - len(gallery),
        query_missed=len(searched) - len(queries),
        faces=len(protocol.gallery),
        people=len(np.unique(protocol.gallery_people)),
        queries=len(protocol),
        query_people=len(np.unique(protocol.query_people)),
        mated=mated,
        lost=mated - int(protocol.mated.sum()),
        same_photo=protocol.same_photo,
        near_duplicates=protocol.near_duplicates,
        leaked=_same_photos(gallery.photos, queries.photos) - protocol.same_photo,
        duplicate_pairs=len(duplicates.pairs),
        misfiled=len(duplicates.misfiled),
    )
    return Prepared(chosen.real, chosen.cover, photos, protocol, gallery, queries, seconds)


def _same_photos(gallery: Sequence[Photo], queries: Sequence[Photo]) -> int:
    """Comparisons of a query with its own photograph that the photos would allow."""
    counts = Counter(photo.source_id for photo in gallery)
    return sum(counts[photo.source_id] for photo in queries)


def _protocol(
    chosen: Material, experiment: Experiment, links: Sequence[tuple[str, str]]
) -> Protocol:
    make = PROTOCOLS[experiment.protocol]
    if experiment.protocol == "published":
        return make(chosen.gallery, chosen.drawn_queries)
    options: dict[str, object] = {"duplicates": links}
    if experiment.protocol == "one-mate":
        options |= {"size": len(chosen.gallery), "seed": experiment.seed}
    elif experiment.protocol == "open-set":
        options["seed"] = experiment.seed
    return make(chosen.gallery, chosen.drawn_queries, **options)


def compact(
    protocol: Protocol,
    gallery_found: Bools,
    query_found: Bools,
    gallery: Sequence[Photo],
    queries: Sequence[Photo],
) -> Protocol:
    """The protocol without the photos that showed no face, its rows numbered among the rest.

    Args:
        protocol: made from all photos.
        gallery_found: (G,) which of its enrolled photos show a face.
        query_found: (Q,) likewise of its queries.
        gallery, queries: these photos.
    """
    place = np.full(int(protocol.gallery.max()) + 1, -1, dtype=np.int64)
    kept = protocol.gallery[gallery_found]
    place[kept] = np.arange(len(kept))
    names = {
        int(row): photo.source_id for row, photo in zip(protocol.gallery, gallery, strict=True)
    }
    chosen = np.flatnonzero(query_found)
    excluded: list[Int64] = []
    same = 0
    for n in chosen:
        rows = protocol.excluded_rows(int(n))
        rows = rows[place[rows] >= 0]
        same += sum(names[int(row)] == queries[int(n)].source_id for row in rows)
        excluded.append(place[rows])
    start = np.concatenate([[0], np.cumsum([len(rows) for rows in excluded])]).astype(np.int64)
    people = protocol.gallery_people[gallery_found]
    query_people = protocol.query_people[chosen]
    faces = np.bincount(people, minlength=len(protocol.people))
    own = np.array(
        [
            int((people[rows] == who).sum())
            for rows, who in zip(excluded, query_people, strict=True)
        ],
        dtype=np.int64,
    )
    mates = faces[query_people] - own
    return replace(
        protocol,
        gallery=np.arange(len(kept)),
        queries=np.arange(len(chosen)),
        gallery_people=people,
        query_people=query_people,
        excluded_start=start,
        excluded=np.concatenate([*excluded, np.empty(0, dtype=np.int64)]),
        mates=mates,
        # Where the published rule counts a query among its own, it still does.
        relevant=mates + (protocol.relevant - protocol.mates)[chosen],
        same_photo=same,
        near_duplicates=int(start[-1]) - same,
    )


def timed_ranking(
    folder: Path,
    run: Callable[[Callable[[int, int], None]], T],
    progress: Callable[[int, int], None],
) -> tuple[T, float | None]:
    """Run a ranking and time it; None where blocks of an earlier run were used."""
    blocks = 0

    def tell(done: int, total: int) -> None:
        nonlocal blocks
        blocks += 1
        progress(done, total)

    before = _files(folder)
    start = time.perf_counter()
    answer = run(tell)
    seconds = time.perf_counter() - start
    return answer, seconds if _files(folder) - before >= blocks else None


def _files(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*.npz")) if folder.is_dir() else 0


def _metrics(ranks: MateRanks, people: Int64, mated: int) -> Metrics:
    hits = precision_at_1(ranks)
    return Metrics(
        p_at_1=bootstrap(hits, people),
        r_precision=bootstrap(r_precision(ranks), people),
        map_at_r=bootstrap(map_at_r(ranks), people),
        p_at_1_counted=float(hits.sum() / mated),
    )


def _sweep(ranking: Rankings, mated: Bools) -> tuple[SweepPoint, ...]:
    """Every alpha, where the EMD was computed."""
    points = []
    baseline = precision_at_1(ranking.stage1.select(mated))
    for alpha in ALPHAS if ranking.alpha > 0 else (0.0,):
        ranks = ranking.stage2(alpha).select(mated)
        hits = precision_at_1(ranks)
        test = compare(baseline, hits)
        points.append(
            SweepPoint(
                alpha,
                float(hits.mean()),
                float(r_precision(ranks).mean()),
                float(map_at_r(ranks).mean()),
                test.wins,
                test.losses,
                test.p_value,
            )
        )
    return tuple(points)


def _cmc(ranks: MateRanks) -> tuple[float, ...]:
    return tuple(float(share) for share in cmc(ranks, CMC_DEPTH))


def _open_set(first: Searches, second: Searches, people: Int64) -> tuple[OpenSet, ...]:
    return tuple(
        OpenSet(
            rate,
            _point(first, rate),
            _point(second, rate),
            _tpir_interval(first, rate, people),
            _tpir_interval(second, rate, people),
        )
        for rate in FPIRS
    )


def _point(searches: Searches, rate: float) -> IdentificationPoint | None:
    # A rate below 1 over the non-mated searches cannot be measured.
    if rate * int((~searches.mated).sum()) < 1:
        return None
    return open_set.tpir_at_fpir(searches, rate)


def _tpir_interval(searches: Searches, rate: float, people: Int64) -> Interval | None:
    try:
        return bootstrap_of(
            lambda rows: open_set.tpir_at_fpir(searches.select(rows), rate).tpir, people
        )
    except InputError:
        return None


def _det(searches: Searches) -> Curve:
    curve = open_set.det(searches)
    return thin(curve.fpir, curve.fnir)


def thin(x: Float64, y: Float64) -> Curve:
    """A curve of at most a few hundred points, ends kept."""
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), _CURVE_POINTS)).astype(np.int64))
    return tuple(x[rows].tolist()), tuple(y[rows].tolist())
