"""The ``train`` commands: fine-tune a network on covered faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceflow.cli.failures import sentence
from faceflow.cli.loading import ensure_models, load_analyzer
from faceflow.cli.options import (
    COVER,
    FACE,
    SEED,
    Cache,
    ChooseOne,
    Force,
    Here,
    Network,
    PeopleFolders,
    said,
)
from faceflow.cli.output import number, plural, print_json, print_line, print_table, progress, say

if TYPE_CHECKING:
    from faceflow.gallery.enrolment import Photo
    from faceflow.networks import NetworkSpec
    from faceflow.training.head import HeadEpoch, TrainedHead
    from faceflow.training.network import NetworkEpoch, TrainedNetwork
    from faceflow.training.samples import LeftOut

_LISTED = 10

RUN = typer.Option("--run", help="Folder of this run; one found there goes on.", metavar="FOLDER")
COPIES = typer.Option("--copies", min=1, help="Covered faces of a photo.", metavar="NUMBER")

Name = Annotated[
    str, typer.Option("--name", help="What the new network is called.", metavar="NAME")
]
Run = Annotated[Path, RUN]
Copies = Annotated[int, said(COPIES, "; so many of each cover")]
Recipe = Annotated[
    Path | None,
    typer.Option("--recipe", help="A TOML file with fields of the recipe.", metavar="FILE"),
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", min=1, help="At most so many epochs.", metavar="NUMBER"),
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="float32, bfloat16 or float16.", metavar="NAME"),
]
Log = Annotated[
    Path | None, typer.Option("--log", help="Write a line per epoch.", metavar="FILE.csv")
]


@dataclass(frozen=True, slots=True)
class Training:
    """What both commands are told: from which network, on which covers, how, with which face."""

    network: Network = None
    covers: Annotated[
        list[str] | None, said(COVER, "; may be repeated (default: mask and sunglasses)")
    ] = None
    recipe: Recipe = None
    epochs: Epochs = None
    seed: Annotated[int | None, SEED] = None
    cache: Cache = None
    face: Annotated[ChooseOne, FACE] = "largest"
    force: Force = False

    def folder(self, base: NetworkSpec, kind: str) -> Path:
        """Where what is computed of the photos is kept."""
        from faceflow.system.caches import cache_dir

        named = f"{base.name}-{base.digest[:12]}-{self.face}{kind}"
        return self.cache or cache_dir() / "training" / named


@dataclass(frozen=True, slots=True)
class Computing:
    """How PyTorch computes."""

    freeze: Annotated[
        list[str] | None,
        typer.Option("--freeze", help="A part not to train; may be repeated.", metavar="PART"),
    ] = None
    precision: Precision = None
    accumulate: Annotated[
        int | None,
        typer.Option("--accumulate", min=1, help="Parts a batch is computed in.", metavar="NUMBER"),
    ] = None
    workers: Annotated[
        int,
        typer.Option(
            "--workers", min=0, help="Processes that load photos ahead.", metavar="NUMBER"
        ),
    ] = 0
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard's files into the run too.")
    ] = False


def head(
    photos: PeopleFolders,
    *,
    name: Name,
    training: Training,
    copies: Copies = 1,
    log: Log = None,
    here: Here,
) -> None:
    """Train the last layer alone: minutes on a laptop, PyTorch not needed.

    The network looks at every photo once, clean and covered; that is kept, so a second run
    with another recipe is quick and an interrupted one goes on. People set apart, not trained
    on, decide when to stop. The result is a network of its own: enroll people anew with it
    (--network NAME).
    """
    from faceflow.training.export import last_layer, save_head
    from faceflow.training.head import as_values, train_head
    from faceflow.training.log import CsvLog
    from faceflow.training.recipe import HeadRecipe, read_recipe
    from faceflow.training.samples import collect_samples

    how = read_recipe(HeadRecipe, training.recipe, epochs=training.epochs, seed=training.seed)
    covers = training.covers or ["mask", "sunglasses"]
    base, listed = _begin(photos, name, training, covers)
    ensure_models(base.model_name, offline=here.offline)
    layer = last_layer(base.name)
    analyzer = load_analyzer(base.name, here)
    with progress("looking at the photos") as advance:
        samples, left_out = collect_samples(
            listed,
            analyzer,
            training.folder(base, ""),
            covers=covers,
            copies=copies,
            select=training.face,
            progress=advance,
        )
    _tell(left_out)
    write = CsvLog(log) if log is not None else None

    def told(epoch: HeadEpoch) -> None:
        if write is not None:
            write(as_values(epoch))
        if not here.as_json:
            say(_line(epoch))

    result = train_head(samples, *layer, how, progress=told)
    trained_on = _end(result)
    spec = save_head(name, base.name, result.weight, result.bias, trained_on=trained_on)
    _show(result, spec, left_out, here.as_json)


def network(
    photos: PeopleFolders,
    *,
    name: Name,
    run: Run,
    training: Training,
    computing: Computing,
    here: Here,
) -> None:
    """Train a whole network with PyTorch (extra: train); a GPU's work for more than a trial.

    The recipe is the paper's: ArcFace, SGD, 12 epochs, half of the photos covered whenever they
    are shown. An interrupted run goes on when the same command is given again. For several GPUs:
    torchrun --nproc-per-node N -m faceflow train network ...
    """
    from faceflow.networks.torch import build
    from faceflow.training.export import read_tensors, root_of, save_network
    from faceflow.training.recipe import NetworkRecipe, RunOptions, read_recipe

    how = read_recipe(
        NetworkRecipe,
        training.recipe,
        epochs=training.epochs,
        seed=training.seed,
        covers=training.covers,
        freeze=computing.freeze,
        precision=computing.precision,
        accumulate=computing.accumulate,
    )
    options = RunOptions(workers=computing.workers, tensorboard=computing.tensorboard)
    base, listed = _begin(photos, name, training, how.covers)
    model = build(root_of(base))

    import torch

    from faceflow.training.aligned_crops import collect_crops
    from faceflow.training.network import train_network
    from faceflow.training.processes import joined

    if here.threads is not None:
        torch.set_num_threads(here.threads)
    ensure_models(base.model_name, offline=here.offline)
    tensors = read_tensors(base.name)
    model.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in tensors.items()})
    with joined(here.device or "auto") as me:
        analyzer = load_analyzer(base.name, here)
        with progress("looking at the photos") as advance:
            crops, left_out = collect_crops(
                listed,
                base,
                analyzer.detector,
                training.folder(base, "-crops"),
                select=training.face,
                progress=advance,
            )

        def told(epoch: NetworkEpoch) -> None:
            if not here.as_json:
                say(_line(epoch))

        if me.rank == 0:
            _tell(left_out)
        with progress("training") as advance:
            result = train_network(
                crops,
                model,
                run,
                how,
                options=options,
                among=me,
                progress=lambda step, _: advance(step, None),
                told=told,
            )
        if me.rank:
            return
    trained_on = _end(result)
    spec = save_network(name, base.name, result.tensors, trained_on=trained_on)
    _show(result, spec, left_out, here.as_json)


def _begin(
    photos: list[Path], name: str, training: Training, covers: Sequence[str]
) -> tuple[NetworkSpec, tuple[Photo, ...]]:
    """The network to start from and the photos, all checked before anything is computed."""
    from faceflow import networks
    from faceflow.gallery.enrolment import list_photos
    from faceflow.training.export import require_free
    from faceflow.training.samples import check_covers

    base = networks.spec(training.network or networks.DEFAULT)
    require_free(name, replace=training.force)
    check_covers(covers)
    listed = list_photos(photos).photos
    _require_people(listed)
    return base, listed


def _end(result: TrainedHead | TrainedNetwork) -> str:
    """What the new network was trained on; says so where the training changed nothing."""
    if not result.best:
        say(
            "no epoch was better than the start on the people set apart; the new network equals "
            "the one it was trained from",
            label="note",
            style="yellow",
        )
    return f"{plural(result.faces, 'face')} of {result.people} people"


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


def _line(epoch: HeadEpoch | NetworkEpoch) -> str:
    loss = number(epoch.loss, 3)
    return (
        f"epoch {epoch.epoch}: loss {loss}, P@1 covered {100 * epoch.covered:.1f}, "
        f"clean {100 * epoch.clean:.1f}"
    )


def _show(
    result: TrainedHead | TrainedNetwork,
    spec: NetworkSpec,
    left_out: tuple[LeftOut, ...],
    as_json: bool,
) -> None:
    start, best = result.history[0], result.history[result.best]
    if as_json:
        print_json(_record(result, spec, left_out))
        return
    print_line(
        f"trained on {plural(result.faces, 'face')} of {result.people} people, judged by "
        f"{result.validation_people} others"
    )
    print_table(
        ("network", "P@1 covered", "P@1 clean"),
        [
            (title, number(100 * epoch.covered, 1), number(100 * epoch.clean, 1))
            for title, epoch in (("as it was", start), (f"epoch {result.best}", best))
        ],
        right=("P@1 covered", "P@1 clean"),
    )
    print_line(
        f"{spec.name} is ready: faceflow enroll PHOTOS/ --network {spec.name} --gallery FILE"
    )


def _record(
    result: TrainedHead | TrainedNetwork, spec: NetworkSpec, left_out: tuple[LeftOut, ...]
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "network": spec.name,
        "digest": spec.digest,
        "best_epoch": result.best,
        "people": result.people,
        "faces": result.faces,
        "validation_people": result.validation_people,
        "history": [asdict(epoch) for epoch in result.history],
        "left_out": [
            {"photo": str(one.path), "cover": one.cover, "error": sentence(one.error)}
            for one in left_out
        ],
    }
