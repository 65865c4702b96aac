"""From command-line options to the library's options of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faceflow.cli.options import parse_grid

if TYPE_CHECKING:
    from faceflow.matching import MatchOptions, Patches


def match_options(
    network: str,
    digest: str,
    calibrated: dict[str, Any] | None = None,
    *,
    k: int | None = None,
    alpha: float | None = None,
    weighting: str | None = None,
    epsilon: float | None = None,
    grid: str | None = None,
    patches: Patches | None = None,
    visible_share: float | None = None,
) -> MatchOptions:
    """Fill what the options leave open from a calibration, then from the network."""
    from faceflow import patch_model
    from faceflow.matching import MatchOptions
    from faceflow.networks import defaults_for
    from faceflow.transport import Sinkhorn

    return MatchOptions.resolve(
        defaults_for(network),
        calibrated,
        alpha=alpha,
        weighting=weighting,
        k=k,
        grid=parse_grid(grid),
        solver=None if epsilon is None else Sinkhorn(epsilon=epsilon),
        patches=patches,
        visible_share=visible_share,
        model=patch_model.load(network, digest),
    )
