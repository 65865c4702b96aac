"""Lines of tables from experiments; what cannot be measured says why, and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable

from faceflow.errors import FaceflowError
from faceflow.evaluation.experiment import (
    Experiment,
    IdentificationResult,
    Metrics,
    Number,
    Row,
    VerificationResult,
)
from faceflow.evaluation.extraction import CLEAN
from faceflow.evaluation.identification_run import identification
from faceflow.evaluation.laboratory import Laboratory
from faceflow.evaluation.metrics.significance import Interval
from faceflow.evaluation.verification_run import verification

RETRIEVAL = ("P@1", "RP", "MAP@R")
"""Metrics of identification tables."""


class Bench:
    """Makes experiments once, keeps their results, and remembers what could not be made."""

    def __init__(self, lab: Laboratory) -> None:
        self.lab = lab
        self.results: list[IdentificationResult] = []
        self.verifications: list[VerificationResult] = []
        self._made: dict[tuple[Experiment, int | None], int | FaceflowError] = {}

    def identify(self, experiment: Experiment) -> tuple[int, IdentificationResult] | FaceflowError:
        """Place in ``results`` and the result, or why there is none."""
        key = experiment, None
        if key not in self._made:
            try:
                self.results.append(identification(self.lab, experiment))
            except FaceflowError as error:
                self._made[key] = error
            else:
                self._made[key] = len(self.results) - 1
        made = self._made[key]
        return made if isinstance(made, FaceflowError) else (made, self.results[made])

    def verify(
        self, experiment: Experiment, pairs: int | None
    ) -> tuple[int, VerificationResult] | FaceflowError:
        """Likewise for pairs, in ``verifications``."""
        key = experiment, pairs
        if key not in self._made:
            try:
                self.verifications.append(verification(self.lab, experiment, pairs=pairs))
            except FaceflowError as error:
                self._made[key] = error
            else:
                self._made[key] = len(self.verifications) - 1
        made = self._made[key]
        return made if isinstance(made, FaceflowError) else (made, self.verifications[made])


def reason(error: FaceflowError) -> str:
    """What a cell says in place of a number: what is missing and what to do about it."""
    parts = (error.what, error.why, error.todo)
    return "; ".join(part.rstrip(".") for part in parts if part)


def retrieval(metrics: Metrics) -> dict[str, Number]:
    """P@1, R-precision and MAP@R with their intervals."""
    return {
        "P@1": number(metrics.p_at_1),
        "RP": number(metrics.r_precision),
        "MAP@R": number(metrics.map_at_r),
    }


def number(interval: Interval) -> Number:
    """An interval without what it was made of."""
    return Number(interval.estimate, interval.low, interval.high)


def retrieval_row(
    bench: Bench,
    experiment: Experiment,
    labels: tuple[str, ...],
    *,
    stage: int,
    paper: dict[str, float] | None = None,
    note: str = "",
    timed: bool = False,
) -> Row:
    """One line of an identification table: stage 1 or 2 of one experiment."""
    made = bench.identify(experiment)
    if isinstance(made, FaceflowError):
        return Row(labels, {}, paper or {}, reason(made), note)
    place, result = made
    ours = retrieval(result.stage1 if stage == 1 else result.stage2)
    remarks = [note] if note else []
    if stage == 2:
        test = result.queries
        remarks.append(f"won {test.wins}, lost {test.losses}, p = {test.p_value:.2g}")
    if timed and result.ranking_seconds is not None:
        ours["seconds"] = Number(result.ranking_seconds)
    elif timed:
        remarks.append("part of it kept from an earlier run, so not timed")
    return Row(labels, ours, paper or {}, "", "; ".join(remarks), place)


def photo_notes(results: Iterable[IdentificationResult]) -> tuple[str, ...]:
    """What must be told with every table: near-duplicates, leaks, photos without a face."""
    notes: dict[str, None] = {}
    for result in results:
        asked, sample = result.experiment, result.sample
        drawn = "" if result.real or asked.query == CLEAN else ", drawn"
        notes[
            f"{asked.dataset}, {asked.query}{drawn}, {asked.network}, {asked.protocol}: "
            f"{sample.queries:,} queries of {sample.query_people:,} people against "
            f"{sample.faces:,} faces of {sample.people:,}. Without a face: "
            f"{sample.gallery_missed:,} of {sample.gallery_photos:,} gallery photos, "
            f"{sample.query_missed:,} of {sample.query_photos:,} query photos; "
            f"{sample.lost:,} of {sample.mated:,} queries lost by that. "
            f"Same-photo comparisons: {sample.same_photo:,} left out, {sample.leaked:,} kept. "
            f"Near-duplicates: {sample.near_duplicates:,} comparisons left out, "
            f"{sample.duplicate_pairs:,} pairs among the photos, {sample.misfiled:,} under two "
            "names."
        ] = None
    return tuple(notes)
