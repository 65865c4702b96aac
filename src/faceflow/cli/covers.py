"""The ``covers`` commands: what is known of which patches of a network are covered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceflow.cli.failures import sentence, translated
from faceflow.cli.loading import load_analyzer
from faceflow.cli.options import Alignment, Json, Network, Offline, OneFaceChoice, Threads
from faceflow.cli.output import number, plural, print_json, print_line, print_table, progress, say

if TYPE_CHECKING:
    from faceflow.networks import NetworkSpec

app = typer.Typer(
    help="Teach any network which parts of a face are covered, from your own photos.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_LISTED = 5


def learn(
    photos: Annotated[
        Path,
        typer.Argument(
            help="A folder of photos, best with a folder per person, or a CSV file with the "
            "columns path and person.",
            metavar="PHOTOS",
        ),
    ],
    network: Network = None,
    limit: Annotated[
        int, typer.Option("--photos", min=1, help="How many photos to cover, at most.")
    ] = 400,
    face: OneFaceChoice = "largest",
    alignment: Alignment = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the covers drawn.")] = 0,
    threads: Threads = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Learn which patches of a network are covered, check that it helps, and keep it.

    Masks, sunglasses, hands, hats, scarves and crops are drawn on the photos; nobody needs to be
    named. Where folders name people, two photos each, the check searches for people whose faces
    were not learned from. If they are found better, identify uses it from then on. The network
    and galleries made with it stay as they are.
    """
    from faceflow.cover_learning import learn as learn_covers

    analyzer = load_analyzer(network, alignment=alignment, offline=offline, threads=threads)
    spec = analyzer.network.spec
    with progress("photos") as advance:
        found = learn_covers(
            photos,
            analyzer,
            limit=limit,
            select=face,
            seed=seed,
            progress=lambda done, total, what: advance(done, total, what),
        )
    for path, error in found.left_out[:_LISTED]:
        say(f"{path}: {sentence(error)}", label="left out", style="yellow")
    if len(found.left_out) > _LISTED:
        say(f"{plural(len(found.left_out) - _LISTED, 'more photo')} left out")
    if as_json:
        print_json({"network": spec.name, "digest": spec.digest} | found.record())
        return
    _tell(spec, found.record())
    say(f"kept with the network: {found.kept}")


def show(network: Network = None, as_json: Json = False) -> None:
    """Show what is known of a network's covers, how it was learned, and what it brought."""
    from faceflow.networks import learned

    spec = _spec(network)
    known = learned.recall(spec)
    if as_json:
        report = None if known is None else dict(known.report)
        print_json({"network": spec.name, "digest": spec.digest, "learned": report})
        return
    if known is not None:
        _tell(spec, known.report)
        return
    from faceflow.matching import covers

    if covers.shipped(spec) is not None:
        print_line(f"{spec.name}: the covers that come with faceflow; nothing was learned here")
    else:
        print_line(f"{spec.name}: nothing is known of its covers")
    say(f"learn them from your own photos: faceflow covers learn PHOTOS/ --network {spec.name}")


def forget(network: Network = None, as_json: Json = False) -> None:
    """Drop what was learned of a network; identify goes back to what it did before."""
    from faceflow.networks import learned

    spec = _spec(network)
    dropped = learned.forget(spec)
    if as_json:
        print_json({"network": spec.name, "digest": spec.digest, "dropped": dropped})
        return
    word = "dropped" if dropped else "nothing had been learned"
    print_line(f"{spec.name}: {word}")


def _spec(network: str | None) -> NetworkSpec:
    from faceflow import networks

    return networks.spec(network or networks.DEFAULT)


def _tell(spec: NetworkSpec, report: Mapping[str, Any]) -> None:
    """A report for people."""
    held, check = report["held_out"], report["check"]
    cells = [cell for row in held["auc"] for cell in row if cell is not None]
    mean = sum(cells) / len(cells) if cells else math.nan
    people = f" of {plural(report['people'], 'person', 'people')}" if report["people"] else ""
    print_line(
        f"{spec.name}: learned from {plural(report['faces'], 'face')} on "
        f"{plural(report['photos'], 'photo')}{people}"
    )
    print_line(
        f"on photos apart from the fit {_percent(held['right'])} of the patches are told right: "
        f"{_percent(held['found'])} of the covered are found, {_percent(held['false'])} of the "
        f"others taken for covered; mean AUC {number(mean)}, by cell:"
    )
    for row in held["auc"]:
        print_line("  " + " ".join(f"{number(cell):>5}" for cell in row))
    _tell_check(check)
    if not report["linear"]:
        print_line(
            "the embedding is not linear in the patches, so they stay raw and there is no visible "
            "cosine; visibility weighs them"
        )


def _tell_check(check: Mapping[str, Any]) -> None:
    searched = "people" if check["by_people"] else "photos"
    if not check["by_people"]:
        print_line(
            "too few people with two photos are named, so photos were searched for under another "
            "cover: that says whether covers are seen through, not how well people are told apart"
        )
    print_line(
        f"{check['people']:,} {searched} were searched for among {check['gallery']:,} faces, by "
        "what was learned and chosen on others:"
    )
    print_table(
        ("cover", "searches", "P@1 without", "P@1 with", "won", "lost", "p"),
        [_row(row) for row in check["rows"]],
        right=("searches", "P@1 without", "P@1 with", "won", "lost", "p"),
    )
    chosen = check["chosen"]
    setting = (
        f"{chosen['patches']} patches, weighting {chosen['weighting']}, alpha {chosen['alpha']:g}, "
        f"visible share {chosen['visible_share']:g}"
    )
    if check["adopted"]:
        print_line(f"it helps, so faces are compared with it from now on: {setting}")
    else:
        print_line(
            f"it does not help beyond chance, so faces are compared as before; to try it: {setting}"
        )


def _row(row: Mapping[str, Any]) -> Sequence[str]:
    test = row["test"]
    return (
        row["kind"],
        f"{row['searches']:,}",
        _percent(row["without"]),
        _percent(row["with_"]),
        f"{test['wins']:,}",
        f"{test['losses']:,}",
        f"{test['p_value']:.2g}",
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


for _name, _command in (("learn", learn), ("show", show), ("forget", forget)):
    app.command(_name)(translated(_command))
