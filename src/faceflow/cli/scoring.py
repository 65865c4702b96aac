"""From command-line options to the library's options of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faceflow.cli.options import parse_grid

if TYPE_CHECKING:
    from faceflow.matching.options import Changes, Patches


@dataclass(frozen=True, slots=True)
class Scoring:
    """The options of the panel "Scoring" as they were typed; None for what was left open."""

    k: int | None = None
    alpha: float | None = None
    weighting: str | None = None
    epsilon: float | None = None
    grid: str | None = None
    patches: Patches | None = None
    visible_share: float | None = None

    def changes(self) -> Changes:
        """What ``gallery.options`` and :func:`faceflow.matching.options.options_for` take."""
        from faceflow.matching.transport import Sinkhorn

        return {
            "k": self.k,
            "alpha": self.alpha,
            "weighting": self.weighting,
            "grid": parse_grid(self.grid),
            "solver": None if self.epsilon is None else Sinkhorn(epsilon=self.epsilon),
            "patches": self.patches,
            "visible_share": self.visible_share,
        }
