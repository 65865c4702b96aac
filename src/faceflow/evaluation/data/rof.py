"""Real World Occluded Faces: real masks and sunglasses, and the same people without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from faceflow.errors import InputError
from faceflow.evaluation.data.dataset import Dataset, LeftOut, Photo
from faceflow.evaluation.data.layout import Origin, photos_by_person

ORIGIN = Origin("ROF", "https://github.com/ekremerakin/RealWorldOccludedFaces")
TREES = {"neutral": "neutral", "sunglasses": "sunglasses", "masked": "masked"}


def read_rof(root: Path) -> Dataset:
    """Read ``root/{neutral,sunglasses,masked}/PERSON/*.jpg``; the folder is the condition.

    Raises:
        InputError: a folder is missing.
    """
    return read_trees(root, ORIGIN, TREES, nested=("images", "rof", "ROF"))


def read_trees(
    root: Path, origin: Origin, trees: Mapping[str, str], *, nested: tuple[str, ...]
) -> Dataset:
    """Read one tree of people per condition: ``root/TREE/PERSON/photo``.

    Args:
        root: the folder of the trees, or one that holds it under a name in ``nested``.
        origin: title and place of the data set.
        trees: folder -> condition; each must be there.
        nested: names the archive unpacks to.
    """
    folder = origin.folder(root, nested)
    absent = [name for name in trees if not (folder / name).is_dir()]
    if absent:
        raise InputError(
            f"{origin.title}: {folder} lacks the folder{'s'[: len(absent) > 1]} "
            + ", ".join(absent),
            todo=f"get the data set from {origin.where}",
        )
    photos: list[Photo] = []
    left_out: list[LeftOut] = []
    for name, condition in trees.items():
        some, none = photos_by_person(
            folder / name, f"{origin.title.lower()}/{name}", condition=condition
        )
        photos += some
        left_out += none
    return Dataset(origin.title, root, tuple(photos), tuple(left_out))
