"""The graphs of one detector."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from faceflow.arrays import Float32
from faceflow.weights import ForkSafeSession


class Graphs:
    """Named ONNX graphs ready to run on the CPU.

    Args:
        files: ONNX bytes by graph name.
        threads: CPU threads for one call; None: one per physical core.
        name: what errors call the model.

    Can be called from several threads at once, survives a fork and can be pickled.

    Raises:
        InputError: ``threads`` is below 1.
        WeightsError: ONNX Runtime refuses a graph.
    """

    def __init__(self, files: Mapping[str, bytes], threads: int | None, name: str) -> None:
        self._sessions = {
            key: ForkSafeSession(partial(bytes, data), threads=threads, name=name)
            for key, data in files.items()
        }

    def run(self, graph: str, outputs: list[str], image: Float32) -> list[Float32]:
        """Outputs of one graph for ``image`` (N, H, W, 3), its only input."""
        return self._sessions[graph].run(outputs, {"image": image})
