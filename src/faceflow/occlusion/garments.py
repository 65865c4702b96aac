"""Hats and scarves."""

from __future__ import annotations

import numpy as np

from faceflow.arrays import Float32, Floats, UInt8
from faceflow.occlusion.layer import Layer, Occluded, check_image
from faceflow.occlusion.light import PhotoLight, cloth_colour
from faceflow.occlusion.pose import FacePose
from faceflow.occlusion.seeds import generator
from faceflow.occlusion.surface import curve, drape, fabric_noise

ROWS, COLUMNS = 100, 140


def hat(image: UInt8, landmarks: Floats, *, seed: int = 0) -> Occluded:
    """Pull a knitted hat or a peaked cap over forehead, brows' upper edge and hair.

    Args and errors as for :func:`faceflow.occlusion.mask`.
    """
    photo = check_image(image)
    pose = FacePose.fit(landmarks)
    rng = generator("hat", photo, seed)
    light = PhotoLight.read(photo, pose)
    colour = cloth_colour(rng)
    layer = Layer(photo, pose, (-2.0, -2.6, 2.0, 0.6))
    peaked = bool(rng.random() < 0.5)
    brim = float(rng.uniform(-0.52, -0.36)) - (0.08 if peaked else 0)
    t, around = np.meshgrid(np.linspace(0, 1, ROWS), np.linspace(-1.9, 1.9, COLUMNS), indexing="ij")
    # A dome over the skull, from the top (t = 0) to the brim.
    top = -2.02 if peaked else -2.12
    level = np.sin(t * np.pi / 2) ** (0.75 if peaked else 0.62)
    reach = 1.30 if peaked else 1.34
    x = reach * level * np.sin(around)
    z = 1.25 * level * np.cos(around) - 0.85
    y = top + (brim - top) * (1 - np.cos(t * np.pi / 2)) + 0.10 * (1 - np.cos(around)) * t
    dome = np.stack([x, y, z], axis=-1)
    relief = 0.02 * fabric_noise(rng, t.shape, (7, 10))
    albedo = np.broadcast_to(colour, (*t.shape, 3)).copy()
    if peaked:
        seams = np.abs(np.sin(around * 1.65)) < 0.02
        albedo[seams] *= 0.7
    else:
        ribs = np.sin(around * 38)
        relief += 0.012 * ribs * (t > 0.02)
        turn_up = np.clip((t - 0.72) / 0.02, 0, 1)
        relief += 0.05 * turn_up
        albedo *= (1 - 0.22 * np.exp(-0.5 * ((t - 0.715) / 0.012) ** 2))[..., None]
        albedo *= (0.90 + 0.10 * ribs)[..., None]
    drape(layer, dome, albedo, light, relief=relief, cut=np.cos(around) < -0.15, contrast=0.88)
    if peaked:
        _peak(layer, colour, light, brim)
    layer.cast_shadow(amount=0.45 if peaked else 0.3, reach=0.14, drop=(0.0, 0.10))
    return layer.lay_over(photo, rng)


def _peak(layer: Layer, colour: Float32, light: PhotoLight, brim: float) -> None:
    """The cap's peak: a curved sheet that stands out over the forehead."""
    out, around = np.meshgrid(np.linspace(0, 1, 40), np.linspace(-1.0, 1.0, 80), indexing="ij")
    length = 0.62 * np.sqrt(np.clip(1 - around**2, 0, 1))
    x = around * (0.98 + 0.06 * out)
    z = 1.25 * np.sqrt(np.clip(1 - (x / 1.42) ** 2, 0.01, 1)) - 0.85 + out * length
    y = brim - 0.02 + 0.10 * (1 - np.sqrt(np.clip(1 - (x / 1.32) ** 2, 0, 1)))
    y = y + 0.44 * out * length
    sheet = np.stack([x, y, z], axis=-1)
    stitches = 1 - 0.22 * (np.abs((out * 5) % 1 - 0.5) < 0.07)
    joint = 1 - 0.75 * np.exp(-out / 0.09)  # dark where peak and dome meet
    drape(layer, sheet, colour * (stitches * joint)[..., None], light, gloss=0.06, contrast=0.5)


def scarf(image: UInt8, landmarks: Floats, *, seed: int = 0) -> Occluded:
    """Wind a scarf around neck and lower face, up to the nose or the mouth.

    Args and errors as for :func:`faceflow.occlusion.mask`.
    """
    photo = check_image(image)
    pose = FacePose.fit(landmarks)
    rng = generator("scarf", photo, seed)
    light = PhotoLight.read(photo, pose)
    colour, other = cloth_colour(rng), cloth_colour(rng)
    layer = Layer(photo, pose, (-2.1, -0.2, 2.1, 3.1))
    upper = float(rng.uniform(0.42, 0.86))
    t, s = np.meshgrid(np.linspace(0, 1, 140), np.linspace(-1, 1, COLUMNS), indexing="ij")
    angle = s * 1.75
    half = curve(t, 1.12, 1.26, 1.25, 1.35, 1.62)
    deep = curve(t, 0.64, 0.62, 0.42, 0.30, 0.42)
    x = half * np.sin(angle)
    z = -0.55 + (0.55 + deep) * np.cos(angle)
    sag = upper + (2.75 - upper) * t
    y = sag - 0.16 * np.abs(s) ** 1.5 * (1 - t) + 0.05 * fabric_noise(rng, t.shape, (3, 6))
    # Folds run around the neck and sag in the middle.
    line = (
        t * float(rng.uniform(5, 8))
        + 0.5 * np.cos(s * 2.4)
        + 0.5 * fabric_noise(rng, t.shape, (3, 5))
    )
    relief = 0.055 * np.abs(np.sin(line * np.pi)) ** 0.7
    relief += 0.016 * fabric_noise(rng, t.shape, (26, 7))
    weave = 1 + 0.05 * rng.standard_normal(t.shape)
    albedo = np.broadcast_to(colour, (*t.shape, 3)).copy()
    if rng.random() < 0.5:
        bands = (np.sin(s * 21) > 0.3) if rng.random() < 0.5 else (np.sin(t * 40) > 0.4)
        albedo[bands] = other
    shade = 0.55 + 0.45 * np.abs(np.sin(line * np.pi)) ** 0.5
    drape(
        layer,
        np.stack([x, y, z], axis=-1),
        albedo * (weave * shade)[..., None],
        light,
        relief=relief,
        contrast=0.88,
    )
    layer.cast_shadow(amount=0.3, reach=0.06, drop=(0.0, -0.02))
    return layer.lay_over(photo, rng)
