"""Small smooth fields the painter is built from: ramps, bumps and noise."""

from __future__ import annotations

import cv2
import numpy as np

from faceflow.arrays import Float32, Floats


def step(low: float, high: float, values: Floats) -> Float32:
    """Smooth ramp from 0 at ``low`` to 1 at ``high`` (either may be the larger)."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def hill(dx: Floats, dy: Floats, width: float, height: float) -> Float32:
    """Gaussian hill of peak 1 with the given standard deviations."""
    return np.asarray(
        np.exp(-0.5 * (np.square(dx / width) + np.square(dy / height))), dtype=np.float32
    )


def noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float], octaves: int = 1
) -> Float32:
    """Smooth noise about 0 with standard deviation near 1.

    Args:
        shape: (H, W) of the field.
        cells: how many random cells fit along H and W; each octave doubles them.
    """
    total = np.zeros(shape, np.float32)
    weight, power = 1.0, 0.0
    for octave in range(octaves):
        rows = max(2, min(shape[0], round(cells[0] * 2**octave)))
        columns = max(2, min(shape[1], round(cells[1] * 2**octave)))
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        total += weight * cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
        power += weight**2 * 0.45
        weight *= 0.6
    return np.asarray(total / np.float32(power**0.5), dtype=np.float32)


def linear(colour: tuple[float, float, float]) -> Float32:
    """An sRGB colour as linear light, by the plain 2.2 power."""
    return (np.asarray(colour, np.float32) ** 2.2).astype(np.float32)


def mix(canvas: Float32, colour: Floats, alpha: Floats) -> None:
    """Paint ``colour`` (3,) or (H, W, 3) over ``canvas`` (H, W, 3) with ``alpha`` (H, W)."""
    change = np.asarray(colour, dtype=np.float32) - canvas
    change *= np.clip(alpha, 0, 1)[..., None]
    canvas += change
