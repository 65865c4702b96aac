"""Shapeless things before the face."""

from __future__ import annotations

import numpy as np

from faceflow.arrays import Floats, UInt8
from faceflow.errors import InputError
from faceflow.occlusion.layer import Layer, Occluded, check_image
from faceflow.occlusion.light import PhotoLight, cloth_colour, to_srgb
from faceflow.occlusion.pose import FacePose
from faceflow.occlusion.seeds import generator
from faceflow.occlusion.surface import blur, fabric_noise, height_normals


def blob(image: UInt8, landmarks: Floats, *, seed: int = 0, share: float = 0.3) -> Occluded:
    """Hide a random part of the face behind a shapeless, softly shaded thing.

    Args:
        image, landmarks, seed: as for :func:`faceflow.occlusion.mask`.
        share: about how much of the face is hidden, 0.02 to 0.9.

    Raises:
        InputError: ``share`` is out of range, image or landmarks cannot be used.
    """
    if not 0.02 <= share <= 0.9:
        raise InputError(f"share is {share}", why="0.02 to 0.9 of a face can be hidden")
    photo = check_image(image)
    pose = FacePose.fit(landmarks)
    rng = generator("blob", photo, seed)
    light = PhotoLight.read(photo, pose)
    layer = Layer(photo, pose, (-1.9, -1.6, 1.9, 2.6))
    centre = np.array([rng.uniform(-0.6, 0.6), rng.uniform(-0.2, 1.3)])
    # The face is about an ellipse of half axes 1.1 and 1.6 around (0, 0.5).
    radius = float(np.sqrt(share * 1.1 * 1.6))
    x, y = layer.upright()
    angle = np.arctan2(y - centre[1], x - centre[0])
    away = np.hypot(x - centre[0], y - centre[1])
    edge = np.full_like(x, radius)
    for wave in range(2, 7):
        edge += (
            radius * rng.normal(0, 0.16 / wave**0.5) * np.cos(wave * angle + rng.uniform(0, 6.3))
        )
    inside = np.clip((edge - away) * layer.unit / 2 + 0.5, 0, 1)
    height = np.sqrt(np.clip(1 - (away / np.maximum(edge, 0.05)) ** 2, 0, 1)) * 0.5 * radius
    height = height + 0.03 * fabric_noise(rng, x.shape, (18, 18))
    normal = height_normals(blur(height, 1.5), layer.unit)
    pattern = np.clip(0.5 + 0.8 * fabric_noise(rng, x.shape, (9, 9)), 0, 1)[..., None]
    first, second = cloth_colour(rng), cloth_colour(rng)
    albedo = first + (second - first) * pattern
    layer.paint(to_srgb(light.shade(normal, contrast=0.85)[..., None] * albedo), inside)
    layer.cast_shadow(amount=0.3, reach=0.10, drop=(0.0, 0.05))
    return layer.lay_over(photo, rng)
