"""Hair on the head's surface: scalp, brows and beard."""

from __future__ import annotations

import cv2
import numpy as np

from drawn_people.canvas import SHAPE, Paint
from drawn_people.fields import hill, linear, mix, noise, step
from drawn_people.head import COLUMNS, ROWS, Head
from drawn_people.identity import HAIR_STYLES, Identity
from drawn_people.variation import Variation
from faceflow.arrays import Float32


def paint_hair(paint: Paint, who: Identity, head: Head, rng: np.random.Generator) -> None:
    """Paint the hair on the scalp."""
    style = HAIR_STYLES[who.hair_style]
    volume, curl = style.volume, style.curl
    cover = head.hair
    colour = linear(who.hair_colour)
    if who.hair_style == "shaved":
        grain = noise(rng, SHAPE, (190, 210))
        mix(paint.albedo, colour, cover * np.clip(0.62 + 0.16 * grain, 0, 1))
        return
    # Strands fan out from the crown point, over the parting.
    across = np.rad2deg(head.grid.around)[None] / 60 - who.hair_parting
    down = (head.grid.y - who.crown + 0.35).astype(np.float32)
    fan = np.arctan2(across * 1.3, np.clip(down, 0.05, None))
    along = np.hypot(across, down)
    strands = _polar_noise(rng, fan, along, curl)
    if curl > 0.5:
        cells = 30 if who.hair_style == "wavy" else 46
        curls = noise(rng, SHAPE, (cells, cells * 1.15), 2)
        strands = (1 - curl) * strands + curl * curls
    tone = colour[None, None] * np.exp(0.30 * strands)[..., None]
    mix(paint.albedo, tone, cover * np.clip(0.96 + 0.2 * strands * (1 - cover), 0, 1))
    paint.rough += cover * (0.012 + 0.05 * volume * curl) * strands
    # A soft band of light lies across straight hair.
    band = hill(0 * down, along - 0.75, 1, 0.16)
    paint.gloss[:] = np.where(
        cover > 0.5, 0.06 + (1 - curl) * 0.22 * band * (1 + 0.5 * strands), paint.gloss
    )


def _polar_noise(rng: np.random.Generator, fan: Float32, along: Float32, curl: float) -> Float32:
    """Noise that is fine across strands and slow along them."""
    table = noise(rng, (24, 512), (7 + 10 * curl, 256), 1)
    table += 0.8 * noise(rng, (24, 512), (5, 60), 1)
    wave = 0.06 * curl * np.sin(along * 14)
    columns = ((fan + wave) / np.pi + 0.5) * 511
    rows = np.clip(along / 3.2, 0, 1) * 23
    return (
        cv2.remap(
            table,
            columns.astype(np.float32),
            rows.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        ).astype(np.float32)
        / 1.28
    )


def paint_brow(
    paint: Paint,
    who: Identity,
    photo: Variation,
    head: Head,
    side: float,
    rng: np.random.Generator,
) -> None:
    """Paint one brow; ``side`` is -1 for the image's left one, 1 for the right."""
    centre = who.brow_inner + who.brow_length / 2
    box = head.grid.box(side * centre - 0.5, side * centre + 0.5, -0.75, 0.0)
    x, y = head.grid.x[box], head.grid.y[box]
    t = (x * side - who.brow_inner) / who.brow_length  # 0 at the nose, 1 at the temple
    arch = who.brow_arch * np.sin(np.pi * np.clip(t * 0.9, -0.3, 1.2)) * 1.3
    line = who.brow_y - who.brow_tilt * (t - 0.4) * 0.35 - arch - 0.06 * photo.brow_raise
    line = line + 0.10 * np.clip(t - 0.65, 0, 1)
    thick = who.brow_thickness * (1.05 - 0.75 * np.clip(t, 0, 1) ** 1.6) + 0.004
    ends = step(-0.06, 0.07, t) * step(1.05, 0.85, t)
    body = np.exp(-(np.abs((y - line) / thick) ** 2.6)) * ends
    # Strands lean outwards.
    height, width = x.shape
    grain = noise(rng, (height, width), (height / 9, width / 2.6))
    lean = (np.arange(height)[:, None] * 0.7 * side).astype(int)
    grain = grain[np.arange(height)[:, None], (np.arange(width)[None] + lean) % width]
    alpha = body * np.clip(0.86 + 0.22 * grain, 0, 1)
    mix(paint.albedo[box], linear(who.brow_colour) * 0.8, alpha)
    paint.rough[box] += 0.012 * alpha
    paint.gloss[box] *= 1 - 0.6 * alpha


