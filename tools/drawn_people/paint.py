"""What the head's surface is coloured like: skin and lips here, the rest called in order."""

from __future__ import annotations

import numpy as np

from drawn_people.canvas import SHAPE, Paint
from drawn_people.eyes import paint_eye
from drawn_people.fields import hill, linear, mix, noise, step
from drawn_people.hair import paint_beard, paint_brow, paint_hair
from drawn_people.head import Head
from drawn_people.identity import Identity
from drawn_people.variation import Variation
from faceflow.arrays import Floats


def paint_head(who: Identity, photo: Variation, head: Head) -> Paint:
    """Colour the whole head."""
    rng = np.random.default_rng([0x9A, who.seed])
    paint = Paint.blank()
    _skin(paint, who, head, rng)
    _lips(paint, who, photo, head, rng)
    paint_beard(paint, who, head, rng)
    for side in (-1.0, 1.0):
        paint_eye(paint, who, photo, head, side)
        paint_brow(paint, who, photo, head, side, rng)
    paint_hair(paint, who, head, rng)
    return paint


def _dab(
    paint: Paint,
    head: Head,
    at: tuple[float, float],
    spread: tuple[float, float],
    colour: Floats,
    amount: float,
    *,
    both: bool = True,
) -> None:
    """Tint a soft spot, and its mirror image, towards a colour."""
    grid = head.grid
    if amount <= 0:
        return
    for x in {at[0], -at[0]} if both else {at[0]}:
        dx, dy = 3 * spread[0], 3 * spread[1]
        box = grid.box(x - dx, x + dx, at[1] - dy, at[1] + dy)
        mix(paint.albedo[box], colour, amount * hill(grid.x[box] - x, grid.y[box] - at[1], *spread))


def _skin(paint: Paint, who: Identity, head: Head, rng: np.random.Generator) -> None:
    base = linear(who.skin)
    light = float(np.mean(base)) ** 0.5
    red = base * np.array([1.0, 0.62, 0.58], np.float32)
    dull = base * np.array([0.55, 0.46, 0.50], np.float32)  # thin skin around the eyes
    blotches = 0.18 * (0.3 + who.ruddy) * np.abs(noise(rng, SHAPE, (14, 16), 2))
    paint.albedo[:] = base + (red - base) * np.clip(blotches, 0, 1)[..., None]
    flush = 0.12 + 0.38 * who.ruddy
    tip = who.nose_length
    _dab(paint, head, (0.55, 0.45), (0.22, 0.2), red, 0.9 * flush)
    _dab(paint, head, (0.0, tip), (0.16, 0.14), red, 0.7 * flush)
    _dab(paint, head, (who.eye_x, 0.02), (0.2, 0.13), dull, 0.22 + 0.2 * who.eye_bags)
    _dab(paint, head, (who.eye_x - 0.04, 0.17), (0.15, 0.04), dull, 0.35 * who.eye_bags)
    hole = 0.42 * who.nose_width
    _dab(paint, head, (hole, tip + 0.06), (0.038, 0.019), base * 0.06, 1.1)
    _dab(paint, head, (who.nose_width + 0.005, tip + 0.02), (0.014, 0.05), base * 0.35, 0.45)
    if who.freckles > 0.05:
        box = head.grid.box(-0.95, 0.95, -0.3, 1.0)
        x, y = head.grid.x[box], head.grid.y[box]
        spots = step(1.25, 1.9, noise(rng, x.shape, (x.shape[0] / 3.2, x.shape[1] / 3.2)))
        speckle = base * np.array([0.55, 0.38, 0.28], np.float32)
        mix(paint.albedo[box], speckle, who.freckles * spots * hill(x, y - 0.35, 0.55, 0.3))
    for mole_x, mole_y, size in who.moles:
        _dab(paint, head, (mole_x, mole_y), (size, size), base * 0.16, 1.2, both=False)
    paint.gloss[:] = 0.05
    head.grid.raise_hill(paint.gloss, (0.0, -0.6), (0.4, 0.3), 0.10)
    head.grid.raise_hill(paint.gloss, (0.0, tip - 0.05), (0.12, 0.25), 0.16)
    head.grid.raise_hill(paint.gloss, (0.5, 0.3), (0.2, 0.15), 0.05)
    paint.gloss *= 1.3 - 0.6 * light
    paint.rough += 0.0011 * (1 + who.wrinkles) * noise(rng, SHAPE, (66, 74), 3)


def _lips(
    paint: Paint, who: Identity, photo: Variation, head: Head, rng: np.random.Generator
) -> None:
    half, lift, gap = head.mouth
    box = head.grid.box(-half - 0.1, half + 0.1, who.mouth_y - 0.3, who.mouth_y + 0.4 + gap)
    x, y = head.grid.x[box], head.grid.y[box]
    side = np.abs(x) / half
    bend = y - who.mouth_y + lift * side**2
    close = np.clip(1 - side**2, 0, 1)
    # Upper edge with a cupid's bow, lower edge round, both meeting in the corners.
    bow = who.upper_lip * (close**0.7) * (1 - 0.25 * hill(x, 0 * x, 0.045, 1))
    bow = bow * (1 - 0.25 * photo.smile)
    top_of_gap = -gap * 0.12 * close
    end_of_gap = gap * close**0.6
    upper = step(-0.016, 0.008, bend - top_of_gap + bow) * step(0.008, -0.008, bend - top_of_gap)
    sag = who.lower_lip * close**0.55
    lower = step(-0.008, 0.008, bend - end_of_gap) * step(0.012, -0.014, bend - end_of_gap - sag)
    inside = step(1.03, 0.97, side)
    albedo = paint.albedo[box]
    lip = linear(who.lip_colour)
    grain = 1 + 0.10 * noise(rng, x.shape, (3, x.shape[1] / 3.5))
    mix(albedo, lip * 0.78 * grain[..., None], 0.92 * upper * inside)
    mix(albedo, lip * grain[..., None], 0.9 * lower * inside)
    paint.gloss[box] += 0.16 * lower * inside
    # Between the lips: dark, with teeth when the mouth is open enough.
    if gap > 0.012:
        hole = step(-0.008, 0.008, bend - top_of_gap) * step(0.008, -0.008, bend - end_of_gap)
        hole = hole * inside
        mix(albedo, np.array([0.035, 0.012, 0.012], np.float32), hole)
        rim = 0.72 * min(gap, 0.085)
        gaps = 0.75 + 0.25 * step(0.0, 0.25, np.abs(np.sin(x / 0.075 * np.pi)))
        teeth = hole * step(0.012, -0.004, bend - top_of_gap - rim * close) * step(0.95, 0.6, side)
        ivory = np.array([0.78, 0.72, 0.62], np.float32)
        mix(albedo, ivory * gaps[..., None], 0.92 * teeth)
    line = hill(0 * x, bend - top_of_gap, 1, 0.010) * step(1.06, 0.9, side)
    mix(albedo, lip * 0.10, 0.85 * line)
    corner = hill(np.abs(x) - half, bend, 0.03, 0.02)
    mix(albedo, linear(who.skin) * 0.25, 0.6 * corner)
