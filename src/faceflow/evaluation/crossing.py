"""Experiments by the dozen: each data set, kind of query, network and weighting."""

from __future__ import annotations

from collections.abc import Sequence

from faceflow import networks as known_networks
from faceflow.errors import FaceflowError, InputError
from faceflow.evaluation.experiment import Experiment
from faceflow.evaluation.laboratory import Laboratory
from faceflow.faces import detectors
from faceflow.matching import covers
from faceflow.matching.covers import PatchModel
from faceflow.matching.options import Changes, MatchOptions


def crossed(
    lab: Laboratory,
    *,
    queries: Sequence[str] = (),
    networks: Sequence[str] = (),
    weightings: Sequence[str] = (),
    changes: Changes | None = None,
    protocol: str = "no-leak",
    people: int | None = None,
    faces: int | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> list[Experiment]:
    """Every data set of a laboratory x query x network x weighting.

    Args:
        lab: holds the data sets. LFW is left out beside TALFW, where it is enrolled.
        queries: as ``Experiment.query``; none takes clean photos, and of TALFW the attacked ones.
        networks: names; none takes the default.
        weightings: names; none takes the network's own, or that of ``changes``.
        changes: options of all; what it leaves open is each network's own.
        protocol, people, faces, seed: as in :class:`Experiment`.
        sample: its ``queries``.

    Raises:
        InputError: no data set, or an option is out of range or impossible with a network.
    """
    if not lab.sources:
        raise InputError(
            "no data set was given", todo="say --data NAME=PATH, e.g. --data folder=PHOTOS/"
        )
    options: list[tuple[str, MatchOptions]] = []
    for name in networks or [known_networks.DEFAULT]:
        defaults, model = known_networks.defaults_for(name), _patch_model(lab, name)
        for weighting in weightings or (None,):
            given: Changes = {**(changes or {})}
            if weighting is not None:
                given["weighting"] = weighting
            found = MatchOptions.resolve(defaults, model=model, changes=given)
            found.require_model()  # refuse a wrong option before hours of work
            options.append((name, found))
    experiments = []
    for dataset in lab.sources:
        if dataset == "lfw" and "talfw" in lab.sources:
            continue
        usual = ["adversarial"] if dataset == "talfw" else ["clean"]
        for query in queries or usual:
            experiments += [
                Experiment(
                    dataset=dataset,
                    query=query,
                    network=name,
                    options=how,
                    protocol=protocol,
                    people=people,
                    faces=faces,
                    queries=sample,
                    seed=seed,
                )
                for name, how in options
            ]
    return experiments


def _patch_model(lab: Laboratory, name: str) -> PatchModel | None:
    """A network's patch model; of a network that cannot be had the experiment says why."""
    try:
        network = lab.analyzer(name, detectors.DEFAULT).network
    except FaceflowError:
        return None
    return covers.load(name, network.digest)
