"""A gallery remembers who found and aligned its faces and refuses others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from faceflow.errors import GalleryMismatchError, InputError
from faceflow.faces import detectors as detection
from faceflow.gallery import Gallery
from faceflow.gallery.stores.rows import seal_header, unseal_header
from faceflow.gallery.stores.seal import seal
from faceflow.gallery.transfer import folder as transfer


def test_it_is_remembered_through_export(tmp_path: Path, create: Callable[..., Gallery]) -> None:
    with create(tmp_path / "a.faceflow", detector="fan-3d") as gallery:
        assert gallery.header.detector == "fan-3d"
        assert "found by fan-3d" in gallery.header.describe()
        gallery.require_detector("fan-3d")
        with pytest.raises(GalleryMismatchError, match=r"fan-3d, not by mtcnn"):
            gallery.require_detector("mtcnn")
        folder = gallery.export(tmp_path / "export")
    with Gallery.import_from(folder, tmp_path / "b.faceflow") as again:
        assert again.header.detector == "fan-3d"
    with pytest.raises(InputError, match="detector"):
        create(tmp_path / "c.faceflow", detector="")


def test_a_gallery_of_an_older_version_is_of_mtcnn(
    tmp_path: Path, create: Callable[..., Gallery]
) -> None:
    """It wrote no detector; of another one it wrote the name as its "alignment"."""
    with create(tmp_path / "a.faceflow", detector="mtcnn") as gallery:
        header = gallery.header
    content = header.as_json()
    assert content.pop("detector") == "mtcnn"
    for older, expected in ((content, "mtcnn"), (content | {"alignment": "fan-2d"}, "fan-2d")):
        sealed = seal("header", (), json.dumps(older).encode())
        assert unseal_header(sealed) == replace(header, detector=expected)
    assert unseal_header(seal_header(header)) == header


def test_an_export_of_an_older_version_is_of_mtcnn(
    tmp_path: Path, create: Callable[..., Gallery]
) -> None:
    with create(tmp_path / "a.faceflow", detector="mtcnn") as gallery:
        folder = gallery.export(tmp_path / "export")
    manifest = json.loads((folder / "gallery.json").read_text())
    del manifest["sha256"], manifest["header"]["detector"]
    manifest["sha256"] = transfer._sha256(transfer._json(manifest))
    (folder / "gallery.json").write_bytes(transfer._json(manifest))
    with Gallery.import_from(folder, tmp_path / "b.faceflow") as again:
        assert again.header.detector == "mtcnn"


def test_the_default_is_the_detectors_own(tmp_path: Path, create: Callable[..., Gallery]) -> None:
    with create(tmp_path / "a.faceflow") as gallery:
        assert gallery.header.detector == detection.DEFAULT


def test_open_or_create_compares_it(default_network, tmp_path: Path) -> None:
    path = tmp_path / "a.faceflow"
    Gallery.open_or_create(path, default_network, detector="fan-2d").close()
    Gallery.open_or_create(path, default_network, detector="fan-2d").close()
    with pytest.raises(GalleryMismatchError, match="fan-2d"):
        Gallery.open_or_create(path, default_network)
