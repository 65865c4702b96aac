"""Curved sheets in front of the face: lit, turned with it, and drawn on a layer."""

from __future__ import annotations

import cv2
import numpy as np

from faceflow.arrays import Bools, Float32, Float64, Floats
from faceflow.occlusion.layer import Layer
from faceflow.occlusion.light import PhotoLight, to_srgb


def curve(t: Floats, *knots: float) -> Float64:
    """The polynomial through equally spaced knots over t in 0..1."""
    at = np.linspace(0, 1, len(knots))
    return np.asarray(np.polyval(np.polyfit(at, knots, len(knots) - 1), t), dtype=np.float64)


def blur(field: Floats, sigma: float) -> Float32:
    """Gaussian blur of (h, w) or (h, w, C), sigma in pixels."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), max(sigma, 0.3)), dtype=np.float32)


def fabric_noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]
) -> Float32:
    """Smooth noise of standard deviation near 1: random ``cells`` (rows, columns), enlarged."""
    grid = rng.standard_normal(cells, dtype=np.float32)
    return np.asarray(
        cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), dtype=np.float32
    )


def drape(
    layer: Layer,
    points: Floats,
    albedo: Floats,
    light: PhotoLight,
    *,
    relief: Floats | None = None,
    gloss: float = 0.0,
    cut: Bools | None = None,
    contrast: float = 0.75,
) -> Float32:
    """Draw a sheet on a layer.

    Args:
        points: (T, S, 3) generic face coordinates (see ``pose.GENERIC``); seen from the front,
            S runs to the right and T down.
        albedo: (T, S, 3) or (3,) linear colour.
        relief: (T, S) fine height towards the outside in eye distances, for shading only.
        gloss: strength of the highlight.
        cut: (T, S) bool, True where there is no cloth.

    Returns:
        (h, w) coverage that was drawn.
    """
    turned = layer.pose.turn(points)
    normals = _normals(turned, relief)
    lit = light.shade(normals, contrast=contrast)[..., None] * np.asarray(albedo, np.float32)
    if gloss:
        halfway = light.direction + np.array([0, 0, 1], np.float32)
        halfway /= np.linalg.norm(halfway)
        lit = lit + gloss * light.level * np.clip(normals @ halfway, 0, 1)[..., None] ** 24
    facing = normals[..., 2].copy()
    if cut is not None:
        facing[cut] = -1
    colour, cover = _splat(layer, turned, to_srgb(lit), facing)
    layer.paint(colour, cover)
    return cover


def height_normals(height: Floats, unit: float) -> Float32:
    """(h, w, 3) unit normals of a height field in eye distances, ``unit`` pixels each."""
    slope_y, slope_x = np.gradient(np.asarray(height, np.float32) * np.float32(unit))
    normal = np.stack([-slope_x, -slope_y, np.ones_like(slope_x)], axis=-1)
    normal /= np.sqrt(np.einsum("ijk,ijk->ij", normal, normal))[..., None]
    return np.asarray(normal, dtype=np.float32)


def _normals(turned: Float64, relief: Floats | None) -> Float32:
    across, down = np.gradient(turned, axis=1), np.gradient(turned, axis=0)
    normal = np.cross(across, down)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    if relief is not None:
        lifted = turned + normal * np.asarray(relief)[..., None]
        normal = np.cross(np.gradient(lifted, axis=1), np.gradient(lifted, axis=0))
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    return normal.astype(np.float32)


def _splat(
    layer: Layer, turned: Float64, colour: Float32, facing: Float32
) -> tuple[Float32, Float32]:
    """Fill the layer's pixels from a grid of points, nearest to the viewer on top."""
    pixels = layer.place(turned)
    rows, columns = facing.shape
    size = (
        columns * _subdivisions(np.diff(pixels, axis=1)),
        rows * _subdivisions(np.diff(pixels, axis=0)),
    )

    def finer(values: Floats) -> Float32:
        field = np.ascontiguousarray(values, dtype=np.float32)
        return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_LINEAR), np.float32)

    x, y = finer(pixels[..., 0]), finer(pixels[..., 1])
    height, width = layer.alpha.shape
    seen = (finer(facing) > 0.0) & (x >= 0) & (y >= 0) & (x < width - 1) & (y < height - 1)
    order = np.argsort(finer(turned[..., 2])[seen], kind="stable")
    at = (np.rint(y[seen]).astype(np.int64) * width + np.rint(x[seen]).astype(np.int64))[order]
    drawn = np.zeros((height * width, 4), np.float32)
    drawn[at, 3] = 1
    drawn[at, :3] = finer(colour)[seen][order]
    field = drawn.reshape(height, width, 4)
    # Close pinholes, then soften the stairs of the edge.
    weight = cv2.GaussianBlur(field[..., 3], (3, 3), 0.6)
    filled = cv2.GaussianBlur(field, (3, 3), 0.6)[..., :3] / np.maximum(weight, 1e-6)[..., None]
    solid = cv2.morphologyEx(field[..., 3], cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    inside = field[..., 3:] > 0
    return (
        np.where(inside, field[..., :3], filled).astype(np.float32),
        blur(np.asarray(solid, np.float32), 0.8),
    )


def _subdivisions(steps: Float64) -> int:
    """Into how many parts grid steps must be cut to leave no pixel between points empty."""
    longest = float(np.percentile(np.abs(steps).max(axis=-1), 99))
    return int(np.clip(np.ceil(longest / 0.95), 1, 16))
