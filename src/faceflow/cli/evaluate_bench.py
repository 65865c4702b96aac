"""From command-line words to data sources, experiments and a bench to make them on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from faceflow.cli.options import ChooseOne, WholeImage
from faceflow.cli.output import progress
from faceflow.cli.scoring import Scoring
from faceflow.errors import FaceflowError, InputError

if TYPE_CHECKING:
    from faceflow.analyzer import FaceAnalyzer
    from faceflow.evaluation.cells import Bench
    from faceflow.evaluation.experiment import Experiment
    from faceflow.matching.covers import PatchModel

Title = tuple[str, float]
"""A report's title and when the work began."""


@dataclass(frozen=True, slots=True)
class Photos:
    """Which photos an ``evaluate`` command works on and how they become features, as typed."""

    data: list[str] | None
    data_option: list[str] | None
    cache: Path | None
    face: ChooseOne | None
    whole_image: WholeImage
    offline: bool
    threads: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Which experiments an ``evaluate`` command makes; None for what was left open.

    ``scoring`` holds no weighting: there may be several, in ``weighting``.
    """

    scoring: Scoring
    query: list[str] | None = None
    network: list[str] | None = None
    weighting: list[str] | None = None
    protocol: str = "no-leak"
    people: int | None = None
    faces: int | None = None
    seed: int = 0


@contextmanager
def open_bench(photos: Photos) -> Iterator[tuple[Bench, Callable[[str], Title]]]:
    """A bench on the user's data, with a progress bar."""
    from faceflow.cli.loading import load_analyzer
    from faceflow.evaluation.cells import Bench
    from faceflow.evaluation.laboratory import Laboratory, require_known
    from faceflow.system.caches import cache_dir

    def analyzer(network: str, alignment: str) -> FaceAnalyzer:
        require_known(network, alignment)
        return load_analyzer(
            network, alignment=alignment, offline=photos.offline, threads=photos.threads
        )

    started = time.perf_counter()
    sources = _sources(photos.data or [], photos.data_option or [])
    folder = cache_dir() / "evaluation" if photos.cache is None else photos.cache
    with progress("evaluate") as advance:
        lab = Laboratory(
            sources,
            folder,
            analyzer=analyzer,
            select=photos.face,
            whole_image=photos.whole_image,
            progress=lambda step, done, total: advance(done, total, step),
        )
        yield Bench(lab), lambda title: (title, started)


def _sources(data: list[str], data_option: list[str]) -> dict[str, Any]:
    """``NAME=PATH`` and ``NAME.OPTION=VALUE`` as data sources."""
    from faceflow.evaluation.laboratory import DataSource

    options: dict[str, dict[str, Any]] = {}
    for text in data_option:
        place, equals, value = text.partition("=")
        name, dot, option = place.partition(".")
        if not (equals and dot and name and option and value):
            raise typer.BadParameter(
                f"{text!r} is not NAME.OPTION=VALUE", param_hint="--data-option"
            )
        paths = option in ("pairs", "listing")
        options.setdefault(name, {})[option] = Path(value) if paths else value
    sources = {}
    for text in data:
        name, equals, path = text.partition("=")
        if not (equals and name and path):
            raise typer.BadParameter(f"{text!r} is not NAME=PATH", param_hint="--data")
        sources[name] = DataSource(Path(path), options.pop(name, {}))
    if options:
        raise typer.BadParameter(
            f"there is no --data {next(iter(options))}=PATH", param_hint="--data-option"
        )
    return sources


def experiments(bench: Bench, asked: Asked) -> list[Experiment]:
    """Every data set x query x network x weighting; what is left open is the network's own."""
    from faceflow import networks
    from faceflow.evaluation.experiment import Experiment
    from faceflow.matching.options import MatchOptions

    if not bench.lab.sources:
        raise InputError(
            "no data set was given", todo="say --data NAME=PATH, e.g. --data folder=PHOTOS/"
        )
    names = asked.network or [networks.DEFAULT]
    chosen: Sequence[str | None] = asked.weighting or [None]
    options = {
        (name, weights): MatchOptions.resolve(
            networks.defaults_for(name),
            model=_patch_model(bench, name),
            changes=replace(asked.scoring, weighting=weights).changes(),
        )
        for name in names
        for weights in chosen
    }
    found = []
    for dataset in bench.lab.sources:
        if dataset == "lfw" and "talfw" in bench.lab.sources:
            continue  # it is there to be enrolled
        usual = ["adversarial"] if dataset == "talfw" else ["clean"]
        for kind in asked.query or usual:
            for key, how in options.items():
                found.append(
                    Experiment(
                        dataset=dataset,
                        query=kind,
                        network=key[0],
                        options=how,
                        protocol=asked.protocol,
                        people=asked.people,
                        faces=asked.faces,
                        seed=asked.seed,
                    )
                )
    for one in found:
        one.options.require_model()  # refuse a wrong option before hours of work
    return found


def _patch_model(bench: Bench, name: str) -> PatchModel | None:
    """A network's patch model; of a network that cannot be had the experiment says why."""
    from faceflow.faces import detectors
    from faceflow.matching import covers

    try:
        network = bench.lab.analyzer(name, detectors.DEFAULT).network
    except FaceflowError:
        return None
    return covers.load(name, network.digest)
