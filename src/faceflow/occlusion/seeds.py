"""Random numbers that depend on the image and the seed alone, not on order or process."""

from __future__ import annotations

import hashlib

import numpy as np

from faceflow.arrays import UInt8
from faceflow.errors import InputError


def generator(name: str, image: UInt8, seed: int) -> np.random.Generator:
    """A generator for one occlusion of one image.

    Different images get different numbers from one seed, so that a whole data set can be
    occluded with a single seed and still varies.

    Raises:
        InputError: ``seed`` is negative.
    """
    if seed < 0:
        raise InputError(f"seed {seed} is negative", todo="use 0, 1, 2, ...")
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{name}|{image.shape}|".encode())
    digest.update(np.ascontiguousarray(image).data)
    return np.random.default_rng([seed, int.from_bytes(digest.digest(), "little")])
