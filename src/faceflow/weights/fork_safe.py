"""An ONNX session that survives a fork and can be pickled."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from faceflow.system.threads import check_threads
from faceflow.weights.devices import Device

if TYPE_CHECKING:
    from faceflow.weights.session import Session

_LEFT_BY_FORKS: list[Session] = []
_ALONE: ContextVar[bool] = ContextVar("faceflow_calling_thread_alone", default=False)


@contextlib.contextmanager
def calling_thread_alone() -> Iterator[None]:
    """Inside, sessions on the CPU work on the calling thread alone.

    For who runs several calls side by side, each on a thread of its own: that keeps all cores
    busy without the time that threads lose waiting for each other inside a call. What comes out
    is the same.
    """
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


class ForkSafeSession:
    """A graph ready to run, in this process or a copy of it.

    Args:
        read_graph: gives the ONNX bytes. Called now, and again when a second session is needed:
            for callers on one thread beside those on all, and in a process this object is moved to
            by a fork or a pickle (for which it must be picklable itself).
        threads: CPU threads for one call; None: one per physical core.
        name: what errors call the model.
        device: where it runs, from :func:`faceflow.weights.devices.resolve`.

    Safe to use from several threads at once. The graph is opened by the first call. (A process
    made by a bare ``os.fork`` must leave by ``os._exit``, as multiprocessing's do: ONNX Runtime
    hangs at the ordinary exit of a fork, used or not.)

    Raises:
        InputError: ``threads`` is below 1.
    """

    def __init__(
        self,
        read_graph: Callable[[], bytes],
        *,
        threads: int | None = None,
        name: str = "model",
        device: Device = "cpu",
    ) -> None:
        check_threads(threads)
        self._read_graph = read_graph
        self._threads = threads
        self._name = name
        self._device = device
        self._graph: bytes | None = read_graph()
        self._opened: dict[int | None, tuple[Session, int]] = {}

    def __reduce__(self) -> tuple[Callable[..., ForkSafeSession], tuple[Any, ...]]:
        return _restored, (self._read_graph, self._threads, self._name, self._device)

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Any]) -> list[Any]:
        """The named outputs for the named inputs, as ONNX Runtime gives them.

        Raises:
            WeightsError: ONNX Runtime refuses the graph.
            DeviceError: it does not run the graph on the device.
        """
        results: list[Any] = self._here().run(list(outputs), dict(inputs))
        return results

    def get_inputs(self) -> list[Any]:
        """What the graph takes: name, type and shape of each input. Raises as :meth:`run`."""
        inputs: list[Any] = self._here().get_inputs()
        return inputs

    def _here(self) -> Session:
        threads = 1 if _ALONE.get() and self._device == "cpu" else self._threads
        found = self._opened.get(threads)
        if found is None or found[1] != os.getpid():
            with _opening:
                found = self._open(threads)
        return found[0]

    def _open(self, threads: int | None) -> tuple[Session, int]:
        found = self._opened.get(threads)
        if found is not None and found[1] == os.getpid():  # another thread was faster
            return found
        # A fork copies sessions but not their threads: using one, and even freeing it, would wait
        # for them for ever. So they are kept, unused, and others are opened.
        left = [key for key, (_, process) in self._opened.items() if process != os.getpid()]
        _LEFT_BY_FORKS.extend(self._opened.pop(key)[0] for key in left)
        from faceflow.weights.session import open_session  # loads ONNX Runtime

        graph = self._read_graph() if self._graph is None else self._graph
        session = open_session(graph, threads=threads, name=self._name, device=self._device)
        self._opened[threads] = opened = session, os.getpid()
        self._graph = None  # some networks have hundreds of megabytes
        return opened


def _restored(
    read_graph: Callable[[], bytes], threads: int | None, name: str, device: Device
) -> ForkSafeSession:
    return ForkSafeSession(read_graph, threads=threads, name=name, device=device)


def _renew() -> None:
    """A lock that another thread held at a fork is never given back in the copy."""
    global _opening
    _opening = threading.Lock()


_opening = threading.Lock()
"""Held while a session is opened, so that many threads that want one open one."""
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew)
