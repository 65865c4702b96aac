"""One synthetic photo: put head, hair, body, background, light and camera together."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from drawn_people import scene
from drawn_people.head import Head, build_head
from drawn_people.identity import Identity
from drawn_people.paint import paint_head
from drawn_people.render import PLANE, REACH, Light, develop, rotation, shade, turn
from drawn_people.variation import Variation, variation
from faceflow.arrays import Float32, Float64, UInt8
from faceflow.errors import InputError

UNIT = 56.0  # pixels of a head unit in a 256-pixel photo at scale 1
CENTRE = (128.0, 130.0)  # where the point between the eyes and the mouth lies, in such a photo


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A synthetic photo and what is known about it.

    Attributes:
        image: (size, size, 3) uint8 RGB.
        landmarks: (5, 2) float64 x, y in pixels: left eye, right eye, nose tip, left and right
            mouth corner, left and right as seen in the image.
        identity, variation: what was drawn.
    """

    image: UInt8
    landmarks: Float64
    identity: Identity
    variation: Variation


def portrait(who: Identity, photo: Variation | int = 0, *, size: int = 256) -> Portrait:
    """Draw one photo of a synthetic person.

    Args:
        who: the person, from :func:`identity`.
        photo: the photo's number (its circumstances follow from person and number), or the
            circumstances themselves.
        size: side of the square photo in pixels, 32 to 1024.

    Raises:
        InputError: ``size`` is outside 32..1024.
    """
    if not 32 <= size <= 1024:
        raise InputError(
            f"a synthetic photo of {size} pixels cannot be drawn", why="32..1024 is possible"
        )
    photo = photo if isinstance(photo, Variation) else variation(who.seed, photo)
    light = Light.of(photo)
    pose = rotation(photo)
    head = build_head(who, photo)
    lit_head = turn(head, shade(head, paint_head(who, photo, head), light, pose), photo)

    side = max(size, 256)
    placed = _placement(photo, side)
    axes = _axes(placed, side)
    canvas = scene.background(axes, photo)
    scene.hair_behind(canvas, axes, who, photo, light)
    scene.body(canvas, axes, who, photo, light)
    for where in (-1.0, 1.0):
        scene.ears(canvas, axes, who, photo, light, where)
    layer = _place_head(lit_head, placed, side)
    canvas = canvas * (1 - layer[..., 3:]) + layer[..., :3]
    points = np.column_stack([_landmarks(head, who, pose), np.ones(5)])
    points = (points @ placed[:2].T + 0.5) * size / side - 0.5
    return Portrait(develop(canvas, photo, size), points, who, photo)


def draw(who: Identity, photo: Variation | int = 0, *, size: int = 256) -> UInt8:
    """The image alone of :func:`portrait`: (size, size, 3) uint8 RGB."""
    return portrait(who, photo, size=size).image


def _placement(photo: Variation, side: int) -> Float64:
    """(3, 3) head units in the image plane to canvas pixels: scale, roll, shift."""
    unit = UNIT * photo.scale * side / 256
    roll = np.deg2rad(photo.roll)
    turned = unit * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    centre = (np.array(CENTRE) + 0.5) * side / 256 - 0.5 + unit * np.array(photo.shift)
    # The head turns about a point near the middle of the face.
    offset = centre - turned @ np.array([0.0, 0.12])
    return np.vstack([np.column_stack([turned, offset]), [0, 0, 1]])


def _place_head(drawn: Float32, placed: Float64, side: int) -> Float32:
    """Warp the turned head into the photo, drawn finer first so that its edges are smooth."""
    step = 2 * REACH / (PLANE - 1)
    plane = np.array([[step, 0, -REACH], [0, step, -REACH], [0, 0, 1]])
    fine = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
    warp = (fine @ placed @ plane)[:2]
    wide = cv2.warpAffine(drawn, warp, (2 * side, 2 * side), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(wide, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _axes(to_canvas: Float64, side: int) -> tuple[Float32, Float32]:
    back = np.linalg.inv(to_canvas)
    columns, rows = np.meshgrid(
        np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32)
    )
    x = back[0, 0] * columns + back[0, 1] * rows + back[0, 2]
    y = back[1, 0] * columns + back[1, 1] * rows + back[1, 2]
    return x.astype(np.float32), y.astype(np.float32)


def _landmarks(head: Head, who: Identity, pose: Float64) -> Float64:
    """(5, 2) the landmarks in the image plane, head units."""
    half, lift, _ = head.mouth
    flat = np.array(
        [
            [-who.eye_x, who.eye_y],
            [who.eye_x, who.eye_y],
            [0.0, who.nose_length - 0.02],
            [-half, who.mouth_y - lift],
            [half, who.mouth_y - lift],
        ]
    )
    rows = np.searchsorted(head.grid.rows, flat[:, 1])
    depth = [
        float(np.interp(x, np.maximum.accumulate(head.x[row]), head.z[row]))
        for x, row in zip(flat[:, 0], rows, strict=True)
    ]
    points = np.column_stack([flat, depth]) @ pose.T
    return np.asarray(points[:, :2], dtype=np.float64)
