"""Photos become samples once; what was computed is kept, what failed is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_people import write_people
from faceflow.analyzer import FaceAnalyzer
from faceflow.errors import InputError
from faceflow.gallery.enrolment import Photo, list_photos
from faceflow.networks import FaceNetwork
from faceflow.training.export import last_layer
from faceflow.training.samples import collect_samples


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Photo, ...]:
    root = tmp_path_factory.mktemp("people")
    write_people(root, people=2, photos_each=2)
    return list_photos([root]).photos


def test_computed_once(
    photos: tuple[Photo, ...],
    analyzer: FaceAnalyzer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_copy = (*photos, photos[0])  # the same photo again must not become a second photo
    part, _ = collect_samples(photos[:1], analyzer, tmp_path, covers=["mask"])
    assert len(part) == 2
    samples, left_out = collect_samples(with_copy, analyzer, tmp_path, covers=["mask"])
    assert not left_out
    assert (len(samples), samples.covered.tolist()) == (8, [False, True] * 4)
    assert [samples.names[p] for p in samples.person] == [p.person for p in photos for _ in "cm"]
    assert samples.photo.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    # The last layer on the kept maps gives the network's own embedding, but for half precision.
    face = analyzer.analyze(photos[2].path, select="largest")[0].features
    embedding = samples.embed(*last_layer("lightcnn-v4"))[4]
    embedding /= np.linalg.norm(embedding)
    assert embedding @ face.embedding[0] > 0.99999
    assert np.abs(samples.maps[samples.row[4]] - samples.maps[samples.row[5]]).max() > 0.1

    def no(*_: object) -> None:
        raise AssertionError("everything is in the cache")

    monkeypatch.setattr(FaceNetwork, "run", no)
    again, _ = collect_samples(with_copy, analyzer, tmp_path, covers=["mask"])
    np.testing.assert_array_equal(again.maps[again.row], samples.maps[samples.row])


def test_failures_are_told_once(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    sky, broken = tmp_path / "sky.png", tmp_path / "broken.png"
    Image.new("RGB", (100, 80), (90, 140, 220)).save(sky)
    broken.write_bytes(b"no picture")
    listed = [Photo(sky, "Ada"), Photo(broken, "Ada"), Photo(tmp_path / "none.png", "Ada")]
    for _ in range(2):  # from the cache too
        samples, left_out = collect_samples(listed, analyzer, tmp_path / "f", copies=2)
        assert len(samples) == 0
        assert {(one.path.name, one.cover) for one in left_out} == {
            ("sky.png", "clean"),
            ("broken.png", "clean"),
            ("none.png", "clean"),
        }


def test_bad_arguments(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no cover is called 'beard'"):
        collect_samples([], analyzer, tmp_path, covers=["beard"])
    with pytest.raises(InputError, match="no cover is named"):
        collect_samples([], analyzer, tmp_path, covers=[])
    with pytest.raises(InputError, match="copies is 0"):
        collect_samples([], analyzer, tmp_path, copies=0)


def test_two_ways_of_choosing_do_not_mix(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    for select in ("largest", "centre", "largest"):
        collect_samples([], analyzer, tmp_path, select=select)  # type: ignore[arg-type]
    assert len(list(tmp_path.iterdir())) == 2
