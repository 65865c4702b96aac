"""The graphs of one detector, opened when first needed, in this process or a copy of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from faceflow.arrays import Float32

if TYPE_CHECKING:
    import onnxruntime


class Graphs:
    """Named ONNX graphs ready to run on the CPU.

    Args:
        files: ONNX bytes by graph name.
        threads: CPU threads for one call; None: one per physical core.
        name: what errors call the model.

    Can be called from several threads at once, survives a fork and can be pickled: a copy in
    another process opens the graphs anew.

    Raises:
        InputError: ``threads`` is below 1.
        WeightsError: ONNX Runtime refuses a graph.
    """

    def __init__(self, files: Mapping[str, bytes], threads: int | None, name: str) -> None:
        self._arguments = (dict(files), threads, name)
        self._sessions, self._process = self._open(), os.getpid()

    def __reduce__(self) -> tuple[type[Graphs], tuple[Any, ...]]:
        return Graphs, self._arguments

    def run(self, graph: str, outputs: list[str], image: Float32) -> list[Float32]:
        """Outputs of one graph for ``image`` (N, H, W, 3), its only input."""
        if self._process != os.getpid():
            # A fork copies the sessions but not their threads; using them would wait for ever.
            self._sessions, self._process = self._open(), os.getpid()
        results: list[Float32] = self._sessions[graph].run(outputs, {"image": image})
        return results

    def _open(self) -> dict[str, onnxruntime.InferenceSession]:
        from faceflow.weights.session import open_session  # loads ONNX Runtime

        files, threads, name = self._arguments
        return {key: open_session(data, threads=threads, name=name) for key, data in files.items()}
