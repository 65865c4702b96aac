"""Numbers that no face has, and that SQLite or NumPy cannot hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from faceflow.errors import GalleryError, InputError
from faceflow.gallery import Enrolment, Gallery

Make = Callable[..., list[Enrolment]]


@pytest.mark.parametrize("number", [2**63, 2**63 - 1, -1, 0, -(2**63) - 1, 10**30])
def test_faces_that_cannot_be(gallery: Gallery, enrolments: Make, number: int) -> None:
    gallery.enroll(enrolments(2))
    for ask in (
        lambda: gallery.remove_face(number),
        lambda: gallery.record(number),
        lambda: gallery.thumbnail(number),
        lambda: gallery.features([1, number]),
        lambda: gallery.person_of([number]),
    ):
        with pytest.raises(GalleryError, match=f"no face {number}"):
            ask()
    query = enrolments(1)[0].features
    assert gallery.search(query, k=1, exclude=[{number}]).face_ids[0, 0] == 1
    assert len(gallery) == 2


def test_batches_and_waits_that_cannot_be(gallery: Gallery, enrolments: Make) -> None:
    assert gallery.enroll(enrolments(2), batch=2**62).added == 2
    with pytest.raises(InputError, match="batch"):
        gallery.enroll(enrolments(2), batch=2**70)
    with pytest.raises(InputError, match="k is"):
        gallery.search(enrolments(1)[0].features, k=2**70)
    for seconds in (-1, float("nan"), float("inf"), 1e30):
        with pytest.raises(InputError, match="busy_seconds"):
            Gallery.open(gallery.path, busy_seconds=seconds)


@pytest.mark.parametrize("length", [248, 255, 300])
def test_names_too_long_for_the_file_system(
    tmp_path: Path, create: Callable[..., Gallery], gallery: Gallery, length: int
) -> None:
    with pytest.raises(GalleryError):
        create(tmp_path / ("n" * length))
    with pytest.raises(GalleryError):
        Gallery.open(tmp_path / ("n" * 300))
    with pytest.raises(GalleryError):
        gallery.export(tmp_path / ("n" * 300))
    with create(tmp_path / ("n" * 247)) as longest:
        assert len(longest) == 0


def test_a_path_too_long_for_sqlite(tmp_path: Path, create: Callable[..., Gallery]) -> None:
    deep = tmp_path.joinpath(*["d" * 100] * 5)
    deep.mkdir(parents=True)
    with pytest.raises(GalleryError, match="too long for SQLite"):
        create(deep / "x.faceflow")
    assert list(deep.iterdir()) == []
