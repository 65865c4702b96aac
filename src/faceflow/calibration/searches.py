"""Who is searched where: the user's gallery, or one made of the photos themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from faceflow.arrays import Bools, Float32, Int64
from faceflow.calibration.evidence import Evidence, Kind, Setting, collect
from faceflow.calibration.leaks import Leaks, enrolled_photos
from faceflow.calibration.material import CLEAN, Material
from faceflow.errors import InputError
from faceflow.evaluation.data import Photo
from faceflow.evaluation.data.protocols import Protocol, no_leak
from faceflow.evaluation.faces import Features
from faceflow.evaluation.ranking import rank
from faceflow.features import FaceFeatures
from faceflow.gallery import Gallery
from faceflow.matching.covers import PatchModel
from faceflow.matching.options import MatchOptions

Progress = Callable[[int, int], None]
_FACES = 512  # enrolled faces decoded at a time
_UNENROLLED = 0.5  # share of people that a gallery made of the photos leaves out


@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """Queries, and the gallery they are searched in.

    Attributes:
        gallery: one photo per enrolled face.
        gallery_features: their features.
        queries: one photo per query; ``condition`` is the stratum.
        query_features: their features.
    """

    gallery: tuple[Photo, ...]
    gallery_features: Features
    queries: tuple[Photo, ...]
    query_features: FaceFeatures

    @property
    def enrolled(self) -> int:
        """How many people the gallery holds."""
        return len({photo.person for photo in self.gallery})

    def protocol(self, leaks: Leaks) -> Protocol:
        """Every query against every face but its own photograph."""
        return no_leak(self.gallery, self.queries, duplicates=leaks.links)

    def without_the_enrolled(self, leaks: Leaks) -> Searches:
        """Only queries of people who are not enrolled, or of whom another photograph is.

        The rest would be searches for people who are not enrolled in name only: their photos
        were good enough to be enrolled, and those of strangers may not be.

        Raises:
            InputError: no query is left.
        """
        protocol = self.protocol(leaks)
        stranger = ~np.isin(protocol.query_people, protocol.gallery_people)
        rows = np.flatnonzero(protocol.mated | stranger)
        if not len(rows):
            raise InputError(
                "every photo to search with is the only one enrolled of its person",
                todo="give other photos of them, and photos of people who are not enrolled",
            )
        return Searches(
            self.gallery,
            self.gallery_features,
            tuple(self.queries[n] for n in rows),
            self.query_features[rows],
        )


class EnrolledFeatures:
    """A gallery's features by row, patches read when asked for."""

    def __init__(self, gallery: Gallery, face_ids: Sequence[int], *, landmarks: bool) -> None:
        self._gallery = gallery
        self._landmarks = landmarks
        self._ids = np.asarray(face_ids, dtype=np.int64)

    @cached_property
    def embedding(self) -> Float32:
        """(N, D) all embeddings."""
        parts = [
            self._gallery.embeddings(self._ids[start : start + _FACES])
            for start in range(0, len(self._ids), _FACES)
        ]
        return np.concatenate(parts)

    @property
    def digest(self) -> str | None:
        """What made the gallery's features."""
        return self._gallery.features_digest

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: Int64) -> FaceFeatures:
        return self._gallery.features(self._ids[index], landmarks=self._landmarks)


def in_gallery(
    material: Material,
    leaks: Leaks,
    gallery: Gallery,
    strata: Sequence[str],
    *,
    landmarks: bool = False,
) -> Searches:
    """Search for every photo in the user's gallery; a weighting may need its landmarks."""
    records = gallery.faces()
    if not records:
        raise InputError(
            "the gallery is empty", todo="enroll people first, or name a network instead of it"
        )
    rows = _usable(material, leaks, strata)
    return Searches(
        enrolled_photos(records),
        EnrolledFeatures(gallery, [record.face_id for record in records], landmarks=landmarks),
        tuple(material.photos[n] for n in rows),
        material.features[rows],
    )


