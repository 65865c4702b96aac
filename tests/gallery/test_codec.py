from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.errors import GalleryError, InputError
from faceflow.features import FaceFeatures
from faceflow.gallery.codec import CODECS, Float32Codec, Int8Codec, NoCodec, codec

KEEPING = [name for name, kind in CODECS.items() if kind.keeps_patches]


def decoded(code: Int8Codec | Float32Codec, features: FaceFeatures) -> FaceFeatures:
    parts = code.unpack(code.encode(features))
    patches, norms = code.expand(parts)
    return FaceFeatures(features.embedding, patches, norms, parts["pooled"], features.grid)


def test_sizes_of_the_default_network() -> None:
    assert Int8Codec((8, 8), 128).payload_size == 8 * 8 * 128 + 8 * 8 * 4 + 128 * 4
    assert Float32Codec((8, 8), 128).payload_size == 4 * (8 * 8 * 128 + 8 * 8 + 128)


def test_float32_gives_back_every_bit(random_features: Callable[..., FaceFeatures]) -> None:
    features = random_features(3)
    back = decoded(Float32Codec((8, 8), 128), features)
    assert np.array_equal(back.patches, features.patches)
    assert np.array_equal(back.norms, features.norms)
    assert np.array_equal(back.pooled, features.pooled)


def test_int8_is_within_half_a_step(random_features: Callable[..., FaceFeatures]) -> None:
    features = random_features(5)
    code = Int8Codec((8, 8), 128)
    parts = code.compress(features)
    raw, back = features.raw_patches, decoded(code, features)
    restored = parts["patches"] * parts["scales"][..., None]
    assert np.abs(restored - raw).max(axis=-1) == pytest.approx(
        parts["scales"] / 2, rel=0.25
    )  # and never more:
    assert (np.abs(restored - raw) <= parts["scales"][..., None] * 0.501).all()
    assert np.allclose(np.abs(raw).max(axis=-1) / 127, parts["scales"], rtol=1e-6)
    assert np.allclose(np.linalg.norm(back.patches, axis=-1), 1, atol=1e-6)
    assert np.allclose(back.norms, features.norms, rtol=5e-3)
    assert (np.einsum("nrc,nrc->nr", back.patches, features.patches) > 0.9998).all()
    assert np.array_equal(back.pooled, features.pooled)
    assert np.allclose(back.raw_patches, restored, rtol=1e-5, atol=1e-7)


@given(
    exponent=st.floats(-30, 30),
    zero=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
    channels=st.sampled_from([1, 3, 16, 2048]),
)
@settings(max_examples=60, deadline=None)
def test_int8_keeps_direction_at_any_length(
    exponent: float, zero: int, seed: int, channels: int
) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.standard_normal((2, channels, 2, 2)) * 10.0**exponent
    maps[0, :, zero // 2, zero % 2] = 0
    features = FaceFeatures.from_maps(rng.standard_normal((2, 4)), maps)
    back = decoded(Int8Codec((2, 2), channels), features)
    assert (back.patches[0, zero] == 0).all()
    assert back.norms[0, zero] == 0
    cosine = np.einsum("nrc,nrc->nr", back.patches, features.patches, dtype=np.float64)
    assert (np.delete(cosine.ravel(), zero) > 0.999).all()
    assert np.allclose(back.norms, features.norms, rtol=0.01, atol=0)


def test_a_face_is_coded_alone(random_features: Callable[..., FaceFeatures]) -> None:
    features = random_features(7, channels=32)
    for name in KEEPING:
        code = codec(name, (8, 8), 32)
        together = code.encode(features)
        assert together == [code.encode(face)[0] for face in features]
        many = code.expand(code.unpack(together))
        for i, payload in enumerate(together):
            one = code.expand(code.unpack([payload]))
            assert np.array_equal(one[0][0], many[0][i])
            assert np.array_equal(one[1][0], many[1][i])


def test_quantised_is_the_same_from_both_codecs(
    random_features: Callable[..., FaceFeatures],
) -> None:
    features = random_features(2)
    results = []
    for name in KEEPING:
        code = codec(name, (8, 8), 128)
        values, scales = code.quantised(code.unpack(code.encode(features)))
        assert values.dtype == np.int8
        assert values.shape == (2, 64, 128)
        assert values.flags.c_contiguous
        assert values.flags.writeable
        assert scales.dtype == np.float32
        assert scales.shape == (2, 64)
        results.append((values, scales))
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])


def test_no_faces() -> None:
    for name in KEEPING:
        code = codec(name, (4, 4), 16)
        patches, norms = code.expand(code.unpack([]))
        assert patches.shape == (0, 16, 16)
        assert norms.shape == (0, 16)


def test_a_payload_of_another_length_is_refused() -> None:
    with pytest.raises(GalleryError, match="bytes a face"):
        Int8Codec((4, 4), 16).unpack([b"short"])


def test_an_unknown_codec_lists_the_known() -> None:
    with pytest.raises(InputError, match="int8, float32"):
        codec("int4", (8, 8), 128)


def test_no_patches_are_kept_if_none_are_wanted(
    random_features: Callable[..., FaceFeatures],
) -> None:
    code = codec("none", (8, 8), 32)
    assert isinstance(code, NoCodec)
    assert code.payload_size == 0
    assert code.encode(random_features(2, channels=32)) == [b"", b""]
    assert code.unpack([b"", b""]) == {}
    with pytest.raises(GalleryError, match="0 bytes a face"):
        code.unpack([b"x"])
    with pytest.raises(GalleryError, match="keeps no patches"):
        code.expand({})
    with pytest.raises(GalleryError, match="keeps no patches"):
        code.quantised({})
