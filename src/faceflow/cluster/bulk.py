"""Enrolment of very many photos on many machines: Ray Data feeds workers, one process writes.

Workers read, detect, align and embed, a process for each processor or GPU. Their answers come back
in the order of the photos and are written by the process that started it all, exactly as plain
enrolment writes them: the same faces, with the same ids, to the last bit. Ray Data holds workers
back while the writer is busy, starts those anew that die, and gives their photos to others.

Nothing is noted down anywhere but in the gallery: an enrolment that was killed is started again,
and photos whose content it has already are recognised by their hash before anything is computed.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from faceflow import models
from faceflow.analyzer import FaceAnalyzer, WholeImage
from faceflow.cluster.bulk_sources import Work, work_of
from faceflow.cluster.bulk_workers import Gate, Looker, MakeAnalyzer, Pair, seen_in
from faceflow.cluster.joining import LOCAL, joined, ray_module
from faceflow.errors import FaceflowError, InputError, MissingExtraError
from faceflow.gallery import Gallery, GalleryLocation
from faceflow.gallery.enrolment import (
    EnrolmentReport,
    Looked,
    PhotoOutcome,
    SelectOne,
    store_looked,
)
from faceflow.gallery.stores.opening import Location

_LOG = logging.getLogger("faceflow")
_MOST_BLOCKS = 4000
# Processors for a worker with a GPU: decoding and detecting keep several busy.
_CPUS_A_GPU = 4


@dataclass(frozen=True, slots=True)
class Workers:
    """Who does the work.

    Attributes:
        count: processes, at most; None: one for each processor or GPU of the cluster.
        device: "cpu" or "cuda"; None: cuda where the cluster has GPUs.
    """

    count: int | None = None
    device: str | None = None


def enroll(
    sources: Iterable[str | Path],
    location: Location,
    *,
    network: str | None = None,
    detector: str | None = None,
    person: str | None = None,
    select: SelectOne = "largest",
    whole_image: WholeImage = "never",
    address: str = LOCAL,
    workers: Workers | None = None,
    make: MakeAnalyzer | None = None,
    offline: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
    tell: Callable[[PhotoOutcome], None] | None = None,
) -> EnrolmentReport:
    """Find the face in each photo on a Ray cluster, and store it in a gallery.

    Args:
        sources: paths and addresses, see :mod:`.bulk_sources`.
        location: the gallery, made if there is none: a file of this machine, or a URL.
        network: name of the network; default: the gallery's own, else the default one.
        detector: name of the detector; likewise.
        person: whose photos these all are.
        select: which face of a photo with several is the person's.
        whole_image: as in :meth:`faceflow.analyzer.FaceAnalyzer.analyze`.
        address: of the cluster, see :func:`faceflow.cluster.joining.joined`.
        workers: how many, and where they run.
        make: makes a worker's analyzer in its process; default: from this machine's names, whose
            weights every machine fetches by itself.
        offline: fetch no weights.
        progress: told (photos done, photos in all or None) after each photo.
        tell: told what became of each photo, in their order.

    Raises:
        InputError: no photos, a photo without a person, or an address that cannot be read.
        GalleryError: the gallery cannot be made or written; the batches before are kept.
        WeightsError, DeviceError: no photo can be looked at.
        FaceflowError: the cluster cannot be joined, or its workers cannot be started.
    """
    work = work_of(sources, person=person)
    with joined(address):
        chosen = workers or Workers()
        device = chosen.device or ("cuda" if _resource("GPU") >= 1 else "cpu")
        with _gallery(location, network, detector, offline) as gallery:
            if make is None:
                make = partial(
                    _analyzer,
                    gallery.header.network_name,
                    gallery.header.detector,
                    device,
                    offline,
                )
            return store_looked(
                _seen(work, location, make, select, whole_image, device, chosen.count),
                gallery,
                select=select,
                progress=None if progress is None else lambda done: progress(done, work.photos),
                tell=tell,
            )


def _gallery(
    location: Location, network: str | None, detector: str | None, offline: bool
) -> Gallery:
    """The gallery, open for writing, of that network and detector."""
    place = location if isinstance(location, GalleryLocation) else GalleryLocation(location)
    if not place.exists():
        analyzer = models.open_analyzer(network, detector, tell=_LOG.warning, offline=offline)
        return Gallery.open_or_create(place, analyzer.network, detector=analyzer.detector_name)
    gallery = Gallery.open(place)
    for what, asked, own in (
        ("network", network, gallery.header.network_name),
        ("detector", detector, gallery.header.detector),
    ):
        if asked not in (None, own):
            gallery.close()
            raise InputError(
                f"{place} was made with the {what} {own}, not with {asked}",
                todo=f"leave the {what} out, or enroll into a new gallery",
            )
    return gallery


def _analyzer(network: str, detector: str, device: str, offline: bool) -> FaceAnalyzer:
    """A worker's network and detector, on one thread or one GPU."""
    threads = 1 if device == "cpu" else _CPUS_A_GPU
    return models.open_analyzer(
        network, detector, tell=_LOG.warning, threads=threads, device=device, offline=offline
    )


