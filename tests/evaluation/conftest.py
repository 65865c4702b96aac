"""Drawn people in small pictures, and an analyzer that needs no weights and is quick."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from drawn_people import write_people
from faceflow import networks
from faceflow.analyzer import FaceAnalyzer
from faceflow.arrays import Float32, UInt8
from faceflow.evaluation.laboratory import DataSource, Laboratory, require_known
from faceflow.faces.alignment import TEMPLATES
from faceflow.faces.detectors import Detection
from faceflow.features import FaceFeatures
from faceflow.matching import covers
from faceflow.matching.covers import CoverModel, PatchModel

PEOPLE, PHOTOS = 6, 3


class MiddleFace:
    """A detector that takes the middle of every picture for a face, unless it is plain."""

    name = "middle"

    def detect(self, image: UInt8) -> list[Detection]:
        if image.std(axis=(0, 1)).max() < 1:
            return []
        height, width = image.shape[:2]
        box = np.array([0.15 * width, 0.1 * height, 0.85 * width, 0.95 * height])
        points = TEMPLATES["lightcnn-128"].points / 128
        return [Detection(box, box[:2] + points * (box[2:] - box[:2]), 0.9)]


class Pixels:
    """A network whose features are the pixels: 8x8 patches of coarse colours and edges."""

    def __init__(self) -> None:
        self.spec = networks.spec("lightcnn-v4")
        self.digest = "f" * 64
        self.crops = 0

    def embed(self, crops: UInt8) -> FaceFeatures:
        self.crops += len(crops)
        embeddings, maps = [], []
        for crop in crops:
            small = cv2.resize(crop, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float64)
            blocks = small.reshape(8, 2, 8, 2, 3).transpose(1, 3, 4, 0, 2).reshape(12, 8, 8)
            maps.append(blocks - blocks.mean())
            embeddings.append((small - small.mean()).ravel()[::4])
        return FaceFeatures.from_maps(np.stack(embeddings), np.stack(maps))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LFW's layout: NAME/NAME_0001.jpg; the last person's last photo shows no face."""
    root = tmp_path_factory.mktemp("people")
    paths = write_people(root, people=PEOPLE, photos_each=PHOTOS, size=96, file_format="jpeg")
    Image.new("RGB", (96, 96), (90, 140, 220)).save(paths[-1])
    return root


@pytest.fixture(scope="session")
def cfp_folder(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CFP's layout with two frontal photos and one profile a person."""
    root = tmp_path_factory.mktemp("cfp")
    frontal, profile = [], []
    for n, person in enumerate(sorted(p for p in photos.iterdir() if p.is_dir())[:4], start=1):
        one, two, three = sorted(person.iterdir())
        for kind, number, source in (
            ("frontal", 1, one),
            ("frontal", 2, two),
            ("profile", 1, three),
        ):
            place = root / "Data" / "Images" / f"{n:03d}" / kind / f"{number:02d}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
            listed = frontal if kind == "frontal" else profile
            listed.append(f"{len(listed) + 1} ../Data/Images/{n:03d}/{kind}/{number:02d}.jpg")
    lists = root / "Protocol"
    split = lists / "Split" / "FP" / "01"
    split.mkdir(parents=True)
    (lists / "Pair_list_F.txt").write_text("\n".join(frontal))
    (lists / "Pair_list_P.txt").write_text("\n".join(profile))
    (split / "same.txt").write_text("1,1\n3,2\n")
    (split / "diff.txt").write_text("1,2\n3,1\n")
    return root


@pytest.fixture
def network() -> Pixels:
    return Pixels()


@pytest.fixture
def fake(network: Pixels) -> FaceAnalyzer:
    return FaceAnalyzer(network, MiddleFace())  # type: ignore[arg-type]


@pytest.fixture
def lab(photos: Path, cfp_folder: Path, fake: FaceAnalyzer, tmp_path: Path) -> Laboratory:
    def analyzer(network: str, alignment: str) -> FaceAnalyzer:
        require_known(network, alignment)
        return fake

    sources = {"lfw": DataSource(photos), "cfp": DataSource(cfp_folder)}
    return Laboratory(sources, tmp_path / "kept", analyzer=analyzer)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> PatchModel:
    """A patch model of random numbers, known for the network that is tested with."""
    rng = np.random.default_rng(0)

    def numbers(*shape: int) -> Float32:
        return rng.standard_normal(shape).astype(np.float32)

    cover = CoverModel(numbers(64, 12) / 9, numbers(64), numbers(64, 12))
    known = PatchModel((8, 8), numbers(64, 12, 20), cover)
    monkeypatch.setattr(covers, "load", lambda name, digest: known)
    return known
