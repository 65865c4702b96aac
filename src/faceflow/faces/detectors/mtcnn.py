"""The MTCNN detector: three small networks, each looking closer at what the last one kept.

Method: Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks", IEEE Signal Processing Letters 23(10), 2016. Weights, thresholds and the
arithmetic of the boxes are those of facenet-pytorch 2.6.0 (models/utils/detect_face.py, MIT
licence), whose results this reproduces, with one difference. Of a box that reaches beyond the
photo the networks see black there, as in the paper's own code; facenet-pytorch stretches the
part inside to the full square but places the landmarks as if it had not, which moves them by a
third of the eyes' distance on photos cropped close to the face.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from faceflow.arrays import Float32, Float64, UInt8
from faceflow.errors import InputError
from faceflow.faces.detectors.area import MAX_PIXELS, AreaSampler
from faceflow.faces.detectors.detector import Detection, require_image
from faceflow.faces.detectors.nms import suppress
from faceflow.faces.detectors.sessions import Graphs

_CELL = 12  # the first network sees squares of 12 pixels,
_STRIDE = 2  # one every 2 pixels

# The second look. On the 265 masked faces of ROF it finds 55 of the 68 the first one misses.
_MARGIN = 0.25  # of the side it lies along
_LOW = 0.4
_LARGEST = int(MAX_PIXELS / (1 + 2 * _MARGIN) ** 2)

_Found = tuple[Float64, Float64, Float32]
"""Boxes (N, 4) in MTCNN's own counting, landmarks (N, 5, 2) and scores (N,)."""


