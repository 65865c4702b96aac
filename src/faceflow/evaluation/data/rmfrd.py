"""RMFRD and sets laid out like it: one tree of masked photos, one of the same people without."""

from __future__ import annotations

from pathlib import Path

from faceflow.evaluation.data.dataset import Dataset
from faceflow.evaluation.data.layout import Origin
from faceflow.evaluation.data.rof import read_trees

ORIGIN = Origin("RMFRD", "https://github.com/X-zhangyang/Real-World-Masked-Face-Dataset")


def read_rmfrd(
    root: Path, *, masked: str = "AFDB_masked_face_dataset", neutral: str = "AFDB_face_dataset"
) -> Dataset:
    """Read ``root/AFDB_masked_face_dataset/PERSON/*`` and ``root/AFDB_face_dataset/PERSON/*``.

    Args:
        root: the folder of both trees, or one that holds it under its archive's name.
        masked: folder of the masked photos.
        neutral: folder of the others.

    Raises:
        InputError: a folder is missing.
    """
    nested = ("self-built-masked-face-recognition-dataset", "RMFRD", "RMFD")
    trees = {neutral: "neutral", masked: "masked"}
    return read_trees(root, ORIGIN, trees, nested=nested)
