"""Near-duplicates from disk are those that were found, and only for the same photos."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from PIL import Image

from drawn_people import write_people
from faceflow.evaluation.data import Photo, duplicate_cache
from faceflow.evaluation.data.duplicate_cache import cached_near_duplicates
from faceflow.evaluation.data.near_duplicates import find_near_duplicates


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    """Two people, a copy of the first photo under another name, and a file that is no photo."""
    paths = write_people(tmp_path / "set", people=2, photos_each=2, size=96)
    with Image.open(paths[0]) as first:
        first.save(tmp_path / "set" / "copy.png")
    (tmp_path / "set" / "broken.png").write_bytes(b"no photo")
    every = [*paths, tmp_path / "set" / "copy.png", tmp_path / "set" / "broken.png"]
    return [Photo(path, "Ada", path.stem) for path in every]


def test_the_second_time_is_read(
    photos: list[Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached_near_duplicates(photos, tmp_path / "kept")
    assert first == find_near_duplicates(photos)
    assert [(pair.a, pair.b) for pair in first.pairs] == [(0, 4)]
    assert [item.path.name for item in first.unreadable] == ["broken.png"]
    monkeypatch.setattr(duplicate_cache, "find_near_duplicates", None)
    assert cached_near_duplicates(photos, tmp_path / "kept") == first


def test_other_photos_and_damage_are_found_again(
    photos: list[Photo], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = cached_near_duplicates(photos, tmp_path / "kept")
    fewer = cached_near_duplicates(photos[:4], tmp_path / "kept")
    assert not fewer.pairs
    assert len(list((tmp_path / "kept").iterdir())) == 2
    for path in (tmp_path / "kept").iterdir():
        path.write_text('{"pairs": [[0, 99, "file", 1.0]], "unreadable": []}')
    with caplog.at_level(logging.WARNING):
        assert cached_near_duplicates(photos, tmp_path / "kept") == first
    assert "damaged and is made again" in caplog.text
