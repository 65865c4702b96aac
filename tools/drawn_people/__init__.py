"""Draw simple synthetic faces: made-up people for demos and tests.

Nothing here comes from photos: a face is a height field with features placed by random numbers,
lit and turned. The pictures are plainly drawn, and files say so in their metadata. They show
that the pipeline works; they say nothing about how well it works on people.
"""

from __future__ import annotations

from drawn_people.identity import Identity, identity
from drawn_people.people import NOTICE, person_name, write_people
from drawn_people.portrait import Portrait, draw, portrait
from drawn_people.variation import Variation, variation

__all__ = [
    "NOTICE",
    "Identity",
    "Portrait",
    "Variation",
    "draw",
    "identity",
    "person_name",
    "portrait",
    "variation",
    "write_people",
]
