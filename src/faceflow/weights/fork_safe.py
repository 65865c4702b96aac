"""An ONNX session that survives a fork and can be pickled."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime

_LEFT_BY_FORKS: list[onnxruntime.InferenceSession] = []


class ForkSafeSession:
    """A graph ready to run on the CPU, in this process or a copy of it.

    Args:
        read_graph: gives the ONNX bytes. Called now, and again in a process this object is
            moved to by a fork or a pickle (for which it must be picklable itself).
        threads: CPU threads for one call; None: one per physical core.
        name: what errors call the model.

    Safe to use from several threads at once. (A process made by a bare ``os.fork`` must leave
    by ``os._exit``, as multiprocessing's do: ONNX Runtime hangs at the ordinary exit of a fork,
    used or not.)

    Raises:
        InputError: ``threads`` is below 1.
        WeightsError: ONNX Runtime refuses the graph.
    """

    def __init__(
        self, read_graph: Callable[[], bytes], *, threads: int | None = None, name: str = "model"
    ) -> None:
        self._read_graph = read_graph
        self._threads = threads
        self._name = name
        self._opened = self._open()

    def __reduce__(self) -> tuple[Callable[..., ForkSafeSession], tuple[Any, ...]]:
        return _restored, (self._read_graph, self._threads, self._name)

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Any]) -> list[Any]:
        """The named outputs for the named inputs, as ONNX Runtime gives them."""
        results: list[Any] = self._here().run(list(outputs), dict(inputs))
        return results

    def get_inputs(self) -> list[Any]:
        """What the graph takes: name, type and shape of each input."""
        inputs: list[Any] = self._here().get_inputs()
        return inputs

    def _here(self) -> onnxruntime.InferenceSession:
        session, process = self._opened
        if process != os.getpid():
            # A fork copies the session but not its threads: using it, and even freeing it,
            # would wait for them for ever. So it is kept, unused, and another is opened.
            _LEFT_BY_FORKS.append(session)
            self._opened = session, _ = self._open()
        return session

    def _open(self) -> tuple[onnxruntime.InferenceSession, int]:
        from faceflow.weights.session import open_session  # loads ONNX Runtime

        graph = self._read_graph()
        return open_session(graph, threads=self._threads, name=self._name), os.getpid()


def _restored(read_graph: Callable[[], bytes], threads: int | None, name: str) -> ForkSafeSession:
    return ForkSafeSession(read_graph, threads=threads, name=name)
