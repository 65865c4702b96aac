"""Galleries, and the same ones behind shards in this process: no Ray unless a test says so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceflow.cluster.faces import Assignment
from faceflow.cluster.part import Hold, Part
from faceflow.cluster.replicas import Here, Shards
from faceflow.cluster.sharded import ShardedGallery
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery
from faceflow.gallery.stores.opening import Location, open_store
from faceflow.networks import FaceNetwork
from local_postgres import CannotStart, LocalPostgres

MakeFeatures = Callable[..., FaceFeatures]


def random_features(n: int, seed: int, *, size: int = 32, ties: bool = False) -> FaceFeatures:
    """Faces of a small network; with ties, of few embeddings many times."""
    rng = np.random.default_rng(seed)
    embedding = rng.standard_normal((n, size))
    if ties:
        embedding = rng.standard_normal((3, size))[rng.integers(0, 3, n)]
    maps = rng.standard_normal((1, 16, 4, 4)) + rng.standard_normal((n, 16, 4, 4))
    digest = features_digest("d1" * 32)
    return FaceFeatures.from_maps(embedding, maps, digest=digest)


def random_enrolments(features: FaceFeatures, seed: int, people: int) -> list[Enrolment]:
    """One of each face; ``people`` people in turn."""
    return [
        Enrolment(
            f"Person {i % people}",
            f"{seed}/{i}.jpg",
            hashlib.sha256(f"{seed}/{i}".encode()).hexdigest(),
            features[i],
        )
        for i in range(len(features))
    ]


def new_gallery(location: Location, **changes: Any) -> Gallery:
    options = {
        "network_name": "testnet",
        "digest": "d1" * 32,
        "embedding_size": 32,
        "grid": (4, 4),
        "channels": 16,
    }
    return Gallery.create(location, **(options | changes))


@pytest.fixture(scope="session")
def make_features() -> MakeFeatures:
    return random_features


@pytest.fixture(scope="session")
def enrolments() -> Callable[..., list[Enrolment]]:
    def make(n: int, *, people: int = 7, seed: int = 0, ties: bool = False) -> list[Enrolment]:
        return random_enrolments(random_features(n, seed, ties=ties), seed, people)

    return make


@pytest.fixture(scope="session")
def create() -> Callable[..., Gallery]:
    return new_gallery


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with new_gallery(tmp_path / "people.faceflow") as opened:
        yield opened


@pytest.fixture
def shard() -> Iterator[Callable[..., ShardedGallery]]:
    """Put shards in front of a gallery; ``.parts`` are the parts by shard and replica."""
    opened: list[Any] = []

    def make(
        location: Location,
        shards: int,
        *,
        replicas: int = 1,
        hold: Hold = "embeddings",
        lives_here: Callable[[int], Assignment] | None = None,
        readonly: bool = False,
        **options: Any,
    ) -> ShardedGallery:
        groups = []
        for number in range(shards):
            group = []
            for replica in range(replicas):
                store = open_store(location, readonly=True)
                rule = lives_here and lives_here(number)
                part = Part(store, number, shards, hold=hold, lives_here=rule)
                opened.append(part)
                group.append(Here(f"shard {number}, replica {replica}", part))
            groups.append(group)
        made = ShardedGallery(
            open_store(location, readonly=readonly), Shards(groups, patience=0.05), **options
        )
        opened.append(made)
        return made

    yield make
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    """A real PostgreSQL server of the module's own; tests that need it are skipped without."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (faceflow[postgres])")
    try:
        # A killed server finds all in the system's cache again; syncing would only take time.
        server = LocalPostgres(settings=["fsync = off"])
    except CannotStart as error:
        pytest.skip(str(error))
    yield server
    server.remove()


@pytest.fixture(scope="session")
def default_features(default_network: FaceNetwork) -> MakeFeatures:
    """Random faces that the default network could have made, with landmark shares."""

    def make(n: int, *, seed: int) -> FaceFeatures:
        rng = np.random.default_rng(seed)
        maps = rng.standard_normal((1, 128, 8, 8)) + rng.standard_normal((n, 128, 8, 8))
        share = rng.dirichlet(np.ones(64), size=n).astype(np.float32)
        return FaceFeatures.from_maps(
            rng.standard_normal((n, 256)), maps, digest=features_digest(default_network.digest)
        ).with_landmarks(share)

    return make
