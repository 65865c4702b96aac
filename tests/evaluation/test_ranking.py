"""Rankings against identification itself, plain loops, and their own cache."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceflow.arrays import Float32, Floats, Int64
from faceflow.errors import InputError
from faceflow.evaluation import exhaustive, ranking
from faceflow.evaluation.data import Photo
from faceflow.evaluation.data.protocols import Protocol, no_leak, one_mate, open_set, published
from faceflow.evaluation.exhaustive import rank_by_emd
from faceflow.evaluation.metrics.mates import NEVER
from faceflow.evaluation.metrics.retrieval import precision_at_1
from faceflow.evaluation.ranking import Rankings, rank
from faceflow.features import FaceFeatures
from faceflow.gallery import Enrolment, Gallery
from faceflow.matching.identification import identify
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import Reranked, emd_similarity, rerank
from faceflow.matching.transport import Plan, Sinkhorn

Make = Callable[..., FaceFeatures]
PEOPLE = "aaabbbbbcddddeefgggh"
OPTIONS = MatchOptions(alpha=0.5, weighting="apc", k=6)


def photos(kind: str, people: str) -> list[Photo]:
    return [Photo(Path(f"{kind}/{n}.jpg"), who, f"photo {n}") for n, who in enumerate(people)]


def lookalikes(make: Make, people: str, noise: float, seed: int) -> FaceFeatures:
    """Features in which faces of one person are alike."""
    person = make(8, seed=1, channels=16, size=32, grid=(4, 4))
    own = make(len(people), seed=seed, channels=16, size=32, grid=(4, 4))
    rows = ["abcdefgh".index(who) for who in people]
    maps = person.raw_patches[rows] + noise * own.raw_patches
    return FaceFeatures.from_maps(
        person.embedding[rows] + noise * own.embedding,
        maps.transpose(0, 2, 1).reshape(len(people), 16, 4, 4),
    )


@pytest.fixture(scope="module")
def make() -> Make:
    def make(n: int, *, seed: int, grid: tuple[int, int], channels: int, size: int) -> FaceFeatures:
        rng = np.random.default_rng(seed)
        return FaceFeatures.from_maps(
            rng.standard_normal((n, size)), rng.standard_normal((n, channels, *grid))
        )

    return make


@pytest.fixture(scope="module")
def faces(make: Make) -> FaceFeatures:
    return lookalikes(make, PEOPLE, 0.9, 2)


@pytest.fixture(scope="module")
def queries(make: Make) -> FaceFeatures:
    return lookalikes(make, PEOPLE, 1.4, 3)


@pytest.fixture
def gallery(tmp_path: Path, faces: FaceFeatures) -> Iterator[Gallery]:
    with Gallery.create(
        tmp_path / "people.faceflow",
        network_name="test",
        digest="0" * 64,
        embedding_size=32,
        grid=(4, 4),
        channels=16,
        codec="float32",
    ) as gallery:
        gallery.enroll(
            Enrolment(
                person=who,
                source=f"{n}.jpg",
                content_hash=f"{n:064x}",
                box=np.array([0.0, 0, 9, 9]),
                score=0.9,
                features=faces[n].as_from(gallery.features_digest),
            )
            for n, who in enumerate(PEOPLE)
        )
        yield gallery


@pytest.mark.parametrize("weighting", ["uniform", "apc", "sc"])
@pytest.mark.parametrize(
    ("alpha", "k", "grid"), [(0.0, 6, None), (0.4, 6, (2, 2)), (1.0, 50, None)]
)
def test_agrees_with_identify(
    gallery: Gallery,
    faces: FaceFeatures,
    queries: FaceFeatures,
    weighting: str,
    alpha: float,
    k: int,
    grid: tuple[int, int] | None,
) -> None:
    options = MatchOptions(alpha=alpha, weighting=weighting, k=k, grid=grid)
    # The published protocol excludes nothing here, as identification does.
    protocol = published(photos("g", PEOPLE), photos("q", PEOPLE))
    result = rank(queries, faces, protocol, options)
    answers = identify(queries.as_from(gallery.features_digest), gallery, options)
    ids = {record.face_id: int(record.source[:-4]) for record in gallery.faces()}
    order, scores = result.order(), result.scores()
    for q, answer in enumerate(answers):
        listed = [ids[face.face_id] for face in answer.faces]
        assert result.faces[q][order[q]].tolist()[: len(listed)] == listed
        assert (order[q] + 1).tolist()[: len(listed)] == [f.stage1_rank for f in answer.faces]
        assert scores[q][order[q]].tolist()[: len(listed)] == [f.score for f in answer.faces]
        assert (result.faces[q] >= 0).sum() == len(listed) == min(k, len(PEOPLE))


def naive(
    queries: FaceFeatures, faces: FaceFeatures, protocol: Protocol, options: MatchOptions
) -> Iterator[tuple[list[int], list[int]]]:
    """Each query's whole ranking by stage 1 and by stage 2, in one loop."""
    for q, row in enumerate(protocol.queries):
        rows = [n for n in protocol.gallery.tolist() if n not in protocol.excluded_rows(q)]
        query = queries.embedding[row].astype(float)
        cosine = {n: float(faces.embedding[n].astype(float) @ query) for n in rows}
        first = sorted(rows, key=lambda n: -cosine[n])
        top = first[: options.k]
        emd = {
            n: float(emd_similarity(queries[row], faces[n], weighting="apc").similarity[0])
            for n in top
        }
        score = {n: options.alpha * emd[n] + (1 - options.alpha) * cosine[n] for n in top}
        yield first, sorted(top, key=lambda n: -score[n]) + first[options.k :]


