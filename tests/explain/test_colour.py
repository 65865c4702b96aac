from __future__ import annotations

import numpy as np
import pytest

from faceflow.arrays import Float64, UInt8
from faceflow.explain.drawing.colour import (
    INK,
    MUTED,
    PAPER,
    contribution_colours,
    weight_colours,
)

STEPS = np.linspace(0, 1, 256)


def linear(colours: UInt8) -> Float64:
    share = colours / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lightness(colours: UInt8) -> Float64:
    """CIE L*, a second measure than the OKLab the tables are made in."""
    y = linear(colours) @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def deuteranopia(colours: UInt8) -> UInt8:
    """What people without green cones see (Vienot, Brettel & Mollon 1999)."""
    seen = (
        linear(colours)
        @ np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]).T
    )
    seen = np.clip(seen, 0, 1)
    srgb = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * srgb), dtype=np.uint8)


@pytest.mark.parametrize("see", [lambda colours: colours, deuteranopia], ids=["all", "no green"])
def test_lightness_alone_tells_weights_apart(see: object) -> None:
    assert callable(see)
    steps = np.diff(lightness(see(weight_colours(STEPS)))[::8])
    assert steps.min() > 0
    assert steps.max() < 2.2 * steps.mean(), "no jump looks like a border that is not there"


def test_contributions_darken_evenly_on_both_sides() -> None:
    up, down = lightness(contribution_colours(STEPS)), lightness(contribution_colours(-STEPS))
    assert (np.diff(up[::8]) < 0).all()
    assert (np.diff(down[::8]) < 0).all()
    assert np.abs(up - down).max() < 6, "plus and minus of one size look equally strong"
    assert lightness(contribution_colours(np.zeros(1)))[0] > 90
    signs = deuteranopia(contribution_colours(np.array([-0.5, 0.5]))).astype(int)
    assert np.abs(signs[0] - signs[1]).sum() > 150, "the sign shows without green cones"


def test_values_outside_the_scale_are_clipped() -> None:
    assert np.array_equal(weight_colours(np.array([-1.0, 2.0])), weight_colours(np.array([0.0, 1])))
    assert contribution_colours(np.array([[3.0]])).shape == (1, 1, 3)


def test_words_are_readable() -> None:
    light, ink, muted = linear(np.array([PAPER, INK, MUTED], dtype=np.uint8)) @ [
        0.2126,
        0.7152,
        0.0722,
    ]
    assert (light + 0.05) / (ink + 0.05) > 12
    assert (light + 0.05) / (muted + 0.05) > 4.5
