"""Which cells are covered, and which photos are taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceflow.analyzer import FaceAnalyzer
from faceflow.cover_learning.drawn_faces import (
    KINDS,
    Source,
    cell_shares,
    choose_photos,
    draw_faces,
    find_photos,
)
from faceflow.errors import InputError
from faceflow.faces.alignment import template


def test_shares_are_those_of_the_pixels_in_each_cell(looker: FaceAnalyzer) -> None:
    """A photo with the face where the template wants it: the crop is the photo itself."""
    layout = template("arcface-112")
    photo = np.full((112, 112, 3), 90, np.uint8)
    (face,) = looker.analyze(photo)
    at_home = type(face)(
        face.box, layout.points.copy(), face.score, face.crop, face.features, face.source
    )
    hidden = np.zeros((112, 112), bool)
    hidden[56:84, :] = True
    hidden[:8, :16] = True
    shares = cell_shares(hidden, at_home, layout, (7, 7)).reshape(7, 7)
    expected = np.zeros((7, 7))
    expected[4], expected[3], expected[5] = 1.0, 0.5, 0.25
    expected[0, 0] = 0.5
    np.testing.assert_allclose(shares, expected, atol=0.02)


def test_what_lies_off_the_photo_is_covered(looker: FaceAnalyzer) -> None:
    layout = template("arcface-112")
    (face,) = looker.analyze(np.full((128, 128, 3), 90, np.uint8))
    left = face.landmarks.copy()
    left[:, 0] -= 40
    moved = type(face)(face.box, left, face.score, face.crop, face.features, face.source)
    nothing = np.zeros((128, 128), bool)
    shares = cell_shares(nothing, moved, layout, (7, 7)).reshape(7, 7)
    assert shares[:, 0].min() > 0.9
    assert shares[:, -1].max() == 0
    # A grid that does not divide the crop: 112 / 3.
    assert cell_shares(nothing, moved, layout, (3, 3)).shape == (9,)


def test_people_with_two_photos_come_first_whatever_else_there_is() -> None:
    photos = [Source(Path(f"{n}/{k}.png"), f"{n}") for n in "abc" for k in range(2)]
    photos += [Source(Path("d/0.png"), "d"), Source(Path("e.png"), None)]
    chosen = choose_photos(photos, 10)
    assert [len(one) for one in chosen] == [2, 2, 2, 1, 1]
    assert choose_photos(photos, 2) == chosen[:2]
    assert choose_photos([*photos, Source(Path("f/0.png"), "f")], 3) == chosen[:3]


def test_folders_name_people_and_loose_photos_nobody(people: Path, tmp_path: Path) -> None:
    found = find_photos(people)
    assert len(found) == 120
    assert {one.person for one in found[:2]} == {"person-00"}
    assert {one.person for one in find_photos(people / "person-00")} == {None}
    with pytest.raises(InputError, match="no photos"):
        find_photos(tmp_path)


def test_faces_are_drawn_on_and_found_again(looker: FaceAnalyzer, people: Path) -> None:
    told: list[tuple[int, int]] = []
    chosen = choose_photos(find_photos(people), 6)
    faces = draw_faces(chosen, looker, progress=lambda *at: told.append(at))
    assert told == [(n, 6) for n in range(1, 7)]
    assert len(faces) == 6 * 5
    kinds = np.bincount(faces.kind, minlength=4)
    assert kinds.tolist() == [12, 6, 6, 6]  # clean twice: the first photo stays as it is
    rows = faces.covered.reshape(-1, 7, 7)
    mask, glasses = (rows[faces.of_kind(name)].mean(axis=0) for name in KINDS[1:3])
    assert mask[5, 3] > 0.9 > 0.1 > mask[1, 3]
    assert glasses[2].max() > 0.4 > 0.1 > glasses[6].max()
    again = draw_faces(chosen, looker)
    np.testing.assert_array_equal(faces.features.patches, again.features.patches)


def test_photos_without_a_face_are_told(looker: FaceAnalyzer, people: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (128, 128)).save(tmp_path / "black.png")
    black = [Source(tmp_path / "black.png", None)]
    faces = draw_faces([black, *choose_photos(find_photos(people), 1)], looker)
    assert [path.name for path, _ in faces.left_out] == ["black.png"]
    with pytest.raises(InputError, match="no face was found"):
        draw_faces([black], looker)
