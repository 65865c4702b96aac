"""Who a synthetic face is: the numbers that stay the same in all its photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class HairStyle:
    """Shape of a haircut; lengths in head units (see Identity), eyes at y = 0.

    Attributes:
        line: shift of the front hairline from the person's own, negative is higher.
        recess: how far the hairline draws back above the temples.
        jag: unevenness of the hairline.
        volume: how far hair stands off the head.
        sides: y down to which hair beside the face reaches.
        curl: 0 straight to 1 frizzy.
        back: y down to which hair behind the neck reaches; 0 for none.
    """

    line: float
    recess: float
    jag: float
    volume: float
    sides: float
    curl: float
    back: float = 0.0


HAIR_STYLES = {
    "shaved": HairStyle(0.0, 0.10, 0.02, 0.0, 0.10, 0.2),
    "receding": HairStyle(-0.30, 0.30, 0.05, 0.05, 0.22, 0.1),
    "short": HairStyle(0.03, 0.10, 0.07, 0.10, 0.24, 0.1),
    "parted": HairStyle(0.06, 0.12, 0.06, 0.18, 0.30, 0.1),
    "fringe": HairStyle(0.42, -0.04, 0.10, 0.16, 0.34, 0.1),
    "quiff": HairStyle(-0.05, 0.14, 0.05, 0.34, 0.20, 0.2),
    "curly": HairStyle(0.14, 0.04, 0.12, 0.34, 0.36, 0.9),
    "afro": HairStyle(0.08, 0.02, 0.06, 0.62, 0.45, 1.0),
    "tied": HairStyle(-0.02, 0.04, 0.03, 0.07, 0.12, 0.0),
    "bob": HairStyle(0.30, -0.02, 0.08, 0.22, 1.10, 0.1, 1.35),
    "long": HairStyle(0.0, 0.02, 0.04, 0.20, 1.25, 0.2, 2.60),
    "wavy": HairStyle(0.08, 0.02, 0.10, 0.30, 1.25, 0.6, 2.30),
}
BEARDS = ("none", "stubble", "moustache", "goatee", "full")

_SKIN = np.array(  # sRGB, light to dark
    [[243, 212, 194], [232, 186, 158], [211, 160, 126], [176, 122, 88], [128, 84, 60], [84, 56, 43]]
)
_HAIR = np.array(
    [
        [24, 20, 20],
        [52, 36, 28],
        [92, 60, 38],
        [128, 66, 36],
        [176, 134, 82],
        [214, 184, 132],
        [128, 124, 122],
        [214, 212, 208],
    ]
)
_IRIS = np.array([[58, 36, 22], [92, 60, 30], [104, 110, 62], [84, 120, 106], [88, 124, 164]])


@dataclass(frozen=True, slots=True)
class Identity:
    """A made-up face. No real person was measured, photographed or learned from.

    Lengths are in head units: 1 is half the width of an average head, x to the image's right,
    y down with the eyes at 0, z towards the viewer. Colours are sRGB in 0..1.
    """

    seed: int
    # head
    width: float
    hairline: float
    chin: float
    jaw: float
    crown: float
    chin_size: float
    cleft: float
    cheekbone: float
    cheek_fat: float
    brow_ridge: float
    # skin
    skin: Colour
    ruddy: float
    wrinkles: float
    eye_bags: float
    freckles: float
    moles: tuple[tuple[float, float, float], ...]
    # eyes
    eye_x: float
    eye_y: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    lid: float
    socket: float
    iris: Colour
    liner: float
    # brows
    brow_y: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_inner: float
    brow_length: float
    brow_colour: Colour
    # nose
    nose_length: float
    nose_width: float
    nose_height: float
    nose_bridge: float
    nose_hook: float
    nose_tip: float
    # mouth
    mouth_y: float
    mouth_width: float
    mouth_lift: float
    upper_lip: float
    lower_lip: float
    lip_colour: Colour
    fold: float
    # ears and hair
    ear_size: float
    ear_out: float
    hair_style: str
    hair_colour: Colour
    hair_parting: float
    beard: str
    beard_colour: Colour


def _ramp(table: np.ndarray, t: float) -> Colour:
    """Linear interpolation in a table of sRGB colours, t in 0..1."""
    at = float(np.clip(t, 0, 1)) * (len(table) - 1)
    low = min(int(at), len(table) - 2)
    mixed = table[low] + (table[low + 1] - table[low]) * (at - low)
    return (float(mixed[0]) / 255, float(mixed[1]) / 255, float(mixed[2]) / 255)


def identity(seed: int) -> Identity:
    """The synthetic person number ``seed``; the same seed always gives the same person.

    The features that tell people apart best (skin, brows, hair, beard, eye spacing) follow a
    low-discrepancy sequence over the seed, so that people with neighbouring seeds look
    different; all others are drawn at random.
    """
    rng = np.random.default_rng([0xFACE, seed])

    # Kronecker sequence on the generalised golden ratio of eight dimensions: even coverage.
    phi = 1.0
    for _ in range(40):
        phi = (1 + phi) ** (1 / 9)
    spread = (0.5 + (seed + 1) * phi ** -np.arange(1, 9)) % 1.0
    skin_t, brow_t, hair_t, eye_t, lip_t, face_t, nose_t, iris_t = (float(s) for s in spread)

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def around(mean: float, sd: float) -> float:
        return float(mean + sd * np.clip(rng.standard_normal(), -2, 2))

    soft = float(rng.random()) < 0.5  # rounder features, no beard; else stronger ones
    old = max(0.0, between(-0.5, 1.0))
    styles = (
        ("fringe", "curly", "tied", "bob", "long", "wavy", "parted", "afro")
        if soft
        else ("shaved", "receding", "short", "parted", "fringe", "quiff", "curly", "afro", "short")
    )
    style = styles[int(rng.integers(len(styles)))]
    skin = _ramp(_SKIN, skin_t)
    dark_skin = skin_t > 0.55
    grey = old > 0.55 and rng.random() < 0.75
    hair_at = 0.86 + 0.14 * hair_t if grey else hair_t * (0.25 if dark_skin else 0.78)
    hair = _ramp(_HAIR, hair_at)
    brow = _ramp(_HAIR, between(0.72, 0.9) if grey and old > 0.8 else min(hair_at * 0.75, 0.45))
    lip_mix = between(0.25, 0.8) if soft else between(0.12, 0.4)
    lip_target = np.array([0.72, 0.22, 0.26]) if rng.random() < 0.6 else np.array([0.6, 0.3, 0.26])
    lip = np.array(skin) * np.array([0.86, 0.62, 0.6]) * (1 - lip_mix) + lip_mix * lip_target * (
        0.55 + 0.45 * np.array(skin).max()
    )
    beard = "none"
    if not soft:
        beard = ("none", "stubble", "full", "moustache", "goatee", "none", "full")[
            int(rng.integers(7))
        ]
    moles = tuple(
        (between(-0.7, 0.7), between(-0.7, 1.3), between(0.015, 0.035))
        for _ in range(int(rng.integers(0, 4)))
    )
    return Identity(
        seed=seed,
        width=0.90 + 0.20 * face_t,
        hairline=around(-0.92, 0.05),
        chin=around(1.52, 0.07) + (-0.05 if soft else 0.05),
        jaw=between(2.0, 2.7) if soft else between(2.3, 4.0),
        crown=around(-1.46, 0.04),
        chin_size=between(-0.02, 0.14),
        cleft=max(0.0, between(-0.05, 0.05)) * (0 if soft else 1),
        cheekbone=between(0.0, 0.12),
        cheek_fat=between(-0.07, 0.12),
        brow_ridge=between(0.0, 0.05) if soft else between(0.04, 0.14),
        skin=skin,
        ruddy=between(0.0, 1.0),
        wrinkles=old,
        eye_bags=max(0.0, between(-0.3, 1.0)) * (0.4 + 0.6 * old),
        freckles=max(0.0, between(-1.2, 1.0)) if skin_t < 0.4 else 0.0,
        moles=moles,
        eye_x=0.385 + 0.12 * eye_t,
        eye_y=0.0,
        eye_width=between(0.185, 0.25),
        eye_height=between(0.075, 0.12),
        eye_tilt=between(-0.14, 0.2),
        lid=between(0.0, 1.0),
        socket=between(0.02, 0.14),
        iris=_ramp(_IRIS, 0.15 * iris_t if dark_skin else iris_t),
        liner=between(0.3, 1.0) if soft else between(0.0, 0.3),
        brow_y=between(-0.36, -0.24),
        brow_thickness=(0.028 + 0.04 * brow_t) if soft else (0.045 + 0.07 * brow_t),
        brow_arch=between(0.02, 0.13) if soft else between(0.0, 0.07),
        brow_tilt=between(-0.16, 0.2),
        brow_inner=between(0.1, 0.22),
        brow_length=between(0.46, 0.62),
        brow_colour=brow,
        nose_length=0.52 + 0.2 * nose_t,
        nose_width=between(0.17, 0.31),
        nose_height=between(0.22, 0.42),
        nose_bridge=between(0.06, 0.14),
        nose_hook=between(-0.05, 0.08),
        nose_tip=between(0.09, 0.15),
        mouth_y=0.52 + 0.2 * nose_t + between(0.34, 0.46),
        mouth_width=between(0.28, 0.45),
        mouth_lift=between(-0.015, 0.04),
        upper_lip=0.03 + 0.075 * lip_t,
        lower_lip=between(0.055, 0.085) + 0.055 * lip_t,
        lip_colour=(float(lip[0]), float(lip[1]), float(lip[2])),
        fold=between(0.0, 0.4) + 0.6 * old,
        ear_size=between(0.8, 1.25),
        ear_out=between(0.03, 0.2),
        hair_style=style,
        hair_colour=hair,
        hair_parting=between(-0.5, 0.5),
        beard=beard,
        beard_colour=_ramp(_HAIR, hair_at * 0.9),
    )
