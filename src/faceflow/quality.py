"""When not to trust an answer: how much of a face a photo gave the network to go by.

Everything here is read off what finding and describing a face leaves behind; no further network
looks at it. Each measure has two bounds, from which on it makes a face "fair" and "poor"; where
they come from is in docs/quality.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import cv2
import numpy as np

from faceflow.arrays import Floats, UInt8
from faceflow.errors import InputError
from faceflow.occlusion.pose import FacePose

Band = Literal["good", "fair", "poor"]
BANDS: tuple[Band, ...] = get_args(Band)
"""Best first."""

_SIDE = 112  # the crop is brought to this side before its sharpness is measured
_MARGIN = 14  # and so much cut off all around, where photos end and hair begins


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a measure stops being good, and where it begins to be poor.

    Attributes:
        fair, poor: the bounds; poor is the worse one, on whichever side.
        word: what is wrong beyond them, as in "the face is too ...".
    """

    fair: float
    poor: float
    word: str

    def band(self, value: float) -> Band:
        """The band of one value."""
        sign = 1 if self.poor < self.fair else -1
        if sign * value < sign * self.poor:
            return "poor"
        return "fair" if sign * value < sign * self.fair else "good"


BOUNDS: Mapping[str, Bounds] = MappingProxyType(
    {
        "visible": Bounds(0.75, 0.55, "covered"),
        "size": Bounds(40.0, 24.0, "small"),
        "sharpness": Bounds(60.0, 20.0, "blurred"),
        "yaw": Bounds(35.0, 50.0, "turned"),
        "detection": Bounds(0.95, 0.8, "unlike a face"),
    }
)


@dataclass(frozen=True, slots=True)
class Quality:
    """How much a face gave to go by.

    Attributes:
        size: side of the face's box in pixels of the photo (the root of its area).
        sharpness: variance of the Laplacian of the grey aligned crop at a fixed size.
        yaw: degrees the face is turned to either side, from its landmarks; None without.
        detection: the detector's score; None where the whole image was taken.
        length: of the network's embedding before it was made unit, comparable within one
            network; None where nobody kept it. It has no bounds.
        visible: mean visibility of the patches, 0 to 1; None where the network's covers are
            not known.
    """

    size: float
    sharpness: float
    yaw: float | None = None
    detection: float | None = None
    length: float | None = None
    visible: float | None = None

    @property
    def bands(self) -> Mapping[str, Band]:
        """The band of each measure that is known and has bounds."""
        found: dict[str, Band] = {}
        for name, bounds in BOUNDS.items():
            value = getattr(self, name)
            if value is not None:
                found[name] = bounds.band(abs(value))
        return found

    @property
    def band(self) -> Band:
        """The worst of all measures."""
        return max(self.bands.values(), key=BANDS.index)

    @property
    def flaws(self) -> tuple[str, ...]:
        """What is not good, in words: "too covered (31% visible)", "rather small (30 pixels)"."""
        return tuple(
            f"{'too' if band == 'poor' else 'rather'} {BOUNDS[name].word} ({self._said(name)})"
            for name, band in self.bands.items()
            if band != "good"
        )

    def below(self, least: Band) -> bool:
        """Whether it is worse than ``least``."""
        return BANDS.index(self.band) > BANDS.index(least)

    def _said(self, name: str) -> str:
        value = abs(getattr(self, name))
        if name == "visible":
            return f"{100 * value:.0f}% visible"
        if name == "size":
            return f"{value:.0f} pixels"
        if name == "yaw":
            return f"{value:.0f} degrees"
        return f"{name} {value:.2f}" if name == "detection" else f"{name} {value:.0f}"


def measure(
    crop: UInt8,
    box: Floats,
    landmarks: Floats | None,
    *,
    detection: float | None = None,
    length: float | None = None,
    visible: float | None = None,
) -> Quality:
    """The quality of one face.

    Args:
        crop: (H, W, 3) uint8 RGB, the aligned face.
        box: (4,) x0, y0, x1, y1 in pixels of the photo.
        landmarks: (5, 2) pixels of the photo, or None.
        detection, length, visible: as in :class:`Quality`.
    """
    width, height = (max(0.0, float(side)) for side in (box[2] - box[0], box[3] - box[1]))
    return Quality(
        size=float(np.sqrt(width * height)),
        sharpness=sharpness(crop),
        yaw=None if landmarks is None else _yaw(landmarks),
        detection=detection,
        length=length,
        visible=visible,
    )


def sharpness(crop: UInt8) -> float:
    """Variance of the Laplacian of a crop, grey, at 112 x 112 without its margin.

    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    how = cv2.INTER_AREA if min(grey.shape) > _SIDE else cv2.INTER_LINEAR
    grey = cv2.resize(grey, (_SIDE, _SIDE), interpolation=how)
    edges = cv2.Laplacian(grey, cv2.CV_64F)[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    return float(edges.var())


def _yaw(landmarks: Floats) -> float | None:
    try:
        return float(np.degrees(FacePose.fit(landmarks).yaw))
    except InputError:  # landmarks that no face has
        return None
