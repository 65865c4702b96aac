"""The faces of one shard in memory, and how they follow the gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from faceflow.arrays import Bools, Float32, Int64, UInt8
from faceflow.gallery.rounded import RoundedEmbeddings
from faceflow.gallery.search import codes_of
from faceflow.gallery.stores.store import Revision, StoreView

Assignment = Callable[[Int64], Bools]
"""Which of n people, by person id, live on this shard."""

# Faces whose owners are read at a time, and whose embeddings and patches are.
_OWNERS = 65_536
_ROWS = 4096


def by_person(shard: int, shards: int) -> Assignment:
    """Everybody lives on one shard: ids count up, so that shards fill alike."""

    def lives_here(people: Int64) -> Bools:
        here: Bools = shard_of(people, shards) == shard
        return here

    return lives_here


def shard_of(people: Int64, shards: int) -> Int64:
    """The shard of each person."""
    return people % shards


class State(NamedTuple):
    """One state of a gallery, as a reader sees it.

    Attributes:
        revision: which faces there are and whose they are.
        token: changes with every change of whatever kind, a name or a setting.
    """

    revision: Revision
    token: str

    @classmethod
    def of(cls, view: StoreView) -> State:
        """The state that a view shows."""
        return cls(view.revision(), view.token())


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """The faces of a shard in one state of the gallery; n of them, by ascending id.

    Attributes:
        state: of the gallery.
        ids: (n,) face ids.
        people: (n,) whose they are, by person id.
        matrix: (n, D) float32 embeddings.
        patches: (n, P) uint8 as the gallery's codec packs them, where they are held; else (n, 0).
        codes: the embeddings in int8 where there are many.
        names: of the people by person id, for when the gallery cannot be asked. Somebody may be
            renamed and others enrolled between two looks: then the former name stays here.
    """

    state: State
    ids: Int64
    people: Int64
    matrix: Float32
    patches: UInt8
    codes: RoundedEmbeddings | None = None
    names: dict[int, str] = field(default_factory=dict)

    @classmethod
    def none(cls, embedding_size: int, payload_size: int) -> Faces:
        """Nobody yet."""
        empty = np.empty(0, np.int64)
        return cls(
            State(Revision(0, 0), ""),
            empty,
            empty,
            np.empty((0, embedding_size), np.float32),
            np.empty((0, payload_size), np.uint8),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays; names come on top."""
        arrays: list[np.ndarray[Any, Any]] = [self.ids, self.people, self.matrix, self.patches]
        if self.codes is not None:
            arrays += [self.codes.codes, self.codes.scales, self.codes.residues]
        return sum(array.nbytes for array in arrays)

    def rows(self, face_ids: Int64) -> Int64:
        """Where these faces are; all of them are here."""
        return np.searchsorted(self.ids, face_ids)

    def has(self, face_ids: Int64) -> Bools:
        """Which of these faces are here."""
        return np.isin(face_ids, self.ids)

    def until(self, last_face_id: int) -> Faces:
        """Without the faces that came later, sharing all arrays."""
        n = int(np.searchsorted(self.ids, last_face_id, side="right"))
        if n == len(self.ids):
            return self
        codes = self.codes and replace(self.codes, faces=n)
        return replace(
            self,
            ids=self.ids[:n],
            people=self.people[:n],
            matrix=self.matrix[:n],
            patches=self.patches[:n],
            codes=codes,
        )


