"""Where a device ranks, people are shown the CPU's numbers, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from faceflow.cluster.merging import joined
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery
from faceflow.identifier import Identifier
from faceflow.matching.identification import SHOWN, identify
from faceflow.matching.options import Calibration, MatchOptions
from faceflow.matching.score import Reranked, rerank
from faceflow.matching.transport import Plan, Sinkhorn
from faceflow.matching.verification import verify
from faceflow.networks import FaceNetwork

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
torch.set_num_threads(1)

Make = Callable[..., FaceFeatures]
FACES, PEOPLE = 90, 30
DEVICE = Sinkhorn(backend="torch")
WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "raw apc": {"alpha": 0.5, "weighting": "apc", "patches": "raw", "visible_share": 0.0},
    "transport alone": {"alpha": 1.0, "weighting": "uncovered"},
}


@pytest.fixture(scope="module")
def faces(default_network: FaceNetwork) -> FaceFeatures:
    """Queries first; the faces of one person are alike, the embeddings all near each other."""
    rng = np.random.default_rng(0)
    person = np.arange(2 + FACES) % PEOPLE
    common, own = rng.standard_normal((128, 8, 8)), rng.standard_normal((PEOPLE, 128, 8, 8))
    maps = common + 0.6 * own[person] + rng.standard_normal((2 + FACES, 128, 8, 8))
    embedding = rng.standard_normal(256) + 0.2 * rng.standard_normal((2 + FACES, 256))
    digest = features_digest(default_network.digest)
    return FaceFeatures.from_maps(embedding, maps, digest=digest)


@pytest.fixture(scope="module")
def gallery(
    faces: FaceFeatures, default_network: FaceNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gallery]:
    place = tmp_path_factory.mktemp("device") / "people.faceflow"
    with Gallery.open_or_create(place, default_network) as made:
        made.enroll(
            Enrolment(f"person {n % PEOPLE}", f"{n}.jpg", f"{n:064x}", faces[n])
            for n in range(2, 2 + FACES)
        )
        yield made


@pytest.mark.parametrize("best_faces", [1, 2])
@pytest.mark.parametrize("way", WAYS)
def test_the_answer_is_the_beginning_of_the_cpus(
    gallery: Gallery,
    faces: FaceFeatures,
    way: str,
    best_faces: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even where the device is further off than any device is."""
    from faceflow.matching.transport.device import solve as module

    real, rng = module.solve, np.random.default_rng(1)

    def off(*given: Any, **how: Any) -> Plan:
        plan = real(*given, **how)
        return replace(plan, similarity=plan.similarity + rng.uniform(-1e-3, 1e-3, len(plan)))

    monkeypatch.setattr(module, "solve", off)
    usual = gallery.options(**WAYS[way])
    how: dict[str, Any] = {"threshold": 0.3, "best_faces": best_faces}
    here = identify(faces[:2], gallery, usual, **how)
    there = identify(faces[:2], gallery, usual.changed(solver=DEVICE), **how)
    for expected, found in zip(here, there, strict=True):
        assert expected.ranked_by in ("native", "numpy")
        assert found.ranked_by == "torch"
        assert found.status == expected.status
        assert found.people == expected.people[:SHOWN]
        assert SHOWN <= len(found.faces) < FACES
        assert found.faces == expected.faces[: len(found.faces)]


def test_few_people_are_all_shown(gallery: Gallery, faces: FaceFeatures) -> None:
    usual = gallery.options(k=7)
    (expected,) = identify(faces[0], gallery, usual)
    (found,) = identify(faces[0], gallery, usual.changed(solver=DEVICE))
    assert (found.people, found.faces) == (expected.people, expected.faces)


def test_explanations_are_the_cpus(gallery: Gallery, faces: FaceFeatures) -> None:
    usual = gallery.options(k=40)
    for options in (usual, replace(usual, alpha=0.0, visible_share=0.0)):
        (expected,) = identify(faces[0], gallery, options, explain=True)
        (found,) = identify(faces[0], gallery, options.changed(solver=DEVICE), explain=True)
        for one, other in zip(found.faces, expected.faces, strict=False):
            assert one.plan is not None
            assert other.plan is not None
            assert one.face_id == other.face_id
            np.testing.assert_array_equal(one.plan.flow, other.plan.flow)
    a, b = (
        verify(faces[0], faces[1], usual.changed(solver=solver)) for solver in (Sinkhorn(), DEVICE)
    )
    assert (a.score, a.emd) == (b.score, b.emd)


def test_the_ranking_itself_is_the_devices(gallery: Gallery, faces: FaceFeatures) -> None:
    """Stored codes go to the device as they are, and its scores are the oracle's."""
    usual = gallery.options()
    ids = np.array([record.face_id for record in gallery.faces()])
    found = gallery.score(faces[0], ids, usual.changed(solver=DEVICE))
    assert found.solved_by == "torch"
    oracle = rerank(
        faces[0], gallery.features(ids), usual.changed(solver=Sinkhorn(backend="numpy"))
    )
    assert oracle.solved_by == "numpy"
    np.testing.assert_allclose(found.score, oracle.score, atol=1e-6)


def test_a_calibrated_threshold_holds_on_a_device() -> None:
    kept = Calibration(0.5, "apc", 100, threshold=0.4)
    usual = MatchOptions(0.5, "apc")
    for solver in (Sinkhorn(), DEVICE, Sinkhorn(device="cuda", threads=3)):
        assert kept.holds_for(usual.changed(solver=solver))
    assert not kept.holds_for(usual.changed(solver=Sinkhorn(backend="torch", dtype="f32")))
    assert usual.on_cpu is usual
    assert usual.changed(solver=DEVICE).on_cpu == usual


def test_an_identifier_ranks_on_its_device(
    gallery: Gallery, default_network: FaceNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceflow.identifier.resolve", lambda device: device or "cpu")
    with Identifier(
        gallery.location, network=default_network, readonly=True, device="cuda:1"
    ) as people:
        assert people.options(alpha=0.4).solver == Sinkhorn(device="cuda:1")
        given = Sinkhorn(backend="numpy")
        assert people.options(solver=given).solver == given


def test_shards_say_what_solved() -> None:
    """One shard's device is enough for the CPU to score again."""
    score = np.zeros(1)

    def by(*solved: str | None) -> str | None:
        parts = [
            (np.array([n]), Reranked(score, score, solved_by=one)) for n, one in enumerate(solved)
        ]
        return joined(parts, len(solved)).solved_by

    assert by("native", "torch", "numpy") == "torch"
    assert by("numpy", "numpy") == "numpy"
    assert by(None, None) is None
