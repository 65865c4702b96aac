"""Whole experiments against plain loops, and what they say about photos that failed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from faceflow.errors import InputError
from faceflow.evaluation import laboratory, verification_run
from faceflow.evaluation.data import read
from faceflow.evaluation.experiment import Experiment, IdentificationResult, NotHereError
from faceflow.evaluation.identification_run import identification
from faceflow.evaluation.laboratory import DataSource, Laboratory
from faceflow.evaluation.material import material, sample, several_only, subset
from faceflow.evaluation.metrics.pairs import fold_accuracy
from faceflow.evaluation.verification_run import PAIRS, verification
from faceflow.matching.covers import PatchModel
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import emd_similarity
from faceflow.matching.transport import Sinkhorn

BASE = Experiment("lfw", "mask", "lightcnn-v4", MatchOptions(0.5, "uniform", 7))
FACES = 17  # 6 people with 3 photos, one of which shows no face


def by_hand(lab: Laboratory, experiment: Experiment) -> dict[str, list[float]]:
    """Both stages of a no-leak experiment, one query after another, by the definitions."""
    dataset = lab.dataset("lfw")
    gallery = lab.features(dataset.photos, experiment)
    queries = lab.features(dataset.photos, experiment, experiment.query)
    found: dict[str, list[float]] = {"p1": [], "p2": [], "rp": [], "map": []}
    for n, asked in enumerate(queries.photos):
        query = queries[np.array([n])]
        rows = [m for m, p in enumerate(gallery.photos) if p.source_id != asked.source_id]
        cosine = gallery.embedding[rows].astype(np.float64) @ query.embedding[0]
        order = np.argsort(-cosine, kind="stable")
        mates = [gallery.photos[rows[m]].person == asked.person for m in order]
        found["p1"].append(mates[0])
        top = order[: experiment.options.k]
        emd = emd_similarity(
            query, gallery[np.array(rows)[top]], weighting=experiment.options.weighting
        ).similarity
        score = experiment.options.alpha * emd + (1 - experiment.options.alpha) * cosine[top]
        again = np.argsort(-score, kind="stable")
        final = [mates[place] for place in again] + mates[experiment.options.k :]
        found["p2"].append(final[0])
        r = sum(mates)
        found["rp"].append(sum(final[:r]) / r)
        hits = np.cumsum(final[:r])
        found["map"].append(sum(hits[i] / (i + 1) for i in range(r) if final[i]) / r if r else 0.0)
    return found


@pytest.mark.parametrize(
    ("query", "weighting"),
    [
        ("clean", "uniform"),
        ("mask", "uniform"),
        ("aligned-crop", "uniform"),
        ("mask", "lmk"),
        ("aligned-crop", "lmk"),
    ],
)
def test_numbers_are_those_of_plain_loops(lab: Laboratory, query: str, weighting: str) -> None:
    experiment = BASE.with_(query=query).compared(weighting=weighting)
    result = identification(lab, experiment)
    hand = by_hand(lab, experiment)
    assert result.stage1.p_at_1.estimate == pytest.approx(np.mean(hand["p1"]))
    assert result.stage2.p_at_1.estimate == pytest.approx(np.mean(hand["p2"]))
    assert result.stage2.r_precision.estimate == pytest.approx(np.mean(hand["rp"]))
    assert result.stage2.map_at_r.estimate == pytest.approx(np.mean(hand["map"]))
    first, second = np.array(hand["p1"]), np.array(hand["p2"])
    assert result.queries.wins == (second > first).sum()
    assert result.queries.losses == (first > second).sum()
    at = {point.alpha: point for point in result.sweep}
    assert at[0.5].p_at_1 == pytest.approx(result.stage2.p_at_1.estimate)
    assert at[0.0].p_at_1 == result.stage1.p_at_1.estimate
    assert (at[0.5].wins, at[0.5].losses) == (result.queries.wins, result.queries.losses)
    assert result.cmc2[0] == pytest.approx(result.stage2.p_at_1.estimate)
    assert result.recall_at_k.estimate == pytest.approx(result.cmc1[BASE.options.k - 1])
    assert result.ceiling == 1


def test_projected_patches_and_visible_faces_by_plain_loops(
    lab: Laboratory, model: PatchModel
) -> None:
    experiment = BASE.compared(
        weighting="uncovered", patches="projected", visible_share=0.4, alpha=0.3
    )
    result = identification(lab, experiment)
    photos = lab.dataset("lfw").photos
    gallery, queries = lab.features(photos, BASE), lab.features(photos, BASE, "mask")
    seen = model.project(gallery[np.arange(len(gallery))])
    first, second = [], []
    for n, asked in enumerate(queries.photos):
        query = model.project(queries[np.array([n])])
        rows = [m for m, p in enumerate(gallery.photos) if p.source_id != asked.source_id]
        cosine = gallery.embedding[rows].astype(np.float64) @ query.embedding[0]
        top = np.array(rows)[np.argsort(-cosine, kind="stable")][:7]
        score = [
            0.3 * emd_similarity(query, seen[m], weighting="uncovered").similarity[0]
            + 0.7 * 0.6 * float(gallery.embedding[m].astype(np.float64) @ query.embedding[0])
            + 0.7 * 0.4 * model.visible_cosine(query, seen[m])[0]
            for m in top
        ]
        first.append(gallery.photos[top[0]].person == asked.person)
        second.append(gallery.photos[top[int(np.argmax(score))]].person == asked.person)
    assert result.stage1.p_at_1.estimate == pytest.approx(np.mean(first))
    assert result.stage2.p_at_1.estimate == pytest.approx(np.mean(second))
    assert experiment.method == "uncovered, alpha 0.3, projected, visible share 0.4, k 7"
    # Open set: stage 1 stays the plain cosine, whatever stage 2 mixes in.
    for one in (experiment, BASE):
        opened = identification(lab, one.with_(protocol="open-set"))
        assert opened.det1 is not None
        assert opened.det1 == identification(lab, BASE.with_(protocol="open-set")).det1


def test_pairs_by_what_both_faces_show(
    cfp_folder: Path, lab: Laboratory, model: PatchModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification_run, "pair_metrics", lambda scores, *_: scores)
    monkeypatch.setattr(verification_run, "fold_accuracy", lambda *_: SimpleNamespace(mean=0.0))
    monkeypatch.setattr(verification_run, "eer", lambda *_: 0.0)
    monkeypatch.setattr(verification_run, "_right", lambda scores, *_: scores > 0)
    options = MatchOptions(0.0, "uncovered", solver=Sinkhorn(dtype="f32"))
    base = Experiment("cfp", "clean", "lightcnn-v4", options, PAIRS)
    result = verification(lab, base.compared(visible_share=1.0, patches="projected"))
    dataset = lab.dataset("cfp")
    faces = {p.key: n for n, p in enumerate(lab.features(dataset.photos, base).photos)}
    seen = model.project(lab.features(dataset.photos, base)[np.arange(len(faces))])
    expected = [
        model.visible_cosine(*(seen[faces[dataset.photos[n].key]] for n in (pair.a, pair.b)))[0]
        for pair in dataset.pairs
    ]
    np.testing.assert_allclose(np.sort(result.stage2), np.sort(expected), atol=1e-6)
    whole = verification(
        lab, base.compared(visible_share=1.0, patches="projected", solver=Sinkhorn())
    )
    np.testing.assert_allclose(np.sort(whole.stage2), np.sort(expected), atol=1e-3)
    assert not np.allclose(result.stage1, result.stage2)


def test_a_photo_without_a_face_is_counted(lab: Laboratory) -> None:
    sample = identification(lab, BASE).sample
    assert (sample.gallery_photos, sample.gallery_missed, sample.faces) == (18, 1, FACES)
    assert (sample.query_photos, sample.query_missed, sample.queries) == (18, 1, FACES)
    assert (sample.mated, sample.lost) == (18, 1)
    assert (sample.same_photo, sample.leaked) == (FACES, 0)
    result = identification(lab, BASE)
    hits = round(result.stage2.p_at_1.estimate * FACES)
    assert result.stage2.p_at_1_counted == pytest.approx(hits / 18)


def test_the_published_protocol_leaks_and_says_so(lab: Laboratory) -> None:
    masked = identification(lab, BASE.with_(protocol="published"))
    assert (masked.sample.same_photo, masked.sample.leaked) == (0, FACES)
    assert masked.ceiling == 1
    # A clean query is a gallery picture itself: kept from itself, and counted in its own R.
    clean = identification(lab, BASE.with_(protocol="published", query="clean"))
    assert (clean.sample.same_photo, clean.sample.leaked) == (FACES, 0)
    assert clean.ceiling == pytest.approx((15 * 2 / 3 + 2 * 1 / 2) / FACES)


def test_emd_first_is_reranking_everything(lab: Laboratory) -> None:
    whole = identification(lab, BASE.with_(emd_first=True))
    all_of_it = identification(lab, BASE.compared(alpha=1.0, k=FACES))
    assert whole.stage2 == all_of_it.stage2
    assert whole.queries == all_of_it.queries
    assert whole.pairs == FACES * (FACES - 1)
    assert whole.stage1 == all_of_it.stage1


def test_a_second_run_computes_nothing(lab: Laboratory, network) -> None:
    first = identification(lab, BASE)
    assert first.ranking_seconds is not None
    crops = network.crops
    other = Laboratory(lab.sources, lab.folder, analyzer=lab._load)
    again = identification(other, BASE)
    assert network.crops == crops
    assert again.ranking_seconds is None
    assert again.stage2 == first.stage2
    assert identification(other, BASE.compared(weighting="sc")).ranking_seconds is not None


def test_open_set(lab: Laboratory) -> None:
    result = identification(lab, BASE.with_(protocol="open-set"))
    assert result.sample.people == 3
    assert result.sample.mated < result.sample.queries
    assert [point.fpir for point in result.open_set] == [0.01, 0.1]
    assert all(point.stage1 is None for point in result.open_set)  # 9 searches measure no 0.1
    assert result.det1 is not None
    assert result.det1[0][0] == 0
    assert result.det1[1][0] == 1


def test_open_set_rates_that_can_be_measured(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceflow.evaluation.identification_run.FPIRS", (0.5,))
    (point,) = identification(lab, BASE.with_(protocol="open-set", query="clean")).open_set
    assert point.stage1 is not None
    assert point.stage2 is not None
    assert point.stage1.nonmated >= 8
    assert 0 <= point.stage2.fpir <= 0.5
    if point.tpir2 is not None:
        assert point.tpir2.estimate == point.stage2.tpir
        assert point.tpir2.low <= point.tpir2.estimate <= point.tpir2.high


def test_one_mate_subset_is_the_protocols_own(lab: Laboratory) -> None:
    result = identification(lab, BASE.with_(protocol="one-mate", people=3, faces=5))
    sample = result.sample
    assert (sample.queries, sample.gallery_photos, sample.same_photo) == (3, 5, 0)
    assert result.experiment.people == 3


def test_subsets_pair_up_and_are_refused_when_too_large(lab: Laboratory) -> None:
    whole = material(lab.dataset("lfw"), "mask")
    some = subset(whole, "no-leak", people=2, faces=8, seed=0)
    clean = subset(material(lab.dataset("lfw"), "clean"), "no-leak", people=2, faces=8, seed=0)
    assert some.gallery == clean.gallery
    assert {p.person for p in some.queries} == {p.person for p in clean.queries}
    wanted = {p.person for p in some.queries}
    assert len(wanted) == 2
    assert len(some.gallery) == 8
    assert len({p.person for p in some.gallery}) == 4
    alone = subset(whole, "no-leak", people=2, faces=None, seed=0)
    assert set(alone.gallery) == {p for p in some.gallery if p.person in wanted}
    assert alone.queries == some.queries
    lonely = subset(whole, "one-mate", people=2, faces=None, seed=0)
    assert {p.person for p in lonely.gallery} == {p.person for p in lonely.queries}
    assert len(lonely.gallery) == len(lonely.queries) == 2
    assert subset(whole, "no-leak", people=None, faces=None, seed=0) is whole
    with pytest.raises(InputError, match="99 people"):
        subset(whole, "no-leak", people=99, faces=None, seed=0)


def test_samples_of_queries_pair_up_and_lie_in_each_other(lab: Laboratory) -> None:
    masked = material(lab.dataset("lfw"), "mask")
    some = sample(masked, 5, 0)
    assert some.gallery == masked.gallery
    assert len(some.queries) == 5
    order = [masked.queries.index(photo) for photo in some.queries]
    assert order == sorted(order)
    clean = sample(material(lab.dataset("lfw"), "clean"), 5, 0)
    assert clean.queries == some.queries
    assert set(some.queries) < set(sample(masked, 9, 0).queries)
    assert sample(masked, 5, 1).queries != some.queries
    assert sample(masked, None, 0) is sample(masked, 99, 0) is masked
    result = identification(lab, BASE.with_(queries=5))
    assert (result.sample.query_photos, result.sample.gallery_photos) == (5, 18)


def test_only_listed_photos_are_searched_with(photos: Path, tmp_path: Path) -> None:
    """The published lists: 13,214 enrolled, 13,090 of them searched with under a mask."""
    everybody = read("lfw", photos).photos
    chosen = everybody[1::5]
    lines = [f"masked/{photo.path.name},{photo.person}" for photo in chosen]
    place = tmp_path / "masked.txt"
    place.write_text("\n".join([*lines, "masked/Nobody_0001.jpg,Nobody"]))
    dataset = read("lfw", photos, searched=place)
    assert dataset.photos == everybody
    assert f"{len(chosen)} photos are searched with" in dataset.summary()
    assert any("Nobody_0001" in str(item.path) for item in dataset.left_out)
    given = material(dataset, "mask")
    assert given.gallery == everybody
    assert given.queries == chosen


def test_several_only_keeps_people_with_two_photos(photos: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "Zoe"
    lonely.mkdir()
    for person in ("Ada", "Alba"):
        (tmp_path / person).mkdir()
        for path in (photos / person).iterdir():
            (tmp_path / person / path.name).write_bytes(path.read_bytes())
    (lonely / "Zoe_0001.jpg").write_bytes((photos / "Ada" / "Ada_0001.jpg").read_bytes())
    kept = several_only(material(read("folder", tmp_path), "clean"))
    assert {p.person for p in kept.gallery} == {"Ada", "Alba"}


def test_conditions_of_the_data_set_come_first(lab: Laboratory) -> None:
    cfp = lab.dataset("cfp")
    profile = material(cfp, "profile")
    assert profile.real
    assert {p.condition for p in profile.gallery} == {"frontal"}
    assert {p.condition for p in profile.queries} == {"profile"}
    masked = material(cfp, "mask")
    assert not masked.real
    assert {p.condition for p in masked.queries} == {"frontal"}
    assert not {p.key for p in masked.drawn_queries} & {p.key for p in masked.gallery}
    with pytest.raises(InputError, match="profile"):
        material(cfp, "moustache")


def test_what_is_missing_says_how_to_get_it(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laboratory, "_installed", lambda _: False)
    with pytest.raises(NotHereError, match=r"--data agedb=FOLDER"):
        identification(lab, BASE.with_(dataset="agedb"))
    with pytest.raises(NotHereError, match=r"faceflow models import madeup FILE"):
        identification(lab, BASE.with_(network="madeup"))
    with pytest.raises(InputError, match="need a patch model"):
        identification(lab, BASE.compared(patches="projected"))
    with pytest.raises(NotHereError, match="fan-2d"):
        identification(lab, BASE.with_(alignment="fan-2d"))
    with pytest.raises(InputError, match="no protocol"):
        identification(lab, BASE.with_(protocol="best"))


@pytest.fixture
def pair_lab(lab: Laboratory, photos: Path, tmp_path: Path) -> Laboratory:
    """LFW's pair format, two folds; the last person's third photo has no face."""
    names = sorted(path.name for path in photos.iterdir() if path.is_dir())
    lines = ["2\t4"]
    for fold in range(2):
        four = names[fold * 2 : fold * 2 + 4]
        lines += [f"{name}\t1\t2" for name in four[:3]] + [f"{four[3]}\t2\t3"]
        lines += [f"{a}\t1\t{b}\t2" for a, b in zip(four, [*four[1:], four[0]], strict=True)]
    path = tmp_path / "pairs.txt"
    path.write_text("\n".join(lines) + "\n")
    source = DataSource(photos, {"pairs": path})
    return Laboratory({"lfw": source}, lab.folder, analyzer=lab._load)


def test_verification_is_fold_accuracy_of_the_two_scores(pair_lab: Laboratory) -> None:
    experiment = BASE.with_(query="clean", protocol=PAIRS).compared(alpha=0.3)
    result = verification(pair_lab, experiment)
    dataset = pair_lab.dataset("lfw")
    features = pair_lab.features(dataset.photos, experiment)
    place = {photo.key: n for n, photo in enumerate(features.photos)}
    cosine, score = [], []
    for pair in dataset.pairs:
        a, b = (place.get(dataset.photos[n].key) for n in (pair.a, pair.b))
        if a is None or b is None:
            cosine.append(-1.0)
            score.append(-1.0)
            continue
        one, two = features[np.array([a])], features[np.array([b])]
        cosine.append(float(one.embedding[0].astype(np.float64) @ two.embedding[0]))
        emd = emd_similarity(one, two, weighting="uniform").similarity[0]
        score.append(0.3 * emd + 0.7 * cosine[-1])
    same = np.array([pair.same for pair in dataset.pairs])
    folds = np.array([pair.fold for pair in dataset.pairs])
    assert result.pairs == 16
    assert result.missed_pairs == 1
    for scores, metrics in ((cosine, result.stage1), (score, result.stage2)):
        direct = fold_accuracy(np.array(scores), same, folds)
        assert metrics.accuracy == pytest.approx(direct.mean)
        assert metrics.standard_error == pytest.approx(direct.standard_error)
    assert result.stage1.tar == ()  # 8 different pairs measure no FAR of 0.01
    assert result.sweep[3].accuracy == pytest.approx(result.stage2.accuracy)


def test_verification_of_covered_photos_and_subsets(pair_lab: Laboratory) -> None:
    covered = verification(pair_lab, BASE.with_(protocol=PAIRS))
    clean = verification(pair_lab, BASE.with_(protocol=PAIRS, query="clean"))
    assert covered.stage1 != clean.stage1
    assert covered.pairs == clean.pairs
    few = verification(pair_lab, BASE.with_(protocol=PAIRS, query="clean"), pairs=8)
    assert (few.pairs, few.same, few.folds) == (8, 4, 2)
    with pytest.raises(InputError, match="3 pairs"):
        verification(pair_lab, BASE.with_(protocol=PAIRS, query="clean"), pairs=3)


def test_verification_without_pairs_is_refused(lab: Laboratory) -> None:
    with pytest.raises(InputError, match=r"lfw\.pairs=FILE"):
        verification(lab, BASE.with_(protocol=PAIRS))


def test_alpha_0_solves_no_transport(lab: Laboratory) -> None:
    result: IdentificationResult = identification(lab, BASE.compared(alpha=0.0))
    assert result.pairs == 0
    assert result.stage2 == result.stage1
    assert [point.alpha for point in result.sweep] == [0.0]


def test_talfw_is_searched_in_lfw(lab: Laboratory, photos: Path) -> None:
    """Each attacked photo carries its original's source id, so only ``published`` leaks."""
    both = Laboratory(lab.sources | {"talfw": DataSource(photos)}, lab.folder, analyzer=lab._load)
    asked = BASE.with_(dataset="talfw", query="adversarial")
    fair = identification(both, asked)
    assert fair.real
    assert (fair.sample.same_photo, fair.sample.leaked) == (FACES, 0)
    alone = Laboratory({"talfw": DataSource(photos)}, lab.folder, analyzer=lab._load)
    with pytest.raises(NotHereError, match="--data lfw=FOLDER"):
        identification(alone, asked)


def test_near_duplicates_are_left_out_and_counted(
    lab: Laboratory, photos: Path, tmp_path: Path
) -> None:
    """A second copy of a photo under another name must not be found in its place."""
    for person in photos.iterdir():
        if person.is_dir():
            (tmp_path / "set" / person.name).mkdir(parents=True)
            for path in person.iterdir():
                (tmp_path / "set" / person.name / path.name).write_bytes(path.read_bytes())
    original = tmp_path / "set" / "Ada" / "Ada_0001.jpg"
    (original.parent / "Ada_0009.jpg").write_bytes(original.read_bytes())
    twice = Laboratory({"lfw": DataSource(tmp_path / "set")}, lab.folder, analyzer=lab._load)
    result = identification(twice, BASE.with_(query="clean"))
    assert result.sample.duplicate_pairs == 1
    assert result.sample.misfiled == 0
    assert result.sample.near_duplicates == 2  # each of the two leaves the other out
    assert result.sample.same_photo == FACES + 1
