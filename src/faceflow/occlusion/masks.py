"""Medical masks that follow the face: surgical, folded respirator, cup respirator and cloth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from faceflow.arrays import Float32, Float64, Floats, UInt8
from faceflow.errors import InputError
from faceflow.occlusion.layer import Layer, Occluded, check_image
from faceflow.occlusion.light import PhotoLight, to_linear, to_srgb
from faceflow.occlusion.mask_cuts import MaskCut, cloth, cup, kn95, surgical
from faceflow.occlusion.pose import FacePose
from faceflow.occlusion.seeds import generator
from faceflow.occlusion.surface import blur, curve, drape

MASK_COLOURS: dict[str, tuple[float, float, float]] = {
    "blue": (0.56, 0.76, 0.88),
    "white": (0.92, 0.92, 0.91),
    "green": (0.55, 0.78, 0.68),
    "pink": (0.91, 0.70, 0.75),
    "grey": (0.52, 0.53, 0.55),
    "black": (0.11, 0.11, 0.12),
    "navy": (0.13, 0.18, 0.34),
    "red": (0.74, 0.12, 0.14),
    "orange": (0.90, 0.46, 0.10),
    "teal": (0.12, 0.42, 0.44),
}

_STYLES: dict[str, tuple[Callable[[Float32, np.random.Generator], MaskCut], tuple[str, ...]]] = {
    "surgical": (surgical, ("blue", "blue", "blue", "white", "green", "pink", "black")),
    "kn95": (kn95, ("white", "white", "black", "grey", "navy")),
    "n95": (cup, ("white", "white", "blue", "orange")),
    "cloth": (cloth, ("black", "black", "navy", "red", "grey", "white", "teal", "orange")),
}
MASK_STYLES = tuple(_STYLES)


def mask(
    image: UInt8,
    landmarks: Floats,
    *,
    style: str | None = None,
    colour: str | tuple[float, float, float] | None = None,
    seed: int = 0,
) -> Occluded:
    """Put a medical mask on a face.

    The pose of a generic face is fitted to the landmarks; the mask is a curved sheet over that
    face, lit like the photo, with folds, border, seams and straps. ``covered`` is the mask,
    its straps and the thin shadow it casts.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (5, 2) x, y in pixels: left eye, right eye, nose, left and right mouth
            corner, left and right as seen in the image.
        style: one of ``MASK_STYLES``, or None to choose by image and seed.
        colour: a name in ``MASK_COLOURS``, sRGB 0..1, or None to choose.
        seed: the same image and seed always give the same mask.

    Raises:
        InputError: an unknown style or colour, an image or landmarks that cannot be used.
    """
    photo = check_image(image)
    pose = FacePose.fit(landmarks)
    rng = generator("mask", photo, seed)
    chosen = style or str(rng.choice(MASK_STYLES, p=[0.5, 0.15, 0.1, 0.25]))
    if chosen not in _STYLES:
        raise InputError(f"no mask style is called {chosen!r}", todo=f"use {', '.join(_STYLES)}")
    build, usual = _STYLES[chosen]
    cut = build(_colour(colour, usual, rng), rng)
    light = PhotoLight.read(photo, pose)
    layer = Layer(photo, pose, (-1.75, -0.35, 1.75, 2.35))
    for side in (-1.0, 1.0):
        # The head hides the straps on the side turned away.
        if side * pose.yaw > 0.22:
            continue
        for strap in cut.straps:
            _strap(layer, np.array(strap) * [side, 1, 1], cut.strap_colour, light)
    layer.cast_shadow(amount=0.25, reach=0.03, drop=(0.0, 0.02))
    cover = drape(
        layer, cut.points, cut.albedo, light, relief=cut.relief, gloss=cut.gloss, contrast=0.88
    )
    layer.shadow = np.maximum(layer.shadow, _edge_shadow(cover, layer.unit))
    return layer.lay_over(photo, rng)


def _colour(
    colour: str | tuple[float, float, float] | None,
    usual: tuple[str, ...],
    rng: np.random.Generator,
) -> Float32:
    """Linear colour, with a little variation when it was left open."""
    if colour is None:
        named = np.array(MASK_COLOURS[str(rng.choice(usual))])
        return to_linear(
            np.clip(named * rng.uniform(0.93, 1.05) + rng.normal(0, 0.015, 3), 0.02, 1)
        )
    if isinstance(colour, str):
        if colour not in MASK_COLOURS:
            raise InputError(
                f"no mask colour is called {colour!r}", todo=f"use {', '.join(MASK_COLOURS)}"
            )
        return to_linear(MASK_COLOURS[colour])
    values = np.asarray(colour, np.float32)
    if values.shape != (3,) or not ((values >= 0) & (values <= 1)).all():
        raise InputError(f"{colour!r} is not a colour", why="three numbers in 0..1 are needed")
    return to_linear(values)


def _edge_shadow(cover: Float32, unit: float) -> Float32:
    """A thin dark rim on the skin around the mask."""
    soft = blur(cover, max(0.03 * unit, 0.6))
    return np.where(soft > 0.05, 0.34 * soft, 0).astype(np.float32)


def _strap(layer: Layer, points: Float64, colour: Float32, light: PhotoLight) -> None:
    """An elastic band through three points."""
    t = np.linspace(0, 1, 16)
    line = np.stack([curve(t, *points[:, axis]) for axis in range(3)], axis=-1)
    turned = layer.pose.turn(line)
    layer.paint(to_srgb(colour * light.level * 0.55), layer.stroke(turned, 0.040))
    layer.paint(to_srgb(colour * light.level * 0.95), layer.stroke(turned - [0, 0.006, 0], 0.022))
