"""What happens when a replica fails, hangs or is slow: replicas that do so at will."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from faceflow.cluster.replicas import Ask, Reply, Shards
from faceflow.errors import (
    FaceflowError,
    GalleryError,
    IncompleteGalleryError,
    UnreachableGalleryError,
)
from faceflow.gallery import Gallery
from faceflow.matching.identification import identify

Make = Callable[..., Any]


class Fake:
    """A replica that answers with its name, unless it is told how to fail."""

    def __init__(self, name: str, how: str = "well") -> None:
        self.name = name
        self.how = how
        self.asked = 0

    def ask(self, method: str, args: Sequence[Any], more: Mapping[str, Any]) -> Future[Reply]:
        self.asked += 1
        future: Future[Reply] = Future()
        if self.how == "well":
            future.set_result(Reply(self.name))
        elif self.how == "dead":
            future.set_exception(ConnectionError("the actor died"))
        elif self.how == "unaskable":
            raise ConnectionError("no such actor")
        elif self.how == "unreachable":
            future.set_result(Reply(None, UnreachableGalleryError("no server")))
        elif self.how == "wrong":
            future.set_result(Reply(None, GalleryError("there is no face 3")))
        elif self.how == "slow":
            threading.Timer(0.3, future.set_result, (Reply(self.name),)).start()
        else:
            assert self.how == "hangs"
        return future


def group(*how: str) -> list[Fake]:
    return [Fake(f"replica {n}", one) for n, one in enumerate(how)]


ASK = Ask("standing")


@pytest.mark.parametrize("bad", ["dead", "unaskable", "unreachable", "hangs", "slow"])
def test_another_replica_answers(bad: str) -> None:
    replicas = group(bad, "well")
    shards = Shards([replicas], patience=0.02, timeout=2)
    for _ in range(6):
        assert shards.ask({0: ASK}) == {0: "replica 1"}


def test_one_that_failed_is_asked_last_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    replicas = group("dead", "well")
    shards = Shards([replicas], patience=0.02, timeout=1)
    for _ in range(10):
        shards.ask({0: ASK})
    assert replicas[0].asked == 1
    monkeypatch.setattr("faceflow.cluster.replicas._SHY", 0.0)
    replicas[0].how = "well"
    shards._shy.clear()
    assert {shards.ask({0: ASK})[0] for _ in range(4)} == {"replica 0", "replica 1"}


def test_replicas_take_turns() -> None:
    replicas = group("well", "well", "well")
    shards = Shards([replicas])
    for _ in range(9):
        shards.ask({0: ASK})
    assert [one.asked for one in replicas] == [3, 3, 3]


def test_a_shard_without_replicas_is_told_and_the_others_answer() -> None:
    shards = Shards([group("well"), group("dead", "hangs"), group("well")], timeout=0.2)
    found = shards.ask({0: ASK, 1: ASK, 2: ASK})
    assert found[0] == found[2] == "replica 0"
    assert isinstance(found[1], IncompleteGalleryError)
    assert "shard 1 of 3" in str(found[1])


def test_a_database_that_is_away_is_not_a_shard_that_is_gone() -> None:
    found = Shards([group("unreachable", "unreachable")]).ask({0: ASK})
    assert isinstance(found[0], UnreachableGalleryError)


def test_an_error_of_the_work_is_not_asked_of_another() -> None:
    replicas = group("wrong", "wrong")
    with pytest.raises(GalleryError, match="no face 3"):
        Shards([replicas]).ask({0: ASK})
    assert sum(one.asked for one in replicas) == 1


def test_slow_shards_are_waited_for_side_by_side() -> None:
    shards = Shards([group("slow") for _ in range(5)])
    start = time.monotonic()
    assert len(shards.ask(dict.fromkeys(range(5), ASK))) == 5
    assert time.monotonic() - start < 1.2


def test_every_replica_is_told() -> None:
    replicas = [group("well", "dead"), group("wrong", "well", "unaskable")]
    for number, one in enumerate(replicas):
        for fake in one:
            fake.name = f"{number}/{fake.name}"
    told = Shards(replicas, timeout=0.5).tell(ASK)
    assert {name for name, reply in told.items() if not isinstance(reply, FaceflowError)} == {
        "0/replica 0",
        "1/replica 1",
    }
    assert type(told["1/replica 0"]) is GalleryError
    assert isinstance(told["0/replica 1"], IncompleteGalleryError)


class Killable:
    """A replica in this process that can be killed and restarted."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.alive = True

    @property
    def name(self) -> str:
        return str(self.inner.name)

    def ask(self, *asked: Any) -> Future[Reply]:
        if not self.alive:
            future: Future[Reply] = Future()
            future.set_exception(ConnectionError("killed"))
            return future
        answered: Future[Reply] = self.inner.ask(*asked)
        return answered


