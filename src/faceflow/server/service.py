"""The parts of a running service, put together once and handed to every route."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from faceflow.errors import FaceflowError, GalleryError
from faceflow.gallery import Gallery, PersonInfo
from faceflow.server import schemas
from faceflow.server.audit import Audit
from faceflow.server.cases import Cases
from faceflow.server.cursors import Cursors
from faceflow.server.deletions import Deletions
from faceflow.server.engine import Analyzers, Engine
from faceflow.server.idempotency import Repetitions
from faceflow.server.ids import person_id, person_number
from faceflow.server.jobs import Jobs, Runner
from faceflow.server.keys import Keys
from faceflow.server.limits import CurrentLimits, Rates
from faceflow.server.marks import Marks
from faceflow.server.metrics import Counts, Metrics
from faceflow.server.people import Consents, Merges
from faceflow.server.problems import Problem, not_found
from faceflow.server.searches import Searches
from faceflow.server.sessions import Sessions
from faceflow.server.settings import ServerSettings
from faceflow.server.state import State

log = logging.getLogger("faceflow.server")

P = ParamSpec("P")
R = TypeVar("R")

COUNT_SECONDS = 10.0
"""After which a worker's counts are found by the others; so much is lost when it is killed."""
SWEEP_SECONDS = 3600.0
"""Between two looks for people whose time is over."""


class Service:
    """Everything that routes use.

    Args:
        settings: what the service was told.
        analyzers: see :class:`faceflow.server.engine.Engine`.

    Raises:
        GalleryError: the state file cannot be used.
    """

    def __init__(self, settings: ServerSettings, analyzers: Analyzers | None = None) -> None:
        self.settings = settings
        self.state = State(settings.state_path)
        self.keys = Keys(self.state)
        self.audit = Audit(self.state)
        self.cursors = Cursors(self.state)
        self.metrics = Metrics()
        self.limits = CurrentLimits(self.state, settings.limits)
        self.rates = Rates(self.limits)
        self.engine = Engine(settings, self.limits, analyzers)
        self.repetitions = Repetitions(self.state)
        self.sessions = Sessions(self.state, self.keys)
        self.cases = Cases(self.state, self.audit)
        self.searches = Searches(self.state, self.limits)
        self.marks = Marks(self.state)
        self.consents = Consents(self.state)
        self.merges = Merges(self.state)
        self.deletions = Deletions(self.state, self.audit, self.engine, self.consents)
        self.jobs = Jobs(self.state)
        self.runner = Runner(self.state, self.audit, self.engine)
        self.ready = False
        self.stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # Life

    async def start(self) -> None:
        """Take up what was left, and load networks while the first requests come."""
        self.stopping = asyncio.Event()
        self.runner.start()
        warming = asyncio.create_task(self._warm())
        self._tasks = [warming, asyncio.create_task(self._sweeping())]
        if self.settings.workers > 1:
            self._tasks.append(asyncio.create_task(self._counting()))
            # The others answer meanwhile; at the first start, clients wait in the line.
            await warming

    async def stop(self) -> None:
        """Finish what runs and let go of everything."""
        self.ready = False
        self.stopping.set()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await run_in_threadpool(self.runner.stop)
        await run_in_threadpool(self.engine.close)
        if self.settings.workers > 1:
            with contextlib.suppress(FaceflowError):
                await run_in_threadpool(self.metrics.leave, self.state, self.gauges())
        self.state.close()

    async def _warm(self) -> None:
        try:
            await run_in_threadpool(self.deletions.resume)
        except FaceflowError as error:
            log.error("a deletion cannot be finished now: %s", type(error).__name__)
        await run_in_threadpool(self.engine.warm)
        self.ready = True

    async def _counting(self) -> None:
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            try:
                await run_in_threadpool(self.metrics.leave, self.state, self.gauges())
            except FaceflowError as error:
                log.error("counts cannot be kept now: %s", type(error).__name__)

    async def _sweeping(self) -> None:
        while True:
            try:
                await run_in_threadpool(self.sweep)
            except FaceflowError as error:
                log.error("sweeping failed: %s", type(error).__name__)
            await asyncio.sleep(SWEEP_SECONDS)

    def sweep(self, gallery: str | None = None, actor: str = "service") -> schemas.Sweep:
        """Delete people whose time is over, and forget searches whose time is.

        Args:
            gallery: only there; None: everywhere.
            actor: who asked.
        """
        done, held = [], []
        for name, number, on_hold in self.consents.expired(gallery, datetime.now(UTC)):
            if on_hold:
                held.append(schemas.PersonRef(id=person_id(number), name=None))
                continue
            try:
                reason = "the time for which the person was to be kept is over"
                identity = self.deletions.person(name, number, actor=actor, reason=reason)
            except Problem:  # another process was first, or the gallery is gone
                continue
            done.append(self.deletions.certificate(name, identity))
        with self.state.writing() as connection:
            forgotten = Searches.sweep(connection)
        if forgotten:
            self.state.erase()
        return schemas.Sweep(certificates=done, held=held)

    # What routes share

    async def compute(
        self, function: Callable[P, R], /, *arguments: P.args, **named: P.kwargs
    ) -> R:
        """The function's answer from one of the threads for work; 429 when too much waits."""
        return await self.engine.computing.run(function, *arguments, **named)

    def gallery(self, name: str) -> Gallery:
        """The gallery of that name. Raises a problem, 404."""
        return self.engine.gallery(name)

    def person(self, gallery: str, identity: str) -> PersonInfo:
        """The person of that id. Raises a problem, 404."""
        try:
            return self.gallery(gallery).person(person_number(identity))
        except GalleryError:
            raise not_found(f"person {identity[:40]!r}") from None

    def counts(self) -> Counts:
        """What was answered, by all workers, and numbers of now."""
        if self.settings.workers == 1:
            return self.metrics.counts(self.gauges())
        return self.metrics.of_all(self.state, self.gauges())

    def gauges(self) -> dict[str, tuple[str, float]]:
        """Numbers of now, for metrics."""
        computing, decoders = self.engine.computing, self.engine.decoders
        return {
            "faceflow_ready": ("Processes whose networks are loaded.", float(self.ready)),
            "faceflow_computing": ("Photos being worked on or waiting.", float(computing.taken)),
            "faceflow_refused_total": ("Photos refused as too many.", float(computing.refused)),
            "faceflow_decoder_deaths_total": (
                "Processes that a photo ended.",
                float(decoders.deaths),
            ),
        }


def service_of(request: Request) -> Service:
    """The service behind a request; a dependency."""
    service: Any = request.app.state.service
    assert isinstance(service, Service)
    return service
