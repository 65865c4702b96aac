"""Random people in the space of patch maps, and a cache folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceflow.training.samples import Samples

SHAPE = (4, 4, 4)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def make_samples() -> Callable[..., Samples]:
    """People whose covered maps carry strong noise in one half of the channels.

    Half the channels say who it is; a cover drowns the other half in noise. The best layer
    looks away from that half, which the start layer does not.
    """

    def make(people: int = 60, photos: int = 3, *, seed: int = 0, noise: float = 3.0) -> Samples:
        rng = np.random.default_rng(seed)
        clean = rng.standard_normal((people, 1, *SHAPE))
        clean = clean + 0.4 * rng.standard_normal((people, photos, *SHAPE))
        covered = clean.copy()
        covered[:, :, SHAPE[0] // 2 :] = noise * rng.standard_normal(
            (people, photos, SHAPE[0] // 2, *SHAPE[1:])
        )
        n = people * photos
        person = np.repeat(np.arange(people), photos)
        return Samples(
            np.concatenate([clean.reshape(n, *SHAPE), covered.reshape(n, *SHAPE)]).astype("<f2"),
            np.arange(2 * n),
            np.tile(person, 2),
            np.tile(np.arange(n), 2),
            np.arange(2 * n) >= n,
            tuple(f"p{i}" for i in range(people)),
        )

    return make
