"""The ``evaluate`` commands: experiments, the paper's tables and figures, ablations."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceflow.cli.evaluate_bench import Asked, Photos, Title, open_bench
from faceflow.cli.evaluate_bench import experiments as experiments_of
from faceflow.cli.evaluate_options import (
    Cache,
    Data,
    DataOption,
    Epsilon,
    Face,
    Faces,
    Grid,
    K,
    Networks,
    Output,
    Pairs,
    People,
    Pictures,
    Protocol,
    Queries,
    Seed,
    Share,
    Weightings,
    Whole,
)
from faceflow.cli.options import Json, Offline, PatchKind, Threads, VisibleShare
from faceflow.cli.output import print_json, print_line, print_table, say
from faceflow.cli.scoring import Scoring
from faceflow.errors import InputError

if TYPE_CHECKING:
    from faceflow.evaluation.cells import Bench
    from faceflow.evaluation.experiment import Report, Table


def identification(
    data: Data = None,
    query: Queries = None,
    network: Networks = None,
    weighting: Weightings = None,
    alpha: Share = None,
    patches: PatchKind = None,
    visible_share: VisibleShare = None,
    protocol: Protocol = "no-leak",
    k: K = 100,
    grid: Grid = None,
    epsilon: Epsilon = 0.05,
    people: People = None,
    faces: Faces = None,
    seed: Seed = 0,
    output: Output = None,
    pictures: Pictures = False,
    data_option: DataOption = None,
    face: Face = None,
    whole_image: Whole = "never",
    cache: Cache = None,
    offline: Offline = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Does re-ranking help on these photos? Both stages, with intervals and a paired test."""
    from faceflow.evaluation.figures import retrieval_examples
    from faceflow.evaluation.sweeps import identification_tables

    _check_outputs(output)
    photos = Photos(
        data=data,
        data_option=data_option,
        cache=cache,
        face=face,
        whole_image=whole_image,
        offline=offline,
        threads=threads,
    )
    with open_bench(photos) as (bench, title):
        experiments = experiments_of(
            bench,
            Asked(
                Scoring(
                    k=k,
                    alpha=alpha,
                    epsilon=epsilon,
                    grid=grid,
                    patches=patches,
                    visible_share=visible_share,
                ),
                query=query,
                network=network,
                weighting=weighting,
                protocol=protocol,
                people=people,
                faces=faces,
                seed=seed,
            ),
        )
        tables = identification_tables(bench, experiments)
        shown = []
        if pictures and any(path.suffix == ".html" for path in output or ()):
            made = {result.experiment for result in bench.results}
            shown = retrieval_examples(bench.lab, [one for one in experiments if one in made])
    _answer(bench, title("Identification"), tables, output, as_json, shown)


