"""The readers on real data, where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceflow.evaluation.data import Dataset, read
from faceflow.evaluation.data.lfw import read_listing, read_pairs


@pytest.fixture(scope="module")
def lfw(shared_dir: Path) -> Dataset:
    lists = shared_dir / "data" / "lfw_protocol"
    return read("lfw", shared_dir / "data" / "lfw", pairs=lists / "pairs.txt")


def test_lfw(lfw: Dataset) -> None:
    assert (len(lfw), len(lfw.people), lfw.left_out) == (13_233, 5_749, ())
    assert len(lfw.pairs) == 6_000
    for fold in range(10):
        some = [pair for pair in lfw.pairs if pair.fold == fold]
        assert (len(some), sum(pair.same for pair in some)) == (600, 300)
    for pair in lfw.pairs:
        assert pair.same == (lfw.photos[pair.a].person == lfw.photos[pair.b].person)


def test_the_two_pair_lists_of_lfw_are_one(shared_dir: Path) -> None:
    def pairs(name: str) -> set[tuple[str, str, bool, int]]:
        listed = read_pairs(shared_dir / "data" / "lfw_protocol" / name)
        return {(Path(p.a).name, Path(p.b).name, p.same, p.fold) for p in listed}

    assert len(pairs("pairs.txt")) == 6_000
    assert pairs("pairs.txt") == pairs("lfw_test_pair_arcface_pytorch.txt")


@pytest.mark.parametrize(
    ("name", "photos", "people"),
    [
        ("emd_lfw_128", 13_214, 5_734),
        ("emd_lfw_128_crop70", 13_214, 5_734),
        ("emd_lfw_128_glass", 13_214, 5_734),
        ("emd_lfw_128_masked_label", 13_090, 5_686),
        ("emd_lfw_128x128_1680", 9_157, 1_677),
    ],
)
def test_the_published_lists(shared_dir: Path, name: str, photos: int, people: int) -> None:
    listed = read_listing(shared_dir / "data" / "lfw_protocol" / f"{name}.txt")
    assert len(listed) == photos
    assert len({photo.person for photo in listed}) == people


def test_a_published_list_finds_its_photos(lfw: Dataset, shared_dir: Path) -> None:
    listing = shared_dir / "data" / "lfw_protocol" / "emd_lfw_128_masked_label.txt"
    dataset = read("lfw", shared_dir / "data" / "lfw", listing=listing)
    assert [photo.source_id for photo in dataset.photos] == [
        photo.source_id for photo in read_listing(listing)
    ]
    assert set(dataset.photos) <= set(lfw.photos)
    assert len(dataset.left_out) == 13_233 - 13_090


def test_rof(shared_dir: Path) -> None:
    rof = read("rof", shared_dir / "data" / "rof")
    counts = {name: len(rof.photos_with(name)) for name in rof.conditions}
    assert counts == {"neutral": 1_497, "sunglasses": 760, "masked": 265}
    people = {name: len({p.person for p in rof.photos_with(name)}) for name in rof.conditions}
    assert people == {"neutral": 127, "sunglasses": 98, "masked": 54}
    assert len({photo.source_id for photo in rof.photos}) == len(rof)