def among_themselves(
    material: Material, leaks: Leaks, strata: Sequence[str], *, seed: int = 0
) -> Searches:
    """Enroll one photo as it is of about half of the people, and search for the others.

    Who has one photo only cannot be enrolled and found, so they stay out first; the rest of the
    half that stays out is drawn.

    Raises:
        InputError: fewer than two people with two photographs.
    """
    usable = set(_usable(material, leaks, (CLEAN, *strata)))
    clean: dict[str, list[int]] = {}
    for n, photo in enumerate(material.photos):
        if n in usable and photo.condition == CLEAN:
            clean.setdefault(photo.person, []).append(n)
    people = sorted({material.photos[n].person for n in usable})
    sources = {person: set[str]() for person in people}
    for n in usable:
        sources[material.photos[n].person].add(material.photos[n].source_id)
    able = [person for person in people if person in clean and len(sources[person]) > 1]
    if len(able) < 2:
        raise InputError(
            f"{len(able)} of {len(people)} people have two photographs",
            why="one is enrolled and another searched for",
            todo="give more photos of each person, or a gallery",
        )
    absent = max(0, round(_UNENROLLED * len(people)) - (len(people) - len(able)))
    drawn = sorted(able, key=lambda person: _draw(seed, "enrolled", person))
    mates = [
        min(clean[person], key=lambda n: _draw(seed, "mate", material.photos[n].source_id))
        for person in sorted(drawn[min(absent, len(able) - 1) :])
    ]
    taken = {material.photos[n].source_id for n in mates}
    rows = [
        n
        for n in sorted(usable)
        if material.photos[n].condition in strata and material.photos[n].source_id not in taken
    ]
    return Searches(
        tuple(material.photos[n] for n in mates),
        material.features[mates],
        tuple(material.photos[n] for n in rows),
        material.features[rows],
    )


def collect_evidence(
    searches: Searches,
    leaks: Leaks,
    settings: Sequence[Setting],
    strata: Sequence[str],
    *,
    model: PatchModel | None = None,
    progress: Progress | None = None,
) -> Evidence:
    """Run all searches, with one transport run per kind of patches and weighting."""
    protocol = searches.protocol(leaks)
    runs = transport_runs(settings, model)
    total = len(runs) * len(protocol)
    rankings = {}
    for n, (kind, options) in enumerate(runs.items()):
        before = n * len(protocol)

        def advance(done: int, _: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        rankings[kind] = rank(
            searches.query_features,
            searches.gallery_features,
            protocol,
            options,
            progress=advance,
        )
    place = {name: n for n, name in enumerate(strata)}
    return collect(
        rankings,
        settings,
        mated=protocol.mated,
        person=protocol.query_people,
        stratum=np.array([place[photo.condition] for photo in searches.queries], dtype=np.int64),
        strata=strata,
    )


def transport_runs(
    settings: Sequence[Setting], model: PatchModel | None
) -> dict[Kind, MatchOptions]:
    """The options that each kind of transport has to be run with, once.

    Raises:
        InputError: an unknown weighting, or one that needs a patch model where there is none.
    """
    longest = max(setting.k for setting in settings)
    runs = {}
    for kind in dict.fromkeys(setting.kind for setting in settings if setting.alpha):
        patches, weighting = kind
        # Any share above 0 has a term computed; cosine, EMD and the visible faces' cosine are
        # kept apart.
        share = max(setting.visible_share for setting in settings if setting.kind == kind)
        runs[kind] = MatchOptions(
            1.0, weighting, longest, patches=patches, visible_share=share, model=model
        )
        runs[kind].require_model()
    return runs


def photographs(queries: Sequence[Photo], chosen: Bools | None = None) -> int:
    """How many photographs lie behind the queries (the chosen ones), all covers counting once."""
    taken = [True] * len(queries) if chosen is None else chosen.tolist()
    return len({photo.source_id for photo, kept in zip(queries, taken, strict=True) if kept})


def _usable(material: Material, leaks: Leaks, strata: Sequence[str]) -> list[int]:
    refused = leaks.repeated | leaks.misfiled
    rows = [
        n
        for n, photo in enumerate(material.photos)
        if photo.condition in strata and photo.source_id not in refused
    ]
    if not rows:
        raise InputError("no photo is left to search with", todo="give other photos")
    return rows


def _draw(seed: int, purpose: str, name: str) -> bytes:
    """A pseudo-random key that depends on the name alone, whatever else is in the list."""
    return hashlib.blake2b(f"{seed}\0{purpose}\0{name}".encode(), digest_size=8).digest()
