"""``faceflow train`` from photos to a network that enrolls."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from faceflow.analyzer import FaceAnalyzer
from faceflow.synthetic import write_people
from faceflow.weights import cache_dir


@pytest.fixture
def own_cache(analyzer: FaceAnalyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the models in it, for this test alone."""
    shutil.copytree(cache_dir() / "models", tmp_path / "cache" / "models")
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_head_from_photos_to_identification(run, own_cache: Path, tmp_path: Path) -> None:
    photos, log = tmp_path / "photos", tmp_path / "log.csv"
    write_people(photos, people=5, photos_each=2)
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
    again = run(*words, "--force", "--json").json
    assert again["history"][1]["loss"] == pytest.approx(float(lines[1]["loss"]), rel=1e-5)
    assert again["people"] + again["validation_people"] == 5
    listed = run("models", "list", "--json").json["models"]
    assert [m["status"] for m in listed if m["model"] == "tiny"] == ["ready"]
    gallery = tmp_path / "g.faceflow"
    run("enroll", photos, "--gallery", gallery, "--network", "tiny", "--offline")
    photo = next(photos.glob("*/*_0001.png"))
    found = run("identify", photo, "--gallery", gallery, "--json", "--offline").lines[0]
    assert found["matches"][0]["person"] == photo.parent.name


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--name", "Tiny!"], "cannot be a network's name"),
        (["--name", "mtcnn"], "published model"),
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
