"""The ``evaluate`` commands: experiments, the paper's tables and figures, ablations."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceflow.cli.evaluate_options import (
    PROTOCOL,
    Asked,
    Data,
    Depth,
    Output,
    Pairs,
    Protocol,
    Subset,
)
from faceflow.cli.options import Alpha, Here, Networks, Patches, Seed, Shortlist, repeated
from faceflow.cli.output import print_json, print_line, print_table, progress, say

if TYPE_CHECKING:
    from faceflow.analyzer import FaceAnalyzer
    from faceflow.evaluation.cells import Bench
    from faceflow.evaluation.experiment import Experiment, Report, Table
    from faceflow.evaluation.figures import Drawn
    from faceflow.matching.options import Changes


def identification(
    *,
    data: Data,
    asked: Asked,
    protocol: Protocol = "no-leak",
    output: Output = None,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures",
            help="Put photos of the data set into the HTML page; off, because pages get passed on.",
        ),
    ] = False,
    scoring: Depth,
    subset: Subset,
    here: Here,
) -> None:
    """Does re-ranking help on these photos? Both stages, with intervals and a paired test."""
    from faceflow.evaluation.figures import retrieval_examples
    from faceflow.evaluation.sweeps import identification_tables

    _check_outputs(output)
    shown = []
    with _open_bench(data, here) as (bench, answer):
        experiments = _experiments(bench, asked, scoring.changes(), protocol, subset)
        tables = identification_tables(bench, experiments)
        if pictures and any(path.suffix == ".html" for path in output or ()):
            made = {result.experiment for result in bench.results}
            shown = retrieval_examples(bench.lab, [one for one in experiments if one in made])
    answer("Identification", tables, output, shown)


def verification(
    *,
    data: Data,
    asked: Asked,
    pairs: Pairs = None,
    seed: Seed = 0,
    output: Output = None,
    scoring: Patches,
    here: Here,
) -> None:
    """Pairs of photos by cosine and by equation 9: ten-fold accuracy, TAR at FAR, EER, ROC.

    --query draws a cover over each pair's first photo.
    """
    from faceflow.evaluation.sweeps import verification_table
    from faceflow.evaluation.verification_run import PAIRS

    _check_outputs(output)
    with _open_bench(data, here) as (bench, answer):
        subset = Subset(seed=seed)
        experiments = _experiments(bench, asked, scoring.changes(), PAIRS, subset)
        table = verification_table(bench, experiments, pairs)
    answer("Verification", [table], output)


def table(
    name: Annotated[str, typer.Argument(help="S1 to S8.", metavar="NAME")],
    *,
    data: Data,
    network: Networks = None,
    alpha: Alpha = None,
    protocol: Annotated[list[str] | None, repeated(PROTOCOL)] = None,
    k: Shortlist = None,
    whole_gallery_queries: Annotated[
        int | None,
        typer.Option(
            "--whole-gallery-queries",
            min=0,
            help="S1's lines of EMD at stage 1 take a sample of so many queries; 0 leaves them "
            "out.",
            metavar="NUMBER",
        ),
    ] = None,
    pairs: Pairs = None,
    output: Output = None,
    subset: Subset,
    here: Here,
) -> None:
    """A table of the paper's appendix: its numbers and ours, with and without the leak.

    One table for each --protocol (published and no-leak), measured the paper's way (alpha 0.7,
    k 100) unless told otherwise. A cell whose data set or weights are missing says how to get
    them, and the rest goes on.
    """
    from faceflow.evaluation.tables import TableOptions, paper_tables

    _check_outputs(output)
    given = {
        "networks": tuple(network or ()) or None,
        "protocols": tuple(protocol or ()) or None,
        "alpha": alpha,
        "k": k,
        "people": subset.people,
        "faces": subset.faces,
        "queries": subset.queries,
        "whole_gallery_queries": whole_gallery_queries,
        "pairs": pairs,
        "seed": subset.seed,
    }
    options = TableOptions(**{key: one for key, one in given.items() if one is not None})  # type: ignore[arg-type]
    with _open_bench(data, here) as (bench, answer):
        tables = paper_tables(bench, name, options)
    answer(f"Table {name}", tables, output)


def ablation(
    kind: Annotated[str, typer.Argument(help="k, grid, epsilon or iterations.", metavar="KIND")],
    *,
    data: Data,
    asked: Asked,
    protocol: Protocol = "no-leak",
    output: Output = None,
    scoring: Depth,
    subset: Subset,
    here: Here,
) -> None:
    """Vary one option (k, the grid, epsilon, the iteration cap) and keep the rest."""
    from faceflow.evaluation.sweeps import ablation as vary

    _check_outputs(output)
    with _open_bench(data, here) as (bench, answer):
        bases = _experiments(bench, asked, scoring.changes(), protocol, subset)
        tables = [vary(bench, kind, base) for base in bases]
    answer(f"Ablation over {kind}", tables, output)


def figure(
    name: Annotated[str, typer.Argument(help="S1 to S5.", metavar="NAME")],
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A .png, or for S3 an .svg file.", metavar="FILE"),
    ],
    data: Data,
    asked: Asked,
    protocol: Protocol = "no-leak",
    count: Annotated[
        int, typer.Option("--count", min=1, help="People or queries shown.", metavar="NUMBER")
    ] = 4,
    scoring: Depth,
    subset: Subset,
    here: Here,
) -> None:
    """A figure of the paper's appendix on your photos: S1 weights, S2 retrieval, S3 alpha, S4
    and S5 flows of queries the EMD put right and wrong.

    Faces are compared the paper's way (alpha 0.7, raw patches, apc) unless told otherwise. The
    files hold photos of the data set (S3 does not). S4 and S5 write one file a query.
    """
    from faceflow.evaluation.figures import check_figure, sweep_chart
    from faceflow.evaluation.figures import figure as draw
    from faceflow.evaluation.tables import PAPER_WAY
    from faceflow.system.files import atomic_write

    check_figure(name, output)
    changes: Changes = {**PAPER_WAY, **scoring.changes()}
    written: list[dict[str, Any]] = []
    with _open_bench(data, here) as (bench, _):
        experiments = _experiments(bench, asked, changes, protocol, subset)
        if name == "S3":
            svg = sweep_chart(bench, experiments)
            with atomic_write(output) as file:
                file.write(svg.encode("utf-8"))
            written.append({"file": str(output), "shows": "P@1 at each alpha"})
        else:
            for n, one in enumerate(draw(bench.lab, name, experiments[0], count=count)):
                place = output if n == 0 else output.with_stem(f"{output.stem}-{n + 1}")
                with atomic_write(place) as file:
                    one.image.save(file, "PNG")
                written.append({"file": str(place), "shows": one.caption})
    if here.as_json:
        print_json({"files": written})
        return
    for entry in written:
        print_line(f"{entry['file']}: {entry['shows']}")


def _experiments(
    bench: Bench, asked: Asked, changes: Changes, protocol: str, subset: Subset
) -> list[Experiment]:
    """Each network with each weighting on each kind of query of each data set."""
    from faceflow.evaluation.crossing import crossed

    return crossed(
        bench.lab,
        queries=asked.query or (),
        networks=asked.network or (),
        weightings=asked.weighting or (),
        changes=changes,
        protocol=protocol,
        people=subset.people,
        faces=subset.faces,
        sample=subset.queries,
        seed=subset.seed,
    )


@contextmanager
def _open_bench(data: Data, here: Here) -> Iterator[tuple[Bench, Callable[..., None]]]:
    """A bench on the user's data with a progress bar, and what answers with its results."""
    from faceflow.cli.loading import load_analyzer
    from faceflow.evaluation.cells import Bench
    from faceflow.evaluation.laboratory import Laboratory, require_known
    from faceflow.system.caches import cache_dir

    started = time.perf_counter()

    def analyzer(network: str, alignment: str) -> FaceAnalyzer:
        require_known(network, alignment)
        return load_analyzer(network, here, detector=alignment)

    with progress("evaluate") as advance:
        lab = Laboratory(
            data.sources(),
            cache_dir() / "evaluation" if data.cache is None else data.cache,
            analyzer=analyzer,
            select=data.face,
            whole_image=data.whole_image,
            threads=here.threads,
            progress=lambda step, done, total: advance(done, total, step),
        )
        bench = Bench(lab)

        def answer(
            title: str,
            tables: Sequence[Table],
            output: list[Path] | None,
            shown: Sequence[Drawn] = (),
        ) -> None:
            from faceflow.evaluation.assemble import assemble

            command = shlex.join(["faceflow", *sys.argv[1:]])
            report = assemble(title, command, bench, tables, started)
            _answer(report, output, shown, as_json=here.as_json)

        yield bench, answer


def _check_outputs(output: list[Path] | None) -> None:
    from faceflow.evaluation.report.write import check_format

    for path in output or ():
        check_format(path)


def _answer(
    report: Report, output: list[Path] | None, shown: Sequence[Drawn], *, as_json: bool
) -> None:
    """Print and write the report."""
    import io

    from faceflow.evaluation.report import to_json, write_report
    from faceflow.evaluation.report.page import Picture
    from faceflow.evaluation.report.texts import about

    pictures = []
    for drawn in shown:
        buffer = io.BytesIO()
        drawn.image.save(buffer, "PNG")
        pictures.append(Picture(buffer.getvalue(), drawn.caption))
    for path in output or ():
        write_report(path, report, pictures)
        say(f"written: {path}")
    if as_json:
        print_json(to_json(report))
        return
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
