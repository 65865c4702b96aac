"""The calibrate command, once from photos to an identification, and its refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from drawn_people import write_people


@pytest.mark.usefixtures("loaded")
def test_from_photos_to_a_decision(run, tmp_path: Path) -> None:
    photos = write_people(tmp_path / "PHOTOS", people=10, photos_each=2, size=128)
    for photo in photos[::2]:  # the first photo of each is enrolled; one is left among the others
        there = tmp_path / "enrolled" / photo.parent.name
        there.mkdir(parents=True)
        shutil.copy(photo, there)
        if photo != photos[0]:
            photo.unlink()
    strangers = write_people(tmp_path / "PHOTOS", people=10, photos_each=1, seed=10, size=128)
    gallery, report = tmp_path / "g.faceflow", tmp_path / "reports" / "calibration.json"
    run("enroll", tmp_path / "enrolled", "-g", gallery)
    ran = run(
        *("calibrate", tmp_path / "PHOTOS", "-g", gallery, "--fpir", "0.3"),
        *("--cover", "clean", "--weighting", "uniform", "-o", report),
        *("--picture", tmp_path / "trust.svg"),
    )
    assert "visible share of the face" in (tmp_path / "trust.svg").read_text()
    record = json.loads(report.read_text())
    origin = record["origin"]
    assert (origin["enrolled_faces"], origin["people"], origin["impostors"]) == (10, 20, 10)
    # The enrolled photos are told by their content, and are searched for by nobody.
    assert (origin["photographs"], origin["enrolled_already"]) == (20, 1)
    assert origin["compared"] == 10
    (clean,) = record["strata"]
    assert (clean["rates"]["mated"], clean["rates"]["nonmated"]) == (10, 10)
    assert clean["rates"]["stage1_tpir"]["estimate"] == 1  # drawn faces are easy
    assert sum(rates["nonmated"] for _, rates in record["bands"]) == 10
    assert sum(part["rates"]["mated"] for part in record["visible"]) == 10
    assert all(f"\n{band} " in ran.out for band, _ in record["bands"])
    assert f"threshold {record['match']['threshold']:.4g}" in ran.out

    assert run("calibrate", "--show", "-g", gallery, "--json").json == record
    assert run("calibrate", "--show", "-g", gallery).out == ran.out
    answers = run("identify", photos[1], *strangers[:2], "-g", gallery, "--json").lines
    assert answers[0]["status"] == "identified"
    assert answers[0]["person"] == photos[1].parent.name
    assert {answer["status"] for answer in answers} <= {"identified", "unknown"}

    other = run("identify", photos[1], "-g", gallery, "--alpha", "0.9")
    assert "calibrated threshold does not hold" in other.err
    assert "identified" not in other.out

    assert "dropped" in run("calibrate", "--forget", "-g", gallery).out
    assert "not calibrated" in run("calibrate", "--show", "-g", gallery, code=2).err


@pytest.mark.usefixtures("loaded")
def test_too_few_strangers_are_refused_before_any_work(run, drawn: Path, gallery: Path) -> None:
    told = run("calibrate", drawn / "people", "-g", gallery, code=2).err
    assert "300 are needed" in told
    assert "match" not in run("calibrate", "--show", "-g", gallery, code=2).out


def test_options_that_make_no_sense(run, tmp_path: Path, bare_gallery: Path) -> None:
    assert "folder" in run("calibrate", "-g", bare_gallery, code=2).err
    assert "--show" in run("calibrate", "--show", "--forget", "-g", bare_gallery, code=2).err
    assert (
        "network"
        in run("calibrate", tmp_path, "-g", bare_gallery, "--network", "lightcnn-v4", code=2).err
    )
    assert "no calibration" in run("calibrate", "--forget", "-g", bare_gallery).out
    missing = run("calibrate", tmp_path, "-g", tmp_path / "none.faceflow", code=5).err
    assert "no gallery" in missing
    twice = ("--real", "a=x", "--real", "a=y")
    assert "twice" in run("calibrate", tmp_path, "-g", bare_gallery, *twice, code=2).err
