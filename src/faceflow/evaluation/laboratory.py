"""What experiments share: data sets, analyzers, features on disk, near-duplicates."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faceflow import networks
from faceflow.analyzer import FaceAnalyzer, WholeImage
from faceflow.evaluation import data as datasets
from faceflow.evaluation.data import Dataset, Photo
from faceflow.evaluation.data.duplicate_cache import cached_near_duplicates
from faceflow.evaluation.data.near_duplicates import NearDuplicates
from faceflow.evaluation.experiment import Experiment, NotHereError
from faceflow.evaluation.extraction import CLEAN, Extractor, OneFace
from faceflow.evaluation.feature_store import FeatureStore, PhotoFeatures
from faceflow.evaluation.kept_detector import KeptDetector
from faceflow.faces import detectors
from faceflow.matching import covers
from faceflow.matching.options import MatchOptions

Progress = Callable[[str, int, int], None]
"""Called with (step, done, total)."""


@dataclass(frozen=True)
class DataSource:
    """Where a data set lies, and the options of its reader."""

    path: Path
    options: Mapping[str, Any] = field(default_factory=dict)


def load_analyzer(network: str, alignment: str) -> FaceAnalyzer:
    """Detector and network by name.

    Raises:
        NotHereError: this version knows no such network or landmarks.
        WeightsError: weights are missing; the message says how to get them.
    """
    require_known(network, alignment)
    return FaceAnalyzer(networks.load_network(network), detectors.load_detector(alignment))


def require_known(network: str, alignment: str) -> None:
    """Raise NotHereError unless this version knows the network and the landmarks."""
    known = [spec.name for spec in networks.available()]
    if network not in known:
        raise NotHereError(
            f"weights of {network} are not here",
            why=f"this faceflow knows the networks {', '.join(known)}",
            todo=f"get its checkpoint and run: faceflow models import {network} FILE",
        )
    detectors.check_detector(alignment)
    if alignment.startswith("fan-") and not _installed("face_alignment"):
        raise NotHereError(
            f"alignment by {alignment} landmarks is not here",
            why="FAN is in a package that is not installed",
            todo='run `pip install "faceflow[fan]"`',
        )


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


class Laboratory:
    """Opens everything once and keeps it for the next experiment.

    Args:
        sources: data set name -> where it lies.
        folder: features and rankings are kept here; see ``FeatureStore`` and ``rank``.
        analyzer: makes the analyzer of a network and an alignment; raises FaceflowError when
            it cannot.
        select: which face of several a photo is about; None: the centre one, but the largest
            for rof, rmfrd and folder, whose photos are not centred.
        whole_image: whether photos without a detected face are taken for faces.
        progress: told about each step.
        threads: photos analysed side by side; None: one on each physical core.
    """

    def __init__(
        self,
        sources: Mapping[str, DataSource],
        folder: Path,
        *,
        analyzer: Callable[[str, str], FaceAnalyzer] = load_analyzer,
        select: OneFace | None = None,
        whole_image: WholeImage = "never",
        progress: Progress | None = None,
        threads: int | None = None,
    ) -> None:
        self.sources = dict(sources)
        self.folder = folder
        self.store = FeatureStore(folder, threads=threads)
        self._load = analyzer
        self._select = select
        self._whole_image: WholeImage = whole_image
        self._progress = progress
        self._datasets: dict[str, Dataset] = {}
        self._analyzers: dict[tuple[str, str], FaceAnalyzer] = {}
        self._duplicates: dict[tuple[str, ...], NearDuplicates] = {}

    def dataset(self, name: str) -> Dataset:
        """The data set called ``name``.

        Raises:
            NotHereError: its place was not given; the message says where to get it.
            InputError: what the reader raises.
        """
        if name not in self._datasets:
            source = self.sources.get(name)
            if source is None:
                family = datasets.FAMILIES.get(name)
                title, where = (
                    (name, "an unknown place") if family is None
                    else (family.origin.title, family.origin.where)
                )  # fmt: skip
                raise NotHereError(
                    f"data set {title} was not given",
                    todo=f"get it from {where} and say --data {name}=FOLDER",
                )
            self._datasets[name] = datasets.read(name, source.path, **source.options)
        return self._datasets[name]

    def analyzer(self, network: str, alignment: str) -> FaceAnalyzer:
        """The analyzer of a network and an alignment, loaded once.

        Raises:
            FaceflowError: it cannot be had here; the message says how to get it.
        """
        key = network, alignment
        if key not in self._analyzers:
            made = self._load(network, alignment)
            self._analyzers[key] = FaceAnalyzer(
                made.network, KeptDetector(made.detector, self.folder)
            )
        return self._analyzers[key]

    def options(self, experiment: Experiment) -> MatchOptions:
        """How an experiment compares faces, with its network's patch model where it needs one.

        Raises:
            FaceflowError: as :meth:`analyzer`.
            InputError: a patch model is needed, and none is known of the network.
        """
        options = experiment.options
        if experiment.emd_first:
            options = replace(options, alpha=1.0)
        if options.needs_model:
            network = self.analyzer(experiment.network, experiment.alignment).network
            model = covers.load(experiment.network, network.digest)
            options = replace(options, model=model)
            options.require_model()
        return options

    def extractor(self, experiment: Experiment, cover: str) -> Extractor:
        """How photos of an experiment become features."""
        loose = experiment.dataset in ("rof", "rmfrd", "folder")
        return Extractor(
            self.analyzer(experiment.network, experiment.alignment),
            cover=cover,
            seed=experiment.seed,
            select=self._select or ("largest" if loose else "centre"),
            whole_image=self._whole_image,
        )

    def features(
        self, photos: Sequence[Photo], experiment: Experiment, cover: str = CLEAN
    ) -> PhotoFeatures:
        """Features of photos, from the store where it has them."""
        what = "faces" if cover == CLEAN else f"faces, {cover}"
        return self.store.features(
            photos, self.extractor(experiment, cover), progress=self.step(what)
        )

    def duplicates(self, photos: Sequence[Photo]) -> NearDuplicates:
        """Near-duplicates among photos; a picture given twice counts once."""
        unique = tuple({photo.key: photo for photo in photos}.values())
        keys = tuple(photo.key for photo in unique)
        if keys not in self._duplicates:
            self._duplicates[keys] = cached_near_duplicates(
                unique, self.folder / "duplicates", progress=self.step("near-duplicates")
            )
        return self._duplicates[keys]

    def step(self, name: str) -> Callable[[int, int], None]:
        """A progress callback for one step."""

        def tell(done: int, total: int) -> None:
            if self._progress is not None:
                self._progress(name, done, total)

        return tell

    def summaries(self) -> dict[str, str]:
        """What the readers found in the data sets opened so far."""
        return {name: data.summary() for name, data in self._datasets.items()}
