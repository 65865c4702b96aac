"""68 landmarks by FAN (Bulat and Tzimiropoulos 2017) through the ``face-alignment`` package.

The published pipeline aligns with it (``data_process/align_face.py``). The package is an extra;
it brings PyTorch, finds faces with S3FD, and downloads its weights itself at first use.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, Protocol

import numpy as np

from faceflow.arrays import Float64, UInt8
from faceflow.errors import InputError, MissingExtraError, WeightsError
from faceflow.faces.detectors.detector import Detection, require_image
from faceflow.faces.landmarks import five_from_68

Mode = Literal["2d", "3d"]
# "3D" is the projection of 3-D landmarks: the package's THREE_D gives the same x and y, adds a
# depth that no alignment uses, and reads the depth network's pickle without restriction.
_LANDMARKS_TYPE = {"2d": "TWO_D", "3d": "TWO_HALF_D"}
_FILES = {
    "2d": "2DFAN4-11f355bf06.pth.tar",
    "3d": "3DFAN4-7835d9f11d.pth.tar",
}
_FACES = "s3fd-619a316812.pth"
_HOME = "https://www.adrianbulat.com/downloads/python-fan/"


class Engine(Protocol):
    """What is used of ``face_alignment.FaceAlignment``."""

    def get_landmarks_from_image(self, image: UInt8, *, return_bboxes: bool) -> Any:
        """(landmarks, scores, boxes): lists of (68, 2 or 3) and (5,), or three times None."""
        ...


class FanDetector:
    """Faces with 68 landmarks; alignment gets five of them, see :func:`five_from_68`.

    Args:
        mode: "2d" finds the visible contour, "3d" the projection of the whole head's points,
            which differs on turned faces.
        truncate: cut the five points to whole numbers as the published code does, for parity.
        engine: an object with the interface of ``face_alignment.FaceAlignment``; None makes
            one of the package's, on the CPU.

    Raises:
        InputError: another mode.
        MissingExtraError: the package is not installed.
        WeightsError: its weights are not there and cannot be downloaded.
    """

    def __init__(
        self, mode: Mode = "2d", *, truncate: bool = False, engine: Engine | None = None
    ) -> None:
        if mode not in _LANDMARKS_TYPE:
            raise InputError(f"there is no landmark mode {mode!r}", todo="choose 2d or 3d")
        self.mode = mode
        self.truncate = truncate
        self._engine = _load(mode) if engine is None else engine

    @property
    def name(self) -> str:
        """``fan-2d`` or ``fan-3d``, with ``-truncated`` where the points are."""
        return f"fan-{self.mode}" + ("-truncated" if self.truncate else "")

    def detect(self, image: UInt8) -> list[Detection]:
        """Faces of one photo, best score first; see :class:`faceflow.faces.detectors.Detector`."""
        require_image(image)
        with warnings.catch_warnings():
            # The package warns when a photo shows no face; here that is an empty list.
            warnings.simplefilter("ignore")
            landmarks, _, boxes = self._engine.get_landmarks_from_image(image, return_bboxes=True)
        found = []
        for points, box in zip(landmarks or (), boxes if boxes is not None else (), strict=True):
            detection = self._detection(np.asarray(points), np.asarray(box), image)
            if detection is not None:
                found.append(detection)
        return sorted(found, key=lambda one: -one.score)

    def _detection(self, points: Any, box: Any, image: UInt8) -> Detection | None:
        if points.ndim != 2 or points.shape[0] != 68 or points.shape[1] < 2 or box.shape != (5,):
            raise InputError(
                f"face-alignment answered {points.shape} landmarks and a box {box.shape}",
                why="(68, 2) or (68, 3), and (5,) are expected",
                todo="install a version from 1.5 on, below 2",
            )
        flat: Float64 = points[:, :2].astype(np.float64)
        limit = np.array([image.shape[1], image.shape[0]] * 2)
        edges = np.clip(box[:4].astype(np.float64), 0, limit)
        if not (np.isfinite(flat).all() and edges[0] < edges[2] and edges[1] < edges[3]):
            return None
        five = five_from_68(flat, truncate=self.truncate)
        return Detection(edges, five, float(np.clip(box[4], 1e-6, 1.0)), flat)


def _load(mode: Mode) -> Engine:
    try:
        import face_alignment
    except ImportError as error:
        raise MissingExtraError(
            "alignment by FAN needs the package face-alignment",
            why=str(error),
            todo="run `pip install 'faceflow[fan]'`, or use the alignment mtcnn",
        ) from error
    kind = getattr(face_alignment.LandmarksType, _LANDMARKS_TYPE[mode], None)
    if kind is None:
        raise MissingExtraError(
            "the installed face-alignment is too old",
            todo="run `pip install 'face-alignment>=1.5'`",
        )
    try:
        engine: Engine = face_alignment.FaceAlignment(kind, device="cpu", compile=False)
    except Exception as error:  # urllib, torch and pickle raise many unrelated types
        reason = str(error) or type(error).__name__
        raise WeightsError(
            "FAN cannot load its weights",
            why=f"the package face-alignment says: {reason.splitlines()[0]}",
            todo=f"fetch {_FILES[mode]} and {_FACES} from {_HOME} into the folder "
            "hub/checkpoints of TORCH_HOME (~/.cache/torch), or use the alignment mtcnn",
        ) from error
    return engine
