"""Which photos an experiment enrolls and which it searches with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from faceflow.errors import InputError
from faceflow.evaluation.data import Dataset, Photo
from faceflow.evaluation.data.protocols import one_mate
from faceflow.evaluation.extraction import CLEAN, covers

# Conditions whose photos are enrolled where a data set marks its photos.
_PLAIN = ("neutral", "frontal")


@dataclass(frozen=True)
class Material:
    """Photos of one experiment.

    Attributes:
        gallery: photos to enroll.
        queries: photos to search with.
        cover: how queries are drawn; "clean" for as they are.
        real: whether the queries are a condition the data set itself marks.
    """

    gallery: tuple[Photo, ...]
    queries: tuple[Photo, ...]
    cover: str
    real: bool

    @property
    def drawn_queries(self) -> tuple[Photo, ...]:
        """The queries as protocols should see them: a drawn cover makes another picture of the
        same photograph, with a key of its own."""
        if self.cover == CLEAN:
            return self.queries
        return tuple(
            replace(photo, path=Path(f"{photo.path}#{self.cover}")) for photo in self.queries
        )


def material(dataset: Dataset, query: str, *, gallery: Dataset | None = None) -> Material:
    """Gallery and query photos of a data set.

    Where the data set marks conditions, the plain ones (neutral, frontal) are enrolled, and a
    query named after a condition takes its photos as they are. Any other query is drawn over
    the plain photos.

    Args:
        dataset: where queries come from.
        query: a condition of it, or one of ``covers()``.
        gallery: another data set to enroll from (LFW for TALFW's attacks).

    Raises:
        InputError: no such query; the message lists those there are.
    """
    marked = dataset.conditions
    plain = next((name for name in _PLAIN if name in marked), None)
    base = dataset.photos if plain is None else dataset.photos_with(plain)
    enrolled = base if gallery is None else gallery.photos
    if query in marked and query != plain:
        return Material(enrolled, dataset.photos_with(query), CLEAN, real=True)
    if query == "adversarial" and gallery is not None:
        return Material(enrolled, base, CLEAN, real=True)
    if query not in covers():
        known = [name for name in marked if name != plain] + list(covers())
        raise InputError(
            f"{dataset.name} has no queries {query!r}", todo=f"choose one of {', '.join(known)}"
        )
    if dataset.searched is not None:
        base = tuple(photo for photo in base if photo.source_id in dataset.searched)
    return Material(enrolled, base, query, real=False)


def several_only(given: Material) -> Material:
    """Keep the people with two photos or more (the list LFW-1680)."""
    counts: dict[str, int] = {}
    for photo in given.gallery:
        counts[photo.person] = counts.get(photo.person, 0) + 1

    def keep(photos: Sequence[Photo]) -> tuple[Photo, ...]:
        return tuple(photo for photo in photos if counts.get(photo.person, 0) > 1)

    return replace(given, gallery=keep(given.gallery), queries=keep(given.queries))


def subset(
    given: Material, protocol: str, *, people: int | None, faces: int | None, seed: int
) -> Material:
    """A smaller experiment: some people to search for, among so many faces.

    For ``one-mate`` the photos that protocol would choose; for the others all photos of the
    people, and one photo each of others until ``faces`` are enrolled. With ``people`` and without
    ``faces`` nobody else is enrolled: quick, and easier than a full gallery. Who is chosen depends
    on names and the seed alone, so experiments with other covers or networks pair up.

    Raises:
        InputError: there are not so many people or faces.
    """
    if people is None and faces is None and protocol != "one-mate":
        return given
    if protocol == "one-mate":
        chosen = one_mate(
            given.gallery,
            given.drawn_queries,
            people=people,
            size=people if faces is None else faces,
            seed=seed,
        )
        return replace(
            given,
            gallery=tuple(given.gallery[n] for n in chosen.gallery),
            queries=tuple(given.queries[n] for n in chosen.queries),
        )
    sources: dict[str, set[str]] = {}
    for photo in given.gallery:
        sources.setdefault(photo.person, set()).add(photo.source_id)
    able = sorted(
        {q.person for q in given.queries if sources.get(q.person, set()) - {q.source_id}},
        key=lambda name: _draw(seed, name),
    )
    if people is not None and not 1 <= people <= len(able):
        raise InputError(
            f"{people} people were asked for",
            why=f"{len(able):,} have a query and another photo",
        )
    wanted = set(able[:people])
    keep = np.array([photo.person in wanted for photo in given.gallery], dtype=np.bool_)
    if faces is not None:
        others: dict[str, int] = {}
        for n in sorted(range(len(keep)), key=lambda n: _draw(seed, given.gallery[n].source_id)):
            if not keep[n]:
                others.setdefault(given.gallery[n].person, n)
        fillers = list(others.values())[: max(0, faces - int(keep.sum()))]
        keep[np.array(fillers, dtype=np.int64)] = True
    return replace(
        given,
        gallery=tuple(p for p, kept in zip(given.gallery, keep, strict=True) if kept),
        queries=tuple(q for q in given.queries if q.person in wanted),
    )


def sample(given: Material, count: int | None, seed: int) -> Material:
    """Search with ``count`` queries only, drawn by the seed; everybody stays enrolled.

    A query is drawn by its photograph alone: experiments with other covers, networks, weightings
    or protocols pair up, and a smaller sample lies in a larger one.
    """
    if count is None or count >= len(given.queries):
        return given
    order = sorted(range(len(given.queries)), key=lambda n: _draw(seed, given.queries[n].source_id))
    return replace(given, queries=tuple(given.queries[n] for n in sorted(order[:count])))


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0subset\0{name}".encode(), digest_size=8).digest()
