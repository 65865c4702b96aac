"""The ``train covers`` command: a student that answers to covered faces for its teacher."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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
    Maker,
    said,
)
from faceflow.cli.output import number, plural, print_json, print_line, print_table, progress, say
from faceflow.cli.training import COPIES, RUN, Epochs, Name, Precision, Recipe

if TYPE_CHECKING:
    from faceflow.gallery.enrolment import Photo
    from faceflow.networks import NetworkSpec
    from faceflow.training.recipe import StudentRecipe
    from faceflow.training.samples import Frozen, LeftOut
    from faceflow.training.student import Learner, StudentEpoch, TrainedStudent

_LISTED = 10


@dataclass(frozen=True, slots=True)
class Learning:
    """How a student learns."""

    first: Annotated[
        str | None,
        typer.Option(
            "--first",
            help="The first part of the network that is trained, conv1 (all of it) to fc (its last "
            "layer alone, without PyTorch) (default: conv4; fc of imported networks).",
            metavar="PART",
        ),
    ] = None
    covers: Annotated[
        list[str] | None,
        said(COVER, "; may be repeated (default: all kinds, mostly masks and sunglasses)"),
    ] = None
    copies: Annotated[int | None, COPIES] = None
    epochs: Epochs = None
    recipe: Recipe = None
    precision: Precision = None
    seed: Annotated[int | None, SEED] = None

    def read(self, base: NetworkSpec) -> StudentRecipe:
        """The recipe for a network."""
        from faceflow.training.export import can_be_divided
        from faceflow.training.recipe import StudentRecipe, read_recipe

        first = self.first
        if first is None and self.recipe is None and not can_be_divided(base):
            first = "fc"
        return read_recipe(
            StudentRecipe,
            self.recipe,
            first=first,
            covers=self.covers,
            copies=self.copies,
            epochs=self.epochs,
            precision=self.precision,
            seed=self.seed,
        )


def covers(
    photos: Annotated[
        list[Path],
        typer.Argument(
            help="A folder with one folder of photos per person, a folder of photos of anybody, or "
            "a CSV file with the columns path and person.",
            metavar="PHOTOS",
        ),
    ],
    *,
    name: Name,
    maker: Maker,
    learning: Learning,
    unnamed: Annotated[
        bool,
        typer.Option("--unnamed", help="Pay no heed to names: every photo shows somebody else."),
    ] = False,
    run: Annotated[Path | None, said(RUN, " (default: in the cache)")] = None,
    face: Annotated[ChooseOne, FACE] = "largest",
    cache: Cache = None,
    force: Force = False,
    here: Here,
) -> None:
    """Train a student that answers to covered faces as its teacher does to clean ones.

    Galleries enrolled with the teacher take the student's queries (--query-network NAME), and
    nobody is enrolled anew. Covers are drawn on the photos at random. The part of the network
    that stays as it is looks at every photo once; that is kept, so an interrupted run goes on when
    the same command is given again. People set apart judge each pass.
    """
    from faceflow import networks
    from faceflow.errors import InputError
    from faceflow.system.caches import cache_dir
    from faceflow.training.export import require_free, save_student
    from faceflow.training.photo_lists import list_faces
    from faceflow.training.samples import check_covers, collect, drawn_looks
    from faceflow.training.student import train_student

    base = networks.spec(maker.network or networks.DEFAULT)
    if base.teacher:
        raise InputError(
            f"{base.name} is a student itself", todo="name the network it learned from"
        )
    require_free(name, replace=force)
    how = learning.read(base)
    check_covers(how.covers)
    listed = list_faces(photos, unnamed=unnamed)
    _require_enough(listed)
    ensure_models(base.model_name, offline=here.offline)
    analyzer = load_analyzer(base.name, here, detector=maker.detector)
    folder = cache_dir() / "training"
    frozen, learner = _divided(base, how, here.device or "auto", here.threads)
    with progress("looking at the photos") as advance:
        samples, left_out = collect(
            listed,
            frozen,
            analyzer.detector,
            cache or folder / f"{base.name}-{base.digest[:12]}-{face}",
            looks=drawn_looks(how.covers, how.copies, how.mirrored_share, how.seed),
            select=face,
            progress=advance,
        )
    _tell(left_out)

    def told(epoch: StudentEpoch) -> None:
        if not here.as_json:
            say(_line(epoch))

    with progress("training") as advance:
        result = train_student(
            samples,
            learner,
            run or folder / "students" / name,
            how,
            network=f"{base.digest} {analyzer.detector_name}",
            progress=lambda done, total, _: advance(done, total),
            told=told,
        )
    spec = None
    if result.best:
        spec = save_student(
            name,
            base.name,
            result.tensors,
            trained_on=f"{plural(result.faces, 'face')}, clean and covered, of "
            f"{result.people} people",
            layer=how.first == "fc",
        )
    _show(result, spec, base, left_out, here.as_json)


def _divided(
    base: NetworkSpec, how: StudentRecipe, device: str, threads: int | None
) -> tuple[Frozen, Learner]:
    """The part of the network that stays as it is, and the one that learns."""
    from faceflow import networks
    from faceflow.training.export import read_tensors, require_divisible, root_of

    if how.first == "fc":
        from faceflow.training.samples import PatchMaps
        from faceflow.training.student_layer import LayerLearner

        weight, bias = networks.last_layer(base.name)  # (D, R, C)
        flat = weight.transpose(0, 2, 1).reshape(len(bias), -1)
        loaded = networks.load_network(base.name, threads=threads)
        return PatchMaps(loaded), LayerLearner(flat, bias, how)
    require_divisible(base)
    from faceflow.networks.torch import build

    model = build(root_of(base))

    import torch

    from faceflow.training.processes import joined
    from faceflow.training.student_tail import FrozenPart, TailLearner

    if threads is not None:
        torch.set_num_threads(threads)
    tensors = read_tensors(base.name)
    model.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in tensors.items()})
    with joined(device) as me:
        where = me.device
    frozen = FrozenPart(model.to(where), how.first, base, where)
    return frozen, TailLearner(model, how.first, how, where)


def _require_enough(photos: tuple[Photo, ...]) -> None:
    """Fail before anything is computed when the photos cannot do."""
    from faceflow.errors import InputError
    from faceflow.training.photo_lists import named

    count = named(photos)
    several = sum(1 for each in count.values() if each > 1)
    if len({photo.person for photo in photos}) < 4 or 0 < several < 4:
        raise InputError(
            f"{plural(len(photos), 'photo')} of {plural(len(count), 'person', 'people')} that are "
            "named cannot be trained with",
            why="at least 4 people with two photos or more are needed, or, with --unnamed, photos "
            "of many people, some to train with and some to judge by",
            todo="give more photos; hundreds of people are a sensible beginning",
        )


def _tell(left_out: tuple[LeftOut, ...]) -> None:
    clean = [one for one in left_out if one.cover == "clean"]
    for one in clean[:_LISTED]:
        say(sentence(one.error), label="left out", style="yellow")
    if len(clean) > _LISTED:
        say(f"... and {len(clean) - _LISTED:,} more left out")
    if len(left_out) > len(clean):
        say(f"under {plural(len(left_out) - len(clean), 'cover')} no face was found any more")


def _line(epoch: StudentEpoch) -> str:
    loss = "" if not epoch.epoch else f"loss {number(epoch.loss, 3)}, "
    title = f"pass {epoch.epoch}" if epoch.epoch else "the teacher"
    return f"{title}: {loss}P@1 covered {_share(epoch.covered)}, clean {_share(epoch.clean)}"


def _share(value: float) -> str:
    return "-" if value != value else number(100 * value, 1)


def _show(
    result: TrainedStudent,
    spec: NetworkSpec | None,
    base: NetworkSpec,
    left_out: tuple[LeftOut, ...],
    as_json: bool,
) -> None:
    start, best = result.history[0], result.history[result.best]
    if as_json:
        print_json(_record(result, spec, base, left_out))
        return
    print_line(
        f"trained on {plural(result.faces, 'face')} of {result.people} people, judged by "
        f"{result.validation_people} others"
    )
    rows = [("the teacher", start)] + ([(f"pass {result.best}", best)] if result.best else [])
    print_table(
        ("network", "P@1 covered", "P@1 clean", "margin"),
        [
            (title, _share(one.covered), _share(one.clean), number(one.margin))
            for title, one in rows
        ],
        right=("P@1 covered", "P@1 clean", "margin"),
    )
    if spec is None:
        say(
            "no pass was better than the teacher on the people set apart, so there is no student",
            label="note",
            style="yellow",
        )
        return
    print_line(
        f"{spec.name} is ready for galleries of {base.name}: faceflow identify PHOTO --gallery "
        f"FILE --query-network {spec.name}"
    )


def _record(
    result: TrainedStudent,
    spec: NetworkSpec | None,
    base: NetworkSpec,
    left_out: tuple[LeftOut, ...],
) -> dict[str, Any]:
    return {
        "network": None if spec is None else spec.name,
        "digest": None if spec is None else spec.digest,
        "teacher": {"network": base.name, "digest": base.digest},
        "best_pass": result.best,
        "people": result.people,
        "faces": result.faces,
        "validation_people": result.validation_people,
        "history": [
            {k: None if v != v else v for k, v in asdict(epoch).items()} for epoch in result.history
        ],
        "left_out": [
            {"photo": str(one.path), "cover": one.cover, "error": sentence(one.error)}
            for one in left_out
        ],
    }
