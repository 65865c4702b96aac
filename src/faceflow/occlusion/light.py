"""The light of a photo, read off the face, so that occluders are lit like it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Float32, Floats, UInt8
from faceflow.occlusion.pose import FacePose


@dataclass(frozen=True, slots=True, eq=False)
class PhotoLight:
    """A guess at a photo's light.

    Attributes:
        level: brightness of a white thing in the photo, linear light, about 0.3 to 1.1.
        side: -1 light comes from the image's left, 1 from its right.
        skin: (3,) median skin colour, sRGB 0..1.
        direction: (3,) unit vector towards the light, image axes, z towards the viewer.
    """

    level: float
    side: float
    skin: Float32
    direction: Float32

    @classmethod
    def read(cls, photo: UInt8, pose: FacePose) -> PhotoLight:
        """Compare forehead, cheeks and surroundings of a face."""
        left = _patch(photo, pose, (-0.55, 0.45, 0.05))
        right = _patch(photo, pose, (0.55, 0.45, 0.05))
        brow = _patch(photo, pose, (0.0, -0.38, 0.2))
        spots = np.concatenate([left, right, brow])
        if len(spots) == 0:
            spots = photo.reshape(-1, 3)[:: max(1, photo.size // 3000)].astype(np.float32) / 255
        skin = np.median(spots, axis=0).astype(np.float32)
        side = 0.0
        if len(left) and len(right):
            a, b = float(np.median(left)) + 0.05, float(np.median(right)) + 0.05
            side = float(np.clip(1.6 * np.log(b / a), -1, 1))
        # Skin alone would make masks on dark faces too dark: the photo's lights count as well.
        stride = max(1, max(photo.shape[:2]) // 128)
        bright = float(np.percentile(photo[::stride, ::stride], 92)) / 255
        level = 0.55 * (float(skin.max()) / 0.80) ** 2.2 + 0.45 * bright**2.2
        roll = np.array([0.75 * side, -0.5, 0.8])
        direction = roll / np.linalg.norm(roll)
        return cls(
            level=float(np.clip(level, 0.16, 1.05)),
            side=side,
            skin=skin,
            direction=direction.astype(np.float32),
        )

    def shade(self, normals: Floats, *, contrast: float = 0.75) -> Float32:
        """Linear brightness of a white surface with unit ``normals`` (..., 3), upright axes."""
        facing = np.clip((normals @ self.direction + 0.15) / 1.15, 0, None)
        bright = self.level * (1.04 - contrast + contrast * 1.12 * facing)
        return bright.astype(np.float32)


def _patch(photo: UInt8, pose: FacePose, at: tuple[float, float, float]) -> Float32:
    """(N, 3) pixels 0..1 of a small square around a generic point; empty when off the photo."""
    x, y = pose.project(np.array(at))
    radius = max(1.0, 0.10 * pose.scale)
    height, width = photo.shape[:2]
    if not (-radius < x < width + radius and -radius < y < height + radius):
        return np.zeros((0, 3), np.float32)
    rows = slice(max(0, int(y - radius)), max(0, min(height, int(y + radius) + 1)))
    columns = slice(max(0, int(x - radius)), max(0, min(width, int(x + radius) + 1)))
    part = photo[rows, columns]
    stride = max(1, part.shape[0] // 24)
    return np.asarray(part[::stride, ::stride].reshape(-1, 3) / 255, dtype=np.float32)


def to_srgb(linear_light: Floats) -> Float32:
    """Linear light to sRGB 0..1 by the plain 2.2 power, clipped."""
    return (np.clip(linear_light, 0, 1) ** (1 / 2.2)).astype(np.float32)


def to_linear(srgb: tuple[float, float, float] | Floats) -> Float32:
    """sRGB 0..1 to linear light by the plain 2.2 power."""
    return (np.asarray(srgb, np.float32) ** 2.2).astype(np.float32)


def cloth_colour(rng: np.random.Generator) -> Float32:
    """A random linear colour that cloth may have."""
    grey = rng.uniform(0.08, 0.85)
    return to_linear(np.clip(grey + rng.uniform(-0.2, 0.2, 3), 0.04, 0.95))