def verification(
    data: Data = None,
    query: Queries = None,
    network: Networks = None,
    weighting: Weightings = None,
    alpha: Share = None,
    patches: PatchKind = None,
    visible_share: VisibleShare = None,
    grid: Grid = None,
    epsilon: Epsilon = 0.05,
    pairs: Pairs = None,
    seed: Seed = 0,
    output: Output = None,
    data_option: DataOption = None,
    face: Face = None,
    whole_image: Whole = "never",
    cache: Cache = None,
    offline: Offline = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Pairs of photos by cosine and by equation 9: ten-fold accuracy, TAR at FAR, EER, ROC.

    --query draws a cover over each pair's first photo.
    """
    from faceflow.evaluation.sweeps import verification_table
    from faceflow.evaluation.verification_run import PAIRS

    _check_outputs(output)
    photos = Photos(
        data=data,
        data_option=data_option,
        cache=cache,
        face=face,
        whole_image=whole_image,
        offline=offline,
        threads=threads,
    )
    with open_bench(photos) as (bench, title):
        experiments = experiments_of(
            bench,
            Asked(
                Scoring(
                    k=100,
                    alpha=alpha,
                    epsilon=epsilon,
                    grid=grid,
                    patches=patches,
                    visible_share=visible_share,
                ),
                query=query,
                network=network,
                weighting=weighting,
                protocol=PAIRS,
                seed=seed,
            ),
        )
        table = verification_table(bench, experiments, pairs)
    _answer(bench, title("Verification"), [table], output, as_json)


def table(
    name: Annotated[str, typer.Argument(help="S1 to S8.", metavar="NAME")],
    data: Data = None,
    network: Networks = None,
    alpha: Share = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            help="One table for each (default: published and no-leak).",
            metavar="NAME",
        ),
    ] = None,
    k: K = 100,
    people: People = None,
    faces: Faces = None,
    pairs: Pairs = None,
    seed: Seed = 0,
    output: Output = None,
    data_option: DataOption = None,
    face: Face = None,
    whole_image: Whole = "never",
    cache: Cache = None,
    offline: Offline = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """A table of the paper's appendix: its numbers and ours, with and without the leak.

    A cell whose data set or weights are missing says how to get them, and the rest goes on.
    """
    from faceflow.evaluation.tables import TableOptions, paper_tables

    _check_outputs(output)
    usual = TableOptions()
    options = TableOptions(
        networks=tuple(network or usual.networks),
        protocols=tuple(protocol or usual.protocols),
        alpha=usual.alpha if alpha is None else alpha,
        k=k,
        people=people,
        faces=faces,
        pairs=pairs,
        seed=seed,
    )
    photos = Photos(
        data=data,
        data_option=data_option,
        cache=cache,
        face=face,
        whole_image=whole_image,
        offline=offline,
        threads=threads,
    )
    with open_bench(photos) as (bench, title):
        tables = paper_tables(bench, name, options)
    _answer(bench, title(f"Table {name}"), tables, output, as_json)


def ablation(
    kind: Annotated[str, typer.Argument(help="k, grid, epsilon or iterations.", metavar="KIND")],
    data: Data = None,
    query: Queries = None,
    network: Networks = None,
    weighting: Weightings = None,
    alpha: Share = None,
    patches: PatchKind = None,
    visible_share: VisibleShare = None,
    protocol: Protocol = "no-leak",
    k: K = 100,
    people: People = None,
    faces: Faces = None,
    seed: Seed = 0,
    output: Output = None,
    data_option: DataOption = None,
    face: Face = None,
    whole_image: Whole = "never",
    cache: Cache = None,
    offline: Offline = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Vary one option (k, the grid, epsilon, the iteration cap) and keep the rest."""
    from faceflow.evaluation.sweeps import ablation as vary

    _check_outputs(output)
    photos = Photos(
        data=data,
        data_option=data_option,
        cache=cache,
        face=face,
        whole_image=whole_image,
        offline=offline,
        threads=threads,
    )
    with open_bench(photos) as (bench, title):
        bases = experiments_of(
            bench,
            Asked(
                Scoring(
                    k=k, alpha=alpha, epsilon=0.05, patches=patches, visible_share=visible_share
                ),
                query=query,
                network=network,
                weighting=weighting,
                protocol=protocol,
                people=people,
                faces=faces,
                seed=seed,
            ),
        )
        tables = [vary(bench, kind, base) for base in bases]
    _answer(bench, title(f"Ablation over {kind}"), tables, output, as_json)


def figure(
    name: Annotated[str, typer.Argument(help="S1 to S5.", metavar="NAME")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A .png, or for S3 an .svg file.", metavar="FILE"),
    ],
    data: Data = None,
    query: Queries = None,
    network: Networks = None,
    weighting: Weightings = None,
    alpha: Share = None,
    patches: PatchKind = None,
    visible_share: VisibleShare = None,
    protocol: Protocol = "no-leak",
    k: K = 100,
    count: Annotated[int, typer.Option("--count", min=1, help="People or queries shown.")] = 4,
    people: People = None,
    faces: Faces = None,
    seed: Seed = 0,
    data_option: DataOption = None,
    face: Face = None,
    whole_image: Whole = "never",
    cache: Cache = None,
    offline: Offline = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """A figure of the paper's appendix on your photos: S1 weights, S2 retrieval, S3 alpha, S4
    and S5 flows of queries the EMD put right and wrong.

    The files hold photos of the data set (S3 does not). S4 and S5 write one file a query.
    """
    from faceflow.evaluation.figures import FIGURES, sweep_chart
    from faceflow.evaluation.figures import figure as draw
    from faceflow.system.files import atomic_write

    if name not in FIGURES:
        raise InputError(f"there is no figure {name!r}", todo=f"choose one of {', '.join(FIGURES)}")
    wanted = ".svg" if name == "S3" else ".png"
    if output.suffix.lower() != wanted:
        raise InputError(f"figure {name} is written as {wanted}", todo=f"name a {wanted} file")
    # The paper's way where nothing else is asked for.
    share = 0.7 if alpha is None else alpha
    weights, kind = weighting or ["apc"], patches or "raw"
    seen = 0.0 if visible_share is None else visible_share
    written: list[dict[str, Any]] = []
    photos = Photos(
        data=data,
        data_option=data_option,
        cache=cache,
        face=face,
        whole_image=whole_image,
        offline=offline,
        threads=threads,
    )
    with open_bench(photos) as (bench, _):
        asked = experiments_of(
            bench,
            Asked(
                Scoring(k=k, alpha=share, epsilon=0.05, patches=kind, visible_share=seen),
                query=query,
                network=network,
                weighting=weights,
                protocol=protocol,
                people=people,
                faces=faces,
                seed=seed,
            ),
        )
        if name == "S3":
            svg = sweep_chart(bench, asked)
            with atomic_write(output) as file:
                file.write(svg.encode("utf-8"))
            written.append({"file": str(output), "shows": "P@1 at each alpha"})
        else:
            drawn = draw(bench.lab, name, asked[0], count=count)
            for n, one in enumerate(drawn):
                place = output if n == 0 else output.with_stem(f"{output.stem}-{n + 1}")
                with atomic_write(place) as file:
                    one.image.save(file, "PNG")
                written.append({"file": str(place), "shows": one.caption})
    if as_json:
        print_json({"files": written})
        return
    for entry in written:
        print_line(f"{entry['file']}: {entry['shows']}")


def _check_outputs(output: list[Path] | None) -> None:
    from faceflow.evaluation.report.write import check_format

    for path in output or ():
        check_format(path)


def _answer(
    bench: Bench,
    titled: Title,
    tables: Any,
    output: list[Path] | None,
    as_json: bool,
    shown: list[Any] | None = None,
) -> None:
    """Print and write the report."""
    import io

    from faceflow.evaluation.assemble import assemble
    from faceflow.evaluation.report import to_json, write_report
    from faceflow.evaluation.report.page import Picture

    title, started = titled
    command = shlex.join(["faceflow", *sys.argv[1:]])
    report = assemble(title, command, bench, tables, started)
    pictures = []
    for one in shown or ():
        buffer = io.BytesIO()
        one.image.save(buffer, "PNG")
        pictures.append(Picture(buffer.getvalue(), one.caption))
    for path in output or ():
        write_report(path, report, pictures)
        say(f"written: {path}")
    if as_json:
        print_json(to_json(report))
        return
    _show(report)


def _show(report: Report) -> None:
    from faceflow.evaluation.report.texts import about

    for one in report.tables:
        _show_table(one)
    for line in about(report):
        say(line)


def _show_table(one: Table) -> None:
    from faceflow.evaluation.report.texts import cells, headings

    heads = headings(one)
    print_line(one.title)
    numbers = heads[len(one.columns) : -1]
    print_table(heads, [cells(one, row) for row in one.rows], right=numbers)
    for note in one.notes:
        print_line(f"* {note}")
    print_line()
