"""Who is trained on and who only judges: people, never photos, are divided."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from faceflow.arrays import Bools, Floats, Int64, unit
from faceflow.errors import InputError


def validation_people(names: Iterable[str], share: float, *, seed: int = 0) -> frozenset[str]:
    """The people set apart to judge the training.

    A person's place depends on the name and the seed alone, so that adding people moves
    nobody from one side to the other.

    Raises:
        InputError: ``share`` does not lie between 0 and 1.
    """
    if not 0 < share < 1:
        raise InputError(f"the validation share is {share}", why="it must lie between 0 and 1")
    return frozenset(name for name in names if _draw(name, seed) < share)


def _draw(name: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}|{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def first_choices(
    query: Floats, query_people: Int64, gallery: Floats, gallery_people: Int64
) -> tuple[Bools, Floats]:
    """Whether each query's nearest gallery face is its person's, and by what margin.

    Args:
        query, gallery: (N, D) and (M, D) embeddings of any length.
        query_people, gallery_people: (N,) and (M,); every query's person is in the gallery,
            and so is somebody else.

    Returns:
        (N,) truths, whose mean is P@1, and (N,) the best cosine to a face of the same person
        less the best to any other.
    """
    cosine = unit(query) @ unit(gallery).T
    same = query_people[:, None] == gallery_people[None, :]
    margin = np.where(same, cosine, -2).max(axis=1) - np.where(same, -2, cosine).max(axis=1)
    return margin > 0, margin
