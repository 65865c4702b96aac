"""The SCRFD detector, from a user's own copy of a file of InsightFace.

Method: Guo, Deng, Lattas, Zafeiriou, "Sample and Computation Redistribution for Efficient Face
Detection", ICLR 2022. The layout of the files is taken from InsightFace's documentation
(python-package, model_zoo/scrfd); no real file could be tried here.
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
OUTPUTS = tuple(f"{kind}_{s}" for kind in ("score", "box", "points") for s in STRIDES)
_ANCHORS = 2  # for each cell


class ScrfdDetector:
    """Finds faces and five landmarks with SCRFD on ONNX Runtime.

    Args:
        graphs: ONNX bytes of the graph ``name`` as :func:`build_scrfd` makes them.
        name: "scrfd-10g" or "scrfd-500m".
        threads: CPU threads for one call; None: one per physical core.
        device: where it runs, from :func:`faceflow.weights.devices.resolve`.
        threshold: least score of a face.
        overlap: of two boxes with a larger intersection over union only the better is kept.
        longest: longest side in pixels at which a photo is looked at, by a file that takes any
            size.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        graphs: Mapping[str, bytes],
        name: str,
        *,
        threads: int | None = None,
        device: Device = "cpu",
        threshold: float = 0.5,
        overlap: float = 0.4,
        longest: int = 640,
    ) -> None:
        check_options(threshold, overlap, longest)
        self.name = name
        self._graphs = Graphs(graphs, threads, name, device)
        self.threshold = threshold
        self.overlap = overlap
        self.longest = longest

    def detect(self, image: UInt8) -> list[Detection]:
        """Faces of one photo, best score first; see :class:`faceflow.faces.detectors.Detector`."""
        require_image(image)
        canvas = fit(image, self.longest, size=self._graphs.size(self.name))
        values = self._graphs.run(self.name, OUTPUTS, canvas.tensor(127.5, 128.0))
        count = len(STRIDES)
        width = canvas.pixels.shape[1]
        parts = [
            decode(*values[n::count], width=width, stride=stride)
            for n, stride in enumerate(STRIDES)
        ]
        boxes, landmarks, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
        kept = np.nonzero(scores >= self.threshold)[0]
        kept = kept[suppress(boxes[kept], scores[kept], self.overlap)]
        return to_detections(canvas, boxes[kept], landmarks[kept], scores[kept], image)


def decode(
    score: Float32, box: Float32, points: Float32, *, width: int, stride: int
) -> tuple[Float64, Float64, Float64]:
    """Read the outputs of one stride for one canvas, a row of numbers for each anchor.

    A cell has two anchors, both at its corner ``(s j, s i)``; boxes are four distances from it
    to the left, top, right and bottom edge, landmarks are offsets from it, all in strides s.

    Args:
        score: (n, 1) or (1, n, 1); n = 2 * h * w anchors, row by row, a cell's together.
        box: (n, 4) or (1, n, 4).
        points: (n, 10) or (1, n, 10).
        width: of the canvas in pixels, a multiple of the stride.
        stride: canvas pixels per cell.

    Returns:
        Boxes (n, 4) x0, y0, x1, y1 and landmarks (n, 5, 2) x, y in canvas pixels; scores (n,).
    """
    scores = score.ravel().astype(np.float64)
    cells = np.arange(scores.size) // _ANCHORS
    centre = stride * np.stack([cells % (width // stride), cells // (width // stride)], axis=1)
    distances = stride * box.reshape(-1, 4).astype(np.float64)
    boxes = np.concatenate([centre - distances[:, :2], centre + distances[:, 2:]], axis=1)
    offsets = stride * points.reshape(-1, 5, 2).astype(np.float64)
    return boxes, centre[:, None] + offsets, np.clip(scores, 0, 1)
