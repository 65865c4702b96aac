"""The colours and finish of the head's surface, before light falls on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drawn_people.head import COLUMNS, ROWS
from faceflow.arrays import Float32

SHAPE = (ROWS, COLUMNS)


@dataclass(slots=True, eq=False)
class Paint:
    """Surface colours and finish; arrays over the head's grid, changed in place by painters.

    Attributes:
        albedo: (ROWS, COLUMNS, 3) linear light.
        gloss: (ROWS, COLUMNS) strength of the highlight.
        rough: (ROWS, COLUMNS) height of fine relief (strands, pores) in head units.
        eyes: (ROWS, COLUMNS) 1 inside the eye opening.
        ball: (ROWS, COLUMNS, 2) x and y of the eyeball's normal inside the opening.
    """

    albedo: Float32
    gloss: Float32
    rough: Float32
    eyes: Float32
    ball: Float32

    @classmethod
    def blank(cls) -> Paint:
        """Nothing painted yet."""
        return cls(
            albedo=np.empty((*SHAPE, 3), np.float32),
            gloss=np.empty(SHAPE, np.float32),
            rough=np.zeros(SHAPE, np.float32),
            eyes=np.zeros(SHAPE, np.float32),
            ball=np.zeros((*SHAPE, 2), np.float32),
        )
