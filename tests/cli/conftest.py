"""Drawn people on disk, one gallery of them made once, and a runner that checks every failure."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from drawn_people import identity, person_name, portrait, write_people
from faceflow.analyzer import FaceAnalyzer
from faceflow.cli.app import app
from faceflow.faces import detectors
from faceflow.gallery import Gallery
from faceflow.gallery.enrolment import enroll_photos, list_photos
from faceflow.occlusion import mask

PEOPLE = 4


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


@pytest.fixture
def run() -> Run:
    """Run a command in this process and check how it ends.

    A failure must be told on stderr without a traceback, and must not be a bug (70).
    """

    def call(*arguments: object, code: int = 0, stdin: str | None = None) -> Ran:
        result = CliRunner().invoke(app, [str(word) for word in arguments], input=stdin)
        ran = Ran(result.exit_code, result.stdout, result.stderr)
        assert ran.code == code, (ran, result.exception)
        assert "Traceback" not in ran.out + ran.err
        if code:
            assert ran.err.strip(), "a failure must say why"
        return ran

    return call


@pytest.fixture
def loaded(analyzer: FaceAnalyzer, monkeypatch: pytest.MonkeyPatch) -> FaceAnalyzer:
    """Commands use the session's networks instead of loading their own for each call."""
    from faceflow import networks

    monkeypatch.setattr(networks, "load_network", lambda name, **_: analyzer.network)
    monkeypatch.setattr(detectors, "load_detector", lambda **_: analyzer.detector)
    return analyzer


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """people/NAME/*.png (two each) and queries/NAME-mask.png."""
    root = tmp_path_factory.mktemp("drawn")
    write_people(root / "people", people=PEOPLE, photos_each=2)
    (root / "queries").mkdir()
    for seed in range(PEOPLE):
        photo = portrait(identity(seed), 2)
        covered = mask(photo.image, photo.landmarks, seed=1).image
        Image.fromarray(covered).save(root / "queries" / f"{person_name(seed)}-mask.png")
    return root


@pytest.fixture(scope="session")
def enrolled(drawn: Path, analyzer: FaceAnalyzer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gallery") / "people.faceflow"
    with Gallery.open_or_create(path, analyzer.network) as gallery:
        enroll_photos(list_photos([drawn / "people"]), gallery, analyzer)
    return path


@pytest.fixture
def gallery(enrolled: Path, tmp_path: Path) -> Path:
    """A copy of the gallery, for this test alone."""
    return Path(shutil.copy(enrolled, tmp_path / "people.faceflow"))


@pytest.fixture
def bare_gallery(tmp_path: Path) -> Path:
    """A gallery of the default network's sizes with nobody in it; needs no weights."""
    from faceflow import networks

    spec = networks.spec(networks.DEFAULT)
    path = tmp_path / "empty.faceflow"
    Gallery.create(
        path,
        network_name=spec.name,
        digest=spec.digest,
        embedding_size=spec.embedding_size,
        grid=spec.grid,
        channels=spec.channels,
    ).close()
    return path


@pytest.fixture
def two_faces(drawn: Path, tmp_path: Path) -> Path:
    """One photo of the first two people side by side."""
    halves = [
        np.asarray(Image.open(drawn / "people" / name / f"{name}_0001.png"))
        for name in (person_name(0), person_name(1))
    ]
    path = tmp_path / "two.png"
    Image.fromarray(np.concatenate(halves, axis=1)).save(path)
    return path


@pytest.fixture
def no_face(tmp_path: Path) -> Path:
    path = tmp_path / "sky.png"
    Image.new("RGB", (200, 160), (90, 140, 220)).save(path)
    return path