def paint_beard(paint: Paint, who: Identity, head: Head, rng: np.random.Generator) -> None:
    """Paint the beard, if there is one."""
    if who.beard == "none":
        return
    mouth = who.mouth_y
    rows = slice(int(np.searchsorted(head.grid.rows, 0.0)), ROWS)
    x, y = head.grid.x[rows], head.grid.y[rows]
    side = np.abs(x)
    half, lift, gap = head.mouth
    bend = y - mouth + lift * (side / half) ** 2
    cover = _beard_cover(who, side, y, half, gap)
    # Lips and what is between them stay free.
    lips = step(half * 1.06, half * 0.9, side)
    lips = lips * step(-who.upper_lip - 0.03, -who.upper_lip + 0.005, bend)
    lips = lips * step(who.lower_lip + gap + 0.05, who.lower_lip + gap + 0.005, bend)
    cover = cover * (1 - lips) * (1 - head.hair[rows])
    albedo = paint.albedo[rows]
    colour = linear(who.beard_colour)
    if who.beard == "stubble":
        grain = noise(rng, x.shape, (x.shape[0] / 2.1, COLUMNS / 2.1))
        mix(albedo, colour * 0.9 + 0.012, 0.42 * cover * (0.8 + 0.25 * grain))
        return
    strands = noise(rng, x.shape, (x.shape[0] / 8, COLUMNS / 2.2), 2)
    tone = np.clip(colour * (1 + 0.35 * strands)[..., None], 0.004, 1)
    mix(albedo, tone, cover * (0.93 + 0.07 * strands))
    paint.rough[rows] += cover * (0.014 * strands + 0.03)
    paint.gloss[rows] *= 1 - 0.6 * cover


def _beard_cover(who: Identity, side: Float32, y: Float32, half: float, gap: float) -> Float32:
    """How thickly the beard grows, 0..1, before the lips are cut out."""
    mouth = who.mouth_y
    nose = who.nose_length
    middle = (mouth + nose) / 2 + 0.02
    droop = 0.35 * np.clip(side - 0.5 * half, 0, 1)
    moustache = step(1.1, 0.75, np.hypot(side / (half + 0.1), (y - middle - droop) / 0.14))
    moustache = moustache * step(nose + 0.07, nose + 0.13, y)
    tuft = step(1.1, 0.8, np.hypot(side / (half * 0.95), (y - who.chin + 0.12) / 0.36))
    tuft = np.maximum(tuft, step(0.09, 0.04, side) * step(mouth + 0.1, mouth + 0.18, y))
    tuft = tuft * step(mouth + 0.08, mouth + 0.16, y)
    if who.beard == "moustache":
        return moustache
    corners = step(0.09, 0.03, np.abs(side - half - 0.08)) * step(mouth - 0.15, mouth, y)
    if who.beard == "goatee":
        low = step(who.chin + 0.05, who.chin - 0.2, y)
        return np.asarray(np.maximum(np.maximum(moustache, tuft), corners * low), dtype=np.float32)
    # Over the cheeks the beard's edge rises towards the ears and dips beside the mouth.
    edge = mouth - 0.06 - 0.75 * np.clip(side - 0.45, 0, 1) ** 1.2
    edge = edge + 0.10 * step(half + 0.2, half, side) + gap * 0.3
    full = np.maximum(step(-0.05, 0.07, y - edge), moustache)
    return np.asarray(np.maximum(full, corners), dtype=np.float32)
