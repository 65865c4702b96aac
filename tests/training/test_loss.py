"""The ArcFace loss by hand, by finite differences, and by PyTorch's own derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.training.loss import arcface


def batch(n: int = 5, people: int = 4, size: int = 6, seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((n, size)),
        rng.standard_normal((people, size)),
        rng.integers(people, size=n),
    )


def test_by_hand() -> None:
    # One face at 60 degrees to its own centre and at 90 to the other.
    embedding = np.array([[2 * math.cos(math.pi / 3), 2 * math.sin(math.pi / 3)]])
    centres = np.array([[5.0, 0.0], [-math.sin(math.pi / 3), math.cos(math.pi / 3)]])
    own, other = 30 * math.cos(math.pi / 3 + 0.5), 0.0
    expected = math.log(math.exp(own) + math.exp(other)) - own
    found = arcface(embedding, centres, np.array([0]))
    assert found.loss == pytest.approx(expected, rel=1e-9)
    # 30 cos(1.5472) = 0.708 and log(1 + exp(-0.708)) = 0.4005
    assert found.loss == pytest.approx(0.4005, abs=2e-4)


def test_beyond_the_turning_point() -> None:
    embedding, centres = np.array([[-1.0, 0.01]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    cosine = -1 / math.hypot(1, 0.01)
    own, other = 30 * (cosine - 0.5 * math.sin(0.5)), 30 * 0.01 / math.hypot(1, 0.01)
    assert arcface(embedding, centres, np.array([0])).loss == pytest.approx(
        math.log(math.exp(own) + math.exp(other)) - own, rel=1e-9
    )


def test_without_margin_it_is_cross_entropy() -> None:
    embedding, centres, labels = batch()
    e = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    c = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    logits = 7 * e @ c.T
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(5), labels])
    assert arcface(embedding, centres, labels, s=7, m=0).loss == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_finite_differences(seed: int) -> None:
    embedding, centres, labels = batch(seed=seed)
    found = arcface(embedding, centres, labels, s=8)
    for value, gradient in ((embedding, found.d_embedding), (centres, found.d_centres)):
        for place in np.ndindex(*value.shape):
            kept, step = value[place], 1e-5
            value[place] = kept + step
            up = arcface(embedding, centres, labels, s=8).loss
            value[place] = kept - step
            down = arcface(embedding, centres, labels, s=8).loss
            value[place] = kept
            assert gradient[place] == pytest.approx((up - down) / 2 / step, rel=1e-3, abs=1e-6)


def test_length_does_not_matter() -> None:
    embedding, centres, labels = batch()
    one = arcface(embedding, centres, labels)
    assert arcface(embedding * 9, centres / 3, labels).loss == pytest.approx(one.loss)
    np.testing.assert_allclose((one.d_embedding * embedding).sum(1), 0, atol=1e-5)


def test_faces_on_their_centre_and_opposite_to_it_are_finite() -> None:
    centres = np.eye(4, dtype=np.float32)
    embedding = np.concatenate([centres, -centres])
    found = arcface(embedding, centres, np.tile(np.arange(4), 2))
    assert np.isfinite(found.loss)
    assert np.isfinite(found.d_embedding).all()
    assert np.isfinite(found.d_centres).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), m=st.floats(0, 1.5), s=st.floats(0.5, 64))
def test_turning_space_turns_the_gradients(seed: int, m: float, s: float) -> None:
    embedding, centres, labels = batch(seed=seed)
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((6, 6)))[0]
    one = arcface(embedding, centres, labels, s=s, m=m)
    other = arcface(embedding @ turn, centres @ turn, labels, s=s, m=m)
    assert one.loss >= 0
    assert other.loss == pytest.approx(one.loss, rel=1e-6, abs=1e-9)
    np.testing.assert_allclose(other.d_embedding, one.d_embedding @ turn, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(other.d_centres, one.d_centres @ turn, rtol=1e-3, atol=1e-4)
