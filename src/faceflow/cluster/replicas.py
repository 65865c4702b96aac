"""Shards and their replicas: who is asked, and what happens when one does not answer.

A replica answers through a future. Whatever a future raises means that the replica is not there;
what went wrong in the work itself comes back as a value (:func:`answer`), because asking another
would not help. Nothing is repeated that one has answered, and nothing is written through here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from faceflow.cluster.part import Part
from faceflow.errors import FaceflowError, IncompleteGalleryError, UnreachableGalleryError

PATIENCE = 1.0
"""Seconds after which another replica is asked as well."""
TIMEOUT = 60.0
"""Seconds after which a shard counts as gone."""
_SHY = 10.0
"""Seconds for which a replica that failed is asked last."""


class Reply(NamedTuple):
    """What a replica answered: a value, or the error that the work ended with."""

    value: Any
    error: Exception | None = None


def answer(part: Part, method: str, args: Sequence[Any], more: Mapping[str, Any]) -> Reply:
    """Ask a part; its errors come back as values."""
    try:
        return Reply(getattr(part, method)(*args, **more))
    except FaceflowError as error:
        return Reply(None, error.with_traceback(None))
    except Exception as error:  # a bug: told to whoever asked, with its kind and text
        return Reply(None, RuntimeError(f"{type(error).__name__} in a shard: {error}"))


class Replica(Protocol):
    """One copy of a shard, wherever it is."""

    @property
    def name(self) -> str:
        """To tell it from others in messages."""

    def ask(self, method: str, args: Sequence[Any], more: Mapping[str, Any]) -> Future[Reply]:
        """Start a method of its :class:`faceflow.cluster.part.Part`."""


class Here:
    """A replica in this process, which answers at once."""

    def __init__(self, name: str, part: Part) -> None:
        self.name = name
        self.part = part

    def ask(self, method: str, args: Sequence[Any], more: Mapping[str, Any]) -> Future[Reply]:
        """See :class:`Replica`."""
        future: Future[Reply] = Future()
        future.set_result(answer(self.part, method, args, more))
        return future


@dataclass(frozen=True, slots=True)
class Ask:
    """A method of a part, and its arguments."""

    method: str
    args: tuple[Any, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


class Shards:
    """All shards of a gallery, each with its replicas. Any number of threads may ask.

    Args:
        groups: for each shard its replicas, at least one.
        patience: seconds after which another replica is asked as well.
        timeout: seconds after which a shard counts as gone.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Replica]],
        *,
        patience: float = PATIENCE,
        timeout: float = TIMEOUT,
    ) -> None:
        assert groups
        assert all(groups)
        self._groups: list[list[Replica]] = [list(group) for group in groups]
        self._patience = patience
        self._timeout = timeout
        self._turn = 0
        self._shy: dict[tuple[int, int], float] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def groups(self) -> list[list[Replica]]:
        """For each shard its replicas."""
        return self._groups

    def ask(self, asks: Mapping[int, Ask]) -> dict[int, Any]:
        """Ask some shards side by side, one replica each, and others where one fails or is slow.

        Returns:
            Shard -> value; of shards that have no replica left an IncompleteGalleryError, or an
            UnreachableGalleryError where all that is missing is the gallery's server.

        Raises:
            FaceflowError: the work itself failed.
        """
        pending: dict[Future[Reply], tuple[int, int]] = {}
        waiting = {shard: self._order(shard) for shard in asks}
        troubles: dict[int, UnreachableGalleryError] = {}
        found: dict[int, Any] = {}
        now = time.monotonic()
        impatient = dict.fromkeys(asks, now + self._patience)
        deadline = now + self._timeout

        def start(shard: int) -> None:
            """Ask the next replica, if there is one."""
            while waiting[shard]:
                replica = waiting[shard].pop(0)
                try:
                    one = asks[shard]
                    future = self._groups[shard][replica].ask(one.method, one.args, one.more)
                except Exception:  # it could not even be asked
                    self._failed(shard, replica)
                    continue
                pending[future] = (shard, replica)
                impatient[shard] = time.monotonic() + self._patience
                return

        for shard in asks:
            start(shard)
        while True:
            busy = {shard for shard, _ in pending.values()} - found.keys()
            if not busy or time.monotonic() >= deadline:
                break
            hurry = min([deadline, *(impatient[shard] for shard in busy if waiting[shard])])
            done, _ = wait(pending, max(0.0, hurry - time.monotonic()), FIRST_COMPLETED)
            for future in done:
                shard, replica = pending.pop(future)
                reply = _reply(future)
                if reply is not None and isinstance(reply.error, UnreachableGalleryError):
                    troubles[shard] = reply.error
                    start(shard)
                elif reply is None:
                    self._failed(shard, replica)
                    start(shard)
                elif shard not in found:
                    if reply.error is not None:
                        raise reply.error
                    found[shard] = reply.value
            now = time.monotonic()
            for shard in busy - found.keys():
                if waiting[shard] and now >= impatient[shard]:
                    start(shard)
        for future, (shard, replica) in pending.items():
            if shard not in found and not future.done():
                self._failed(shard, replica)
        for shard in asks.keys() - found.keys():
            found[shard] = troubles.get(shard) or self._gone(shard)
        return found

    def tell(self, ask: Ask) -> dict[str, FaceflowError | Any]:
        """Ask every replica of every shard, side by side; name -> value or error."""
        futures: dict[str, Future[Reply] | None] = {}
        for group in self._groups:
            for replica in group:
                try:
                    futures[replica.name] = replica.ask(ask.method, ask.args, ask.more)
                except Exception:  # it could not even be asked
                    futures[replica.name] = None
        wait([future for future in futures.values() if future is not None], self._timeout)
        found: dict[str, Any] = {}
        for name, future in futures.items():
            reply = _reply(future) if future is not None and future.done() else None
            if reply is None:
                found[name] = IncompleteGalleryError(f"{name} does not answer")
            else:
                found[name] = reply.value if reply.error is None else reply.error
        return found

    def _order(self, shard: int) -> list[int]:
        """Replicas in the order to ask: in turn, those that failed of late last."""
        with self._lock:
            self._turn += 1
            n = len(self._groups[shard])
            order = [(self._turn + i) % n for i in range(n)]
            now = time.monotonic()
            return sorted(order, key=lambda replica: self._shy.get((shard, replica), 0) > now)

    def _failed(self, shard: int, replica: int) -> None:
        with self._lock:
            self._shy[shard, replica] = time.monotonic() + _SHY

    def _gone(self, shard: int) -> IncompleteGalleryError:
        return IncompleteGalleryError(
            f"shard {shard} of {len(self)} does not answer, so the gallery is incomplete",
            why="its machine or process is gone, or still loading",
            todo="try again in some seconds, see `faceflow cluster status`, or ask for answers "
            "from the other shards alone (--allow-partial)",
        )


def _reply(future: Future[Reply]) -> Reply | None:
    """A future's reply; None where the replica is gone."""
    try:
        return future.result(timeout=0)
    except Exception:
        return None
