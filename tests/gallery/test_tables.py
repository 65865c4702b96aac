"""Galleries as Parquet files and Lance folders: what is in them, and the same gallery again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from faceflow.errors import GalleryError, MissingExtraError
from faceflow.gallery import Enrolment, Gallery

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (faceflow[parquet])")
pq = pytest.importorskip("pyarrow.parquet")

Make = Callable[..., list[Enrolment]]
WORKERS = Path(__file__).parent / "workers"


@pytest.fixture(params=["parquet", "lance"])
def ending(request: pytest.FixtureRequest) -> str:
    if request.param == "lance":
        pytest.importorskip("lance", reason="pylance is not installed (faceflow[lance])")
    return str(request.param)


def rows_of(path: Path) -> pa.Table:
    """The table as any other program reads it."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    import lance

    return lance.dataset(str(path)).to_table()


@pytest.fixture(params=["int8", "float32"])
def filled(
    request: pytest.FixtureRequest, tmp_path: Path, create: Callable[..., Gallery], enrolments: Make
) -> Gallery:
    gallery = create(tmp_path / "a.faceflow", codec=request.param)
    items = enrolments(30, crops=True)
    items[3] = replace(items[3], person="../../x", source="../../../etc/passwd", box=None)
    share = np.zeros((1, 16), np.float32)
    share[0, [2, 9]] = 0.3, 0.7
    items[4] = replace(items[4], person="Zoë 李", features=items[4].features.with_landmarks(share))
    items[5] = replace(
        items[5], crop=None, features=items[5].features.with_landmarks(np.zeros_like(share))
    )
    gallery.enroll(items)
    gallery.remove_face(7)
    gallery.update_settings({"note": "käse"})
    return gallery


def test_an_import_is_the_same_gallery(
    filled: Gallery, tmp_path: Path, ending: str, enrolments: Make
) -> None:
    with filled:
        target = filled.export(tmp_path / f"t.{ending}", patches=True, thumbnails=True)
        with Gallery.import_from(target, tmp_path / "b.faceflow") as again:
            again.check()
            assert again.header == filled.header
            assert again.settings == filled.settings
            assert again.faces() == filled.faces()
            ids = [record.face_id for record in filled.faces()]
            for mine, theirs in zip(vars_of(filled, ids), vars_of(again, ids), strict=True):
                assert np.array_equal(mine, theirs)
            assert [again.thumbnail(i) for i in ids] == [filled.thumbnail(i) for i in ids]
            query = enrolments(1, seed=9)[0].features
            assert (again.search(query, 5).cosine == filled.search(query, 5).cosine).all()


def vars_of(gallery: Gallery, ids: list[int]) -> list[np.ndarray]:
    found = gallery.features(ids)
    return [found.embedding, found.patches, found.norms, found.pooled]


def test_others_read_it_without_us(filled: Gallery, tmp_path: Path, ending: str) -> None:
    """The columns mean what the pages say, computed here from the raw bytes."""
    with filled:
        target = filled.export(tmp_path / f"t.{ending}", patches=True)
        records = filled.faces()
        expected = filled.features([record.face_id for record in records])
        codec = filled.header.codec
    rows = rows_of(target).to_pydict()
    assert rows["face_id"] == [record.face_id for record in records]
    assert rows["person"] == [record.person for record in records]
    assert rows["created"] == [record.created for record in records]
    assert rows["landmarks"][:4] == [None] * 4
    assert rows["landmarks"][4] == [
        {"cell": 2, "share": float(np.float32(0.3))},
        {"cell": 9, "share": float(np.float32(0.7))},
    ]
    assert rows["box"][3] is None
    assert "thumbnail" not in rows
    assert (np.array(rows["embedding"], np.float32) == expected.embedding).all()
    kind, factor = (np.int8, "scales") if codec == "int8" else (np.dtype("<f4"), "norms")
    values = np.stack([np.frombuffer(one, kind).reshape(16, 16) for one in rows["patches"]])
    raw = values * np.array(rows[factor], np.float32)[..., None]
    assert np.allclose(raw, expected.raw_patches, rtol=1e-5, atol=1e-7)
    about = json.loads(rows_of(target).schema.metadata[b"faceflow"])
    assert about["header"]["digest"] == "d1" * 32


def test_without_patches_it_is_searched_by_embeddings_alone(
    filled: Gallery, tmp_path: Path, ending: str, enrolments: Make
) -> None:
    query = enrolments(1, seed=9)[0].features
    with filled:
        target = filled.export(tmp_path / f"t.{ending}")
        assert "patches" not in rows_of(target).schema.names
        expected = filled.search(query, 4)
        with Gallery.import_from(target, tmp_path / "b.faceflow") as again:
            again.check()
            assert again.header.codec == "none"
            assert (again.search(query, 4).face_ids == expected.face_ids).all()
            assert (again.search(query, 4).cosine == expected.cosine).all()
            with pytest.raises(GalleryError, match="keeps no patches"):
                again.features(expected.face_ids[0])


def test_what_is_there_is_replaced_only_if_it_was_an_export(
    filled: Gallery, tmp_path: Path, ending: str
) -> None:
    with filled:
        target = filled.export(tmp_path / f"t.{ending}")
        assert target.stat().st_mode & 0o077 == 0
        with pytest.raises(GalleryError, match="exists already"):
            filled.export(target)
        filled.remove_person("Person 1")
        filled.export(target, overwrite=True)
        assert rows_of(target).num_rows == len(filled)
        mine = tmp_path / f"mine.{ending}"
        if ending == "lance":
            mine.mkdir()
            (mine / "letter.txt").write_text("dear")
        else:
            pq.write_table(pa.table({"a": [1]}), mine)
        with pytest.raises(GalleryError, match="not a former export"):
            filled.export(mine, overwrite=True)
        with pytest.raises(GalleryError, match="no folder"):
            filled.export(tmp_path / "no" / f"t.{ending}")
    assert not [found for found in tmp_path.iterdir() if found.name.startswith(".faceflow-")]


