"""The main job through the commands: enroll, identify a masked face, explain, remove."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from drawn_people import person_name

pytestmark = pytest.mark.usefixtures("loaded")  # skips with the reason without weights


def test_from_photos_to_removal(run, drawn: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "new.faceflow"
    enrolled = run("enroll", drawn / "people", "-g", gallery, "--json").json
    assert (enrolled["photos"], enrolled["added"], enrolled["skipped"]) == (8, 8, [])

    query = drawn / "queries" / "Ada-mask.png"
    (answer,) = run("identify", query, "-g", gallery, "-t", "0.3", "--json").lines
    assert answer["status"] == "identified"
    assert answer["person"] == answer["matches"][0]["person"] == "Ada"
    assert answer["query"] == str(query)

    picture = tmp_path / "why.png"
    run("explain", query, drawn / "people" / "Ada" / "Ada_0001.png", "-o", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")

    run("remove", "Ada", "--yes", "-g", gallery)
    (answer,) = run("identify", query, "-g", gallery, "--json").lines
    assert "Ada" not in {match["person"] for match in answer["matches"]}
    assert b"Ada" not in gallery.read_bytes()


def test_enrolling_again_adds_nothing(run, drawn: Path, gallery: Path) -> None:
    again = run("enroll", drawn / "people", "-g", gallery, "--json").json
    assert (again["added"], again["duplicates"]) == (0, 8)
    assert "8 photos already there" in run("enroll", drawn / "people", "-g", gallery).out


def test_enrolling_names_what_was_left_out(
    run, drawn: Path, gallery: Path, no_face: Path, two_faces: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 cut")
    ran = run("enroll", no_face, two_faces, broken, "-p", "Nobody", "-g", gallery, "--json")
    reasons = {Path(skip["photo"]).name: skip["reason"] for skip in ran.json["skipped"]}
    assert reasons == {"sky.png": "no face", "broken.jpg": "unreadable"}
    (crowd,) = ran.json["several_faces"]
    assert (crowd["faces"], crowd["taken"]) == (2, "largest")
    assert ran.json["photos"] == ran.json["added"] + len(ran.json["skipped"]) == 3


def test_enrolling_nothing_usable_fails(run, gallery: Path, no_face: Path) -> None:
    assert "No face" in run("enroll", no_face, "-p", "Sky", "-g", gallery, code=4).err


def test_verify(run, drawn: Path) -> None:
    ada = sorted((drawn / "people" / "Ada").glob("*.png"))
    other = drawn / "people" / person_name(1) / f"{person_name(1)}_0001.png"
    same = run("verify", *ada, "-t", "0.7", "--json").json
    different = run("verify", ada[0], other, "-t", "0.7", "--json").json
    undecided = run("verify", ada[0], other, "--json").json
    assert (same["same"], different["same"], undecided["same"]) == (True, False, None)
    assert undecided["score"] == different["score"] < same["score"]
    assert "same person" in run("verify", *ada, "-t", "0.7").out


def test_explain_in_all_forms(run, drawn: Path, tmp_path: Path) -> None:
    a, b = sorted((drawn / "people" / "Ada").glob("*.png"))
    files = [tmp_path / f"x.{kind}" for kind in ("png", "html", "json")]
    options = [word for file in files for word in ("-o", file)]
    run("explain", a, b, "--grid", "4x4", "--weighting", "apc", "--alpha", "0.5", *options)
    written = json.loads(files[2].read_text())
    assert written["grid"] == [4, 4]
    assert written["weighting"] == "apc"
    assert sum(written["query"]["contributions"]) == pytest.approx(written["emd"], abs=1e-9)
    assert files[1].read_text().lower().startswith("<!doctype html>")
    ran = run("explain", a, b, "--json")
    assert ran.json["a"] == str(a)
    assert list(tmp_path.glob("explanation*")) == []
    run("explain", a, b, "-o", tmp_path / "x.gif", code=2)


def test_python_twin_gives_the_same_numbers(run, drawn: Path, gallery: Path, analyzer) -> None:
    from faceflow import Gallery, identify

    query = drawn / "queries" / "Ada-mask.png"
    (answer,) = run("identify", query, "-g", gallery, "--json").lines
    with Gallery.open(gallery, readonly=True) as opened:
        face = analyzer.analyze(query, select="largest")[0]
        (matches,) = identify(face.features, opened)
    # Another session may split sums over threads differently, hence not to the last bit.
    for told, match in zip(answer["matches"], matches.people, strict=False):
        assert told["person"] == match.person
        assert told["score"] == pytest.approx(match.score, abs=1e-5)


@pytest.mark.usefixtures("loaded")
def test_explain_draws_all_weightings(run, drawn: Path, tmp_path: Path) -> None:
    a, b = sorted((drawn / "people").glob("*/*.png"))[:2]
    sheet = tmp_path / "weights.png"
    ran = run("explain", a, b, "--weights", sheet)
    assert str(sheet) in ran.out
    assert not Path("explanation.png").exists()
    with Image.open(sheet) as image:
        assert image.width > 4 * image.height / 3  # photo, apc, sc, lmk, norm in two rows
    run("explain", a, b, "--weights", tmp_path / "x.jpg", code=2)
    raw = ("--weighting", "cc", "--patches", "raw")
    assert "128 numbers" in run("verify", a, b, *raw, code=2).err
    # Projected patches are as long as embeddings.
    assert run("verify", a, b, "--weighting", "cc", "--patches", "projected").out
    for name in ("lmk", "norm"):
        assert run("verify", a, b, "--weighting", name, "--json").json["weighting"] == name
