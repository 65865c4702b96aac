"""Fixtures shared by all tests: reference data, pulled weights, random features."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from faceflow.errors import WeightsError
from faceflow.features import FaceFeatures

# A user's own settings must not steer the tests, nor what they start, nor modules that look at the
# processor while tests are collected. Kept are where the tests' weights and reference data lie.
for _name in [name for name in os.environ if name.startswith("FACEFLOW_")]:
    if _name not in ("FACEFLOW_CACHE", "FACEFLOW_SHARED"):
        del os.environ[_name]

if TYPE_CHECKING:
    from faceflow.analyzer import FaceAnalyzer
    from faceflow.faces.detectors import Detector
    from faceflow.networks import FaceNetwork


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The research data beside the checkout (or $FACEFLOW_SHARED); absent for most users."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("FACEFLOW_SHARED", default))
    if not (folder / "golden").is_dir():
        pytest.skip(f"no reference data at {folder} (set FACEFLOW_SHARED to its folder)")
    return folder


@pytest.fixture(scope="session")
def golden(shared_dir: Path) -> Path:
    return shared_dir / "golden"


@pytest.fixture(scope="session")
def default_network() -> FaceNetwork:
    from faceflow.networks import load_network

    try:
        return load_network()
    except WeightsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def detector() -> Detector:
    from faceflow.faces.detectors import load_detector

    try:
        return load_detector()
    except WeightsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def analyzer(default_network: FaceNetwork, detector: Detector) -> FaceAnalyzer:
    from faceflow.analyzer import FaceAnalyzer

    return FaceAnalyzer(default_network, detector)


@pytest.fixture
def random_features() -> Callable[..., FaceFeatures]:
    """Make features of N faces with the default network's shapes from a seed."""

    def make(
        n: int,
        *,
        seed: int = 0,
        grid: tuple[int, int] = (8, 8),
        channels: int = 128,
        size: int = 256,
        landmarks: bool = False,
        digest: str | None = None,
    ) -> FaceFeatures:
        rng = np.random.default_rng(seed)
        common = rng.standard_normal((1, channels, *grid))
        maps = common + rng.standard_normal((n, channels, *grid))
        features = FaceFeatures.from_maps(rng.standard_normal((n, size)), maps, digest=digest)
        if not landmarks:
            return features
        counts = rng.multinomial(68, np.full(grid[0] * grid[1], 1 / (grid[0] * grid[1])), size=n)
        return features.with_landmarks((counts / 68).astype(np.float32))

    return make
