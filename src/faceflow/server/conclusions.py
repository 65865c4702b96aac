"""What an examiner may conclude: an ordered scale, the same for every case of a service.

The scale that comes with faceflow states support for one of two propositions in words, as
forensic guidelines ask for (ENFSI, Guideline for evaluative reporting in forensic science, 2015).
An administrator may put another in its place; a decision keeps the words it was made in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from faceflow.errors import InputError
from faceflow.server.state import State

_NAME = "conclusions"
_KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
MOST = 20


class Direction(StrEnum):
    """What a conclusion speaks for."""

    SAME = "same"
    """The query shows the candidate."""
    DIFFERENT = "different"
    """The query shows somebody else."""
    NEITHER = "neither"
    """The photos do not allow to tell."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """One step of the scale.

    Attributes:
        key: names it in requests and files.
        text: in words.
        direction: what it speaks for; two decisions agree when theirs is the same.
    """

    key: str
    text: str
    direction: Direction


INCONCLUSIVE = Conclusion("inconclusive", "Inconclusive", Direction.NEITHER)
DEFAULT = (
    Conclusion("same-strong", "Strong support for the same person", Direction.SAME),
    Conclusion("same-moderate", "Moderate support for the same person", Direction.SAME),
    Conclusion("same-limited", "Limited support for the same person", Direction.SAME),
    INCONCLUSIVE,
    Conclusion("different-limited", "Limited support for different people", Direction.DIFFERENT),
    Conclusion("different-moderate", "Moderate support for different people", Direction.DIFFERENT),
    Conclusion("different-strong", "Strong support for different people", Direction.DIFFERENT),
)


def scale(state: State) -> tuple[Conclusion, ...]:
    """The scale in use, from "same" to "different"."""
    with state.reading() as connection:
        row = connection.execute("SELECT content FROM setting WHERE name = ?", (_NAME,)).fetchone()
    if row is None:
        return DEFAULT
    return tuple(
        Conclusion(one["key"], one["text"], Direction(one["direction"]))
        for one in json.loads(row["content"])
    )


def set_scale(state: State, steps: Sequence[Conclusion]) -> None:
    """Put another scale in place; decisions that were made keep their words.

    Raises:
        InputError: a key twice or malformed, an empty text, or no step that is inconclusive.
    """
    keys = [step.key for step in steps]
    if len(set(keys)) != len(keys) or not all(_KEY.fullmatch(key) for key in keys):
        raise InputError(
            "the conclusions need keys of their own",
            why="each is up to 40 small letters, digits and hyphens, and none comes twice",
        )
    if len(steps) > MOST or any(not step.text.strip() or len(step.text) > 200 for step in steps):
        raise InputError(f"a scale has at most {MOST} steps, each of 1 to 200 characters")
    if {step.direction for step in steps} != set(Direction):
        raise InputError(
            "a scale needs a step for the same person, one for different people, and one for "
            "neither",
            why="an examiner must never have to say more than the photos show",
        )
    with state.writing() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO setting VALUES(?, ?)",
            (_NAME, json.dumps([asdict(step) for step in steps])),
        )
