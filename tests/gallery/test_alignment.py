"""A gallery remembers how its faces were aligned and refuses others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from faceflow.errors import GalleryMismatchError, InputError
from faceflow.gallery import Gallery
from faceflow.gallery.stores.sqlite.rows import seal_header, unseal_header


def test_it_is_remembered_through_export(tmp_path: Path, create: Callable[..., Gallery]) -> None:
    with create(tmp_path / "a.faceflow", alignment="fan-3d") as gallery:
        assert gallery.header.alignment == "fan-3d"
        assert "aligned by fan-3d" in gallery.header.describe()
        gallery.require_alignment("fan-3d")
        with pytest.raises(GalleryMismatchError, match=r"fan-3d, not by mtcnn.*--alignment fan-3d"):
            gallery.require_alignment("mtcnn")
        folder = gallery.export(tmp_path / "export")
    with Gallery.import_from(folder, tmp_path / "b.faceflow") as again:
        assert again.header.alignment == "fan-3d"
    with pytest.raises(InputError, match="alignment"):
        create(tmp_path / "c.faceflow", alignment="")


def test_the_default_is_written_as_older_versions_wrote_it(
    tmp_path: Path, create: Callable[..., Gallery]
) -> None:
    with create(tmp_path / "a.faceflow") as gallery:
        sealed = seal_header(gallery.header)
        assert "alignment" not in json.loads(sealed[:-4])
        assert unseal_header(sealed).alignment == "mtcnn"
        folder = gallery.export(tmp_path / "export")
        assert "alignment" not in json.loads((folder / "gallery.json").read_text())["header"]


def test_open_or_create_compares_it(default_network, tmp_path: Path) -> None:
    path = tmp_path / "a.faceflow"
    Gallery.open_or_create(path, default_network, alignment="fan-2d").close()
    Gallery.open_or_create(path, default_network, alignment="fan-2d").close()
    with pytest.raises(GalleryMismatchError, match="fan-2d"):
        Gallery.open_or_create(path, default_network)
