"""The pose of a generic face, fitted to five landmarks; every occluder is placed by it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Float64, Floats
from faceflow.errors import InputError

# A generic face, unit = distance between the eyes, x to the image's right, y down, z towards
# the viewer, origin between the eyes. Ratios are textbook adult proportions.
GENERIC = np.array(
    [
        [-0.50, 0.00, 0.00],
        [0.50, 0.00, 0.00],
        [0.00, 0.62, 0.46],
        [-0.39, 1.11, 0.10],
        [0.39, 1.11, 0.10],
    ]
)
_SIGMA = 0.035  # how far real landmarks lie from the generic face, in eye distances
# Standard deviations a priori of yaw, pitch (radians) and log vertical stretch.
_PRIOR = np.array([0.7, 0.16, 0.12])


@dataclass(frozen=True, slots=True, eq=False)
class FacePose:
    """Where a generic face lies in a photo (scaled orthographic camera).

    Attributes:
        yaw, pitch, roll: radians. Yaw is positive when the face turns to the image's right,
            pitch when it looks up, roll is clockwise in the image.
        scale: pixels per generic unit (the eye distance of the face seen from the front).
        stretch: length of the face relative to the generic one.
        origin: (2,) x, y in pixels of the point between the eyes.
        rotation: (3, 3) generic axes to camera axes without roll.
    """

    yaw: float
    pitch: float
    roll: float
    scale: float
    stretch: float
    origin: Float64
    rotation: Float64

    @classmethod
    def fit(cls, landmarks: Floats) -> FacePose:
        """Fit the pose to landmarks.

        Args:
            landmarks: (5, 2) x, y in pixels: left eye, right eye, nose tip, left and right
                mouth corner, left and right as seen in the image. They may lie off the image.

        Raises:
            InputError: wrong shape, not finite, coinciding points, or left and right swapped.
        """
        points = check_landmarks(landmarks)
        eyes = points[1] - points[0]
        distance = float(np.hypot(*eyes))
        down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
        distance = max(distance, 0.5 * float(np.hypot(*down)))
        roll = float(np.arctan2(eyes[1], eyes[0]))
        # yaw, pitch, log stretch, roll, log scale, origin (in units of the eye distance)
        middle = points[:2].mean(axis=0)
        state = np.array([0.0, 0.0, 0.0, roll, 0.0, 0.0, 0.0])
        target = (points - middle) / distance

        def residual(v: Float64) -> Float64:
            turned = (GENERIC * [1, np.exp(v[2]), 1]) @ _rotation(v[0], v[1]).T
            placed = np.exp(v[4]) * turned[:, :2] @ _plane(v[3]).T + v[5:7]
            return np.concatenate([((placed - target) / _SIGMA).ravel(), v[:3] / _PRIOR])

        for _ in range(12):
            now = residual(state)
            jacobian = np.column_stack(
                [(residual(state + 1e-5 * unit) - now) / 1e-5 for unit in np.eye(7)]
            )
            change = np.linalg.solve(jacobian.T @ jacobian + 1e-6 * np.eye(7), jacobian.T @ now)
            state = state - np.clip(change, -0.5, 0.5)
            state[:2] = np.clip(state[:2], [-1.2, -0.6], [1.2, 0.6])
            if np.abs(change).max() < 1e-6:
                break
        return cls(
            yaw=float(state[0]),
            pitch=float(state[1]),
            roll=float(state[3]),
            scale=float(np.exp(state[4]) * distance),
            stretch=float(np.exp(state[2])),
            origin=middle + distance * state[5:7],
            rotation=_rotation(state[0], state[1]),
        )

    def turn(self, points: Floats) -> Float64:
        """(..., 3) generic points to (..., 3) upright camera axes, still in generic units."""
        return np.asarray((points * np.array([1, self.stretch, 1])) @ self.rotation.T, np.float64)

    def to_pixels(self, turned: Floats) -> Float64:
        """(..., 2 or 3) upright camera axes to (..., 2) pixels x, y."""
        return self.scale * turned[..., :2] @ _plane(self.roll).T + self.origin

    def from_pixels(self, pixels: Floats) -> Float64:
        """(..., 2) pixels to (..., 2) upright camera axes, in generic units."""
        return np.asarray((pixels - self.origin) @ _plane(self.roll) / self.scale, np.float64)

    def project(self, points: Floats) -> Float64:
        """(..., 3) generic points to (..., 2) pixels."""
        return self.to_pixels(self.turn(points))


def check_landmarks(landmarks: Floats) -> Float64:
    """Landmarks as (5, 2) float64, or an :class:`InputError` that says what is wrong."""
    points = np.asarray(landmarks, dtype=np.float64)
    order = "left eye, right eye, nose, left and right mouth corner, as seen in the image"
    if points.shape != (5, 2):
        raise InputError(f"landmarks have shape {points.shape}", why=f"(5, 2) is needed: {order}")
    if not np.isfinite(points).all():
        raise InputError("landmarks hold NaN or infinity", todo="leave out faces without landmarks")
    eyes = points[1] - points[0]
    down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    size = max(float(np.hypot(*eyes)), float(np.hypot(*down)))
    area = float(eyes[0] * down[1] - eyes[1] * down[0])
    if size < 2.0 or abs(area) < 0.05 * size**2:
        raise InputError(
            "landmarks fall together or lie on one line",
            why="eyes and mouth must span the face",
            todo=f"give five distinct points: {order}",
        )
    if area < 0:
        raise InputError("left and right landmarks are swapped", todo=f"order them: {order}")
    return points


def _rotation(yaw: float, pitch: float) -> Float64:
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    )
    return np.asarray(nod @ turn, dtype=np.float64)


def _plane(roll: float) -> Float64:
    return np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
