"""Tables around single experiments: what was asked, the alpha sweep, and the ablations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from faceflow.errors import FaceflowError, InputError
from faceflow.evaluation.cells import (
    RETRIEVAL,
    Bench,
    number,
    photo_notes,
    reason,
    retrieval,
    retrieval_row,
)
from faceflow.evaluation.experiment import (
    Experiment,
    IdentificationResult,
    Number,
    Row,
    Table,
    VerificationResult,
)
from faceflow.matching.transport import Sinkhorn

ABLATIONS = ("k", "grid", "epsilon", "iterations")
"""What :func:`ablation` can vary."""

# The others of the sweep are in the reports' numbers and curves; all would be too wide a table.
_SHOWN_ALPHAS = ("0", "0.1", "0.3", "0.5", "0.7", "1")
_KS = (1, 5, 10, 25, 50, 100, 200)
_GRIDS = ((8, 8), (4, 4), (2, 2), (1, 1))
_EPSILONS = (0.01, 0.02, 0.05, 0.1, 0.2)
_ITERATIONS = (1, 2, 5, 10, 20, 50, 1000)


def identification_tables(bench: Bench, experiments: Sequence[Experiment]) -> tuple[Table, ...]:
    """Both stages of each experiment, the alpha sweep, and open-set rates where there are any.

    Raises:
        FaceflowError: none of the experiments could be made; the first one's reason.
    """
    rows: list[Row] = []
    made: list[IdentificationResult] = []
    failures: list[FaceflowError] = []
    for one in experiments:
        labels = (one.dataset, one.query, one.network)
        answer = bench.identify(one)
        if isinstance(answer, FaceflowError):
            failures.append(answer)
            rows.append(Row((*labels, one.method), missing=reason(answer)))
            continue
        place, result = answer
        made.append(result)
        first = Row((*labels, "stage 1, cosine"), _counted(result, 1), experiment=place)
        if not any(row.labels == first.labels for row in rows):
            rows.append(first)
        test, over = result.queries, result.people
        rows.append(
            Row(
                (*labels, f"stage 2, {one.method}"),
                _counted(result, 2),
                note=f"won {test.wins}, lost {test.losses}, p = {test.p_value:.2g}; people: won "
                f"{over.wins}, lost {over.losses}, p = {over.p_value:.2g}",
                experiment=place,
            )
        )
    if not made:
        raise failures[0]
    main = Table(
        "identification",
        f"Identification, protocol {experiments[0].protocol}",
        ("data", "query", "network", "method"),
        ("P@1", "P@1 counted", "RP", "MAP@R", "recall@k"),
        tuple(rows),
        (
            "Brackets: 95% bootstrap intervals over people. 'P@1 counted': queries lost because "
            "no face was detected, theirs or their mates', count as failures. recall@k is stage "
            "1's: no re-ranking of k exceeds it.",
            *photo_notes(made),
        ),
    )
    tables = [main, *(table for table in (_sweep(made), _open_set(made)) if table is not None)]
    return tuple(tables)


def verification_table(bench: Bench, experiments: Sequence[Experiment], pairs: int | None) -> Table:
    """Both scores of each experiment's pairs.

    Raises:
        FaceflowError: none could be made; the first one's reason.
    """
    rows: list[Row] = []
    failures: list[FaceflowError] = []
    notes: dict[str, None] = {}
    for one in experiments:
        answer = bench.verify(one, pairs)
        labels = (one.dataset, one.query, one.network)
        if isinstance(answer, FaceflowError):
            failures.append(answer)
            rows.append(Row((*labels, one.method), missing=reason(answer)))
            continue
        place, result = answer
        first = Row((*labels, "cosine"), _pair_numbers(result, 1), experiment=place)
        if not any(row.labels == first.labels for row in rows):
            rows.append(first)
        rows.append(
            Row(
                (*labels, f"equation 9, {one.method}"),
                _pair_numbers(result, 2),
                note=f"won {result.paired.wins}, lost {result.paired.losses}, "
                f"p = {result.paired.p_value:.2g}",
                experiment=place,
            )
        )
        notes[
            f"{one.dataset}, {one.query}, {one.network}: {result.pairs:,} pairs ({result.same:,} "
            f"same) in {result.folds} folds; {result.missed:,} of {result.photos:,} photos "
            f"without a face, so {result.missed_pairs:,} pairs were judged different; "
            f"{result.same_photo:,} pairs are one photograph or near-duplicates."
        ] = None
    if len(failures) == len(experiments):
        raise failures[0]
    return Table(
        "verification",
        "Verification",
        ("data", "query", "network", "method"),
        ("accuracy", "EER", "AUC", "TAR@FAR 0.01", "TAR@FAR 0.001"),
        tuple(rows),
        (
            "Accuracy: each fold judged at the best threshold of the others (LFW's rule), "
            "brackets: 1.96 standard errors over the folds. TAR is left empty where the different "
            "pairs are too few to measure the FAR.",
            *notes,
        ),
    )


def ablation(bench: Bench, kind: str, base: Experiment) -> Table:
    """Vary one option of an experiment: the rest stays.

    Raises:
        InputError: no such ablation.
        FaceflowError: nothing could be measured; the first reason.
    """
    if kind not in ABLATIONS:
        raise InputError(f"there is no ablation {kind!r}", todo=f"choose {', '.join(ABLATIONS)}")
    if kind == "grid" and (base.options.patches != "raw" or base.options.visible_share > 0):
        # Contributions to the embedding are known on the network's own grid alone.
        base = base.compared(patches="raw", visible_share=0.0)
    varied = [
        *((f"k {k}", base.compared(k=k)) for k in _KS if kind == "k"),
        *((f"{h}x{w}", base.compared(grid=(h, w))) for h, w in _GRIDS if kind == "grid"),
        *((f"{e:g}", _solved(base, epsilon=e)) for e in _EPSILONS if kind == "epsilon"),
        *((f"{n}", _solved(base, max_iterations=n)) for n in _ITERATIONS if kind == "iterations"),
    ]
    rows = []
    for label, one in varied:
        row = retrieval_row(bench, one, (label,), stage=2, timed=True)
        if row.experiment >= 0:
            result = bench.results[row.experiment]
            share = result.unconverged / result.pairs if result.pairs else 0.0
            row.ours["recall@k"] = Number(result.recall_at_k.estimate)
            row.ours["unconverged"] = Number(share)
        rows.append(row)
    first_answer = bench.identify(varied[0][1])
    if isinstance(first_answer, FaceflowError) and all(row.missing for row in rows):
        raise first_answer
    made = [bench.results[row.experiment] for row in rows if row.experiment >= 0]
    first = Row(("stage 1",), retrieval(made[0].stage1), experiment=rows[-1].experiment)
    return Table(
        f"ablation {kind}",
        f"Ablation over {kind}: {base.dataset}, {base.query}, {base.network}, {base.method}, "
        f"protocol {base.protocol}",
        (kind,),
        (*RETRIEVAL, "recall@k", "unconverged", "seconds"),
        (first, *rows),
        photo_notes(made),
    )


def _solved(base: Experiment, **changes: Any) -> Experiment:
    """The experiment with another setting of its Sinkhorn solver."""
    solver = base.options.solver
    if not isinstance(solver, Sinkhorn):
        raise InputError(f"{type(solver).__name__} has no {next(iter(changes))} to vary")
    return base.compared(solver=replace(solver, **changes))


def _no_alpha(experiment: Experiment) -> str:
    """The method where every alpha is shown."""
    return experiment.method.replace(f", alpha {experiment.options.alpha:g}", "")


def _counted(result: IdentificationResult, stage: int) -> dict[str, Number]:
    metrics = result.stage1 if stage == 1 else result.stage2
    ours = retrieval(metrics) | {"P@1 counted": Number(metrics.p_at_1_counted)}
    if stage == 1:
        ours["recall@k"] = Number(result.recall_at_k.estimate)
    return ours


def _pair_numbers(result: VerificationResult, stage: int) -> dict[str, Number]:
    found = result.stage1 if stage == 1 else result.stage2
    tar = {f"TAR@FAR {rate:g}": Number(value) for rate, value in found.tar}
    return {
        "accuracy": found.accuracy_number,
        "EER": Number(found.eer),
        "AUC": Number(found.auc),
        **tar,
    }


def _sweep(made: Sequence[IdentificationResult]) -> Table | None:
    """P@1 at every alpha (Fig. S3), one line per experiment's cover and weighting."""
    rows = []
    for n, result in enumerate(made):
        if len(result.sweep) < 2:
            continue
        one = result.experiment
        ours = {f"{point.alpha:g}": Number(point.p_at_1) for point in result.sweep}
        best = max(result.sweep, key=lambda point: (point.p_at_1, -point.alpha))
        rows.append(
            Row(
                (one.dataset, one.query, one.network, _no_alpha(one)),
                ours,
                note=f"best here at {best.alpha:g}: won {best.wins}, lost {best.losses}, "
                f"p = {best.p_value:.2g}",
                experiment=n,
            )
        )
    if not rows:
        return None
    return Table(
        "alpha",
        "P@1 at each alpha (the paper's Fig. S3)",
        ("data", "query", "network", "method"),
        _SHOWN_ALPHAS,
        tuple(rows),
        (
            "The best alpha was read off these very queries: it is optimistic. Choose alpha on "
            "other people than those you report on.",
        ),
    )


