"""The words of pictures and pages, so that both say the same."""

from __future__ import annotations

from dataclasses import dataclass

from faceflow.explain.explanation import Explanation
from faceflow.features import Grid
from faceflow.matching.transport import Status

NOT_PROOF = (
    "A flow shows which patches were matched with which. It is not proof of identity, and the "
    "score is a similarity, not a probability."
)
LONGEST_NAME = 40  # a longer one is not repeated below the photo


@dataclass(frozen=True, slots=True)
class Caption:
    """What is written around a flow picture.

    Attributes:
        person: the name of the gallery face.
        decision: e.g. "identified" or "unknown: below the threshold 0.55".
        stage1_rank: rank by cosine alone, from 1.
        rank: rank after comparing patches, from 1.
        heading: the picture's title, where it should not be the person's name.
    """

    person: str = ""
    decision: str = ""
    stage1_rank: int | None = None
    rank: int | None = None
    heading: str = ""

    @property
    def title(self) -> str:
        """The heading or the name, or else what the picture is."""
        return self.heading or self.person or "Two faces compared"

    @property
    def subtitle(self) -> str:
        """Decision and ranks in one line; empty when nothing is known."""
        return "  ·  ".join(part for part in (self.decision, ranks(self)) if part)


def notes_on(caption: Caption, photo: bool) -> tuple[str, str]:
    """The notes below the reconstruction and the gallery face, with or without its photo."""
    light = "Bright: a strong flow. Dark: a weak one."
    name = caption.person if 0 < len(caption.person) <= LONGEST_NAME else "the face"
    if not photo:
        return (
            "Each cell stands for the gallery face; the dot is the place its largest flow goes "
            f"to. {light}",
            "The gallery keeps no photo of this face.",
        )
    return (
        f"Each cell shows the gallery patch that its largest flow goes to. {light}",
        f"The photo of {name} that was compared.",
    )


def flows_title(count: int) -> str:
    """The title of the lines."""
    if count == 0:
        return "No flow: nothing moved"
    return f"Where the {count} strongest flows go" if count > 1 else "Where the strongest flow goes"


def ranks(caption: Caption) -> str:
    """For example "rank 4 by cosine alone, rank 1 after comparing patches", as far as known."""
    words = (("by cosine alone", caption.stage1_rank), ("after comparing patches", caption.rank))
    return ", ".join(f"rank {rank} {way}" for way, rank in words if rank is not None)


def number(value: float, digits: int = 3) -> str:
    """A score with a fixed count of digits, without the sign of a rounded zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def percent(share: float) -> str:
    """A share of 1 as a percentage with one digit below 10."""
    return f"{100 * share:.0f}%" if share >= 0.0995 else f"{100 * share:.1f}%"


def cell(patch: int, grid: Grid) -> str:
    """A patch's place in words, counted from 1."""
    row, column = divmod(patch, grid[1])
    return f"row {row + 1}, column {column + 1}"


def settings_line(explanation: Explanation) -> str:
    """How the comparison was made, in one sentence."""
    h, w = explanation.grid
    solver = explanation.solver
    how = str(solver["name"])
    if "epsilon" in solver:
        how += f" with epsilon {solver['epsilon']}"
    kind = "projected " if explanation.patches == "projected" else ""
    return f"{h}x{w} {kind}patches, {explanation.weighting} weights, {how}: {outcome(explanation)}."


def outcome(explanation: Explanation) -> str:
    """How the solve ended, in plain words."""
    count = explanation.iterations
    spent = f"after {count} iteration{'s' if count > 1 else ''}" if count else ""
    words = {
        Status.CONVERGED: f"converged {spent}",
        Status.MAX_ITERATIONS: f"stopped {spent} before it had converged",
        Status.NO_MASS: "one face has no weight at all, so nothing moved",
        Status.INVALID: "the numbers are not valid",
    }
    return words[explanation.status].strip()


def moved(explanation: Explanation) -> str:
    """How far the mass travelled, in plain words."""
    if explanation.status is Status.NO_MASS:
        return ""
    share = percent(explanation.nearby_mass)
    return f"{share} of the weight went to the same place of the other face or right beside it."
