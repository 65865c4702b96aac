"""The ``covers`` commands: learn, show, forget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from faceflow.analyzer import FaceAnalyzer
from faceflow.cli import covers
from faceflow.cli.app import app
from faceflow.networks import NetworkSpec, learned


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["covers", *map(str, words)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_learn_show_forget(
    looker: FaceAnalyzer,
    spec: NetworkSpec,
    people: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(covers, "load_analyzer", lambda *_, **__: looker)
    assert "nothing is known of its covers" in run("show", "--network", spec.name).stdout

    told = run("learn", people, "--network", spec.name, "--photos", 50)
    assert "learned from 250 faces on 50 photos of 50 people" in told.stdout
    assert "50 people were searched for among 50 faces" in told.stdout
    report = learned.recall(spec)
    assert report is not None
    word = "it helps" if report.defaults is not None else "it does not help"
    assert word in told.stdout
    assert len([line for line in told.stdout.splitlines() if line.startswith("  ")]) == 7

    shown = run("show", "--network", spec.name)
    assert shown.stdout == told.stdout
    as_json = json.loads(run("show", "--network", spec.name, "--json").stdout)
    assert as_json["digest"] == spec.digest
    assert as_json["learned"] == report.report

    assert "dropped" in run("forget", "--network", spec.name).stdout
    again = json.loads(run("forget", "--network", spec.name, "--json").stdout)
    assert again == {"network": spec.name, "digest": spec.digest, "dropped": False}
    assert "nothing had been learned" in run("forget", "--network", spec.name).stdout
    assert json.loads(run("show", "--network", spec.name, "--json").stdout)["learned"] is None


def test_what_cannot_be_learned_from(
    looker: FaceAnalyzer, spec: NetworkSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(covers, "load_analyzer", lambda *_, **__: looker)
    assert "no photos" in run("learn", tmp_path, "--network", spec.name, code=2).stderr
    assert "no network" in run("show", "--network", "nobody", code=2).stderr
    path = learned._path(spec)
    path.write_bytes(b"torn")
    assert "covers forget" in run("show", "--network", spec.name, code=6).stderr
    run("forget", "--network", spec.name)
    run("show", "--network", spec.name)


def test_identify_says_that_it_uses_what_was_learned(
    looker: FaceAnalyzer,
    spec: NetworkSpec,
    people: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from faceflow import models
    from faceflow.cover_learning import learn
    from faceflow.gallery import Gallery
    from faceflow.gallery.enrolment import enroll_photos, list_photos

    monkeypatch.setattr(models, "open_analyzer", lambda *_, **__: looker)
    place, photo = tmp_path / "people.faceflow", people / "person-00" / "1.png"
    with Gallery.open_or_create(place, looker.network, detector=looker.detector_name) as gallery:
        enroll_photos(
            list_photos([people / "person-00", people / "person-01"], person="both"),
            gallery,
            looker,
        )

    def ask(*options: str) -> Result:
        words = ["identify", str(photo), "-g", str(place), *options]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (result.output, result.exception)
        return result

    assert "learned" not in ask().stderr
    assert json.loads(ask("--json").stdout)["patch_model"] is None
    model = learn(people, looker, limit=50).model
    told = ask("--patches", "projected", "--visible-share", "0.3", "--weighting", "uncovered")
    assert "compared by what both show, with the covers learned of tiny" in told.stderr
    answer = json.loads(ask("--json", "--patches", "projected").stdout)
    assert answer["patch_model"] == model.digest
    assert 0 < answer["quality"]["visible"] <= 1
    raw = ask("--patches", "raw", "--visible-share", "0", "--weighting", "uniform")
    assert "looked at with the covers" in raw.stderr
