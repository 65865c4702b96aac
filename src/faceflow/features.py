"""What a face network says about faces: one embedding and a grid of patch embeddings each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from faceflow.arrays import Float32, Floats, Int64, require_finite, unit
from faceflow.errors import GalleryMismatchError, InputError

Grid = tuple[int, int]
DEFAULT_DETECTOR = "centerface"
"""Whose landmarks align a face unless it is said otherwise."""


_FOR = ">"


def features_digest(network: str, detector: str = DEFAULT_DETECTOR, *, teacher: str = "") -> str:
    """One string for all that decides which features come out of a photo.

    Args:
        network: the network's digest over weights and preprocessing.
        detector: whose landmarks align the face, see :data:`faceflow.faces.detectors.DETECTORS`.
        teacher: of a student: digest of the network in whose space it answers.
    """
    named = f"{network}{_FOR}{teacher}" if teacher else network
    return "+".join(part for part in (named, detector) if part)


def network_digest(digest: str) -> str:
    """The network's own digest in a :func:`features_digest`."""
    return digest.partition("+")[0].partition(_FOR)[0]


def answers_for(digest: str | None) -> str | None:
    """Whose galleries a student's features may be asked of: the digest of their features.

    None for features of any other network.
    """
    student, student_of, rest = (digest or "").partition(_FOR)
    return rest if student and student_of else None


def describe_digest(digest: str | None) -> str:
    """A digest for people: "network 1f2e3d4c5b6a, aligned by mtcnn"."""
    if digest is None:
        return "features of unknown origin"
    network, *rest = digest.split("+")
    own, _, teacher = network.partition(_FOR)
    named = f"network {own[:12]}" + (f", a student of {teacher[:12]}" if teacher else "")
    if rest:
        named += f", aligned by {rest[0]}"
    return f"{named}, found by {rest[1]}" if len(rest) > 1 else named


def require_same_digest(
    first: str | None, second: str | None, sides: tuple[str, str] = ("the query", "the gallery")
) -> None:
    """Raise :class:`GalleryMismatchError`, naming both, unless features can be compared.

    Two of unknown origin can: there is nothing that speaks against it.
    """
    if first == second:
        return
    both = f"{sides[0]}: {describe_digest(first)}; {sides[1]}: {describe_digest(second)}"
    if first is None or second is None:
        raise GalleryMismatchError(
            f"features of known and of unknown origin cannot be compared ({both})",
            why="nothing says that one network made both",
            todo="if it did, say so with features.as_from(digest), or from_maps(..., digest=...)",
        )
    raise GalleryMismatchError(
        f"the features come from different sources ({both})",
        why="features of two networks, or of faces aligned in two ways, cannot be compared",
        todo="compute both with one network and one detector, or enroll the photos again into a "
        "new gallery",
    )


def require_comparable(
    query: str | None, gallery: str | None, sides: tuple[str, str] = ("the query", "the gallery")
) -> None:
    """Raise :class:`GalleryMismatchError` unless a query's features can be asked of a gallery's.

    Both come from the same network and detector, or the query from a student of the gallery's
    network. The other way round no student is compared: it learned to answer, not to be asked.
    """
    if query is not None and answers_for(query) == gallery:
        return
    require_same_digest(query, gallery, sides)


