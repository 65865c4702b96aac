"""Light, pose and camera: from a painted head to pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from drawn_people.canvas import Paint
from drawn_people.fields import step
from drawn_people.head import COLUMNS, ROWS, Head
from drawn_people.variation import Variation
from faceflow.arrays import Float32, Float64, Floats, UInt8

PLANE = 440  # the turned head is drawn on PLANE x PLANE before it is put into the photo
REACH = 2.1  # half side of that plane in head units


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """One key light and light from everywhere; linear colours."""

    direction: Float32  # (3,) unit, towards the light, camera axes
    key: Float32  # (3,)
    ambient: Float32  # (3,)

    @classmethod
    def of(cls, photo: Variation) -> Light:
        """Read a photo's light."""
        azimuth, elevation = np.deg2rad([photo.light_azimuth, photo.light_elevation])
        direction = np.array(
            [
                np.sin(azimuth) * np.cos(elevation),
                -np.sin(elevation),
                np.cos(azimuth) * np.cos(elevation),
            ],
            np.float32,
        )
        tint = np.array([1 + 0.10 * photo.warmth, 1.0, 1 - 0.14 * photo.warmth], np.float32)
        cool = np.array([1 - 0.05 * photo.warmth, 1.0, 1 + 0.08 * photo.warmth], np.float32)
        strength = photo.exposure
        return cls(
            direction,
            (tint * strength * 1.35 * (1.25 - photo.ambient)).astype(np.float32),
            (cool * strength * photo.ambient * 0.95).astype(np.float32),
        )


def rotation(photo: Variation) -> Float64:
    """(3, 3) head axes to camera axes: yaw, then pitch (roll is done in the image plane)."""
    yaw, pitch = np.deg2rad([photo.yaw, photo.pitch])
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    )
    return np.asarray(nod @ turn, dtype=np.float64)


def shade(head: Head, paint: Paint, light: Light, pose: Float64) -> Float32:
    """Light the head where it is painted: (ROWS, COLUMNS, 3) linear."""
    z = head.z + paint.rough
    x_col, z_col = _slope(head.x, 1), _slope(z, 1)
    x_row, z_row = _slope(head.x, 0), _slope(z, 0)
    y_row = np.gradient(head.grid.rows)[:, None].astype(np.float32)
    # Cross product of the two tangents (the column tangent has no y).
    cross = (-z_col * y_row, z_col * x_row - x_col * z_row, x_col * y_row)
    normal: Float32 = np.stack(cross, axis=-1).astype(np.float32, copy=False)
    normal /= np.maximum(np.sqrt(np.einsum("ijk,ijk->ij", normal, normal)), 1e-9)[..., None]
    # Eyeballs are smooth: they have a normal of their own.
    ball_z = np.sqrt(np.clip(1 - np.sum(paint.ball**2, axis=-1), 0.05, 1))
    ball = np.concatenate([paint.ball, ball_z[..., None]], axis=-1)
    normal += (ball - normal) * paint.eyes[..., None]
    normal = (normal @ pose.T.astype(np.float32)).astype(np.float32)

    facing = normal @ light.direction
    shadow = _cast_shadow(head, z, light, pose)
    cavity = _cavity(z, head)
    # Skin scatters red furthest: the light wraps around it and shadows bleed red.
    sky = (0.72 - 0.28 * normal[..., 1]) * cavity  # more from above
    dim = 0.55 + 0.45 * cavity
    colour = paint.albedo.copy()
    for channel, (wrap, bleed) in enumerate(((0.32, 0.64), (0.20, 0.78), (0.15, 0.85))):
        diffuse = np.clip((facing + wrap) / (1 + wrap), 0, None) * (1 - bleed * shadow)
        total = diffuse * light.key[channel] + sky * light.ambient[channel]
        colour[..., channel] *= total * dim
    halfway = light.direction + np.array([0, 0, 1], np.float32)
    glint = np.clip(normal @ (halfway / np.linalg.norm(halfway)), 0, 1)
    glint_16 = _power_16(glint)
    sheen = paint.gloss * (0.75 * glint_16 + 0.9 * glint_16**2 * glint_16**2) * (1 - 0.8 * shadow)
    away = 1 - np.clip(normal[..., 2], 0, 1)
    sheen += 0.05 * away * away * away * cavity
    # A window-like catch light in the eyes.
    sheen += 0.9 * step(0.986, 0.996, glint) * paint.eyes
    colour += sheen[..., None] * light.key
    return np.asarray(colour, dtype=np.float32)


def _power_16(values: Float32) -> Float32:
    for _ in range(4):
        values = values * values
    return values


def _slope(values: Float32, axis: int) -> Float32:
    """Central differences with the border repeated."""
    before = np.roll(values, 1, axis)
    after = np.roll(values, -1, axis)
    if axis == 0:
        before[0], after[-1] = values[0], values[-1]
    else:
        before[:, 0], after[:, -1] = values[:, 0], values[:, -1]
    return np.asarray((after - before) * np.float32(0.5), dtype=np.float32)


