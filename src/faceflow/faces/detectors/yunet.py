"""The YuNet detector, from a user's own copy of its ONNX file.

Method: Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence
Research 20, 2023. OpenCV reads such a file too (cv2.FaceDetectorYN, Apache 2.0); here ONNX
Runtime runs it, as every other model, because OpenCV's own reader of ONNX would be one more
parser to trust with a stranger's file. The tests compare both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from faceflow.arrays import Float32, Float64, UInt8
from faceflow.faces.detectors.canvas import check_options, fit
from faceflow.faces.detectors.detector import Detection, require_image, to_detections
from faceflow.faces.detectors.nms import suppress
from faceflow.faces.detectors.sessions import Graphs
from faceflow.weights.devices import Device

STRIDES = (8, 16, 32)
OUTPUTS = tuple(f"{kind}_{s}" for kind in ("cls", "obj", "bbox", "kps") for s in STRIDES)


class YuNetDetector:
    """Finds faces and five landmarks with YuNet on ONNX Runtime.

    Args:
        graphs: ONNX bytes of "yunet" as :func:`build_yunet` makes them.
        threads: CPU threads for one call; None: one per physical core.
        device: where it runs, from :func:`faceflow.weights.devices.resolve`.
        threshold: least score of a face.
        overlap: of two boxes with a larger intersection over union only the better is kept.
        longest: longest side in pixels at which a photo is looked at, by a file that takes any
            size; the published one takes 640 x 640 only.

    Raises:
        InputError: an option is out of its range.
    """

    name = "yunet"

    def __init__(
        self,
        graphs: Mapping[str, bytes],
        *,
        threads: int | None = None,
        device: Device = "cpu",
        threshold: float = 0.6,
        overlap: float = 0.3,
        longest: int = 640,
    ) -> None:
        check_options(threshold, overlap, longest)
        self._graphs = Graphs(graphs, threads, self.name, device)
        self.threshold = threshold
        self.overlap = overlap
        self.longest = longest

    def detect(self, image: UInt8) -> list[Detection]:
        """Faces of one photo, best score first; see :class:`faceflow.faces.detectors.Detector`."""
        require_image(image)
        canvas = fit(image, self.longest, size=self._graphs.size(self.name))
        # The network was trained on OpenCV's order of colours.
        pixels = np.ascontiguousarray(canvas.tensor()[:, ::-1])
        values = self._graphs.run(self.name, OUTPUTS, pixels)
        width = canvas.pixels.shape[1]
        parts = [
            decode(*(values[3 * kind + n] for kind in range(4)), width=width, stride=stride)
            for n, stride in enumerate(STRIDES)
        ]
        boxes, landmarks, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
        kept = np.nonzero(scores >= self.threshold)[0]
        kept = kept[suppress(boxes[kept], scores[kept], self.overlap)]
        return to_detections(canvas, boxes[kept], landmarks[kept], scores[kept], image)


def decode(
    cls: Float32, obj: Float32, bbox: Float32, kps: Float32, *, width: int, stride: int
) -> tuple[Float64, Float64, Float64]:
    """Read the outputs of one stride for one canvas, a row of numbers for each cell.

    The score is the geometric mean of both kinds. Of cell (i, j) and stride s the box's centre is
    at ``x = s (j + bbox_0)``, ``y = s (i + bbox_1)``, its sides are ``s exp(bbox_2)`` and ``s
    exp(bbox_3)``, and landmark k is at ``s (j + kps_2k)``, ``s (i + kps_2k+1)``.

    Args:
        cls, obj: (1, n, 1) or (n,) scores; n = h * w cells, row by row.
        bbox: (1, n, 4).
        kps: (1, n, 10).
        width: of the canvas in pixels, a multiple of the stride.
        stride: canvas pixels per cell.

    Returns:
        Boxes (n, 4) x0, y0, x1, y1 and landmarks (n, 5, 2) x, y in canvas pixels; scores (n,).
    """
    product = np.clip(cls.ravel(), 0, 1).astype(np.float64) * np.clip(obj.ravel(), 0, 1)
    cells = np.arange(product.size)
    corner = np.stack([cells % (width // stride), cells // (width // stride)], axis=1)
    flat = bbox.reshape(-1, 4).astype(np.float64)
    centre = stride * (corner + flat[:, :2])
    half = stride * np.exp(np.clip(flat[:, 2:], -10, 10)) / 2
    placed = np.asarray(stride * (corner[:, None] + kps.reshape(-1, 5, 2)), dtype=np.float64)
    return np.concatenate([centre - half, centre + half], axis=1), placed, np.sqrt(product)