@dataclass(frozen=True, slots=True, eq=False)
class FaceFeatures:
    """Features of N faces from one network.

    Attributes:
        embedding: (N, D) float32, unit rows; stage 1 compares these by cosine.
        patches: (N, R, C) float32, unit rows (a patch of zeros stays zero), row-major over
            the grid: patch ``r`` lies at row ``r // w``, column ``r % w``.
        norms: (N, R) float32, the length each patch had before it was made unit, so that
            ``patches * norms[..., None]`` is the network's own feature map. Pooling to a
            coarser grid and projecting patches through the last layer both need it.
        pooled: (N, C) float32, the unit mean of the raw patches; the centre that APC
            weighting compares patches with.
        grid: (h, w) with h * w = R.
        visibility: (N, R) float32 in [0, 1], how surely each patch shows the face and not
            something in front of it; None where nobody looked. See
            :class:`faceflow.matching.covers.PatchModel`.
        landmark_share: (N, R) float32 share of each face's landmarks per cell, for LMK
            weighting; a row of zeros for a face whose landmarks are not known, as of a whole
            image. None where nobody looked for landmarks.
        length: (N,) float32, the embedding's length before it was made unit: short where the
            network saw little. None where nobody kept it; a gallery does not.
        digest: what made these features, as :func:`features_digest` says it; None for arrays
            of unknown origin. Only features of one digest are compared, see :meth:`as_from`, and
            a student's with those of its teacher, see :func:`require_comparable`.

    The constructor checks shapes and refuses NaN and infinity; it does not copy.
    """

    embedding: Float32
    patches: Float32
    norms: Float32
    pooled: Float32
    grid: Grid
    visibility: Float32 | None = None
    landmark_share: Float32 | None = None
    digest: str | None = None
    length: Float32 | None = None

    def __post_init__(self) -> None:
        n = self.embedding.shape[0] if self.embedding.ndim == 2 else -1
        r = self.grid[0] * self.grid[1]
        c = self.patches.shape[-1] if self.patches.ndim == 3 else -1
        expected = {
            "embedding": (n, self.embedding.shape[-1] if self.embedding.ndim else 0),
            "patches": (n, r, c),
            "norms": (n, r),
            "pooled": (n, c),
        }
        if self.visibility is not None:
            expected["visibility"] = (n, r)
        if self.landmark_share is not None:
            expected["landmark_share"] = (n, r)
        if self.length is not None:
            expected["length"] = (n,)
        for name, shape in expected.items():
            values = getattr(self, name)
            if values.shape != shape or values.dtype != np.float32:
                raise InputError(
                    f"{name} has shape {values.shape} and type {values.dtype}",
                    why=f"N={n} faces on a {self.grid[0]}x{self.grid[1]} grid need {shape} float32",
                )
            require_finite(name, values)

    @classmethod
    def from_maps(
        cls, embedding: Floats, maps: Floats, *, digest: str | None = None
    ) -> FaceFeatures:
        """Build features from a network's raw outputs.

        Args:
            embedding: (N, D), any length.
            maps: (N, C, h, w), the raw spatial feature map.
            digest: what made them, from :func:`features_digest`.

        Raises:
            InputError: the shapes disagree, or a value is NaN or infinite.
        """
        if maps.ndim != 4:
            raise InputError(f"maps has shape {maps.shape}", why="(N, C, h, w) is needed")
        n, c, h, w = maps.shape
        raw = np.ascontiguousarray(maps.reshape(n, c, h * w).transpose(0, 2, 1), dtype=np.float32)
        require_finite("embedding", embedding)
        require_finite("maps", raw)
        length = np.linalg.norm(embedding.astype(np.float64), axis=-1).astype(np.float32)
        return replace(cls._from_raw(unit(embedding), raw, (h, w), digest), length=length)

    @classmethod
    def _from_raw(
        cls, embedding: Float32, raw: Float32, grid: Grid, digest: str | None
    ) -> FaceFeatures:
        return cls(
            embedding=embedding,
            patches=unit(raw),
            norms=np.linalg.norm(raw.astype(np.float64), axis=-1).astype(np.float32),
            pooled=unit(raw.mean(axis=1, dtype=np.float64)),
            grid=grid,
            digest=digest,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[FaceFeatures]) -> FaceFeatures:
        """Stack features along the face axis; all parts must share grid, C and D.

        Landmark shares and lengths survive only when every part has them.

        Raises:
            InputError: there are none, or they differ in sizes.
            GalleryMismatchError: they come from different networks or detectors.
        """
        if not parts:
            raise InputError("cannot concatenate an empty list of features")
        if len({(p.grid, p.patches.shape[1:], p.embedding.shape[1]) for p in parts}) > 1:
            raise InputError("features differ in grid, patch size or embedding size")
        for part in parts:
            require_same_digest(parts[0].digest, part.digest, ("the first features", "others"))
        seen = [p.visibility for p in parts if p.visibility is not None]
        if seen and len(seen) < len(parts):
            raise InputError("some of the features say what is visible and others do not")
        return cls(
            embedding=np.concatenate([p.embedding for p in parts]),
            patches=np.concatenate([p.patches for p in parts]),
            norms=np.concatenate([p.norms for p in parts]),
            pooled=np.concatenate([p.pooled for p in parts]),
            grid=parts[0].grid,
            visibility=np.concatenate(seen) if seen else None,
            landmark_share=_stacked([p.landmark_share for p in parts]),
            digest=parts[0].digest,
            length=_stacked([p.length for p in parts]),
        )

    def with_landmarks(self, share: Float32 | None) -> FaceFeatures:
        """The same features with (N, R) landmark shares, or without."""
        return replace(self, landmark_share=share)

    def as_from(self, digest: str | None) -> FaceFeatures:
        """The same features with your word for what made them.

        Features of unknown origin are not compared with known ones; this says that they belong
        together, as in ``features.as_from(gallery.features_digest)``.
        """
        return replace(self, digest=digest)

    def __len__(self) -> int:
        return int(self.embedding.shape[0])

    def __getitem__(self, index: int | slice | Sequence[int] | Int64) -> FaceFeatures:
        """Select faces; the face axis is always kept, so ``features[3]`` holds one face."""
        rows = [index] if isinstance(index, (int, np.integer)) else index
        return FaceFeatures(
            self.embedding[rows],
            self.patches[rows],
            self.norms[rows],
            self.pooled[rows],
            self.grid,
            visibility=None if self.visibility is None else self.visibility[rows],
            landmark_share=None if self.landmark_share is None else self.landmark_share[rows],
            digest=self.digest,
            length=None if self.length is None else self.length[rows],
        )

    def __iter__(self) -> Iterator[FaceFeatures]:
        return (self[i] for i in range(len(self)))

    @property
    def raw_patches(self) -> Float32:
        """(N, R, C) the network's feature map before the patches were made unit."""
        return self.patches * self.norms[..., None]

    def hidden(self, cells: Sequence[int]) -> FaceFeatures:
        """The same faces as if some cells of the grid showed nothing.

        Their patches are zero and their visibility 0, and the pooled centre is that of the others.
        The embedding stays, because the network saw the whole face.

        Raises:
            InputError: a cell that the grid has not.
        """
        count = self.patches.shape[1]
        wrong = [cell for cell in cells if not 0 <= cell < count]
        if wrong:
            raise InputError(f"there is no cell {wrong[0]}", why=f"the grid has {count}, from 0")
        at = sorted(set(cells))
        patches, norms = self.patches.copy(), self.norms.copy()
        seen = np.ones_like(norms) if self.visibility is None else self.visibility.copy()
        patches[:, at], norms[:, at], seen[:, at] = 0, 0, 0
        left = (patches * norms[..., None]).mean(axis=1, dtype=np.float64)
        return replace(self, patches=patches, norms=norms, pooled=unit(left), visibility=seen)

    def regrid(self, grid: Grid) -> FaceFeatures:
        """Average the raw feature map over blocks, e.g. from 8x8 to 4x4.

        Embedding and pooled centre stay as they are; visibility is averaged likewise, and
        landmark shares add up.

        Raises:
            InputError: ``grid`` does not divide the present grid.
        """
        if grid == self.grid:
            return self
        (h, w), (new_h, new_w) = self.grid, grid
        if new_h < 1 or new_w < 1 or h % new_h or w % new_w:
            raise InputError(
                f"a {h}x{w} grid cannot be pooled to {new_h}x{new_w}",
                todo=f"choose a grid whose sides divide {h} and {w}",
            )
        n, _, c = self.patches.shape
        blocks = self.raw_patches.reshape(n, new_h, h // new_h, new_w, w // new_w, c)
        pooled = self._from_raw(
            self.embedding,
            blocks.mean(axis=(2, 4)).reshape(n, new_h * new_w, c),
            grid,
            self.digest,
        )
        visibility, share = self.visibility, self.landmark_share
        if visibility is not None:
            cells = visibility.reshape(n, new_h, h // new_h, new_w, w // new_w)
            visibility = cells.mean(axis=(2, 4)).reshape(n, new_h * new_w)
        if share is not None:
            cells = share.reshape(n, new_h, h // new_h, new_w, w // new_w)
            share = cells.sum(axis=(2, 4)).reshape(n, new_h * new_w)
        return replace(
            pooled,
            pooled=self.pooled,
            visibility=visibility,
            landmark_share=share,
            length=self.length,
        )


def _stacked(parts: Sequence[Float32 | None]) -> Float32 | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
