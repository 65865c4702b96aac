from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from faceflow.errors import GalleryError
from faceflow.features import FaceFeatures
from faceflow.gallery import Enrolment, Gallery
from faceflow.gallery.transfer import folder as transfer

Make = Callable[..., list[Enrolment]]


@pytest.fixture
def filled(gallery: Gallery, enrolments: Make) -> Gallery:
    items = enrolments(30, crops=True)
    items[3] = replace(items[3], person="../../x", source="../../../etc/passwd", box=None)
    items[4] = replace(items[4], person="Zoë 李", crop=None)
    gallery.enroll(items)
    gallery.remove_face(7)
    gallery.update_settings({"alpha": 0.4, "threshold": 0.25})
    return gallery


@pytest.fixture
def exported(filled: Gallery, tmp_path: Path) -> Path:
    return filled.export(tmp_path / "export")


@pytest.mark.parametrize("codec", ["int8", "float32"])
@pytest.mark.parametrize("part", [4096, 7])
def test_an_import_is_the_same_gallery(
    tmp_path: Path,
    create: Callable[..., Gallery],
    enrolments: Make,
    monkeypatch: pytest.MonkeyPatch,
    codec: str,
    part: int,
) -> None:
    monkeypatch.setattr(transfer, "FACES_PER_PART", part)
    with create(tmp_path / "a.faceflow", codec=codec) as gallery:
        items = enrolments(30, crops=True)
        gallery.enroll([replace(items[0], person="../../x", crop=None, box=None), *items[1:]])
        gallery.remove_person("Person 3")
        gallery.update_settings({"alpha": 0.4})
        folder = gallery.export(tmp_path / "export")
        assert len(list(folder.iterdir())) == 1 + 2 * -(-len(gallery) // part)
        queries = FaceFeatures.concatenate([item.features for item in items])
        with Gallery.import_from(folder, tmp_path / "b.faceflow") as again:
            again.check()
            assert again.header == gallery.header
            assert again.faces() == gallery.faces()
            assert [(p.name, p.faces) for p in again.people()] == [
                (p.name, p.faces) for p in gallery.people()
            ]
            assert again.settings == gallery.settings
            ids = [record.face_id for record in gallery.faces()]
            for mine, theirs in zip(gallery.features(ids), again.features(ids), strict=True):
                for field in ("embedding", "patches", "norms", "pooled"):
                    assert np.array_equal(getattr(mine, field), getattr(theirs, field))
            assert [gallery.thumbnail(i) for i in ids] == [again.thumbnail(i) for i in ids]
            a, b = gallery.search(queries, k=9), again.search(queries, k=9)
            assert np.array_equal(a.face_ids, b.face_ids)
            assert np.array_equal(a.cosine, b.cosine)
            # Exported again, every byte is the same.
            second = again.export(tmp_path / "second")
            for file in folder.iterdir():
                assert file.read_bytes() == (second / file.name).read_bytes()
            # The same photo is still known.
            assert again.enroll(items[1:2]).duplicates == 1
            assert again.enroll(enrolments(1, seed=7)).face_ids == (ids[-1] + 1,)


def test_an_empty_gallery_moves_too(gallery: Gallery, tmp_path: Path) -> None:
    folder = gallery.export(tmp_path / "export")
    with Gallery.import_from(folder, tmp_path / "b.faceflow") as again:
        assert len(again) == 0
        assert again.header == gallery.header


def test_names_never_become_paths(exported: Path, tmp_path: Path) -> None:
    assert sorted(p.name for p in exported.iterdir()) == [
        "faces-00000.json",
        "faces-00000.safetensors",
        "gallery.json",
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "export",
        "people.faceflow",
        "people.faceflow-shm",
        "people.faceflow-wal",
    ]
    assert "../../x" in (exported / "faces-00000.json").read_text(encoding="utf-8")


def test_an_export_is_not_overwritten_unasked(filled: Gallery, exported: Path) -> None:
    before = {p.name: p.read_bytes() for p in exported.iterdir()}
    filled.remove_face(1)
    with pytest.raises(GalleryError, match=r"exists already.*--force"):
        filled.export(exported)
    assert {p.name: p.read_bytes() for p in exported.iterdir()} == before
    assert filled.export(exported, overwrite=True) == exported
    assert json.loads((exported / "gallery.json").read_text())["faces"] == 28
    assert sorted(p.name for p in exported.parent.iterdir() if p.name.startswith(".")) == []


@pytest.mark.parametrize("name", ["notes.txt", "faces-00001.safetensors.bak", "sub"])
def test_a_folder_with_other_things_is_never_overwritten(
    filled: Gallery, exported: Path, name: str
) -> None:
    (exported / name).mkdir() if name == "sub" else (exported / name).write_text("mine")
    with pytest.raises(GalleryError, match="not a former export"):
        filled.export(exported, overwrite=True)
    assert (exported / name).exists()
    plain = exported.parent / "file"
    plain.write_text("mine")
    with pytest.raises(GalleryError, match="not a former export"):
        filled.export(plain, overwrite=True)
    assert plain.read_text() == "mine"
    with pytest.raises(GalleryError, match="there is no folder"):
        filled.export(exported.parent / "nowhere" / "export")


def test_a_failed_export_leaves_nothing(
    filled: Gallery, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in exported.iterdir()}

    def full(folder: Path, name: str, content: bytes) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transfer, "_write", full)
    with pytest.raises(GalleryError, match="No space left"):
        filled.export(exported, overwrite=True)
    with pytest.raises(GalleryError, match="No space left"):
        filled.export(exported.parent / "other")
    assert {p.name: p.read_bytes() for p in exported.iterdir()} == before
    assert sorted(p.name for p in exported.parent.iterdir() if "people" not in p.name) == ["export"]


