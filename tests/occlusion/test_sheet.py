"""Contact sheets."""

from __future__ import annotations

import numpy as np
import pytest

from faceflow.errors import InputError
from faceflow.occlusion import contact_sheet


def test_pictures_stand_in_reading_order() -> None:
    reds = [np.full((10 + 30 * i, 40, 3), (50 * i, 0, 0), np.uint8) for i in range(5)]
    sheet = contact_sheet(reds, 3, cell=20)
    assert sheet.shape == (2 * 24 + 4, 3 * 24 + 4, 3)
    centres = [tuple(sheet[4 + 10 + 24 * (i // 3), 4 + 10 + 24 * (i % 3)]) for i in range(5)]
    assert centres == [(50 * i, 0, 0) for i in range(5)]


def test_labels_are_written_below() -> None:
    image = np.full((20, 20, 3), 128, np.uint8)
    plain = contact_sheet([image, image], 2, cell=40)
    labelled = contact_sheet([image, image], 2, ["a", "a long label that does not fit"], cell=40)
    assert labelled.shape[0] == plain.shape[0] + 14
    strips = labelled[44:58, 4:44], labelled[44:58, 48:88]
    assert all((strip < 150).any() for strip in strips)
    assert (labelled[44:58, 88:] > 240).all()


def test_fewer_pictures_than_columns() -> None:
    sheet = contact_sheet([np.zeros((5, 5, 3), np.uint8)], 8, cell=16)
    assert sheet.shape == (24, 24, 3)


def test_impossible_sheets_are_refused() -> None:
    image = np.zeros((5, 5, 3), np.uint8)
    for images, columns in (([], 2), ([image], 0)):
        with pytest.raises(InputError, match="cannot lay out"):
            contact_sheet(images, columns)
    with pytest.raises(InputError, match="labels"):
        contact_sheet([image], 1, ["a", "b"])
