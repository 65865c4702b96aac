"""Protocols: who is enrolled, who is searched, and which comparisons do not count.

    published   the paper's own: an occluded query is compared with the very photo it was made
                from, and a query that is a gallery photo counts itself in its R. For parity.
    no-leak     the default: the query's photograph and its near-duplicates are excluded,
                whoever they are filed under, and a query never counts itself.
    one-mate    one query and one other photo per person among distractors, as when a single
                photo of everybody is enrolled.
    open-set    some people are not enrolled at all; their queries have nobody to find.

All but ``published`` exclude the query's photograph. Choices are seeded and made by photograph
(its source id), not by position: two query lists of the same photographs, say clean and
masked, get the same people, queries and mates, so that their results can be paired.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from faceflow.arrays import Bools, Int64
from faceflow.errors import InputError
from faceflow.evaluation.data import Photo

Links = Iterable[tuple[str, str]]
"""Pairs of source ids that show one photograph; see ``NearDuplicates.links``."""


@dataclass(frozen=True, slots=True, eq=False)
class Protocol:
    """Which gallery faces each query is compared with, and what counts as right.

    Rows are positions in the gallery and query sequences the protocol was made from.

    Attributes:
        name: published, no-leak, one-mate or open-set.
        gallery: (G,) rows of the enrolled faces, ascending.
        queries: (Q,) rows of the queries.
        gallery_people: (G,) whose face each is: positions in ``people``.
        query_people: (Q,) likewise.
        people: the names.
        excluded_start: (Q + 1,) query q is not compared with
            ``excluded[excluded_start[q]:excluded_start[q + 1]]``.
        excluded: (E,) gallery rows, ascending within a query.
        mates: (Q,) how many faces of its person a query can find.
        relevant: (Q,) R, how many the metrics count; equal to ``mates`` except in ``published``.
        same_photo: excluded comparisons of a query with its own photograph.
        near_duplicates: excluded comparisons with a near-duplicate of it.
        settings: the options it was made with.
    """

    name: str
    gallery: Int64
    queries: Int64
    gallery_people: Int64
    query_people: Int64
    people: tuple[str, ...]
    excluded_start: Int64
    excluded: Int64
    mates: Int64
    relevant: Int64
    same_photo: int
    near_duplicates: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def mated(self) -> Bools:
        """(Q,) whether there is anybody to find."""
        return self.mates > 0

    def excluded_rows(self, query: int) -> Int64:
        """Gallery rows that query number ``query`` is not compared with."""
        return self.excluded[self.excluded_start[query] : self.excluded_start[query + 1]]

    def mate_rows(self, query: int) -> Int64:
        """Gallery rows of the faces that query number ``query`` should find."""
        rows = self.gallery[self.gallery_people == self.query_people[query]]
        return np.setdiff1d(rows, self.excluded_rows(query), assume_unique=True)

    def summary(self) -> str:
        """How many queries, faces and people there are, and what was excluded."""
        lonely = int((~self.mated).sum())
        return (
            f"{self.name}: {len(self):,} queries of {len(np.unique(self.query_people)):,} people "
            f"against {len(self.gallery):,} faces of {len(np.unique(self.gallery_people)):,}; "
            f"excluded comparisons: {self.same_photo:,} with the query's own photograph, "
            f"{self.near_duplicates:,} with a near-duplicate; "
            f"{lonely:,} queries have nobody to find"
        )


def published(gallery: Sequence[Photo], queries: Sequence[Photo]) -> Protocol:
    """The protocol of the paper's code, ``test_face.py``: leaks, and is here for parity.

    Only a query that is itself a gallery picture (the same file) is kept from finding itself,
    and it still counts in R, so perfect retrieval of a person with two photos scores an
    R-precision of 0.5.

    Raises:
        InputError: no gallery photo or no query, or a photo of nobody known.
    """
    sides = _Sides(gallery, queries)
    pictures = {photo.key: n for n, photo in enumerate(gallery)}
    own = [pictures.get(photo.key) for photo in queries]
    excluded = [np.array([] if n is None else [n], dtype=np.int64) for n in own]
    everybody = np.arange(len(gallery))
    protocol = sides.protocol("published", everybody, np.arange(len(queries)), excluded, {})
    itself = np.array([n is not None for n in own])
    return replace(protocol, relevant=protocol.mates + itself)


def no_leak(
    gallery: Sequence[Photo], queries: Sequence[Photo], *, duplicates: Links = ()
) -> Protocol:
    """Every query against every face but its own photograph and that one's near-duplicates.

    A query may be left with nobody to find; ``Protocol.mated`` tells, and closed-set metrics
    are for the others.

    Raises:
        InputError: no gallery photo or no query, or a photo of nobody known.
    """
    sides = _Sides(gallery, queries, duplicates)
    rows = np.arange(len(gallery))
    chosen = np.arange(len(queries))
    return sides.protocol("no-leak", rows, chosen, sides.leaks(rows, chosen), {})


def one_mate(
    gallery: Sequence[Photo],
    queries: Sequence[Photo],
    *,
    people: int | None = None,
    size: int | None = None,
    seed: int = 0,
    duplicates: Links = (),
) -> Protocol:
    """One query and one mate per person, among distractors of other people.

    Args:
        gallery: photos to take mates and distractors from.
        queries: photos to take queries from.
        people: how many people to search for; None takes all with a query and another photo.
        size: faces in the gallery, mates included; None takes one face of every person.
            Distractors are people who are not searched for, one face each as long as there
            are such people, then second faces, and so on.
        seed: of every choice.
        duplicates: links between source ids that are one photograph.

    Raises:
        InputError: nobody, or fewer people than asked for, has a query and another photo; or
            there are fewer photos than ``size``.
    """
    sides = _Sides(gallery, queries, duplicates)
    found = sides.query_and_mate(seed)
    wanted = sorted(found, key=lambda person: _draw(seed, "person", sides.people[person]))
    if people is not None and not 1 <= people <= len(wanted):
        raise InputError(
            f"{people} people were asked for",
            why=f"{len(wanted):,} have a query and another photo",
        )
    wanted = wanted[:people]
    if not wanted:
        raise InputError("nobody has both a query and another photo in the gallery")
    mates = [found[person][1] for person in wanted]
    others = sides.distractors(set(wanted), seed)
    total = len(mates) + len(others[0]) if size is None else size
    room = total - len(mates)
    flat = [row for layer in others for row in layer]
    if not 0 <= room <= len(flat):
        raise InputError(
            f"a gallery of {total:,} faces was asked for",
            why=f"{len(mates):,} mates and at most {len(flat):,} distractors make it up",
        )
    rows = np.sort(np.array(mates + flat[:room], dtype=np.int64))
    chosen = np.sort(np.array([found[person][0] for person in wanted], dtype=np.int64))
    settings = {"people": people, "size": size, "seed": seed}
    return sides.protocol("one-mate", rows, chosen, sides.leaks(rows, chosen), settings)


def open_set(
    gallery: Sequence[Photo],
    queries: Sequence[Photo],
    *,
    unenrolled: float = 0.5,
    seed: int = 0,
    duplicates: Links = (),
) -> Protocol:
    """Some people are not enrolled; their queries, and those whose person has no other photo
    left, are non-mated searches.

    Args:
        gallery: photos to enroll.
        queries: photos to search with.
        unenrolled: share of the queries' people to keep out of the gallery, above 0, below 1.
        seed: of the choice.
        duplicates: links between source ids that are one photograph.

    Raises:
        InputError: the share is out of range, or leaves nobody enrolled.
    """
    if not 0 < unenrolled < 1:
        raise InputError(f"unenrolled is {unenrolled}", why="it is a share between 0 and 1")
    sides = _Sides(gallery, queries, duplicates)
    searched = sorted(
        np.unique(sides.query_people), key=lambda n: _draw(seed, "enrolled", sides.people[n])
    )
    absent = searched[: round(unenrolled * len(searched))]
    rows = np.flatnonzero(~np.isin(sides.gallery_people, absent))
    if not len(rows) or not absent:
        raise InputError(
            f"leaving out {unenrolled:.0%} of {len(searched)} people makes no open set",
            why="somebody must be enrolled and somebody not",
        )
    chosen = np.arange(len(queries))
    settings = {"unenrolled": unenrolled, "seed": seed}
    return sides.protocol("open-set", rows, chosen, sides.leaks(rows, chosen), settings)


PROTOCOLS: Mapping[str, Callable[..., Protocol]] = {
    "published": published,
    "no-leak": no_leak,
    "one-mate": one_mate,
    "open-set": open_set,
}


class _Sides:
    """Gallery and queries as numbers: people, and photographs (groups of linked sources)."""

    def __init__(
        self, gallery: Sequence[Photo], queries: Sequence[Photo], links: Links = ()
    ) -> None:
        both = [*gallery, *queries]
        if not len(gallery) or not len(queries):
            raise InputError(f"{len(gallery)} gallery photos and {len(queries)} queries")
        unknown = next((photo for photo in both if not photo.person), None)
        if unknown is not None:
            raise InputError(
                f"it is not known who {unknown.key} shows",
                why="identification needs a person for every photo",
            )
        self.people = tuple(sorted({photo.person for photo in both}))
        code = {person: n for n, person in enumerate(self.people)}
        people = np.array([code[photo.person] for photo in both], dtype=np.int64)
        self.sources = [photo.source_id for photo in both]
        group = _groups(self.sources, links)
        photographs = np.array([group[source] for source in self.sources], dtype=np.int64)
        size = len(gallery)
        self.gallery_people, self.query_people = people[:size], people[size:]
        self.gallery_photographs, self.query_photographs = photographs[:size], photographs[size:]
        self.gallery_sources, self.query_sources = self.sources[:size], self.sources[size:]

    def leaks(self, rows: Int64, chosen: Int64) -> list[Int64]:
        """For each chosen query the enrolled rows that show its photograph."""
        order = rows[np.argsort(self.gallery_photographs[rows], kind="stable")]
        sorted_groups = self.gallery_photographs[order]
        wanted = self.query_photographs[chosen]
        low = np.searchsorted(sorted_groups, wanted, side="left")
        high = np.searchsorted(sorted_groups, wanted, side="right")
        return [np.sort(order[a:b]) for a, b in zip(low, high, strict=True)]

    def query_and_mate(self, seed: int) -> dict[int, tuple[int, int]]:
        """Person -> a query and another photograph of theirs, where there are both."""
        faces = _by_person(self.gallery_people)
        found: dict[int, tuple[int, int]] = {}
        for person, rows in _by_person(self.query_people).items():
            ordered = sorted(rows, key=lambda n: _draw(seed, "query", self.query_sources[n]))
            mates = sorted(
                faces.get(person, ()), key=lambda n: _draw(seed, "mate", self.gallery_sources[n])
            )
            for query in ordered:
                photograph = self.query_photographs[query]
                mate = next((n for n in mates if self.gallery_photographs[n] != photograph), None)
                if mate is not None:
                    found[person] = query, mate
                    break
        return found

    def distractors(self, wanted: set[int], seed: int) -> list[list[int]]:
        """Faces of people not wanted, in layers: everybody's first, everybody's second, ..."""
        layers: list[list[tuple[bytes, int]]] = [[]]
        for person, rows in _by_person(self.gallery_people).items():
            if person in wanted:
                continue
            drawn = sorted((_draw(seed, "face", self.gallery_sources[n]), n) for n in rows)
            for depth, face in enumerate(drawn):
                if depth == len(layers):
                    layers.append([])
                layers[depth].append(face)
        return [[row for _, row in sorted(layer)] for layer in layers]

    def protocol(
        self,
        name: str,
        rows: Int64,
        chosen: Int64,
        excluded: Sequence[Int64],
        settings: Mapping[str, Any],
    ) -> Protocol:
        """Put the parts together and count mates and exclusions."""
        start = np.concatenate([[0], np.cumsum([len(some) for some in excluded])])
        flat = np.concatenate([*excluded, np.empty(0, dtype=np.int64)])
        query_people = self.query_people[chosen]
        faces = np.bincount(self.gallery_people[rows], minlength=len(self.people))
        of_query = np.repeat(np.arange(len(chosen)), np.diff(start))
        own = self.gallery_people[flat] == query_people[of_query]
        mates = faces[query_people] - np.bincount(of_query[own], minlength=len(chosen))
        same = sum(
            self.gallery_sources[face] == self.query_sources[chosen[query]]
            for face, query in zip(flat, of_query, strict=True)
        )
        return Protocol(
            name=name,
            gallery=rows,
            queries=chosen,
            gallery_people=self.gallery_people[rows],
            query_people=query_people,
            people=self.people,
            excluded_start=start.astype(np.int64),
            excluded=flat,
            mates=mates,
            relevant=mates,
            same_photo=same,
            near_duplicates=len(flat) - same,
            settings=settings,
        )


def _by_person(people: Int64) -> dict[int, list[int]]:
    rows: dict[int, list[int]] = {}
    for row, person in enumerate(people.tolist()):
        rows.setdefault(person, []).append(row)
    return rows


def _draw(seed: int, purpose: str, name: str) -> bytes:
    """A pseudo-random key that depends on the name alone, whatever else is in the list."""
    return hashlib.blake2b(f"{seed}\0{purpose}\0{name}".encode(), digest_size=8).digest()


def _groups(sources: Iterable[str], links: Links) -> dict[str, int]:
    """Source -> number of its photograph, linked sources sharing one (union-find)."""
    parent = {source: source for source in sources}

    def root(source: str) -> str:
        while parent[source] != source:
            parent[source] = parent[parent[source]]
            source = parent[source]
        return source

    for a, b in links:
        if a in parent and b in parent:  # a link may concern photos not used here
            parent[root(a)] = root(b)
    numbers: dict[str, int] = {}
    return {source: numbers.setdefault(root(source), len(numbers)) for source in parent}