def test_import_does_not_overwrite(filled: Gallery, exported: Path) -> None:
    before = len(filled)
    with pytest.raises(GalleryError, match="exists already"):
        Gallery.import_from(exported, filled.path)
    assert len(filled) == before
    with pytest.raises(GalleryError, match="there is no folder"):
        Gallery.import_from(exported, filled.path.parent / "nowhere" / "x.faceflow")


def reseal(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest and make its checksum right again."""
    path = folder / "gallery.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest["sha256"]
    edit(manifest)
    manifest["sha256"] = hashlib.sha256(transfer._json(manifest)).hexdigest()
    path.write_bytes(transfer._json(manifest))


def reseal_part(folder: Path, kind: str, name: str) -> None:
    content = (folder / name).read_bytes()

    def edit(manifest: dict[str, Any]) -> None:
        manifest["parts"][0][kind] |= {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }

    reseal(folder, edit)


def edit_tensors(folder: Path, edit: Callable[[dict[str, np.ndarray]], None]) -> None:
    path = folder / "faces-00000.safetensors"
    tensors = {name: value.copy() for name, value in load_file(path).items()}
    edit(tensors)
    save_file(tensors, path)
    reseal_part(folder, "tensors", path.name)


def edit_records(folder: Path, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    path = folder / "faces-00000.json"
    records = json.loads(path.read_text(encoding="utf-8"))
    edit(records)
    path.write_text(json.dumps(records), encoding="utf-8")
    reseal_part(folder, "records", path.name)


def set_value(name: str, index: Any, value: Any) -> Callable[[dict[str, np.ndarray]], None]:
    def edit(tensors: dict[str, np.ndarray]) -> None:
        tensors[name][index] = value

    return edit


def set_field(name: str, value: Any) -> Callable[[list[dict[str, Any]]], object]:
    return lambda records: records[2].update({name: value})


TENSOR_FAULTS: list[tuple[str, Callable[[dict[str, np.ndarray]], Any], str]] = [
    ("nan embedding", set_value("embedding", (1, 2), np.nan), "embedding holds NaN"),
    ("embedding not unit", set_value("embedding", (1, 2), 5.0), "embedding 1 has length"),
    ("nan pooled", set_value("pooled", (1, 2), np.inf), "pooled holds NaN or infinity"),
    ("nan scale", set_value("scales", (1, 2), np.nan), "NaN"),
    ("negative scale", set_value("scales", (1, 2), -1.0), "scale is negative"),
    ("-128", set_value("patches", (1, 2, 3), -128), "-128"),
    ("id of another face", set_value("face_id", 2, 99), "disagree about the faces' ids"),
    ("thumbnail size", set_value("thumbnail_size", 0, 10**9), "thumbnails do not add up"),
    ("thumbnail size", set_value("thumbnail_size", 0, -7), "thumbnails do not add up"),
    ("missing", lambda t: t.pop("pooled"), "other names, types"),
    ("another", lambda t: t.update(extra=np.zeros(3)), "other names, types or shapes"),
    ("type", lambda t: t.update(pooled=t["pooled"].astype(np.float64)), "other names, types"),
    ("shape", lambda t: t.update(scales=t["scales"][:, :-1].copy()), "other names, types"),
    ("fewer", lambda t: t.update({k: v[:-1].copy() for k, v in t.items()}), "other names, types"),
]


@pytest.mark.parametrize(
    ("fault", "edit", "reason"), TENSOR_FAULTS, ids=[f[0] for f in TENSOR_FAULTS]
)
def test_bad_arrays_are_refused(
    exported: Path,
    tmp_path: Path,
    fault: str,
    edit: Callable[[dict[str, np.ndarray]], None],
    reason: str,
) -> None:
    edit_tensors(exported, edit)
    assert_refused(exported, tmp_path, reason)


RECORD_FAULTS: list[tuple[str, Callable[[list[dict[str, Any]]], object], str]] = [
    ("empty name", set_field("person", ""), "name is empty"),
    ("control character", set_field("person", "a\nb"), r"U\+000A"),
    ("hash", set_field("content_hash", "xyz"), "64 hex digits"),
    ("box", set_field("box", [1, 2, 3]), "x0, y0, x1, y1"),
    ("box of text", set_field("box", ["a", 2, 3, 4]), "ValueError"),
    ("score", set_field("score", None), "TypeError"),
    ("time", set_field("created", "yesterday"), "ValueError"),
    ("time zone", set_field("created", "2024-01-01T00:00:00"), "no time zone"),
    ("unknown field", set_field("more", 1), "TypeError"),
    ("missing field", lambda records: records[2].pop("score"), "TypeError"),
    ("order", lambda records: records.reverse(), "disagree about the faces' ids"),
    ("fewer", lambda records: records.pop(), "other names, types or shapes"),
    ("no records", lambda records: records.clear(), "other names, types or shapes"),
    ("not a record", lambda records: records.__setitem__(1, None), "AttributeError|TypeError"),
    (
        "same photo twice",
        lambda records: records[5].update(
            person=records[0]["person"], content_hash=records[0]["content_hash"]
        ),
        "same photo twice",
    ),
]


@pytest.mark.parametrize(
    ("fault", "edit", "reason"), RECORD_FAULTS, ids=[f[0] for f in RECORD_FAULTS]
)
def test_bad_records_are_refused(
    exported: Path,
    tmp_path: Path,
    fault: str,
    edit: Callable[[list[dict[str, Any]]], object],
    reason: str,
) -> None:
    edit_records(exported, edit)
    assert_refused(exported, tmp_path, reason)


MANIFEST_FAULTS: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("format", lambda m: m.update(format="x"), "of another program"),
    ("version", lambda m: m.update(version=2), "format 2, known is 1"),
    ("header", lambda m: m.pop("header"), "KeyError"),
    ("header field", lambda m: m["header"].pop("digest"), "TypeError"),
    ("codec", lambda m: m["header"].update(codec="zip"), "no patch codec"),
    ("sizes", lambda m: m["header"].update(embedding_size=64), "other names, types or shapes"),
    ("grid", lambda m: m["header"].update(grid=[4]), "ValueError"),
    ("count", lambda m: m.update(faces=30), "29 faces instead of 30"),
    ("parts", lambda m: m["parts"].append(m["parts"][0]), "same photo twice"),
    ("no parts", lambda m: m["parts"].clear(), "0 faces instead of 29"),
    ("setting", lambda m: m.update(settings=[1]), "AttributeError"),
    (
        "path trick",
        lambda m: m["parts"][0]["tensors"].update(name="../faces-00000.safetensors"),
        "is not the name of a part",
    ),
    (
        "absolute path",
        lambda m: m["parts"][0]["records"].update(name="/etc/passwd"),
        "is not the name of a part",
    ),
]


@pytest.mark.parametrize(
    ("fault", "edit", "reason"), MANIFEST_FAULTS, ids=[f[0] for f in MANIFEST_FAULTS]
)
def test_bad_manifests_are_refused(
    exported: Path,
    tmp_path: Path,
    fault: str,
    edit: Callable[[dict[str, Any]], None],
    reason: str,
) -> None:
    reseal(exported, edit)
    assert_refused(exported, tmp_path, reason)


@pytest.mark.parametrize("name", ["gallery.json", "faces-00000.json", "faces-00000.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "garbage"])
def test_damaged_exports_are_refused(
    exported: Path, tmp_path: Path, name: str, damage: str
) -> None:
    path = exported / name
    raw = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        raw[len(raw) // 2] ^= 1
        contents = {"empty": b"", "cut": raw[:-10], "flipped": raw, "garbage": b"\x80" * 50}
        path.write_bytes(contents[damage])
    assert_refused(exported, tmp_path, "export|gallery.json|faces-00000")


def test_a_tensor_file_that_is_none(exported: Path, tmp_path: Path) -> None:
    (exported / "faces-00000.safetensors").write_bytes(b"\x80\x04 a pickle, perhaps" * 9)
    reseal_part(exported, "tensors", "faces-00000.safetensors")
    assert_refused(exported, tmp_path, "not a safetensors file")


def test_a_folder_that_is_no_export(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", tmp_path, "not an export")
    (tmp_path / "empty").mkdir()
    assert_refused(tmp_path / "empty", tmp_path, "not an export")


@pytest.mark.parametrize("name", ["gallery.json", "faces-00000.json", "faces-00000.safetensors"])
def test_a_pipe_in_an_export_is_refused_at_once(exported: Path, tmp_path: Path, name: str) -> None:
    (exported / name).unlink()
    os.mkfifo(exported / name)
    assert_refused(exported, tmp_path, "it is a pipe")


def test_a_manifest_nested_beyond_reading(exported: Path, tmp_path: Path) -> None:
    text = (exported / "gallery.json").read_text()
    deep = '{"a":' * 900 + "1" + "}" * 900
    (exported / "gallery.json").write_text(text.replace('"alpha": 0.4', f'"alpha": {deep}'))
    assert_refused(exported, tmp_path, "gallery.json")


def assert_refused(folder: Path, tmp_path: Path, reason: str) -> None:
    target = tmp_path / "imported" / "x.faceflow"
    target.parent.mkdir()
    with pytest.raises(GalleryError, match=reason):
        Gallery.import_from(folder, target)
    assert list(target.parent.iterdir()) == []
    shutil.rmtree(target.parent)
