"""Identification and verification against a plain second method, on random features."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from faceflow.arrays import Int64
from faceflow.errors import GalleryMismatchError, InputError
from faceflow.explain import explain_pair
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery, Shortlist
from faceflow.matching.identification import Matches, identify
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import Reranked, emd_similarity, prepare, rerank
from faceflow.matching.transport import Sinkhorn, encode, native
from faceflow.matching.verification import verify
from faceflow.matching.weighting import WEIGHTINGS

Make = Callable[..., FaceFeatures]
DIGEST = features_digest("0" * 64)
PEOPLE = ["ada", "ada", "bo", "bo", "bo", "cy", "dee", "dee", "eve", "fay"]


@pytest.fixture
def gallery(tmp_path: Path, random_features: Make) -> Iterator[Gallery]:
    """Ten faces of six people; float32 patches, so that a second method can be exact."""
    features = random_features(len(PEOPLE), seed=3, landmarks=True, digest=DIGEST)
    with Gallery.create(
        tmp_path / "people.faceflow",
        network_name="lightcnn-v4",
        digest="0" * 64,
        embedding_size=256,
        grid=(8, 8),
        channels=128,
        codec="float32",
    ) as gallery:
        gallery.enroll(
            Enrolment(
                person=person,
                source=f"{person}-{n}.jpg",
                content_hash=f"{n:064x}",
                features=features[n],
            )
            for n, person in enumerate(PEOPLE)
        )
        yield gallery


@pytest.fixture
def queries(random_features: Make) -> FaceFeatures:
    return random_features(4, seed=8, landmarks=True, digest=DIGEST)


def scores(matches: Matches) -> list[tuple[int, float, int]]:
    return [(face.face_id, face.score, face.stage1_rank) for face in matches.faces]


@pytest.mark.parametrize("weighting", sorted(WEIGHTINGS.keys() - {"cc", "uncovered"}))
@pytest.mark.parametrize("grid", [None, (4, 4)])
def test_ranking_equals_a_plain_loop(
    gallery: Gallery, queries: FaceFeatures, weighting: str, grid: tuple[int, int] | None
) -> None:
    alpha, k = 0.4, 6
    answers = identify(
        queries, gallery, gallery.options(k=k, alpha=alpha, weighting=weighting, grid=grid)
    )
    ids = np.array([record.face_id for record in gallery.faces()])
    enrolled = gallery.features(ids, landmarks=True)
    for query, matches in zip(queries, answers, strict=True):
        cosine = enrolled.embedding.astype(float) @ query.embedding[0].astype(float)
        top = sorted(range(len(ids)), key=lambda n: -cosine[n])[:k]
        small = query if grid is None else query.regrid(grid)
        expected = []
        for rank, n in enumerate(top, start=1):
            other = enrolled[n] if grid is None else enrolled[n].regrid(grid)
            emd = emd_similarity(small, other, weighting=weighting).similarity[0]
            expected.append((int(ids[n]), alpha * emd + (1 - alpha) * cosine[n], rank))
        expected.sort(key=lambda row: -row[1])
        assert [row[::2] for row in scores(matches)] == [row[::2] for row in expected]
        np.testing.assert_allclose(
            [row[1] for row in scores(matches)], [row[1] for row in expected], atol=1e-7
        )
        assert [face.rank for face in matches.faces] == list(range(1, k + 1))


@pytest.mark.parametrize("codec", ["int8", "float32"])
@pytest.mark.parametrize("weighting", native.WEIGHTINGS)
def test_int8_transport_of_stored_codes_equals_that_of_decoded_patches(
    tmp_path: Path, random_features: Make, queries: FaceFeatures, codec: str, weighting: str
) -> None:
    features, solver = random_features(30, seed=5, digest=DIGEST), Sinkhorn(dtype="int8")
    with Gallery.create(
        tmp_path / "codes.faceflow",
        network_name="lightcnn-v4",
        digest="0" * 64,
        embedding_size=256,
        grid=(8, 8),
        channels=128,
        codec=codec,
    ) as gallery:
        gallery.enroll(
            Enrolment(f"person {n}", f"{n}.jpg", f"{n:064x}", features[n]) for n in range(30)
        )
        answer = identify(
            queries[0], gallery, gallery.options(alpha=1, weighting=weighting, solver=solver)
        )[0]
        ids = [face.face_id for face in answer.faces]
        stored, codes = gallery.features(ids), gallery.codes(ids)
        assert np.array_equal(codes.patches, encode(stored.patches, "int8"))
        assert np.array_equal(codes.pooled, stored.pooled)
        assert np.array_equal(codes.embedding, stored.embedding)
        plan = emd_similarity(queries[0], stored, weighting=weighting, solver=solver)
        assert [face.emd for face in answer.faces] == plan.similarity.tolist()


def test_a_batch_equals_its_loop(gallery: Gallery, queries: FaceFeatures) -> None:
    together = identify(queries, gallery, gallery.options(alpha=0.5))
    alone = [identify(query, gallery, gallery.options(alpha=0.5))[0] for query in queries]
    assert together == alone


def test_a_score_does_not_depend_on_the_other_candidates(
    gallery: Gallery, queries: FaceFeatures
) -> None:
    wide = {
        row[0]: row[1]
        for row in scores(identify(queries[0], gallery, gallery.options(alpha=0.5))[0])
    }
    narrow = scores(identify(queries[0], gallery, gallery.options(alpha=0.5, k=3))[0])
    assert len(narrow) == 3
    assert all(wide[face_id] == score for face_id, score, _ in narrow)


def test_alpha_zero_keeps_stage_one(gallery: Gallery, queries: FaceFeatures) -> None:
    for matches in identify(queries, gallery, gallery.options(alpha=0)):
        assert [face.stage1_rank for face in matches.faces] == list(range(1, 11))
        assert all(face.emd is None and face.score == face.cosine for face in matches.faces)
        assert [p.stage1_rank for p in matches.people] == list(range(1, 7))


@pytest.mark.parametrize("best_faces", [1, 2, 5])
def test_people_are_scored_by_their_best_faces(
    gallery: Gallery, queries: FaceFeatures, best_faces: int
) -> None:
    for matches in identify(queries, gallery, gallery.options(alpha=0.5), best_faces=best_faces):
        by_person: dict[str, list[float]] = {}
        for face in matches.faces:
            by_person.setdefault(face.person, []).append(face.score)
        expected = {
            person: np.mean(sorted(values)[::-1][:best_faces])
            for person, values in by_person.items()
        }
        assert [p.person for p in matches.people] == sorted(expected, key=lambda p: -expected[p])
        for person in matches.people:
            assert person.score == pytest.approx(expected[person.person], abs=1e-12)
            assert person.faces == min(best_faces, len(by_person[person.person]))


def test_threshold_decides(gallery: Gallery, queries: FaceFeatures) -> None:
    best = identify(queries[0], gallery)[0]
    assert best.status == "ranked"
    assert best.person == best.people[0].person
    score = best.people[0].score
    assert identify(queries[0], gallery, threshold=score)[0].status == "identified"
    unknown = identify(queries[0], gallery, threshold=score + 1e-9)[0]
    assert unknown.status == "unknown"
    assert unknown.person is None
    assert unknown.people == best.people


def test_calibrated_settings_of_the_gallery_are_used(
    gallery: Gallery, queries: FaceFeatures
) -> None:
    gallery.update_settings({"match": {"alpha": 0.9, "weighting": "sc", "k": 4, "threshold": 5.0}})
    calibrated = identify(queries[0], gallery)[0]
    by_hand = identify(
        queries[0], gallery, gallery.options(alpha=0.9, weighting="sc", k=4), threshold=5.0
    )[0]
    assert calibrated == by_hand
    assert calibrated.status == "unknown"
    # Of a student the same scores are another matter: nobody measured how its fall.
    asked = queries[0].as_from(f"{'ab' * 32}>{gallery.features_digest}")
    found = identify(asked, gallery)[0]
    assert (found.status, found.threshold) == ("ranked", None)
    assert [face.score for face in found.faces] == [face.score for face in calibrated.faces]


def test_plans_are_kept_when_asked_for(gallery: Gallery, queries: FaceFeatures) -> None:
    matches = identify(queries[0], gallery, gallery.options(alpha=0.5), explain=True)[0]
    for face in matches.faces:
        assert face.plan is not None
        assert face.plan.flow is not None
        assert face.plan.flow.shape == (1, 64, 64)
        assert face.plan.similarity[0] == face.emd


def test_an_empty_gallery_answers_empty(tmp_path: Path, queries: FaceFeatures) -> None:
    with Gallery.create(
        tmp_path / "empty.faceflow",
        network_name="lightcnn-v4",
        digest="0" * 64,
        embedding_size=256,
        grid=(8, 8),
        channels=128,
    ) as gallery:
        answers = identify(queries, gallery)
    assert [a.status for a in answers] == ["empty"] * 4
    assert all(a.person is None and not a.faces for a in answers)


def test_no_query_gives_no_answer(gallery: Gallery, queries: FaceFeatures) -> None:
    assert identify(queries[[]], gallery) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"k": 0},
        {"alpha": 1.5},
        {"alpha": float("nan")},
        {"weighting": "lmk?"},
        {"grid": (3, 3)},
        {"colour": "red"},
    ],
)
def test_bad_options_are_refused(
    gallery: Gallery, queries: FaceFeatures, changes: dict[str, object]
) -> None:
    with pytest.raises(InputError):
        identify(queries, gallery, gallery.options(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"threshold": float("nan")}, {"best_faces": 0}])
def test_bad_decisions_are_refused(
    gallery: Gallery, queries: FaceFeatures, wrong: dict[str, float]
) -> None:
    with pytest.raises(InputError):
        identify(queries, gallery, **wrong)  # type: ignore[arg-type]


def test_verify_equals_its_parts(random_features: Make) -> None:
    a, b = random_features(1, seed=1), random_features(1, seed=2)
    options = MatchOptions(alpha=0.3, weighting="apc", solver=Sinkhorn())
    answer = verify(a, b, options)
    emd = emd_similarity(a, b, weighting="apc").similarity[0]
    cosine = float(a.embedding[0] @ b.embedding[0])
    assert answer.emd == emd
    assert answer.cosine == pytest.approx(cosine, abs=1e-6)
    assert answer.score == pytest.approx(0.3 * emd + 0.7 * cosine, abs=1e-6)
    assert answer.same is None
    assert verify(a, b, options, threshold=answer.score).same is True
    assert verify(a, b, options, threshold=answer.score + 1e-6).same is False
    assert verify(a, a, options).cosine == pytest.approx(1, abs=1e-6)


def test_verify_refuses_what_it_cannot_compare(random_features: Make) -> None:
    options = MatchOptions(alpha=0.3, weighting="apc")
    with pytest.raises(InputError, match="single faces"):
        verify(random_features(2), random_features(1), options)
    with pytest.raises(InputError, match="different networks"):
        verify(random_features(1), random_features(1, channels=64), options)


@pytest.mark.parametrize(
    ("digest", "said"),
    [
        (features_digest("1" * 64), "network 111111111111"),
        (features_digest("0" * 64, "fan-2d"), "aligned by fan-2d"),
        (None, r"as_from\(digest\)"),
    ],
)
def test_features_of_another_origin_are_refused_whatever_their_sizes(
    gallery: Gallery, queries: FaceFeatures, digest: str | None, said: str
) -> None:
    foreign, options = queries.as_from(digest), gallery.options()
    ids = [record.face_id for record in gallery.faces()]
    enrolled = gallery.features(ids)
    for refused in (
        lambda: identify(foreign, gallery),
        lambda: gallery.shortlist(foreign, 3),
        lambda: gallery.score(foreign[0], ids, options),
        lambda: rerank(foreign[0], enrolled, options),
        lambda: rerank(foreign[0], prepare(enrolled, options), options),
        lambda: verify(foreign[0], enrolled[0], options),
        lambda: verify(foreign[0], enrolled[0]),
        lambda: explain_pair(foreign[0], enrolled[0], options),
        lambda: gallery.enroll([Enrolment("gus", "g.jpg", "e" * 64, foreign[0])]),
    ):
        with pytest.raises(GalleryMismatchError, match=said):
            refused()
    assert len(gallery) == len(PEOPLE)
    # With your word they are taken.
    assert identify(foreign.as_from(DIGEST), gallery) == identify(queries, gallery)


def test_identify_needs_no_more_than_the_small_protocol(
    gallery: Gallery, queries: FaceFeatures
) -> None:
    """Two halves of a gallery, each in its own process as it were, answer as the whole does."""

    class Halves:
        """Every other face is somewhere else."""

        def __init__(self) -> None:
            self.snapshots = 0
            self.calibration = gallery.calibration

        def options(self) -> MatchOptions:
            return gallery.options()

        @contextlib.contextmanager
        def snapshot(self) -> Iterator[Halves]:
            self.snapshots += 1
            yield self

        def shortlist(self, query: FaceFeatures, k: int) -> Shortlist:
            everybody = [record.face_id for record in gallery.faces()]
            parts = [
                gallery.search(query, k, exclude=[everybody[n::2]] * len(query)) for n in (0, 1)
            ]
            ids = np.concatenate([part.face_ids for part in parts], axis=1)
            cosine = np.concatenate([part.cosine for part in parts], axis=1)
            best = np.lexsort((ids, -np.where(ids < 0, -np.inf, cosine)), axis=1)[:, :k]
            return Shortlist(*(np.take_along_axis(x, best, axis=1) for x in (ids, cosine)))

        def score(
            self, query: FaceFeatures, face_ids: Int64, options: MatchOptions, *, flow: bool = False
        ) -> Reranked:
            halves = [face_ids % 2 == n for n in (0, 1)]
            score, cosine, emd = (np.empty(len(face_ids)) for _ in range(3))
            for half in halves:
                found = gallery.score(query, face_ids[half], options, flow=flow)
                score[half], cosine[half], emd[half] = found.score, found.cosine, found.emd
            return Reranked(score, cosine, emd)

        def person_of(self, face_ids: Int64) -> list[str]:
            return gallery.person_of(face_ids)

    halves = Halves()
    assert identify(queries, halves) == identify(queries, gallery)
    assert halves.snapshots == 1, "one consistent view a call"
    assert [identify(query, gallery)[0] for query in queries] == identify(queries, gallery)
    assert identify(queries[[]], gallery) == []
