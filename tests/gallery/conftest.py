"""Small galleries: 4x4 patches of 16 numbers, embeddings of 32."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery

WORKERS = Path(__file__).parent / "workers"


@pytest.fixture
def make_features(random_features: Callable[..., FaceFeatures]) -> Callable[..., FaceFeatures]:
    def make(n: int, seed: int = 0) -> FaceFeatures:
        made = random_features(n, seed=seed, grid=(4, 4), channels=16, size=32)
        return made.as_from(features_digest("d1" * 32))

    return make


@pytest.fixture
def enrolments(make_features: Callable[..., FaceFeatures]) -> Callable[..., list[Enrolment]]:
    """N enrolments of ``people`` people, in turn; every photo is another one."""

    def make(n: int, *, people: int = 5, seed: int = 0, crops: bool = False) -> list[Enrolment]:
        features = make_features(n, seed)
        rng = np.random.default_rng(seed)
        return [
            Enrolment(
                person=f"Person {i % people}",
                source=f"photos/{seed}/{i}.jpg",
                content_hash=hashlib.sha256(f"{seed}/{i}".encode()).hexdigest(),
                features=features[i],
                box=(1.5, 2.0, 30.25 + i, 40.0),
                score=0.5 + i / 1000,
                crop=rng.integers(0, 256, (64, 48, 3), dtype=np.uint8) if crops else None,
            )
            for i in range(n)
        ]

    return make


@pytest.fixture
def create() -> Callable[..., Gallery]:
    def make(path: Path, **changes: object) -> Gallery:
        options: dict[str, object] = {
            "network_name": "testnet",
            "digest": "d1" * 32,
            "embedding_size": 32,
            "grid": (4, 4),
            "channels": 16,
        }
        return Gallery.create(path, **(options | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def gallery(tmp_path: Path, create: Callable[..., Gallery]) -> Iterator[Gallery]:
    with create(tmp_path / "people.faceflow") as opened:
        yield opened


@pytest.fixture
def start_worker() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``workers/NAME.py`` in another Python; whatever still runs is killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def start(name: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
        process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, str(WORKERS / f"{name}.py"), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder other users can reach (pytest's own folders are private)."""
    folder = Path(tempfile.mkdtemp(prefix="faceflow-test-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)
