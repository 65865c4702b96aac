"""``faceflow train`` from photos to a network that enrolls."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import pytest

from faceflow.analyzer import FaceAnalyzer
from faceflow.faces import detectors
from faceflow.system.caches import cache_dir


@pytest.fixture
def own_cache(analyzer: FaceAnalyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the models in it, for this test alone."""
    shutil.copytree(cache_dir() / "models", tmp_path / "cache" / "models")
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(detectors, "load_detector", lambda **_: analyzer.detector)
    return tmp_path / "cache"


def test_head_from_photos_to_identification(
    run, own_cache: Path, drawn: Path, tmp_path: Path
) -> None:
    photos, log = drawn / "people", tmp_path / "log.csv"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("validation_share = 0.5\nbatch_size = 8\n")
    words = ("train", "head", photos, "--name", "tiny", "--cover", "mask", "--epochs", 2)
    words = (*words, "--recipe", recipe, "--offline")
    ran = run(*words, "--log", log)
    assert "tiny is ready" in ran.out
    assert "epoch 0: loss -" in ran.err
    with log.open() as file:
        lines = list(csv.DictReader(file))
    assert [line["epoch"] for line in lines] == ["0", "1", "2"]
    assert float(lines[1]["loss"]) > 0
    assert "replace it with --force" in run(*words, code=2).err
    again = run(*words, "--force", "--json").json  # the same from the cache
    assert again["history"][1]["loss"] == pytest.approx(float(lines[1]["loss"]), rel=1e-5)
    assert again["people"] + again["validation_people"] == 4
    listed = run("models", "list", "--json").json["models"]
    assert [m["status"] for m in listed if m["model"] == "tiny"] == ["ready"]
    gallery = tmp_path / "g.faceflow"
    photo, name = next(photos.glob("*/*_0001.png")), "Somebody"
    run("enroll", photo, "-p", name, "-g", gallery, "--network", "tiny", "--offline")
    found = run("identify", photo, "--gallery", gallery, "--json", "--offline").lines[0]
    assert found["matches"][0]["person"] == name


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--name", "Tiny!"], "cannot be a network's name"),
        (["--name", "mtcnn"], "model of faceflow's own"),
        (["--name", "tiny", "--cover", "beard"], "no cover is called"),
        (["--name", "tiny", "--network", "vgg"], "there is no network"),
        (["--name", "tiny", "--recipe", "none.toml"], "cannot be read"),
        (["--name", "tiny"], "2 people with two photos or more cannot be trained with"),
    ],
)
def test_head_refuses_before_it_computes(run, tmp_path: Path, words: list[str], told: str) -> None:
    for person, count in {"Ada": 2, "Bruno": 2, "Celia": 1}.items():
        (tmp_path / person).mkdir()
        for number in range(count):
            (tmp_path / person / f"{number}.png").write_bytes(b"never read")
    assert told in run("train", "head", tmp_path, *words, "--offline", code=2).err


def test_one_photo_per_person(run, tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"p{number}").mkdir()
        (tmp_path / f"p{number}" / "a.png").write_bytes(b"never read")
    err = run("train", "head", tmp_path, "--name", "tiny", code=2).err
    assert "0 people with two photos" in err
    assert "the photos show 9 people" in err.lower()


def test_network_without_pytorch(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        (tmp_path / f"p{number // 2}").mkdir(exist_ok=True)
        (tmp_path / f"p{number // 2}" / f"{number}.png").write_bytes(b"never read")
    monkeypatch.setitem(sys.modules, "torch", None)
    for module in [name for name in sys.modules if name.startswith("faceflow.networks.torch.")]:
        monkeypatch.delitem(sys.modules, module)
    words = ("train", "network", tmp_path, "--name", "tiny", "--run", tmp_path / "run")
    assert 'pip install "faceflow[torch]"' in run(*words, code=7).err
    assert not (tmp_path / "run").exists()


def test_network_from_photos_to_registry(run, own_cache: Path, drawn: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch (extra train) is not installed")
    photos = drawn / "people"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("validation_share = 0.5\nbatch_size = 3\naccumulate = 3\nepochs = 1\n")
    words = ("train", "network", photos, "--name", "tiny", "--run", tmp_path / "run")
    words = (
        *words,
        "--recipe",
        recipe,
        "--freeze",
        "conv1",
        "--cover",
        "mask",
        "--offline",
        "--threads",
        1,
    )
    first = run(*words, "--json").json
    assert [epoch["epoch"] for epoch in first["history"]] == [0, 1]
    again = run(*words, "--force", "--json").json  # the run is found finished
    assert again == first
    listed = run("models", "list", "--json").json["models"]
    assert [m["status"] for m in listed if m["model"] == "tiny"] == ["ready"]
