"""Features of many faces, wherever they are kept, and how they are made ready to be compared."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from faceflow.arrays import Float32, Int64
from faceflow.evaluation.feature_store import PhotoFeatures
from faceflow.features import FaceFeatures
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import PreparedFaces, prepare

HELD = 2**30
"""Bytes of prepared faces that are held at most, by an estimate from one of them."""


class Features(Protocol):
    """Features of many faces: a :class:`FaceFeatures`, or a store that reads them on demand."""

    @property
    def embedding(self) -> Float32:
        """(N, D) all embeddings."""
        ...

    @property
    def digest(self) -> str | None:
        """What made them, see :attr:`FaceFeatures.digest`."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Int64) -> FaceFeatures:
        """Features of the faces in these rows."""
        ...


def fetch(features: Features, rows: Int64, options: MatchOptions) -> PreparedFaces:
    """Some faces as a comparison takes them, read where they are kept."""
    stored = isinstance(features, PhotoFeatures) and len(rows) > 0
    return prepare(features.kept(rows) if stored else features[rows], options)  # type: ignore[attr-defined]


class PreparedGallery:
    """A gallery's faces as comparisons take them.

    They are made ready once and held where there is room, because every query compares a hundred
    of them: a gallery of LFW's size takes some 300 MB. Larger ones are read for each query.

    Args:
        features: of all faces.
        options: how they are compared.
    """

    def __init__(self, features: Features, options: MatchOptions) -> None:
        self._features, self._options = features, options
        self._whole: PreparedFaces | None = None
        rows = np.arange(len(features))
        if options.stage1_alone or not len(rows):
            return
        if len(rows) * _bytes(fetch(features, rows[:1], options)) <= HELD:
            self._whole = fetch(features, rows, options)

    def __getitem__(self, rows: Int64) -> PreparedFaces:
        """The faces in these rows."""
        if self._whole is not None:
            return self._whole[rows]
        return fetch(self._features, rows, self._options)


def _bytes(face: PreparedFaces) -> int:
    """What one prepared face takes, made ready among many."""
    total = face.embedding.nbytes
    if face.codes is not None:
        total += face.codes.patches.nbytes + face.codes.pooled.nbytes
    if face.contributions is not None:
        total += face.contributions.codes.nbytes + face.contributions.residues.nbytes
    if face.patches is not None:
        total += face.patches.patches.nbytes
    if face.projected is not None and face.projected is not face.patches:
        total += face.projected.patches.nbytes
    return total
