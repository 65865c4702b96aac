"""What a network is: where its weights come from and exactly what it wants to see."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from faceflow.errors import WeightsError
from faceflow.weights import Licence, ModelFile, Source, Tensors


@dataclass(frozen=True, slots=True)
class MatchDefaults:
    """Matching options to start from with one network; calibrate on your own photos.

    Attributes:
        alpha: share of the EMD similarity in the stage-2 score.
        weighting: name of the patch weighting.
        k: how many stage-1 candidates stage 2 re-ranks.
        patches: what is transported, the "raw" feature map or its "projected" contributions
            to the embedding; see :class:`faceflow.matching.covers.PatchModel`.
        visible_share: share of the visible faces' cosine in the cosine term.
    """

    alpha: float
    weighting: str
    k: int
    patches: Literal["raw", "projected"] = "raw"
    visible_share: float = 0.0


def current_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Matching options that were kept under former names, under those of today.

    Before 0.2 the weighting ``uncovered`` and the option ``visible_share`` were both called
    ``visible``; galleries, calibrations and trained networks on disk may still say so.
    """
    named = {"visible_share" if name == "visible" else name: v for name, v in values.items()}
    if named.get("weighting") == "visible":
        named["weighting"] = "uncovered"
    return named


WEIGHTING_NAMES = ("uniform", "apc", "sc", "cc", "lmk", "norm", "uncovered")
"""What a network's defaults may name; :mod:`faceflow.matching.weighting` says what each does."""

# Little trust in the patches, every patch alike: the start for a network nobody calibrated.
UNCALIBRATED = MatchDefaults(alpha=0.1, weighting="uniform", k=100)
# The paper's own options for its own networks; not measured here, since their weights are not.
PAPER_DEFAULTS = MatchDefaults(alpha=0.7, weighting="apc", k=100)


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A face network's weights, terms, input and output.

    Attributes:
        name: what users type.
        title: one line that says what it is.
        source: the published file its weights are in, the file that was imported, or the fact
            that they were trained here; of a checkpoint that users import, the tensors that
            were imported.
        licence: the terms, as far as they are known.
        input_size: (H, W) of the crop in pixels.
        colour: order of the channels the network was trained on.
        mean, std: one number per channel in that order; the network sees
            ``(pixel - mean) / std`` with pixels in 0..255.
        template: name of the alignment template in ``alignment.TEMPLATES``.
        embedding_size: D.
        grid: (h, w) of the patch grid, R = h * w.
        channels: C, the length of a patch.
        defaults: matching options to start from, measured where its file says so.
        patch_output: the graph's output that holds the patches.
        model: name of the model whose graph it runs; its own name by default.
        teacher: of a student: digest of the network in whose space it answers, and whose galleries
            take its queries; see :mod:`faceflow.training.student`.
    """

    name: str
    title: str
    source: Source
    licence: Licence
    input_size: tuple[int, int]
    colour: Literal["rgb", "bgr", "gray"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    template: str
    embedding_size: int
    grid: tuple[int, int]
    channels: int
    defaults: MatchDefaults
    patch_output: str = "patches"
    model: str = ""
    teacher: str = ""

    @property
    def model_name(self) -> str:
        """The model that is pulled or imported for it; two networks may share one."""
        return self.model or self.name

    @property
    def digest(self) -> str:
        """Hex sha256 over the weights' sha256 and all that decides what features come out.

        Two specs with one digest give comparable features; a gallery records it. Name,
        title, licence, matching defaults and teacher do not change features and are left out.

        Raises:
            WeightsError: its checkpoint was not imported, so nobody knows its weights.
        """
        if not self.source.member_sha256:
            raise WeightsError(
                f"the network {self.name} has no weights yet, so no digest",
                todo=f"run `faceflow models import {self.model_name} FILE`",
            )
        fields = dataclasses.asdict(self)
        for silent in ("name", "title", "licence", "defaults", "model", "teacher"):
            del fields[silent]
        if self.patch_output == "patches":  # as every digest was computed before there was another
            del fields["patch_output"]
        fields["source"] = self.source.member_sha256
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def model_file(
    spec: NetworkSpec,
    build: Callable[[Mapping[str, Tensors]], Mapping[str, bytes]],
    shapes: Callable[[], Mapping[str, tuple[int, ...]]] | None = None,
) -> ModelFile:
    """The model of a network, as the model registry sees it: one graph of the network's name.

    Args:
        spec: what it is; its source is the model's.
        build: tensors by file to that graph; raise ``builder`` when it makes another graph.
        shapes: of a checkpoint that users import: the entries it must hold.
    """
    return ModelFile(
        name=spec.name,
        title=spec.title,
        kind="network",
        sources=(spec.source,),
        licence=spec.licence,
        graphs=(spec.name,),
        builder=1,
        build=build,
        shapes=shapes,
    )
