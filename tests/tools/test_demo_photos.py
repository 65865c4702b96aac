"""The pictures that the demo ships are those its tool draws, and hold what the demo needs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_demo_photos import COVERS, FOLDER, pictures
from drawn_people import NOTICE
from faceflow.demo import PEOPLE, PHOTOS, QUERIES
from faceflow.demo.shipped import shown_in

SHIPPED = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*"))


def test_they_are_the_ones_the_tool_draws_and_small() -> None:
    assert sorted(name for name, _ in pictures()) == SHIPPED
    assert FOLDER == PHOTOS
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.*")) < 1_000_000


@pytest.mark.parametrize(
    "name", ["people/Ada/Ada_0001.jpg", "queries/Alba-sunglasses.jpg", "queries/Bruno-crop.jpg"]
)
def test_drawing_again_gives_the_same_picture(name: str) -> None:
    again = dict(pictures())[name]()
    shipped, drawn = (
        np.asarray(Image.open(source).convert("RGB"), dtype=int)
        for source in (FOLDER / name, io.BytesIO(again))
    )
    assert shipped.shape == drawn.shape
    # Another JPEG library may round differently, never by much.
    assert np.abs(shipped - drawn).mean() < 1
    assert shipped.std() > 20


def test_each_says_that_it_shows_no_real_person() -> None:
    for name in SHIPPED:
        with Image.open(FOLDER / name) as picture:
            assert picture.getexif()[0x010E] == NOTICE


def test_names_say_who_is_enrolled_and_what_covers_the_others() -> None:
    enrolled = {path.name for path in PEOPLE.iterdir()}
    shown = [shown_in(path) for path in sorted(QUERIES.iterdir())]
    assert {cover for _, cover in shown} == set(COVERS)
    assert enrolled < {person for person, _ in shown}
    assert all(len(list((PEOPLE / person).iterdir())) == 2 for person in enrolled)


def test_the_people_are_no_part_of_the_package() -> None:
    package = Path(__file__).resolve().parents[2] / "src" / "faceflow"
    assert not list(package.rglob("*drawn_people*"))
