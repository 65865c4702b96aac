"""A service whose queries a student looks at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import squares
from fastapi.testclient import TestClient

from faceflow import networks
from faceflow.analyzer import FaceAnalyzer
from faceflow.arrays import UInt8
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Gallery
from faceflow.matching.identification import identify
from faceflow.server.app import create_app
from faceflow.server.decoding import Decoders
from faceflow.server.settings import ServerSettings

Ask = Any
PUPIL = "e2" * 32


class Pupil(squares.Blocks):
    """Sees what its teacher sees, and a little more."""

    def __init__(self, teacher: str = squares.DIGEST) -> None:
        super().__init__()
        self.spec = dataclasses.replace(self.spec, name="pupil", teacher=teacher)
        self.digest = PUPIL

    def embed(self, crops: UInt8, **_: Any) -> FaceFeatures:
        found = super().embed(crops)
        moved = found.embedding + np.float32(0.01) * np.roll(found.embedding, 1, axis=1)
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        origin = features_digest(PUPIL, teacher=self.spec.teacher)
        return dataclasses.replace(found, embedding=moved, digest=origin)


def analyzers(network: str, detector: str) -> FaceAnalyzer:
    if network != "pupil":
        return squares.analyzer(network, detector)
    return FaceAnalyzer(Pupil(), squares.Squares())  # type: ignore[arg-type]


@pytest.fixture
def http(
    settings: ServerSettings, decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    known = networks.spec
    monkeypatch.setattr(
        networks, "spec", lambda name: Pupil().spec if name == "pupil" else known(name)
    )
    app = create_app(dataclasses.replace(settings, query_network="pupil"), analyzers)
    app.state.service.engine.decoders = decoders
    with TestClient(app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False) as made:
        yield made


def test_the_student_looks_at_queries_and_at_nothing_else(people: Ask, service: Any) -> None:
    found = people.search((2, -5))
    pupil = analyzers("pupil", "squares")
    features = pupil.analyze(squares.photo((2, -5)))[0].features
    assert (found["query_network"], found["query_digest"]) == ("pupil", features.digest)
    with Gallery.open(service.engine.places.location("a"), readonly=True) as gallery:
        assert gallery.features_digest == found["digest"]  # enrolled by its teacher
        (expected,) = identify(features, gallery)
    assert found["candidates"][0]["score"] == expected.people[0].score
    plain = squares.analyzer().analyze(squares.photo((2, -5)))[0].features
    assert not np.array_equal(plain.embedding, features.embedding)
    # What is kept of it is still the student's: it comes back, and is explained.
    path = f"/v1/galleries/a/searches/{found['id']}"
    assert people("GET", path) == found
    best = found["candidates"][0]
    why = people("GET", f"{path}/explanation?face_id={best['face_id']}")
    assert why["score"] == pytest.approx(best["score"], abs=1e-5)


def test_of_two_photos_it_looks_at_the_first(people: Ask) -> None:
    def compare(*faces: tuple[int, int]) -> Any:
        files = {
            name: (f"{name}.png", squares.photo(face))
            for name, face in zip("ab", faces, strict=True)
        }
        return people("POST", "/v1/galleries/a/verify", files=files)

    one, other = compare((1, 3), (2, 4)), compare((2, 4), (1, 3))
    assert one["query_network"] == "pupil"
    assert one["parts"]["cosine"] != other["parts"]["cosine"]


def test_galleries_of_other_networks_are_asked_by_their_own(
    people: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Pupil("f3" * 32).spec
    known = networks.spec
    monkeypatch.setattr(networks, "spec", lambda n: stranger if n == "pupil" else known(n))
    assert people.search((2, -5))["query_network"] is None
