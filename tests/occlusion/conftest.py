"""A synthetic photo to cover, and a grey one that is quick to make."""

from __future__ import annotations

import numpy as np
import pytest

from drawn_people import identity, portrait
from faceflow.arrays import Float64, UInt8

# Left eye, right eye, nose, left and right mouth corner of an upright frontal face.
FRONTAL = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.62], [-0.39, 1.11], [0.39, 1.11]])


@pytest.fixture(scope="session")
def photo() -> tuple[UInt8, Float64]:
    """A synthetic portrait (256, 256, 3) and its landmarks."""
    shot = portrait(identity(3), 1)
    return shot.image, shot.landmarks


@pytest.fixture(scope="session")
def frontal() -> Float64:
    """Landmarks with eyes 1 apart, the point between them at 0, 0."""
    return FRONTAL