def test_killed_before_it_has_its_name(filled: Gallery, tmp_path: Path, ending: str) -> None:
    """Nothing of that name is there, and the next export sweeps what was left."""
    with filled:
        pass
    target = tmp_path / "out" / f"t.{ending}"
    target.parent.mkdir()
    worker = WORKERS / "kill_while_exporting.py"
    done = subprocess.run(
        [sys.executable, worker, filled.location, target], check=False, capture_output=True
    )
    assert done.returncode == -9, done.stderr
    assert [found.name.startswith(".faceflow-") for found in target.parent.iterdir()] == [True]
    with Gallery.open(filled.location, readonly=True) as gallery:
        gallery.export(target)
    assert [found.name for found in target.parent.iterdir()] == [target.name]


def changed(table: pa.Table, name: str, row: int, value: object) -> pa.Table:
    at = table.schema.get_field_index(name)
    field = table.schema.field(name)
    values = table.column(name).to_pylist()
    values[row] = value
    return table.set_column(at, field, pa.array(values, field.type))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("embedding", [float("nan")] * 32, "embedding holds NaN"),
        ("embedding", [2.0] * 32, "has length"),
        ("scales", [-1.0] * 16, "negative"),
        ("pooled", [float("inf")] * 16, "pooled holds"),
        ("patches", b"\x80" * 256, "-128"),
        ("face_id", 0, "not positive"),
        ("face_id", 1, "not larger"),
        ("person", "\x1b[2J", "U\\+001B"),
        ("content_hash", "zz", "sha256"),
        ("box", [5.0, 0.0, 1.0, 1.0], "box"),
        ("landmarks", [{"cell": 99, "share": 1.0}], "landmarks"),
    ],
)
def test_impossible_values_are_refused(
    gallery: Gallery, enrolments: Make, tmp_path: Path, name: str, value: object, words: str
) -> None:
    gallery.enroll(enrolments(6))
    target = gallery.export(tmp_path / "t.parquet", patches=True)
    pq.write_table(changed(pq.read_table(target), name, 3, value), target)
    with pytest.raises(GalleryError, match=words):
        Gallery.import_from(target, tmp_path / "b.faceflow")
    assert not (tmp_path / "b.faceflow").exists()


def test_damage_and_strangers_are_refused(
    gallery: Gallery, enrolments: Make, tmp_path: Path
) -> None:
    gallery.enroll(enrolments(6))
    target = gallery.export(tmp_path / "t.parquet", patches=True)
    whole = target.read_bytes()

    def refused(content: bytes, words: str) -> None:
        target.write_bytes(content)
        with pytest.raises(GalleryError, match=words):
            Gallery.import_from(target, tmp_path / "b.faceflow")
        assert not (tmp_path / "b.faceflow").exists()

    columns = pq.read_metadata(target).row_group(0)
    for number in range(columns.num_columns):  # the last byte of each column's pages
        column = columns.column(number)
        start = column.dictionary_page_offset or column.data_page_offset
        at = start + column.total_compressed_size - 1
        refused(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], "cannot be")
    refused(whole[: len(whole) // 2], "cannot be read as Parquet")
    refused(b"", "cannot be read as Parquet")
    target.write_bytes(whole)
    table = pq.read_table(target)
    pq.write_table(table.slice(2), target)
    refused(target.read_bytes(), "holds 4 faces instead of 6")
    pq.write_table(table.drop(["score"]), target)
    refused(target.read_bytes(), "other names or types")
    pq.write_table(table.replace_schema_metadata({}), target)
    refused(target.read_bytes(), "not an export of a gallery")
    about = json.loads(table.schema.metadata[b"faceflow"]) | {"version": 2}
    pq.write_table(table.replace_schema_metadata({b"faceflow": json.dumps(about)}), target)
    refused(target.read_bytes(), "upgrade faceflow")
    with pytest.raises((GalleryError, MissingExtraError), match=r"not a Lance folder|pylance"):
        Gallery.import_from(tmp_path / "no.lance", tmp_path / "b.faceflow")


def test_more_rows_than_a_batch(
    gallery: Gallery, enrolments: Make, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faceflow.gallery.transfer import table

    monkeypatch.setattr(table, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(table, "_WRITE_BATCH", 5)
    gallery.enroll(enrolments(40))
    target = gallery.export(tmp_path / f"t.{ending}", patches=True)
    with Gallery.import_from(target, tmp_path / "b.faceflow") as again:
        assert again.faces() == gallery.faces()


@pytest.mark.parametrize(("ending", "package"), [("parquet", "pyarrow"), ("lance", "lance")])
def test_a_missing_package_is_named(
    gallery: Gallery,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    package: str,
) -> None:
    missing: ModuleType = None  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, package, missing)
    monkeypatch.delitem(sys.modules, f"faceflow.gallery.transfer.{ending}", raising=False)
    import faceflow.gallery.transfer

    monkeypatch.delattr(faceflow.gallery.transfer, ending, raising=False)
    with pytest.raises(MissingExtraError, match=f"pip install 'faceflow\\[{ending}\\]'"):
        gallery.export(tmp_path / f"t.{ending}")
    assert not (tmp_path / f"t.{ending}").exists()
