"""AgeDB: photos in the wild with names and exact ages."""

from __future__ import annotations

import re
from pathlib import Path

from faceflow.evaluation.data.dataset import Dataset
from faceflow.evaluation.data.layout import Origin, photos_by_name

ORIGIN = Origin("AgeDB", "https://ibug.doc.ic.ac.uk/resources/agedb (on request)")
RULE = re.compile(r"\d+_(?P<person>.+)_(?P<age>\d+)_[fm]", re.IGNORECASE)


def read_agedb(root: Path) -> Dataset:
    """Read ``root/11706_OliviaHussey_31_f.jpg``: number, name, age, gender.

    Raises:
        InputError: no such folder, or no photo with such a name.
    """
    photos, left_out = photos_by_name(ORIGIN.folder(root, ("AgeDB",)), "agedb", RULE)
    return Dataset(ORIGIN.title, root, tuple(photos), tuple(left_out))
