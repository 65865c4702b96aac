"""What differs between two photos of the same synthetic person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Variation:
    """One photo's circumstances. Angles in degrees; colours are sRGB in 0..1."""

    seed: int
    texture: int  # seeds background shapes, clothes and sensor noise
    yaw: float  # positive: the face turns to the image's right
    pitch: float  # positive: the face looks up
    roll: float  # positive: clockwise in the image
    scale: float  # 1 leaves the usual margin around the head
    shift: tuple[float, float]  # of the head, in head units
    light_azimuth: float  # positive: from the image's right
    light_elevation: float
    ambient: float  # share of light that comes from everywhere
    warmth: float  # -1 cold to 1 warm light
    exposure: float
    smile: float
    mouth_open: float
    brow_raise: float
    gaze: tuple[float, float]
    lids: float  # 1 as usual, less is half closed
    background: tuple[Colour, Colour]
    clothes: Colour
    blur: float  # Gaussian sigma in pixels of a 256-pixel photo
    noise: float  # sensor noise sigma in 0..255


def variation(person_seed: int, seed: int) -> Variation:
    """Circumstances of photo number ``seed`` of a person; photo 0 is frontal and plain."""
    rng = np.random.default_rng([0xF0, person_seed, seed])

    def around(mean: float, sd: float) -> float:
        return float(mean + sd * np.clip(rng.standard_normal(), -2, 2))

    def colour() -> Colour:
        grey = rng.uniform(0.08, 0.85)
        tint = rng.uniform(-0.2, 0.2, 3)
        c = np.clip(grey + 0.8 * tint * (1 - abs(2 * grey - 1)), 0.03, 0.95)
        return (float(c[0]), float(c[1]), float(c[2]))

    ease = 0.35 if seed == 0 else 1.0
    side = 1.0 if rng.random() < 0.5 else -1.0
    smile = float(rng.choice([0.0, 0.1, 0.45, 0.8])) * (0.5 if seed == 0 else 1)
    return Variation(
        seed=seed,
        texture=int(rng.integers(2**31)),
        yaw=around(0, 9) * ease,
        pitch=around(0, 4.5) * ease,
        roll=around(0, 4) * ease,
        scale=float(np.exp(around(0, 0.05))),
        shift=(around(0, 0.07), around(0, 0.05)),
        light_azimuth=side * float(rng.uniform(8, 48)),
        light_elevation=float(rng.uniform(15, 55)),
        ambient=float(rng.uniform(0.3, 0.55)),
        warmth=around(0.1, 0.4),
        exposure=float(np.exp(around(0, 0.1))),
        smile=smile,
        mouth_open=float(max(0.0, rng.uniform(-0.6, 0.5))) * ease,
        brow_raise=around(0, 0.35) * ease,
        gaze=(around(0, 0.25), around(0, 0.1)),
        lids=around(1.0, 0.07),
        background=(colour(), colour()),
        clothes=colour(),
        blur=float(rng.uniform(0.25, 0.75)),
        noise=float(rng.uniform(1.0, 4.0)),
    )
