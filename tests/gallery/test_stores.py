"""Every store keeps the protocol's promises: one suite, run against each of them.

The shortest store there is, a dictionary in memory, says what the right answers are.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceflow.arrays import Float32, Int64, unit
from faceflow.errors import FaceflowError, GalleryError, InputError
from faceflow.gallery import Enrolment, Gallery, PersonInfo
from faceflow.gallery.identity import GalleryHeader, make_header
from faceflow.gallery.person_names import by_name
from faceflow.gallery.records import Change, FaceRecord
from faceflow.gallery.stores.opening import create_store, new_store, open_store, store_exists
from faceflow.gallery.stores.store import Added, Revision, Store, StoredFace, StoreView

Start = Callable[..., subprocess.Popen[str]]
HEADER = make_header(
    network_name="testnet",
    digest="d1" * 32,
    embedding_size=32,
    grid=(4, 4),
    channels=16,
    codec="int8",
    thumbnails=True,
)
PAYLOAD = 16 * (16 + 4) + 16 * 4


class SqlitePlace:
    """A gallery file, and what can be done to it from outside."""

    damage: Mapping[str, str] = {
        "embedding": "UPDATE embedding_block SET content = zeroblob(length(content))",
        "patches": "UPDATE face SET patches = zeroblob(length(patches)) WHERE face_id = 3",
        "thumbnail": "UPDATE face SET thumbnail = x'00' WHERE face_id = 3",
        "record": "UPDATE face SET record = x'00' WHERE face_id = 3",
        "name": "UPDATE person_name SET name = 'Eve' WHERE person_id = 2",
        "owner": "UPDATE face SET person_id = 1 WHERE face_id = 3",
        "photo": "DELETE FROM photo WHERE face_id = 3",
        "person": "INSERT INTO person VALUES(99)",
        "face": "DELETE FROM face WHERE face_id = 3",
        "setting": "UPDATE setting SET content = x'00'",
        "state": "DELETE FROM state",
        "header": "UPDATE header SET content = x'00'",
    }

    def __init__(self, folder: Path) -> None:
        self.location = str(folder / "people.faceflow")

    def run(self, statement: str) -> None:
        connection = sqlite3.connect(self.location, isolation_level=None)
        assert connection.execute(statement).rowcount
        connection.close()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Another program is in the midst of a change."""
        connection = sqlite3.connect(self.location, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
        connection.close()

    def holds(self, *pieces: bytes) -> list[bytes]:
        """Those pieces that are in a file of the gallery."""
        path = Path(self.location)
        content = b"".join(p.read_bytes() for p in path.parent.glob(f"{path.name}*"))
        return [piece for piece in pieces if piece in content]


class PostgresPlace:
    """A schema of a server, and what can be done to it from outside."""

    damage: Mapping[str, str] = {
        "embedding": "UPDATE embedding SET content = '\\x00' WHERE face_id = 3",
        "patches": "UPDATE payload SET patches = '\\x00' WHERE face_id = 3",
        "thumbnail": "UPDATE payload SET thumbnail = '\\x00' WHERE face_id = 3",
        "record": "UPDATE face SET record = '\\x00' WHERE face_id = 3",
        "name": "UPDATE person SET name = 'Eve' WHERE person_id = 2",
        "owner": "UPDATE face SET person_id = 1 WHERE face_id = 3",
        "photo": "DELETE FROM photo WHERE face_id = 3",
        "person": "INSERT INTO person VALUES(99, 'Q', 'q', 0)",
        "face": "DELETE FROM face WHERE face_id = 3",
        "setting": "UPDATE setting SET content = '\\x00'",
        "state": "DELETE FROM state",
        "header": "UPDATE header SET content = '\\x00'",
        "order": "UPDATE person SET fold = 'z' WHERE person_id = 2",
        "vector": "DELETE FROM embedding WHERE face_id = 3",
        "stray": "UPDATE payload SET face_id = 99 WHERE face_id = 3",
    }

    def __init__(self, server: Any) -> None:
        self.server = server
        self.location = server.new_url()
        self.schema = self.location.rpartition("=")[2]

    def _connect(self) -> Any:
        import psycopg

        return psycopg.connect(
            self.location.rpartition("&schema=")[0],
            autocommit=True,
            options=f"-c search_path={self.schema}",
        )

    def run(self, statement: str) -> None:
        with self._connect() as connection:
            assert connection.execute(statement).rowcount

    def drop(self) -> None:
        with self._connect() as connection:
            for schema in (self.schema, f"{self.schema}_unfinished"):
                connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Another program is in the midst of a change."""
        with self._connect() as connection, connection.transaction(force_rollback=True):
            connection.execute("SELECT * FROM state FOR UPDATE")
            yield

    def holds(self, *pieces: bytes) -> list[bytes]:
        """Those pieces that are in a file of any table of the server."""
        with self._connect() as connection:
            connection.execute("CHECKPOINT")
        content = b"".join(path.read_bytes() for path in self.server.files())
        return [piece for piece in pieces if piece in content]


Place = SqlitePlace | PostgresPlace


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield SqlitePlace(tmp_path)
        return
    made = PostgresPlace(request.getfixturevalue("postgres"))
    yield made
    # The faces of one test are those of another.
    made.drop()


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    create_store(place.location, HEADER)
    opened = open_store(place.location)
    yield opened
    opened.close()


def face(
    i: int, person: str | None = None, *, photo: int | None = None, face_id: int = 0
) -> StoredFace:
    """Face i, of a person and photo of its own if none is given."""
    rng = np.random.default_rng(i)
    content = hashlib.sha256(f"photo {i if photo is None else photo}".encode()).hexdigest()
    record = FaceRecord(
        face_id=face_id,
        person=person or f"Person {i}",
        source=hashlib.sha256(f"source {i}".encode()).hexdigest(),
        content_hash=content,
        box=(1.0, 2.0, 3.0 + i, 4.0),
        score=0.5,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        landmarks=((3, 0.25), (5, 0.75)) if i % 2 else None,
    )
    vector = unit(rng.standard_normal((1, 32)).astype(np.float32))[0]
    return StoredFace(record, vector, rng.bytes(PAYLOAD), rng.bytes(200) if i % 3 else None)


class MemoryStore:
    """The shortest store there is; keeps nothing when the process ends."""

    location = name = "memory"

    def __init__(self, header: GalleryHeader) -> None:
        self.header = header
        self._faces: dict[int, StoredFace] = {}
        self._people: dict[str, int] = {}
        self._last = self._last_person = 0
        self._gone: list[int] = []
        self._settings: dict[str, Any] = {}
        self._changes = 0

    def add(self, faces: Sequence[StoredFace]) -> list[Added]:
        results = []
        for one in faces:
            having = [
                f.record.person
                for f in self._faces.values()
                if f.record.content_hash == one.record.content_hash
            ]
            others = tuple(sorted(name for name in having if name != one.record.person))
            if one.record.person in having:
                results.append(Added(None, others))
                continue
            self._last = one.record.face_id or self._last + 1
            self._put(self._last, one, one.record.person)
            results.append(Added(self._last, others))
        self._changes += 1
        return results

    def _put(self, face_id: int, one: StoredFace, person: str) -> None:
        if person not in self._people:
            self._last_person += 1
            self._people[person] = self._last_person
        record = replace(one.record, face_id=face_id, person=person)
        self._faces[face_id] = replace(one, record=record)

    def _tidy(self) -> None:
        alive = {f.record.person for f in self._faces.values()}
        self._people = {name: i for name, i in self._people.items() if name in alive}
        self._changes += 1

    def _find(self, person: str) -> list[int]:
        found = [i for i, f in sorted(self._faces.items()) if f.record.person == person]
        if not found:
            raise GalleryError(f"there is no person {person!r}")
        return found

    def remove_faces(self, face_ids: Sequence[int]) -> Change:
        wanted = sorted(set(face_ids))
        if any(i not in self._faces for i in wanted):
            raise GalleryError("there is no face")
        for face_id in wanted:
            del self._faces[face_id]
        self._gone += wanted
        self._tidy()
        return Change(len(wanted))

    def _name(self, who: str | int) -> str:
        return who if isinstance(who, str) else self.person(who).name

    def remove_person(self, person: str | int) -> Change:
        return self.remove_faces(self._find(self._name(person)))

    def rename(self, old: str | int, new: str) -> Change:
        old = self._name(old)
        moving = self._find(old)
        if old != new and new in self._people:
            raise GalleryError("there is already a person")
        self._people[new] = self._people.pop(old)
        for face_id in moving:
            self._put(face_id, self._faces[face_id], new)
        self._tidy()
        return Change(len(moving))

    def merge(self, source: str | int, target: str | int) -> Change:
        source, target = self._name(source), self._name(target)
        moving = self._find(source)
        self._find(target)
        if source == target:
            raise InputError("a person cannot be merged with itself")
        return self.move_faces(moving, target)

    def move_faces(self, face_ids: Sequence[int], person: str) -> Change:
        if any(i not in self._faces for i in face_ids):
            raise GalleryError("there is no face")
        moved, twice = 0, []
        for face_id in sorted(set(face_ids)):
            one = self._faces[face_id]
            if one.record.person == person:
                continue
            if person in self.people_with(one.record.content_hash):
                twice.append(face_id)
                continue
            self._put(face_id, one, person)
            self._gone.append(face_id)
            moved += 1
        if twice:
            self.remove_faces(twice)
        self._tidy()
        return Change(moved, len(twice))

    def token(self) -> str:
        return str(self._changes)

    def revision(self) -> Revision:
        return Revision(self._last, len(self._gone))

    def removed_since(self, revision: Revision) -> Int64 | None:
        return self._left_since(revision, there=False)

    def moved_since(self, revision: Revision) -> Int64 | None:
        return self._left_since(revision, there=True)

    def _left_since(self, revision: Revision, *, there: bool) -> Int64:
        left = set(self._gone[revision.removals :])
        return np.array(sorted(i for i in left if (i in self._faces) == there), np.int64)

    def owners(self, *, after: int = 0, limit: int | None = None) -> tuple[Int64, Int64]:
        ids = self.face_ids(after=after, limit=limit)
        return ids, self.owners_of(ids.tolist())

    def owners_of(self, face_ids: Sequence[int]) -> Int64:
        return np.array([self._people[name] for name in self.names(face_ids)], np.int64)

    def face_ids(self, *, after: int = 0, limit: int | None = None) -> Int64:
        return np.array([i for i in sorted(self._faces) if i > after][:limit], np.int64)

    def embeddings(self, after: int) -> Iterator[tuple[Int64, Float32]]:
        ids = [i for i in sorted(self._faces) if i > after]
        if ids:
            yield np.array(ids), np.stack([self._faces[i].embedding for i in ids])

    def embeddings_of(self, face_ids: Sequence[int]) -> Float32:
        return np.stack([self._faces[i].embedding for i in face_ids])

    def payloads(self, face_ids: Sequence[int]) -> list[bytes]:
        return [self._faces[i].payload for i in face_ids]

    def records(self, face_ids: Sequence[int]) -> list[FaceRecord]:
        return [self._faces[i].record for i in face_ids]

    def records_of(
        self, person: str | None, *, after: int = 0, limit: int | None = None
    ) -> list[FaceRecord]:
        ids = sorted(self._faces) if person is None else self._find(person)
        return self.records([i for i in ids if i > after][:limit])

    def names(self, face_ids: Sequence[int]) -> list[str]:
        return [r.person for r in self.records(face_ids)]

    def people_with(self, content_hash: str) -> list[str]:
        return sorted(r.person for r in self.records_of(None) if r.content_hash == content_hash)

    def thumbnails(self, face_ids: Sequence[int]) -> list[bytes | None]:
        return [self._faces[i].thumbnail for i in face_ids]

    def people(self, *, after: str | None = None, limit: int | None = None) -> list[PersonInfo]:
        names = sorted(self._people, key=by_name)
        names = [name for name in names if after is None or by_name(name) > by_name(after)]
        return [self.person(name) for name in names[:limit]]

    def person(self, who: str | int) -> PersonInfo:
        for name, number in self._people.items():
            if who in (name, number):
                return PersonInfo(name, len(self._find(name)), number)
        raise GalleryError("there is no person")

    def count(self) -> int:
        return len(self._faces)

    def count_people(self) -> int:
        return len(self._people)

    def settings(self) -> dict[str, Any]:
        return dict(self._settings)

    def update_settings(self, values: Mapping[str, Any]) -> None:
        kept = self._settings | values
        self._settings = {name: value for name, value in kept.items() if value is not None}

    def size_bytes(self) -> int:
        return sum(len(f.payload) + f.embedding.nbytes for f in self._faces.values())

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[StoreView]:
        yield self

    def check(self) -> None:
        return

    def close(self) -> None:
        return


def state(store: Store) -> list[object]:
    """All that a store can be asked."""
    with store.snapshot() as view:
        ids = view.face_ids().tolist()
        found = list(view.embeddings(0))
        middle = ids[len(ids) // 2] if ids else 0
        people = view.people()
        return [
            view.revision(),
            ids,
            [i for block, _ in found for i in block.tolist()],
            b"".join(vectors.tobytes() for _, vectors in found),
            [i for block, _ in view.embeddings(middle) for i in block.tolist()],
            view.embeddings_of([*reversed(ids), ids[0]]).tobytes() if ids else b"",
            view.payloads([*reversed(ids), *ids[:1]]),
            view.thumbnails(ids),
            view.records(ids[::-1]),
            view.names(ids),
            view.records_of(None),
            view.records_of(None, after=middle, limit=3),
            [view.records_of(p.name, after=middle, limit=2) for p in people],
            people,
            view.people(after="m", limit=2),
            [view.person(p.person_id) for p in people],
            [view.people_with(r.content_hash) for r in view.records_of(None)],
            view.count(),
            view.count_people(),
            view.settings(),
            view.face_ids(after=middle, limit=2).tolist(),
        ]


# Promises


def test_every_answer_after_every_change_is_the_right_one(store: Store) -> None:
    """300 changes drawn at random, refused ones among them, against the store in memory."""
    right = MemoryStore(HEADER)
    rng = random.Random(3)
    names = ["Ada", "ada", "B b", "Ärger", "ß", "Zoë", "李", "Person 1", "m"]

    def ids() -> list[int]:
        known = [*right.face_ids().tolist(), 10_000]
        return [rng.choice(known) for _ in range(rng.randint(1, 3))]

    def who(name: str) -> str | int:
        """By name or by id, of which some are nobody's."""
        if rng.random() < 0.5:
            return name
        known = {person.name: person.person_id for person in right.people()}
        return known.get(name, rng.choice([0, -1, 9999, 2**63]))

    def change() -> tuple[str, tuple[Any, ...]]:
        kind = rng.choices(
            ["add", "remove_faces", "remove_person", "rename", "merge", "move_faces", "set"],
            [8, 2, 1, 3, 2, 4, 1],
        )[0]
        one, other = rng.choice(names), rng.choice(names)
        if kind == "add":
            made = [
                face(rng.randint(0, 60), rng.choice(names), photo=rng.randint(0, 25))
                for _ in range(rng.randint(1, 5))
            ]
            return kind, (made,)
        if kind == "set":
            return "update_settings", ({one: rng.choice([1, None, "x", {"a": [1.5, "ü"]}])},)
        arguments: dict[str, tuple[Any, ...]] = {
            "remove_faces": (ids(),),
            "remove_person": (who(one),),
            "move_faces": (ids(), one),
            "rename": (who(one), other),
            "merge": (who(one), who(other)),
        }
        return kind, arguments[kind]

    refused = 0
    for step in range(120):
        kind, arguments = change()
        answers = []
        for of in (store, right):
            try:
                answer = getattr(of, kind)(*arguments)
            except FaceflowError as error:
                answer = type(error)
            if isinstance(answer, Change):
                answer = (answer.faces, answer.dropped)
            answers.append(answer)
        refused += isinstance(answers[1], type)
        assert answers[0] == answers[1], (step, kind, arguments)
        if step % 4 == 0:
            assert state(store) == state(right), (step, kind)
    assert 5 < refused < 80
    with store.snapshot() as view:
        view.check()


def test_a_batch_is_written_whole_or_not_at_all(store: Store) -> None:
    store.add([face(0), face(1)])
    before = state(store)
    with pytest.raises(InputError, match="not larger"):
        store.add([face(2), face(3), face(4, face_id=1)])
    assert state(store) == before
    with pytest.raises(GalleryError, match="no face 77"):
        store.remove_faces([1, 77])
    with pytest.raises(GalleryError, match="no face 77"):
        store.move_faces([1, 77], "X")
    assert state(store) == before


def test_an_id_is_never_given_twice(store: Store, place: Place) -> None:
    store.add([face(i) for i in range(3)])
    store.remove_faces([3])
    store.close()
    again = open_store(place.location)
    assert again.add([face(9)]) == [Added(4, ())]
    assert again.add([face(10, face_id=50), face(11)]) == [Added(50, ()), Added(51, ())]
    with again.snapshot() as view:
        assert view.person("Person 9").person_id == 4
    again.close()


@pytest.mark.parametrize("wrong", [0, -1, 99, 2**63 - 1, 2**63, 2**70])
def test_ids_that_nobody_has(store: Store, wrong: int) -> None:
    store.add([face(0)])
    with store.snapshot() as view:
        for ask in (view.records, view.names, view.payloads, view.embeddings_of, view.thumbnails):
            with pytest.raises(GalleryError, match="no face"):
                ask([1, wrong])
        with pytest.raises(GalleryError, match="no person with the id"):
            view.person(wrong)
    with pytest.raises(GalleryError, match="no face"):
        store.remove_faces([wrong])
    with pytest.raises(GalleryError, match="no face"):
        store.move_faces([wrong], "X")


def test_unknown_people_are_named_with_similar_ones(store: Store) -> None:
    store.add([face(0, "Grace Hopper")])
    for ask in (
        lambda: store.remove_person("Grace Hoper"),
        lambda: store.rename("Grace Hoper", "X"),
        lambda: store.merge("Grace Hoper", "Grace Hopper"),
        lambda: store.merge("Grace Hopper", "Grace Hoper"),
    ):
        with pytest.raises(GalleryError, match=r"no person 'Grace Hoper'.*did you mean 'Grace Hop"):
            ask()
    with store.snapshot() as view:
        with pytest.raises(GalleryError, match="did you mean"):
            view.records_of("Grace Hoper")
        with pytest.raises(GalleryError, match="did you mean"):
            view.person("Grace Hoper")


def test_what_was_removed_since(
    store: Store, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "sqlite" if isinstance(place, SqlitePlace) else "postgres"
    monkeypatch.setattr(f"faceflow.gallery.stores.{module}.changes.REMOVALS_KEPT", 4)
    store.add([face(i) for i in range(12)])
    revisions = []
    for face_id in (5, 2, 9, 1, 12):
        with store.snapshot() as view:
            revisions.append(view.revision())
        store.remove_faces([face_id])
    with store.snapshot() as view:
        assert view.removed_since(revisions[0]) is None
        for first in range(1, 5):
            found = view.removed_since(revisions[first])
            assert found is not None
            assert found.tolist() == sorted((5, 2, 9, 1, 12)[first:])
        same = view.removed_since(view.revision())
        assert same is not None
        assert len(same) == 0
        # Of a later state, as after a backup was put back.
        assert view.removed_since(Revision(99, 99)) is None


def test_what_was_moved_since(store: Store) -> None:
    """Faces that went to others are told apart from faces that went for good."""
    store.add([face(i) for i in range(4)])
    with store.snapshot() as view:
        before, people = view.revision(), view.owners_of([1, 2, 3, 4]).tolist()
        ids, owners = view.owners()
        assert ids.tolist() == [1, 2, 3, 4]
        assert people == [view.person(n).person_id for n in view.names(ids.tolist())]
        assert owners.tolist() == people
        assert [part.tolist() for part in view.owners(after=2, limit=1)] == [[3], [people[2]]]
        assert view.owners_of([3, 1, 3]).tolist() == [people[2], people[0], people[2]]
        with pytest.raises(GalleryError, match="no face 9"):
            view.owners_of([1, 9])
    target = people[3]
    with store.snapshot() as view:
        name = view.person(target).name
    store.move_faces([1, 2], name)
    store.remove_faces([2])
    with store.snapshot() as view:
        removed, moved = view.removed_since(before), view.moved_since(before)
        assert removed is not None
        assert moved is not None
        assert (removed.tolist(), moved.tolist()) == ([2], [1])
        assert view.revision().removals == before.removals + 3
        assert view.owners_of([1]).tolist() == [target]
        assert view.moved_since(Revision(99, 99)) is None
        none = view.moved_since(view.revision())
        assert none is not None
        assert len(none) == 0


def test_every_change_gives_another_token(store: Store) -> None:
    seen = []

    def look() -> str:
        with store.snapshot() as view:
            return view.token()

    seen.append(look())
    for change in (
        lambda: store.add([face(0), face(1), face(2, photo=0)]),
        lambda: store.rename("Person 0", "A"),
        lambda: store.merge("A", "Person 1"),
        lambda: store.move_faces([1], "A"),
        lambda: store.remove_faces([2]),
        lambda: store.update_settings({"a": 1}),
    ):
        change()
        seen.append(look())
        assert look() == seen[-1]
    assert len(set(seen)) == len(seen)


def test_settings_of_every_kind(store: Store) -> None:
    values = {"a": 1.5, "ü\0": None, "x\0y": [True, None, "ß\0"], "": "", "b" * 300: {"z": {}}}
    store.update_settings(values)
    with store.snapshot() as view:
        assert view.settings() == {n: v for n, v in values.items() if v is not None}
    store.update_settings(dict.fromkeys(values))
    with store.snapshot() as view:
        assert view.settings() == {}


def test_what_is_there_and_what_is_not(place: Place) -> None:
    assert not store_exists(place.location)
    with pytest.raises(GalleryError, match="there is no gallery"):
        open_store(place.location)
    create_store(place.location, HEADER)
    assert store_exists(place.location)
    with pytest.raises(GalleryError, match="exists already"):
        create_store(place.location, HEADER)
    opened = open_store(place.location, readonly=True)
    assert opened.header == HEADER
    assert opened.size_bytes() > 0
    opened.close()
    opened.close()
    with pytest.raises(GalleryError, match="is closed"), opened.snapshot():
        pass
    with pytest.raises(GalleryError):
        opened.add([face(0)])


def test_who_reads_does_not_write(store: Store, place: Place) -> None:
    store.add([face(0), face(1)])
    reader = open_store(place.location, readonly=True)
    for change in (
        lambda: reader.add([face(2)]),
        lambda: reader.remove_faces([1]),
        lambda: reader.remove_person("Person 0"),
        lambda: reader.rename("Person 0", "B"),
        lambda: reader.merge("Person 0", "Person 1"),
        lambda: reader.move_faces([1], "B"),
        lambda: reader.update_settings({"a": 1}),
    ):
        with pytest.raises(GalleryError, match="read-only"):
            change()
    assert state(reader) == state(store)
    reader.close()


def test_a_store_being_made_is_there_whole_or_not_at_all(place: Place) -> None:
    def fail() -> None:
        with new_store(place.location, HEADER) as made:
            made.add([face(0)])
            assert not store_exists(place.location)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not store_exists(place.location)
    with new_store(place.location, HEADER) as made:
        made.add([face(0)])
        before = state(made)
    opened = open_store(place.location)
    assert state(opened) == before
    opened.close()
    with pytest.raises(GalleryError, match="exists already"), new_store(place.location, HEADER):
        pass


# Concurrency


def test_a_snapshot_stays_as_it_was(store: Store) -> None:
    store.add([face(i) for i in range(80)])
    with store.snapshot() as view:
        before = view.records_of(None), view.people(), view.token()
        store.add([face(100)])
        store.remove_faces([3, 70])
        store.rename("Person 1", "X")
        store.merge("Person 5", "Person 6")
        store.move_faces([9], "New")
        assert (view.records_of(None), view.people(), view.token()) == before
        assert view.payloads([3, 70]) == [face(2).payload, face(69).payload]
        assert view.embeddings_of([3]).tobytes() == face(2).embedding.tobytes()
        assert sum(len(ids) for ids, _ in view.embeddings(0)) == view.count() == 80
        with store.snapshot() as newer:
            assert newer.count() == 79
    with pytest.raises(GalleryError, match="is over"):
        view.count()
    with pytest.raises(GalleryError, match="is over"):
        list(view.embeddings(0))


def test_faces_become_visible_in_the_order_of_their_ids(
    store: Store, place: Place, start_worker: Start
) -> None:
    """Three processes write; a reader never sees an id while a smaller one is still to come."""
    workers = [start_worker("change_until_killed", place.location, i, "enroll") for i in range(3)]
    assert all(worker.stdout.readline() == "ready\n" for worker in workers if worker.stdout)
    deadline, looks, last = time.monotonic() + 60, 0, 0
    while (last < 40 or looks < 50) and time.monotonic() < deadline:
        with store.snapshot() as view:
            ids = view.face_ids().tolist()
            assert ids == list(range(1, len(ids) + 1))
            assert view.revision() == Revision(len(ids), 0)
            new = [i for block, _ in view.embeddings(last) for i in block.tolist()]
            assert new == list(range(last + 1, len(ids) + 1))
        last = len(ids)
        looks += 1
    assert last >= 40
    acknowledged: dict[int, str] = {}
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
        assert worker.stdout is not None
        for line in worker.stdout:
            _, name, face_id = line.split()
            assert acknowledged.setdefault(int(face_id), name) == name
    with store.snapshot() as view:
        view.check()
        assert view.names(list(acknowledged)) == list(acknowledged.values())
        assert view.count() >= len(acknowledged)


def test_threads_share_a_store(store: Store) -> None:
    errors: list[BaseException] = []
    over = threading.Event()

    def write(number: int) -> None:
        for i in range(12):
            store.add([face(1000 * number + i, f"T{number}")])
            if i % 4 == 3:
                with store.snapshot() as view:
                    own = view.records_of(f"T{number}")
                store.remove_faces([own[0].face_id])

    def read() -> None:
        while not over.is_set():
            with store.snapshot() as view:
                ids = view.face_ids().tolist()
                assert len(view.payloads(ids)) == view.count() == len(ids)
                assert sum(p.faces for p in view.people()) == len(ids)

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=run, args=(read,)) for _ in range(2)]
    writers = [threading.Thread(target=run, args=(lambda n=n: write(n),)) for n in (1, 2)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    for thread in readers:
        thread.join()
    assert errors == []
    with store.snapshot() as view:
        view.check()
        assert view.count() == 2 * 9


def test_a_store_in_use_says_so(store: Store, place: Place) -> None:
    store.add([face(0)])
    second = open_store(place.location, busy_seconds=0.2)
    with place.locked():
        with pytest.raises(GalleryError, match="is in use"):
            second.add([face(1)])
        with second.snapshot() as view:
            assert view.count() == 1
    assert second.add([face(1)]) == [Added(2, ())]
    second.close()


# Crash


@pytest.mark.parametrize("seed", range(4))
def test_what_a_killed_process_was_told_is_there(
    store: Store, place: Place, start_worker: Start, seed: int
) -> None:
    rng = random.Random(seed)
    worker = start_worker("change_until_killed", place.location, seed, "enroll")
    assert worker.stdout is not None
    lines = [worker.stdout.readline() for _ in range(rng.randint(2, 25))]
    time.sleep(rng.uniform(0, 0.02))
    worker.send_signal(signal.SIGKILL)
    lines += worker.stdout.readlines()
    told = [line.split() for line in lines if line.startswith("face ")]
    store.close()
    again = open_store(place.location)
    with again.snapshot() as view:
        view.check()
        assert view.names([int(i) for _, _, i in told]) == [name for _, name, _ in told]
        assert len(told) <= view.count() <= len(told) + 1
    again.close()


@pytest.mark.parametrize("seed", range(3))
def test_who_was_removed_by_a_killed_process_is_erased_by_the_next(
    store: Store, place: Place, start_worker: Start, seed: int
) -> None:
    rng = random.Random(seed)
    faces = [face(i, f"{rng.getrandbits(128):032x}") for i in range(20)]
    store.add(faces)
    store.close()
    worker = start_worker("change_until_killed", place.location, 0, "remove")
    assert worker.stdout is not None
    lines = [worker.stdout.readline() for _ in range(rng.randint(2, 8))]
    time.sleep(rng.uniform(0, 0.1))
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    again = open_store(place.location)
    with again.snapshot() as view:
        view.check()
        alive = {person.name for person in view.people()}
    gone = [one for one in faces if one.record.person not in alive]
    assert len(gone) >= len(lines) - 1 > 0
    again.close()
    secrets = [piece for one in gone for piece in pieces(one)]
    assert place.holds(*secrets) == []


# Erasing


def pieces(one: StoredFace) -> list[bytes]:
    """Bytes that are in no other face; short, as pages cut long ones."""
    found = [
        one.record.person.encode(),
        one.record.source.encode()[:24],
        bytes.fromhex(one.record.content_hash)[:16],
        one.embedding.tobytes()[40:64],
        one.payload[100:120],
    ]
    return [*found, one.thumbnail[50:80]] if one.thumbnail else found


def test_who_is_removed_is_erased(store: Store, place: Place) -> None:
    faces = [face(i, hashlib.sha256(bytes([i])).hexdigest()[:32]) for i in range(40)]
    store.add(faces)
    for one in (faces[7], faces[20]):
        there = pieces(one)
        # A page may cut one or two of them.
        assert len(place.holds(*there)) >= len(there) - 2
        assert store.remove_person(one.record.person).erased
        assert place.holds(*there) == []
    assert store.remove_faces([4]).erased
    assert place.holds(*pieces(faces[3])) == []
    kept = pieces(faces[5])
    assert len(place.holds(*kept)) >= len(kept) - 2


def test_former_names_are_erased(store: Store, place: Place) -> None:
    names = [hashlib.sha256(f"name {i}".encode()).hexdigest()[:40] for i in range(30)]
    store.add([face(i, name) for i, name in enumerate(names)])
    assert store.rename(names[3], "A").erased
    assert store.merge(names[4], "A").erased
    assert store.move_faces([6, 7], "A").erased
    gone = [names[i].encode() for i in (3, 4, 5, 6)]
    assert place.holds(*gone) == []
    assert place.holds(names[8].encode())


def test_a_reader_delays_erasing_and_is_not_disturbed(place: Place) -> None:
    create_store(place.location, HEADER)
    store = open_store(place.location, busy_seconds=0.3)
    reader = open_store(place.location, readonly=True)
    faces = [face(i) for i in range(10)]
    store.add(faces)
    with reader.snapshot() as view:
        assert view.count() == 10
        assert not store.remove_faces([4]).erased
        assert view.payloads([4]) == [faces[3].payload]
        assert store.add([face(50)]) == [Added(11, ())]
    assert store.remove_faces([11]).erased
    assert place.holds(*pieces(faces[3])) == []
    reader.close()
    store.close()


# Damage


@pytest.mark.parametrize(
    "kind", sorted({*SqlitePlace.damage, *PostgresPlace.damage} - {"header", "state"})
)
def test_damage_is_noticed(store: Store, place: Place, kind: str) -> None:
    if kind not in place.damage:
        pytest.skip("this store has no such table")
    store.add([face(i, f"Person {i % 4}") for i in range(8)])
    store.update_settings({"a": 1})
    store.close()
    place.run(place.damage[kind])
    again = open_store(place.location)
    with again.snapshot() as view, pytest.raises(GalleryError, match="damaged"):
        view.check()
    again.close()


@pytest.mark.parametrize("kind", ["header", "state"])
def test_a_store_without_a_head_is_refused(store: Store, place: Place, kind: str) -> None:
    store.close()
    place.run(place.damage[kind])

    def use() -> None:
        with contextlib.closing(open_store(place.location)) as opened, opened.snapshot():
            pass

    with pytest.raises(GalleryError, match="damaged"):
        use()


def test_a_damaged_face_can_be_removed(store: Store, place: Place) -> None:
    store.add([face(i) for i in range(8)])
    place.run(place.damage["patches"])
    with store.snapshot() as view:
        with pytest.raises(GalleryError, match=r"patches of face 3.*remove face 3"):
            view.payloads([2, 3])
        assert view.payloads([2]) == [face(1).payload]
    store.remove_faces([3])
    with store.snapshot() as view:
        view.check()


# Galleries upon it


def test_a_gallery_moves_between_stores_and_stays_the_same(
    tmp_path: Path, place: Place, enrolments: Callable[..., list[Enrolment]]
) -> None:
    items = enrolments(60, crops=True)

    def answers(gallery: Gallery) -> list[object]:
        found = gallery.search(items[3].features, k=70)
        ids = [record.face_id for record in gallery.faces()]
        return [
            gallery.faces(),
            found.face_ids.tolist(),
            np.nan_to_num(found.cosine, nan=-9).tolist(),
            [part.tobytes() for part in gallery.codes(ids) if part is not None],
            [gallery.thumbnail(i) for i in ids],
            gallery.settings,
        ]

    with Gallery(MemoryStore(HEADER)) as first:
        first.enroll(items, batch=7)
        first.remove_person("Person 2")
        first.update_settings({"a": [1]})
        first.export(tmp_path / "one")
        expected = answers(first)
    with Gallery.import_from(tmp_path / "one", place.location) as second:
        assert answers(second) == expected
        second.check()
        second.export(tmp_path / "two")
        assert second.stats().faces == 48
    for name in ("gallery.json", "faces-00000.json", "faces-00000.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_search_follows_every_change(
    place: Place, enrolments: Callable[..., list[Enrolment]], tmp_path: Path
) -> None:
    items = enrolments(90)
    create_store(place.location, HEADER)
    right = Gallery(MemoryStore(HEADER))

    def same(*galleries: Gallery) -> None:
        found = [g.search(items[11].features, k=100) for g in galleries]
        assert all(np.array_equal(f.face_ids, found[0].face_ids) for f in found)
        assert all(np.array_equal(f.cosine, found[0].cosine, equal_nan=True) for f in found)

    with Gallery.open(place.location) as writer, Gallery.open(place.location, readonly=True) as r:
        changes: list[Callable[[Gallery], object]] = [
            lambda g: g.enroll(items[:70]),
            lambda g: g.remove_face(5),
            lambda g: g.remove_person("Person 1"),
            lambda g: g.move_faces([1, 3], "New"),
            lambda g: g.enroll(items),
            lambda g: g.merge("Person 2", "New"),
        ]
        for change in changes:
            with r.snapshot() as former:
                before = former.search(items[11].features, k=100)
                change(writer), change(right)
                same(writer, r, right)
                again = former.search(items[11].features, k=100)
                assert np.array_equal(again.face_ids, before.face_ids)