def _seen(
    work: Work,
    location: Location,
    make: MakeAnalyzer,
    select: SelectOne,
    whole_image: WholeImage,
    device: str,
    count: int | None,
) -> Iterator[Looked]:
    """Every photo in its order, looked at by workers of the cluster."""
    yield from work.skipped
    if not work.tasks:
        return
    ray, data = ray_module(), _ray_data()
    known = partial(_ask, _gate(location))
    rows = [{"task": pickle.dumps(task)} for task in work.tasks]
    blocks = min(len(rows), _MOST_BLOCKS)
    on_gpu = device != "cpu"
    room: dict[str, Any] = (
        {"num_gpus": 1, "num_cpus": min(_CPUS_A_GPU, _per_gpu())} if on_gpu else {"num_cpus": 1}
    )
    most = max(1, int(_resource("GPU" if on_gpu else "CPU")))
    with _quiet(data):
        answers = data.from_items(rows, override_num_blocks=blocks).map_batches(
            Looker,
            fn_constructor_args=(make, known, select, whole_image),
            batch_size=1,
            batch_format="numpy",
            compute=data.ActorPoolStrategy(min_size=1, max_size=min(count or most, most, blocks)),
            **room,
        )
        try:
            for batch in answers.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                for value in batch.column("seen").to_pylist():
                    yield from seen_in(value)
        except ray.exceptions.RayError as error:
            raise FaceflowError(
                "The cluster's workers failed",
                why=str(error).strip().splitlines()[-1][:300],
                todo="look at Ray's logs, and repeat the enrolment: what is stored is kept",
            ) from error


def _gate(location: Location) -> Any:
    """Start what tells workers which photos are enrolled, on this machine."""
    ray = ray_module()
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    secret = location.secret if isinstance(location, GalleryLocation) else location
    at = str(secret) if "://" in str(secret) else str(Path(secret).resolve())
    return (
        ray.remote(Gate)
        .options(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)
        .remote(at)
    )


def _ask(gate: Any, pairs: list[Pair]) -> list[bool]:
    known: list[bool] = ray_module().get(gate.known.remote(pairs))
    return known


def _resource(name: str) -> float:
    return float(ray_module().cluster_resources().get(name, 0))


def _per_gpu() -> int:
    return max(1, int(_resource("CPU") // max(1, _resource("GPU"))))


def _ray_data() -> Any:
    try:
        import ray.data
    except ImportError as error:
        raise MissingExtraError(
            "Bulk enrolment needs Ray Data, which is not all installed",
            why=str(error),
            todo="pip install 'faceflow[ray]'",
        ) from error
    return ray.data


class _quiet:
    """Ray Data in the order of the rows, without its own bars and notes."""

    def __init__(self, data: Any) -> None:
        self._context = data.DataContext.get_current()

    def __enter__(self) -> None:
        context = self._context
        self._before = (
            context.execution_options.preserve_order,
            context.enable_progress_bars,
            logging.getLogger("ray.data").level,
        )
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        context = self._context
        order, context.enable_progress_bars, level = self._before
        context.execution_options.preserve_order = order
        logging.getLogger("ray.data").setLevel(level)
