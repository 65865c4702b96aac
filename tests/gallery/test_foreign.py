"""Embeddings that other programs computed, on our user's word for where they come from."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceflow import networks
from faceflow.errors import FaceflowError, GalleryError, InputError
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Gallery
from faceflow.matching.identification import identify
from local_postgres import LocalPostgres

NETWORK, DETECTOR = "lightcnn-v4", "centerface"
SPEC = networks.spec(NETWORK)
DIGEST = features_digest(SPEC.digest, DETECTOR)


@pytest.fixture
def arrays(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Six faces of three people in files; returns what ``import_embeddings`` takes."""

    def make(**changes: Any) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        vectors = changes.get("vectors", rng.standard_normal((6, 256)) * 30)
        np.save(tmp_path / "faces.npy", vectors)
        (tmp_path / "ada.jpg").write_bytes(b"a photo")
        (tmp_path / "people.csv").write_text(
            changes.get(
                "people",
                "person,path,sha256\nAda,ada.jpg,\nAda,gone.jpg,\nBo,," + "ab" * 32 + "\n"
                "Bo,,\nCy,,\nCy,,\n",
            )
        )
        given = {
            "embeddings": tmp_path / "faces.npy",
            "location": tmp_path / "people.faceflow",
            "network": NETWORK,
            "detector": DETECTOR,
            "people": tmp_path / "people.csv",
        }
        if "maps" in changes:
            np.save(tmp_path / "maps.npy", changes["maps"])
            given["patches"] = tmp_path / "maps.npy"
        return given

    return make


def test_embeddings_alone_rank_and_nothing_more(arrays, tmp_path: Path) -> None:
    report = Gallery.import_embeddings(**arrays())
    assert (report.added, report.duplicates) == (6, 0)
    vectors = np.load(tmp_path / "faces.npy")
    rng = np.random.default_rng(5)
    query = FaceFeatures.from_maps(
        vectors[2:3] + rng.standard_normal((1, 256)), rng.standard_normal((1, 128, 8, 8))
    ).as_from(DIGEST)
    with Gallery.open(tmp_path / "people.faceflow") as gallery:
        gallery.check()
        assert gallery.header.digest == SPEC.digest
        records = gallery.faces()
        assert [record.person for record in records] == ["Ada", "Ada", "Bo", "Bo", "Cy", "Cy"]
        assert records[0].content_hash == hashlib.sha256(b"a photo").hexdigest()
        assert records[2].content_hash == "ab" * 32
        assert records[1].source == "gone.jpg"
        assert records[5].source == "people.csv, face 6"
        (matches,) = identify(query, gallery)
        assert matches.people[0].person == "Bo"
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        assert np.isclose(matches.people[0].score, float(unit[2] @ query.embedding[0]), atol=1e-6)
        with pytest.raises(GalleryError, match="keeps no patches"):
            gallery.options(alpha=0.3)
        with pytest.raises(GalleryError, match="keeps no patches"):
            gallery.features([1])
        with pytest.raises(GalleryError, match="no face 99"):
            gallery.embeddings([99])


def test_with_patches_it_is_a_gallery_like_any(arrays, tmp_path: Path) -> None:
    maps = np.random.default_rng(1).standard_normal((6, 128, 8, 8)).astype(np.float16)
    Gallery.import_embeddings(**arrays(maps=maps))
    vectors = np.load(tmp_path / "faces.npy")
    expected = FaceFeatures.from_maps(vectors.astype(np.float32), maps.astype(np.float32))
    with Gallery.open(tmp_path / "people.faceflow") as gallery:
        assert gallery.header.codec == "int8"
        found = gallery.features([1, 2, 3, 4, 5, 6])
        assert np.allclose(found.embedding, expected.embedding, atol=1e-7)
        assert np.allclose(found.pooled, expected.pooled, atol=1e-6)
        assert np.einsum("nrc,nrc->nr", found.patches, expected.patches).min() > 0.999


def test_into_postgres_and_on_as_a_table(arrays, tmp_path: Path, postgres: LocalPostgres) -> None:
    pytest.importorskip("pyarrow")
    url = postgres.new_url()
    assert Gallery.import_embeddings(**arrays() | {"location": url}).added == 6
    with Gallery.open(url) as gallery:
        gallery.check()
        assert gallery.header.codec == "none"
        table = gallery.export(tmp_path / "t.parquet", patches=True)
        again = postgres.new_url()
        with Gallery.import_from(table, again) as other:
            other.check()
            assert other.header == gallery.header
            assert other.faces() == gallery.faces()
            assert (other.embeddings([3, 1]) == gallery.embeddings([3, 1])).all()


