"""Commands that look into a gallery and change it."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceflow.gallery import Gallery

pytestmark = pytest.mark.usefixtures("analyzer")


def names(gallery: Path) -> set[str]:
    with Gallery.open(gallery, readonly=True) as opened:
        return {who.name for who in opened.people()}


def test_people_and_faces(run, gallery: Path) -> None:
    people = run("people", "-g", gallery, "--json").json
    assert people["faces"] == sum(who["faces"] for who in people["people"]) == 8
    assert people["network"] == "lightcnn-v4"
    assert run("people", "-g", gallery).out.splitlines()[1].split() == ["Ada", "2"]
    faces = run("faces", "Ada", "-g", gallery, "--json").json["faces"]
    assert {face["person"] for face in faces} == {"Ada"}
    assert all(len(face["box"]) == 4 for face in faces)
    assert len(run("faces", "-g", gallery).out.splitlines()) == 9
    assert "did you mean" in run("faces", "Ad", "-g", gallery, code=5).err.lower()


def test_the_gallery_can_come_from_the_environment(
    run, gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEFLOW_GALLERY", str(gallery))
    assert "Ada" in run("people").out


def test_remove(run, gallery: Path) -> None:
    told = run("remove", "Ada", "--face-id", 3, "-y", "-g", gallery, "--json").json
    assert told["erased"] is True
    assert [(one["person"], one["faces"]) for one in told["removed"]] == [("Alba", 1), ("Ada", 2)]
    assert names(gallery) == {"Alba", "Bruno", "Celia"}
    assert b"Ada_0001" not in gallery.read_bytes()


def test_remove_needs_a_yes(run, gallery: Path) -> None:
    assert "--yes" in run("remove", "Ada", "-g", gallery, code=2).err
    assert "Ada" in names(gallery)


def test_remove_does_all_or_nothing_with_an_unknown_name(run, gallery: Path) -> None:
    run("remove", "Ada", "Nobody", "-y", "-g", gallery, code=5)
    run("remove", "--face-id", 999, "-y", "-g", gallery, code=5)
    run("remove", "-y", "-g", gallery, code=2)
    assert len(names(gallery)) == 4


def test_a_person_and_one_of_their_faces(run, gallery: Path) -> None:
    told = run("remove", "Ada", " Ada ", "--face-id", 1, "-y", "-g", gallery, "--json").json
    assert [one["faces"] for one in told["removed"]] == [2]


def test_rename_and_merge(run, gallery: Path) -> None:
    assert run("rename", "Ada", "Eve", "-g", gallery, "--json").json["faces"] == 2
    assert "Eve" in names(gallery)
    run("rename", "Eve", "Alba", "-g", gallery, code=5)
    told = run("merge", "Eve", "Alba", "-g", gallery, "--json").json
    assert (told["faces"], told["dropped"]) == (2, 0)
    assert "Eve" not in names(gallery)
    run("merge", "Alba", "Alba", "-g", gallery, code=2)


def test_export_and_import(run, gallery: Path, tmp_path: Path) -> None:
    folder, copy = tmp_path / "moved", tmp_path / "copy.faceflow"
    assert run("export", folder, "-g", gallery, "--json").json["faces"] == 8
    run("export", folder, "-g", gallery, code=5)
    run("export", folder, "--force", "-g", gallery)
    assert run("import", folder, "-g", copy, "--json").json["people"] == 4
    assert names(copy) == names(gallery)
    run("import", folder, "-g", copy, code=5)
    run("import", tmp_path, "-g", tmp_path / "new.faceflow", code=5)
