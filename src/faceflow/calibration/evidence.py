"""What every search would return under every setting, read off one transport run per weighting.

Alpha and the share of the visible faces' cosine only mix kept numbers, and k only cuts the
shortlist, so the whole grid costs no further transport.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Bools, Float64, Int64
from faceflow.errors import InputError
from faceflow.evaluation.ranking import Rankings
from faceflow.matching.options import Calibration, Patches, check_alpha
from faceflow.matching.score import combine

Kind = tuple[Patches, str]
"""(patches, weighting): one transport run serves all settings of a kind."""

ALPHAS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
SHORTLISTS = (20, 50, 100)


@dataclass(frozen=True, slots=True)
class Setting:
    """What can be chosen: fields of :class:`faceflow.matching.options.MatchOptions`."""

    alpha: float
    weighting: str
    k: int
    patches: Patches = "raw"
    visible_share: float = 0.0

    def with_threshold(
        self, threshold: float | None, patch_model: str | None = None
    ) -> Calibration:
        """What a gallery keeps when this is chosen."""
        return Calibration(
            self.alpha,
            self.weighting,
            self.k,
            self.patches,
            self.visible_share,
            threshold,
            patch_model,
        )

    @property
    def kind(self) -> Kind:
        """What a transport run depends on."""
        return self.patches, self.weighting

    def __str__(self) -> str:
        if self.alpha == 0:
            return "stage 1 alone"
        said = [f"alpha {self.alpha:g}", self.weighting, f"k {self.k}"]
        if self.patches != "raw":
            said.append(f"{self.patches} patches")
        if self.visible_share > 0:
            said.append(f"visible share {self.visible_share:g}")
        return ", ".join(said)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The first answer of Q searches under S settings.

    Attributes:
        settings: simplest first; the first has alpha 0.
        top: (S, Q) score of the first answer, minus infinity where there is none.
        hit: (S, Q) whether it is the query's person.
        mated: (Q,) whether the person could be found at all.
        person: (Q,) whose query it is, any integers.
        stratum: (Q,) positions in ``strata``.
        strata: names of the kinds of queries: clean, mask, ...
    """

    settings: tuple[Setting, ...]
    top: Float64
    hit: Bools
    mated: Bools
    person: Int64
    stratum: Int64
    strata: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = (len(self.settings), len(self.mated))
        if not self.settings or self.settings[0].alpha != 0:
            raise InputError("the first setting must be stage 1 alone (alpha 0)")
        if self.top.shape != shape or self.hit.shape != shape:
            raise InputError(f"evidence of shape {self.top.shape}, {self.hit.shape}: not {shape}")
        if self.person.shape != shape[1:] or self.stratum.shape != shape[1:]:
            raise InputError(
                f"one person and one stratum are needed for each of {shape[1]} searches"
            )
        if np.isnan(self.top).any():
            raise InputError("a search's score is NaN")

    def __len__(self) -> int:
        return len(self.mated)

    def select(self, rows: Int64 | Bools) -> Evidence:
        """These searches alone."""
        return Evidence(
            self.settings,
            self.top[:, rows],
            self.hit[:, rows],
            self.mated[rows],
            self.person[rows],
            self.stratum[rows],
            self.strata,
        )


def settings_grid(
    weightings: Sequence[str],
    *,
    alphas: Sequence[float] = ALPHAS,
    ks: Sequence[int] = SHORTLISTS,
    unranked_k: int = 100,
    visible_shares: Sequence[float] = (),
) -> tuple[Setting, ...]:
    """All settings, from the simplest on: stage 1 alone, then by k (the cost), then by alpha
    (how far from stage 1), then raw patches in the order weightings are given in before
    projected ones.

    Args:
        weightings: of raw patches, at least one.
        alphas: shares above 0.
        ks: lengths of the shortlist.
        unranked_k: the k that goes with alpha 0, where it only says how many faces are listed.
        visible_shares: shares of the visible faces' cosine to try with projected patches that are
            weighted by what both faces show; none leaves projected patches out.

    Raises:
        InputError: nothing to choose from, or a value out of range.
    """
    for alpha in alphas:
        check_alpha(alpha)
    if not weightings or not alphas or not ks or min(alphas) <= 0 or min(ks) < 1:
        raise InputError(
            "there is nothing to choose from",
            why="calibrating needs a weighting, an alpha above 0 and a k of at least 1",
        )
    first = Setting(0.0, weightings[0], unranked_k)
    kinds: list[tuple[str, Patches, float]] = [
        *((weighting, "raw", 0.0) for weighting in dict.fromkeys(weightings)),
        *(("uncovered", "projected", float(share)) for share in sorted(set(visible_shares))),
    ]
    rest = (
        Setting(float(alpha), weighting, int(k), patches, share)
        for k in sorted(set(ks))
        for alpha in sorted(set(alphas))
        for weighting, patches, share in kinds
    )
    return first, *rest


def collect(
    rankings: Mapping[Kind, Rankings],
    settings: Sequence[Setting],
    *,
    mated: Bools,
    person: Int64,
    stratum: Int64,
    strata: Sequence[str],
) -> Evidence:
    """Read every setting off the rankings.

    Args:
        rankings: by :attr:`Setting.kind`, of the same queries, made with the longest k, an
            alpha above 0, and a visible share above 0 where a setting has one.
        settings: from :func:`settings_grid`.
        mated, person, stratum, strata: as in :class:`Evidence`.

    Raises:
        InputError: a kind was not ranked, or not with all that a setting mixes.
    """
    size = len(mated)
    top = np.full((len(settings), size), -np.inf)
    hit = np.zeros((len(settings), size), dtype=np.bool_)
    rows = np.arange(size)
    for n, setting in enumerate(settings):
        ranking = rankings.get(setting.kind)
        if ranking is None:
            raise InputError(
                f"no ranking was made of {setting.patches} patches with the weighting "
                f"{setting.weighting!r}"
            )
        # The gallery may hold fewer faces than k; then all of them were ranked.
        k = min(setting.k, ranking.faces.shape[1])
        listed = ranking.faces[:, :k] >= 0
        score = combine(
            ranking.cosine[:, :k],
            ranking.emd[:, :k],
            ranking.visible_cosine[:, :k],
            alpha=setting.alpha,
            visible_share=setting.visible_share,
        )
        if np.isnan(score[listed]).any():
            raise InputError(
                f"the ranking of {setting.patches} patches with {setting.weighting!r} lacks the "
                f"EMD or the visible faces' cosine that the setting {setting} needs"
            )
        score = np.where(listed, score, -np.inf)
        best = score.argmax(axis=1)  # of equal scores the first: stage 1's order
        top[n] = score[rows, best]
        hit[n] = ranking.mate[rows, best]
    return Evidence(tuple(settings), top, hit, mated, person, stratum, tuple(strata))
