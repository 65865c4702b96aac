"""Features of many faces, wherever they are kept."""

from __future__ import annotations

from typing import Protocol

from faceflow.arrays import Float32, Int64
from faceflow.features import FaceFeatures


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