def test_a_gallery_with_a_shard_gone(
    gallery: Gallery, enrolments: Make, make_features: Make, shard: Make
) -> None:
    gallery.enroll(enrolments(30, people=10))
    front = shard(gallery.location, 3, replicas=2)
    partial = shard(gallery.location, 3, allow_partial=True)
    query = make_features(2, 5)
    expected = identify(query, gallery)

    def killable(one: Any) -> list[list[Killable]]:
        one.shards.groups[:] = [[Killable(r) for r in each] for each in one.shards.groups]
        return one.shards.groups  # type: ignore[no-any-return]

    groups, lone = killable(front), killable(partial)
    groups[1][0].alive = False
    for _ in range(4):  # whichever is asked first
        assert [one.faces for one in identify(query, front)] == [one.faces for one in expected]
    groups[1][1].alive = False
    with pytest.raises(IncompleteGalleryError, match="shard 1 of 3"):
        identify(query, front)

    lone[1][0].alive = False
    answers = identify(query, partial)
    gone = {one.name for one in gallery.people() if one.person_id % 3 == 1}
    for answer, whole in zip(answers, expected, strict=True):
        assert answer.coverage is not None
        assert answer.coverage.missing == (1,)
        assert [f.face_id for f in answer.faces] != [f.face_id for f in whole.faces]
        kept = [f.face_id for f in whole.faces if f.person not in gone]
        assert [f.face_id for f in answer.faces] == kept
    for each in lone:
        each[0].alive = False
    with pytest.raises(IncompleteGalleryError, match="no shard"):
        identify(query, partial)
    for each in (*groups, *lone):
        each[0].alive = True
        for one in (front, partial):
            one.shards._shy.clear()
    for one in (front, partial):
        assert [a.faces for a in identify(query, one)] == [a.faces for a in expected]


def test_a_shard_that_dies_between_the_stages_costs_nothing(
    gallery: Gallery, enrolments: Make, make_features: Make, shard: Make
) -> None:
    """Its candidates are scored here, out of the snapshot."""
    gallery.enroll(enrolments(30, people=10))
    front = shard(gallery.location, 2)
    query = make_features(1, 5)
    options = gallery.options()
    with front.snapshot() as view:
        ids = view.shortlist(query, 20).face_ids[0]
        dead = Killable(front.shards.groups[0][0])
        dead.alive = False
        front.shards.groups[0] = [dead]
        assert (
            view.score(query, ids, options).score.tolist()
            == gallery.score(query, ids, options).score.tolist()
        )


def test_erasure_is_not_claimed_where_a_replica_is_silent(
    gallery: Gallery, enrolments: Make, shard: Make
) -> None:
    location = gallery.location
    gallery.enroll(enrolments(12))
    gallery.close()
    front = shard(location, 2, replicas=2)
    assert front.remove_face(1).erased
    dead = Killable(front.shards.groups[1][1])
    dead.alive = False
    front.shards.groups[1][1] = dead
    change = front.remove_person("Person 2")
    assert not change.erased
    assert change.remains == ("memory of shard 1, replica 1, which does not answer",)
    with pytest.raises(GalleryError, match="no person"):
        front.remove_person("Person 2")