def test_the_same_photo_twice_is_counted(arrays) -> None:
    same = "ab" * 32
    people = "person,sha256\n" + f"Ada,{same}\n" * 2 + f"Bo,{same}\nCy,\nCy,\nCy,\n"
    report = Gallery.import_embeddings(**arrays(people=people))
    assert (report.added, report.duplicates) == (5, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vectors": np.ones((6, 128))}, "gives 256 numbers"),
        ({"vectors": np.ones((5, 256))}, "holds 5 faces, and .* names 6"),
        ({"vectors": np.ones((6, 256), int)}, "in floats"),
        ({"vectors": np.ones(256)}, "needed of embeddings"),
        ({"vectors": np.zeros((6, 256))}, "all zeros"),
        ({"vectors": np.full((6, 256), np.nan)}, "NaN"),
        ({"vectors": np.full((6, 256), 1e300)}, "cannot be imported. its embedding holds"),
        ({"vectors": np.array([{}] * 6)}, "nothing pickled is read"),
        ({"maps": np.ones((6, 64, 8, 8))}, "gives \\(128, 8, 8\\)"),
        ({"maps": np.ones((5, 128, 8, 8), np.float32)}, "same faces"),
        ({"people": "name\nAda\n"}, "no columns person"),
        ({"people": "person\n" + "Ada\n" * 5 + "\x1b\n"}, "face 6|name"),
        ({"people": "person,sha256\n" + "Ada,zz\n" * 6}, "face 1 of .* sha256|sha256"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(
    arrays, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(FaceflowError, match=words):
        Gallery.import_embeddings(**arrays(**changes))
    assert not [f for f in tmp_path.iterdir() if "faceflow" in f.name]


def test_an_array_file_that_is_none(arrays, tmp_path: Path) -> None:
    given = arrays()
    whole = given["embeddings"].read_bytes()
    for content in (b"", whole[:300], whole.replace(b")", b"(", 1), b"PK\x03\x04"):
        given["embeddings"].write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as an array"):
            Gallery.import_embeddings(**given)
    np.savez(tmp_path / "several.npz", a=np.ones(3))
    (tmp_path / "several.npz").rename(given["embeddings"])
    with pytest.raises(InputError, match="cannot be read as an array"):
        Gallery.import_embeddings(**given)


def test_the_word_for_it_is_asked_for(arrays, tmp_path: Path) -> None:
    given = arrays()
    with pytest.raises(InputError, match="no network 'theirs'"):
        Gallery.import_embeddings(**given | {"network": "theirs"})
    with pytest.raises(FaceflowError, match="detector"):
        Gallery.import_embeddings(**given | {"detector": "theirs"})
    with pytest.raises(FaceflowError, match="models import"):
        Gallery.import_embeddings(**given | {"network": "arcface"})
    with pytest.raises(InputError, match="nobody says who"):
        Gallery.import_embeddings(**given | {"people": None})
    with pytest.raises(GalleryError, match="which network"):
        Gallery.import_from(given["embeddings"], tmp_path / "x.faceflow")


# DeepFace


def deepface(folder: Path, rows: list[Any]) -> Path:
    """As ``DeepFace.find`` writes it."""
    path = folder / "ds_model_arcface_detector_opencv_aligned_normalization_base_expand_0.pkl"
    with path.open("wb") as file:
        pickle.dump(rows, file)
    return path


def face(identity: str, vector: Any, **more: Any) -> dict[str, Any]:
    box = {"target_x": 3, "target_y": 4, "target_w": 10, "target_h": 12}
    return {"identity": identity, "hash": "0" * 40, "embedding": vector} | box | more


def test_a_deepface_pickle(tmp_path: Path) -> None:
    db = tmp_path / "db"
    (db / "Ada" / "2020").mkdir(parents=True)
    (db / "Ada" / "2020" / "1.jpg").write_bytes(b"a photo")
    vectors = np.random.default_rng(0).standard_normal((4, 256)).tolist()
    found = deepface(
        db,
        [
            face("db/Ada/2020/1.jpg", vectors[0]),
            face("C:\\photos\\db\\Bo\\1.jpg", vectors[1], target_w=0),
            face("/elsewhere/Cy/1.jpg", vectors[2]),
            face("db/Ada/none.jpg", None),
        ],
    )
    report = Gallery.import_embeddings(
        found, tmp_path / "g.faceflow", network=NETWORK, detector=DETECTOR
    )
    assert report.added == 3
    with Gallery.open(tmp_path / "g.faceflow") as gallery:
        assert gallery.header.codec == "none"
        records = gallery.faces()
        assert [record.person for record in records] == ["Ada", "Bo", "Cy"]
        assert records[0].content_hash == hashlib.sha256(b"a photo").hexdigest()
        assert [record.box for record in records] == [(3, 4, 13, 16), None, (3, 4, 13, 16)]
        expected = np.array(vectors[:3])
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        assert np.allclose(gallery.embeddings([1, 2, 3]), expected, atol=1e-6)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("evil-was-run",)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([face("db/Ada/1.jpg", Evil())], "nothing in it was run.*mkdir.*faceflow enroll"),
        ([face("db/Ada/1.jpg", [np.float64(0.5)] * 256)], "nothing in it was run.*faceflow enroll"),
        ([["db/Ada/1.jpg", [0.5] * 256]], "not a list of faces"),
        ([face("db/1.jpg", [0.5] * 256)], "no person's folder"),
        ([face("db/Ada/1.jpg", [0.5] * 128)], "gives 256 numbers"),
        ([face("db/Ada/1.jpg", ["x"] * 256)], "not a list of numbers"),
        ([{"embedding": [0.5] * 256}], "names no photo"),
        ([], "no faces"),
    ],
)
def test_other_pickles_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "db").mkdir()
    found = deepface(tmp_path / "db", rows)
    with pytest.raises(FaceflowError, match=f"(?s){words}"):
        Gallery.import_embeddings(
            found, tmp_path / "g.faceflow", network=NETWORK, detector=DETECTOR
        )
    assert sorted(f.name for f in tmp_path.iterdir()) == ["db"]


def test_importing_a_gallery_loads_no_table_library() -> None:
    code = "import sys, faceflow.gallery; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
