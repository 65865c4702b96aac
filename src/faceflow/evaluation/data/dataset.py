"""What a reader returns: photos and whose they are, verification pairs, and what was left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from faceflow.errors import InputError


@dataclass(frozen=True, slots=True)
class Photo:
    """One picture of one person.

    Attributes:
        path: the file, or the container file when ``content`` is set.
        person: the name in the data set; empty when the data set does not tell.
        source_id: names the photograph the picture was made from. Pictures made from one
            photograph (a mask pasted on it, sunglasses, a crop, an attack) carry one id, so
            that a protocol can keep them apart even where their pixels no longer agree.
        condition: what the data set says of the picture: "masked", "profile", ...; or empty.
        age: in years, where the data set tells.
        content: the encoded image when it lies inside a container file.
    """

    path: Path
    person: str
    source_id: str
    condition: str = ""
    age: int | None = None
    content: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def image(self) -> Path | bytes:
        """What :func:`faceflow.faces.images.load_image` takes."""
        return self.path if self.content is None else self.content

    @property
    def key(self) -> str:
        """Tells this picture from every other, edits of the same photograph included."""
        return str(self.path) if self.content is None else f"{self.path}#{self.source_id}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something found or expected that is not in the data set, and why; ``why`` is a class of
    cases ("an empty file"), so that a summary can count them."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photos to verify: positions in ``Dataset.photos``, the truth, and the fold from 0."""

    a: int
    b: int
    same: bool
    fold: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """Photos of people, as one reader found them.

    Attributes:
        name: how reports call it.
        root: the folder or file it was read from.
        photos: in a fixed order: the list's where a list was given, sorted by path otherwise.
        left_out: every file, list line or pair that was not used.
        pairs: verification pairs, empty when the data set defines none.
        searched: source ids of the photos that are searched with; None for all.
    """

    name: str
    root: Path
    photos: tuple[Photo, ...]
    left_out: tuple[LeftOut, ...] = ()
    pairs: tuple[Pair, ...] = ()
    searched: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if not self.photos:
            raise InputError(
                f"{self.name}: no photo was found in {self.root}",
                why=self._reasons(),
                todo="check that this is the data set's own layout",
            )
        if any(not 0 <= n < len(self.photos) for pair in self.pairs for n in (pair.a, pair.b)):
            raise InputError(f"{self.name}: a pair names a photo beyond the {len(self.photos)}")

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def people(self) -> tuple[str, ...]:
        """The people, sorted; a photo of nobody known adds none."""
        return tuple(sorted({photo.person for photo in self.photos} - {""}))

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions photos are marked with, sorted; empty when the data set marks none."""
        return tuple(sorted({photo.condition for photo in self.photos} - {""}))

    def photos_with(self, condition: str) -> tuple[Photo, ...]:
        """The photos marked with a condition.

        Raises:
            InputError: no photo is; the message lists the conditions there are.
        """
        found = tuple(photo for photo in self.photos if photo.condition == condition)
        if not found:
            raise InputError(
                f"{self.name} has no photo marked {condition!r}",
                todo=f"choose one of {', '.join(self.conditions) or 'none: it marks no photo'}",
            )
        return found

    def summary(self) -> str:
        """How many photos, people and pairs there are, and what was left out and why."""
        known = len(self.people)
        parts = [
            f"{self.name}: {len(self.photos):,} photos of "
            + (f"{known:,} people" if known else "people it does not name")
        ]
        for condition in self.conditions:
            photos = self.photos_with(condition)
            people = len({photo.person for photo in photos})
            parts.append(f"{condition}: {len(photos):,} of {people:,} people")
        if self.pairs:
            folds = len({pair.fold for pair in self.pairs})
            same = sum(pair.same for pair in self.pairs)
            parts.append(f"{len(self.pairs):,} pairs ({same:,} same) in {folds} folds")
        if self.searched is not None:
            parts.append(f"{len(self.searched):,} photos are searched with")
        if self.left_out:
            parts.append(f"left out: {self._reasons()}")
        return "; ".join(parts)

    def _reasons(self) -> str:
        counts = Counter(item.why for item in self.left_out)
        return ", ".join(f"{count:,} ({why})" for why, count in counts.most_common())
