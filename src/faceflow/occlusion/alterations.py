"""Covers and corruptions under one kind of name: "mask", "blur-3"."""

from __future__ import annotations

from faceflow.arrays import Floats, UInt8
from faceflow.errors import InputError
from faceflow.occlusion.corruptions import LEVELS, corrupt, corruptions
from faceflow.occlusion.crops import random_crop
from faceflow.occlusion.registry import occlude, occlusions


def alterations() -> tuple[str, ...]:
    """Names that :func:`alter` knows: every occlusion, and every corruption at every level."""
    return *occlusions(), *(f"{name}-{level}" for name in corruptions() for level in LEVELS)


def needs_landmarks(name: str) -> bool:
    """Whether :func:`alter` has to be told where the face is."""
    return name != "crop" and name in occlusions()


def check_alterations(names: tuple[str, ...] | list[str]) -> None:
    """Raise InputError for the first name that :func:`alter` does not know."""
    for name in names:
        if name not in alterations():
            levels = ", ".join(f"{kind}-1 to -5" for kind in corruptions())
            raise InputError(
                f"there is no cover called {name!r}",
                todo=f"use one of {', '.join(occlusions())}, or a corruption: {levels}",
            )


def alter(name: str, image: UInt8, landmarks: Floats | None = None, seed: int = 0) -> UInt8:
    """Cover or spoil a photo.

    Args:
        name: one of :func:`alterations`.
        image: (H, W, 3) uint8 RGB; it is not changed.
        landmarks: (5, 2) as for :func:`faceflow.occlusion.occlude`; None where
            :func:`needs_landmarks` is false.
        seed: the same image and seed always give the same result.

    Returns:
        (H, W, 3) uint8 RGB of the same size.

    Raises:
        InputError: an unknown name, or landmarks are needed and missing.
    """
    check_alterations([name])
    if name not in occlusions():
        kind, _, level = name.rpartition("-")
        return corrupt(kind, image, int(level), seed)
    if name == "crop":
        return random_crop(image, seed=seed).image
    if landmarks is None:
        raise InputError(f"{name} needs landmarks", why="it is drawn on the face")
    return occlude(name, image, landmarks, seed).image
