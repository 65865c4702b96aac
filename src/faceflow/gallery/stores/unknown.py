"""The errors for faces and people that a gallery does not have, the same from every store."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from faceflow.errors import GalleryError

LARGEST_ID = 2**63 - 1


def require_possible(face_ids: Iterable[int]) -> None:
    """Raise GalleryError for an id that no face can have, and that no store can hold."""
    for face_id in face_ids:
        if not 0 < face_id <= LARGEST_ID:
            raise no_face(face_id)


def no_face(face_id: int) -> GalleryError:
    """The error for an id that is not in the gallery."""
    return GalleryError(
        f"there is no face {face_id} in the gallery",
        why="it was removed, or the id is of another gallery",
    )


def no_person_id(person_id: int) -> GalleryError:
    """The error for a person's id that is not in the gallery."""
    return GalleryError(
        f"there is no person with the id {person_id} in the gallery",
        why="the last face was removed or moved, or the id is of another gallery",
    )


def no_person(name: str, names: Iterable[str]) -> GalleryError:
    """The error for a name that nobody has; ``names`` are those to suggest from."""
    close = difflib.get_close_matches(name, names, 3, 0.7)
    todo = f"did you mean {' or '.join(map(repr, close))}?" if close else ""
    return GalleryError(f"there is no person {name!r} in the gallery", todo=todo)


def name_taken(name: str) -> GalleryError:
    """The error for a name that somebody else has already."""
    return GalleryError(
        f"there is already a person {name!r}", todo="merge the two if they are the same person"
    )
