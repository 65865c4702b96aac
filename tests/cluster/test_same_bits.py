"""Shards answer as the single gallery does, to the last bit, however faces are spread."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from faceflow.arrays import Bools, Int64
from faceflow.cluster.faces import by_person
from faceflow.cluster.part import Part, UnknownModelError
from faceflow.cluster.replicas import Ask, Here, Shards
from faceflow.cluster.sharded import ShardedGallery
from faceflow.errors import GalleryMismatchError, InputError
from faceflow.features import FaceFeatures
from faceflow.gallery import Enrolment, Gallery
from faceflow.gallery.stores.opening import open_store
from faceflow.matching import covers
from faceflow.matching.identification import Matches, identify
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import Reranked
from faceflow.networks import FaceNetwork

Make = Callable[..., Any]
# Each example makes a gallery on the disk: shrinking would take minutes.
NO_SHRINK = (Phase.explicit, Phase.reuse, Phase.generate)


def assert_same(found: Reranked, expected: Reranked) -> None:
    for name in ("score", "cosine", "emd", "visible_cosine"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert (mine is None) == (theirs is None), name
        assert mine is None or mine.tolist() == theirs.tolist(), name
    assert (found.plan is None) == (expected.plan is None)
    if found.plan is not None and expected.plan is not None:
        for name in ("similarity", "iterations", "marginal_error", "status", "flow"):
            mine, theirs = getattr(found.plan, name), getattr(expected.plan, name)
            assert (mine is None) == (theirs is None), name
            assert mine is None or np.array_equal(mine, theirs), name


def essence(answers: Sequence[Matches]) -> list[Any]:
    """Everything but the flows, which arrays do not compare, and what was covered."""
    return [
        (
            one.status,
            one.people,
            [(f.person, f.face_id, f.score, f.cosine, f.emd, f.rank) for f in one.faces],
        )
        for one in answers
    ]


@given(data=st.data())
@settings(max_examples=6, deadline=None, phases=NO_SHRINK)
def test_any_assignment_of_people_gives_the_same_answers(
    data: st.DataObject, make_features: Make, create: Make
) -> None:
    seed = data.draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    faces, people = data.draw(st.integers(0, 40)), data.draw(st.integers(1, 12))
    shards, replicas = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 2))
    features = make_features(faces, seed, ties=data.draw(st.booleans()))
    places = rng.integers(0, shards, people + 1)

    def lives_in(number: int) -> Callable[[Int64], Bools]:
        return lambda who: places[who] == number

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.faceflow"
        with create(path) as single:
            single.enroll(
                Enrolment(f"P{rng.integers(people)}", "x", f"{i:064x}", features[i])
                for i in range(faces)
            )
            parts = [
                [Part(open_store(path, readonly=True), n, shards, lives_here=lives_in(n))]
                * replicas
                for n in range(shards)
            ]
            front = ShardedGallery(
                open_store(path, readonly=True),
                Shards([[Here(f"{n}", one) for one in group] for n, group in enumerate(parts)]),
                shards_of=lambda who: places[who],
            )
            queries = make_features(3, seed + 1)
            if faces:  # one who is there, and so exact ties among copies
                queries = FaceFeatures.concatenate([queries, features[: 1 + faces // 2]])
            k = data.draw(st.integers(1, 60))
            exclude = [set(rng.integers(1, 50, 5).tolist()) for _ in range(len(queries))]
            for without in (None, exclude):
                found = front.search(queries, k, exclude=without)
                expected = single.search(queries, k, exclude=without)
                assert found.face_ids.tolist() == expected.face_ids.tolist()
                assert np.array_equal(found.cosine, expected.cosine, equal_nan=True)
            options = single.options(k=k)
            assert essence(identify(queries, front, options)) == essence(
                identify(queries, single, options)
            )
            ids = single.search(queries[0], k).face_ids[0]
            ids = rng.permutation(ids[ids >= 0])
            if len(ids):
                assert_same(
                    front.score(queries[0], ids, options, flow=True),
                    single.score(queries[0], ids, options, flow=True),
                )
            front.close()
            for (part, *_), _n in zip(parts, range(shards), strict=True):
                part.close()


@pytest.mark.parametrize("hold", ["embeddings", "patches"])
@pytest.mark.parametrize("codec", ["int8", "float32"])
def test_default_options_of_the_default_network(
    tmp_path: Path,
    default_network: FaceNetwork,
    default_features: Make,
    shard: Make,
    hold: str,
    codec: str,
) -> None:
    features = default_features(24, seed=1)
    with Gallery.open_or_create(tmp_path / "g.faceflow", default_network, codec=codec) as single:
        single.enroll(
            Enrolment(f"Person {i % 11}", "x", f"{i:064x}", features[i]) for i in range(24)
        )
        queries = default_features(2, seed=2)
        options = single.options()
        assert options.needs_model
        expected = identify(queries, single, explain=True)
        for shards in (1, 2, 3):
            front = shard(tmp_path / "g.faceflow", shards, hold=hold)
            found = identify(queries, front, explain=True)
            assert essence(found) == essence(expected)
            for mine, theirs in zip(found, expected, strict=True):
                for one, other in zip(mine.faces, theirs.faces, strict=True):
                    assert one.plan is not None
                    assert other.plan is not None
                    assert np.array_equal(one.plan.flow, other.plan.flow)
        lmk = single.options(weighting="lmk", patches="raw", visible_share=0.0)
        assert essence(identify(queries, front, lmk)) == essence(identify(queries, single, lmk))


def test_a_patch_model_travels_once_where_it_is_not_known(
    tmp_path: Path,
    default_network: FaceNetwork,
    default_features: Make,
    shard: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = default_features(6, seed=1)
    with Gallery.open_or_create(tmp_path / "g.faceflow", default_network) as single:
        single.enroll(Enrolment(f"P{i}", "x", f"{i:064x}", features[i]) for i in range(6))
        options = single.options()
        expected = essence(identify(features[:2], single, options))
    front = shard(tmp_path / "g.faceflow", 2)
    # The shards' machines have not got the network.
    monkeypatch.setattr(covers, "load", lambda *_: None)
    sent: list[bool] = []
    score = Part.score

    def watched(self: Part, query: Any, ids: Any, chosen: MatchOptions, *a: Any, **b: Any) -> Any:
        sent.append(chosen.model is not None)
        return score(self, query, ids, chosen, *a, **b)

    monkeypatch.setattr(Part, "score", watched)
    assert essence(identify(features[:2], front, options)) == expected
    # Both refuse (the first refusal is enough), both get it, and then never again.
    assert sent.count(True) == 2
    assert sent[-2:] == [False, False]
    assert issubclass(UnknownModelError, Exception)


def test_many_faces_are_scanned_in_int8_and_give_the_same(
    gallery: Gallery,
    enrolments: Make,
    make_features: Make,
    shard: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("faceflow.gallery.search.SCAN_FROM", 50)
    gallery.enroll(enrolments(300, people=40))
    front = shard(gallery.location, 3)
    for k in (1, 10, 100, 400):
        found, expected = (one.search(make_features(4, 9), k) for one in (front, gallery))
        assert found.face_ids.tolist() == expected.face_ids.tolist()
        assert np.array_equal(found.cosine, expected.cosine, equal_nan=True)
    gallery.enroll(enrolments(30, people=3, seed=5))
    found, expected = (one.search(make_features(4, 9), 50) for one in (front, gallery))
    assert found.face_ids.tolist() == expected.face_ids.tolist()


def test_the_same_errors_too(
    gallery: Gallery, enrolments: Make, make_features: Make, shard: Make
) -> None:
    gallery.enroll(enrolments(5))
    front = shard(gallery.location, 2)
    query = make_features(1, 3)
    for ask, kind in (
        (lambda one: one.search(query, 0), InputError),
        (lambda one: one.search(query, 100_001), InputError),
        (lambda one: one.search(query, 2, exclude=[]), InputError),
        (lambda one: one.search(query.as_from(None), 2), GalleryMismatchError),
        (lambda one: one.score(make_features(2, 3), [1], one.options()), InputError),
        (lambda one: one.score(query, [1, 99], one.options()), Exception),
        (lambda one: one.score(query, [1.5], one.options()), InputError),
    ):
        texts = []
        for one in (gallery, front):
            with pytest.raises(kind) as caught:
                ask(one)
            texts.append(str(caught.value))
        assert texts[0] == texts[1]


def test_people_are_spread_and_live_on_one_shard_each(
    gallery: Gallery, enrolments: Make, shard: Make
) -> None:
    gallery.enroll(enrolments(60, people=10))
    front = shard(gallery.location, 3)
    told = [reply for _, reply in sorted(front.shards.tell(Ask("catch_up")).items())]
    assert sum(one.faces for one in told) == 60
    assert [one.people for one in told] == [3, 4, 3]
    everybody = np.arange(100)
    assert sum(by_person(n, 7)(everybody) for n in range(7)).tolist() == [1] * 100
