"""The graphs of one detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from faceflow.arrays import Float32
from faceflow.weights import ForkSafeSession
from faceflow.weights.devices import Device


class Graphs:
    """Named ONNX graphs ready to run.

    Args:
        files: ONNX bytes by graph name.
        threads: CPU threads for one call; None: one per physical core.
        name: what errors call the model.
        device: where they run, from :func:`faceflow.weights.devices.resolve`.

    Can be called from several threads at once, survives a fork and can be pickled.

    Raises:
        InputError: ``threads`` is below 1.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        threads: int | None,
        name: str,
        device: Device = "cpu",
    ) -> None:
        self._sessions = {
            key: ForkSafeSession(partial(bytes, data), threads=threads, name=name, device=device)
            for key, data in files.items()
        }

    def run(self, graph: str, outputs: Sequence[str], image: Float32) -> list[Float32]:
        """Outputs of one graph for ``image``, its only input."""
        return self._sessions[graph].run(outputs, {"image": image})

    def size(self, graph: str) -> tuple[int, int] | None:
        """(H, W) of pictures (N, 3, H, W) that a graph is fixed to; None when it takes any."""
        _, _, height, width = self._sessions[graph].get_inputs()[0].shape
        if isinstance(height, int) and isinstance(width, int):
            return height, width
        return None
