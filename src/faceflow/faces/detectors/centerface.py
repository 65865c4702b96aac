"""The CenterFace detector: a heat map of faces' centres, with box and landmarks at each peak.

Method: Xu, Yan, Yang et al., "CenterFace: Joint Face Detection and Alignment Using Face as
Point", Scientific Programming 2020, arXiv:1911.03599. The network is the published one; how its
outputs are read follows the package deface 1.5.0 (deface/centerface.py, MIT licence), which
this reproduces on one scale.

How a photo is looked at is faceflow's own. The network finds faces of nearly any size, but where
it puts the landmarks shakes by some 7% of the eyes' distance with the size and the place at which
it sees a face, and a face whose query and gallery photos are aligned differently is not
recognised. So faces are found first, and each is then looked at again alone, in windows of
several sizes and in their mirror images; the mean of all its landmarks is what counts. Under real
masks that is worth more than re-ranking (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from faceflow.arrays import Float32, Float64, UInt8
from faceflow.errors import InputError
from faceflow.faces.detectors.canvas import Canvas, fit, window
from faceflow.faces.detectors.detector import Detection, require_image
from faceflow.faces.detectors.nms import intersection_over_union, suppress
from faceflow.faces.detectors.sessions import Graphs
from faceflow.weights.devices import Device

OUTPUTS = ("heat", "size", "offset", "landmarks")
_STRIDE = 4  # canvas pixels per cell of the outputs

# The second look, where the first finds nothing: (longest side, black around it).
_AGAIN = ((320, 0.25), (480, 0.0), (192, 0.25))
# Intersection over union from which a closer look's box is the box that was looked at.
_SAME_FACE = 0.3
_CLOSER = 256  # side in pixels of the canvas for one closer look
# What the five points become in a mirror: left and right as seen in the image.
_MIRRORED = np.array([1, 0, 2, 4, 3])

_Found = tuple[Float64, Float64, Float64]
"""Boxes (N, 4), landmarks (N, 5, 2) and scores (N,)."""


class CenterFaceDetector:
    """Finds faces and five landmarks with CenterFace on ONNX Runtime.

    Args:
        graphs: ONNX bytes of "centerface" as :func:`build_centerface` makes them.
        threads: CPU threads for one call; None: one per physical core.
        device: where it runs, from :func:`faceflow.weights.devices.resolve`.
        threshold: least score of a face.
        low_threshold: the same where nothing was found and the photo is looked at again, and
            in closer looks.
        overlap: of two boxes with a larger intersection over union only the better is kept.
        coarse: longest side in pixels at which every photo is looked at, small ones enlarged.
        fine: a photo of a longer side than twice ``coarse`` is looked at at its own size too,
            or at this longest side if it is larger still: that finds its small faces. Time
            grows with its square.
        windows: sides of the square windows, in sides of the face's box, in which a face is
            looked at closer, each as it is and mirrored; none: the first look's landmarks stay.
        sure: a face that no closer look sees is left out, unless its score is as much as that;
            then the first look's landmarks stay.

    Raises:
        InputError: an option is out of its range.
    """

    name = "centerface"

    def __init__(
        self,
        graphs: Mapping[str, bytes],
        *,
        threads: int | None = None,
        device: Device = "cpu",
        threshold: float = 0.3,
        low_threshold: float = 0.2,
        overlap: float = 0.3,
        coarse: int = 320,
        fine: int = 1600,
        windows: Sequence[float] = (2.0,),
        sure: float = 0.5,
    ) -> None:
        if not 0 < low_threshold <= threshold < 1:
            raise InputError(
                f"thresholds are {threshold} and {low_threshold}",
                todo="give two between 0 and 1, the lower one second",
            )
        if not (0 <= overlap <= 1 and 0 <= sure <= 1):
            raise InputError(f"overlap is {overlap}, sure {sure}", todo="give 0 to 1")
        if not 32 <= coarse <= fine <= 4096:
            raise InputError(
                f"coarse is {coarse}, fine {fine}", todo="give 32 to 4096 pixels, fine the larger"
            )
        if not all(1 <= side <= 10 for side in windows):
            raise InputError(f"windows are {list(windows)}", todo="give 1 to 10 sides of a face")
        self._graphs = Graphs(graphs, threads, self.name, device)
        self.threshold = threshold
        self.low_threshold = low_threshold
        self.overlap = overlap
        self.coarse = coarse
        self.fine = fine
        self.windows = tuple(windows)
        self.sure = sure

    def detect(self, image: UInt8) -> list[Detection]:
        """Faces of one photo, best score first; see :class:`faceflow.faces.detectors.Detector`."""
        require_image(image)
        limit = np.array(image.shape[1::-1] * 2)
        found = []
        for box, points, score in zip(*self._find(image), strict=True):
            edges = np.clip(box, 0, limit)
            landmarks = self._look_closer(image, box) if self.windows else points
            if landmarks is None and score >= self.sure:
                landmarks = points
            if landmarks is not None and (edges[:2] < edges[2:]).all():
                found.append(Detection(edges, landmarks, float(min(score, 1.0))))
        return found

    def _find(self, image: UInt8) -> _Found:
        """The faces of a photo, in its pixels, best score first."""
        longest = max(image.shape[:2])
        found = self._look(fit(image, self.coarse), self.threshold)
        if longest > 2 * self.coarse:
            larger = self._look(fit(image, min(longest, self.fine)), self.threshold)
            boxes, landmarks, scores = (
                np.concatenate(parts) for parts in zip(found, larger, strict=True)
            )
            kept = suppress(boxes, scores, self.overlap)
            found = boxes[kept], landmarks[kept], scores[kept]
        for side, margin in _AGAIN:
            if len(found[2]):
                break
            found = self._look(fit(image, side, margin=margin), self.low_threshold)
        return found

    def _look(self, canvas: Canvas, threshold: float) -> _Found:
        """The faces of one canvas, in pixels of the photo, best score first."""
        outputs = self._graphs.run(self.name, OUTPUTS, canvas.tensor())
        boxes, landmarks, scores = self._read([values[0] for values in outputs], threshold)
        corners = canvas.to_photo(boxes.reshape(-1, 2, 2))
        return corners.reshape(-1, 4), canvas.to_photo(landmarks), scores

    def _look_closer(self, image: UInt8, box: Float64) -> Float64 | None:
        """(5, 2): the mean of what windows around one face show; None where none shows it."""
        centre, side = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max()
        halves = [factor * side / 2 for factor in self.windows]
        views = [
            window(image, np.concatenate([centre - half, centre + half]), size=(_CLOSER, _CLOSER))
            for half in halves
        ]
        straight = np.concatenate([view.tensor() for view in views])
        outputs = self._graphs.run(
            self.name, OUTPUTS, np.concatenate([straight, straight[..., ::-1]])
        )
        seen = []
        for n in range(2 * len(views)):
            view, mirrored = views[n % len(views)], n >= len(views)
            boxes, points, _ = self._read([values[n] for values in outputs], self.low_threshold)
            if mirrored:
                boxes[:, [0, 2]] = _CLOSER - boxes[:, [2, 0]]
                points[..., 0] = _CLOSER - points[..., 0]
                points = points[:, _MIRRORED]
            expected = view.to_canvas(box.reshape(2, 2)).reshape(1, 4)
            agree = intersection_over_union(expected, boxes)[0]
            if len(agree) and agree.max() > _SAME_FACE:
                seen.append(view.to_photo(points[agree.argmax()]))
        return np.mean(seen, axis=0) if seen else None

    def _read(self, outputs: Sequence[Float32], threshold: float) -> _Found:
        """The faces of one canvas, in its pixels, best score first."""
        heat, size, offset, points = outputs
        boxes, landmarks, scores = decode(heat, size, offset, points, threshold=threshold)
        kept = suppress(boxes, scores, self.overlap)
        return boxes[kept], landmarks[kept], scores[kept]


def decode(
    heat: Float32, size: Float32, offset: Float32, landmarks: Float32, *, threshold: float
) -> _Found:
    """Read the network's outputs for one canvas of H x W pixels, h = H / 4, w = W / 4.

    Of cell (i, j) the face's centre is at ``x = 4 (j + offset_x + 1/2)``, likewise y; its box
    is ``4 exp(size)`` wide and high; landmarks are fractions of the box from its corner.

    Args:
        heat: (1, h, w) score of a face's centre in each cell.
        size: (2, h, w) logarithm of height and of width, in cells.
        offset: (2, h, w) of y and of x, in cells.
        landmarks: (10, h, w) y, x of five points.
        threshold: cells above it are faces.

    Returns:
        Boxes (N, 4) x0, y0, x1, y1 and landmarks (N, 5, 2) x, y in canvas pixels, and scores
        (N,), in the order of the cells, overlapping ones included.
    """
    rows, columns = np.nonzero(heat[0] > threshold)
    scores = heat[0, rows, columns].astype(np.float64)
    cells = np.stack([rows, columns]).astype(np.float64)
    # Of (height, width) and (y, x): turned round to (x, y) in the end.
    sides = _STRIDE * np.exp(np.clip(size[:, rows, columns].astype(np.float64), -10, 10))
    centre = _STRIDE * (cells + offset[:, rows, columns] + 0.5)
    corner = centre - sides / 2
    boxes = np.concatenate([corner[::-1], (corner + sides)[::-1]]).T
    points = landmarks.reshape(5, 2, *landmarks.shape[1:])[:, :, rows, columns]
    placed = points * sides + corner
    return boxes, placed[:, ::-1].transpose(2, 0, 1), scores
