"""From command-line words to data sources, experiments and a bench to make them on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from faceflow.cli.options import ChooseOne, WholeImage, parse_grid
from faceflow.cli.output import progress
from faceflow.errors import FaceflowError, InputError

if TYPE_CHECKING:
    from faceflow.analyzer import FaceAnalyzer
    from faceflow.evaluation.cells import Bench
    from faceflow.evaluation.experiment import Experiment
    from faceflow.matching import Patches
    from faceflow.patch_model import PatchModel

Title = tuple[str, float]
"""A report's title and when the work began."""


@contextmanager
def open_bench(
    data: list[str] | None,
    data_option: list[str] | None,
    cache: Path | None,
    face: ChooseOne | None,
    whole_image: WholeImage,
    offline: bool,
    threads: int | None,
) -> Iterator[tuple[Bench, Callable[[str], Title]]]:
    """A bench on the user's data, with a progress bar."""
    from faceflow.caches import cache_dir
    from faceflow.cli.loading import load_analyzer
    from faceflow.evaluation.cells import Bench
    from faceflow.evaluation.laboratory import Laboratory, require_known

    def analyzer(network: str, alignment: str) -> FaceAnalyzer:
        require_known(network, alignment)
        return load_analyzer(network, alignment=alignment, offline=offline, threads=threads)

    started = time.perf_counter()
    sources = _sources(data or [], data_option or [])
    folder = cache_dir() / "evaluation" if cache is None else cache
    with progress("evaluate") as advance:
        lab = Laboratory(
            sources,
            folder,
            analyzer=analyzer,
            select=face,
            whole_image=whole_image,
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


def experiments(
    bench: Bench,
    query: list[str] | None,
    network: list[str] | None,
    weighting: list[str] | None,
    alpha: float | None,
    patches: Patches | None,
    visible: float | None,
    protocol: str,
    k: int,
    grid: str | None,
    epsilon: float,
    people: int | None,
    faces: int | None,
    seed: int,
) -> list[Experiment]:
    """Every data set x query x network x weighting; what is left open is the network's own."""
    from faceflow import networks
    from faceflow.evaluation.experiment import Experiment
    from faceflow.matching import MatchOptions

    if not bench.lab.sources:
        raise InputError(
            "no data set was given", todo="say --data NAME=PATH, e.g. --data folder=PHOTOS/"
        )
    models = {name: _patch_model(bench, name) for name in network or [networks.DEFAULT]}
    found = []
    chosen: Sequence[str | None] = weighting or [None]
    for dataset in bench.lab.sources:
        if dataset == "lfw" and "talfw" in bench.lab.sources:
            continue  # it is there to be enrolled
        usual = ["adversarial"] if dataset == "talfw" else ["clean"]
        for kind in query or usual:
            for name in network or [networks.DEFAULT]:
                defaults = networks.defaults_for(name)
                for weights in chosen:
                    options = MatchOptions.resolve(
                        defaults,
                        alpha=alpha,
                        weighting=weights,
                        k=k,
                        grid=parse_grid(grid),
                        patches=patches,
                        visible=visible,
                        model=models[name],
                    )
                    found.append(
                        Experiment(
                            dataset=dataset,
                            query=kind,
                            network=name,
                            weighting=options.weighting,
                            alpha=options.alpha,
                            patches=options.patches,
                            visible=options.visible,
                            protocol=protocol,
                            k=k,
                            grid=options.grid,
                            epsilon=epsilon,
                            people=people,
                            faces=faces,
                            seed=seed,
                        )
                    )
    for one in found:
        one.options(models[one.network])  # refuse a wrong option before hours of work
    return found


def _patch_model(bench: Bench, name: str) -> PatchModel | None:
    """A network's patch model; of a network that cannot be had the experiment says why."""
    from faceflow import detection, patch_model

    try:
        network = bench.lab.analyzer(name, detection.DEFAULT).network
    except FaceflowError:
        return None
    return patch_model.load(name, network.digest)
