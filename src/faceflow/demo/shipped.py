"""The pictures that come with faceflow: drawn people, who are not real.

``PHOTOS/people/NAME/*.jpg`` are to be enrolled, ``PHOTOS/queries/NAME-COVER.jpg`` are other,
covered photos to ask about; a name without a folder in ``people`` belongs to a stranger. They
show that everything works and say nothing about accuracy on people. Each says in its metadata
that it is drawn. ``tools/draw_demo_photos.py`` in the sources draws them again.
"""

from __future__ import annotations

from pathlib import Path

PHOTOS = Path(__file__).resolve().parent / "photos"
"""The folder of the shipped pictures."""
PEOPLE = PHOTOS / "people"
"""One folder per person, two photos in each."""
QUERIES = PHOTOS / "queries"
"""One covered photo of each of them, and of some strangers."""


def shown_in(query: Path) -> tuple[str, str]:
    """(whom a query shows, what covers the face): ``Ada-mask.jpg`` -> ("Ada", "mask")."""
    person, _, cover = query.stem.partition("-")
    return person, cover
