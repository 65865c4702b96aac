"""Adam (Kingma and Ba 2015) in NumPy, with its usual constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.arrays import Float32, Floats


class Adam:
    """Changes an array in place.

    Args:
        value: what is trained, float32.
        size: of a step at full rate, in units of the values.
    """

    def __init__(self, value: Float32, size: float) -> None:
        self._value, self._size, self._count = value, size, 0
        self._mean, self._square = np.zeros_like(value), np.zeros_like(value)

    def step(self, gradient: Floats, rate: float = 1.0) -> None:
        """Go down the gradient, at a share ``rate`` of the step's size."""
        self._count += 1
        self._mean += np.float32(0.1) * (gradient - self._mean)
        self._square += np.float32(0.001) * (gradient * gradient - self._square)
        mean = self._mean / np.float32(1 - 0.9**self._count)
        square = self._square / np.float32(1 - 0.999**self._count)
        self._value -= np.float32(self._size * rate) * mean / (np.sqrt(square) + np.float32(1e-12))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The averages and how many steps they are of."""
        return {"mean": self._mean, "square": self._square, "count": np.array(self._count)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on where :meth:`arrays` were taken."""
        self._mean[...], self._square[...] = arrays["mean"], arrays["square"]
        self._count = int(arrays["count"])


def rms(values: Floats) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
