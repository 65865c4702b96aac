"""Cuts of masks: how each style lies over a generic face, folds and is coloured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Float32, Float64, Floats
from faceflow.occlusion.light import to_linear
from faceflow.occlusion.surface import blur, curve, fabric_noise

ROWS, COLUMNS = 96, 128


@dataclass(frozen=True, slots=True, eq=False)
class MaskCut:
    """A mask before it is drawn: points (T, S, 3), relief (T, S), albedo (T, S, 3)."""

    points: Float64
    relief: Float32
    albedo: Float32
    straps: tuple[tuple[tuple[float, float, float], ...], ...]  # right side; mirrored
    strap_colour: Float32
    gloss: float


def _grid() -> tuple[Float64, Float64]:
    """t down the mask 0..1 and s across it -1..1, each (T, S)."""
    t, s = np.meshgrid(np.linspace(0, 1, ROWS), np.linspace(-1, 1, COLUMNS), indexing="ij")
    return t, s


def _shape(
    t: Float64,
    s: Float64,
    *,
    centre_y: Float64,
    centre_z: Float64,
    side_y: Float64,
    side_z: Float64,
    half: Float64,
    nose: Float64,
    bend: float,
    sweep: float,
) -> Float64:
    """(T, S, 3) points: a centre line over nose and chin, side lines before the ears.

    ``nose`` (0..1) says how much of the rise to the centre happens close to it, as on the
    nose's bridge; ``bend`` and ``sweep`` how round the section and the edges are.
    """
    out = np.abs(s)
    rise = (1 - nose) * (1 - out**bend) + nose * np.exp(-((out / 0.26) ** 2)) * (1 - out**4)
    y = centre_y + (side_y - centre_y) * out**sweep
    z = side_z + (centre_z - side_z) * rise
    return np.stack([half * np.sin(s * 1.25) / np.sin(1.25), y, z], axis=-1)


def _crease(position: Floats, at: float | Floats, width: float) -> Float64:
    return np.asarray(np.exp(-0.5 * ((position - at) / width) ** 2), dtype=np.float64)


_EAR_LOOPS = (
    ((1.02, 0.45, -0.32), (1.09, 0.24, -0.62), (1.15, 0.06, -0.98)),
    ((0.96, 1.24, -0.38), (1.05, 1.00, -0.68), (1.12, 0.72, -0.98)),
)


def surgical(colour: Float32, rng: np.random.Generator) -> MaskCut:
    """A pleated sheet with pale borders and a wire over the nose."""
    t, s = _grid()
    out = np.abs(s)
    drop = rng.uniform(-0.05, 0.06)
    points = _shape(
        t,
        s,
        centre_y=curve(t, 0.26 + drop, 0.66, 1.08, 1.48, 1.80),
        centre_z=curve(t, 0.42, 0.63, 0.58, 0.46, 0.14),
        side_y=0.42 + drop + 0.84 * t,
        side_z=-0.28 - 0.10 * t,
        half=1.04 - 0.07 * t,
        nose=0.75 * np.clip(1 - 2.6 * t, 0, 1) ** 1.3,
        bend=2.0,
        sweep=1.7,
    )
    relief = np.zeros_like(t)
    shade = np.ones_like(t)
    spread = 1 - 0.55 * out**2  # pleats open towards the middle
    for index, place in enumerate((0.30, 0.47, 0.64)):
        at = 0.5 + (place - 0.5) * spread + 0.008 * fabric_noise(rng, t.shape, (2, 5))
        below = np.clip((t - at) / 0.17, 0, 1)
        relief += 0.034 * np.where(t > at, (1 - below) ** 2, 0) * (1 - 0.4 * out)
        shade *= 1 - (0.26 - 0.04 * index) * _crease(t, at + 0.006, 0.009)
    relief += 0.030 * fabric_noise(rng, t.shape, (6, 6)) * (0.3 + out**2)
    relief += 0.018 * fabric_noise(rng, t.shape, (18, 5)) * out**2
    relief += 0.010 * _crease(t, 0.055, 0.018) * (out < 0.42)
    border = np.clip(
        np.maximum.reduce([1 - t / 0.035, (t - 0.965) / 0.035, (out - 0.955) / 0.03]), 0, 1
    )
    stitches = np.maximum(_crease(t, 0.075, 0.006), _crease(t, 0.945, 0.006))
    shade *= 1 - 0.10 * stitches * (0.6 + 0.4 * np.sign(np.sin(s * 160)))
    shade *= 1 + 0.015 * rng.standard_normal(t.shape)
    albedo = colour * shade[..., None]
    pale = 0.6 * colour + 0.4 * np.float32(max(0.75, float(colour.max())))
    albedo = albedo + (pale - albedo) * (0.75 * border)[..., None]
    return MaskCut(
        points,
        relief.astype(np.float32),
        albedo.astype(np.float32),
        _EAR_LOOPS,
        to_linear((0.88, 0.88, 0.88)),
        0.02,
    )


def kn95(colour: Float32, rng: np.random.Generator) -> MaskCut:
    """A folded respirator: a ridge down the middle, welded edges."""
    t, s = _grid()
    out = np.abs(s)
    points = _shape(
        t,
        s,
        centre_y=curve(t, 0.24, 0.70, 1.10, 1.48, 1.82),
        centre_z=curve(t, 0.40, 0.78, 0.86, 0.66, 0.12),
        side_y=0.52 + 0.60 * t,
        side_z=-0.34 + 0 * t,
        half=1.04 - 0.05 * t,
        nose=0.45 * np.clip(1 - 2.2 * t, 0, 1),
        bend=1.25,
        sweep=1.35,
    )
    relief = 0.024 * fabric_noise(rng, t.shape, (6, 7)) + 0.010 * _crease(out, 0, 0.012)
    shade = 1 - 0.20 * _crease(out, 0.022, 0.010)
    for weld in (_crease(t, 0.05, 0.008), _crease(t, 0.95, 0.008), _crease(out, 0.93, 0.008)):
        shade *= 1 - 0.14 * weld
        relief -= 0.004 * weld
    shade *= 1 - 0.10 * _crease(t - 0.18 + 0.10 * out, 0, 0.007) * (out < 0.75)
    shade *= 1 + 0.012 * rng.standard_normal(t.shape)
    loops = (
        ((1.02, 0.56, -0.34), (1.08, 0.28, -0.66), (1.14, 0.06, -0.98)),
        ((0.98, 1.08, -0.34), (1.05, 0.92, -0.66), (1.11, 0.72, -0.98)),
    )
    return MaskCut(
        points,
        relief.astype(np.float32),
        (colour * shade[..., None]).astype(np.float32),
        loops,
        to_linear((0.86, 0.86, 0.86)),
        0.03,
    )


def cup(colour: Float32, rng: np.random.Generator) -> MaskCut:
    """A moulded cup with straps around the head."""
    t, s = _grid()
    out = np.abs(s)
    points = _shape(
        t,
        s,
        centre_y=curve(t, 0.26, 0.62, 1.06, 1.48, 1.74),
        centre_z=curve(t, 0.36, 0.76, 0.86, 0.70, 0.16),
        side_y=0.62 + 0.70 * t,
        side_z=-0.10 + 0 * t,
        half=0.84 + 0.08 * np.sin(np.pi * t),
        nose=0.25 * np.clip(1 - 2.4 * t, 0, 1),
        bend=2.3,
        sweep=2.0,
    )
    relief = 0.008 * fabric_noise(rng, t.shape, (8, 9))
    relief += 0.008 * rng.standard_normal(t.shape) * 0.12
    rim = np.maximum(
        np.clip((out - 0.92) / 0.05, 0, 1), np.clip((np.abs(t - 0.5) - 0.46) / 0.03, 0, 1)
    )
    shade = 1 - 0.10 * _crease(rim, 0.5, 0.2)
    albedo = colour * shade[..., None] * (1 + 0.01 * rng.standard_normal(t.shape))[..., None]
    clip = np.clip(_crease(t, 0.085, 0.022) * 1.6, 0, 1) * (out < 0.30)
    albedo = albedo + (to_linear((0.62, 0.63, 0.65)) - albedo) * clip[..., None]
    straps = (
        ((0.85, 0.72, -0.08), (1.02, 0.36, -0.42), (1.13, -0.10, -0.9)),
        ((0.85, 1.24, -0.08), (0.96, 1.18, -0.45), (1.08, 1.02, -0.9)),
    )
    return MaskCut(
        points,
        relief.astype(np.float32),
        albedo.astype(np.float32),
        straps,
        to_linear((0.85, 0.80, 0.60)),
        0.02,
    )


def cloth(colour: Float32, rng: np.random.Generator) -> MaskCut:
    """A sewn cloth mask with a seam, wrinkles and sometimes a pattern."""
    t, s = _grid()
    out = np.abs(s)
    drop = rng.uniform(-0.05, 0.08)
    points = _shape(
        t,
        s,
        centre_y=curve(t, 0.26 + drop, 0.68, 1.10, 1.50, 1.84),
        centre_z=curve(t, 0.44, 0.70, 0.68, 0.52, 0.12),
        side_y=0.42 + drop + 0.88 * t,
        side_z=-0.40 - 0.05 * t,
        half=1.08 - 0.09 * t,
        nose=0.6 * np.clip(1 - 2.4 * t, 0, 1),
        bend=1.55,
        sweep=1.55,
    )
    relief = 0.034 * fabric_noise(rng, t.shape, (6, 6)) * (0.45 + 0.8 * out)
    relief += 0.020 * fabric_noise(rng, t.shape, (14, 5)) * out**2
    relief += 0.010 * _crease(out, 0.0, 0.014)
    seam = _crease(out, 0.0, 0.008) + _crease(t, 0.055, 0.006) + _crease(t, 0.945, 0.006)
    shade = (1 - 0.22 * np.clip(seam, 0, 1)) * (1 + 0.02 * rng.standard_normal(t.shape))
    albedo = _pattern(colour, t, s, rng) * shade[..., None]
    return MaskCut(
        points, relief.astype(np.float32), albedo.astype(np.float32), _EAR_LOOPS, colour * 0.9, 0.0
    )


def _pattern(colour: Float32, t: Float64, s: Float64, rng: np.random.Generator) -> Float64:
    """(T, S, 3) plain cloth half of the time, else stripes, checks, dots or leaves."""
    kind = int(rng.integers(8))
    other = to_linear(np.clip(rng.uniform(0.1, 0.95) + rng.uniform(-0.2, 0.2, 3), 0.03, 0.95))
    if kind == 0:
        share = 1.0 * (np.sin(t * 46) > 0.25)
    elif kind == 1:
        share = 0.5 * (np.sin(t * 40) > 0) + 0.5 * (np.sin(s * 26) > 0)
    elif kind == 2:
        row = np.floor(t * 9)
        share = (np.hypot((s * 8 + 0.5 * (row % 2)) % 1 - 0.5, (t * 9) % 1 - 0.5) < 0.25) * 1.0
    elif kind == 3:
        share = 1.0 * (np.abs(fabric_noise(rng, t.shape, (14, 20))) > 0.75)
    else:
        share = np.zeros_like(t)
    soft = blur(share, 0.7)
    return np.asarray(colour + (other - colour) * soft[..., None], dtype=np.float64)
