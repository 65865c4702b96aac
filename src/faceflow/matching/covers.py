"""What is known of a network's patches: what each adds to the embedding, and whether it is covered.

Two facts about a network that ends in one linear layer over its feature map:

* **Contribution.** The raw embedding is ``sum_r W_r x_r + b`` over the patches x_r (C,), so
  ``W_r x_r`` (D,) is what patch r adds to it, exactly. Patches with small contributions do not
  matter to the network, however they look.
* **Cover.** Whether a patch shows a face or something in front of it can be read off x_r by one
  logistic regression per place, because a mask looks like a mask to the network as well.

Both are linear, cost next to nothing, and leave the network's weights alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import resources
from io import BytesIO

import numpy as np

from faceflow import networks
from faceflow.arrays import Float32, Float64, unit
from faceflow.errors import InputError
from faceflow.features import FaceFeatures, Grid
from faceflow.matching.contributions import MOST_CHANNELS, RoundedModel
from faceflow.matching.projections import projection_of
from faceflow.matching.transport import native
from faceflow.networks import NetworkSpec, learned
from faceflow.weights import TrainedHere


@dataclass(frozen=True, eq=False)
class CoverModel:
    """One logistic regression per patch: covered or not.

    Attributes:
        weight: (R, C) float32 and
        bias: (R,) float32; covered with probability ``sigmoid(<weight_r, x_r> + bias_r)``.
        mean: (R, C) float32, the mean raw patch of uncovered faces.
    """

    weight: Float32
    bias: Float32
    mean: Float32

    def covered(self, features: FaceFeatures) -> Float32:
        """(N, R) float32 probability that each patch shows something else than the face."""
        # einsum without optimize sums in a fixed order per face: no dependence on the batch.
        score = np.einsum("nrc,rc,nr->nr", features.patches, self.weight, features.norms)
        score += self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(score, -40, 40))), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class PatchModel:
    """A network's patches by what they add to its embedding.

    Attributes:
        grid: (h, w) of the patches, R = h * w.
        projection: (R, C, D) float32; patch r adds ``x_r @ projection[r]`` to the embedding. D is
            0 where the embedding is not linear in the patches: then only :meth:`see` answers.
        cover: which patches are covered.
        learned: whether the cover model comes from the user's photos, not with faceflow.
    """

    grid: Grid
    projection: Float32
    cover: CoverModel
    learned: bool = False

    @property
    def linear(self) -> bool:
        """Whether it is known what each patch adds to the embedding."""
        return bool(self.projection.shape[2])

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of all numbers here."""
        parts = (self.projection, self.cover.weight, self.cover.bias, self.cover.mean)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    @cached_property
    def mean_contribution(self) -> Float32:
        """(R, D) float32: what an average uncovered patch adds, hence what says nothing."""
        mean: Float32 = np.einsum("rc,rcd->rd", self.cover.mean, self.projection)
        return mean

    @cached_property
    def rounded(self) -> RoundedModel:
        """The same in whole numbers, for int8 patches.

        Raises:
            InputError: more than 2048 channels.
        """
        if self.projection.shape[1] > MOST_CHANNELS:
            raise InputError(
                f"patches of {self.projection.shape[1]} channels cannot be projected in int8",
                why=f"{MOST_CHANNELS} are the most",
                todo='choose another format: Sinkhorn(dtype="f32")',
            )
        return RoundedModel.of(
            self.projection, self.cover.weight, self.cover.bias, self.mean_contribution
        )

    def project(self, features: FaceFeatures) -> FaceFeatures:
        """Features whose patches are contributions to the embedding, with their visibility.

        Args:
            features: (N) faces on the network's own grid.

        Returns:
            The same faces with patches (N, R, D) the unit contributions, ``norms`` their
            lengths, ``pooled`` their unit mean, ``visibility`` as :meth:`see` gives it, and the
            landmark shares they had.

        Raises:
            InputError: the features lie on another grid or have other channels, or the network
                is not linear in its patches.
        """
        self.require_patches(features.grid, features.patches.shape[2])
        if not self.linear:
            raise InputError(
                "it is not known what each patch adds to the embedding",
                why="the network's embedding is not linear in its patches",
                todo="use raw patches and visible_share 0",
            )
        patches, lengths = native.project(features.raw_patches, self.projection)
        centre = np.einsum("nrd,nr->nd", patches, lengths)
        return FaceFeatures(
            embedding=features.embedding,
            patches=patches,
            norms=lengths,
            pooled=unit(centre),
            grid=features.grid,
            visibility=self._visibility(features),
            landmark_share=features.landmark_share,
            digest=features.digest,
        )

    def see(self, features: FaceFeatures) -> FaceFeatures:
        """The same features with ``visibility`` (N, R): 1 - the probability of being covered.

        Where they came with a visibility, e.g. of hidden cells, it is the smaller of the two.
        """
        self.require_patches(features.grid, features.patches.shape[2])
        return replace(features, visibility=self._visibility(features))

    def visible_cosine(self, query: FaceFeatures, gallery: FaceFeatures) -> Float64:
        """Cosine of two embeddings made of nothing but what both faces show.

        With ``w_r`` the product of both visibilities of patch r, each face's embedding is
        ``sum_r w_r (contribution_r - mean contribution_r)``: covered patches drop out on both
        sides, and so does what every face has there.

        Args:
            query: one face as :meth:`project` gives it.
            gallery: N faces likewise.

        Returns:
            (N,) float64 in [-1, 1]; 0 where nothing is visible on both.
        """
        if query.visibility is None or gallery.visibility is None:
            raise InputError("visible_cosine needs features from PatchModel.project")
        shown = query.visibility * gallery.visibility
        mean = self.mean_contribution
        # einsum without optimize sums in a fixed order per face: no dependence on the batch.
        first = np.einsum("nr,rd->nd", shown, query.raw_patches[0] - mean)
        usual = np.einsum("nr,rd->nd", shown, mean)
        second = np.einsum("nr,nr,nrd->nd", shown, gallery.norms, gallery.patches) - usual
        first, second = first.astype(np.float64), second.astype(np.float64)
        length = np.sqrt((first * first).sum(axis=1) * (second * second).sum(axis=1))
        product = (first * second).sum(axis=1)
        cosine: Float64 = np.divide(product, length, out=np.zeros_like(product), where=length > 0)
        return cosine

    def _visibility(self, features: FaceFeatures) -> Float32:
        seen: Float32 = 1 - self.cover.covered(features)
        # What is known to be hidden stays hidden; what was seen by this model stays as it was.
        return seen if features.visibility is None else np.minimum(seen, features.visibility)

    def require_patches(self, grid: Grid, channels: int) -> None:
        """Raise InputError unless this model is for patches of that grid and size."""
        r, c, _ = self.projection.shape
        if (grid, channels) != (self.grid, c) or grid[0] * grid[1] != r:
            raise InputError(
                f"the features lie on a {grid[0]}x{grid[1]} grid with {channels} channels",
                why=f"contributions are known for {self.grid[0]}x{self.grid[1]} with {c}",
                todo="use the network's own grid, or raw patches",
            )