def _open_set(made: Sequence[IdentificationResult]) -> Table | None:
    rows = []
    for n, result in enumerate(made):
        one = result.experiment
        for point in result.open_set:
            for name, found, interval in (
                ("stage 1", point.stage1, point.tpir1),
                ("stage 2", point.stage2, point.tpir2),
            ):
                labels = (one.query, one.method, f"{point.fpir:g}", name)
                if found is None:
                    rows.append(
                        Row(labels, missing="too few non-mated searches to measure this rate")
                    )
                else:
                    ours = {
                        "TPIR": Number(found.tpir) if interval is None else number(interval),
                        "FNIR": Number(found.fnir),
                        "FPIR reached": Number(found.fpir),
                    }
                    rows.append(
                        Row(
                            labels,
                            ours,
                            note=f"threshold {found.threshold:.3f}; {found.mated:,} mated and "
                            f"{found.nonmated:,} non-mated searches",
                            experiment=n,
                        )
                    )
    if not rows:
        return None
    return Table(
        "open set",
        "Open set: who is not enrolled must not be found",
        ("query", "method", "FPIR", "stage"),
        ("TPIR", "FNIR", "FPIR reached"),
        tuple(rows),
        (
            "The threshold of each stage is set on these very searches. Brackets: 95% bootstrap "
            "intervals over people, the threshold set anew in each sample.",
        ),
    )