class Follower:
    """Brings the faces of a shard to the state of a gallery.

    What :meth:`follow` gave stays valid and unchanged: arrays grow in place behind it, and are
    copied when somebody leaves. Not for several threads at once.
    """

    def __init__(self, embedding_size: int, payload_size: int, lives_here: Assignment) -> None:
        """``payload_size`` is 0 where patches stay in the gallery."""
        self._lives_here = lives_here
        self._payload_size = payload_size
        self._none = Faces.none(embedding_size, payload_size)
        self._room = _Room(self._none)

    def follow(self, view: StoreView, known: Faces | None) -> Faces:
        """The faces in the state that a view shows.

        Args:
            view: no older than ``known``.
            known: what this gave last; None reads everything.

        Raises:
            GalleryError: the gallery is damaged or cannot be reached; ``known`` stays valid.
        """
        state = State.of(view)
        if known is not None and known.state == state:
            return known
        faces = known or self._none
        if faces is not self._none and faces.state.revision.removals != state.revision.removals:
            faces = self._without_left(view, faces)
        if faces is self._none:
            faces = self._room.begin(self._none)
            faces = replace(faces, names={})
        elif known is not None and known.state.revision == state.revision:
            # A name or a setting has changed.
            faces = replace(faces, names=self._names(view, faces.ids, faces.people, {}))
        for ids, people in self._new(view, faces.state.revision.last_face_id):
            faces = self._room.append(faces, ids, people, *self._read(view, ids))
            self._names(view, ids, people, faces.names)
        return replace(faces, state=state, codes=codes_of(faces.matrix, faces.codes))

    def _without_left(self, view: StoreView, faces: Faces) -> Faces:
        """Drop who left, take in who came from other shards; none where that is not known."""
        removed = view.removed_since(faces.state.revision)
        moved = view.moved_since(faces.state.revision)
        if removed is None or moved is None:
            return self._none
        moved = moved[moved <= faces.state.revision.last_face_id]
        if not len(removed) and not len(moved):
            return faces
        keep = ~np.isin(faces.ids, np.concatenate([removed, moved]))
        owners = view.owners_of(moved.tolist())
        here = self._lives_here(owners)
        ids, people = moved[here], owners[here]
        matrix, patches = self._read(view, ids)
        all_ids = np.concatenate([faces.ids[keep], ids])
        order = np.argsort(all_ids, kind="stable")
        all_people = np.concatenate([faces.people[keep], people])[order]
        # Another dict, so that nothing is left of people who are gone.
        still = set(np.unique(all_people).tolist())
        names = {person: name for person, name in faces.names.items() if person in still}
        return self._room.begin(
            replace(
                faces,
                ids=all_ids[order],
                people=all_people,
                matrix=np.concatenate([faces.matrix[keep], matrix])[order],
                patches=np.concatenate([faces.patches[keep], patches])[order],
                codes=None,
                names=self._names(view, ids, people, names),
            )
        )

    def _new(self, view: StoreView, after: int) -> Iterator[tuple[Int64, Int64]]:
        """Ids of faces given since that live here, and their people, some at a time."""
        while True:
            ids, people = view.owners(after=after, limit=_OWNERS)
            if not len(ids):
                return
            here = self._lives_here(people)
            mine, theirs = ids[here], people[here]
            for start in range(0, len(mine), _ROWS):
                yield mine[start : start + _ROWS], theirs[start : start + _ROWS]
            after = int(ids[-1])

    def _read(self, view: StoreView, ids: Int64) -> tuple[Float32, UInt8]:
        wanted = ids.tolist()
        matrix = np.empty((0, self._none.matrix.shape[1]), np.float32)
        if wanted:
            matrix = view.embeddings_of(wanted)
        patches = np.empty((len(wanted), self._payload_size), np.uint8)
        if self._payload_size:
            for row, payload in zip(patches, view.payloads(wanted), strict=True):
                row[:] = np.frombuffer(payload, np.uint8)
        return matrix, patches

    @staticmethod
    def _names(view: StoreView, ids: Int64, people: Int64, names: dict[int, str]) -> dict[int, str]:
        """Adds the names of those of the faces' people who have none yet."""
        new, first = np.unique(people, return_index=True)
        at = [row for person, row in zip(new.tolist(), first, strict=True) if person not in names]
        for start in range(0, len(at), _ROWS):
            rows = at[start : start + _ROWS]
            found = view.names(ids[rows].tolist())
            names.update(zip(people[rows].tolist(), found, strict=True))
        return names


class _Room:
    """Arrays with room behind the faces that are in use."""

    def __init__(self, faces: Faces) -> None:
        self._arrays: tuple[np.ndarray[Any, Any], ...] = ()
        self.begin(faces)

    def begin(self, faces: Faces) -> Faces:
        """From now on the arrays are these."""
        self._arrays = (faces.ids, faces.people, faces.matrix, faces.patches)
        return faces

    def append(
        self, faces: Faces, ids: Int64, people: Int64, matrix: Float32, patches: UInt8
    ) -> Faces:
        """More faces behind the last ones that this gave."""
        used, end = len(faces), len(faces) + len(ids)
        if end > len(self._arrays[0]):
            # An eighth more than needed: few copies while growing, little memory unused.
            self._arrays = tuple(_grown(array, used, end + end // 8) for array in self._arrays)
        for array, new in zip(self._arrays, (ids, people, matrix, patches), strict=True):
            array[used:end] = new
        a, b, c, d = (array[:end] for array in self._arrays)
        return replace(faces, ids=a, people=b, matrix=c, patches=d)


def _grown(array: np.ndarray[Any, Any], used: int, rows: int) -> np.ndarray[Any, Any]:
    larger = np.empty((rows, *array.shape[1:]), array.dtype)
    larger[:used] = array[:used]
    return larger
