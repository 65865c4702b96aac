"""The demo's steps: photos, gallery, thresholds, queries, reasons, page."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faceflow.demo.material import shipped_photos, split_photos
from faceflow.demo.page import demo_page
from faceflow.demo.questions import Tell, ask, thresholds_for
from faceflow.demo.results import FORMAT, DemoResult, to_json
from faceflow.errors import InputError
from faceflow.faces.detectors import Detector
from faceflow.identifier import Identifier
from faceflow.models import open_analyzer
from faceflow.networks import FaceNetwork
from faceflow.system.files import atomic_write

_LOG = logging.getLogger("faceflow")

Progress = Callable[[str, int, int], None]
"""Called with (step, done, total)."""

GALLERY, PAGE, NOTE = "people.faceflow", "index.html", "demo.json"
_FOLDERS = ("people", "queries", "flows")


def run_demo(
    photos: str | Path | None = None,
    *,
    output: str | Path = "demo-output",
    network: str | FaceNetwork | None = None,
    detector: str | Detector | None = None,
    people: int = 12,
    strangers: int = 4,
    max_queries: int = 24,
    threads: int | None = None,
    device: str | None = None,
    offline: bool = False,
    tell: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Enroll people, identify covered photos of them, and write down why.

    Of a folder of photos, everyone's last one is held out, covered (mask, sunglasses or a
    random crop, in turn) and asked about; all others are enrolled. Without one, the pictures
    that come with faceflow serve (:mod:`faceflow.demo.shipped`). For each cover a threshold is
    set on covered *enrolled* photos, such that about one in ten would pass for somebody else.

    Args:
        photos: a folder with one folder of photos per person; None takes the shipped pictures
            of people, who are not real, and of some strangers who are not enrolled.
        output: gets the gallery, covered photos, flow pictures and pages; made when missing,
            and emptied first if it is from an earlier demo.
        network, detector, threads, device, offline, tell: as for :class:`faceflow.Identifier`.
        people, strangers: how many of those who come with faceflow; there are 12 and 4.
        max_queries: at most this many queries; the rest is counted in ``left_out``.
        progress: told about each step.

    Raises:
        InputError: nobody has two photos, or ``output`` holds something else already.
        WeightsError: network weights are missing.
    """
    if max_queries < 1 or people < 2 or strangers < 0:
        raise InputError(
            f"a demo of {max_queries} queries, {people} people and {strangers} strangers",
            why="at least one query and two people are needed",
        )
    steps = _Steps(progress)
    place = Path(output)
    # First everything that can be refused, then the old output goes.
    given = None if photos is None else split_photos(Path(photos))
    analyzer = open_analyzer(
        network,
        detector,
        threads=threads,
        device=device,
        offline=offline,
        tell=tell or _LOG.warning,
    )
    _make_room(place)
    with steps.timed("photos"):
        material = given or shipped_photos(place, people=people, strangers=strangers)
    with Identifier(
        place / GALLERY,
        network=analyzer.network,
        detector=analyzer.detector,
        threads=threads,
        device=device,
    ) as identifier:
        with steps.timed("enroll"):
            enrolment = identifier.enroll(material.listing, progress=steps.of("enrolling"))
        with steps.timed("thresholds"):
            thresholds = thresholds_for(
                material.listing.photos, identifier, steps.of("setting thresholds")
            )
        asked = material.queries
        with steps.timed("identify"):
            rows = ask(asked[:max_queries], identifier, place, thresholds, steps.of("identifying"))
        options, stats = identifier.options(), identifier.gallery.stats()
    result = DemoResult(
        photos=place / "people" if photos is None else Path(photos),
        synthetic=given is None,
        output=place,
        gallery=place / GALLERY,
        page=place / PAGE,
        people=stats.people,
        faces=stats.faces,
        enrolment=enrolment,
        rows=tuple(rows),
        left_out=max(0, len(asked) - max_queries),
        thresholds=thresholds,
        options=options,
        seconds=steps.seconds,
    )
    with atomic_write(result.page) as file:
        file.write(demo_page(result).encode("utf-8"))
    with atomic_write(place / NOTE) as file:
        file.write(json.dumps(to_json(result), indent=1).encode("ascii"))
    return result


def _make_room(place: Path) -> None:
    """Make the output folder, or clear what an earlier demo left in it.

    Raises:
        InputError: it holds anything that is not a demo's.
    """
    note = place / NOTE
    try:
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            if not _is_ours(note):
                raise InputError(
                    f"{place} exists and is not from an earlier demo",
                    todo="choose another folder (--output FOLDER) or remove it",
                )
            for name in _FOLDERS:
                shutil.rmtree(place / name, ignore_errors=True)
            for name in (GALLERY, f"{GALLERY}-wal", f"{GALLERY}-shm", PAGE):
                (place / name).unlink(missing_ok=True)
        # Written first: what an interrupted demo leaves must be recognised the next time.
        with atomic_write(note) as file:
            file.write(json.dumps({"format": FORMAT, "finished": False}).encode("ascii"))
    except OSError as error:
        raise InputError(
            f"{place} cannot be written",
            why=error.strerror or str(error),
            todo="choose another folder (--output FOLDER)",
        ) from error


def _is_ours(note: Path) -> bool:
    try:
        found = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("format") == FORMAT


class _Steps:
    """Times the steps and passes progress on."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - start

    def of(self, step: str) -> Tell:
        """What a step reports to."""

        def tell(done: int, total: int) -> None:
            if self._progress is not None:
                self._progress(step, done, total)

        return tell
