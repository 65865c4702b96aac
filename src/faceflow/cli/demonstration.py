"""The ``demo`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceflow.cli.loading import chosen_device
from faceflow.cli.options import Here, Network
from faceflow.cli.output import (
    Cell,
    number,
    plural,
    print_json,
    print_line,
    print_table,
    progress,
    say,
)

if TYPE_CHECKING:
    from faceflow.demo import DemoResult, DemoRow


def demo(
    photos: Annotated[
        Path | None,
        typer.Argument(
            help="A folder with one folder of photos per person (default: pictures of drawn "
            "people that come with faceflow).",
            metavar="PHOTOS",
        ),
    ] = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write everything.", metavar="FOLDER")
    ] = Path("demo-output"),
    max_queries: Annotated[
        int,
        typer.Option(
            "--max-queries", min=1, help="Ask about at most this many photos.", metavar="NUMBER"
        ),
    ] = 24,
    network: Network = None,
    here: Here,
) -> None:
    """Run the whole job: enroll people, cover other photos of them, identify, show why.

    Without PHOTOS the people are drawn and not real; their pictures come with faceflow. With
    PHOTOS, the last photo of everyone with at least two is held out and covered.
    """
    from faceflow.demo import run_demo
    from faceflow.demo.results import to_json

    if photos is None:
        say("the people of this demo are drawn, not real")
    with progress("demo") as advance:
        result = run_demo(
            photos,
            output=output,
            network=network,
            threads=here.threads,
            device=chosen_device(here),
            offline=here.offline,
            max_queries=max_queries,
            tell=say,
            progress=lambda step, done, total: advance(done, total, step),
        )
    if here.as_json:
        print_json(to_json(result))
        return
    _show(result)


def _show(result: DemoResult) -> None:
    print_table(
        (
            "query",
            "shows",
            "decision",
            "person",
            "rank, stage 1 -> 2",
            "cosine",
            "visible cosine",
            "EMD",
            "score",
            "threshold",
            "right?",
        ),
        [_row(row) for row in result.rows],
        right=("cosine", "visible cosine", "EMD", "score", "threshold"),
    )
    by_cosine, by_score, asked = result.first
    skipped = len(result.enrolment.skipped)
    print_line(
        f"{result.right} of {len(result.rows)} answers are right. Of {asked} queries of enrolled "
        f"people the right one came first {by_cosine} times by cosine alone (stage 1), "
        f"{by_score} times with patches (stage 2)."
    )
    print_line(
        f"Gallery: {plural(result.people, 'person', 'people')}, {plural(result.faces, 'face')}"
        + (f", {plural(skipped, 'photo')} left out" if skipped else "")
        + f"; {result.gallery}"
    )
    if result.left_out:
        print_line(f"Not asked about, to keep this short: {plural(result.left_out, 'photo')}.")
    print_line(f"Flow pictures and pages: {result.page}")
    times = ", ".join(f"{step} {time:.1f} s" for step, time in result.seconds.items())
    say(f"time: {times}")
    example = next((row.covered for row in result.rows if row.covered is not None), None)
    if example is not None:
        say(f"try: faceflow identify {example} --gallery {result.gallery}")


def _row(row: DemoRow) -> tuple[Cell, ...]:
    best, ranks = row.best, row.ranks
    known = row.status in ("identified", "ranked")
    return (
        row.query,
        row.person if row.enrolled else f"{row.person} (not enrolled)",
        row.status if row.error is None else "no face",
        best.person if best is not None and known else "-",
        "-" if ranks is None else f"{ranks[0]} -> {ranks[1]}",
        number(best.cosine if best else None),
        number(best.visible_cosine if best else None),
        number(best.emd if best else None),
        number(best.score if best else None),
        number(row.matches.threshold if row.matches else None),
        ("yes", "green") if row.right else ("no", "red"),
    )
