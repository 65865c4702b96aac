"""Find faces and their five landmarks in photos."""

from __future__ import annotations

from faceflow.errors import InputError
from faceflow.faces.detectors.detector import Detection, Detector
from faceflow.faces.detectors.fan import FanDetector
from faceflow.faces.detectors.models import MTCNN
from faceflow.faces.detectors.mtcnn import MtcnnDetector
from faceflow.weights import ModelFile, load_graphs

DEFAULT = "mtcnn"
ALIGNMENTS = ("mtcnn", "fan-2d", "fan-3d")
"""Names of the detectors, and of the alignments that follow from their landmarks."""
MODELS: tuple[ModelFile, ...] = (MTCNN,)
"""The detectors as the model registry sees them."""


def load_detector(name: str = DEFAULT, *, threads: int | None = None) -> Detector:
    """Load a detector from the cache.

    Args:
        name: one of :data:`ALIGNMENTS`: "mtcnn", or "fan-2d" and "fan-3d", which need an extra.
        threads: CPU threads for one call; None: one per physical core.

    Raises:
        InputError: unknown name, or ``threads`` below 1.
        WeightsError: not pulled yet or damaged; the error holds the command to run.
        MissingExtraError: FAN is asked for and its package is not installed.
    """
    check_alignment(name)
    if name == MTCNN.name:
        return MtcnnDetector(load_graphs(MTCNN), threads=threads)
    return FanDetector("2d" if name == "fan-2d" else "3d")


def check_alignment(name: str) -> None:
    """Raise :class:`InputError`, listing the known, unless there is an alignment of that name."""
    if name not in ALIGNMENTS:
        raise InputError(
            f"there is no detector or alignment {name!r}",
            todo=f"choose one of {', '.join(ALIGNMENTS)}",
        )


def alignment_of(detector: Detector) -> str:
    """The alignment that a detector's landmarks give, which a gallery remembers.

    FAN's are called as the detector; every other detector that finds five points itself, one
    of your own too, counts as "mtcnn".
    """
    return detector.name if detector.name.startswith("fan-") else DEFAULT


__all__ = [
    "ALIGNMENTS",
    "DEFAULT",
    "MODELS",
    "Detection",
    "Detector",
    "FanDetector",
    "MtcnnDetector",
    "alignment_of",
    "check_alignment",
    "load_detector",
]
