"""Fuzz target: CSV files and the lists of data sets."""

from __future__ import annotations

import tempfile
from pathlib import Path

from faceflow.errors import InputError
from faceflow.evaluation.data.edited import pair_by_table
from faceflow.evaluation.data.lists import (
    read_label_list,
    read_lfw_pairs,
    read_path_pairs,
    read_two_line_pairs,
)
from faceflow.gallery.enrolment import photos_in_csv
from faceflow.gallery.person_names import person_name

_READERS = (
    photos_in_csv,
    read_label_list,
    read_lfw_pairs,
    read_path_pairs,
    read_two_line_pairs,
    lambda path: pair_by_table(path, []),
)


def one(data: bytes) -> None:
    """Every reader answers or raises an InputError; names are names."""
    with tempfile.TemporaryDirectory(prefix="faceflow-fuzz-") as folder:
        path = Path(folder, "list.csv")
        path.write_bytes(data)
        for read in _READERS:
            try:
                read(path)
            except InputError:
                continue
        try:
            listing = photos_in_csv(path)
        except InputError:
            return
        for photo in listing.photos:
            assert person_name(photo.person) == photo.person
