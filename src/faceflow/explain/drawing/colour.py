"""The colours of the pictures: ink and paper, and two colour scales.

The scales are computed in OKLab (Bjorn Ottosson, 2020), where equal steps look equally large.
Lightness alone carries the value, so they can be read by colour-blind people and in grey
print; the hue only helps.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from faceflow.arrays import Bools, Float64, Floats, UInt8

Colour = tuple[int, int, int]

PAPER: Colour = (252, 251, 248)
INK: Colour = (28, 33, 45)
MUTED: Colour = (92, 100, 114)
RULE: Colour = (223, 220, 212)
BLANK: Colour = (238, 236, 230)
# A blue and an orange that also differ in lightness: the pair most people can tell apart.
EMD: Colour = (36, 99, 158)
COSINE: Colour = (224, 142, 44)
VISIBLE: Colour = (122, 178, 160)  # between the two in lightness
NEAR: Colour = (36, 99, 158)
FAR: Colour = (214, 104, 16)

_STEPS = 256
_FROM_OKLAB = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_TO_LINEAR_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def weight_colours(values: Floats) -> UInt8:
    """Colours (..., 3) of values 0 (deep indigo) to 1 (pale yellow); values are clipped."""
    return _look_up(_sequential(), values)


def contribution_colours(values: Floats) -> UInt8:
    """Colours (..., 3) of values -1 (deep orange) over 0 (near white) to 1 (deep blue)."""
    return _look_up(_diverging(), (np.asarray(values, dtype=np.float64) + 1) / 2)


def _look_up(table: UInt8, values: Floats) -> UInt8:
    place = np.clip(np.asarray(values, dtype=np.float64), 0, 1) * (_STEPS - 1)
    return np.asarray(table[np.rint(place).astype(np.int64)])


@cache
def _sequential() -> UInt8:
    """Indigo over magenta and orange to yellow, lightness rising evenly."""
    t = np.linspace(0, 1, _STEPS)
    return _table(lightness=0.26 + 0.68 * t, chroma=0.17 - 0.03 * t, hue=282 + 182 * t)


@cache
def _diverging() -> UInt8:
    """Orange, near white in the middle, blue; lightness falls evenly to both ends."""
    t = np.linspace(-1, 1, _STEPS)
    away = np.abs(t)
    return _table(
        lightness=0.96 - 0.48 * away,
        chroma=0.17 * np.minimum(1, 1.5 * away),
        hue=np.where(t < 0, 52.0, 252.0),
    )


def _table(lightness: Float64, chroma: Float64, hue: Float64) -> UInt8:
    """sRGB bytes of OKLCh colours; chroma is lowered where sRGB cannot show it."""
    # Halving the step 12 times finds the largest chroma share to 1/4096, below one byte.
    share = np.zeros_like(lightness)
    for step in 0.5 ** np.arange(0, 13):
        inside = _inside(_linear_rgb(lightness, chroma * np.minimum(share + step, 1), hue))
        share = np.where(inside, np.minimum(share + step, 1), share)
    linear = np.clip(_linear_rgb(lightness, chroma * share, hue), 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(srgb * 255), dtype=np.uint8)


def _linear_rgb(lightness: Float64, chroma: Float64, hue: Float64) -> Float64:
    angle = np.deg2rad(hue)
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)
    return np.asarray((lab @ _FROM_OKLAB.T) ** 3 @ _TO_LINEAR_RGB.T, dtype=np.float64)


def _inside(linear: Float64) -> Bools:
    return np.asarray(((linear >= 0) & (linear <= 1)).all(axis=-1), dtype=np.bool_)
