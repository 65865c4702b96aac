"""Finished blocks of a ranking on disk, so that a stopped run can go on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from faceflow import arrays, features, matching
from faceflow.arrays import Float64, Int64
from faceflow.errors import InputError
from faceflow.evaluation.data.protocols import Protocol
from faceflow.evaluation.faces import Features
from faceflow.evaluation.feature_store import PhotoFeatures
from faceflow.features import FaceFeatures
from faceflow.gallery import rounded, search
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import prepare
from faceflow.matching.transport import Sinkhorn, native
from faceflow.system.caches import KeyedFolder, new_key

_FORMAT = "ranking block 4"
_FACES = 1024
# What a block's numbers come from, besides who ranks: the rest of faceflow may change.
_CODE = (arrays, features, search, rounded, matching)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Rankings of a few queries.

    Attributes:
        faces: (B, k) gallery rows, -1 where there are fewer.
        cosine: (B, k).
        emd: (B, k), NaN where not computed.
        visible_cosine: (B, k) cosine of the visible faces, NaN where not computed.
        found: (B,) mates of each query.
        ranks: (sum of found,) their ranks in stage 1.
        unconverged: pairs whose transport hit the iteration cap.
    """

    faces: Int64
    cosine: Float64
    emd: Float64
    visible_cosine: Float64
    found: Int64
    ranks: Int64
    unconverged: int


class BlockCache:
    """Blocks in a folder, each named by a digest of all that it depends on.

    Alpha is not among it: a block holds cosine and EMD apart. Of the code, what compares faces is
    (and ``code``, who ranks). Two runs at once on one folder
    do no harm; they may compute a block twice.
    """

    def __init__(
        self,
        folder: Path,
        gallery: Features,
        protocol: Protocol,
        options: MatchOptions,
        *code: ModuleType,
    ) -> None:
        self._kept = KeyedFolder(folder, ".npz", _read, _write)
        self._protocol = protocol
        described = _describe(options, gallery[protocol.gallery[:1]])
        common = new_key(_FORMAT, *_CODE, *_kernel(), *code)
        common.update(described.encode())
        _update(common, protocol.gallery, protocol.gallery_people)
        _update_features(common, gallery, protocol.gallery)
        self._common = common

    def key(self, chosen: Int64, queries: Features) -> str:
        """Digest of a block: the queries' features, people and exclusions, on top of the rest.

        Args:
            chosen: (B,) their numbers in the protocol.
            queries: of the whole protocol.
        """
        digest = self._common.copy()
        _update_features(digest, queries, self._protocol.queries[chosen])
        _update(digest, self._protocol.query_people[chosen])
        for n in chosen:
            _update(digest, self._protocol.excluded_rows(int(n)))
        return str(digest.hexdigest())

    def load(self, key: str) -> Block | None:
        """The block of that key, or None. A damaged file is reported and counts as none."""
        return self._kept.load(key)

    def save(self, key: str, block: Block) -> None:
        """Keep a block; it appears whole or not at all."""
        self._kept.save(key, block)


def _kernel() -> tuple[ModuleType, ...]:
    """The compiled kernel, where there is one."""
    return (import_module("faceflow._kernel"),) if native.available() else ()


def _read(file: BinaryIO) -> Block:
    with np.load(file, allow_pickle=False) as arrays:
        return Block(**{**arrays, "unconverged": int(arrays["unconverged"])})


def _write(file: BinaryIO, block: Block) -> None:
    arrays: dict[str, Any] = {
        field.name: getattr(block, field.name) for field in dataclasses.fields(block)
    }
    np.savez(file, **arrays)


def _describe(options: MatchOptions, example: FaceFeatures) -> str:
    """The options as text; equal text means equal results, up to alpha and its like.

    Args:
        options: of the ranking.
        example: features of any face, for the sizes that choose a backend.
    """
    solver: object = options.solver
    if not dataclasses.is_dataclass(solver) or isinstance(solver, type):
        raise InputError(
            f"the solver {type(solver).__name__} cannot be cached by its options",
            why="it is no dataclass, so two of them cannot be told apart",
            todo="make it a dataclass, or rank without a cache",
        )
    fields = dataclasses.asdict(solver)
    if isinstance(solver, Sinkhorn):
        # As transport will have them: what a solver's backend takes depends on the sizes.
        patches, channels = prepare(example, options, flow=True).sizes
        # "auto" depends on the machine, and backends round differently; threads do not matter.
        fields["backend"] = solver.backend_for(patches, patches, channels)
        del fields["threads"]
    name = f"{type(solver).__module__}.{type(solver).__qualname__}"
    solved = "with EMD" if options.alpha > 0 else "without EMD"
    seen = "with visible" if options.visible_share > 0 else "without visible"
    model = options.model_digest
    method = (options.k, solved, options.weighting, options.grid, options.patches, seen, model)
    return repr((*method, name, fields))


def _update(digest: Any, *arrays: np.ndarray[Any, Any]) -> None:
    for array in arrays:
        # Shape and type first, or two arrays could meet in one run of bytes.
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)


def _update_features(digest: Any, faces: Features, rows: Int64) -> None:
    if isinstance(faces, PhotoFeatures):  # what they depend on says as much as they do
        digest.update(faces.fingerprint(rows))
        return
    for start in range(0, len(rows), _FACES):
        some = faces[rows[start : start + _FACES]]
        digest.update(repr(some.grid).encode())
        _update(digest, some.embedding, some.patches, some.norms, some.pooled)
        if some.landmark_share is not None:
            _update(digest, some.landmark_share)
