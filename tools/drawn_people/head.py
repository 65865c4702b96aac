"""The head as a surface: a bulging grid of points with nose, sockets, lips and hair on it.

Rows of the grid run from the crown to the chin at constant y, columns run around the head from
the left ear over the nose to the right ear. Everything that is painted on the head later is a
function of the same grid, so it turns with the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drawn_people.fields import hill, step
from drawn_people.identity import HAIR_STYLES, Identity
from drawn_people.variation import Variation
from faceflow.arrays import Float32

ROWS, COLUMNS = 344, 344
REACH = np.deg2rad(115.0)  # how far around the head the grid goes, to each side of the nose
Box = tuple[slice, slice]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where the points of the head's surface lie, in head units (see Identity).

    Attributes:
        x, y: (ROWS, COLUMNS) position before features are raised; features are placed by these.
        rows: (ROWS,) y of each row.
        half: (ROWS,) half width of the head at each row.
        around: (COLUMNS,) angle around the head, 0 at the nose.
    """

    x: Float32
    y: Float32
    rows: Float32
    half: Float32
    around: Float32

    def box(self, x0: float, x1: float, y0: float, y1: float) -> Box:
        """The part of the grid in front of the face that holds a rectangle."""
        top = max(int(np.searchsorted(self.rows, y0)) - 1, 0)
        bottom = min(int(np.searchsorted(self.rows, y1)) + 1, ROWS)
        halves = self.half[top : max(bottom, top + 1)]
        narrow, wide = max(float(halves.min()), 0.2), float(halves.max())
        left = np.arcsin(np.clip(x0 / (narrow if x0 < 0 else wide), -1, 1))
        right = np.arcsin(np.clip(x1 / (narrow if x1 > 0 else wide), -1, 1))
        first, last = (int(i) for i in np.searchsorted(self.around, [left, right]))
        return slice(top, max(bottom, top + 1)), slice(max(first - 1, 0), min(last + 1, COLUMNS))

    def raise_hill(
        self,
        out: Float32,
        at: tuple[float, float],
        spread: tuple[float, float],
        amount: float,
        *,
        both: bool = True,
    ) -> None:
        """Add a Gaussian hill to ``out`` around ``at``, and around its mirror image."""
        if amount == 0:
            return
        reach = 3.2
        for x in {at[0], -at[0]} if both else {at[0]}:
            box = self.box(
                x - reach * spread[0],
                x + reach * spread[0],
                at[1] - reach * spread[1],
                at[1] + reach * spread[1],
            )
            out[box] += amount * hill(self.x[box] - x, self.y[box] - at[1], *spread)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Head surface of one photo, in head units; arrays (ROWS, COLUMNS).

    Attributes:
        grid: the smooth surface and its layout.
        x, z: position including features and the swell of hair (y is the grid's).
        hair: 0..1, how much of the point is covered by hair.
        mouth: half width, corner lift and gap of the mouth in this photo.
    """

    grid: Grid
    x: Float32
    z: Float32
    hair: Float32
    mouth: tuple[float, float, float]


def mouth_shape(who: Identity, photo: Variation) -> tuple[float, float, float]:
    """Half width, corner lift and gap of the mouth with this photo's expression."""
    return (
        who.mouth_width * (1 + 0.20 * photo.smile),
        0.10 * photo.smile + who.mouth_lift,
        0.13 * photo.mouth_open + 0.05 * max(0.0, photo.smile - 0.3),
    )


def build_head(who: Identity, photo: Variation) -> Head:
    """Build the surface of a person's head with a photo's expression."""
    volume = HAIR_STYLES[who.hair_style].volume
    gap = mouth_shape(who, photo)[2]
    chin = who.chin + 0.6 * gap
    top = who.crown - 0.6 * volume

    # Rows are denser than even near the crown and the chin, where the surface turns away.
    p = np.linspace(-1, 1, ROWS)
    p = 0.6 * p + 0.4 * np.sin(p * np.pi / 2)
    rows = ((top + chin) / 2 + p * (chin - top) * 0.4995).astype(np.float32)
    around = np.linspace(-REACH, REACH, COLUMNS).astype(np.float32)

    middle = -0.30
    below = np.clip((rows - middle) / (chin - middle), 0, 1)
    above = np.clip((middle - rows) / (middle - top), 0, 1)
    jaw = (1 - below**who.jaw) ** (1 / 2.1)
    jaw = jaw * (1 - 0.10 * step(0.25, 0.85, below))
    dome = (1 - above**2.7) ** (1 / 2.2)
    half = (who.width * 1.03 * jaw * dome).astype(np.float32)
    depth = 1.20 * (1 - 0.25 * below**5) * (1 - above**2.6) ** (1 / 2.1)
    depth *= 1 - 0.30 * np.clip((below - 0.9) / 0.1, 0, 1) ** 2

    # A flattened ellipse in plan: faces are flatter in front than a ball.
    sine, cosine = np.sin(around), np.cos(around)
    plan = np.sign(cosine) * (1 - np.abs(sine) ** 2.3) ** 0.5
    x = (half[:, None] * sine[None]).astype(np.float32)
    y = np.ascontiguousarray(np.broadcast_to(rows[:, None], x.shape))
    grid = Grid(x, y, rows, half, around)

    hair, bulk = _hair_cover(who, grid)
    front = np.clip(cosine * 1.6, 0, 1).astype(np.float32)[None]
    z = (depth[:, None] * plan[None]).astype(np.float32) + (
        _relief(who, photo, grid, chin) * front * (1 - 0.85 * hair)  # hair lies over wrinkles
    )
    # Hair stands off the head: push the surface out around the whole plan.
    swell = 1 + (0.025 + 0.30 * volume) * bulk
    return Head(
        grid=grid,
        x=(x * (1 + (0.02 + 0.26 * volume) * bulk)).astype(np.float32),
        z=np.where(z > 0, z * swell, z).astype(np.float32),
        hair=hair,
        mouth=mouth_shape(who, photo),
    )


def _hair_cover(who: Identity, grid: Grid) -> tuple[Float32, Float32]:
    """Where hair covers the scalp, and where it stands off it, both 0..1.

    Hair rises only some way behind its edge, so that the rise itself is hair, not skin.
    """
    style = HAIR_STYLES[who.hair_style]
    rng = np.random.default_rng([0xA1, who.seed])
    degrees = np.rad2deg(grid.around)
    out = np.abs(degrees)
    knots = rng.standard_normal(70)
    teeth = np.interp(np.linspace(0, 69, len(out)), np.arange(70), knots)
    line = who.hairline + style.line - style.recess * hill(out - 33, 0 * out, 14, 1)
    line = line + who.hair_parting * degrees / 60 * 0.16 * step(66, 50, out)
    # Beside the eyes the hairline falls to the side length.
    temple = 60 - (7 if style.sides > 0.6 else 0)
    line = line + (style.sides - line) * step(temple, temple + 12, out)
    line = line + style.jag * teeth * (0.55 - 0.4 * step(40, 60, out))
    # Distance to a steep line is less than the difference in y.
    slope = np.gradient(line, grid.around)
    soft = (0.03 if who.hair_style != "shaved" else 0.11) * np.sqrt(1 + slope**2)
    distance = (line[None] - grid.y) / soft[None]
    return step(-1, 1, distance), step(0, 9, distance)


def _relief(who: Identity, photo: Variation, grid: Grid, chin: float) -> Float32:
    """How far the features stand out of the smooth head, towards the viewer."""
    out = np.zeros_like(grid.x)
    half_width, lift, gap = mouth_shape(who, photo)
    eye, mouth = (who.eye_x, who.eye_y), who.mouth_y

    def put(x: float, y: float, width: float, height: float, amount: float) -> None:
        grid.raise_hill(out, (x, y), (width, height), amount)

    put(0.36, who.brow_y + 0.05, 0.24, 0.09, who.brow_ridge)
    put(0.0, who.brow_y, 0.16, 0.12, 0.5 * who.brow_ridge)
    put(eye[0] - 0.03, eye[1] + 0.01, 0.19, 0.14, -0.06 - who.socket)
    put(eye[0] - 0.20, eye[1] - 0.02, 0.07, 0.10, -0.06)
    put(eye[0], eye[1], 0.14, 0.095, 0.075)
    put(0.60, 0.34, 0.20, 0.16, who.cheekbone + 0.06 * photo.smile)
    put(0.50, 0.80, 0.24, 0.26, who.cheek_fat)
    put(0.92, -0.42, 0.20, 0.25, -0.03)
    put(eye[0], eye[1] + 0.20, 0.15, 0.03, -0.04 * who.eye_bags)
    put(eye[0], eye[1] + 0.14, 0.14, 0.03, 0.03 * who.eye_bags)
    _nose(who, grid, out)
    _mouth(who, photo, grid, out)
    put(0.0, mouth, 0.36, 0.24, 0.08)
    put(half_width + 0.04, mouth - lift, 0.05, 0.05, -0.05)
    put(0.0, mouth + 0.25 + gap, 0.20, 0.06, -0.055)
    put(0.0, chin - 0.20, 0.22, 0.14, 0.05 + who.chin_size)
    put(0.0, chin - 0.18, 0.03, 0.09, -who.cleft)
    put(0.62, chin - 0.42, 0.16, 0.16, 0.02 * (who.jaw - 1.8))
    _lines(who, photo, grid, out)
    return out


def _nose(who: Identity, grid: Grid, out: Float32) -> None:
    length = who.nose_length
    box = grid.box(-0.5, 0.5, -0.35, length + 0.3)
    x, y = grid.x[box], grid.y[box]
    rows = y[:, :1]
    t = np.clip((rows + 0.12) / (length + 0.12), 0, 1)  # 0 at the root, 1 at the tip
    ridge = who.nose_height * (0.20 + 0.80 * t**1.4) + who.nose_hook * np.sin(np.pi * t)
    ridge = ridge * step(-0.30, 0.0, rows) * step(length + 0.13, length - 0.015, rows)
    breadth = who.nose_bridge + (who.nose_tip - who.nose_bridge) * t + 0.015
    out[box] += (ridge * np.exp(-(np.abs(x / (breadth * 1.3)) ** 2.0))).astype(np.float32)
    grid.raise_hill(out, (0.0, length - 0.04), (who.nose_tip * 0.95, 0.085), 0.075)
    wing = who.nose_width - 0.065
    grid.raise_hill(out, (wing, length + 0.0), (0.062, 0.07), 0.10 + 0.16 * who.nose_height)
    grid.raise_hill(out, (0.42 * who.nose_width, length + 0.065), (0.04, 0.02), -0.05)


def _mouth(who: Identity, photo: Variation, grid: Grid, out: Float32) -> None:
    half_width, lift, gap = mouth_shape(who, photo)
    mouth = who.mouth_y
    box = grid.box(-half_width - 0.2, half_width + 0.2, mouth - 0.4, mouth + 0.5 + gap)
    x, y = grid.x[box], grid.y[box]
    side = np.abs(x)
    bend = y - mouth + lift * (side / half_width) ** 2
    inside = step(half_width * 1.08, half_width * 0.6, side)
    none = np.zeros_like(x)
    lips = 0.075 * hill(none, bend + who.upper_lip * 0.5 + gap * 0.2, 1, 0.055)
    lips += 0.10 * hill(none, bend - who.lower_lip * 0.5 - gap, 1, 0.06)
    lips -= 0.07 * hill(none, bend - gap * 0.4, 1, 0.025 + 0.4 * gap)
    philtrum = hill(x, none, 0.035, 1) - 0.7 * hill(side - 0.08, none, 0.03, 1)
    philtrum *= step(who.nose_length + 0.08, who.nose_length + 0.16, y)
    philtrum *= step(mouth - 0.03, mouth - 0.1, y)
    out[box] += inside * lips - 0.02 * philtrum


def _lines(who: Identity, photo: Variation, grid: Grid, out: Float32) -> None:
    """The fold from nose to mouth, and the lines of age and of raised brows."""
    half_width, _, _ = mouth_shape(who, photo)
    mouth = who.mouth_y
    box = grid.box(-0.95, 0.95, who.nose_length - 0.1, mouth + 0.35)
    x, y = grid.x[box], grid.y[box]
    t = np.clip((y - who.nose_length) / (mouth - who.nose_length), 0, 1.5)
    start = who.nose_width + 0.02
    off = np.abs(x) - (start + (half_width + 0.10 - start) * t**1.1)
    reach = step(who.nose_length - 0.04, who.nose_length + 0.12, y)
    reach = reach * step(mouth + 0.28, mouth + 0.02, y)
    depth = (0.03 + 0.05 * photo.smile) * (0.2 + who.fold)
    out[box] += depth * reach * step(-0.03, 0.05, off) * hill(off, 0 * x, 0.16, 1)

    rng = np.random.default_rng([0x3B, who.seed])
    raised = max(0.0, photo.brow_raise)
    forehead = 0.016 * who.wrinkles + 0.008 * raised
    if forehead > 0.002:
        box = grid.box(-0.8, 0.8, -1.05, -0.35)
        x, y = grid.x[box], grid.y[box]
        for level in np.linspace(-0.84, -0.5, 4):
            phase, pace = rng.uniform(0, 6), rng.uniform(2, 4)
            wave = 0.03 * np.sin(x * pace + phase) - 0.05 * x * x
            out[box] -= forehead * hill(x, y - level - wave, 0.42, 0.016)
    if who.wrinkles > 0.1:
        for side in (-1.0, 1.0):
            at = who.eye_x + who.eye_width + 0.1
            low, high = sorted((side * (at - 0.2), side * (at + 0.25)))
            box = grid.box(low, high, -0.25, 0.25)
            dx, dy = grid.x[box] * side - at, grid.y[box] - who.eye_y
            for angle in (-0.5, 0.0, 0.5):
                out[box] -= 0.014 * who.wrinkles * hill(dx, dy - angle * (dx + 0.02), 0.06, 0.013)
        grid.raise_hill(out, (0.085, who.brow_y + 0.02), (0.014, 0.09), -0.016 * who.wrinkles)
