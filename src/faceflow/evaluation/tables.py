"""The paper's Tables S1 to S8, measured here, with the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from faceflow import networks
from faceflow.errors import FaceflowError
from faceflow.evaluation.cells import RETRIEVAL, Bench, photo_notes, reason, retrieval_row
from faceflow.evaluation.experiment import Experiment, Row, Table
from faceflow.evaluation.paper import NOTES, SOURCE, PaperRow, paper_table
from faceflow.evaluation.verification_run import PAIRS
from faceflow.faces import detectors as detection
from faceflow.matching.options import Changes, MatchOptions

PAPER_ALPHA = 0.7
"""Share of the EMD in the paper's out-of-distribution tables."""
PAPER_WAY: Changes = {
    "alpha": PAPER_ALPHA,
    "weighting": "apc",
    "k": 100,
    "patches": "raw",
    "visible_share": 0.0,
}
"""How the paper compares faces."""
PAPER_NETWORKS = {"ArcFace": "arcface", "CosFace": "cosface", "FaceNet": "facenet"}
"""The paper's name of a network -> ours."""

_LABELS = ("data", "query", "network", "method")
# The paper's crop is cut from the aligned face; ours by that name from the photo.
_QUERIES = {"none": "clean", "crop": "aligned-crop"}
_TITLES = {
    "S1": "EMD at stage 1 against two stages, LFW with several photos a person",
    "S2": "CALFW, drawn covers",
    "S3": "AgeDB, drawn covers",
    "S4": "CFP, drawn covers and profiles",
    "S5": "TALFW, adversarial photos",
    "S6": "MLFW, verification",
    "S7": "Alignment choices",
    "S8": "CFP, profiles",
}


@dataclass(frozen=True)
class TableOptions:
    """What a user may change about a table.

    Attributes:
        networks: ours to measure beside the paper's; names of the paper's networks are fine.
        protocols: one table each.
        alpha: share of the EMD.
        k: faces re-ranked.
        people, faces, queries, seed: a subset, as in ``Experiment``.
        whole_gallery_queries: queries of S1's lines of EMD at stage 1, which compare each with
            every face; None for as many as of the others, 0 leaves these lines out.
        pairs: verification pairs; None for all.
    """

    networks: tuple[str, ...] = (networks.DEFAULT, *PAPER_NETWORKS.values())
    protocols: tuple[str, ...] = ("published", "no-leak")
    alpha: float = PAPER_ALPHA
    k: int = 100
    people: int | None = None
    faces: int | None = None
    queries: int | None = None
    whole_gallery_queries: int | None = None
    pairs: int | None = None
    seed: int = 0


def paper_tables(bench: Bench, name: str, options: TableOptions) -> tuple[Table, ...]:
    """Measure one of the paper's tables, once for each protocol.

    Cells whose data set, network or method is missing say so, and how to get it.

    Raises:
        InputError: there is no such table.
    """
    rows = paper_table(name)
    if name == "S1":  # the paper's table lacks what both of its ways are to be measured by
        firsts: dict[tuple[str, str], PaperRow] = {}
        for row in rows:
            firsts.setdefault((row.dataset, row.query), _stage1(row))
        rows = (*firsts.values(), *rows)
    if name == "S6":
        return (_verification_table(bench, rows, options),)
    return tuple(_table(bench, name, rows, protocol, options) for protocol in options.protocols)


def _table(
    bench: Bench, name: str, rows: Sequence[PaperRow], protocol: str, options: TableOptions
) -> Table:
    lines: list[Row] = []
    mine = [n for n in options.networks if n not in PAPER_NETWORKS.values()]
    done: set[tuple[str, ...]] = set()
    for row in rows:
        network = PAPER_NETWORKS[row.model]
        # The paper's lines are always shown; they are measured where the network was asked for.
        if name != "S1" or row.numbers or network in options.networks:
            lines.append(_line(bench, row, network, protocol, options, paper=True))
        for other in mine:
            key = (row.dataset, row.query, row.method, row.alignment, other)
            if key not in done:
                done.add(key)
                lines.append(_line(bench, row, other, protocol, options, paper=False))
    lines.sort(key=lambda line: _order(line, rows, options))
    timed = name == "S1"
    used = [bench.results[line.experiment] for line in lines if line.experiment >= 0]
    return Table(
        name=f"{name}, {protocol}",
        title=f"Table {name}: {_TITLES[name]}; protocol {protocol}",
        columns=(*_LABELS, "alignment") if name == "S7" else _LABELS,
        metrics=(*RETRIEVAL, "seconds") if timed else RETRIEVAL,
        rows=tuple(lines),
        notes=(*_notes(name, protocol, options), *photo_notes(used)),
    )


def _stage1(row: PaperRow) -> PaperRow:
    """The line of the cosine alone for a line's data and queries; the paper has no numbers."""
    none = {"p_at_1": None, "r_precision": None, "map_at_r": None, "seconds": None}
    return replace(row, method="stage 1", note="", **none)  # type: ignore[arg-type]


def _order(line: Row, rows: Sequence[PaperRow], options: TableOptions) -> tuple[int, ...]:
    """By data set and query as in the paper, then by network; methods stay in order."""
    blocks = list(dict.fromkeys((row.dataset, row.query) for row in rows))
    known = [*PAPER_NETWORKS, *options.networks]
    return blocks.index((line.labels[0], line.labels[1])), known.index(line.labels[2])


