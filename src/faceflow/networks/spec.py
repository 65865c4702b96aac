"""What a network is: where its weights come from and exactly what it wants to see."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from faceflow.weights import Licence, Source


@dataclass(frozen=True, slots=True)
class MatchDefaults:
    """Matching options that measured best for one network; calibrate on your own photos.

    Attributes:
        alpha: share of the EMD similarity in the stage-2 score.
        weighting: name of the patch weighting.
        k: how many stage-1 candidates stage 2 re-ranks.
    """

    alpha: float
    weighting: str
    k: int


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A face network's weights, terms, input and output.

    Attributes:
        name: what users type.
        title: one line that says what it is.
        source: the published file its weights are in, or the fact that they were trained here.
        licence: the terms, as far as they are known.
        input_size: (H, W) of the crop in pixels.
        colour: order of the channels the network was trained on.
        mean, std: one number per channel in that order; the network sees
            ``(pixel - mean) / std`` with pixels in 0..255.
        template: name of the alignment template in ``alignment.TEMPLATES``.
        embedding_size: D.
        grid: (h, w) of the patch grid, R = h * w.
        channels: C, the length of a patch.
        defaults: matching options that measured best.
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

    @property
    def digest(self) -> str:
        """Hex sha256 over the weights' sha256 and all that decides what features come out.

        Two specs with one digest give comparable features; a gallery records it. Name,
        title, licence and matching defaults do not change features and are left out.
        """
        fields = dataclasses.asdict(self)
        for silent in ("name", "title", "licence", "defaults"):
            del fields[silent]
        fields["source"] = self.source.member_sha256
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
