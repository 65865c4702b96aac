"""A shard in a process of its own: what Ray starts, restarts and calls."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceflow.cluster.part import Hold, Part
from faceflow.cluster.replicas import Reply, answer
from faceflow.errors import FaceflowError
from faceflow.gallery.stores.opening import open_store


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a replica is.

    Attributes:
        host, node, pid: machine, Ray's id of it, process.
        authenticated: whether Ray asks for a token there.
        resident: bytes of memory that the process takes; 0 where that is not known.
    """

    host: str
    node: str
    pid: int
    authenticated: bool
    resident: int


class ShardActor:
    """One replica of a shard. It begins to load as soon as it is started, by us or again by Ray."""

    def __init__(self, location: str, shard: int, shards: int, hold: Hold) -> None:
        self._location = location
        self._which = (shard, shards, hold)
        self._part: Part | None = None
        self._lock = threading.Lock()
        self._asked = 0
        self._draining = False
        threading.Thread(target=self._warm, daemon=True).start()

    def ask(self, method: str, args: Sequence[Any], more: Mapping[str, Any]) -> Reply:
        """Call a method of the part."""
        if self._draining:
            raise RuntimeError("this replica is being drained")
        self._asked += 1
        try:
            return answer(self._opened(), method, args, more)
        except FaceflowError as error:
            return Reply(None, error.with_traceback(None))
        finally:
            self._asked -= 1

    def whereabouts(self) -> Whereabouts:
        """Where this is."""
        import ray

        return Whereabouts(
            socket.gethostname(),
            ray.get_runtime_context().get_node_id(),
            os.getpid(),
            os.environ.get("RAY_AUTH_MODE", "").lower() == "token",
            _resident(),
        )

    def drain(self, seconds: float) -> bool:
        """Take no more questions and finish those under way; whether that came to an end."""
        self._draining = True
        deadline = time.monotonic() + seconds
        while self._asked and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self._asked

    def _opened(self) -> Part:
        with self._lock:
            if self._part is None:
                shard, shards, hold = self._which
                store = open_store(self._location, readonly=True)
                self._part = Part(store, shard, shards, hold=hold)
            return self._part

    def _warm(self) -> None:
        # What goes wrong is told to whoever asks first.
        with contextlib.suppress(FaceflowError):
            self._opened().catch_up()


class RayReplica:
    """A :class:`ShardActor` as a :class:`faceflow.cluster.replicas.Replica`."""

    def __init__(self, name: str, actor: Any) -> None:
        self.name = name
        self.actor = actor

    def ask(self, method: str, args: Sequence[Any], more: Mapping[str, Any]) -> Future[Reply]:
        """See :class:`faceflow.cluster.replicas.Replica`."""
        future: Future[Reply] = self.actor.ask.remote(method, args, more).future()
        return future


class NoReplica:
    """In the place of a replica that nobody has started."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ask(self, method: str, args: Sequence[Any], more: Mapping[str, Any]) -> Future[Reply]:
        """Always in vain."""
        raise LookupError(f"{self.name} was not started")


def _resident() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
