"""Detectors from the cache, and what their published implementations answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faceflow.errors import WeightsError
from faceflow.faces.detectors import MtcnnDetector, load_detector


@pytest.fixture(scope="session")
def mtcnn() -> MtcnnDetector:
    try:
        loaded = load_detector("mtcnn")
    except WeightsError as error:
        pytest.skip(str(error))
    assert isinstance(loaded, MtcnnDetector)
    return loaded


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    """Numbers computed once with facenet-pytorch 2.6.0 ("networks", "mtcnn") and yuface 2023.5.1.

    "networks": outputs for two images drawn in turn from Generator(PCG64(0)).uniform(0, 255)
    of side 16, 24 and 48. The others: what was found in photos of the shared data.
    """
    return dict(json.loads(Path(__file__).with_name("reference.json").read_text()))