def _cavity(z: Float32, head: Head) -> Float32:
    """1 in the open, less in dents: how much of the sky a point sees."""
    small = cv2.resize(z, (COLUMNS // 2, ROWS // 2), interpolation=cv2.INTER_AREA)
    dent = np.clip(cv2.GaussianBlur(small, (0, 0), 4) - small, -0.02, 0.2) * 7
    dent += np.clip(cv2.GaussianBlur(small, (0, 0), 13) - small, -0.02, 0.3) * 2.2
    wide = cv2.resize(dent, (COLUMNS, ROWS), interpolation=cv2.INTER_LINEAR)
    front = np.clip(np.cos(head.grid.around) * 1.4, 0, 1)[None]
    return np.asarray(np.clip(1 - np.clip(wide, 0, None) * front, 0.25, 1), dtype=np.float32)


def _cast_shadow(head: Head, z: Float32, light: Light, pose: Float64) -> Float32:
    """Soft shadows of nose, brows, lips and hair: step towards the light and look for height."""
    lamp = pose.T @ light.direction.astype(np.float64)
    if lamp[2] < 0.1:
        return np.zeros_like(z)
    shape = (ROWS // 2, COLUMNS // 2)
    size = (shape[1], shape[0])
    low = cv2.resize(z, size, interpolation=cv2.INTER_AREA)
    x = cv2.resize(head.x, size, interpolation=cv2.INTER_AREA)
    rows = cv2.resize(head.grid.y, size, interpolation=cv2.INTER_AREA)[:, 0]
    per_column = np.maximum(np.gradient(x, axis=1), 1e-3)
    per_row = np.gradient(rows)[:, None]
    columns, lines = np.meshgrid(
        np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32)
    )
    deepest = np.zeros(shape, np.float32)
    for distance in (0.06, 0.11, 0.17, 0.25, 0.36):
        map_x = columns + distance * lamp[0] / lamp[2] / per_column
        map_y = lines + distance * lamp[1] / lamp[2] / per_row
        seen = cv2.remap(
            low,
            map_x.astype(np.float32),
            map_y.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        deepest = np.maximum(deepest, (seen - low - distance) / (0.03 + 0.25 * distance))
    soft = cv2.GaussianBlur(np.clip(deepest, 0, 1), (0, 0), 1.6)
    front = np.clip(np.cos(head.grid.around) * 2, 0, 1)[None]
    wide = cv2.resize(soft, (COLUMNS, ROWS), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(wide, 0, 1) * front, dtype=np.float32)


def turn(head: Head, colour: Float32, photo: Variation) -> Float32:
    """Turn the lit head by yaw and pitch onto a flat plane.

    Two passes, each exact along one axis: every row is turned by the yaw, then every column
    of the result by the pitch. Points hidden behind the nose or beyond the silhouette fall out
    because only what increases along the axis is kept.

    Returns:
        (PLANE, PLANE, 4) linear colour times coverage, and coverage; the plane spans
        -REACH..REACH head units both ways.
    """
    yaw, pitch = np.deg2rad([photo.yaw, photo.pitch])
    x_turned = head.x * np.float32(np.cos(yaw)) + head.z * np.float32(np.sin(yaw))
    z_turned = head.z * np.float32(np.cos(yaw)) - head.x * np.float32(np.sin(yaw))
    column_of = _invert(x_turned, forward=yaw >= 0)
    rows = np.broadcast_to(np.arange(ROWS, dtype=np.float32)[:, None], column_of.shape)
    depth = cv2.remap(z_turned, column_of, rows, cv2.INTER_LINEAR)
    filled = column_of >= 0
    y_turned = head.grid.rows[:, None] * np.cos(pitch) - depth * np.sin(pitch)
    y_turned = np.where(filled, y_turned, np.nan)
    row_of = _invert(y_turned.T, forward=pitch < 0).T
    columns = np.broadcast_to(np.arange(PLANE, dtype=np.float32), row_of.shape)
    texture_column = cv2.remap(column_of, columns, np.ascontiguousarray(row_of), cv2.INTER_LINEAR)
    cover = ((row_of >= 0) & (texture_column >= 0)).astype(np.float32)
    drawn = cv2.remap(colour, texture_column, np.ascontiguousarray(row_of), cv2.INTER_LINEAR)
    return np.concatenate([drawn * cover[..., None], cover[..., None]], axis=-1)


def _invert(positions: Floats, *, forward: bool) -> Float32:
    """Which index of each line lies at each place of the plane.

    Args:
        positions: (L, M) where each of M points of L lines falls, in head units; NaN where a
            line has no point. Rising along a line but for points that lie behind others.
        forward: which end hides the other where a line falls back.

    Returns:
        (L, PLANE) fractional index along the line, -1 where the line is not.
    """
    grid = np.linspace(-REACH, REACH, PLANE).astype(np.float32)
    indices = np.arange(positions.shape[1], dtype=np.float32)
    out = np.full((len(positions), PLANE), -1, np.float32)
    known = np.isfinite(positions)
    lowest = np.where(known, positions, np.inf).argmin(axis=1)
    highest = np.where(known, positions, -np.inf).argmax(axis=1)
    for index in np.flatnonzero(highest - lowest > 2):
        part = slice(int(lowest[index]), int(highest[index]) + 1)
        line = positions[index, part]
        line = np.fmax.accumulate(line) if forward else np.fmin.accumulate(line[::-1])[::-1]
        out[index] = np.interp(grid, line, indices[part], -1, -1)
    return out


def develop(linear_light: Float32, photo: Variation, size: int) -> UInt8:
    """Camera: lens blur, tone curve, sensor noise; linear (H, W, 3) to sRGB uint8 of ``size``."""
    scale = size / 256
    picture = cv2.resize(linear_light, (size, size), interpolation=cv2.INTER_AREA)
    picture = cv2.GaussianBlur(picture, (0, 0), max(photo.blur * scale, 0.05))
    # A soft shoulder keeps highlights from clipping flat.
    picture = np.clip(picture, 0, None)
    picture = picture / np.sqrt(1 + 0.18 * picture * picture)
    encoded = cv2.pow(np.clip(picture, 0, 1), 1 / 2.2) * 255
    rng = np.random.default_rng([0xCA, photo.texture])
    grain = rng.standard_normal((size, size, 1), dtype=np.float32) * 0.8
    grain = grain + rng.standard_normal((size, size, 3), dtype=np.float32) * 0.5
    noisy = np.rint(encoded + photo.noise * grain)
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)
