"""Find faces and their five landmarks in photos."""

from __future__ import annotations

from faceflow.detection.detector import Detection, Detector
from faceflow.detection.models import MTCNN
from faceflow.detection.mtcnn import MtcnnDetector
from faceflow.errors import InputError
from faceflow.weights import ModelFile, load_graphs

DEFAULT = "mtcnn"
MODELS: tuple[ModelFile, ...] = (MTCNN,)
"""The detectors as the model registry sees them."""


def load_detector(name: str = DEFAULT, *, threads: int | None = None) -> Detector:
    """Load a detector from the cache.

    Args:
        name: "mtcnn".
        threads: CPU threads for one call; None: one per physical core.

    Raises:
        InputError: unknown name, or ``threads`` below 1.
        WeightsError: not pulled yet or damaged; the error holds the command to run.
    """
    if name != MTCNN.name:
        raise InputError(f"there is no detector {name!r}", todo=f"choose {MTCNN.name}")
    return MtcnnDetector(load_graphs(MTCNN), threads=threads)


__all__ = ["DEFAULT", "MODELS", "Detection", "Detector", "MtcnnDetector", "load_detector"]
