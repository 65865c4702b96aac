"""Everything around the face: background, hair behind the head, neck, clothes and ears."""

from __future__ import annotations

import cv2
import numpy as np

from drawn_people.fields import hill, linear, mix, noise, step
from drawn_people.identity import HAIR_STYLES, Identity
from drawn_people.render import Light
from drawn_people.variation import Variation
from faceflow.arrays import Float32, Floats

Axes = tuple[Float32, Float32]  # x (H, W) and y (H, W) of each pixel in head units


def background(axes: Axes, photo: Variation) -> Float32:
    """A blurred room: two colours, a gradient, and a few soft shapes. (H, W, 3) linear."""
    x, y = axes
    rng = np.random.default_rng([0xBB, photo.texture])
    first, second = (linear(c) for c in photo.background)
    height, width = x.shape
    small = np.zeros((32, 32), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        left, top = (int(v) for v in rng.integers(-8, 30, 2))
        wide, high = (int(v) for v in rng.integers(5, 22, 2))
        value = float(rng.uniform(-0.7, 0.7))
        cv2.rectangle(small, (left, top), (left + wide, top + high), value, -1)
    soft = cv2.GaussianBlur(small, (0, 0), float(rng.uniform(0.8, 2.5)))
    shapes = cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC)
    tilt = rng.uniform(-0.2, 0.2, 2)
    blend = np.clip(0.5 + tilt[0] * x + tilt[1] * y + shapes, 0, 1)[..., None]
    return np.asarray(first + (second - first) * blend, dtype=np.float32)


def lit(normal_x: Floats, normal_y: Floats, light: Light) -> Float32:
    """Simple lighting of a rounded thing given two components of its normal. (H, W, 3)."""
    normal_z = np.sqrt(np.clip(1 - np.square(normal_x) - np.square(normal_y), 0.02, 1))
    facing = normal_x * light.direction[0] + normal_y * light.direction[1]
    facing = np.clip((facing + normal_z * light.direction[2] + 0.2) / 1.2, 0, None)
    sky = 0.72 - 0.28 * normal_y
    return np.asarray(facing[..., None] * light.key + sky[..., None] * light.ambient, np.float32)


def body(canvas: Float32, axes: Axes, who: Identity, photo: Variation, light: Light) -> None:
    """Neck, shoulders and clothes, behind the head."""
    x, y = axes
    lean = 0.25 * np.sin(np.deg2rad(photo.yaw))
    x = x - lean * step(2.4, 1.0, y)
    neck_half = (0.46 + 0.05 * (who.jaw - 2.0)) * who.width + 0.16 * step(1.75, 2.3, y)
    bottom = who.chin
    neck = step(0.015, -0.015, np.abs(x) - neck_half) * step(0.6, 0.9, y)
    across = np.clip(x / neck_half, -1, 1) * 0.9
    # The chin keeps the light from the neck.
    under = 0.30 + 0.70 * step(bottom - 0.1, bottom + 0.75, y - 0.25 * np.abs(x))
    cords = 1 - 0.12 * hill(np.abs(x) - 0.2 - 0.1 * (2.6 - y), 0 * x, 0.05, 1)
    flesh = linear(who.skin) * 0.92 * lit(across, 0 * y, light) * (under * cords)[..., None]
    mix(canvas, flesh, neck)

    rng = np.random.default_rng([0xC1, photo.texture])
    slope = bottom + 0.40 + 0.20 * np.abs(x) ** 1.2 + 0.35 * step(1.3, 2.6, np.abs(x))
    collar = rng.integers(3)
    dip = (
        0.30 * hill(x, 0 * x, 0.42, 1),
        0.10 * hill(x, 0 * x, 0.5, 1),
        0.9 * np.clip(0.46 - np.abs(x), 0, 1),
    )[int(collar)]
    edge = y - slope - dip
    cloth = step(-0.012, 0.012, edge)
    folds = noise(rng, x.shape, (7, 9), 2) * 0.10
    tone = lit(np.clip(0.38 * x + folds, -0.95, 0.95), -0.25 + 0 * y, light)
    tone *= (0.72 + 0.28 * step(0.0, 0.14, edge))[..., None]
    mix(canvas, linear(photo.clothes) * tone, cloth)
    if collar == 2:  # a shirt's lapels
        lapel = cloth * step(0.16, 0.14, edge)
        mix(canvas, linear(photo.clothes) * tone * 1.25, 0.8 * lapel)


