"""Weights that depend on each entry's name and shape alone, so any two programs agree on them.

``golden.json`` holds a few outputs of each network for such weights and input, so that a checkout
without the reference data tests them too: 32 values of the embedding and 32 of the patches of
the first image, evenly spaced in the flattened arrays, from the PyTorch modules.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from faceflow.weights import Tensors


def fill(shapes: Mapping[str, tuple[int, ...]], *, salt: str = "") -> Tensors:
    """A state dict of these shapes; ``salt`` gives another one."""
    tensors: Tensors = {}
    for name, shape in shapes.items():
        parent, _, leaf = name.rpartition(".")
        rng = np.random.Generator(np.random.PCG64(zlib.crc32((salt + name).encode())))
        if leaf == "num_batches_tracked":
            tensors[name] = np.zeros(shape, np.int64)
            continue
        if leaf in ("bias", "running_mean"):
            values = 0.1 * rng.standard_normal(shape)
        elif leaf == "running_var" or (
            f"{parent}.running_mean" in shapes and leaf == "weight" and len(shape) == 1
        ):
            values = rng.uniform(0.5, 1.5, shape)
        elif len(shape) <= 1:  # slopes of a PReLU
            values = rng.uniform(0.1, 0.4, shape)
        else:
            values = rng.standard_normal(shape) * np.sqrt(0.5 / np.prod(shape[1:]))
        tensors[name] = values.astype(np.float32)
    return tensors


def image(shape: tuple[int, ...]) -> np.ndarray:
    """The input golden values were computed for."""
    rng = np.random.Generator(np.random.PCG64(0))
    return rng.uniform(-1, 1, shape).astype(np.float32)


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    """Equal shapes, and no entry off by more than ``tolerance`` of the largest value."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def sample(values: np.ndarray) -> np.ndarray:
    """32 values of the first item, evenly spaced."""
    flat = values[0].ravel()
    return flat[np.linspace(0, flat.size - 1, 32).astype(int)]


def few_golden(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The stored values of the embedding and of the patches."""
    stored = json.loads((Path(__file__).parent / "golden.json").read_text())[name]
    return np.array(stored["embedding"]), np.array(stored["patches"])


@pytest.fixture(scope="session")
def deterministic() -> SimpleNamespace:
    return SimpleNamespace(
        fill=fill, image=image, close=close, sample=sample, few_golden=few_golden
    )
