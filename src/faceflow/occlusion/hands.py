"""A hand held before the face."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from faceflow.arrays import Float32, Float64, Floats, UInt8
from faceflow.occlusion.layer import Layer, Occluded, check_image
from faceflow.occlusion.light import PhotoLight, to_linear, to_srgb
from faceflow.occlusion.pose import FacePose
from faceflow.occlusion.seeds import generator
from faceflow.occlusion.surface import blur, fabric_noise, height_normals


def hand(image: UInt8, landmarks: Floats, *, seed: int = 0) -> Occluded:
    """Hold a hand before mouth, cheek or eyes: a palm and five rounded fingers, skin-coloured.

    Args and errors as for :func:`faceflow.occlusion.mask`.
    """
    photo = check_image(image)
    pose = FacePose.fit(landmarks)
    rng = generator("hand", photo, seed)
    light = PhotoLight.read(photo, pose)
    layer = Layer(photo, pose, (-4.0, -1.6, 4.0, 4.2))
    side = 1.0 if rng.random() < 0.5 else -1.0
    goal = ((0.0, 1.02), (0.25 * side, 0.75), (0.0, 0.05))[int(rng.choice(3, p=[0.5, 0.25, 0.25]))]
    # Fingers point inwards and up; the wrist comes from below at the side.
    lean = np.deg2rad(rng.uniform(35, 75)) * side
    along = np.array([-np.sin(lean), -np.cos(lean)])
    across = np.array([np.cos(lean), -np.sin(lean)]) * side
    middle = pose.turn(np.array([[goal[0], goal[1], 0.4]]))[0, :2] - 0.25 * along
    x, y = layer.upright()
    height = np.zeros_like(x)
    drawn = np.zeros_like(x)
    for bone in _hand_parts(middle, along, across, rng):
        _add_bone(height, drawn, x, y, bone)
    smooth = blur(height, max(0.018 * layer.unit, 0.5))
    normal = height_normals(smooth, layer.unit)
    skin = to_linear(np.clip(light.skin, 0.08, 0.95)) / max(light.level, 0.3)
    skin = np.clip(skin * rng.uniform(0.92, 1.08), 0.02, 0.9)
    mottle = fabric_noise(rng, x.shape, (14, 14))
    tone = skin * (1 + 0.05 * mottle)[..., None]
    creases = blur(height, max(0.05 * layer.unit, 0.8)) - smooth
    dark = np.clip(1 - 5.0 * np.clip(creases, 0, 0.12), 0.45, 1)
    lit = light.shade(normal, contrast=0.85)[..., None] * tone * dark[..., None]
    # Blood shows at the edges.
    rim = np.clip(1 - normal[..., 2:], 0, 1)
    lit = lit * (1 + rim * np.array([0.12, -0.10, -0.12]))
    layer.paint(to_srgb(lit), blur(drawn, 0.8))
    layer.cast_shadow(amount=0.5, reach=0.16, drop=(-0.05 * light.side, 0.10))
    return layer.lay_over(photo, rng)


@dataclass(frozen=True, slots=True, eq=False)
class _Bone:
    """A rounded bar: (2,) start and end, half thickness at both, in eye distances."""

    start: Float64
    end: Float64
    thick_start: float
    thick_end: float


def _hand_parts(
    middle: Float64, along: Float64, across: Float64, rng: np.random.Generator
) -> list[_Bone]:
    root = middle - 0.72 * along
    bones = [_Bone(root - 4.5 * along + 0.3 * across, root - 0.5 * along, 0.36, 0.36)]
    for place in (-0.36, -0.12, 0.12, 0.36):
        heel = root - 0.35 * along + 0.8 * place * across
        bones.append(_Bone(heel, root + 0.42 * along + place * across, 0.24, 0.20))
    lengths = np.array([0.78, 0.98, 1.02, 0.88]) * rng.uniform(0.95, 1.05)
    for index, length in enumerate(lengths):
        place = 0.28 * index - 0.42
        knuckle = root + 0.45 * along + place * across
        bend = rng.uniform(-0.04, 0.04)
        joint = knuckle + 0.5 * length * (along + (0.24 * place + bend) * across)
        tip = joint + 0.5 * length * (along + (0.24 * place - bend) * across)
        bones.append(_Bone(knuckle, joint, 0.145, 0.130))
        bones.append(_Bone(joint, tip, 0.132, 0.105))
    ball = root - 0.25 * along + 0.42 * across
    joint = ball + 0.38 * along + 0.42 * across
    bones.append(_Bone(ball, joint, 0.22, 0.16))
    bones.append(_Bone(joint, joint + 0.42 * along + 0.12 * across, 0.155, 0.12))
    return bones


def _add_bone(height: Float32, drawn: Float32, x: Float32, y: Float32, bone: _Bone) -> None:
    """Raise the height field, and mark what is drawn, where a bone lies."""
    low = np.minimum(bone.start, bone.end) - max(bone.thick_start, bone.thick_end)
    high = np.maximum(bone.start, bone.end) + max(bone.thick_start, bone.thick_end)
    near = (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])
    left, top, width, rows = cv2.boundingRect(near.astype(np.uint8))
    box = (slice(top, top + rows), slice(left, left + width))
    dx, dy = x[box] - np.float32(bone.start[0]), y[box] - np.float32(bone.start[1])
    bar = (bone.end - bone.start).astype(np.float32)
    t = np.clip((dx * bar[0] + dy * bar[1]) / np.float32(bar @ bar), 0, 1)
    away = np.hypot(dx - t * bar[0], dy - t * bar[1])
    radius = bone.thick_start + (bone.thick_end - bone.thick_start) * t
    rise = np.sqrt(np.clip(radius**2 - away**2, 0, None))
    height[box] = np.maximum(height[box], rise)
    drawn[box] = np.maximum(drawn[box], (away < radius).astype(np.float32))
