"""One verification experiment: pairs of photos, by cosine and by equation 9 as the pair score."""

from __future__ import annotations

import time

import numpy as np

from faceflow.arrays import Bools, Float64, Int64
from faceflow.errors import InputError
from faceflow.evaluation.data import Pair
from faceflow.evaluation.experiment import (
    ALPHAS,
    FARS,
    Experiment,
    PairMetrics,
    PairSweep,
    VerificationResult,
)
from faceflow.evaluation.extraction import CLEAN
from faceflow.evaluation.feature_store import PhotoFeatures
from faceflow.evaluation.identification_run import thin
from faceflow.evaluation.laboratory import Laboratory
from faceflow.evaluation.metrics.pairs import auc, eer, fold_accuracy, roc, tar_at_far
from faceflow.evaluation.metrics.significance import compare
from faceflow.matching.score import combine, rerank
from faceflow.matching.transport import Status

PAIRS = "pairs"
"""The ``protocol`` of verification experiments."""
MISSED = -1.0
"""Score of a pair with a photo without a face: the least there is, so "different"."""


def verification(
    lab: Laboratory, experiment: Experiment, *, pairs: int | None = None
) -> VerificationResult:
    """Judge a data set's pairs by cosine and by stage 2's score, see ``MatchOptions``.

    Args:
        lab: data, networks and features.
        experiment: dataset, query (drawn over each pair's first photo), network, scoring.
        pairs: take only so many, evenly from each fold and kind; None takes all.

    Raises:
        NotHereError, WeightsError: something is missing here; the message says how to get it.
        InputError: the data set has no pairs, or an option is out of range.
    """
    lab.analyzer(experiment.network, experiment.alignment)
    options = lab.options(experiment)
    dataset = lab.dataset(experiment.dataset)
    if not dataset.pairs:
        raise InputError(
            f"{dataset.name} defines no pairs",
            todo=f"give a list: --data-option {experiment.dataset}.pairs=FILE",
        )
    asked = _some(dataset.pairs, pairs, experiment.seed)
    left = sorted({pair.a for pair in asked})
    right = sorted({pair.b for pair in asked})
    start = time.perf_counter()
    if experiment.query == CLEAN:
        left = right = sorted({*left, *right})
    first = lab.features([dataset.photos[n] for n in left], experiment, experiment.query)
    second = (
        first
        if experiment.query == CLEAN
        else lab.features([dataset.photos[n] for n in right], experiment)
    )
    feature_seconds = time.perf_counter() - start
    a, b = _places(left, first), _places(right, second)
    rows = [(a[pair.a], b[pair.b]) for pair in asked]
    found = np.array([i >= 0 and j >= 0 for i, j in rows])
    cosine, emd, shown = (np.full(len(rows), MISSED) for _ in range(3))
    unconverged = 0
    start = time.perf_counter()
    tell = lab.step("pairs")
    for n, (i, j) in enumerate(rows):
        if found[n]:
            pair = rerank(first[np.array([i])], second[np.array([j])], options)
            cosine[n] = pair.cosine[0]
            if pair.visible_cosine is not None:
                shown[n] = pair.visible_cosine[0]
            if pair.emd is not None and pair.plan is not None:
                emd[n] = pair.emd[0]
                unconverged += int((pair.plan.status == Status.MAX_ITERATIONS).sum())
        if (n + 1) % 100 == 0 or n + 1 == len(rows):
            tell(n + 1, len(rows))
    seconds = time.perf_counter() - start
    same = np.array([pair.same for pair in asked])
    folds = np.array([pair.fold for pair in asked])

    def scores(alpha: float) -> Float64:
        mixed = combine(cosine, emd, shown, alpha=alpha, visible_share=options.visible_share)
        return np.where(found, mixed, MISSED)

    score = scores(options.alpha)
    used = sorted({*left, *right})
    links = {frozenset(link) for link in lab.duplicates([dataset.photos[n] for n in used]).links}
    sources = [photo.source_id for photo in dataset.photos]
    return VerificationResult(
        experiment=experiment,
        pairs=len(asked),
        same=int(same.sum()),
        folds=len(np.unique(folds)),
        photos=len(left) + (0 if experiment.query == CLEAN else len(right)),
        missed=len(first.failures) + (0 if second is first else len(second.failures)),
        missed_pairs=int((~found).sum()),
        same_photo=sum(
            sources[pair.a] == sources[pair.b]
            or frozenset((sources[pair.a], sources[pair.b])) in links
            for pair in asked
        ),
        stage1=pair_metrics(cosine, same, folds),
        stage2=pair_metrics(score, same, folds),
        paired=compare(_right(cosine, same, folds), _right(score, same, folds)),
        sweep=tuple(
            PairSweep(
                alpha,
                fold_accuracy(scores(alpha), same, folds).mean,
                eer(scores(alpha), same),
            )
            for alpha in (ALPHAS if options.alpha > 0 else (0.0,))
        ),
        unconverged=unconverged,
        network_digest=lab.analyzer(experiment.network, experiment.alignment).network.digest,
        feature_seconds=feature_seconds,
        ranking_seconds=seconds,
    )


def pair_metrics(scores: Float64, same: Bools, folds: Int64) -> PairMetrics:
    """All verification metrics of one score."""
    accuracy = fold_accuracy(scores, same, folds)
    curve = roc(scores, same)
    different = int((~same).sum())
    return PairMetrics(
        accuracy=accuracy.mean,
        standard_error=accuracy.standard_error,
        threshold=float(accuracy.thresholds.mean()),
        eer=eer(scores, same),
        auc=auc(scores, same),
        tar=tuple(
            (rate, tar_at_far(scores, same, rate).tar) for rate in FARS if rate * different >= 1
        ),
        roc=thin(curve.far, curve.tar),
    )


def _right(scores: Float64, same: Bools, folds: Int64) -> Bools:
    """(N,) whether each pair is judged right at the threshold of the other folds."""
    answer = fold_accuracy(scores, same, folds)
    names = np.unique(folds)
    limits = answer.thresholds[np.searchsorted(names, folds)]
    return np.asarray((scores >= limits) == same)


def _places(asked: list[int], features: PhotoFeatures) -> dict[int, int]:
    """Photo -> row of its features, or -1."""
    rows = np.where(features.found, np.cumsum(features.found) - 1, -1)
    return {photo: int(row) for photo, row in zip(asked, rows, strict=True)}


def _some(pairs: tuple[Pair, ...], count: int | None, seed: int) -> list[Pair]:
    """Evenly many pairs of each fold and kind, drawn by the seed, in the list's order."""
    if count is None or count >= len(pairs):
        return list(pairs)
    groups: dict[tuple[int, bool], list[int]] = {}
    for n, pair in enumerate(pairs):
        groups.setdefault((pair.fold, pair.same), []).append(n)
    each = count // len(groups)
    if each < 1:
        raise InputError(
            f"{count} pairs were asked for",
            why=f"each of {len(groups)} groups (fold and kind) needs at least one",
        )
    rng = np.random.default_rng(seed)
    chosen = [
        n for _, group in sorted(groups.items()) for n in rng.permutation(group)[:each].tolist()
    ]
    return [pairs[n] for n in sorted(chosen)]