def load(network: str, digest: str) -> PatchModel | None:
    """What is known of a network's patches, or None where nothing is.

    Args:
        network: its name, as a gallery records it.
        digest: its digest; other weights under a known name have no patch model here.

    Raises:
        WeightsError: the network is known and its graph is not in the cache.
    """
    spec = networks.find(network)
    if spec is None or not spec.source.member_sha256 or spec.digest != digest:
        return None  # no network of that name and digest is here now; it may be tomorrow
    # What is kept goes by what may be learned anew meanwhile.
    return _load(spec, tuple(map(learned.stamp, _teachers(spec))))


@lru_cache(maxsize=4)
def _load(spec: NetworkSpec, _: tuple[learned.Stamp | None, ...]) -> PatchModel | None:
    found = _cover(spec)
    if found is None:
        return None
    cover, own = found
    return PatchModel(spec.grid, projection_of(spec), cover, learned=own)


def shipped(spec: NetworkSpec) -> PatchModel | None:
    """The patch model that comes with faceflow, whatever was learned since; mostly None.

    Raises:
        WeightsError: the network's graph is not in the cache.
    """
    cover = _shipped_cover(spec)
    return None if cover is None else PatchModel(spec.grid, projection_of(spec), cover)


def _teachers(spec: NetworkSpec) -> tuple[NetworkSpec, ...]:
    """The networks whose covers are this one's, first the nearest.

    A last layer that was trained here leaves raw patches, and so covers, as they were.
    """
    source = spec.source
    if not isinstance(source, TrainedHere):
        return (spec,)
    base = networks.find(source.upstream)
    same = base is not None and base.source.member_sha256 and base.digest == source.patches
    return (spec, base) if base is not None and same else (spec,)


def _cover(spec: NetworkSpec) -> tuple[CoverModel, bool] | None:
    """The cover model, and whether it was learned from the user's photos."""
    for teacher in _teachers(spec):
        known = learned.recall(teacher)
        if known is not None:
            return CoverModel(known.weight, known.bias, known.mean), True
    cover = _shipped_cover(spec)
    return None if cover is None else (cover, False)


def _shipped_cover(spec: NetworkSpec) -> CoverModel | None:
    source = spec.source
    if isinstance(source, TrainedHere):  # raw patches, and so covers, as of where it came from
        return _read_cover(source.upstream, source.patches)
    return _read_cover(spec.name, spec.digest)


def _read_cover(network: str, digest: str) -> CoverModel | None:
    """The cover model that comes with faceflow, where there is one for these very weights."""
    file = resources.files("faceflow.matching") / "data" / f"{network}.cover.npz"
    if not file.is_file():
        return None
    with np.load(BytesIO(file.read_bytes()), allow_pickle=False) as kept:
        if str(kept["digest"]) != digest:
            return None
        return CoverModel(kept["weight"], kept["bias"], kept["mean"])
