"""The check-up finds what is there and what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faceflow import doctor
from faceflow.analyzer import FaceAnalyzer
from faceflow.errors import GalleryError, MissingExtraError, WeightsError
from faceflow.gallery import Gallery


def by_name(checks: list[doctor.Check]) -> dict[str, doctor.Check]:
    return {check.name: check for check in checks}


def test_a_ready_computer(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    path = tmp_path / "people.faceflow"
    Gallery.open_or_create(path, analyzer.network).close()
    checks = by_name(doctor.examine(gallery=path))
    assert [check for check in checks.values() if check.verdict == "problem"] == []
    assert "CPUExecutionProvider" in checks["onnxruntime providers"].detail
    assert checks["transport"].detail.startswith(("compiled kernel, f32 by", "NumPy backend"))
    assert "found and embedded" in checks["self-test"].detail
    assert "0 faces of 0 people" in checks["gallery"].detail


def test_missing_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path / "none"))
    checks = by_name(doctor.examine())
    assert isinstance(checks["model lightcnn-v4"].error, WeightsError)
    assert "faceflow models pull lightcnn-v4" in checks["model lightcnn-v4"].detail
    assert "self-test" not in checks
    assert not (tmp_path / "none").exists(), "looking must not make anything"


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package-of-faceflow"))
    checks = by_name(doctor.examine())
    assert isinstance(checks["no-such-package-of-faceflow"].error, MissingExtraError)
    assert checks["numpy"].verdict == "ok"


def test_a_broken_gallery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer.testing import CliRunner

    from faceflow.cli.app import app

    bad = tmp_path / "bad.faceflow"
    bad.write_bytes(b"dear diary")
    found = by_name(doctor.examine(gallery=bad))["gallery"]
    assert isinstance(found.error, GalleryError)
    monkeypatch.setattr(doctor, "examine", lambda gallery: [found])
    ended = CliRunner().invoke(app, ["doctor", "--json", "-g", str(bad)])
    assert ended.exit_code == 5
    told = json.loads(ended.stdout)
    assert told["ok"] is False
    assert told["checks"][0]["verdict"] == "problem"
