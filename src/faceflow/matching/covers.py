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
from faceflow.matching.transport import native
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
        projection: (R, C, D) float32; patch r adds ``x_r @ projection[r]`` to the embedding.
        cover: which patches are covered.
    """

    grid: Grid
    projection: Float32
    cover: CoverModel

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

    def project(self, features: FaceFeatures) -> FaceFeatures:
        """Features whose patches are contributions to the embedding, with their visibility.

        Args:
            features: (N) faces on the network's own grid.

        Returns:
            The same faces with patches (N, R, D) the unit contributions, ``norms`` their
            lengths, ``pooled`` their unit mean, ``visibility`` as :meth:`see` gives it, and the
            landmark shares they had.

        Raises:
            InputError: the features lie on another grid or have other channels.
        """
        self._check(features)
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
        self._check(features)
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

    def _check(self, features: FaceFeatures) -> None:
        r, c, _ = self.projection.shape
        if features.grid != self.grid or features.patches.shape[1:] != (r, c):
            raise InputError(
                f"the features lie on a {features.grid[0]}x{features.grid[1]} grid with "
                f"{features.patches.shape[2]} channels",
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
    try:
        return _load(network, digest)
    except _Unknown:
        return None


class _Unknown(Exception):
    """No network of that name and digest is here now; it may be tomorrow."""


@lru_cache(maxsize=4)  # an exception is not kept
def _load(network: str, digest: str) -> PatchModel | None:
    try:
        spec = networks.spec(network)
    except InputError as error:
        raise _Unknown from error
    source = spec.source
    if not source.member_sha256 or spec.digest != digest:
        raise _Unknown
    if isinstance(source, TrainedHere):  # raw patches, and so covers, as of where it came from
        cover = _read_cover(source.upstream, source.patches)
    else:
        cover = _read_cover(network, digest)
    if cover is None:
        return None
    weight, _ = networks.last_layer(network)
    return PatchModel(spec.grid, np.ascontiguousarray(weight.transpose(1, 2, 0)), cover)


def _read_cover(network: str, digest: str) -> CoverModel | None:
    """The cover model that comes with faceflow, where there is one for these very weights."""
    file = resources.files("faceflow.matching") / "data" / f"{network}.cover.npz"
    if not file.is_file():
        return None
    with np.load(BytesIO(file.read_bytes()), allow_pickle=False) as kept:
        if str(kept["digest"]) != digest:
            return None
        return CoverModel(kept["weight"], kept["bias"], kept["mean"])