def protocols() -> dict[str, Protocol]:
    gallery, probes = photos("g", PEOPLE), photos("q", PEOPLE)
    links = [("photo 4", "photo 5"), ("photo 0", "photo 9")]
    return {
        "published, itself": published(gallery, gallery),
        "no-leak": no_leak(gallery, probes, duplicates=links),
        "one-mate": one_mate(gallery, probes, duplicates=links),
        "open-set": open_set(gallery, probes),
    }


@pytest.mark.parametrize("name", protocols())
@pytest.mark.parametrize("k", [1, 4, 100])
def test_agrees_with_plain_loops(
    faces: FaceFeatures, queries: FaceFeatures, name: str, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "_QUERIES", 3)
    monkeypatch.setattr(ranking, "_FACES", 7)
    protocol, options = protocols()[name], dataclasses.replace(OPTIONS, k=k)
    result = rank(queries, faces, protocol, options)
    stage2 = result.stage2()
    for q, (first, second) in enumerate(naive(queries, faces, protocol, options)):
        mates = set(protocol.mate_rows(q).tolist())
        for ranks, listed in ((result.stage1, first), (stage2, second)):
            expected = [n for n, row in enumerate(listed, start=1) if row in mates]
            assert ranks.ranks[ranks.start[q] : ranks.start[q + 1]].tolist() == expected
        known = result.faces[q] >= 0
        assert result.faces[q][known].tolist() == first[:k]
        assert result.mate[q][known].tolist() == [row in mates for row in first[:k]]
        assert not result.mate[q][~known].any()
    assert result.stage1.relevant.tolist() == protocol.relevant.tolist()


def test_every_alpha_is_read_off_one_run(faces: FaceFeatures, queries: FaceFeatures) -> None:
    protocol = protocols()["no-leak"]
    once = rank(queries, faces, protocol, OPTIONS)
    for alpha in (0.1, 0.7, 1.0):
        again = rank(queries, faces, protocol, dataclasses.replace(OPTIONS, alpha=alpha))
        np.testing.assert_array_equal(once.stage2(alpha).ranks, again.stage2().ranks)
        np.testing.assert_array_equal(once.scores(alpha), again.scores())
    np.testing.assert_array_equal(once.stage2(0.0).ranks, once.stage1.ranks)


