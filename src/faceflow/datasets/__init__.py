"""Readers for face data sets in their original layouts."""

from faceflow.datasets.dataset import Dataset, LeftOut, Pair, Photo
from faceflow.datasets.edited import pair_by_name, pair_by_table
from faceflow.datasets.registry import FAMILIES, Family, read

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