def _line(
    bench: Bench,
    row: PaperRow,
    network: str,
    protocol: str,
    options: TableOptions,
    *,
    paper: bool,
) -> Row:
    labels: tuple[str, ...] = (
        row.dataset, row.query, row.model if paper else network, row.method
    )  # fmt: skip
    if row.table == "S7":
        labels = (*labels, row.alignment)
    numbers = row.numbers if paper else {}
    if network not in options.networks:
        return Row(labels, {}, numbers, f"not asked for: --network {network}", row.note)
    experiment, stage = experiment_of(row, network, protocol, options)
    if experiment.emd_first and options.whole_gallery_queries == 0:
        why = "left out: --whole-gallery-queries NUMBER"
        return Row(labels, {}, numbers, why, row.note if paper else "")
    return retrieval_row(
        bench,
        experiment,
        labels,
        stage=stage,
        paper=numbers,
        note=row.note if paper else "",
        timed=row.table == "S1" and stage == 2,
    )


def experiment_of(
    row: PaperRow, network: str, protocol: str, options: TableOptions
) -> tuple[Experiment, int]:
    """The experiment that measures a line of the paper, and which stage of it."""
    stage = 1 if row.method == "stage 1" else 2
    emd_first = row.method.startswith("EMD at stage 1")
    word = "apc" if row.method in ("stage 1", "two-stage (best)") else row.method.split()[-1]
    alignment = detection.DEFAULT
    if row.table == "S7":
        alignment = "mtcnn" if row.alignment == "MTCNN" else "fan-2d"
    experiment = Experiment(
        dataset=row.dataset.lower(),
        query=_QUERIES.get(row.query, row.query),
        network=network,
        options=MatchOptions(options.alpha, word.lower(), options.k),
        protocol=protocol,
        emd_first=emd_first,
        alignment=alignment,
        several=row.table == "S1",
        people=options.people,
        faces=options.faces,
        queries=(options.whole_gallery_queries if emd_first else None) or options.queries,
        seed=options.seed,
    )
    return experiment, stage


def _verification_table(bench: Bench, rows: Sequence[PaperRow], options: TableOptions) -> Table:
    lines = [
        Row(
            (row.dataset, row.query, row.model, row.method),
            {},
            row.numbers,
            "these weights were given out by MLFW's and CurricularFace's authors: import the "
            "checkpoint and name it with --network",
        )
        for row in rows
    ]
    for network in options.networks:
        experiment = Experiment(
            "mlfw", "clean", network, MatchOptions(options.alpha, "apc"), PAIRS, seed=options.seed
        )
        made = bench.verify(experiment, options.pairs)
        for stage, method in ((1, "cosine"), (2, "two-stage distance")):
            labels = ("MLFW", "mask", network, method)
            if isinstance(made, FaceflowError):
                lines.append(Row(labels, missing=reason(made)))
                continue
            place, result = made
            found = result.stage1 if stage == 1 else result.stage2
            note = f"{result.missed_pairs:,} pairs with a photo without a face"
            lines.append(Row(labels, {"accuracy": found.accuracy_number}, {}, "", note, place))
    return Table(
        name="S6",
        title=f"Table S6: {_TITLES['S6']}",
        columns=_LABELS,
        metrics=("accuracy",),
        rows=tuple(lines),
        notes=(*_notes("S6", "", options), "Intervals: 1.96 standard errors over the folds."),
    )


def _notes(name: str, protocol: str, options: TableOptions) -> tuple[str, ...]:
    notes = [f"Paper's numbers: {SOURCE}, Table {name}. Ours use alpha {options.alpha:g}."]
    if name == "S8":
        notes.append("Profiles are other photos than those enrolled: no protocol leaks here.")
    elif protocol == "published":
        notes.append(
            "Protocol published: the photo that a drawn or attacked query was made from stays in "
            "the gallery, so a query may be found by its own photo. A clean query is kept from "
            "itself and still counts in its own R, so its R-precision cannot reach 100. For "
            "comparison with the paper only."
        )
    elif protocol:
        notes.append(
            "The paper's numbers for drawn covers and attacks were most likely measured with the "
            "same-photo leak (its code leaves it in), ours here without it: they are not "
            "comparable."
        )
    if name != "S7":
        notes.append("The paper aligned by FAN's landmarks, this command by the detector's five.")
    if name in ("S1", "S2", "S3", "S4"):
        notes.append(
            "Ours draws its own masks and sunglasses on the photo before detection; the paper "
            "pasted templates on aligned faces. The crop is the paper's: a random 70% window of "
            "the aligned face."
        )
    if options.people is not None or options.faces is not None or options.pairs is not None:
        notes.append("A subset: the paper used the whole data set.")
    if options.queries is not None:
        notes.append(
            f"A random sample of {options.queries:,} queries (seed {options.seed}) against the "
            "whole gallery."
        )
    if name == "S1" and options.whole_gallery_queries:
        notes.append(
            f"EMD at stage 1: a random sample of {options.whole_gallery_queries:,} queries (seed "
            f"{options.seed}), each compared with every face; its seconds are for these alone."
        )
    return (*notes, *NOTES[name])
