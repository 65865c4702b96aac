"""Shards follow what others write, and a search is of one state whatever they write meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceflow.cluster.faces import State
from faceflow.cluster.part import Part
from faceflow.cluster.replicas import Ask
from faceflow.cluster.sharded import ShardedGallery
from faceflow.errors import GalleryError, UnreachableGalleryError
from faceflow.features import FaceFeatures
from faceflow.gallery import Gallery
from faceflow.gallery.reading import ReadableGallery
from faceflow.gallery.stores.opening import open_store
from faceflow.gallery.stores.store import Revision
from faceflow.matching.identification import identify
from local_postgres import LocalPostgres

Make = Callable[..., Any]


def assert_same(front: ReadableGallery, single: ReadableGallery, queries: FaceFeatures) -> None:
    for k in (3, 80):
        found, expected = front.search(queries, k), single.search(queries, k)
        assert found.face_ids.tolist() == expected.face_ids.tolist()
        assert np.array_equal(found.cosine, expected.cosine, equal_nan=True)
    ids = expected.face_ids[0][expected.face_ids[0] >= 0][::-1]
    mine, theirs = (one.score(queries[0], ids, single.options()) for one in (front, single))
    assert mine.score.tolist() == theirs.score.tolist()
    assert front.person_of(ids) == single.person_of(ids)


def some_change(gallery: Gallery, rng: np.random.Generator, enrolments: Make) -> None:
    """One change of a random kind."""
    people = [one.name for one in gallery.people()]
    ids = [record.face_id for record in gallery.faces()]
    kind = rng.choice(["add", "face", "person", "rename", "merge", "move", "setting"])
    if kind == "add" or len(people) < 3:
        seed = int(rng.integers(2**31))
        gallery.enroll(enrolments(int(rng.integers(1, 9)), people=4, seed=seed))
    elif kind == "face":
        gallery.remove_face(int(rng.choice(ids)))
    elif kind == "person":
        gallery.remove_person(str(rng.choice(people)))
    elif kind == "rename":
        gallery.rename(str(rng.choice(people)), f"Somebody {rng.integers(2**31)}")
    elif kind == "merge":
        source, target = rng.choice(people, 2, replace=False)
        gallery.merge(str(source), str(target))
    elif kind == "move":
        target = str(rng.choice([*people, f"Somebody {rng.integers(2**31)}"]))
        gallery.move_faces(rng.choice(ids, 3).tolist(), target)
    else:
        gallery.update_settings({"x": int(rng.integers(2**31))})


@pytest.mark.parametrize("hold", ["embeddings", "patches"])
def test_after_any_changes_by_others_and_with_replicas_that_lag(
    gallery: Gallery, enrolments: Make, make_features: Make, shard: Make, hold: str
) -> None:
    gallery.enroll(enrolments(30))
    # Replicas answer in turn, so that each misses some of the changes.
    front = shard(gallery.location, 3, replicas=2, hold=hold)
    rng = np.random.default_rng(5)
    for step in range(14):
        some_change(gallery, rng, enrolments)
        if step % 3 != 2:
            assert_same(front, gallery, make_features(2, step))


def test_a_snapshot_stays_what_it_was(
    gallery: Gallery, enrolments: Make, make_features: Make, shard: Make
) -> None:
    """Removed, moved to another shard and back, enrolled: the view shows what there was."""
    gallery.enroll(enrolments(40))
    front = shard(gallery.location, 3)
    queries = make_features(3, 8)
    other = shard(gallery.location, 3)
    rng = np.random.default_rng(3)
    for _ in range(4):
        with front.snapshot() as view, gallery.snapshot() as expected:
            for _ in range(4):
                some_change(gallery, rng, enrolments)
                # Shards get ahead of the snapshot, each by its own way.
                front.shards.ask({int(rng.integers(3)): Ask("catch_up")})
                assert_same(view, expected, queries)
        assert_same(other, gallery, queries)


def test_changes_between_stage_1_and_stage_2(
    gallery: Gallery, enrolments: Make, make_features: Make, shard: Make
) -> None:
    gallery.enroll(enrolments(20, people=4))
    front = shard(gallery.location, 2)
    query = make_features(1, 8)
    options = gallery.options()
    with front.snapshot() as view, gallery.snapshot() as expected:
        ids = view.shortlist(query, 20).face_ids[0]
        theirs = expected.score(query, ids, options)
        gallery.remove_person("Person 1")
        gallery.merge("Person 2", "Person 3")
        assert view.score(query, ids, options).score.tolist() == theirs.score.tolist()


def test_changes_through_the_front_reach_every_replica_before_they_are_acknowledged(
    gallery: Gallery, enrolments: Make, shard: Make
) -> None:
    location = gallery.location
    gallery.enroll(enrolments(12))
    gallery.close()
    front: ShardedGallery = shard(location, 2, replicas=2)

    def states() -> set[State | None]:
        # Not asked to look, only how they stand.
        return {one.state for one in front.shards.tell(Ask("standing")).values()}

    for change in (
        lambda: front.enroll(enrolments(5, seed=1)),
        lambda: front.remove_face(3),
        lambda: front.rename("Person 1", "Ada"),
        lambda: front.merge("Ada", "Person 2"),
        lambda: front.move_faces([4], "Grace"),
        lambda: front.update_settings({"a": 1}),
        lambda: front.remove_person("Grace"),
    ):
        change()
        with front._store.snapshot() as view:
            assert states() == {State.of(view)}
    change = front.remove_person("Person 3")
    assert change.erased
    first = [front.shards.tell(Ask("standing"))[f"shard {n}, replica 0"].faces for n in (0, 1)]
    assert sum(first) == len(front)


def test_what_is_removed_is_gone_from_memory(
    gallery: Gallery, enrolments: Make, make_features: Make
) -> None:
    features = make_features(9, 4)
    gallery.enroll(enrolments(9, people=3, seed=4))
    part = Part(open_store(gallery.location, readonly=True), 0, 1, hold="patches")
    part.catch_up()
    gone = features.embedding[1].tobytes()

    def arrays() -> bytes:
        room = part._follower._room._arrays
        return b"".join(array.tobytes() for array in room) + part._faces.matrix.tobytes()  # type: ignore[union-attr]

    assert gone in arrays()
    gallery.remove_person("Person 1")
    part.catch_up()
    assert gone not in arrays()
    assert "Person 1" not in part._faces.names.values()  # type: ignore[union-attr]
    part.close()


def test_nothing_is_read_while_nothing_changes(
    gallery: Gallery,
    enrolments: Make,
    make_features: Make,
    shard: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A shard looks into the gallery when it is behind, and never for holding patches."""
    gallery.enroll(enrolments(12))
    front: ShardedGallery = shard(gallery.location, 2, hold="patches")
    query = make_features(1, 3)
    identify(query, front)
    store = type(front._store)
    snapshot, looks = store.snapshot, []
    monkeypatch.setattr(store, "snapshot", lambda self: (looks.append(self), snapshot(self))[1])
    identify(query, front)
    assert [one is front._store for one in looks].count(False) == 0


