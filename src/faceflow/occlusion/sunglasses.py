"""Sunglasses that follow the face: several frames, dark or mirrored lenses, temples."""

from __future__ import annotations

import cv2
import numpy as np

from faceflow.arrays import Float32, Float64, Floats, UInt8
from faceflow.errors import InputError
from faceflow.occlusion.layer import Layer, Occluded, check_image
from faceflow.occlusion.light import PhotoLight, to_linear, to_srgb
from faceflow.occlusion.pose import FacePose
from faceflow.occlusion.seeds import generator
from faceflow.occlusion.surface import blur

# Right lens outlines, as seen in the image: (x, y) in eye distances from the point between the
# eyes, clockwise from the upper inner corner; they are rounded when drawn.
_OUTLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "wayfarer": (
        (0.14, -0.20),
        (0.55, -0.27),
        (1.00, -0.26),
        (0.95, 0.08),
        (0.78, 0.29),
        (0.46, 0.32),
        (0.22, 0.22),
        (0.14, 0.00),
    ),
    "aviator": (
        (0.15, -0.20),
        (0.55, -0.25),
        (0.97, -0.19),
        (1.00, 0.10),
        (0.82, 0.40),
        (0.52, 0.46),
        (0.26, 0.28),
        (0.13, 0.00),
    ),
    "round": tuple(
        (0.54 + 0.37 * float(np.cos(a)), 0.05 + 0.37 * float(np.sin(a)))
        for a in np.linspace(-np.pi * 0.75, np.pi * 1.25, 12, endpoint=False)
    ),
    "square": (
        (0.12, -0.27),
        (0.55, -0.30),
        (1.04, -0.28),
        (1.02, 0.10),
        (0.93, 0.38),
        (0.52, 0.42),
        (0.20, 0.36),
        (0.12, 0.02),
    ),
    "cat-eye": (
        (0.14, -0.14),
        (0.55, -0.24),
        (1.08, -0.38),
        (1.00, -0.02),
        (0.80, 0.26),
        (0.50, 0.33),
        (0.24, 0.24),
        (0.13, 0.04),
    ),
    "sport": (
        (0.05, -0.22),
        (0.50, -0.28),
        (1.10, -0.22),
        (1.08, 0.02),
        (0.90, 0.20),
        (0.54, 0.30),
        (0.28, 0.26),
        (0.10, 0.04),
    ),
}
_RIMS = {
    "wayfarer": 0.085,
    "aviator": 0.032,
    "round": 0.035,
    "square": 0.075,
    "cat-eye": 0.075,
    "sport": 0.03,
}
SUNGLASSES_STYLES = tuple(_OUTLINES)
_FRAMES = (
    (0.05, 0.05, 0.055),
    (0.05, 0.05, 0.055),
    (0.20, 0.12, 0.07),
    (0.70, 0.60, 0.38),
    (0.62, 0.63, 0.66),
    (0.30, 0.05, 0.06),
)
_TINTS = (
    (0.035, 0.035, 0.04),
    (0.03, 0.03, 0.03),
    (0.09, 0.055, 0.03),
    (0.03, 0.055, 0.045),
    (0.05, 0.04, 0.10),
)


def sunglasses(
    image: UInt8, landmarks: Floats, *, style: str | None = None, seed: int = 0
) -> Occluded:
    """Put sunglasses on a face.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (5, 2) x, y in pixels: left eye, right eye, nose, left and right mouth
            corner, left and right as seen in the image.
        style: one of ``SUNGLASSES_STYLES``, or None to choose by image and seed.
        seed: the same image and seed always give the same glasses.

    Raises:
        InputError: an unknown style, an image or landmarks that cannot be used.
    """
    photo = check_image(image)
    pose = FacePose.fit(landmarks)
    rng = generator("sunglasses", photo, seed)
    chosen = style or str(rng.choice(SUNGLASSES_STYLES))
    if chosen not in _OUTLINES:
        raise InputError(
            f"no sunglasses are called {chosen!r}", todo=f"use {', '.join(SUNGLASSES_STYLES)}"
        )
    light = PhotoLight.read(photo, pose)
    frame = np.array(_FRAMES[int(rng.integers(len(_FRAMES)))], np.float32)
    if chosen == "aviator":
        frame = np.array(_FRAMES[int(rng.integers(3, 5))], np.float32)
    tint = np.array(_TINTS[int(rng.integers(len(_TINTS)))], np.float32)
    mirror = float(rng.random() < 0.2)
    size = float(rng.uniform(0.95, 1.06))
    drop = float(rng.uniform(-0.02, 0.05))
    rim = _RIMS[chosen]

    layer = Layer(photo, pose, (-1.8, -0.85, 1.8, 0.95))
    outline = _round(np.array(_OUTLINES[chosen])) * size + [0, drop]
    lenses = {side: pose.turn(_bend(outline * [side, 1])) for side in (-1.0, 1.0)}
    shade = to_srgb(to_linear(frame) * light.level * 0.8)
    for side in (-1.0, 1.0):
        _temple(layer, side, outline, shade, rim)
    _bridge(layer, chosen, outline, drop, shade, rim)
    for turned in lenses.values():
        layer.paint(shade, layer.polygon(turned))
        layer.paint(shade, layer.stroke(turned, rim, closed=True))
    layer.cast_shadow(amount=0.42, reach=0.10, drop=(0.03 * light.side * -1, 0.06))
    glass = _glass(layer, light, tint, mirror, rng)
    for side, turned in lenses.items():
        inner = turned.mean(axis=0) + (turned - turned.mean(axis=0)) * (1 - 0.9 * rim)
        layer.paint(glass, layer.polygon(inner))
        _sparkle(layer, inner, rim, frame, light, side)
    # Some tints let a little of the eyes through.
    seen = float(rng.choice([0.0, 0.0, 0.05, 0.12])) * (1 - mirror)
    layer.alpha *= 1 - seen
    return layer.lay_over(photo, rng)


