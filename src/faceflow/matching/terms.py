"""What each similarity adds to a score, with its sign."""

from __future__ import annotations

from faceflow.matching.options import MatchOptions


def shares(options: MatchOptions) -> dict[str, float]:
    """What each similarity is multiplied with: ``emd``, ``visible_cosine``, ``cosine``."""
    rest = 1 - options.alpha
    return {
        "emd": options.alpha,
        "visible_cosine": rest * options.visible_share,
        "cosine": rest * (1 - options.visible_share),
    }


def terms(
    options: MatchOptions, cosine: float, emd: float | None, visible_cosine: float | None
) -> dict[str, float]:
    """The summands by name; they add up to the score within float64 rounding.

    A similarity that was not computed has no share, and adds 0.
    """
    values = {"emd": emd, "visible_cosine": visible_cosine, "cosine": cosine}
    return {
        name: 0.0 if values[name] is None else share * (values[name] or 0.0)
        for name, share in shares(options).items()
    }
