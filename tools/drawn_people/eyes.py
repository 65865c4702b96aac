"""Eyes: lids, lashes, white, iris and pupil."""

from __future__ import annotations

import numpy as np

from drawn_people.canvas import Paint
from drawn_people.fields import hill, linear, mix, step
from drawn_people.head import Head
from drawn_people.identity import Identity
from drawn_people.variation import Variation


def paint_eye(paint: Paint, who: Identity, photo: Variation, head: Head, side: float) -> None:
    """Paint one eye with its lids; ``side`` is -1 for the image's left one, 1 for the right."""
    centre_x, centre_y = side * who.eye_x, who.eye_y
    box = head.grid.box(centre_x - 0.42, centre_x + 0.42, centre_y - 0.36, centre_y + 0.3)
    x, y = head.grid.x[box], head.grid.y[box]
    out = (x - centre_x) * side  # towards the ear
    rise = y - centre_y + who.eye_tilt * out * 0.8
    t = np.clip(out / who.eye_width, -1.2, 1.2)
    arch = np.clip(1 - np.abs(t + 0.06) ** 2.1, 0, 1)
    openness = photo.lids * (1 - 0.22 * photo.smile) * (1 + 0.12 * photo.brow_raise)
    upper = -1.02 * who.eye_height * openness * arch**0.8
    lower = 0.55 * who.eye_height * (1 - 0.25 * photo.smile) * np.clip(1 - (t - 0.08) ** 2, 0, 1)
    inside = step(-0.006, 0.009, rise - upper) * step(0.007, -0.007, rise - lower)
    inside = inside * step(1.05, 0.97, np.abs(t))
    albedo = paint.albedo[box]
    skin = linear(who.skin)

    # Lid: crease above the opening, make-up or natural shade between crease and lashes.
    lid_height = 0.045 + 0.06 * who.lid
    crease = upper - lid_height * np.clip(1 - 0.55 * t**2, 0, 1)
    fold = np.exp(-0.5 * ((rise - crease) / 0.011) ** 2) * step(1.18, 0.8, np.abs(t))
    lid = step(crease - 0.02, crease + 0.01, rise) * step(0.01, -0.01, rise - upper)
    mix(albedo, skin * np.array([0.5, 0.40, 0.38]), 0.35 * lid * step(1.2, 0.9, np.abs(t)))
    mix(albedo, skin * 0.18, 0.75 * fold)
    under = np.exp(-0.5 * ((rise - lower - 0.045) / 0.014) ** 2) * step(1.15, 0.6, np.abs(t))
    mix(albedo, skin * 0.4, (0.16 + 0.4 * who.eye_bags) * under)

    white = np.array([0.70, 0.665, 0.64], np.float32)
    mix(albedo, white, inside)
    veins = np.clip(np.abs(t) - 0.4, 0, 1)
    mix(albedo, np.array([0.62, 0.36, 0.33], np.float32), 0.5 * inside * veins)
    inner = hill(out + who.eye_width * 0.93, rise - 0.01, 0.03, 0.025)
    mix(albedo, np.array([0.55, 0.25, 0.22], np.float32), inside * inner)

    # Iris, radial streaks, dark rim, pupil.
    iris_x = out - (photo.gaze[0] * side + 0.0) * 0.12
    iris_y = y - centre_y + 0.012 - photo.gaze[1] * 0.08 + who.eye_height * 0.12
    radius = np.hypot(iris_x, iris_y)
    angle = np.arctan2(iris_y, iris_x)
    size = 0.090
    streaks = 1 + 0.28 * np.sin(angle * 17 + 3 * np.sin(angle * 5)) * step(0.03, 0.07, radius)
    iris = linear(who.iris)[None, None] * (1.25 * streaks * (0.75 + 0.5 * (iris_y > 0)))[..., None]
    mix(albedo, iris, inside * step(size + 0.006, size - 0.006, radius))
    rim = np.exp(-0.5 * ((radius - size + 0.006) / 0.010) ** 2)
    mix(albedo, linear(who.iris) * 0.12, 0.85 * inside * rim)
    mix(albedo, np.full(3, 0.004, np.float32), inside * step(0.050, 0.038, radius))

    # The upper lid shades the ball; lashes line both lids.
    shade = np.exp(-np.clip(rise - upper, 0, None) / 0.035)
    albedo *= (1 - 0.62 * inside * shade)[..., None]
    corner = 1 - 0.45 * inside * np.abs(t) ** 3
    albedo *= corner[..., None]
    thick = 0.010 + 0.012 * who.liner
    lash = np.exp(-0.5 * ((rise - upper + 0.3 * thick) / thick) ** 2)
    wing = step(1.12 + 0.2 * who.liner, 0.95, t) * step(-1.05, -0.9, t)
    mix(albedo, np.array([0.012, 0.009, 0.008], np.float32), 0.95 * lash * wing)
    low = np.exp(-0.5 * ((rise - lower) / 0.008) ** 2) * step(1.05, 0.9, np.abs(t))
    mix(albedo, skin * 0.12, (0.35 + 0.5 * who.liner) * low)

    paint.eyes[box] = np.maximum(paint.eyes[box], inside)
    ball = paint.ball[box]
    ball[..., 0] = np.where(inside > 0, (x - centre_x) / 0.34, ball[..., 0])
    ball[..., 1] = np.where(inside > 0, (y - centre_y) / 0.34, ball[..., 1])
    paint.gloss[box] *= 1 - inside
