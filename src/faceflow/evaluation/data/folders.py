"""A folder with one folder of photos per person: your own photos, or any set laid out so."""

from __future__ import annotations

from pathlib import Path

from faceflow.evaluation.data.dataset import Dataset
from faceflow.evaluation.data.layout import Origin, photos_by_person

ORIGIN = Origin("Folder per person", "your own photos: one folder per person, named after them")


def read_folders(root: Path) -> Dataset:
    """Read ``root/PERSON/**/photo``.

    Raises:
        InputError: no such folder, or no photo in a person's folder.
    """
    photos, left_out = photos_by_person(ORIGIN.folder(root), root.resolve().name)
    return Dataset(root.resolve().name, root, tuple(photos), tuple(left_out))
