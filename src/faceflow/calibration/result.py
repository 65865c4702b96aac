"""What a calibration found, how sure it is, and how it was made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from faceflow.calibration.evidence import Setting
from faceflow.evaluation.metrics.significance import Interval, PairedTest
from faceflow.matching.options import Calibration


@dataclass(frozen=True, slots=True)
class Rates:
    """How searches of one stratum (or of all) went, each by what other people decided.

    Attributes:
        mated, nonmated: searches with somebody to find, and without.
        tpir: share of the mated that returned the right person (at any score where no
            threshold was asked).
        fpir: share of the non-mated that returned anybody; None without a threshold.
        stage1_tpir, stage1_fpir: the same of stage 1 alone with a threshold of its own.
        test: stage 1 against the calibrated method, over people; None without mated searches.
    """

    mated: int
    nonmated: int
    tpir: Interval | None
    fpir: Interval | None
    stage1_tpir: Interval | None
    stage1_fpir: Interval | None
    test: PairedTest | None


@dataclass(frozen=True, slots=True)
class Stratum:
    """One kind of photos: clean, under a drawn cover, or under real covers.

    Attributes:
        name: e.g. "mask".
        rates: with the setting and threshold for all strata together.
        own: what would be chosen for this stratum alone; None where its searches are too few.
        own_threshold: likewise.
        unseen: photos whose face was no longer found under the cover; they are in no rate.
    """

    name: str
    rates: Rates
    own: Setting | None
    own_threshold: float | None
    unseen: int


@dataclass(frozen=True, slots=True)
class VisiblePart:
    """Searches with faces of which about as much is visible.

    Attributes:
        low, high: the mean visibility of the patches lies in [low, high), or reaches 1.
        rates: as in :class:`Stratum`.
    """

    low: float
    high: float
    rates: Rates


@dataclass(frozen=True, slots=True)
class Origin:
    """How a calibration was made.

    Attributes:
        made: UTC.
        version: of faceflow.
        network, digest: the face network.
        patch_model: digest of its patch model; None where none is known.
        enrolled_people, enrolled_faces: of the gallery that was searched.
        temporary: whether that gallery was made of the photos themselves.
        people: people searched for.
        impostors: those among them who were not enrolled.
        photographs: photographs searched with; ``impostor_photographs`` of the impostors.
        excluded: comparisons left out because both were one photograph.
        enrolled_already: photographs not searched for, because nothing else is enrolled of
            their person.
        repeated, misfiled: photos left out as repeats, or because the same photograph stands
            under another name.
        left_out: photos that gave no face.
        unconfirmed: edited photos that could not be seen to show the photo they are named
            after; they are used, and kept apart from that photo.
        compared, by_picture, by_hash: how enrolled faces were compared for equal photographs.
        seed: of every draw.
    """

    made: datetime
    version: str
    network: str
    digest: str
    enrolled_people: int
    enrolled_faces: int
    temporary: bool
    people: int
    impostors: int
    photographs: int
    impostor_photographs: int
    excluded: int
    enrolled_already: int
    repeated: int
    misfiled: int
    left_out: int
    unconfirmed: int
    compared: int
    by_picture: int
    by_hash: int
    seed: int
    patch_model: str | None = None


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """What to set, and what to expect of it.

    Attributes:
        setting: alpha, weighting, k, patches and visible_share for all strata.
        threshold: the least score that counts as identified; None when none was asked.
        target: the FPIR it was set for; None likewise.
        helps: whether stage 2 beat stage 1 on people apart from the choice; if not, alpha is 0.
        candidate: the setting that would have been taken had stage 2 helped.
        test: what decided that.
        overall: all strata together.
        strata: each by itself.
        folds: the settings that each part of the people led to; how stable the choice is.
        origin: how it was made.
        bands: the searches by the quality of their faces, "good", "fair" and "poor"; none where
            nobody looked at it.
        visible: the searches by how much of the face is visible; none where the network's covers
            are not known.
    """

    setting: Setting
    threshold: float | None
    target: float | None
    helps: bool
    candidate: Setting
    test: PairedTest
    overall: Rates
    strata: tuple[Stratum, ...]
    folds: tuple[Setting, ...]
    origin: Origin
    bands: tuple[tuple[str, Rates], ...] = ()
    visible: tuple[VisiblePart, ...] = ()

    @property
    def calibration(self) -> Calibration:
        """What the gallery keeps, and ``identify`` starts from."""
        used = self.setting.visible_share > 0 or (
            self.setting.alpha > 0
            and (self.setting.patches == "projected" or self.setting.weighting == "uncovered")
        )
        return self.setting.with_threshold(
            self.threshold, self.origin.patch_model if used else None
        )

    @property
    def verdict(self) -> str:
        """Whether stage 2 helps, in a sentence."""
        odds = (
            f"on people apart from the choice, {self.test.wins} did better with it and "
            f"{self.test.losses} worse (p = {self.test.p_value:.2g})"
        )
        if self.helps:
            return f"Re-ranking helps: {odds}"
        if self.candidate.alpha == 0:
            return f"Re-ranking does not help here: no setting beat stage 1 enough; {odds}"
        return f"Re-ranking does not help here, so alpha is 0: {odds}"

    def record(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "match": self.calibration.as_json(),
            "helps": self.helps,
            "verdict": self.verdict,
        } | {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name not in ("setting", "threshold", "helps")
        }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (tuple, list)) else value