def test_without_emd_there_is_only_stage_1(faces: FaceFeatures, queries: FaceFeatures) -> None:
    result = rank(queries, faces, protocols()["no-leak"], dataclasses.replace(OPTIONS, alpha=0.0))
    assert np.isnan(result.emd).all()
    np.testing.assert_array_equal(result.stage2().ranks, result.stage1.ranks)
    with pytest.raises(InputError, match="no EMD was computed"):
        result.stage2(0.5)
    with pytest.raises(InputError):
        result.scores(1.5)


def test_equal_faces_stand_in_gallery_order(make: Make) -> None:
    """Ties, deep ones too, are broken by the gallery's order, for any block of faces."""
    one = make(1, seed=5, channels=4, size=8, grid=(2, 2))
    faces = FaceFeatures.concatenate([one] * 12)
    people = "abababababab"
    protocol = published(photos("g", people), photos("q", "ab"))
    result = rank(one[[0, 0]], faces, protocol, MatchOptions(alpha=0.3, weighting="uniform", k=3))
    for ranks in (result.stage1, result.stage2()):
        assert ranks.ranks.tolist() == [1, 3, 5, 7, 9, 11, 2, 4, 6, 8, 10, 12]


def test_searches_are_what_a_user_sees(faces: FaceFeatures, queries: FaceFeatures) -> None:
    protocol = protocols()["open-set"]
    result = rank(queries, faces, protocol, dataclasses.replace(OPTIONS, k=3))
    for alpha in (0.0, 0.5):
        searches = result.searches(protocol.mated, alpha)
        ranks = (result.stage1 if alpha == 0 else result.stage2(alpha)).first
        for q in range(len(protocol)):
            row = protocol.queries[q]
            listed = result.faces[q]
            cosine = faces.embedding[listed].astype(float) @ queries.embedding[row].astype(float)
            emd = emd_similarity(queries[row], faces[listed], weighting="apc").similarity
            score = alpha * emd + (1 - alpha) * cosine
            assert searches.top[q] == pytest.approx(score.max(), abs=1e-6)
            mates = [s for s, n in zip(score, listed, strict=True) if n in protocol.mate_rows(q)]
            if mates:
                assert searches.mate[q] == pytest.approx(max(mates), abs=1e-6)
                assert searches.rank[q] == ranks[q]
            else:
                assert (searches.mate[q], searches.rank[q]) == (-np.inf, NEVER)


def test_a_query_with_nothing_left_to_compare(make: Make) -> None:
    faces = make(2, seed=1, channels=4, size=8, grid=(2, 2))
    people = photos("g", "ab")
    protocol = no_leak(people, people, duplicates=[("photo 0", "photo 1")])
    result = rank(faces, faces, protocol, OPTIONS)
    assert (result.faces == -1).all()
    assert len(result.stage1.ranks) == 0
    assert np.isneginf(result.scores()).all()


class Store:
    """Features on demand, counting what is asked for."""

    def __init__(self, features: FaceFeatures) -> None:
        self._features = features
        self.fetched = 0
        self.largest = 0

    @property
    def embedding(self) -> Float32:
        return self._features.embedding

    @property
    def digest(self) -> str | None:
        return self._features.digest

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, rows: Int64) -> FaceFeatures:
        self.fetched += len(rows)
        self.largest = max(self.largest, len(rows))
        return self._features[rows]