def test_too_many_changes_to_follow_are_read_anew(
    gallery: Gallery,
    enrolments: Make,
    make_features: Make,
    shard: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("faceflow.gallery.stores.sqlite.changes.REMOVALS_KEPT", 2)
    gallery.enroll(enrolments(30))
    front = shard(gallery.location, 2)
    queries = make_features(2, 3)
    # The gallery's own snapshot: it does not wait for it to be over before it erases.
    with front.snapshot() as view, gallery.snapshot():
        view.search(queries, 3)
        for face_id in (2, 5, 9, 11):
            gallery.remove_face(face_id)
        front.shards.tell(Ask("catch_up"))
        with pytest.raises(GalleryError, match="changed too much"):
            view.search(queries, 3)
    assert_same(front, gallery, queries)


def test_a_shard_that_reads_an_older_gallery_does_not_answer(
    gallery: Gallery, enrolments: Make
) -> None:
    gallery.enroll(enrolments(4))
    part = Part(open_store(gallery.location, readonly=True), 0, 1)
    with pytest.raises(UnreachableGalleryError, match="is behind"):
        part.catch_up(State(Revision(99, 0), "aa"))
    part.close()


def test_damage_is_told_and_does_not_spoil_what_is_loaded(
    gallery: Gallery, enrolments: Make, make_features: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading fails in the midst of new faces: the next look reads them whole."""
    gallery.enroll(enrolments(10))
    part = Part(open_store(gallery.location, readonly=True), 0, 1)
    part.catch_up()
    gallery.enroll(enrolments(30, seed=2))
    monkeypatch.setattr("faceflow.cluster.faces._ROWS", 8)
    view_type = type(part._store.snapshot().__enter__())
    embeddings_of, calls = view_type.embeddings_of, [0]

    def failing(self: Any, ids: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            raise GalleryError("the gallery is damaged")
        return embeddings_of(self, ids)

    monkeypatch.setattr(view_type, "embeddings_of", failing)
    with pytest.raises(GalleryError, match="damaged"):
        part.catch_up()
    assert part.standing().faces == 10
    assert part.catch_up().faces == 40
    query = make_features(1, 1)
    with gallery.snapshot() as view:
        state = State(view._store.revision(), view._store.token())
    found = part.shortlist(query.embedding, 40, state)
    assert found.face_ids.tolist() == gallery.search(query, 40).face_ids.tolist()
    part.close()


def test_postgres_behind_shards_and_gone(
    postgres: LocalPostgres,
    create: Make,
    enrolments: Make,
    make_features: Make,
    shard: Make,
    tmp_path: Path,
) -> None:
    url = postgres.new_url()
    query = make_features(2, 3)
    with create(url) as single:
        single.enroll(enrolments(30))
        plain = shard(url, 2)
        stale = shard(url, 2, allow_stale=True)
        held = shard(url, 2, hold="patches", allow_stale=True)
        rng = np.random.default_rng(2)
        for step in range(5):
            some_change(single, rng, enrolments)
            for front in (plain, stale, held):
                assert_same(front, single, make_features(2, step))
        expected = identify(query, single)
        cosine = identify(query, single, single.options(alpha=0.0))
        revision = [tuple(one.state.revision) for one in held.shards.tell(Ask("standing")).values()]

    postgres.kill()
    with pytest.raises(UnreachableGalleryError, match="cannot be reached"):
        identify(query, plain)
    for front in (plain, stale, held):
        with pytest.raises(UnreachableGalleryError, match="cannot be reached"):
            front.enroll(enrolments(3, seed=77))
        with pytest.raises(UnreachableGalleryError):
            front.remove_person("Person 1")
    found = identify(query, held)
    assert [one.faces for one in found] == [one.faces for one in expected]
    assert all(one.coverage is not None and one.coverage.stale for one in found)
    assert found[0].coverage is not None
    assert list(found[0].coverage.revisions) == revision
    with pytest.raises(UnreachableGalleryError, match="shards do not hold them"):
        identify(query, stale)
    alone = identify(query, stale, stale.options(alpha=0.0))
    assert [one.faces for one in alone] == [one.faces for one in cosine]
    assert alone[0].coverage is not None
    assert alone[0].coverage.stale

    postgres.start()
    for front in (plain, stale, held):
        again = identify(query, front)
        assert [one.faces for one in again] == [one.faces for one in expected]
        assert again[0].coverage is not None
        assert not again[0].coverage.stale
    assert held.enroll(enrolments(3, seed=77)).added == 3
    assert held.enroll(enrolments(3, seed=77)).added == 0
