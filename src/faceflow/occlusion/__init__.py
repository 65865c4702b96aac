"""Hide parts of faces: masks, sunglasses, crops, hats, scarves, hands, and shapeless things.
Spoil whole photos: blur, noise, JPEG, low resolution, darkness, overexposure, motion blur.

Everything is drawn by this package from numbers; no photo or template of anyone is used. The
same image and seed always give the same result.
"""

from __future__ import annotations

from faceflow.occlusion.alterations import alter, alterations, needs_landmarks
from faceflow.occlusion.blobs import blob
from faceflow.occlusion.corruptions import corrupt, corruptions
from faceflow.occlusion.crops import lower_crop, random_crop, upper_crop
from faceflow.occlusion.garments import hat, scarf
from faceflow.occlusion.hands import hand
from faceflow.occlusion.layer import Occluded
from faceflow.occlusion.masks import MASK_COLOURS, MASK_STYLES, mask
from faceflow.occlusion.registry import occlude, occlusions
from faceflow.occlusion.sheet import contact_sheet
from faceflow.occlusion.sunglasses import SUNGLASSES_STYLES, sunglasses

__all__ = [
    "MASK_COLOURS",
    "MASK_STYLES",
    "SUNGLASSES_STYLES",
    "Occluded",
    "alter",
    "alterations",
    "blob",
    "contact_sheet",
    "corrupt",
    "corruptions",
    "hand",
    "hat",
    "lower_crop",
    "mask",
    "needs_landmarks",
    "occlude",
    "occlusions",
    "random_crop",
    "scarf",
    "sunglasses",
    "upper_crop",
]
