"""Protocols: every exclusion by definition, and the published numbers from lists alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.errors import InputError
from faceflow.evaluation.data import Photo
from faceflow.evaluation.data.lfw import read_listing
from faceflow.evaluation.data.protocols import (
    PROTOCOLS,
    Protocol,
    no_leak,
    one_mate,
    open_set,
    published,
)
from faceflow.evaluation.metrics.mates import MateRanks
from faceflow.evaluation.metrics.retrieval import ceiling, map_at_r, r_precision


def photos(kind: str, *names: str) -> list[Photo]:
    """Photos "ada1": person and number; the photograph is the same whatever the kind."""
    return [Photo(Path(f"{kind}/{name}.jpg"), name[:-1], name) for name in names]


def perfect(protocol: Protocol) -> MateRanks:
    return MateRanks.collect([range(1, m + 1) for m in protocol.mates], protocol.relevant)


FACES = ("ada1", "ada2", "ada3", "bo1", "bo2", "cy1")


def test_published_compares_an_edit_with_its_source() -> None:
    protocol = published(photos("plain", *FACES), photos("masked", *FACES))
    assert protocol.relevant.tolist() == protocol.mates.tolist() == [3, 3, 3, 2, 2, 1]
    assert len(protocol.excluded) == 0
    assert protocol.mated.all()


def test_published_counts_a_gallery_query_in_its_own_r() -> None:
    faces = photos("plain", *FACES)
    protocol = published(faces, faces)
    assert protocol.mates.tolist() == [2, 2, 2, 1, 1, 0]
    assert protocol.relevant.tolist() == [3, 3, 3, 2, 2, 1]
    assert [protocol.excluded_rows(q).tolist() for q in range(6)] == [[n] for n in range(6)]
    assert r_precision(perfect(protocol)).tolist() == pytest.approx([2 / 3] * 3 + [0.5] * 2 + [0])


@pytest.mark.parametrize("kind", ["plain", "masked"])
def test_no_leak_excludes_the_photograph_and_never_counts_it(kind: str) -> None:
    protocol = no_leak(photos("plain", *FACES), photos(kind, *FACES))
    assert protocol.relevant.tolist() == protocol.mates.tolist() == [2, 2, 2, 1, 1, 0]
    assert [protocol.excluded_rows(q).tolist() for q in range(6)] == [[n] for n in range(6)]
    assert (protocol.same_photo, protocol.near_duplicates) == (6, 0)
    assert protocol.mated.tolist() == [True] * 5 + [False]
    assert "1 queries have nobody to find" in protocol.summary()


def test_no_leak_excludes_near_duplicates_whoever_they_are_filed_under() -> None:
    gallery, queries = photos("plain", *FACES), photos("masked", "ada1", "cy1")
    links = [("ada1", "ada2"), ("ada2", "bo1"), ("ada3", "elsewhere9")]
    protocol = no_leak(gallery, queries, duplicates=links)
    assert protocol.excluded_rows(0).tolist() == [0, 1, 3]
    assert protocol.excluded_rows(1).tolist() == [5]
    assert protocol.mates.tolist() == [1, 0]
    assert (protocol.same_photo, protocol.near_duplicates) == (2, 2)
    assert protocol.mate_rows(0).tolist() == [2]


names = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(1, 4)).map(lambda t: f"{t[0]}{t[1]}"),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(
    names,
    names,
    st.lists(st.tuples(names.map(lambda n: n[0]), names.map(lambda n: n[0])), max_size=3),
)
def test_no_leak_by_definition(
    gallery: list[str], queries: list[str], links: list[tuple[str, str]]
) -> None:
    protocol = no_leak(photos("g", *gallery), photos("q", *queries), duplicates=links)
    # The closure of "is the same photograph", by repeated joining.
    groups = [{name} for name in {*gallery, *queries}]
    for a, b in links:
        joined = [g for g in groups if a in g or b in g]
        known = [g for g in joined if a in g], [g for g in joined if b in g]
        if all(known):
            groups = [g for g in groups if g not in joined] + [set().union(*joined)]
    for q, query in enumerate(queries):
        (same,) = (g for g in groups if query in g)
        excluded = [n for n, face in enumerate(gallery) if face in same]
        mates = [n for n, f in enumerate(gallery) if f[0] == query[0] and n not in excluded]
        assert protocol.excluded_rows(q).tolist() == excluded
        assert protocol.mate_rows(q).tolist() == mates
        assert protocol.mates[q] == protocol.relevant[q] == len(mates)


def many(people: int, each: int) -> list[str]:
    return [f"p{n:03d}-{i}" for n in range(people) for i in range(each)]


def test_one_mate() -> None:
    gallery, queries = photos("g", *many(40, 3), *many(60, 1)), photos("q", *many(40, 3))
    protocol = one_mate(gallery, queries, people=10, size=30)
    assert (len(protocol), len(protocol.gallery)) == (10, 30)
    assert protocol.mates.tolist() == protocol.relevant.tolist() == [1] * 10
    assert len(np.unique(protocol.gallery_people)) == 30  # enough people for one face each
    for q, row in enumerate(protocol.queries):
        (mate,) = protocol.mate_rows(q)
        assert gallery[mate].person == queries[row].person
        assert gallery[mate].source_id != queries[row].source_id
    everybody = one_mate(gallery, queries)
    assert len(everybody) == 40
    assert len(everybody.gallery) == 60


def test_one_mate_takes_second_faces_only_when_people_run_out() -> None:
    gallery, queries = photos("g", *many(6, 3)), photos("q", *many(6, 3))
    protocol = one_mate(gallery, queries, people=2, size=8)
    faces = np.bincount(protocol.gallery_people)
    assert sorted(faces.tolist()) == [1, 1, 1, 1, 2, 2]
    assert set(faces[protocol.query_people]) == {1}
    with pytest.raises(InputError, match="at most 12 distractors"):
        one_mate(gallery, queries, people=2, size=15)


def test_one_mate_never_pairs_a_query_with_its_near_duplicate() -> None:
    gallery, queries = photos("g", *FACES), photos("q", *FACES)
    links = [("bo1", "bo2"), ("ada1", "ada2")]
    for seed in range(20):
        protocol = one_mate(gallery, queries, seed=seed, duplicates=links)
        assert [protocol.people[p] for p in protocol.query_people] == ["ada"]
        (mate,) = protocol.mate_rows(0)
        sources = {gallery[mate].source_id, queries[protocol.queries[0]].source_id}
        assert "ada3" in sources


@pytest.mark.parametrize("make", [one_mate, open_set])
def test_choices_follow_the_seed_and_the_photographs(make: Callable[..., Protocol]) -> None:
    gallery, queries = photos("g", *many(30, 3)), photos("q", *many(30, 3))

    def chosen(protocol: Protocol, queries: list[Photo]) -> tuple[set[str], set[str]]:
        return (
            {queries[n].source_id for n in protocol.queries},
            {gallery[n].source_id for n in protocol.gallery},
        )

    first = chosen(make(gallery, queries, seed=1), queries)
    assert first == chosen(make(gallery, queries, seed=1), queries)
    assert first != chosen(make(gallery, queries, seed=2), queries)
    # Another cover of the same photographs, in another order: the same choice.
    masked = photos("masked", *reversed(many(30, 3)))
    assert first == chosen(make(gallery, masked, seed=1), masked)


def test_open_set() -> None:
    gallery, queries = photos("g", *many(20, 3)), photos("q", *many(20, 3))
    protocol = open_set(gallery, queries, unenrolled=0.25)
    enrolled = {gallery[n].person for n in protocol.gallery}
    assert len(enrolled) == 15
    assert len(protocol) == 60
    for q, row in enumerate(protocol.queries):
        assert protocol.mated[q] == (queries[row].person in enrolled)
        assert queries[row].source_id not in {
            gallery[n].source_id for n in np.setdiff1d(protocol.gallery, protocol.excluded_rows(q))
        }
    # An enrolled person whose only photo is the query's own cannot be found either.
    lonely = open_set(photos("g", *FACES), photos("q", *FACES), unenrolled=0.34)
    cy = lonely.query_people == lonely.people.index("cy")
    assert not lonely.mated[cy].any()


@pytest.mark.parametrize("share", [0, 1, -0.5, 0.01])
def test_open_set_needs_both_kinds_of_people(share: float) -> None:
    with pytest.raises(InputError):
        open_set(photos("g", *FACES), photos("q", *FACES), unenrolled=share)


def test_bad_input_is_refused() -> None:
    faces = photos("g", *FACES)
    nobody = [Photo(Path("x.jpg"), "", "x")]
    for make in PROTOCOLS.values():
        for gallery, queries in (([], faces), (faces, []), (nobody, faces), (faces, nobody)):
            with pytest.raises(InputError):
                make(gallery, queries)
    with pytest.raises(InputError, match="nobody has both"):
        one_mate(faces, photos("q", "dee1"))
    for people in (0, 3):
        with pytest.raises(InputError, match="people were asked for"):
            one_mate(faces, faces, people=people)


@pytest.fixture(scope="module")
def lists(shared_dir: Path) -> Callable[[str], tuple[Photo, ...]]:
    return lambda name: read_listing(shared_dir / "data" / "lfw_protocol" / f"emd_{name}.txt")


@pytest.mark.parametrize(
    ("queries", "lonely"),
    [("lfw_128_masked_label", 4_009), ("lfw_128_crop70", 4_057), ("lfw_128_glass", 4_057)],
)
def test_what_the_published_protocol_hides(
    lists: Callable[[str], tuple[Photo, ...]], queries: str, lonely: int
) -> None:
    """Queries of people with no other photo: only the source photo can be found."""
    gallery, edits = lists("lfw_128"), lists(queries)
    assert published(gallery, edits).mated.all()
    protocol = no_leak(gallery, edits)
    assert int((~protocol.mated).sum()) == lonely
    assert protocol.same_photo == len(edits)


def test_the_published_ceiling_of_lfw_1680(lists: Callable[[str], tuple[Photo, ...]]) -> None:
    faces = lists("lfw_128x128_1680")
    ranks = perfect(published(faces, faces))
    for metric in (r_precision, map_at_r, ceiling):
        assert round(100 * float(metric(ranks).mean()), 2) == 81.69
    assert r_precision(perfect(no_leak(faces, faces))).mean() == 1
