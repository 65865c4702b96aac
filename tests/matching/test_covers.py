"""Contributions to the embedding and visibility: against plain sums, and in batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow import networks
from faceflow.analyzer import FaceAnalyzer
from faceflow.errors import InputError
from faceflow.features import FaceFeatures
from faceflow.matching import covers
from faceflow.matching.covers import CoverModel, PatchModel
from faceflow.matching.options import Calibration, MatchOptions, options_for
from faceflow.matching.score import combine, rerank
from faceflow.matching.transport import native
from faceflow.matching.weighting import weigh
from faceflow.networks import FaceNetwork, MatchDefaults

H, W, C, D = 3, 2, 5, 19
R = H * W


def make_model(seed: int = 0) -> PatchModel:
    rng = np.random.default_rng(seed)
    cover = CoverModel(
        rng.standard_normal((R, C)).astype(np.float32),
        rng.standard_normal(R).astype(np.float32),
        rng.standard_normal((R, C)).astype(np.float32),
    )
    return PatchModel((H, W), rng.standard_normal((R, C, D)).astype(np.float32), cover)


def make_faces(n: int, seed: int = 1) -> FaceFeatures:
    rng = np.random.default_rng(seed)
    return FaceFeatures.from_maps(rng.standard_normal((n, D)), rng.standard_normal((n, C, H, W)))


def test_contributions_are_the_patches_through_their_maps() -> None:
    model, faces = make_model(), make_faces(4)
    seen = model.project(faces)
    expected = np.einsum(
        "nrc,rcd->nrd", faces.raw_patches.astype(np.float64), model.projection.astype(np.float64)
    )
    np.testing.assert_allclose(seen.raw_patches, expected, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(seen.patches, axis=-1), 1, atol=1e-6)
    mean = expected.mean(axis=1)
    np.testing.assert_allclose(
        seen.pooled, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=2e-6
    )
    assert seen.embedding is faces.embedding


def test_landmark_shares_stay_with_the_faces() -> None:
    model, faces = make_model(), make_faces(2)
    share = np.random.default_rng(4).uniform(0, 1, (2, R)).astype(np.float32)
    known = faces.with_landmarks(share)
    for seen in (model.project(known), model.see(known)):
        np.testing.assert_array_equal(seen.landmark_share, share)
        assert seen.visibility is not None
        again = FaceFeatures.concatenate([seen[1], seen[0]])
        np.testing.assert_array_equal(again.landmark_share, share[::-1])
        np.testing.assert_array_equal(again.visibility, seen.visibility[::-1])
        pooled = seen.regrid((1, 1))
        np.testing.assert_allclose(pooled.landmark_share[:, 0], share.sum(axis=1), rtol=1e-6)
        np.testing.assert_allclose(pooled.visibility[:, 0], seen.visibility.mean(axis=1), rtol=1e-6)
    assert model.project(faces).landmark_share is None
    with pytest.raises(InputError, match="visible"):
        FaceFeatures.concatenate([model.see(known), known])


def test_visibility_is_one_minus_the_sigmoid() -> None:
    model, faces = make_model(), make_faces(3)
    seen = model.see(faces)
    score = np.einsum("nrc,rc->nr", faces.raw_patches, model.cover.weight) + model.cover.bias
    assert seen.visibility is not None
    np.testing.assert_allclose(seen.visibility, 1 - 1 / (1 + np.exp(-score)), atol=1e-6)
    np.testing.assert_array_equal(model.project(faces).visibility, seen.visibility)


def test_visible_cosine_against_plain_sums() -> None:
    model = make_model()
    query, gallery = model.project(make_faces(1, 2)), model.project(make_faces(3, 3))
    got = model.visible_cosine(query, gallery)
    assert query.visibility is not None
    assert gallery.visibility is not None
    for n in range(3):
        a = b = 0.0
        for r in range(R):
            mean = model.cover.mean[r].astype(np.float64) @ model.projection[r]
            share = float(query.visibility[0, r] * gallery.visibility[n, r])
            a = a + share * (query.raw_patches[0, r].astype(np.float64) - mean)
            b = b + share * (gallery.raw_patches[n, r].astype(np.float64) - mean)
        assert got[n] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)


def test_a_covered_patch_does_not_matter() -> None:
    model = make_model()
    query, gallery = model.project(make_faces(1, 2)), model.project(make_faces(2, 3))
    visibility = np.ones((1, R), np.float32)
    visibility[0, 1] = 0
    hidden = replace(query, visibility=visibility)
    patches = query.patches.copy()
    patches[0, 1] = patches[0, 0]
    other = replace(hidden, patches=patches)
    np.testing.assert_array_equal(
        model.visible_cosine(hidden, gallery), model.visible_cosine(other, gallery)
    )
    u, v = weigh("uncovered", hidden, gallery)
    assert (u[:, 1] == 0).all()
    assert (v[:, 1] == 0).all()
    np.testing.assert_allclose(u.sum(axis=1), 1, atol=1e-6)


def test_nothing_visible_says_nothing() -> None:
    model = make_model()
    query, gallery = model.project(make_faces(1)), model.project(make_faces(2))
    blind = replace(query, visibility=np.zeros((1, R), np.float32))
    np.testing.assert_array_equal(model.visible_cosine(blind, gallery), [0, 0])
    u, _ = weigh("uncovered", blind, gallery)
    np.testing.assert_allclose(u, 1 / R)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 20), seed=st.integers(0, 5), threads=st.integers(1, 3))
def test_a_face_does_not_depend_on_its_batch(n: int, seed: int, threads: int) -> None:
    model, faces = make_model(seed), make_faces(n, seed + 10)
    query = model.project(make_faces(1, seed + 50))
    together = model.project(faces)
    whole = model.visible_cosine(query, together)
    for i in range(n):
        alone = model.project(faces[i])
        np.testing.assert_array_equal(alone.patches[0], together.patches[i])
        np.testing.assert_array_equal(alone.norms[0], together.norms[i])
        np.testing.assert_array_equal(alone.visibility, together[i].visibility)
        assert model.visible_cosine(query, alone)[0] == whole[i]
    out, _ = native.project(faces.raw_patches, model.projection, threads=threads)
    np.testing.assert_array_equal(out, together.patches)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (7, 2, 3, 16), (13, 4, 130, 48), (2, 3, 8, 257)])
def test_every_instruction_set_projects_alike(shape: tuple[int, int, int, int]) -> None:
    n, r, c, d = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, r, c)).astype(np.float32)
    x[0, 0] = 0
    maps = rng.standard_normal((r, c, d)).astype(np.float32)
    expected = np.einsum("nrc,rcd->nrd", x.astype(np.float64), maps.astype(np.float64))
    length = np.linalg.norm(expected, axis=-1)
    levels = native.info().available
    results = [native.project(x, maps, isa=level) for level in levels]
    for level, (out, lengths) in zip(levels, results, strict=True):
        np.testing.assert_allclose(lengths, length, rtol=1e-5, atol=1e-5, err_msg=level)
        np.testing.assert_allclose(out * lengths[..., None], expected, atol=1e-4, err_msg=level)
    assert (results[0][0][0, 0] == 0).all()
    fused = [out for level, (out, _) in zip(levels, results, strict=True) if level != "portable"]
    for out in fused[1:]:
        np.testing.assert_array_equal(out, fused[0])


def test_strided_patches_are_projected_where_they_lie() -> None:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((4, 2 * R, C + 3)).astype(np.float32)
    view = wide[:, ::2, 1 : C + 1]
    maps = make_model().projection
    np.testing.assert_array_equal(
        native.project(view, maps)[0], native.project(np.ascontiguousarray(view), maps)[0]
    )


def test_wrong_shapes_are_refused() -> None:
    model = make_model()
    rng = np.random.default_rng(0)
    other = FaceFeatures.from_maps(rng.standard_normal((1, D)), rng.standard_normal((1, C, 2, 2)))
    with pytest.raises(InputError, match="grid"):
        model.project(other)
    with pytest.raises(InputError, match="projection"):
        native.project(np.zeros((1, 2, 3), np.float32), np.zeros((3, 2, 1), np.float32))
    with pytest.raises(InputError, match=r"PatchModel\.project"):
        model.visible_cosine(make_faces(1), make_faces(1))
    with pytest.raises(InputError, match="visible"):
        weigh("uncovered", make_faces(1), make_faces(2))


def test_no_model_for_unknown_weights() -> None:
    assert covers.load("nobody", "0" * 64) is None
    assert covers.load("lightcnn-v4", "0" * 64) is None


def test_a_known_model_is_found_again_without_looking_at_networks(
    default_network: FaceNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, digest = default_network.spec.name, default_network.digest
    known = covers.load(name, digest)

    def fail(*_: object) -> None:
        raise AssertionError("nothing has to be looked up")

    monkeypatch.setattr(networks, "spec", fail)
    monkeypatch.setattr(networks, "available", fail)
    assert covers.load(name, digest) is known is not None


def test_options_without_a_model_fall_back_to_what_needs_none() -> None:
    defaults = MatchDefaults(0.3, "uncovered", 100, "projected", 0.4)
    plain = MatchOptions.resolve(defaults)
    assert (plain.patches, plain.visible_share, plain.weighting) == ("raw", 0.0, "uniform")
    full = MatchOptions.resolve(defaults, model=make_model())
    assert (full.patches, full.visible_share, full.weighting) == ("projected", 0.4, "uncovered")
    pooled = MatchOptions.resolve(defaults, model=make_model(), changes={"grid": (1, 1)})
    assert (pooled.patches, pooled.visible_share) == ("raw", 0.0)
    known = Calibration.from_json({"alpha": 0.2, "weighting": "apc"}, defaults)
    old = MatchOptions.resolve(defaults, known, model=make_model())
    assert (old.patches, old.visible_share, old.alpha) == ("raw", 0.0, 0.2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"patches": "cooked"},
        {"visible_share": 1.5},
        {"visible_share": float("nan")},
        {"patches": "projected", "grid": (1, 1)},
        {"visible_share": 0.5, "grid": (1, 1)},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        MatchOptions(**{"alpha": 0.5, "weighting": "uniform", **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "needy", [{"patches": "projected"}, {"visible_share": 0.5}, {"weighting": "uncovered"}]
)
def test_what_needs_a_model_is_refused_without_one(needy: dict[str, object]) -> None:
    options = MatchOptions(**{"alpha": 0.5, "weighting": "uniform", **needy})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="need a patch model"):
        rerank(make_faces(1), make_faces(2), options)
    assert len(rerank(make_faces(1), make_faces(2), replace(options, model=make_model()))) == 2


def test_the_score_mixes_three_similarities() -> None:
    mixed = combine(
        np.array([0.1]), np.array([0.5]), np.array([0.9]), alpha=0.4, visible_share=0.25
    )
    assert mixed[0] == pytest.approx(0.4 * 0.5 + 0.6 * (0.75 * 0.1 + 0.25 * 0.9))
    for missing in ({"alpha": 0.5, "visible_share": 0.0}, {"alpha": 0.0, "visible_share": 0.5}):
        with pytest.raises(InputError, match="there is no"):
            combine(np.array([0.1]), None, None, **missing)


def test_hidden_cells_show_nothing_and_add_nothing(analyzer: FaceAnalyzer) -> None:
    """Hiding cells of the query takes their contributions out, in every term but the cosine."""
    model = covers.load(analyzer.network.spec.name, analyzer.network.digest)
    assert model is not None
    crops = np.random.default_rng(3).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    query, other = (analyzer.embed(crops)[n] for n in range(2))
    cells = list(range(32, 64))
    hidden = query.hidden(cells)
    seen = model.see(hidden).visibility
    assert seen is not None
    assert (seen[0, cells] == 0).all()
    np.testing.assert_array_equal(seen[0, :32], model.see(query).visibility[0, :32])  # type: ignore[index]
    assert (model.project(hidden).norms[0, cells] == 0).all()
    np.testing.assert_array_equal(hidden.embedding, query.embedding)
    np.testing.assert_array_equal(
        model.see(model.see(query)).visibility, model.see(query).visibility
    )
    options = options_for(query.digest)
    whole, part = (rerank(face, other, options) for face in (query, hidden))
    assert part.cosine[0] == whole.cosine[0]
    assert part.score[0] != whole.score[0]
    with pytest.raises(InputError):
        query.hidden([64])
