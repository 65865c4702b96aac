"""``faceflow models import`` and working with what was imported."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from faceflow import models, networks
from faceflow.faces.detectors import Detector
from faceflow.networks import cosface


@pytest.fixture
def cache(detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds the detector alone."""
    folder = tmp_path / "cache"
    shutil.copytree(models.path("mtcnn"), folder / "models" / "mtcnn")
    monkeypatch.setenv("FACEFLOW_CACHE", str(folder))
    return folder


def checkpoint(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    tensors = {
        f"module.{name}": rng.standard_normal(shape, dtype=np.float32)
        * np.float32(np.sqrt(0.5 / max(1, np.prod(shape[1:]))))
        for name, shape in cosface.ARCHITECTURE.expected_shapes().items()
    }
    save_file(tensors, path)
    return path


def test_import_enroll_identify(run, cache: Path, drawn: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "people.faceflow"
    ran = run("enroll", drawn / "people", "-g", gallery, "--network", "cosface", code=6)
    assert "Google Drive" in ran.err
    assert "models import cosface FILE" in ran.err
    assert not gallery.exists()

    ran = run("models", "import", "cosface", checkpoint(tmp_path / "a.safetensors", 0))
    assert "CASIA-WebFace" in ran.err, "licence and training data come before the result"
    assert "cosface is ready" in ran.out
    spec = networks.spec("cosface")
    assert spec.source.member_sha256 in ran.out
    told = {one["model"]: one for one in run("models", "list", "--json").json["models"]}
    assert told["cosface"]["status"] == "ready"
    assert told["cosface"]["sources"][0]["sha256"] == spec.source.member_sha256

    words = ("-g", gallery, "--network", "cosface", "--whole-image", "always")
    assert "8 faces added" in run("enroll", drawn / "people", *words).out
    photo = next((drawn / "people").glob("*/*.png"))
    best = run("identify", photo, "-g", gallery, "--whole-image", "always", "--json").lines[0]
    assert best["matches"][0]["person"] == photo.parent.name

    # Another checkpoint of the same network is another network to the gallery.
    run("models", "import", "cosface", checkpoint(tmp_path / "b.safetensors", 1))
    assert networks.spec("cosface").digest != spec.digest
    assert "features of" in run("identify", photo, "-g", gallery, code=5).err


def test_wrong_files_and_names(run, cache: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    save_file({"conv1.weight": np.zeros((64, 1, 3, 3), np.float32)}, wrong)
    ran = run("models", "import", "arcface", wrong, code=6)
    assert "bn1.weight (64,)" in ran.err
    assert "no licence" in ran.err
    run("models", "import", "arcface", tmp_path / "none.pth", code=6)
    run("models", "import", "vgg", wrong, code=2)
    run("models", "import", "lightcnn-v4", wrong, code=2)
    assert "models import arcface FILE" in run("models", "pull", "arcface", code=6).err
    assert not (cache / "models" / "arcface").exists()


def test_a_network_without_weights_says_how_to_get_them(run, cache: Path, drawn: Path) -> None:
    photo = next((drawn / "people").glob("*/*.png"))
    for name in ("iresnet50", "arcface-layer3"):
        ran = run("verify", photo, photo, "--network", name, "--offline", code=6)
        assert f"models import {networks.spec(name).model_name} FILE" in ran.err
