"""The ``train`` commands: fine-tune a network on covered faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceflow.cli.failures import sentence
from faceflow.cli.loading import ensure_models, load_analyzer
from faceflow.cli.options import Json, Network, Offline, OneFaceChoice, Threads
from faceflow.cli.output import number, plural, print_json, print_line, print_table, progress, say

if TYPE_CHECKING:
    from faceflow.enrolment import Photo
    from faceflow.networks import NetworkSpec
    from faceflow.training.head import HeadEpoch, TrainedHead
    from faceflow.training.samples import LeftOut

_LISTED = 10

Photos = Annotated[
    list[Path],
    typer.Argument(
        help="A folder with one folder of photos per person, or a CSV file with the columns "
        "path and person.",
        metavar="PHOTOS...",
    ),
]
Name = Annotated[str, typer.Option("--name", help="What the new network is called.")]
Recipe = Annotated[
    Path | None,
    typer.Option("--recipe", help="A TOML file with fields of the recipe.", metavar="FILE"),
]
Covers = Annotated[
    list[str] | None,
    typer.Option(
        "--cover",
        help="A cover to train on, repeatable [default: mask, sunglasses].",
        metavar="NAME",
    ),
]
Log = Annotated[
    Path | None, typer.Option("--log", help="Write a line per epoch.", metavar="FILE.csv")
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--features",
        help="Where what is computed of the photos is kept [default: in the cache folder].",
        metavar="FOLDER",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace a network of that name trained before.")
]


def head(
    photos: Photos,
    name: Name,
    network: Network = None,
    covers: Covers = None,
    copies: Annotated[
        int, typer.Option("--copies", min=1, help="Covered faces per photo and cover.")
    ] = 1,
    recipe: Recipe = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="At most.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of everything random.")] = None,
    log: Log = None,
    features: Folder = None,
    face: OneFaceChoice = "largest",
    force: Force = False,
    threads: Threads = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Train the last layer alone: minutes on a laptop, PyTorch not needed.

    The network looks at every photo once, clean and covered; that is kept, so a second run
    with another recipe is quick and an interrupted one goes on. People set apart, not trained
    on, decide when to stop. The result is a network of its own: enroll people anew with it
    (--network NAME).
    """
    from faceflow import networks
    from faceflow.enrolment import list_photos
    from faceflow.training.export import last_layer, require_free, save_head
    from faceflow.training.head import as_values, train_head
    from faceflow.training.log import CsvLog
    from faceflow.training.recipe import HeadRecipe, read_recipe
    from faceflow.training.samples import check_covers, collect_samples

    how = read_recipe(HeadRecipe, recipe, epochs=epochs, seed=seed)
    base = networks.spec(network or networks.DEFAULT)
    require_free(name, replace=force)
    chosen = covers or ["mask", "sunglasses"]
    check_covers(chosen)
    listing = list_photos(photos)
    _require_people(listing.photos)
    ensure_models(base.name, offline=offline)
    layer = last_layer(base.name)
    analyzer = load_analyzer(base.name, offline=offline, threads=threads)
    with progress("looking at the photos") as advance:
        samples, left_out = collect_samples(
            listing.photos,
            analyzer,
            features or _default_folder(base, face),
            covers=chosen,
            copies=copies,
            select=face,
            progress=advance,
        )
    _tell(left_out)
    write = CsvLog(log) if log is not None else None

    def told(epoch: HeadEpoch) -> None:
        if write is not None:
            write(as_values(epoch))
        if not as_json:
            say(_line(epoch))

    result = train_head(samples, *layer, how, progress=told)
    if not result.best:
        say(
            "no epoch was better than the published layer on the people set apart; the new "
            "network equals the published one",
            label="note",
            style="yellow",
        )
    trained_on = f"{plural(result.faces, 'face')} of {result.people} people"
    spec = save_head(name, base.name, result.weight, result.bias, trained_on=trained_on)
    _show(result, spec, left_out, as_json)


def _default_folder(base: NetworkSpec, face: str) -> Path:
    from faceflow.weights import cache_dir

    return cache_dir() / "training" / f"{base.name}-{base.digest[:12]}-{face}"


def _require_people(photos: tuple[Photo, ...]) -> None:
    """Fail before anything is computed when the photos cannot do."""
    from faceflow.errors import InputError

    count: dict[str, int] = {}
    for photo in photos:
        count[photo.person] = count.get(photo.person, 0) + 1
    several = sum(1 for photos_of_one in count.values() if photos_of_one > 1)
    if several < 4:
        raise InputError(
            f"{plural(several, 'person', 'people')} with two photos or more cannot be trained with",
            why=f"the photos show {plural(len(count), 'person', 'people')}; at least 4 with two "
            "photos or more are needed, some to train with and some to judge by",
            todo="give more photos; hundreds of people are a sensible beginning",
        )


def _tell(left_out: tuple[LeftOut, ...]) -> None:
    for one in left_out[:_LISTED]:
        say(f"{sentence(one.error)} ({one.cover})", label="left out", style="yellow")
    if len(left_out) > _LISTED:
        say(f"... and {len(left_out) - _LISTED:,} more left out")


def _line(epoch: HeadEpoch) -> str:
    loss = number(epoch.loss, 3)
    return (
        f"epoch {epoch.epoch}: loss {loss}, P@1 covered {100 * epoch.covered:.1f}, "
        f"clean {100 * epoch.clean:.1f}"
    )


def _show(
    result: TrainedHead, spec: NetworkSpec, left_out: tuple[LeftOut, ...], as_json: bool
) -> None:
    start, best = result.history[0], result.history[result.best]
    if as_json:
        print_json(_record(result, spec, left_out))
        return
    print_line(
        f"trained on {plural(result.faces, 'face')} of {result.people} people, judged on "
        f"{plural(result.validation_queries, 'photo')} of {result.validation_people} others"
    )
    print_table(
        ("layer", "P@1 covered", "P@1 clean"),
        [
            (title, number(100 * epoch.covered, 1), number(100 * epoch.clean, 1))
            for title, epoch in (("published", start), (f"epoch {result.best}", best))
        ],
        right=("P@1 covered", "P@1 clean"),
    )
    print_line(
        f"{spec.name} is ready: faceflow enroll PHOTOS/ --network {spec.name} --gallery FILE"
    )


def _record(
    result: TrainedHead, spec: NetworkSpec, left_out: tuple[LeftOut, ...]
) -> dict[str, Any]:
    from faceflow.training.head import as_values

    return {
        "network": spec.name,
        "digest": spec.digest,
        "best_epoch": result.best,
        "people": result.people,
        "faces": result.faces,
        "validation_people": result.validation_people,
        "validation_queries": result.validation_queries,
        "history": [as_values(epoch) for epoch in result.history],
        "left_out": [
            {"photo": str(one.path), "cover": one.cover, "error": sentence(one.error)}
            for one in left_out
        ],
    }
