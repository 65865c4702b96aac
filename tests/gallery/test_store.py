"""A gallery works on any store that keeps the protocol's promises."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from faceflow.arrays import Float32, Int64
from faceflow.errors import GalleryError
from faceflow.gallery import Enrolment, Gallery, PersonInfo
from faceflow.gallery.identity import GalleryHeader
from faceflow.gallery.records import Change, FaceRecord
from faceflow.gallery.stores.store import Added, Revision, Store, StoredFace, StoreView, Vectors


class MemoryStore:
    """The shortest store there is; keeps nothing when the process ends."""

    def __init__(self, header: GalleryHeader) -> None:
        self.path = Path("memory")
        self.header = header
        self._faces: dict[int, StoredFace] = {}
        self._last = 0
        self._removals = 0
        self._settings: dict[str, Any] = {}

    def add(self, faces: Sequence[StoredFace]) -> list[Added]:
        results = []
        for face in faces:
            owners = self.people_with(face.record.content_hash)
            if face.record.person in owners:
                results.append(Added(None, tuple(o for o in owners if o != face.record.person)))
                continue
            self._last = face.record.face_id or self._last + 1
            record = replace(face.record, face_id=self._last)
            self._faces[self._last] = replace(face, record=record)
            results.append(Added(self._last, tuple(owners)))
        return results

    def remove_faces(self, face_ids: Sequence[int]) -> Change:
        for face_id in face_ids:
            del self._faces[face_id]
        self._removals += len(face_ids)
        return Change(len(face_ids))

    def remove_person(self, person: str) -> Change:
        return self.remove_faces([r.face_id for r in self.records_of(person)])

    def rename(self, old: str, new: str) -> Change:
        records = self.records_of(old)
        for record in records:
            face = self._faces[record.face_id]
            self._faces[record.face_id] = replace(face, record=replace(record, person=new))
        return Change(len(records))

    def merge(self, source: str, target: str) -> Change:
        return self.rename(source, target)

    def move_faces(self, face_ids: Sequence[int], person: str) -> Change:
        for face_id in face_ids:
            face = self._faces[face_id]
            self._faces[face_id] = replace(face, record=replace(face.record, person=person))
        return Change(len(face_ids))

    def token(self) -> str:
        digest = hashlib.sha256(repr((self._removals, self.records_of(None))).encode())
        return digest.hexdigest()

    def revision(self) -> Revision:
        return Revision(self._last, self._removals)

    def face_ids(self) -> Int64:
        return np.array(sorted(self._faces), dtype=np.int64)

    def embeddings(self, after: int) -> Iterator[tuple[Int64, Float32]]:
        ids = [i for i in sorted(self._faces) if i > after]
        if ids:
            yield np.array(ids), np.stack([self._faces[i].embedding for i in ids])

    def vectors(self, face_ids: Sequence[int]) -> Vectors:
        faces = [self._faces[i] for i in face_ids]
        return Vectors(np.stack([f.embedding for f in faces]), [f.payload for f in faces])

    def records(self, face_ids: Sequence[int]) -> list[FaceRecord]:
        return [self._faces[i].record for i in face_ids]

    def records_of(
        self, person: str | None, *, after: int = 0, limit: int | None = None
    ) -> list[FaceRecord]:
        records = self.records([i for i in self.face_ids().tolist() if i > after])
        return [r for r in records if person is None or r.person == person][:limit]

    def names(self, face_ids: Sequence[int]) -> list[str]:
        return [r.person for r in self.records(face_ids)]

    def people_with(self, content_hash: str) -> list[str]:
        return sorted(r.person for r in self.records_of(None) if r.content_hash == content_hash)

    def thumbnails(self, face_ids: Sequence[int]) -> list[bytes | None]:
        return [self._faces[i].thumbnail for i in face_ids]

    def people(self, *, after: str | None = None, limit: int | None = None) -> list[PersonInfo]:
        names = sorted({r.person for r in self.records_of(None) if r.person > (after or "")})
        return [self.person(name) for name in names[:limit]]

    def person(self, who: str | int) -> PersonInfo:
        for name in {r.person for r in self.records_of(None)}:
            records = self.records_of(name)
            found = PersonInfo(name, len(records), records[0].face_id)
            if who in (found.name, found.person_id):
                return found
        raise GalleryError("no such person")

    def count(self) -> int:
        return len(self._faces)

    def settings(self) -> dict[str, Any]:
        return dict(self._settings)

    def update_settings(self, values: Mapping[str, Any]) -> None:
        self._settings |= values

    def size_bytes(self) -> int:
        return sum(len(f.payload) + f.embedding.nbytes for f in self._faces.values())

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[StoreView]:
        yield self

    def check(self) -> None:
        return

    def close(self) -> None:
        return


def test_both_stores_answer_alike(
    gallery: Gallery, enrolments: Callable[..., list[Enrolment]], tmp_path: Path
) -> None:
    store: Store = MemoryStore(gallery.header)
    other = Gallery(store)
    items = enrolments(40, crops=True)

    def both(use: Callable[[Gallery], object]) -> None:
        assert use(gallery) == use(other)

    def found(of: Gallery) -> object:
        shortlist = of.search(items[3].features, k=50)
        return shortlist.face_ids.tolist(), np.nan_to_num(shortlist.cosine, nan=-9).tolist()

    both(lambda g: g.enroll(items[:30], batch=7))
    both(found)
    both(lambda g: g.enroll(items))
    both(lambda g: g.remove_face(5))
    both(lambda g: g.remove_person("Person 2"))
    both(lambda g: g.rename("Person 1", "Ada"))
    both(found)
    both(lambda g: [(p.name, p.faces) for p in g.people()])
    both(lambda g: g.person_of([1, 2, 7]))
    both(lambda g: g.people_with(items[0].content_hash))
    both(lambda g: g.features([2, 1]).patches.tobytes())
    both(lambda g: g.quantised([2, 1]).values.tobytes())
    both(lambda g: g.thumbnail(1))
    both(lambda g: len(g))
    other.export(tmp_path / "export")
    with Gallery.import_from(tmp_path / "export", tmp_path / "again.faceflow") as again:
        assert found(again) == found(gallery)