def hair_behind(canvas: Float32, axes: Axes, who: Identity, photo: Variation, light: Light) -> None:
    """The curtain of longer hair behind neck and head."""
    style = HAIR_STYLES[who.hair_style]
    volume, curl, length = style.volume, style.curl, style.back
    if length <= 0:
        return
    x, y = axes
    rng = np.random.default_rng([0xD4, who.seed])
    x = x + 0.1 * np.sin(np.deg2rad(photo.yaw))
    wobble = 0.05 * curl * np.sin(y * 9 + 3 * (x > 0)) + 0.03 * noise(rng, x.shape, (9, 5))
    half = who.width * (1.02 + 0.45 * volume) + 0.10 * step(0.0, 1.6, y) + wobble
    fringe = 0.05 * noise(rng, x.shape, (2, 90))
    cover = step(0.02, -0.02, np.abs(x) - half) * step(0.03, -0.03, y - length - fringe)
    cover = cover * step(who.crown * 0.8, who.crown * 0.3, y)
    strands = noise(rng, x.shape, (5 + 8 * curl, 150)) + 0.7 * noise(rng, x.shape, (4, 34))
    across = np.clip(x / half, -1, 1)
    round_x = np.clip(np.sin(across * 5.2) * 0.5 + 0.35 * across + 0.25 * strands, -0.95, 0.95)
    deep = 0.35 + 0.65 * step(0.55, 1.0, np.abs(across))
    tone = linear(who.hair_colour) * lit(round_x, -0.1 + 0 * y, light)
    tone = tone * (np.exp(0.22 * strands) * deep * 0.9)[..., None]
    mix(canvas, tone, cover)


def ears(
    canvas: Float32, axes: Axes, who: Identity, photo: Variation, light: Light, side: float
) -> None:
    """One ear, placed at the head's side and moved by the pose."""
    yaw, pitch = np.deg2rad([photo.yaw, photo.pitch])
    if HAIR_STYLES[who.hair_style].sides > 0.6:
        return  # under the hair
    ear_x, ear_y, ear_z = side * who.width * 0.965, 0.16, -0.12
    at_x = ear_x * np.cos(yaw) + ear_z * np.sin(yaw)
    depth = -ear_x * np.sin(yaw) + ear_z * np.cos(yaw)
    at_y = ear_y * np.cos(pitch) - depth * np.sin(pitch)
    wide = (0.10 + 0.5 * who.ear_out) + 0.20 * np.sin(yaw) * -side
    wide = max(0.03, wide * who.ear_size)
    x, y = axes
    near = (np.abs(y - at_y) < 0.45 * who.ear_size) & (np.abs(x - at_x) < 0.45)
    if not near.any():
        return
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    x, y, part = x[box], y[box], canvas[box]
    u = (x - at_x) * side / wide  # 0 at the head, 1 at the rim
    v = (y - at_y) / (0.36 * who.ear_size)  # -1 top, 1 lobe
    outline = np.hypot(u - 0.05, v * (1 + 0.10 * v)) * (1 + 0.10 * np.clip(v, 0, 1))
    cover = step(1.02, 0.96, outline)
    rim = hill(outline - 0.86, 0 * u, 0.10, 1)
    bowl = hill(u - 0.35, v - 0.12, 0.28, 0.38)
    inner = hill(outline - 0.62, 0 * u, 0.09, 1) * step(0.6, 0.2, v)
    tone = lit(np.clip(side * (0.25 + 0.5 * (u - 0.4)), -0.9, 0.9), 0.15 * v, light)
    tone = tone * (0.78 + 0.25 * rim - 0.42 * bowl - 0.22 * inner)[..., None]
    red = linear(who.skin) * np.array([1.05, 0.80, 0.76], np.float32)
    mix(part, red * tone * 0.85, cover)
