"""Contributions in whole numbers: the kernel against its NumPy twin, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.arrays import Float32
from faceflow.errors import InputError
from faceflow.matching import contributions
from faceflow.matching.contributions import RoundedModel, residues_of
from faceflow.matching.transport import decode, encode, native

built = pytest.mark.skipif(not native.available(), reason="the kernel is not built")


def model(r: int, c: int, d: int, seed: int = 0) -> RoundedModel:
    rng = np.random.default_rng(seed)
    return RoundedModel.of(
        rng.standard_normal((r, c, d)).astype(np.float32),
        rng.standard_normal((r, c)).astype(np.float32),
        rng.standard_normal(r).astype(np.float32),
        rng.standard_normal((r, d)).astype(np.float32),
    )


def patches(n: int, r: int, c: int, seed: int = 1) -> Float32:
    return np.random.default_rng(seed).standard_normal((n, r, c)).astype(np.float32)


@built
@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(0, 70),
    r=st.integers(1, 4),
    c=st.integers(1, 70),
    d=st.integers(1, 70),
    seed=st.integers(0, 99),
    exact=st.booleans(),
)
def test_every_level_gives_the_twins_bits(
    n: int, r: int, c: int, d: int, seed: int, exact: bool
) -> None:
    rounded, raw = model(r, c, d, seed), patches(n, r, c, seed)
    raw[n // 2 :, 0] = 0
    codes = encode(raw, "int8")
    residues = residues_of(raw, codes) if exact else None
    twin = contributions.contribute(codes, residues, rounded.map, rounded.map_scale, rounded.cover)
    for level in native.info().available:
        packed = native.pack_map(rounded.map, isa=level)
        for threads in (1, 2):
            found = native.contribute(
                codes,
                residues,
                packed,
                rounded.map_scale,
                rounded.cover,
                threads=threads,
                isa=level,
            )
            for name, mine, theirs in zip(twin._fields, found, twin, strict=True):
                np.testing.assert_array_equal(mine, theirs, err_msg=f"{name} at {level}")


def test_they_are_the_products_of_patch_and_map() -> None:
    rng = np.random.default_rng(4)
    projection = rng.standard_normal((3, 40, 24)).astype(np.float32)
    zeros = np.zeros((3, 40), np.float32)
    rounded = RoundedModel.of(projection, zeros, zeros[:, 0], np.zeros((3, 24), np.float32))
    raw = patches(5, 3, 40)
    norms = np.linalg.norm(raw, axis=2)
    codes = encode(raw, "int8")
    exact = np.einsum("nrc,rcd->nrd", raw, projection)
    largest = np.abs(exact).max()
    found = rounded.contributions(codes, residues_of(raw, codes), norms=norms)
    np.testing.assert_allclose(found.exact(), exact, atol=2e-4 * largest)
    np.testing.assert_allclose(found.visibility, 0.5)
    assert np.abs(found.codes).max(axis=2).tolist() == [[127] * 3] * 5
    np.testing.assert_allclose(found.lengths(), np.linalg.norm(exact, axis=2), rtol=1e-2)
    # Without residues the patch is as good as its codes.
    kept = decode(codes) * norms[..., None]
    coarse = rounded.contributions(codes, norms=norms)
    np.testing.assert_allclose(
        coarse.exact(), np.einsum("nrc,rcd->nrd", kept, projection), atol=2e-4 * largest
    )


def test_visibility_is_that_of_the_regression() -> None:
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((3, 40)).astype(np.float32)
    bias = rng.standard_normal(3).astype(np.float32)
    rounded = RoundedModel.of(
        np.zeros((3, 40, 2), np.float32), weight, bias, np.zeros((3, 2), np.float32)
    )
    raw = patches(5, 3, 40) / 10
    codes = encode(raw, "int8")
    found = rounded.contributions(codes, residues_of(raw, codes), norms=np.linalg.norm(raw, axis=2))
    covered = 1 / (1 + np.exp(-(np.einsum("nrc,rc->nr", raw, weight) + bias)))
    np.testing.assert_allclose(found.visibility, 1 - covered, atol=2e-4)
    assert not found.codes.any()
    assert not found.exact().any()


def test_codes_alone_have_no_residue() -> None:
    codes = encode(patches(4, 3, 40), "int8")
    assert not residues_of(decode(codes), codes).any()
    rounded, zero = model(3, 40, 24), np.zeros_like(codes)
    norms = np.ones((4, 3), np.float32)
    one = rounded.contributions(codes, norms=norms)
    other = rounded.contributions(codes, zero, norms=norms)
    for name in ("codes", "residues", "factor", "visibility"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_face_does_not_depend_on_the_others() -> None:
    rounded, codes = model(4, 33, 21), encode(patches(70, 4, 33), "int8")
    scales = np.random.default_rng(6).uniform(size=(70, 4)).astype(np.float32)
    together = rounded.contributions(codes, scales=scales)
    cosine = rounded.visible_cosine(together[:1], together)
    order = np.random.default_rng(7).permutation(70)
    shuffled = rounded.contributions(codes[order], scales=scales[order])
    assert rounded.visible_cosine(together[:1], shuffled).tolist() == cosine[order].tolist()
    for n in (0, 1, 69):
        alone = rounded.contributions(codes[n : n + 1], scales=scales[n : n + 1])
        np.testing.assert_array_equal(alone.codes[0], together.codes[n])
        np.testing.assert_array_equal(alone.factor[0], together.factor[n])
        np.testing.assert_array_equal(alone.visibility[0], together.visibility[n])
        assert rounded.visible_cosine(together[:1], alone)[0] == cosine[n]


@built
def test_visible_cosine_is_the_twins_and_the_same_bits_at_every_level() -> None:
    rounded, raw = model(4, 33, 21), patches(30, 4, 33)
    faces = rounded.contributions(encode(raw, "int8"), norms=np.linalg.norm(raw, axis=2))
    shown = faces.visibility[:1] * faces.visibility
    shown[3] = 0
    asked = faces.exact()[0] - rounded.usual
    twin = contributions.visible_cosine(shown, asked, rounded.usual, faces.exact())
    assert twin[3] == 0
    levels = [
        native.visible_cosine(
            shown, asked, rounded.usual, faces.codes, faces.residues, faces.factor, isa=level
        )
        for level in native.info().available
    ]
    np.testing.assert_allclose(levels[0], twin, atol=1e-6)
    for other in levels[1:]:
        np.testing.assert_array_equal(other, levels[0])


@built
def test_wrong_shapes_are_refused() -> None:
    rounded, codes = model(3, 8, 5), encode(patches(2, 3, 8), "int8")
    packed = native.pack_map(rounded.map)
    rest = (packed, rounded.map_scale, rounded.cover)
    for wrong, message in (
        ((codes[:, :2], None, *rest), "packed for another|scales must be"),
        ((codes, codes[:1], *rest), "residues must lie"),
        ((codes, None, packed[:-4], *rest[1:]), "packed for another"),
        ((codes, None, packed, rounded.map_scale, rounded.cover[:, :5]), "the cover"),
    ):
        with pytest.raises(InputError, match=message):
            native.contribute(*wrong)
    with pytest.raises(InputError, match="norms, or scales"):
        rounded.contributions(codes)
