"""Readers for face data sets in their original layouts."""

from faceflow.evaluation.data.dataset import Dataset, LeftOut, Pair, Photo
from faceflow.evaluation.data.edited import pair_by_name, pair_by_table
from faceflow.evaluation.data.registry import FAMILIES, Family, read

__all__ = [
    "FAMILIES",
    "Dataset",
    "Family",
    "LeftOut",
    "Pair",
    "Photo",
    "pair_by_name",
    "pair_by_table",
    "read",
]