def test_patches_are_read_once_or_where_there_is_no_room_for_the_shortlists_alone(
    faces: FaceFeatures, queries: FaceFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = protocols()["no-leak"]
    expected = rank(queries, faces, protocol, OPTIONS)
    store = Store(faces)
    assert_equal(rank(queries, store, protocol, OPTIONS), expected)
    assert store.fetched == len(faces) + 1  # one face to see how large they are
    monkeypatch.setattr("faceflow.evaluation.faces.HELD", 0)
    store = Store(faces)
    assert_equal(rank(queries, store, protocol, OPTIONS), expected)
    assert store.largest == OPTIONS.k
    assert store.fetched == OPTIONS.k * len(protocol) + 1


def assert_equal(one: Rankings, other: Rankings) -> None:
    for name in ("faces", "cosine", "emd", "mate"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.stage1.ranks, other.stage1.ranks)
    assert (one.alpha, one.unconverged) == (other.alpha, other.unconverged)


class Stop(Exception):
    pass


def test_a_stopped_run_goes_on(
    faces: FaceFeatures, queries: FaceFeatures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "_QUERIES", 6)
    protocol = protocols()["no-leak"]
    whole = rank(queries, faces, protocol, OPTIONS)
    done: list[tuple[int, int]] = []

    def stop_after_two(*progress: int) -> None:
        done.append((progress[0], progress[1]))
        if len(done) == 2:
            raise Stop

    with pytest.raises(Stop):
        rank(queries, faces, protocol, OPTIONS, cache=tmp_path, progress=stop_after_two)
    assert done == [(6, 20), (12, 20)]
    assert len(list(tmp_path.iterdir())) == 2

    solved: list[int] = []

    def counted(query: Any, some: FaceFeatures, options: MatchOptions) -> Reranked:
        solved.append(len(some))
        return rerank(query, some, options)

    monkeypatch.setattr(ranking, "rerank", counted)
    assert_equal(rank(queries, faces, protocol, OPTIONS, cache=tmp_path), whole)
    assert len(solved) == 8  # the third and fourth block
    # Any other alpha needs no solving at all; alpha belongs to the run, not to the blocks.
    solved.clear()
    other = rank(queries, faces, protocol, dataclasses.replace(OPTIONS, alpha=0.9), cache=tmp_path)
    assert not solved
    np.testing.assert_array_equal(other.stage2().ranks, whole.stage2(0.9).ranks)


def test_nothing_stale_is_ever_read(
    faces: FaceFeatures, queries: FaceFeatures, tmp_path: Path
) -> None:
    probes = photos("q", PEOPLE)
    base = protocols()["no-leak"]
    rank(queries, faces, base, OPTIONS, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    changed = faces.patches.copy()
    changed[3, 2] *= -1
    runs = [
        (queries, faces, base, dataclasses.replace(OPTIONS, k=5)),
        (queries, faces, base, dataclasses.replace(OPTIONS, weighting="sc")),
        (queries, faces, base, dataclasses.replace(OPTIONS, grid=(2, 2))),
        (queries, faces, base, dataclasses.replace(OPTIONS, alpha=0.0)),
        (queries, faces, base, dataclasses.replace(OPTIONS, solver=Sinkhorn(epsilon=0.1))),
        (queries, faces, protocols()["published, itself"], OPTIONS),
        (queries, faces, no_leak(photos("g", PEOPLE[::-1]), probes), OPTIONS),
        (faces, faces, base, OPTIONS),
        (queries, dataclasses.replace(faces, patches=changed), base, OPTIONS),
    ]
    for n, run in enumerate(runs, start=2):
        assert_equal(rank(*run, cache=tmp_path), rank(*run))
        assert len(list(tmp_path.iterdir())) == n


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut short", b"text"])
def test_a_damaged_block_is_reported_and_computed_again(
    faces: FaceFeatures,
    queries: FaceFeatures,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: bytes,
) -> None:
    protocol = protocols()["no-leak"]
    whole = rank(queries, faces, protocol, OPTIONS, cache=tmp_path)
    (block,) = tmp_path.iterdir()
    size = block.stat().st_size
    block.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        assert_equal(rank(queries, faces, protocol, OPTIONS, cache=tmp_path), whole)
    assert "damaged" in caplog.text
    assert block.stat().st_size == size


def test_a_solver_without_a_name_cannot_be_cached(
    faces: FaceFeatures, queries: FaceFeatures, tmp_path: Path
) -> None:
    class Anonymous:
        def __call__(
            self,
            query_patches: Floats,
            gallery_patches: Floats,
            u: Floats,
            v: Floats,
            *,
            flow: bool = False,
        ) -> Plan:
            return Sinkhorn(dtype="f32")(query_patches, gallery_patches, u, v, flow=flow)

    options = dataclasses.replace(OPTIONS, solver=Anonymous())
    protocol = protocols()["no-leak"]
    exact = dataclasses.replace(OPTIONS, solver=Sinkhorn(dtype="f32"))
    named, unnamed = (rank(queries, faces, protocol, some) for some in (exact, options))
    np.testing.assert_allclose(unnamed.emd, named.emd, atol=1e-4)
    with pytest.raises(InputError, match="no dataclass"):
        rank(queries, faces, protocol, options, cache=tmp_path)


def test_threads_and_the_resolved_backend_do_not_spoil_a_cache(
    faces: FaceFeatures, queries: FaceFeatures, tmp_path: Path
) -> None:
    protocol = protocols()["no-leak"]
    used = Sinkhorn().backend_for(16, 16, 16)
    for solver in (Sinkhorn(), Sinkhorn(threads=1), Sinkhorn(backend=used)):
        options = dataclasses.replace(OPTIONS, solver=solver)
        rank(queries, faces, protocol, options, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    if used == "native":
        options = dataclasses.replace(OPTIONS, solver=Sinkhorn(backend="numpy"))
        rank(queries, faces, protocol, options, cache=tmp_path)
        assert len(list(tmp_path.iterdir())) == 2


def test_unconverged_pairs_are_counted(faces: FaceFeatures, queries: FaceFeatures) -> None:
    hasty = dataclasses.replace(OPTIONS, solver=Sinkhorn(max_iterations=1, tolerance=1e-9))
    protocol = protocols()["no-leak"]
    assert rank(queries, faces, protocol, hasty).unconverged == OPTIONS.k * len(protocol)
    assert rank(queries, faces, protocol, OPTIONS).unconverged == 0


def test_features_of_other_photos_are_refused(faces: FaceFeatures, queries: FaceFeatures) -> None:
    protocol = protocols()["no-leak"]
    with pytest.raises(InputError, match="19 gallery features"):
        rank(queries, faces[:19], protocol, OPTIONS)
    with pytest.raises(InputError, match="19 query features"):
        rank(queries[:19], faces, protocol, OPTIONS)
    other = FaceFeatures.from_maps(np.ones((20, 8)), np.ones((20, 16, 4, 4)))
    with pytest.raises(InputError, match="different networks"):
        rank(other, faces, protocol, OPTIONS)


def test_re_ranking_is_measured_end_to_end(faces: FaceFeatures, queries: FaceFeatures) -> None:
    protocol = protocols()["no-leak"]
    result = rank(queries, faces, protocol, OPTIONS)
    stage1, stage2 = (r.select(protocol.mated) for r in (result.stage1, result.stage2()))
    assert 0 < precision_at_1(stage1).mean() < 1
    assert precision_at_1(stage2).mean() >= precision_at_1(stage1).mean()


@pytest.mark.parametrize("block", [3, 1024])
def test_emd_over_the_gallery_by_plain_loops(
    faces: FaceFeatures, queries: FaceFeatures, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhaustive, "_FACES", block)
    protocol = protocols()["no-leak"]
    found = rank_by_emd(queries, faces, protocol, OPTIONS)
    for q, row in enumerate(protocol.queries):
        rows = [n for n in protocol.gallery.tolist() if n not in protocol.excluded_rows(q)]
        emd = {n: emd_similarity(queries[row], faces[n]).similarity[0] for n in rows}
        best = sorted(rows, key=lambda n: -emd[n])[: found.depth]
        mates = set(protocol.mate_rows(q).tolist())
        expected = [n for n, face in enumerate(best, start=1) if face in mates]
        assert found.ranks.ranks[found.ranks.start[q] : found.ranks.start[q + 1]].tolist() == (
            expected
        )
    hasty = dataclasses.replace(OPTIONS, solver=Sinkhorn(0.01, 1e-7, 2))
    assert rank_by_emd(queries, faces, protocol, hasty).unconverged > 0
