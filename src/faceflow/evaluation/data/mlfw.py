"""Masked LFW: CALFW's pairs with masks drawn on the faces (arXiv 2109.05804)."""

from __future__ import annotations

import re
from pathlib import Path

from faceflow.evaluation.data.dataset import Dataset
from faceflow.evaluation.data.layout import Origin, by_file_name, photos_by_name
from faceflow.evaluation.data.lists import read_path_pairs, resolve

ORIGIN = Origin("MLFW", "http://whdeng.cn/mlfw")
# One CALFW photo wears several masks; a second number after the photo's tells them apart.
RULE = re.compile(r"(?P<source>(?P<person>.+?)_\d{4})(?:_\d+)*")


def read_mlfw(root: Path, *, pairs: Path | None = None) -> Dataset:
    """Read ``root/aligned/NAME_0001_0000.jpg`` and ``root/pairs.txt`` (``path path label``).

    A photo's source id is that of the CALFW photo it was made from. Folds are CALFW's: same
    and different pairs each dealt in order into ten.

    Raises:
        InputError: a folder or the list is missing, or the list is malformed.
    """
    base = ORIGIN.folder(root, ("MLFW", "mlfw"))
    folder = ORIGIN.folder(base, ("aligned",))
    photos, left_out = photos_by_name(folder, "calfw", RULE, known=[base / "pairs.txt"])
    named = read_path_pairs(ORIGIN.file(pairs or base / "pairs.txt"))
    resolved, missing = resolve(named, by_file_name(photos, ORIGIN.title), folder)
    return Dataset(ORIGIN.title, root, tuple(photos), (*left_out, *missing), tuple(resolved))