class MtcnnDetector:
    """Finds faces and five landmarks with MTCNN on ONNX Runtime.

    Args:
        graphs: ONNX bytes of "pnet", "rnet" and "onet" as :func:`build_mtcnn` makes them.
        threads: CPU threads for one call; None: one per physical core.
        min_face: side in pixels of the smallest face looked for; time falls with its square.
        thresholds: least score to pass each of the three networks.
        factor: ratio of one pyramid scale to the one before.
        max_pixels: a photo of more pixels is first scaled down to that many; ``min_face`` then
            counts in the smaller photo. Boxes and landmarks still come in the photo's own pixels.
        retry: where nothing was found, look once more with black around the photo and lower
            thresholds. Photos cropped close to the face, and covered faces, need it.

    Raises:
        InputError: an option is out of its range.
    """

    name = "mtcnn"

    def __init__(
        self,
        graphs: Mapping[str, bytes],
        *,
        threads: int | None = None,
        min_face: float = 20.0,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
        max_pixels: int = 1_500_000,
        retry: bool = True,
    ) -> None:
        if not min_face >= 1:
            raise InputError(f"min_face is {min_face}", todo="give 1 pixel or more")
        if not all(0 < t < 1 for t in thresholds):
            raise InputError(f"thresholds are {thresholds}", todo="give three between 0 and 1")
        if not 0 < factor < 1:
            raise InputError(f"factor is {factor}", todo="give a ratio between 0 and 1")
        if not _CELL**2 <= max_pixels <= _LARGEST:
            raise InputError(f"max_pixels is {max_pixels}", todo=f"give 144 to {_LARGEST}")
        self._graphs = Graphs(graphs, threads, self.name)
        self.min_face = min_face
        self.thresholds = thresholds
        self.factor = factor
        self.max_pixels = max_pixels
        self.retry = retry

    def detect(self, image: UInt8) -> list[Detection]:
        """Faces of one photo, best score first; see :class:`faceflow.faces.detectors.Detector`."""
        require_image(image)
        height, width = image.shape[:2]
        shrink = min(1.0, float(np.sqrt(self.max_pixels / (height * width))))
        if shrink < 1.0:
            size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        found = self._look(image, self.thresholds)
        margin = np.zeros(2)
        if self.retry and not len(found[2]):
            x, y = (round(_MARGIN * side) for side in image.shape[1::-1])
            framed = cv2.copyMakeBorder(image, y, y, x, x, cv2.BORDER_CONSTANT)
            found = self._look(np.asarray(framed, dtype=np.uint8), (_LOW, _LOW, _LOW))
            margin = np.array([x, y], dtype=np.float64)
        ratio = np.array([width / image.shape[1], height / image.shape[0]])
        boxes, landmarks, scores = found
        # x0, y0 count pixels from 1, x1, y1 name the last pixel inside: 0-based edges.
        edges = np.stack([boxes[:, :2] - 1, boxes[:, 2:]], axis=1)
        edges = np.clip((edges - margin) * ratio, 0, [width, height])
        landmarks = (landmarks - margin) * ratio
        return [
            Detection(edge.ravel(), points, float(score))
            for edge, points, score in zip(edges, landmarks, scores, strict=True)
            if (edge[0] < edge[1]).all()
        ]

    def _look(self, image: UInt8, thresholds: tuple[float, float, float]) -> _Found:
        """The cascade over one image of at most AreaSampler's size."""
        sampler = AreaSampler(image)
        return self._refine(sampler, self._propose(sampler, thresholds[0]), thresholds)

    def _propose(self, sampler: AreaSampler, threshold: float) -> Float64:
        """(N, 4) squares the first network finds at any scale."""
        found = []
        scale = _CELL / self.min_face
        while min(sampler.height, sampler.width) * scale >= _CELL:
            found.append(self._propose_at(sampler, scale, threshold))
            scale *= self.factor
        if not found:
            return np.zeros((0, 4))
        table = np.concatenate(found)
        table = table[suppress(table, table[:, 4], 0.7)]
        sides = table[:, 2:4] - table[:, :2]
        table[:, :4] += table[:, 5:] * np.tile(sides, 2)
        return _square(table[:, :4])

    def _propose_at(self, sampler: AreaSampler, scale: float, threshold: float) -> Float64:
        """(N, 9) box, score and offsets at one scale, overlapping ones removed."""
        height, width = int(sampler.height * scale + 1), int(sampler.width * scale + 1)
        shrunk = sampler.resize(height, width)[None]
        score, offsets = self._graphs.run("pnet", ["score", "box"], shrunk)
        rows, columns = np.nonzero(score[0] >= threshold)
        corner = np.stack([columns, rows], axis=1) * _STRIDE
        table = np.concatenate(
            [
                np.floor((corner + 1) / scale),
                np.floor((corner + _CELL) / scale),
                score[0, rows, columns, None],
                offsets[0][:, rows, columns].T,
            ],
            axis=1,
        )
        return table[suppress(table, table[:, 4], 0.5)]

    def _refine(
        self, sampler: AreaSampler, boxes: Float64, thresholds: tuple[float, float, float]
    ) -> _Found:
        """What of the boxes (N, 4) passes the last two networks."""
        boxes, crops = _crop(sampler, boxes, 24)
        score, offsets = self._graphs.run("rnet", ["score", "box"], crops)
        kept = np.nonzero(score > thresholds[1])[0]
        kept = kept[suppress(boxes[kept], score[kept], 0.7)]
        boxes = _square(_shift(boxes[kept], offsets[kept]))

        boxes, crops = _crop(sampler, boxes, 48)
        score, offsets, points = self._graphs.run("onet", ["score", "box", "landmarks"], crops)
        kept = np.nonzero(score > thresholds[2])[0]
        boxes, offsets, points, score = boxes[kept], offsets[kept], points[kept], score[kept]
        sides = boxes[:, None, 2:] - boxes[:, None, :2] + 1
        landmarks = points.reshape(-1, 2, 5).transpose(0, 2, 1) * sides + boxes[:, None, :2] - 1
        boxes = _shift(boxes, offsets)
        kept = suppress(boxes, score, 0.7, overlap="smaller", edge=1.0)
        return boxes[kept], landmarks[kept], score[kept]


def _square(boxes: Float64) -> Float64:
    """(N, 4): each box grown to a square around its centre."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _shift(boxes: Float64, offsets: Float32) -> Float64:
    """(N, 4): corners moved by offsets, fractions of the box's sides."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + offsets * np.tile(sides, 2)


def _crop(sampler: AreaSampler, boxes: Float64, size: int) -> tuple[Float64, Float32]:
    """The boxes that touch the photo, and what they show, black beyond it: (N, size, size, 3)."""
    first = np.trunc(boxes[:, :2]).astype(np.int64) - 1
    last = np.trunc(boxes[:, 2:]).astype(np.int64)
    limit = [sampler.width, sampler.height]
    touching = ((first < last) & (first < limit) & (last > 0)).all(axis=1)
    whole = np.concatenate([first, last], axis=1)[touching]
    return boxes[touching], sampler.crops(whole, size)
