"""What runs in the processes of a bulk enrolment: photos in, faces or reasons out.

What goes between processes is pickled by Ray, whatever it is; a cluster runs the code of everybody
who reaches it (see :mod:`.joining`). Photos and lists from strangers are read by the same code as
everywhere.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.analyzer import FaceAnalyzer, NamedPhoto, WholeImage
from faceflow.cluster.bulk_sources import Opened, opened
from faceflow.errors import FaceflowError
from faceflow.faces.images import content_hash, load_image
from faceflow.gallery import Gallery
from faceflow.gallery.enrolment import Looked, SelectOne, looked_at

MakeAnalyzer = Callable[[], FaceAnalyzer]
Pair = tuple[str, str]
"""The sha256 of a photo, and a person's name."""


class Gate:
    """Says which photos a gallery has already; it runs beside the enrolment that writes it.

    A gallery file is on one machine, and the workers on many.
    """

    def __init__(self, location: str) -> None:
        self._gallery = Gallery.open(location, readonly=True)

    def known(self, pairs: Sequence[Pair]) -> list[bool]:
        """Of each pair, whether the person has that photo."""
        with self._gallery.snapshot() as view:
            return [person in view.people_with(digest) for digest, person in pairs]


class Looker:
    """Looks at the photos of tasks; one in each process, with a network and a detector."""

    def __init__(
        self,
        make: MakeAnalyzer,
        known: Callable[[Sequence[Pair]], list[bool]],
        select: SelectOne,
        whole_image: WholeImage,
    ) -> None:
        self._make = make
        self._known = known
        self._select: SelectOne = select
        self._whole_image: WholeImage = whole_image
        self._analyzer: FaceAnalyzer | None = None

    def __call__(self, batch: dict[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
        """Pickled tasks in; out come lists of what was seen, pickled, or one error that ends all.

        Ray would start a worker anew for an error, again and again, where every photo has it.
        """
        for task in batch["task"]:
            try:
                for some in opened(pickle.loads(task)):
                    yield _column(self.look(some))
            except FaceflowError as error:
                yield _column(error)

    def look(self, photos: list[Opened]) -> list[Looked]:
        """Some photos, in their order."""
        hashes = [
            "" if isinstance(photo.content, FaceflowError) else content_hash(photo.content)
            for photo in photos
        ]
        asked = [
            (digest, photo.person)
            for digest, photo in zip(hashes, photos, strict=True)
            if digest and photo.person is not None
        ]
        known = dict(zip(asked, self._known(asked) if asked else [], strict=True))
        new = [
            photo
            for digest, photo in zip(hashes, photos, strict=True)
            if digest and photo.person is not None and not known[digest, photo.person]
        ]
        answers = {}
        if new:
            if self._analyzer is None:
                self._analyzer = self._make()
            found = self._analyzer.analyze_each(
                new, _decoded, select=self._select, whole_image=self._whole_image
            )
            answers = {id(photo): answer for photo, answer in found}
        seen = []
        for photo, digest in zip(photos, hashes, strict=True):
            if isinstance(photo.content, FaceflowError):
                seen.append(Looked(photo.place, photo.person, digest, photo.content))
            elif id(photo) in answers:
                assert photo.person is not None
                seen.append(looked_at(photo.place, photo.person, digest, answers[id(photo)]))
            else:
                seen.append(Looked(photo.place, photo.person, digest, None))
        return seen


def _decoded(photo: Opened) -> NamedPhoto:
    assert isinstance(photo.content, bytes)
    return NamedPhoto(load_image(photo.content, name=photo.place), photo.place)


def _column(value: object) -> dict[str, NDArray[Any]]:
    column = np.empty(1, object)
    column[0] = pickle.dumps(value)
    return {"seen": column}


def seen_in(value: bytes) -> list[Looked]:
    """What a worker saw of some photos; raises the error that ended it."""
    found = pickle.loads(value)
    if isinstance(found, FaceflowError):
        raise found
    seen: list[Looked] = found
    return seen
