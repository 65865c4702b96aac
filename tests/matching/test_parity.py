"""One score through every door, to the last bit: on the default options and every weighting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from faceflow import networks
from faceflow.arrays import Float64
from faceflow.calibration import Setting
from faceflow.calibration.leaks import Leaks
from faceflow.calibration.searches import EnrolledFeatures, Searches, collect_evidence
from faceflow.demo.questions import Asker
from faceflow.evaluation import verification_run
from faceflow.evaluation.data import Dataset, Pair, Photo
from faceflow.evaluation.data.protocols import no_leak
from faceflow.evaluation.exhaustive import rank_by_emd
from faceflow.evaluation.experiment import Experiment
from faceflow.evaluation.ranking import rank
from faceflow.explain import explain_pair
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery
from faceflow.matching import covers
from faceflow.matching.covers import PatchModel
from faceflow.matching.identification import Matches, identify
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import PreparedFaces, Reranked, prepare, rerank
from faceflow.matching.transport import Sinkhorn
from faceflow.matching.verification import verify
from faceflow.matching.weighting import WEIGHTINGS
from faceflow.networks import FaceNetwork

Make = Callable[..., FaceFeatures]
FACES, QUERIES = 6, 2
PHOTOS = [Photo(Path(f"g/{n}.jpg"), f"person {n}", f"gallery {n}") for n in range(FACES)]
ASKED = [Photo(Path(f"q/{n}.jpg"), f"person {n}", f"query {n}", "clean") for n in range(QUERIES)]

# On raw patches; cc multiplies patches with embeddings and takes projected ones.
OPTIONS = {
    "default": None,
    **{name: MatchOptions(0.3, name) for name in WEIGHTINGS if name not in ("cc", "uncovered")},
    "uncovered": MatchOptions(0.3, "uncovered", visible_share=0.5),
    "cc": MatchOptions(0.3, "cc", patches="projected"),
    "projected apc": MatchOptions(0.6, "apc", patches="projected", visible_share=0.2),
    "visible cosine alone": MatchOptions(0.0, "uniform", visible_share=0.4),
    "stage 1": MatchOptions(0.0, "uniform"),
    "coarse": MatchOptions(0.5, "sc", grid=(4, 4)),
    "int8": MatchOptions(0.5, "apc", solver=Sinkhorn(dtype="int8")),
    "numpy": MatchOptions(0.5, "apc", solver=Sinkhorn(backend="numpy")),
}


@dataclass(frozen=True)
class Case:
    """Faces as a gallery gives them back, what is asked, and the one score of every pair."""

    gallery: Gallery
    faces: FaceFeatures
    queries: FaceFeatures
    options: MatchOptions
    expected: list[Reranked]

    @property
    def score(self) -> Float64:
        """(Q, N)."""
        return np.stack([found.score for found in self.expected])


@pytest.fixture(scope="module")
def model(default_network: FaceNetwork) -> PatchModel:
    known = covers.load(default_network.spec.name, default_network.digest)
    assert known is not None
    return known


@pytest.fixture(scope="module", params=["int8", "float32"])
def gallery(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    default_network: FaceNetwork,
    made: Make,
) -> Iterator[Gallery]:
    path = tmp_path_factory.mktemp("parity") / "people.faceflow"
    features = made(FACES, seed=1)
    with Gallery.open_or_create(path, default_network, codec=request.param) as opened:
        opened.enroll(
            Enrolment(photo.person, str(n), f"{n:064x}", features[n])
            for n, photo in enumerate(PHOTOS)
        )
        yield opened


@pytest.fixture(scope="module")
def made(default_network: FaceNetwork) -> Make:
    """Random faces that the default network could have made, with landmark shares."""

    def make(n: int, *, seed: int) -> FaceFeatures:
        rng = np.random.default_rng(seed)
        maps = rng.standard_normal((1, 128, 8, 8)) + rng.standard_normal((n, 128, 8, 8))
        share = rng.dirichlet(np.ones(64), size=n).astype(np.float32)
        return FaceFeatures.from_maps(
            rng.standard_normal((n, 256)), maps, digest=features_digest(default_network.digest)
        ).with_landmarks(share)

    return make


@pytest.fixture(scope="module", params=OPTIONS)
def case(request: pytest.FixtureRequest, gallery: Gallery, made: Make, model: PatchModel) -> Case:
    chosen = OPTIONS[request.param]
    options = gallery.options() if chosen is None else replace(chosen, model=model)
    ids = [record.face_id for record in gallery.faces()]
    faces, queries = gallery.features(ids, landmarks=True), made(QUERIES, seed=2)
    expected = [rerank(query, faces, options) for query in queries]
    return Case(gallery, faces, queries, options, expected)


def test_the_default_options_are_the_default_networks_own(gallery: Gallery) -> None:
    options = gallery.options()
    assert (options.patches, options.weighting) == ("projected", "uncovered")
    assert options.visible_share > 0
    assert options == MatchOptions.resolve(
        networks.spec(networks.DEFAULT).defaults, model=options.model
    )


def test_a_batch_equals_its_loop_and_order_does_not_matter(case: Case) -> None:
    for query, whole in zip(case.queries, case.expected, strict=True):
        order = np.random.default_rng(3).permutation(FACES)
        assert_same(rerank(query, case.faces[order], case.options), whole, order)
        for n in range(FACES):
            assert_same(rerank(query, case.faces[n], case.options), whole, np.array([n]))


def test_prepared_faces_score_as_they_do_unprepared(case: Case) -> None:
    many, asked = prepare(case.faces, case.options), prepare(case.queries, case.options)
    rows = np.array([4, 0, 5])
    for n, whole in enumerate(case.expected):
        assert_same(rerank(asked[n], many, case.options), whole, np.arange(FACES))
        assert_same(rerank(asked[n], many[rows], case.options), whole, rows)
    assert isinstance(many[2], PreparedFaces)
    assert prepare(many, case.options) is many


def test_identify_and_the_gallery_itself(case: Case) -> None:
    ids = np.array([record.face_id for record in case.gallery.faces()])
    for n, answer in enumerate(identify(case.queries, case.gallery, case.options)):
        assert by_person(answer) == expected_by_person(case, n)
        shortlist = case.gallery.shortlist(case.queries[n], FACES)
        rows = np.searchsorted(ids, shortlist.face_ids[0])
        assert shortlist.cosine[0].tolist() == case.expected[n].cosine[rows].tolist()
        found = case.gallery.score(case.queries[n], shortlist.face_ids[0], case.options)
        assert_same(found, case.expected[n], rows)
    explained = identify(case.queries, case.gallery, case.options, explain=True)
    for n, answer in enumerate(explained):
        assert {f.person: f.score for f in answer.faces} == {
            person: terms[0] for person, terms in expected_by_person(case, n).items()
        }


def test_verify(case: Case) -> None:
    for query, whole in zip(case.queries, case.expected, strict=True):
        for n in range(FACES):
            pair = verify(query, case.faces[n], case.options)
            assert (pair.score, pair.cosine) == (whole.score[n], whole.cosine[n])
            assert whole.emd is None or pair.emd == whole.emd[n]
            shown = whole.visible_cosine
            assert pair.visible_cosine == (None if shown is None else shown[n])


def test_verify_and_explain_take_the_networks_own_options(gallery: Gallery, made: Make) -> None:
    one, other = made(2, seed=5)
    assert verify(one, other).score == verify(one, other, gallery.options()).score
    assert explain_pair(one, other).score == explain_pair(one, other, gallery.options()).score


def test_identification_experiments(case: Case) -> None:
    protocol = no_leak(PHOTOS, ASKED)
    ranking = rank(case.queries, case.faces, protocol, case.options)
    scores = ranking.scores()
    for n in range(QUERIES):
        rows = ranking.faces[n, :FACES]
        assert sorted(rows) == list(range(FACES))
        assert scores[n, :FACES].tolist() == case.score[n][rows].tolist()
    if case.options.alpha > 0:
        other = replace(case.options, alpha=0.9)
        swept = ranking.scores(0.9)
        for n in range(QUERIES):
            again = rerank(case.queries[n], case.faces, other).score
            assert swept[n, :FACES].tolist() == again[ranking.faces[n, :FACES]].tolist()


def test_emd_over_a_whole_gallery(case: Case) -> None:
    if case.options.alpha == 0:
        return
    found = rank_by_emd(case.queries, case.faces, no_leak(PHOTOS, ASKED), case.options)
    for n, whole in enumerate(case.expected):
        assert whole.emd is not None
        place = int((whole.emd > whole.emd[n]).sum()) + 1  # the mate of query n is face n
        assert found.ranks.ranks[found.ranks.start[n]] == place


def test_verification_experiments(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification_run, "pair_metrics", lambda scores, *_: scores)
    monkeypatch.setattr(verification_run, "_right", lambda scores, *_: scores > 0)
    pairs = tuple(Pair(n, QUERIES + m, n == m, m % 2) for n in range(QUERIES) for m in range(FACES))
    photos = (*ASKED, *PHOTOS)
    everybody = FaceFeatures.concatenate([case.queries, case.faces])
    kept = SimpleNamespace(found=np.ones(len(photos), dtype=np.bool_), failures=())

    class Kept:
        found, failures, embedding = kept.found, kept.failures, everybody.embedding

        def __getitem__(self, rows: Any) -> FaceFeatures:
            return everybody[rows]

    network = SimpleNamespace(digest="any")
    lab: Any = SimpleNamespace(
        analyzer=lambda *_: SimpleNamespace(network=network),
        options=lambda _: case.options,
        dataset=lambda _: Dataset("lfw", Path(), photos, pairs=pairs),
        features=lambda *_: Kept(),
        duplicates=lambda _: SimpleNamespace(links=()),
        step=lambda _: lambda *_: None,
    )
    # The weighting of the experiment is only looked at, to refuse those that features kept for
    # measuring cannot have; here they can.
    experiment = Experiment("lfw", "clean", "any", MatchOptions(0.5, "uniform"), "pairs")
    result: Any = verification_run.verification(lab, experiment)
    assert result.stage2.tolist() == case.score.ravel().tolist()
    cosine = np.concatenate([found.cosine for found in case.expected])
    assert result.stage1.tolist() == cosine.tolist()


def test_calibration(case: Case) -> None:
    options = case.options
    if options.alpha == 0 or options.grid is not None or options.solver != Sinkhorn():
        return  # not among what can be chosen
    chosen = Setting(
        options.alpha, options.weighting, FACES, options.patches, options.visible_share
    )
    ids = [record.face_id for record in case.gallery.faces()]
    searches = Searches(
        tuple(PHOTOS),
        EnrolledFeatures(case.gallery, ids, landmarks=True),
        tuple(ASKED),
        case.queries,
    )
    settings = (replace(chosen, alpha=0.0), chosen)
    evidence = collect_evidence(searches, Leaks(), settings, ["clean"], model=options.model)
    assert evidence.top[1].tolist() == case.score.max(axis=1).tolist()
    # What is kept comes back as the same options.
    case.gallery.update_settings({"match": chosen.with_threshold(0.5).as_json()})
    assert case.gallery.options() == replace(options, k=FACES)
    (answer, *_) = identify(case.queries, case.gallery)
    case.gallery.update_settings({"match": None})
    assert answer.threshold == 0.5
    assert answer.faces[0].score == evidence.top[1][0]


def test_explanations_and_reports(case: Case) -> None:
    """They solve in NumPy, whose every digit is accounted for; the rest is the same number."""
    exact = replace(
        case.options,
        solver=replace(case.options.solver, backend="numpy"),  # type: ignore[type-var]
    )
    for query in case.queries:
        whole = rerank(query, case.faces, exact, flow=True)
        for n in range(FACES):
            why = explain_pair(query, case.faces[n], case.options)
            assert (why.score, why.cosine) == (whole.score[n], whole.cosine[n])
            assert whole.emd is not None
            assert why.emd == whole.emd[n]
            shown = whole.visible_cosine
            assert why.visible_cosine == (None if shown is None else shown[n])
            assert sum(term.part for term in why.terms) == pytest.approx(why.score, abs=1e-15)


def test_the_demo(case: Case, tmp_path: Path) -> None:
    analyzer: Any = None
    asker = Asker(tmp_path, case.gallery, analyzer, case.options)
    for n, query in enumerate(case.queries):
        face: Any = SimpleNamespace(features=query)
        assert by_person(asker._search(face, None)) == expected_by_person(case, n)


def test_faces_prepared_for_other_options_are_refused(gallery: Gallery, made: Make) -> None:
    options = gallery.options()
    faces = prepare(made(3, seed=4), options)
    with pytest.raises(ValueError, match="prepared for other options"):
        rerank(made(1, seed=5), faces, replace(options, alpha=0.9))


Terms = tuple[float, float, float | None, float | None]


def by_person(answer: Matches) -> dict[str, Terms]:
    return {f.person: (f.score, f.cosine, f.emd, f.visible_cosine) for f in answer.faces}


def expected_by_person(case: Case, n: int) -> dict[str, Terms]:
    whole = case.expected[n]

    def of(values: Float64 | None, row: int) -> float | None:
        return None if values is None else float(values[row])

    return {
        photo.person: (
            float(whole.score[row]),
            float(whole.cosine[row]),
            of(whole.emd, row),
            of(whole.visible_cosine, row),
        )
        for row, photo in enumerate(PHOTOS)
    }


def assert_same(found: Reranked, whole: Reranked, rows: np.ndarray[Any, Any]) -> None:
    """``found`` holds ``rows`` of ``whole``, to the last bit."""
    for name in ("score", "cosine", "emd", "visible_cosine"):
        mine, theirs = getattr(found, name), getattr(whole, name)
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            assert mine.tolist() == theirs[rows].tolist(), name