def _round(outline: Float64) -> Float64:
    """A closed outline with its corners rounded off (Chaikin's corner cutting, three times)."""
    for _ in range(3):
        following = np.roll(outline, -1, axis=0)
        outline = np.stack(
            [0.85 * outline + 0.15 * following, 0.15 * outline + 0.85 * following], axis=1
        ).reshape(-1, 2)
    return outline


def _bend(outline: Floats) -> Float64:
    """(N, 3) flat outline wrapped around the front of the face."""
    x, y = outline[..., 0], outline[..., 1]
    return np.stack([x, y, 0.27 - 0.16 * x**2 - 0.06 * y], axis=-1)


def _temple(layer: Layer, side: float, outline: Float64, shade: Float32, rim: float) -> None:
    """The arm from the frame's outer corner to the ear; hidden on the side turned away."""
    if side * layer.pose.yaw > 0.12:
        return
    hinge = outline[np.argmax(outline[:, 0] - 0.6 * outline[:, 1])]
    start = _bend(np.array([[side * (hinge[0] - 0.01), hinge[1] + 0.03]]))[0]
    elbow = np.array([side * max(1.12, hinge[0] + 0.05), hinge[1] + 0.05, -0.10])
    ear = np.array([side * 1.16, 0.0, -1.0])
    path = np.stack([start, elbow, ear])
    layer.paint(shade, layer.stroke(layer.pose.turn(path), max(0.6 * rim, 0.03)))
    highlight = layer.stroke(layer.pose.turn(path) - [0, 0.2 * rim, 0], 0.012)
    layer.paint(np.clip(shade * 1.5 + 0.08, 0, 1), 0.5 * highlight)


def _bridge(
    layer: Layer, style: str, outline: Float64, drop: float, shade: Float32, rim: float
) -> None:
    inner = float(outline[:, 0].min()) + 0.02
    heights = {"aviator": (-0.19, 0.0), "round": (0.0,), "sport": (-0.12,)}.get(style, (-0.10,))
    for height in heights:
        x = np.linspace(-inner - 0.03, inner + 0.03, 9)
        arch = height + drop - 0.05 * (1 - (x / (inner + 0.03)) ** 2)
        line = _bend(np.stack([x, arch], axis=-1)) + np.array([0, 0, 0.06])
        layer.paint(shade, layer.stroke(layer.pose.turn(line), max(rim * 0.8, 0.035)))


def _glass(
    layer: Layer, light: PhotoLight, tint: Float32, mirror: float, rng: np.random.Generator
) -> Float32:
    """(h, w, 3) what the lenses look like: dark above, lighter below, with reflections."""
    x, y = layer.upright()
    level = light.level
    fade = np.clip((y + 0.3) / 0.75, 0, 1) * float(rng.uniform(0.3, 1.5))
    base = to_linear(np.clip(tint * 3, 0, 1)) * level
    glass = base * (0.25 + fade)[..., None]
    # A horizon: sky above, ground below, curved by the lens.
    each = np.abs(x) - 0.52
    horizon = y - 0.02 + 0.35 * each**2 + float(rng.uniform(-0.08, 0.1))
    sky = 1 / (1 + np.exp(np.clip(horizon / 0.035, -30, 30)))
    wobble = rng.standard_normal((4, 9)).astype(np.float32)
    shapes = cv2.resize(wobble, (x.shape[1], x.shape[0]), interpolation=cv2.INTER_CUBIC)
    tone = np.array([0.55, 0.70, 0.95], np.float32) if mirror else np.float32(1.0)
    strength = 0.5 if mirror else float(rng.uniform(0.015, 0.07))
    glow = np.clip(sky * (1 + 0.3 * shapes) + 0.25 * (1 - sky) * np.clip(shapes, 0, 1), 0, 2)
    glass = glass + (strength * level * glow)[..., None] * tone
    # One soft streak of light.
    streak = (x * light.direction[0] - 0.9 * y - float(rng.uniform(0.0, 0.3))) / 0.05
    glass = glass + (0.05 * level * np.exp(-0.5 * streak**2))[..., None]
    return to_srgb(glass)


def _sparkle(
    layer: Layer, inner: Float64, rim: float, frame: Float32, light: PhotoLight, side: float
) -> None:
    """Light along the upper edge of the rim."""
    middle = inner.mean(axis=0)
    upper = inner[inner[:, 1] < middle[1] - 0.1]
    upper = upper[np.argsort(upper[:, 0])]
    if len(upper) < 2:
        return
    edge = middle + (upper - middle) * (1 + 1.5 * rim)
    bright = to_srgb(to_linear(np.clip(frame + 0.25, 0, 1)) * light.level)
    weight = 0.45 + 0.3 * side * light.side
    line = layer.stroke(edge, max(0.012, rim * 0.25))
    layer.paint(bright, weight * blur(line, 0.7))
