"""Folders of people, and the pipeline on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from drawn_people import NOTICE, draw, identity, person_name, portrait, write_people
from faceflow.errors import InputError, NoFaceError

if TYPE_CHECKING:
    from faceflow.analyzer import FaceAnalyzer


def test_folder_holds_people_photos_and_an_index(tmp_path: Path) -> None:
    paths = write_people(tmp_path / "new", people=2, photos_each=2, seed=7, first_photo=1)
    names = [person_name(7), person_name(8)]
    assert [p.relative_to(tmp_path / "new").as_posix() for p in paths] == [
        f"{name}/{name}_{number:04d}.png" for name in names for number in (2, 3)
    ]
    with Image.open(paths[3]) as picture:
        assert picture.info["Description"] == NOTICE
        np.testing.assert_array_equal(np.asarray(picture), draw(identity(8), 2))
    index = json.loads((tmp_path / "new" / "synthetic.json").read_text())
    assert index["notice"] == NOTICE
    assert [entry["file"] for entry in index["photos"]] == [
        p.relative_to(tmp_path / "new").as_posix() for p in paths
    ]
    np.testing.assert_allclose(
        index["photos"][0]["landmarks"], portrait(identity(7), 1).landmarks, atol=0.01
    )


def test_jpegs_say_that_they_are_synthetic(tmp_path: Path) -> None:
    (path,) = write_people(tmp_path, people=1, photos_each=1, file_format="jpeg", size=128)
    assert path.suffix == ".jpg"
    with Image.open(path) as picture:
        assert picture.getexif()[0x010E] == NOTICE
        assert picture.size == (128, 128)


def test_names_do_not_repeat() -> None:
    names = [person_name(seed) for seed in range(200)]
    assert len(set(names)) == 200


@pytest.mark.parametrize(
    "wrong",
    [{"people": 0}, {"photos_each": 0}, {"seed": -1}, {"first_photo": -1}, {"file_format": "gif"}],
)
def test_wrong_options_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError):
        write_people(tmp_path, **wrong)
    assert not list(tmp_path.iterdir())


def test_faces_are_found_and_people_told_apart(analyzer: FaceAnalyzer) -> None:
    """Every photo is detected near its true landmarks, and a new photo finds its person."""
    people = 8
    shots = [[portrait(identity(seed), photo) for photo in (0, 1)] for seed in range(people)]
    embeddings = np.zeros((2, people, analyzer.network.spec.embedding_size))
    for seed, pair in enumerate(shots):
        for photo, shot in enumerate(pair):
            try:
                (face,) = analyzer.analyze(shot.image, select="largest")
            except NoFaceError:
                pytest.fail(f"no face found in photo {photo} of person {seed}")
            assert face.landmarks is not None
            eyes = np.hypot(*(shot.landmarks[1] - shot.landmarks[0]))
            away = np.hypot(*(face.landmarks - shot.landmarks).T).mean()
            assert away < 0.35 * eyes
            embeddings[photo, seed] = face.features.embedding[0]
    cosine = embeddings[1] @ embeddings[0].T
    assert (cosine.argmax(axis=1) == np.arange(people)).all()
    others = cosine[~np.eye(people, dtype=bool)]
    assert np.diag(cosine).min() > np.quantile(others, 0.98)
